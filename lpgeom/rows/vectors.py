"""Per-row vectors, one number for each row, wherever the rows are.

Beside rows in this process they are NumPy arrays; beside a Dask array of rows they are Dask arrays
with its chunks, beside rows on a CUDA device CuPy arrays. All of them answer to NumPy's functions,
so formulas are written once. What these functions cannot say for all is here. Of a Dask array, what
is fetched is no longer than d or so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows import device
from lpgeom.rows.base import Array, Rows

if TYPE_CHECKING:
    import dask.array as da


def is_distant(v: object) -> TypeGuard[da.Array]:
    """Whether v is a Dask array; loads nothing."""
    return type(v).__module__.startswith("dask.array.") and hasattr(v, "to_delayed")


def kept(v: Any) -> Any:
    """v, computed once and left where it is (a Dask array is a recipe until then)."""
    return v.persist() if is_distant(v) else v


def fetched(v: Any) -> Array:
    """v as a NumPy array; not for Dask arrays, which may not fit."""
    array: Array = device.host(v) if device.on_device(v) else v
    return array


def local(v: Any) -> Array:
    """v in this process, if a Dask array: beside rows brought here, or in a record."""
    return np.asarray(v) if is_distant(v) else v


def beside(v: Any, values: Any) -> Any:
    """NumPy's `values` where the per-row vector v is, to be combined with it."""
    if is_distant(v) or not device.on_device(v):
        return values
    return device.array_module().asarray(values)


def placed(rows: Rows, values: Array) -> Array:
    """NumPy's `values`, one for each of these rows in memory, where the rows are."""
    if not getattr(rows, "keeps_vectors", False):
        return values
    there: Array = device.array_module().asarray(values)
    return there


def numbers(*values: Any) -> tuple[float, ...]:
    """Sums over the rows and the like as floats, all in one message."""
    if any(is_distant(v) for v in values):
        import dask

        values = dask.compute(*values)
    elif len(values) > 1 and any(device.on_device(v) for v in values):
        xp = device.array_module()
        values = device.host(xp.stack([xp.asarray(v, dtype=np.float64) for v in values])).tolist()
    return tuple(float(v) for v in values)


def each(f: Callable[..., Sequence[Array]], *vectors: Array) -> Sequence[Array]:
    """``f(*vectors)``: several numbers for each row, from a formula too long for a recipe."""
    if is_distant(vectors[0]):
        from lpgeom.rows import dask_vectors

        return dask_vectors.each(f, *vectors)
    return f(*vectors)


def drawn(prob: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of the rows drawn, each with its own probability; the same wherever they are."""
    if is_distant(prob):
        from lpgeom.rows import dask_vectors

        return dask_vectors.drawn(prob, rng)
    prob = fetched(prob)
    return np.flatnonzero(rng.random(prob.size) < prob)


def entries(v: Array, index: NDArray[np.intp]) -> Array:
    """``v[index]``, fetched; `index` ascending, and short."""
    if is_distant(v):
        from lpgeom.rows import dask_vectors

        return dask_vectors.entries(v, index)
    if device.on_device(v):
        there: Array = v[device.array_module().asarray(index)]
        return fetched(there)
    return v[index]


def largest(v: Array, count: int) -> tuple[NDArray[np.intp], Array]:
    """Where the `count` largest entries are, ascending, and what they are; fetched, so few."""
    if is_distant(v):
        from lpgeom.rows import dask_vectors

        return dask_vectors.largest(v, count)
    v = fetched(v)
    if count >= v.size:
        return np.arange(v.size), v
    index = np.sort(np.argpartition(v, v.size - count)[v.size - count :])
    return index, v[index]


def passed(v: Array, shares: Array) -> tuple[NDArray[np.intp], float]:
    """Where the running sum of v >= 0 passes these shares of its total, and the total.

    `shares` ascending in [0, 1). The first row of positive v beyond; never one of v = 0.
    """
    if is_distant(v):
        from lpgeom.rows import dask_vectors

        return dask_vectors.passed(v, shares)
    v = fetched(v)  # summed in the host's order: the same rows wherever they lie
    ends = np.cumsum(v)
    found = np.searchsorted(ends, shares * ends[-1], side="right")
    # A place may round up to the very end.
    return np.minimum(found, np.flatnonzero(v)[-1]), float(ends[-1])


def compressed(v: Array, alive: NDArray[np.bool_]) -> Array:
    """The entries of the rows that are alive."""
    if is_distant(v):
        from lpgeom.rows import dask_vectors

        return dask_vectors.compressed(v, alive)
    return v[alive]


def spread(some: Array, alive: NDArray[np.bool_]) -> Array:
    """Back from `compressed`: the entries at their places among all rows, 0 elsewhere."""
    if is_distant(some):
        from lpgeom.rows import dask_vectors

        return dask_vectors.spread(some, alive)
    xp = device.array_module() if device.on_device(some) else np
    w: Array = xp.zeros(alive.size)
    w[alive] = some
    return w


def least_squares(columns: Array, b: Array, rcond: float) -> Array:
    """x that minimises ``||columns x - b||``, for few columns of per-row entries."""
    if is_distant(columns):
        from lpgeom.rows import dask_vectors

        return dask_vectors.least_squares(columns, b, rcond)
    if device.on_device(columns):
        # From the triangle of [columns, b], as there: few numbers travel.
        xp = device.array_module()
        R = fetched(xp.linalg.qr(xp.concatenate([columns, b[:, None]], axis=1), mode="r"))
        return np.asarray(np.linalg.lstsq(R[:, :-1], R[:, -1], rcond=rcond)[0], dtype=np.float64)
    return np.asarray(np.linalg.lstsq(columns, b, rcond=rcond)[0], dtype=np.float64)
