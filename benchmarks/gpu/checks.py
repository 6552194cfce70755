"""Every pass and whole routes on the device against float64 on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import lpgeom
from lpgeom.rows.door import open_anywhere
from lpgeom.rows.place import device_place

COLUMNS = ("check", "error", "allowed", "good")

DOUBLE, SINGLE, ROUTE, BOUND = 1e-12, 1e-4, 1e-7, 5e-3
"""Relative errors allowed: of float64 passes, of float32 passes, of what a route states, and of its
lower bounds, which depend on where a search ends. All bounds are verified besides."""

TF32_MODE = 3
"""``CUBLAS_TF32_TENSOR_OP_MATH``, a name that CuPy has not."""


@dataclass(frozen=True)
class Check:
    """One comparison: relative error in the largest entry."""

    name: str
    error: float
    allowed: float

    @property
    def good(self) -> bool:
        return self.error <= self.allowed

    def row(self) -> tuple[Any, ...]:
        return self.name, self.error, self.allowed, "yes" if self.good else "NO"

    def record(self) -> dict[str, Any]:
        return {"check": self.name, "error": self.error, "allowed": self.allowed}


def run(*, small: bool) -> list[Check]:
    """All checks: passes on fresh random input, routes on input whose optimum is no near tie."""
    n, d = (70, 8) if small else (20000, 384)
    rng = np.random.default_rng()
    A = rng.standard_normal((n, d)) * np.linspace(3.0, 0.1, d)
    A[::40] *= 20.0
    return [
        *_products(16 if small else 512),
        *_passes(A, rng),
        *_routes(70 if small else 3000, 6 if small else 48),
    ]


def _products(size: int) -> list[Check]:
    """Float32 products of ``1 + 2^-12``, which TF32 rounds to 1, whatever the mode set before."""
    place = device_place()
    xp = place.xp
    x = np.float32(1.0 + 2.0**-12)
    a, eye = xp.full((size, size), x, np.float32), xp.eye(size, dtype=np.float32)
    C = xp.zeros((size, size), np.float32, order="F")
    with _coarse(xp):
        product = place.matmul(a, eye, out=xp.empty_like(a))
        place.kernels.rank_update(C, 1.0, x * eye)
    gram = np.eye(size) * float(x) ** 2
    return [
        Check("float32 product without TF32", _error(product, _fetched(a)), 2.0**-23),
        Check("float32 Gram without TF32", _error(C, gram), 2.0**-23),
    ]


@contextmanager
def _coarse(xp: Any) -> Iterator[None]:
    """cuBLAS in the mode that uses TF32."""
    if not hasattr(xp, "cuda"):
        yield
        return
    cublas, handle = xp.cuda.cublas, xp.cuda.device.get_cublas_handle()
    mode = cublas.getMathMode(handle)
    cublas.setMathMode(handle, TF32_MODE)
    try:
        yield
    finally:
        cublas.setMathMode(handle, mode)


def _passes(A: Any, rng: np.random.Generator) -> list[Check]:
    n, d = A.shape
    X, M = rng.standard_normal((d, d // 2)), rng.standard_normal((d, d))
    M = M + M.T
    omega = rng.random(n) + 0.1
    here = open_anywhere(A, 1.0, omega, backend="cpu").rows
    there = open_anywhere(A, 1.0, omega, backend="cuda").rows
    w = rng.standard_normal(n)

    def rule(t: Any, lo: int, hi: int) -> Any:
        return np.maximum(t, 1e-3) ** -0.5

    passes: dict[str, Callable[[Any], Any]] = {
        "squared_norms": lambda rows: rows.squared_norms(),
        "quadratic_form": lambda rows: rows.quadratic_form(X),
        "bilinear_form": lambda rows: rows.bilinear_form(M),
        "weighted_gram": lambda rows: rows.weighted_gram(_beside(rows, w)),
        "reweighted_gram": lambda rows: rows.reweighted_gram(X, rule)[1],
        "triangle": lambda rows: np.abs(rows.triangle()),
        "take": lambda rows: rows.take(np.arange(0, n, 7)).quadratic_form(X),
    }
    found = []
    for name, work in passes.items():
        reference = _fetched(work(here))
        found.append(Check(name, _error(work(there), reference), DOUBLE))
        if name != "triangle":
            single = there.single()
            found.append(Check(f"{name}, float32", _error(work(single), reference), SINGLE))
    return found


def _routes(n: int, d: int) -> list[Check]:
    """On rows with a gap after k directions: without one, a search shows its rounding."""
    rng = np.random.default_rng(0)
    k = max(2, d // 6)
    leading = np.arange(d) < k
    A = rng.standard_normal((n, d)) * np.where(leading, 5.0 - 2.0 * np.arange(d) / d, 0.5)
    A[::20] *= 20.0
    found = []
    for p in (1.0, 1.5, 2.0, 3.0):
        expected = lpgeom.approx_subspace(A, k, p, backend="cpu")
        result = lpgeom.approx_subspace(A, k, p, backend="cuda")
        assert result.certificate is not None
        result.certificate.verify(A)
        for what, allowed in (("cost", ROUTE), ("lower_bound", BOUND)):
            ours, theirs = getattr(result, what), getattr(expected, what)
            found.append(Check(f"p = {p:g}: {what}", abs(ours / theirs - 1.0), allowed))
    weights = [lpgeom.lewis_weights(A, 1.0, backend=b).weights for b in ("cuda", "cpu")]
    found.append(Check("lewis_weights", _error(weights[0], weights[1]), ROUTE))
    return found


def _beside(rows: Any, w: Any) -> Any:
    return rows.place.xp.asarray(w)


def _fetched(v: Any) -> Any:
    return v.get() if hasattr(v, "get") else np.asarray(v)


def _error(value: Any, reference: Any) -> float:
    return float(np.abs(_fetched(value) - reference).max() / np.abs(reference).max())
