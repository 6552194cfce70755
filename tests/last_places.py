"""`pytest --last-places SEED`: another processor, imitated.

Other kernels of a BLAS add in another order, so every product, factorization and eigenproblem
comes out with other last places. Here they do so on any machine: lpgeom is imported with each such
result, of NumPy's and SciPy's, multiplied by one and a last place more, less or neither. The numba
kernels stay as they are: they add in the order that is written down, everywhere.

The noise is a function of the seed and of the result, as a processor's is of its operands: the
same call gives the same bits again, from any thread.
"""

from __future__ import annotations

import ast
import sys
import zlib
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

import numpy as np

PRODUCTS = {"dot", "einsum", "inner", "matmul", "outer", "tensordot", "vdot"}
"""Functions of NumPy that multiply and add."""

FACTORIZATIONS = {
    "cholesky",
    "inv",
    "lstsq",
    "lu_factor",
    "lu_solve",
    "norm",
    "pinv",
    "qr",
    "solve",
}
"""Functions of ``np.linalg`` and ``scipy.linalg``, whichever module they are called through."""

SPECTRA = {"eigh", "eigh_tridiagonal", "eigvalsh", "svd"}
"""Those whose values are known to a last place of the largest, not each to one of its own."""

NAME = "__last_places__"

LENGTH = 65521
"""Of the table of noise: a prime, so that rows of a matrix meet other parts of it."""


class Noise:
    """A last place more, less or neither, in every number of a result."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        once = np.random.default_rng(seed).integers(-1, 2, LENGTH).astype(np.float64)
        self.table = np.concatenate([once, once])
        self.results = 0

    def __call__(self, result: Any) -> Any:
        """The result with other last places; what is no real array or scalar stays as it is."""
        if isinstance(result, tuple):
            moved = [self(part) for part in result]
            return type(result)(*moved) if hasattr(result, "_fields") else tuple(moved)
        return self._moved(result, np.abs(result)) if _is_real(result) else result

    def spectrum(self, result: Any) -> Any:
        """Vectors as above; eigenvalues or singular values by a last place of the largest."""
        if isinstance(result, tuple):
            moved = [self.spectrum(part) for part in result]
            return type(result)(*moved) if hasattr(result, "_fields") else tuple(moved)
        if not _is_real(result) or result.ndim != 1 or not result.size:
            return self(result)
        moved = self._moved(result, np.abs(result).max())
        if (result >= 0.0).all() and result[0] >= result[-1]:
            return np.sort(np.abs(moved))[::-1]
        return np.sort(moved)

    def _moved(self, result: Any, size: Any) -> Any:
        """``result + eps * noise * size``, in the order and type of the result."""
        x = np.asarray(result)
        self.results += 1
        # Of the digits alone: twice the operands have twice the result.
        digits = np.ldexp(x, -np.frexp(np.abs(x).max(initial=0.0))[1])
        start = zlib.crc32(np.ascontiguousarray(digits).data, self.seed) % LENGTH
        part = self.table[start : start + min(x.size, LENGTH)]
        noise = part.reshape(x.shape) if part.size == x.size else np.resize(part, x.shape)
        if x.ndim == 2 and x.shape[0] == x.shape[1] and np.array_equal(x, x.T):
            noise = np.triu(noise) + np.triu(noise, 1).T  # as products with a transpose are
        with np.errstate(all="ignore"):
            moved = x + np.finfo(x.dtype).eps * noise * size
            moved = np.asarray(np.where(np.isfinite(x), moved, x), dtype=x.dtype)
        if isinstance(result, np.ndarray):
            return np.asarray(moved, order="F" if x.flags.f_contiguous else "C")
        return x.dtype.type(moved)


def _is_real(x: Any) -> bool:
    """A plain array, or a scalar of NumPy's, of floats."""
    return (type(x) is np.ndarray or isinstance(x, np.floating)) and x.dtype.kind == "f"


class Rewrite(ast.NodeTransformer):
    """Hands each product and factorization of a module to the noise, but for jitted functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        jitted = any("jit" in ast.unparse(decorator) for decorator in node.decorator_list)
        return node if jitted else self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return _handed(node) if isinstance(node.op, ast.MatMult) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = ast.unparse(node.func)
        owner, _, last = name.rpartition(".")
        product = last in PRODUCTS and owner in ("np", "xp")
        factorization = last in FACTORIZATIONS and (not owner or owner.endswith("linalg"))
        if last in SPECTRA and (not owner or owner.endswith("linalg")):
            return _handed(node, f"{NAME}.spectrum")
        return _handed(node) if product or factorization else node


def _handed(node: ast.expr, noise: str = NAME) -> ast.Call:
    """``noise(node)``, at the place of the node."""
    called = ast.Call(func=ast.parse(noise, mode="eval").body, args=[node], keywords=[])
    return ast.fix_missing_locations(ast.copy_location(called, node))


def rewritten(source: bytes | str, path: str, noise: Noise) -> Any:
    """The code of a module, with its results handed to the noise."""
    return compile(Rewrite().visit(ast.parse(source)), path, "exec")


class Loader(SourceFileLoader):
    """Loads modules of lpgeom rewritten, and keeps no byte code of them."""

    noise: Noise

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        return rewritten(self.get_data(path), path, self.noise)

    def exec_module(self, module: Any) -> None:
        setattr(module, NAME, self.noise)
        super().exec_module(module)
        if module.__name__ == "lpgeom.kernels.cpu":
            module.rank_update = updating(module.rank_update, self.noise)
            module.matmul = multiplying(self.noise)


def multiplying(noise: Noise) -> Any:
    """``np.matmul`` into an array that is given."""

    def call(a: Any, b: Any, out: Any) -> Any:
        out[...] = noise(np.matmul(a, b, out))
        return out

    return call


def updating(rank_update: Any, noise: Noise) -> Any:
    """`rank_update`, whose sum comes out with other last places."""

    def call(C: Any, alpha: float, block: Any) -> None:
        rank_update(C, alpha, block)
        C[...] = noise(C)

    return call


class Finder(MetaPathFinder):
    """Finds lpgeom's modules before Python does."""

    def __init__(self, seed: int) -> None:
        self.loader = type("Loader", (Loader,), {"noise": Noise(seed)})

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "lpgeom":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None and Path(spec.origin).suffix == ".py":
            spec.loader = self.loader(fullname, spec.origin)
        return spec


def install(seed: int) -> Finder:
    """Every import of lpgeom from here on is rewritten."""
    if any(name.partition(".")[0] == "lpgeom" for name in sys.modules):
        raise RuntimeError("lpgeom is imported already")
    finder = Finder(seed)
    sys.meta_path.insert(0, finder)
    return finder
