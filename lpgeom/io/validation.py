"""Every check of user input, once, at the public door. Imports no algorithm."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lpgeom.io.interchange import as_numpy
from lpgeom.io.sources import Stored, stored

Array = NDArray[np.float64]
T = TypeVar("T")

MAX_P = 100.0
"""Largest p accepted: beyond it p-th powers of ordinary residual ratios leave float64."""

_CHECK_BYTES = 4 << 20


def check_matrix(A: Any, name: str = "A", *, missing: bool = False) -> NDArray[Any]:
    """A as a two-dimensional real array, without copying what NumPy can view.

    `name` is what messages call it. What else than an array it may be: `io.interchange`; with
    `missing` a dataframe may have missing values, which become NaN.

    Raises
    ------
    TypeError
        Sparse, masked, boolean, complex, object or text input; a dataframe with such a column.
    ValueError
        Not two-dimensional, or without rows or columns; a dataframe with a missing value.
    """
    if type(A).__module__.split(".")[0] == "scipy" and hasattr(A, "toarray"):
        raise TypeError(
            f"{name} is a scipy sparse {type(A).__name__}; sparse input is not supported: pass "
            f"{name}.toarray() if it fits into memory"
        )
    if type(A).__module__.startswith("dask."):
        frame = not type(A).__module__.startswith("dask.array")
        raise TypeError(
            f"{name} is a Dask {type(A).__name__}, which is not taken here: pass {name}.compute() "
            f"if it fits, or {name}{'.to_dask_array(lengths=True)' * frame} to a function that "
            "takes a dask.array (approx_subspace, certify, cost, coreset, lewis_weights)"
        )
    if isinstance(A, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill or drop the masked entries first")
    array = as_numpy(A, name, missing=missing)
    check_form(array, name)
    return array


def check_rows(A: Any) -> NDArray[Any] | Stored:
    """`check_matrix`, except that what is in chunked storage stays there."""
    source = stored(A)
    if source is None:
        return check_matrix(A)
    check_form(source, "A")
    return source


def check_form(array: Any, name: str) -> None:
    """Real numbers in two dimensions, not empty."""
    if array.dtype.kind == "b":
        raise TypeError(
            f"{name} has boolean entries; pass {name}.astype(float) if 0 and 1 are meant"
        )
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be two-dimensional (rows are points), got shape {array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"{name} is empty: shape {array.shape}")


def largest_entries(
    A: NDArray[Any] | Stored,
    row_weights: NDArray[np.float64] | None = None,
    name: str = "A",
    first: int = 0,
) -> tuple[float, float]:
    """max |A_ij|, of all rows and of those whose weight is not 0, in one sweep over blocks.

    Raises
    ------
    ValueError
        If an entry is NaN or infinite, naming the first; messages call the first row `first`.
    """
    return largest_of(A if isinstance(A, Stored) else _blocks(A), row_weights, name, first)


def largest_of(
    blocks: Iterable[tuple[int, Any]],
    row_weights: NDArray[np.float64] | None,
    name: str,
    first: int = 0,
    there: Callable[[Any], Any] = np.asarray,
) -> tuple[float, float]:
    """`largest_entries` of blocks (first row, rows); `there` brings a mask where the blocks are."""
    largest = counted = 0.0
    for lo, block in blocks:
        # min and max hand on NaN, and show infinities; no temporary of the block's size.
        top = max(float(block.max()), -float(block.min()))
        if not math.isfinite(top):
            bad = np.argwhere(~np.isfinite(block))
            if len(bad) == 0:
                raise ValueError(f"{name} has entries beyond the range of float64")
            i, j = (int(x) for x in bad[0])
            where = f"{name}[{first + lo + i}, {j}]"
            raise ValueError(f"{where} is {float(block[i, j])}; every entry must be finite")
        largest = max(largest, top)
        if row_weights is not None and top > counted:
            counts = row_weights[lo : lo + len(block)] > 0.0
            if not counts.all():
                block = block[there(counts)]
                top = max(float(block.max()), -float(block.min())) if len(block) else 0.0
        counted = max(counted, top)
    return largest, counted


def _blocks(A: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    n, d = A.shape
    step = max(1, _CHECK_BYTES // max(1, d * A.dtype.itemsize))
    for lo in range(0, n, step):
        yield lo, np.asarray(A[lo : lo + step])


def check_p(p: Any, *, infinite: bool = False) -> float:
    """The exponent as a float in [1, 100], or inf where that is meant too."""
    value = _real("p", p, "a real number")
    if infinite and value == math.inf:
        return value
    if not 1.0 <= value < math.inf:
        kind = "a number" if infinite else "a finite number"
        raise ValueError(f"p must be {kind} >= 1, got {p!r}")
    if value > MAX_P:
        other = ", or inf" if infinite else ""
        raise ValueError(f"p must be at most {MAX_P:g}{other}; got {p!r}")
    return value


def check_k(k: Any, d: int, *, whole: bool = False) -> int:
    """The rank wanted as an int in [1, d - 1]; up to d where the whole space will do."""
    value = _integer("k", k)
    most = d if whole else d - 1
    if not 1 <= value <= most:
        end = "d" if whole else "d - 1"
        raise ValueError(f"k must lie between 1 and {end} = {most} (A has {d} columns), got {k}")
    return value


def check_weights(row_weights: Any, n: int) -> Array | None:
    """Row weights as (n,) float64, all finite and >= 0, not all zero; None stays None."""
    if row_weights is None:
        return None
    w = as_numpy(row_weights, "row_weights")
    check_weights_form(w, n)
    w = w.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0.0)))
    if bad.size:
        i = int(bad[0])
        raise ValueError(f"row_weights[{i}] is {w[i]}; weights must be finite and >= 0")
    if not w.any():
        raise ValueError("row_weights are all zero")
    return w


def check_weights_form(w: Any, n: int) -> None:
    """The type and shape of row weights, of whatever kind of array."""
    _check_numbers(w, "row_weights")
    if w.shape != (n,):
        raise ValueError(f"row_weights must have shape ({n},), one per row, got {w.shape}")


def check_entry_weights(weights: Any, shape: tuple[int, int], name: str = "weights") -> Array:
    """Weights of entries as float64, of `shape` or one row of it, finite and >= 0; or a mask."""
    w = _numbers(weights, name, masks=True)
    if w.shape not in (shape, shape[1:]):
        raise ValueError(f"{name} must have shape {shape} or {shape[1:]}, got {w.shape}")
    w = w.astype(np.float64)
    if not (np.isfinite(w) & (w >= 0.0)).all():
        raise ValueError(f"{name} must be finite and >= 0")
    return w


def check_basis(basis: Any, d: int) -> Array:
    """An orthonormal (d, k) float64 basis of the column span of `basis`."""
    B = _numbers(basis, "basis")
    if B.ndim != 2 or B.shape[0] != d:
        raise ValueError(f"basis must have shape (d, k) with d = {d} (columns of A), got {B.shape}")
    k = B.shape[1]
    if not 1 <= k <= d - 1:
        raise ValueError(f"basis must have between 1 and d - 1 = {d - 1} columns, got {k}")
    B = B.astype(np.float64)
    if not np.isfinite(B).all():
        raise ValueError("basis has entries that are not finite")
    top = np.abs(B).max(axis=0)
    if not top.all():
        raise ValueError("basis has a zero column")
    B = B / top
    B /= np.linalg.norm(B, axis=0)
    if np.abs(B.T @ B - np.eye(k)).max() > 1e-14:
        Q, R = np.linalg.qr(B)
        s = np.linalg.svd(R, compute_uv=False)
        if s[-1] <= d * np.finfo(np.float64).eps * s[0]:
            raise ValueError(f"the {k} columns of basis are linearly dependent")
        B = Q
    return B


def check_point(name: str, value: Any, d: int) -> Array:
    """(d,) finite numbers as float64; a copy."""
    x = _numbers(value, name).astype(np.float64)
    if x.shape != (d,) or not np.isfinite(x).all():
        raise ValueError(f"{name} must hold {d} finite numbers, got shape {x.shape}")
    return x


def check_choice(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """`value` is one of `allowed`, by equality and type."""
    if not any(type(value) is type(a) and value == a for a in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}")


def check_backend(backend: Any) -> str:
    """ "auto" (where the data is), "cpu" or "cuda"."""
    check_choice("backend", backend, ("auto", "cpu", "cuda"))
    return str(backend)


def check_flag(name: str, value: Any) -> bool:
    """True or False, of Python or NumPy; what only counts as one is refused."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_positive_int(name: str, value: Any) -> int:
    """A positive int (bool is not one)."""
    return _integer(name, value, 1)


