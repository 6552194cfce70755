"""Per-row vectors beside a Dask array of rows: what `vectors` says of them, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from lpgeom.rows.base import Array
from lpgeom.rows.dask import FAN_IN, DaskRows, by_chunk, chunks_of, numbered_chunks


def kept(v: da.Array) -> da.Array:
    """v, computed once and left on the workers."""
    return v.persist()


def local(v: da.Array) -> Array:
    """v in this process."""
    return np.asarray(v)


def numbers(*values: Any) -> tuple[float, ...]:
    """Sums over the rows as floats, all in one message."""
    return tuple(float(v) for v in dask.compute(*values))


def each(f: Callable[..., Sequence[Array]], *vectors: da.Array) -> list[Any]:
    """``f(*vectors)`` chunk by chunk, kept on the workers."""
    count = len(f(*(np.empty(0) for _ in vectors)))
    both = da.blockwise(
        lambda *blocks: np.stack(f(*blocks)), "ri", *(x for v in vectors for x in (v, "i")),
        new_axes={"r": count}, dtype=np.float64, meta=np.empty((0, 0)),
    ).persist()  # fmt: skip
    return [both[r] for r in range(count)]


def drawn(prob: da.Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """``flatnonzero(rng.random(n) < prob)``: the very numbers rng would give, drawn chunk by chunk.

    A PCG64 stream can be entered anywhere: each chunk starts where its first row stands in it.
    """
    state = rng.bit_generator.state
    tasks = [dask.delayed(_drawn)(part, state, lo) for lo, part in numbered_chunks(prob)]
    rng.bit_generator.state = _ahead(state, prob.size).state
    return np.concatenate(dask.compute(*tasks))


def _ahead(state: Any, count: int) -> np.random.PCG64:
    """The stream `count` numbers on; advance() alone would drop a buffered half number."""
    stream = np.random.PCG64()
    stream.state = state
    stream.advance(count)
    there: Any = {**state, "state": stream.state["state"]}
    stream.state = there
    return stream


def _drawn(prob: Array, state: Any, lo: int) -> NDArray[np.intp]:
    u = np.random.Generator(_ahead(state, lo)).random(prob.size)
    return lo + np.flatnonzero(u < prob)


def entries(v: da.Array, index: NDArray[np.intp]) -> Array:
    """``v[index]``, fetched; `index` ascending."""
    chunks = chunks_of(v)
    tasks = [
        dask.delayed(np.take)(chunks[j], index[part] - lo)
        for j, lo, part in by_chunk(index, v.chunks[0])
    ]
    return np.concatenate([np.empty(0), *dask.compute(*tasks)])


def largest(v: da.Array, count: int) -> tuple[NDArray[np.intp], Array]:
    """As `vectors.largest`: of each chunk, then of several chunks' largest, up a tree."""
    parts = [dask.delayed(_largest_here)(part, lo, count) for lo, part in numbered_chunks(v)]
    while len(parts) > 1:
        groups = [parts[i : i + FAN_IN] for i in range(0, len(parts), FAN_IN)]
        parts = [dask.delayed(_largest_of_all)(group, count) for group in groups]
    index, values = dask.compute(*parts)[0]
    order = np.argsort(index)
    return index[order], values[order]


def _largest_here(part: Array, lo: int, count: int) -> tuple[NDArray[np.intp], Array]:
    kept = np.arange(part.size)
    if count < part.size:
        kept = np.argpartition(part, part.size - count)[part.size - count :]
    return lo + kept, part[kept]


def _largest_of_all(
    parts: list[tuple[NDArray[np.intp], Array]], count: int
) -> tuple[NDArray[np.intp], Array]:
    index, values = (np.concatenate(both) for both in zip(*parts, strict=True))
    kept, values = _largest_here(values, 0, count)
    return index[kept], values


def passed(v: da.Array, shares: Array) -> tuple[NDArray[np.intp], float]:
    """As `vectors.passed`: the chunk from the sums of all chunks, the row in the chunk."""
    chunks = numbered_chunks(v)
    sums = np.array(dask.compute(*(dask.delayed(np.sum)(part) for _, part in chunks)))
    ends = np.cumsum(sums)
    places = shares * ends[-1]
    inside = np.minimum(np.searchsorted(ends, places, side="right"), np.flatnonzero(sums)[-1])
    tasks = [
        dask.delayed(_passed)(part, places[inside == j] - (ends[j] - sums[j]), lo)
        for j, (lo, part) in enumerate(chunks)
        if (inside == j).any()
    ]
    return np.concatenate(dask.compute(*tasks)), float(ends[-1])


def _passed(part: Array, places: Array, lo: int) -> NDArray[np.intp]:
    found = np.searchsorted(np.cumsum(part), places, side="right")
    return np.asarray(lo + np.minimum(found, np.flatnonzero(part)[-1]))


def compressed(v: da.Array, alive: da.Array) -> da.Array:
    """``v[alive]`` with chunk sizes known; v itself where nothing is left out."""
    if int(alive.sum()) == alive.size:
        return v
    return v[alive].persist().compute_chunk_sizes()


def spread(some: da.Array, alive: da.Array) -> da.Array:
    """The inverse of `compressed`, 0 where not alive."""
    if some.size == alive.size:
        return some
    return da.blockwise(
        _spread, "i", some, "i", alive, "i",
        dtype=np.float64, meta=np.empty(0), align_arrays=False,
        adjust_chunks={"i": alive.chunks[0]},
    )  # fmt: skip


def _spread(some: Array, alive: NDArray[np.bool_]) -> Array:
    w = np.zeros(alive.size)
    w[alive] = some
    return w


def least_squares(columns: da.Array, b: da.Array, rcond: float) -> Array:
    """x that minimises ``||columns x - b||``, from the triangle of ``[columns, b]``."""
    both = da.concatenate([columns, b[:, None]], axis=1).rechunk({1: -1})
    R = DaskRows(both).triangle()
    return np.asarray(np.linalg.lstsq(R[:, :-1], R[:, -1], rcond=rcond)[0], dtype=np.float64)
