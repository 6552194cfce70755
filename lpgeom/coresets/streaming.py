"""``StreamingCoreset``: a coreset of rows that come in blocks, by merge and reduce."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.coresets.record import Coreset, Provenance
from lpgeom.coresets.sampling import EXACT, draw, sensitivities_of
from lpgeom.io import validation
from lpgeom.records.fields import Cost, Count, Rank, Saved, Size, array, built, index_vector
from lpgeom.rows.base import Array
from lpgeom.rows.door import open_rows
from lpgeom.threads import serial_blas

FAN_IN = 4
"""Buckets that are reduced to one: rows are drawn log_4 times instead of log_2 times one after
another, for half as many buckets more in memory."""

OPTIONS = ("p", "size", "k", "seed", "failure_probability")

SMALLEST_STEP = 1024
"""Rows of a block that are taken in at a time: a large block is never copied whole."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """Weighted rows, where they stood in the stream, and how far from the rows they stand for.

    `growth` is the sum of ``log(1 + eps)`` over the reductions they went through, for every
    subspace at once; `growth_fixed` for one subspace.
    """

    rows: Annotated[Array, array(lambda known: (None, None))]
    weights: Annotated[Array, array(lambda known: known["rows"].shape[:1])]
    indices: Annotated[NDArray[np.int64], index_vector]
    growth: Cost = 0.0
    growth_fixed: Cost = 0.0

    def __len__(self) -> int:
        return len(self.weights)

    def at(self, where: NDArray[np.int64]) -> Bucket:
        """A copy of some of the rows."""
        return replace(
            self, rows=self.rows[where], weights=self.weights[where], indices=self.indices[where]
        )

    def part(self, lo: int, hi: int | None = None) -> Bucket:
        """A copy of the rows from one place to another."""
        return self.at(np.arange(len(self))[lo:hi])

    def moved(self, offset: int) -> Bucket:
        return replace(self, indices=self.indices + offset)


def union(buckets: Sequence[Bucket], d: int) -> Bucket:
    """All of them as one, in the order of the stream."""
    every = Bucket(
        np.concatenate([np.empty((0, d)), *(b.rows for b in buckets)]),
        np.concatenate([np.empty(0), *(b.weights for b in buckets)]),
        np.concatenate([np.empty(0, np.int64), *(b.indices for b in buckets)]),
        max((b.growth for b in buckets), default=0.0),
        max((b.growth_fixed for b in buckets), default=0.0),
    )
    return every.at(np.argsort(every.indices, kind="stable"))


@dataclass(frozen=True, eq=False)
class State:
    """All that a stream remembers. Replaced as a whole: an interrupted call leaves the old one.

    Attributes
    ----------
    n_rows : int
        Rows seen, zero rows and rows of weight 0 included.
    pending : Bucket
        Rows that do not fill a leaf yet, fewer than `size`.
    levels : tuple of tuple of Bucket
        ``levels[0]``: leaves, `size` rows each as they came; ``levels[j]``: coresets of at most
        `size` rows for 4^j leaves. Fewer than `FAN_IN` of each.
    reductions : tuple of int
        How many reductions have led to each level: with the seed they say what is drawn next.
    spent : float
        Failure probability of the reductions so far.
    """

    n_rows: Rank
    pending: Bucket
    levels: tuple[tuple[Bucket, ...], ...] = ()
    reductions: tuple[Count, ...] = ()
    spent: Size = 0.0

    @property
    def d(self) -> int:
        return int(self.pending.rows.shape[1])

    def checked(self, size: int) -> State:
        """The state, as it is: a ValueError says what cannot be one of a stream of this size."""
        if any(len(level) >= FAN_IN for level in self.levels):
            raise ValueError(f"a level has {FAN_IN} buckets")
        whole = [bucket for level in self.levels for bucket in level]
        for bucket, most in ((self.pending, size - 1), *((bucket, size) for bucket in whole)):
            indices, rows = bucket.indices, bucket.rows
            if rows.shape != (indices.size, self.d):
                raise ValueError(f"a bucket of {indices.size} indices has rows of {rows.shape}")
            if indices.size > most:
                raise ValueError(f"a bucket has {indices.size} rows, expected at most {most}")
            if indices.size and (indices.min() < 0 or indices.max() >= self.n_rows):
                raise ValueError(f"indices are not between 0 and {self.n_rows}")
            if not (bucket.weights > 0.0).all():
                raise ValueError("weights are not positive")
        return self


class StreamingCoreset(Saved):
    """A coreset of rows that come in blocks, in O(size log n) memory.

    Parameters
    ----------
    p : float
        1 <= p <= 100.
    size : int
        Rows of the coreset, and of each bucket.
    k : int, optional
        The largest rank of interest; see `coreset`.
    seed : int
    failure_probability : float
        How likely each statement of the provenance may fail.

    Notes
    -----
    Rows are collected into leaves of `size` rows; four leaves are reduced to a coreset of `size`
    rows, four of those to another, and so on (merge and reduce). What a reduction draws depends on
    the seed and on its place in this tree alone. So the coreset is the same, bit for bit, however
    the stream is cut into blocks, whatever the number of threads, and whether or not it was saved
    and loaded on the way. Costs stay unbiased; errors add up over the log_4(n / size) levels (C8 of
    docs/coresets.md). Streams that are to be merged should have different seeds.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> stream = lpgeom.StreamingCoreset(p=1.0, size=500)
    >>> for block in range(20):
    ...     stream = stream.partial_fit(rng.standard_normal((400, 6)))
    >>> c = stream.coreset()
    >>> c.shape, len(c) <= 500
    ((8000, 6), True)
    >>> bool(abs(c.weights.sum() / 8000 - 1.0) < 0.1)
    True
    """

    _WORD = "stream"

    def __init__(
        self,
        p: float = 1.0,
        size: int = 1000,
        k: int | None = None,
        seed: int = 0,
        *,
        failure_probability: float = 0.01,
    ) -> None:
        self.p = validation.check_p(p)
        self.size = validation.check_positive_int("size", size)
        self.k = None if k is None else validation.check_positive_int("k", k)
        self.seed = validation.check_seed(seed)
        self.failure_probability = validation.check_tolerance(
            failure_probability, "failure_probability"
        )
        self._state: State | None = None

    @property
    def n_rows(self) -> int:
        """Rows seen so far."""
        return 0 if self._state is None else self._state.n_rows

    def __repr__(self) -> str:
        rank = "" if self.k is None else f", k={self.k}"
        return f"StreamingCoreset(p={self.p:g}, size={self.size}{rank}, n_rows={self.n_rows})"

    def partial_fit(
        self, block: ArrayLike, row_weights: ArrayLike | None = None
    ) -> StreamingCoreset:
        """Take in rows; if it fails or is interrupted, none of them.

        Parameters
        ----------
        block : array_like, shape (b, d)
        row_weights : array_like, shape (b,), optional
            omega >= 0, not all zero.

        Raises
        ------
        TypeError, ValueError
            A block that is not a finite real matrix with the columns of the earlier ones.
        """
        array = validation.check_matrix(block, "block")
        validation.largest_entries(array, name="block")
        omega = validation.check_weights(row_weights, len(array))
        state = self._started(array.shape[1])
        step = max(self.size, SMALLEST_STEP)
        for lo in range(0, len(array), step):
            rows = np.asarray(array[lo : lo + step], dtype=np.float64)
            weights = np.ones(len(rows)) if omega is None else omega[lo : lo + step]
            # What costs nothing for any subspace is counted, and left out.
            matters = np.flatnonzero((weights > 0.0) & rows.any(axis=1))
            taken = Bucket(rows[matters], weights[matters], matters + state.n_rows)
            state = self._grown(replace(state, n_rows=state.n_rows + len(rows)), taken)
        self._state = state
        return self

    def merge(self, other: StreamingCoreset) -> StreamingCoreset:
        """Take in another stream, as if its rows came after these; `other` stays as it is.

        Raises
        ------
        ValueError
            If p, size, k or the number of columns differ.
        """
        if not isinstance(other, StreamingCoreset):
            raise TypeError(f"only a StreamingCoreset can be merged, got {type(other).__name__}")
        for name in ("p", "size", "k"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"streams of different {name}: {getattr(self, name)} and {getattr(other, name)}"
                )
        theirs = other._state
        if theirs is None:
            return self
        mine = self._started(theirs.d)
        levels = tuple(
            (*ours, *(bucket.moved(mine.n_rows) for bucket in others))
            for ours, others in zip_longest(mine.levels, theirs.levels, fillvalue=())
        )
        n_rows, spent = mine.n_rows + theirs.n_rows, mine.spent + theirs.spent
        both = replace(mine, n_rows=n_rows, levels=levels, spent=spent)
        self._state = self._grown(both, theirs.pending.moved(mine.n_rows))
        return self

    def coreset(self) -> Coreset:
        """The coreset of all rows seen so far; the stream can go on.

        Raises
        ------
        ValueError
            If there was no row yet.
        """
        state = self._state
        if state is None:
            raise ValueError("no rows yet: call partial_fit first")
        everything = union([*(b for level in state.levels for b in level), state.pending], state.d)
        spent = state.spent
        if len(everything) > self.size:
            # Level 0 is never the result of a reduction: this draw is no other's.
            delta = 0.5 * self.failure_probability
            everything = self._reduced(everything, (0, state.n_rows), delta)
            spent += delta
        elif len(everything) == 0:  # zero rows cost nothing: one says so
            everything = Bucket(np.zeros((1, state.d)), np.ones(1), np.zeros(1, np.int64))
        return Coreset(
            everything.rows, everything.weights, everything.indices, p=self.p, k=self.k,
            shape=(state.n_rows, state.d), size=self.size,
            method="streamed lewis" if self.k is None else "streamed ridge", seed=self.seed,
            provenance=_provenance(everything, spent),
        )  # fmt: skip

    def _fields(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in OPTIONS}, "state": self._state}

    @classmethod
    def _from_file(cls, values: Any, version: int) -> StreamingCoreset:
        if foreign := set(values) - {*OPTIONS, "state"}:
            raise ValueError(f"stream has the unknown field {min(foreign)!r}")
        stream = cls(**{name: values[name] for name in OPTIONS})
        if (state := values["state"]) is not None:
            if version == 1:  # which repeated how many columns the rows have
                state = {name: value for name, value in state.items() if name != "d"}
            stream._state = built(State, state).checked(stream.size)
        return stream

    def _started(self, d: int) -> State:
        """The state, if it is for d columns; a new one before the first row."""
        if self._state is None:
            if self.k is not None:
                validation.check_k(self.k, d)
            return State(0, union([], d))
        if self._state.d != d:
            raise ValueError(f"rows of {d} columns; the earlier ones have {self._state.d}")
        return self._state

    def _grown(self, state: State, rows: Bucket) -> State:
        """The state with rows taken in: leaf after leaf, each carried up as far as it goes."""
        size = self.size
        pending = union([state.pending, rows], state.d)
        levels = [list(level) for level in state.levels] or [[]]
        reductions = list(state.reductions)
        spent = state.spent
        whole = len(pending) // size * size
        leaves = [pending.part(lo, lo + size) for lo in range(0, whole, size)]
        for leaf in [None, *leaves]:  # a merge may have filled levels before the first leaf
            if leaf is not None:
                levels[0].append(leaf)
            j = 0
            while j < len(levels):
                while len(levels[j]) >= FAN_IN:
                    reductions += [0] * (j + 2 - len(reductions))
                    done = sum(reductions)
                    # These shares add up to half of the failure probability, however many.
                    delta = 0.5 * self.failure_probability / ((done + 1.0) * (done + 2.0))
                    key = (j + 1, reductions[j + 1])
                    bucket = self._reduced(union(levels[j][:FAN_IN], state.d), key, delta)
                    del levels[j][:FAN_IN]
                    if j + 1 == len(levels):
                        levels.append([])
                    levels[j + 1].append(bucket)
                    reductions[j + 1] += 1
                    spent += delta
                j += 1
        return replace(
            state,
            pending=pending.part(whole),
            levels=tuple(tuple(level) for level in levels),
            reductions=tuple(reductions),
            spent=spent,
        )

    def _reduced(self, bucket: Bucket, key: tuple[int, int], delta: float) -> Bucket:
        """At most `size` of its rows, reweighted; the draw belongs to this node of the tree.

        On one thread, so that weights do not depend on the number of threads by a rounding.
        """
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        with serial_blas():
            problem = open_rows(bucket.rows, self.p, bucket.weights)
            sensitivities = sensitivities_of(problem.rows, self.p, self.k)
        chosen, factors, proved = draw(sensitivities, self.size, rng.random, delta)
        kept = bucket.at(chosen)
        return replace(
            kept,
            weights=kept.weights * factors,
            growth=kept.growth + math.log1p(proved.eps),
            growth_fixed=kept.growth_fixed + math.log1p(proved.eps_fixed),
        )


def _provenance(bucket: Bucket, spent: float) -> Provenance:
    if bucket.growth_fixed == 0.0:
        return EXACT
    eps, eps_fixed = (
        math.expm1(g) if g < 700.0 else math.inf for g in (bucket.growth, bucket.growth_fixed)
    )
    return Provenance.within("C8", eps, eps_fixed, spent)
