"""Rows of a Dask array: passes run where the chunks are, and only (d, d) matrices travel.

Dask does all the scheduling. A pass is one task a chunk, which wraps its chunk in `ArrayRows`, and
a tree that adds the (d, d) results; per-row vectors are Dask arrays with the chunks of the rows,
kept on the workers. What a lost worker held is computed again from its recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from lpgeom.io import validation
from lpgeom.rows.array import ArrayRows
from lpgeom.rows.array import opened as opened_here
from lpgeom.rows.base import Array, KeepingRule, Rule, is_distant
from lpgeom.rows.problem import Problem, units
from lpgeom.rows.views import Views
from lpgeom.threads import serial_blas

FAN_IN = 8
"""Matrices added in one task of the tree."""

LOCAL_BYTES = 256 << 20
"""Bytes of rows that are fetched at most, for searches of very many passes."""


class DaskRows(Views):
    """Rows ``scale * factors[i] * A[i]`` of a Dask array whose chunks hold whole rows.

    Parameters
    ----------
    A : dask.array.Array, shape (n, d)
        One chunk along the columns, known chunk sizes.
    factors : dask.array.Array, shape (n,), float64, optional
        Row factors, in the chunks of A.
    **view
        The other parameters of `Views`.

    Notes
    -----
    Grams are summed in an order that depends on the chunks alone: the number of workers does not
    change a bit of the result.
    """

    def squared_norms(self) -> Array:
        if self._norms is None:
            self._norms = self._left(self._vector("squared_norms"))
        return self._norms

    def quadratic_form(self, X: Array) -> Array:
        return self._left(self._vector("quadratic_form", X))

    def bilinear_form(self, M: Array) -> Array:
        return self._left(self._vector("bilinear_form", M))

    def weighted_gram(self, w: Array | None = None) -> Array:
        return self._fetched(self._matrices("weighted_gram", w).sum(axis=0, split_every=FAN_IN))

    def reweighted_gram(self, X: Array, rule: Rule | KeepingRule) -> tuple[Array, ...]:
        t = self._vector("quadratic_form", X)
        found = rule(t, 0, self.shape[0])
        w, *kept = found if isinstance(found, tuple) else (found,)
        G = self._matrices("weighted_gram", w).sum(axis=0, split_every=FAN_IN)
        # Together: a chunk is read once for all of them.
        G, t, *kept = dask.persist(G, t, *kept)
        return t, self._fetched(G), *kept

    def triangle(self, w: Array | None = None) -> Array:
        parts = self._matrices("triangle", w)
        R = da.reduction(
            parts,
            chunk=_keep,
            combine=_triangle_of_triangles,
            aggregate=_triangle_of_triangles,
            axis=0,
            dtype=np.float64,
            split_every=FAN_IN,
            meta=np.empty((0, 0)),
        )
        return self._fetched(R)

    def take(self, indices: NDArray[np.intp], factors: Array | None = None) -> ArrayRows:
        n, d = self.shape
        order = np.argsort(indices, kind="stable")
        index = np.asarray(indices)[order]
        given = np.ones(len(index)) if factors is None else factors[order]
        blocks = chunks_of(self._A)
        own = [None] * len(blocks) if self._factors is None else chunks_of(self._factors)
        tasks = [
            dask.delayed(_taken)(self._rows, blocks[j], own[j], index[part] - lo, given[part])
            for j, lo, part in by_chunk(index, self._A.chunks[0])
        ]
        out = np.empty((len(index), d), self._dtype)
        out[order] = np.concatenate([out[:0], *dask.compute(*tasks)])
        share = len(index) / max(n, 1)
        self._passes.total += share
        return ArrayRows(out, dtype=self._dtype.type, passes=self._passes, share=share)

    def reduced(self) -> tuple[ArrayRows, Array]:
        return self.take(np.arange(self.shape[0])).reduced()

    def local(self) -> ArrayRows | None:
        n, d = self.shape
        if n * d * self._dtype.itemsize > LOCAL_BYTES:
            return None
        return self.take(np.arange(n))

    def here(self, entries: int) -> ArrayRows | Self:
        here = self.local()
        return self if here is None else here

    def _left(self, v: da.Array) -> Any:
        """One pass over the chunks; the vector stays where it is made."""
        self._passes.total += 1.0
        return v.persist()

    def _fetched(self, M: da.Array) -> Array:
        """One pass over the chunks; the matrix comes here."""
        self._passes.total += 1.0
        return np.asarray(M.compute(), dtype=np.float64)

    def _vector(self, method: str, X: Array | None = None) -> da.Array:
        """A pass of `ArrayRows` that gives a number for each row; lazy."""
        return self._on_chunks(method, "i", X, meta=np.empty(0))

    def _matrices(self, method: str, w: Any) -> da.Array:
        """A pass that gives a (d, d) matrix for each chunk; lazy, shape (chunks, d, d)."""
        d = self.shape[1]
        shape = {"new_axes": {"k": d, "l": d}, "adjust_chunks": {"i": 1}}
        beside = () if w is None else (w, "i")
        return self._on_chunks(
            method, "ikl", None, *beside, stacked=True, meta=np.empty((0, 0, 0)), **shape
        )

    def _on_chunks(
        self, method: str, axes: str, X: Array | None, *beside: Any, **form: Any
    ) -> da.Array:
        """A pass of `ArrayRows` over every chunk, with what lies beside its rows."""
        factors = () if self._factors is None else (self._factors, "i")
        # X is one task of its own: sent once, not with every chunk.
        X = None if X is None else dask.delayed(X, traverse=False, pure=True)
        return da.blockwise(
            _on_chunk, axes, self._A, "ij", *factors, *beside,
            rows=self._rows, method=method, X=X, factored=self._factors is not None,
            dtype=np.float64, concatenate=True, **form,
        )  # fmt: skip

    @property
    def _rows(self) -> Callable[..., ArrayRows]:
        """What a worker makes of a chunk and its factors."""
        return partial(ArrayRows, scale=self._scale, dtype=self._dtype.type, longest=self._longest)


def _on_chunk(
    block: NDArray[Any],
    *vectors: Array,
    rows: Callable[..., ArrayRows],
    method: str,
    X: Array | None,
    factored: bool,
    stacked: bool = False,
) -> Array:
    """On a worker: that pass over one chunk. The chunks are the parallelism, so on one thread."""
    here = rows(block, vectors[0] if factored else None)
    arguments = (() if X is None else (X,)) + vectors[factored:]
    with serial_blas():
        result: Array = getattr(here, method)(*arguments)
    return result[None] if stacked else result


def _taken(
    rows: Callable[..., ArrayRows],
    block: NDArray[Any],
    factors: Array | None,
    index: NDArray[np.intp],
    given: Array,
) -> NDArray[Any]:
    """On a worker: a few rows of one chunk, scaled."""
    taken: NDArray[Any] = rows(block, factors).take(index, given)._A
    return taken


def _keep(parts: Array, axis: Any, keepdims: bool) -> Array:
    return parts


def _triangle_of_triangles(parts: Array, axis: Any, keepdims: bool) -> Array:
    """R with ``R^T R = sum_j R_j^T R_j``, of R_j stacked along the first axis."""
    R = np.asarray(np.linalg.qr(parts.reshape(-1, parts.shape[2]), mode="r"))
    return R[None] if keepdims else R


def chunks_of(v: da.Array) -> list[Any]:
    """The chunks of a vector or of rows as delayed NumPy arrays."""
    return list(v.to_delayed().reshape(-1))


def numbered_chunks(v: da.Array) -> list[tuple[int, Any]]:
    """Each chunk with the number of its first row."""
    starts = np.cumsum((0, *v.chunks[0])).tolist()
    return list(zip(starts[:-1], chunks_of(v), strict=True))


def by_chunk(index: NDArray[np.intp], sizes: tuple[int, ...]) -> list[tuple[int, int, slice]]:
    """(chunk, its first row, which of `index` it holds) of every chunk that holds any; `index`
    ascending."""
    starts = np.cumsum((0, *sizes))
    cuts = np.searchsorted(index, starts).tolist()
    return [
        (j, start, slice(*cuts[j : j + 2]))
        for j, start in enumerate(starts[:-1].tolist())
        if cuts[j] < cuts[j + 1]
    ]


# ---------------------------------------------------------------- the door


def opened(A: Any, p: Any, row_weights: Any, infinite: bool) -> Problem[Any]:
    """A Dask array, which stays where it is, unless it is no larger than the matrices that travel:
    then it is fetched."""
    array = check_matrix(A)
    n, d = array.shape
    if n < d:
        weights = row_weights.compute() if is_distant(row_weights) else row_weights
        return opened_here(array.compute(), p, weights, infinite)
    p = validation.check_p(p, infinite=infinite)
    omega = check_weights(row_weights, array)
    largest, counted = largest_entries(array, omega)
    scale, factors, unit = units(counted, omega, p)
    rows = DaskRows(array, factors, scale, longest=largest * scale)
    return Problem(array, rows, factors, scale, unit, p, omega)


def check_matrix(A: da.Array) -> da.Array:
    """A with whole rows in chunks of known size.

    Raises
    ------
    TypeError
        Entries that are not real numbers, or chunks that are masked or not NumPy arrays.
    ValueError
        Not two-dimensional, unknown chunk sizes, several chunks along the columns, or empty.
    """
    if not isinstance(A._meta, np.ndarray):
        kind = type(A._meta).__name__
        raise TypeError(f"the chunks of A must be NumPy arrays, they are {kind}")
    if isinstance(A._meta, np.ma.MaskedArray):
        raise TypeError("A is masked; fill or drop the masked entries first (da.ma.filled)")
    validation.check_form(A, "A")
    if np.isnan(A.shape).any():
        raise ValueError(
            f"A has unknown chunk sizes (shape {A.shape}); call A.compute_chunk_sizes() first, or "
            "make it by DataFrame.to_dask_array(lengths=True)"
        )
    if A.numblocks[1] != 1:
        raise ValueError(
            f"A is cut along its columns into chunks of {A.chunks[1]}; whole rows must lie in one "
            "chunk: pass A.rechunk({0: 'auto', 1: -1})"
        )
    return A


def largest_entries(A: da.Array, row_weights: da.Array | None) -> tuple[float, float]:
    """max |A_ij| over all rows, and over those whose weight is not 0.

    ValueError if an entry of some chunk is NaN or infinite, naming the first.
    """
    blocks = numbered_chunks(A)
    weights = [None] * len(blocks) if row_weights is None else chunks_of(row_weights)
    tasks = [
        dask.delayed(_largest)(block, w, lo) for (lo, block), w in zip(blocks, weights, strict=True)
    ]
    found = dask.compute(*tasks)
    for *_, trouble in found:
        if trouble is not None:
            raise ValueError(trouble)
    return max(top for top, *_ in found), max(counted for _, counted, _ in found)


def _largest(
    block: NDArray[Any], row_weights: Array | None, lo: int
) -> tuple[float, float, str | None]:
    """The error as a value: an exception would not say which of several chunks comes first."""
    try:
        tops = (
            validation.largest_entries(block, row_weights, first=lo) if len(block) else (0.0, 0.0)
        )
        return *tops, None
    except ValueError as error:
        return 0.0, 0.0, str(error)


def check_weights(row_weights: Any, A: da.Array) -> Any:
    """Row weights in the chunks of A, checked; from a Dask array, or NumPy's that is sent once."""
    if row_weights is None:
        return None
    sizes = A.chunks[0]
    if not isinstance(row_weights, da.Array):
        return da.from_array(validation.check_weights(row_weights, A.shape[0]), chunks=(sizes,))
    validation.check_weights_form(row_weights, A.shape[0])
    w = row_weights.astype(np.float64).rechunk((sizes,)).persist()
    low, high = (float(x) for x in dask.compute(w.min(), w.max()))
    if not (low >= 0.0 and high < np.inf):
        raise ValueError("row_weights have entries that are negative, NaN or infinite")
    if high == 0.0:
        raise ValueError("row_weights are all zero")
    return w