def check_steps(max_iter: Any, usual: T) -> int | T:
    """A positive number of steps; None stands for the usual one."""
    return usual if max_iter is None else check_positive_int("max_iter", max_iter)


def check_tolerance(tol: Any, name: str = "tol") -> float:
    """A number in (0, 1)."""
    value = _real(name, tol, "a number")
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie between 0 and 1, got {tol!r}")
    return value


def check_seed(seed: Any) -> int:
    """A nonnegative int, kept in the result so that the run can be repeated."""
    return _integer("seed", seed, 0)


def _integer(name: str, value: Any, least: int | None = None) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if least is not None and int(value) < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    return int(value)


def _real(name: str, value: Any, what: str) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {what}, got {value!r}")
    return float(value)


def _numbers(value: Any, name: str, *, masks: bool = False) -> NDArray[Any]:
    """An array of real numbers, or with `masks` of booleans."""
    array = as_numpy(value, name, masks=masks)
    _check_numbers(array, name, masks=masks)
    return array


def _check_numbers(array: Any, name: str, *, masks: bool = False) -> None:
    if array.dtype.kind not in ("biuf" if masks else "iuf"):
        what = "hold real numbers or be a mask" if masks else "hold real numbers"
        raise TypeError(f"{name} must {what}, got dtype {array.dtype}")
