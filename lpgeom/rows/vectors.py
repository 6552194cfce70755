"""Per-row vectors, one number for each row, wherever the rows are.

Beside rows in this process they are NumPy arrays; beside a Dask array of rows they are Dask arrays
with its chunks, beside rows on a CUDA device CuPy arrays. All of them answer to NumPy's functions,
so formulas are written once. What these functions cannot say for all is here. Of a Dask array, what
is fetched is no longer than d or so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows import device
from lpgeom.rows.base import Array, Rows, is_distant
from lpgeom.rows.place import place_of

P = ParamSpec("P")
T = TypeVar("T")


def _anywhere(near: Callable[P, T]) -> Callable[P, T]:
    """`near` for vectors in one memory, the host's or a device's; for Dask arrays the function of
    that name in `dask_vectors`. The one choice among kinds of vectors."""

    @wraps(near)
    def chosen(*given: P.args, **named: P.kwargs) -> T:
        if not any(map(is_distant, given)):
            return near(*given, **named)
        from lpgeom.rows import dask_vectors

        found: T = getattr(dask_vectors, near.__name__)(*given, **named)
        return found

    return chosen


def fetched(v: Any) -> Array:
    """v as a NumPy array; not for Dask arrays, which may not fit."""
    array: Array = device.fetched(v)
    return array


def placed(rows: Rows, values: Array) -> Array:
    """NumPy's `values`, one for each of these rows in memory, where their vectors are."""
    there: Array = rows.vectors.xp.asarray(values)
    return there


@_anywhere
def kept(v: Any) -> Any:
    """v, computed once and left where it is (a Dask array is a recipe until then)."""
    return v


@_anywhere
def local(v: Any) -> Array:
    """v in this process, if a Dask array: beside rows brought here, or in a record."""
    array: Array = v
    return array


def beside(v: Any, values: Any) -> Any:
    """NumPy's `values` where the per-row vector v is, to be combined with it."""
    return device.array_module().asarray(values) if device.on_device(v) else values


@_anywhere
def numbers(*values: Any) -> tuple[float, ...]:
    """Sums over the rows and the like as floats, all in one message."""
    if len(values) > 1 and any(device.on_device(v) for v in values):
        xp = device.array_module()
        values = device.host(xp.stack([xp.asarray(v, dtype=np.float64) for v in values])).tolist()
    return tuple(float(v) for v in values)


@_anywhere
def each(f: Callable[..., Sequence[Array]], *vectors: Array) -> Sequence[Array]:
    """``f(*vectors)``: several numbers for each row, from a formula too long for a recipe."""
    return f(*vectors)


@_anywhere
def drawn(prob: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of the rows drawn, each with its own probability; the same wherever they are."""
    return np.flatnonzero(rng.random(prob.size) < fetched(prob))


@_anywhere
def entries(v: Array, index: NDArray[np.intp]) -> Array:
    """``v[index]``, fetched; `index` ascending, and short."""
    return fetched(v[beside(v, index)])


@_anywhere
def largest(v: Array, count: int) -> tuple[NDArray[np.intp], Array]:
    """Where the `count` largest entries are, ascending, and what they are; fetched, so few."""
    v = fetched(v)
    if count >= v.size:
        return np.arange(v.size), v
    index = np.sort(np.argpartition(v, v.size - count)[v.size - count :])
    return index, v[index]


@_anywhere
def passed(v: Array, shares: Array) -> tuple[NDArray[np.intp], float]:
    """Where the running sum of v >= 0 passes these shares of its total, and the total.

    `shares` ascending in [0, 1). The first row of positive v beyond; never one of v = 0.
    """
    v = fetched(v)  # summed in the host's order: the same rows wherever they lie
    ends = np.cumsum(v)
    found = np.searchsorted(ends, shares * ends[-1], side="right")
    # A place may round up to the very end.
    return np.minimum(found, np.flatnonzero(v)[-1]), float(ends[-1])


@_anywhere
def compressed(v: Array, alive: NDArray[np.bool_]) -> Array:
    """The entries of the rows that are alive."""
    return v[alive]


@_anywhere
def spread(some: Array, alive: NDArray[np.bool_]) -> Array:
    """Back from `compressed`: the entries at their places among all rows, 0 elsewhere."""
    w: Array = place_of(some).xp.zeros(alive.size)
    w[alive] = some
    return w


@_anywhere
def least_squares(columns: Array, b: Array, rcond: float) -> Array:
    """x that minimises ``||columns x - b||``, for few columns of per-row entries."""
    if device.on_device(columns):
        # From the triangle of [columns, b], as for Dask: few numbers travel.
        xp = device.array_module()
        R = fetched(xp.linalg.qr(xp.concatenate([columns, b[:, None]], axis=1), mode="r"))
        columns, b = R[:, :-1], R[:, -1]
    return np.asarray(np.linalg.lstsq(columns, b, rcond=rcond)[0], dtype=np.float64)
