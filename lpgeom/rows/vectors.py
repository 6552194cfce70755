"""Per-row vectors, one number for each row, wherever the rows are.

Beside rows in this process they are NumPy arrays; beside a Dask array of rows they are Dask arrays
with its chunks. Dask arrays answer to NumPy's functions, so formulas are written once, for both.
What these functions cannot say for both is here. Whatever is fetched is no longer than d or so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows.base import Array

if TYPE_CHECKING:
    import dask.array as da


def is_distant(v: object) -> TypeGuard[da.Array]:
    """Whether v is a Dask array; loads nothing."""
    return type(v).__module__.startswith("dask.array.") and hasattr(v, "to_delayed")


def kept(v: Any) -> Any:
    """v, computed once and left where it is (a Dask array is a recipe until then)."""
    return v.persist() if is_distant(v) else v


def numbers(*values: Any) -> tuple[float, ...]:
    """Sums over the rows and the like as floats, all in one message."""
    if any(is_distant(v) for v in values):
        import dask

        values = dask.compute(*values)
    return tuple(float(v) for v in values)


def each(f: Callable[..., Sequence[Array]], *vectors: Array) -> Sequence[Array]:
    """``f(*vectors)``: several numbers for each row, from a formula too long for a recipe."""
    if is_distant(vectors[0]):
        from lpgeom.rows import dask

        return dask.each(f, *vectors)
    return f(*vectors)


def drawn(prob: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of the rows drawn, each with its own probability; the same wherever they are."""
    if is_distant(prob):
        from lpgeom.rows import dask

        return dask.drawn(prob, rng)
    return np.flatnonzero(rng.random(prob.size) < prob)


def entries(v: Array, index: NDArray[np.intp]) -> Array:
    """``v[index]``, fetched; `index` ascending, and short."""
    if is_distant(v):
        from lpgeom.rows import dask

        return dask.entries(v, index)
    return v[index]


def passed(v: Array, shares: Array) -> tuple[NDArray[np.intp], float]:
    """Where the running sum of v >= 0 passes these shares of its total, and the total.

    `shares` ascending in [0, 1). The first row of positive v beyond; never one of v = 0.
    """
    if is_distant(v):
        from lpgeom.rows import dask

        return dask.passed(v, shares)
    ends = np.cumsum(v)
    found = np.searchsorted(ends, shares * ends[-1], side="right")
    # A place may round up to the very end.
    return np.minimum(found, np.flatnonzero(v)[-1]), float(ends[-1])


def compressed(v: Array, alive: NDArray[np.bool_]) -> Array:
    """The entries of the rows that are alive."""
    if is_distant(v):
        from lpgeom.rows import dask

        return dask.compressed(v, alive)
    return v[alive]


def spread(some: Array, alive: NDArray[np.bool_]) -> Array:
    """Back from `compressed`: the entries at their places among all rows, 0 elsewhere."""
    if is_distant(some):
        from lpgeom.rows import dask

        return dask.spread(some, alive)
    w = np.zeros(alive.size)
    w[alive] = some
    return w


def least_squares(columns: Array, b: Array, rcond: float) -> Array:
    """x that minimises ``||columns x - b||``, for few columns of per-row entries."""
    if is_distant(columns):
        from lpgeom.rows import dask

        return dask.least_squares(columns, b, rcond)
    return np.asarray(np.linalg.lstsq(columns, b, rcond=rcond)[0], dtype=np.float64)
