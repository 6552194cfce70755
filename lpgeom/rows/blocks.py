"""The passes of `Rows` over blocks, for any place that the blocks lie in."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows.base import Array, KeepingRule, Rule
from lpgeom.rows.forms import Form, GramSum, bilinear, squared_norm
from lpgeom.rows.place import HOST
from lpgeom.rows.views import Views

Block = tuple[int, int, NDArray[Any], Array | float]
Raw = tuple[int, int, NDArray[Any]]
Kept = tuple[int, int, list[Array]]
Stop = Callable[[], bool]


class BlockRows(Views, ABC):
    """Rows ``scale * factors[i] * A[i]``, read in blocks.

    Parameters as in `Views`, and

    block_bytes : int, optional
        Size of one block in the dtype computed in; the place's own if not given.
    share : float
        Share of the data behind that is in these rows.
    """

    def __init__(
        self,
        A: Any,
        factors: Any = None,
        scale: float = 1.0,
        block_bytes: int | None = None,
        *,
        share: float = 1.0,
        **view: Any,
    ) -> None:
        super().__init__(A, factors, scale, **view)
        self._block_bytes = self.place.block_bytes if block_bytes is None else block_bytes
        self._share = share

    # ------------------------------------------------------------ what a place has to say

    @abstractmethod
    def _read(self, worker: int, workers: int, step: int) -> Iterator[Raw]:
        """This worker's share of A where the blocks lie, `step` rows at most at a time."""

    @abstractmethod
    def _some(self, indices: NDArray[np.intp]) -> Iterator[tuple[Any, Any]]:
        """Rows of A by their indices, as kernels take them, each block with its places among
        them."""

    def _rows_read(self, indices: NDArray[np.intp]) -> int:
        """How many rows of A `_some` reads."""
        return len(indices)

    @abstractmethod
    def _plain(self, block: Any) -> Any:
        """A block as kernels are compiled for."""

    def _copy(self, out: Any, share: float) -> Any:
        """Rows in memory, scaled, that were taken from these."""
        return self.in_memory(
            out, None, 1.0, self._block_bytes,
            dtype=out.dtype.type, passes=self._passes, share=share,
        )  # fmt: skip

    @property
    def in_memory(self) -> Callable[..., BlockRows]:
        """The class of rows that are taken from these."""
        return type(self)

    def fetching(self, *, factors: bool = True) -> Self:
        """The same rows, with or without their factors, with per-row vectors in NumPy.

        For algorithms that sort, split and relabel rows: n numbers travel in each pass, beside n d
        that do not.
        """
        here = copy(self)
        here.vectors = HOST
        if not factors:
            here._factors = here._norms = None
        return here

    # ------------------------------------------------------------ blocks

    def run(self, work: Callable[[int, int, Stop], Any]) -> list[Any]:
        """One pass: ``work(worker, workers, stopped)`` on every worker; their results in order."""
        n, d = self.shape
        results = self.place.run(work, float(n) * d)
        self._passes.total += self._share
        return results

    def blocks(
        self, worker: int, workers: int, stopped: Stop, step: int | None = None
    ) -> Iterator[Block]:
        """This worker's blocks ``(lo, hi, B, c)``: rows lo to hi are ``sqrt(c) B``.

        B is a view of A where `_as_is`, with scale and row factors left to c (a power of two, or
        exact to a rounding); otherwise a scaled copy that the next block overwrites, and c = 1.
        """
        n, d = self.shape
        xp, f = self.place.xp, self._factors
        step = step or self._block_rows()
        buffer = None if self._as_is else xp.empty((min(step, n), d), dtype=self._dtype)
        for lo, hi, block in self._read(worker, workers, step):
            if stopped():
                return
            if buffer is None:
                c: Any = self._scale**2
                if f is not None:
                    c = c * f[lo:hi] ** 2
                yield lo, hi, block, c
            else:
                g = xp.full(hi - lo, self._scale)
                if f is not None:
                    g *= f[lo:hi]
                self.place.kernels.scale_rows(self._plain(block), g, buffer[: hi - lo])
                yield lo, hi, buffer[: hi - lo], 1.0

    def take(self, indices: NDArray[np.intp], factors: Array | None = None) -> Self:
        """Those rows, in memory, row j multiplied by ``factors[j]``."""
        xp, m, n = self.place.xp, len(indices), max(self.shape[0], 1)
        out = xp.empty((m, self.shape[1]), dtype=self._dtype)
        f = xp.full(m, self._scale)
        if self._factors is not None:
            f *= self._factors[xp.asarray(indices)]
        if factors is not None:
            f *= xp.asarray(factors)
        for at, block in self._some(indices):
            part = out[at]  # a view, or for an array of places a copy
            self.place.kernels.scale_rows(block, f[at], part)
            out[at] = part
        self._passes.total += self._share * self._rows_read(indices) / n
        return self._copy(out, self._share * m / n)

    def reduced(self) -> tuple[Self, Array]:
        """For n < d: the rows in coordinates of their span.

        ``A = B Q^T`` with Q (d, n) orthonormal and B (n, n), by QR of A^T in float64 on the host (a
        copy of A, which is smaller than any (d, d) matrix). Everything that depends on inner
        products of rows is the same for B.
        """
        double = self.computed_in(np.float64)
        everything = self.place.host(double.take(np.arange(self.shape[0]))._A)
        Q, R = np.linalg.qr(everything.T)
        B = self.place.array(np.ascontiguousarray(R.T))
        return self._copy(B, self._share * len(B) / self.shape[1]), Q

    def dense(self) -> Any:
        """All rows as one float64 array where they are, scale and factors applied."""
        out = self.place.xp.empty(self.shape)
        for lo, hi, block, c in self.blocks(0, 1, lambda: False):
            root = math.sqrt(c) if isinstance(c, float) else self.place.xp.sqrt(c)[:, None]
            out[lo:hi] = block * root
        return out

    # ------------------------------------------------------------ views

    def local(self) -> Self:
        return self

    def here(self, entries: int) -> BlockRows:
        return self

    # ------------------------------------------------------------ passes

    def squared_norms(self) -> Array:
        if self._norms is None:
            add = self.place.kernels.add_row_squares
            self._norms = self._filled(lambda block, room, out: add(block, out), 0)
        return self._given(self._norms)

    def quadratic_form(self, X: Array) -> Array:
        return self._form(squared_norm(X, self.shape[0], self._dtype, self.place))

    def bilinear_form(self, M: Array) -> Array:
        return self._form(bilinear(M, self._dtype, self.place))

    def _form(self, form: Form) -> Array:
        return self._given(self._filled(form, form.width))

    def _filled(self, form: Callable[[Any, Any, Any], None], width: int) -> Any:
        t: Array = self.place.xp.zeros(self.shape[0])

        def work(i: int, workers: int, stopped: Stop) -> None:
            room = self.buffer(width)
            for lo, hi, block, c in self.blocks(i, workers, stopped):
                form(block, room, t[lo:hi])
                t[lo:hi] *= c

        self.run(work)
        return t

    def weighted_gram(self, w: Array | None = None) -> Array:
        d = self.shape[1]
        w = None if w is None else self.place.xp.asarray(w)
        own = self._own_blocks and (w is None or len(w) == 0 or bool(w.min() >= 0.0))

        def work(i: int, workers: int, stopped: Stop) -> GramSum:
            sums = GramSum(d, self._dtype, self.place)
            room = None if own or (w is None and self._factors is None) else self.buffer(d)
            for lo, hi, block, c in self.blocks(i, workers, stopped):
                weights = None if w is None else w[lo:hi]
                if not isinstance(c, float):
                    weights = c if weights is None else c * weights
                    c = 1.0
                sums.add(block, weights, c, block if room is None else room)
            return sums

        return GramSum.total(self.run(work))

    def reweighted_gram(self, X: Array, rule: Rule | KeepingRule) -> tuple[Array, ...]:
        t: Array = self.place.xp.zeros(self.shape[0])
        form = squared_norm(X, self.shape[0], self._dtype, self.place)

        def work(i: int, workers: int, stopped: Stop) -> tuple[GramSum, list[Kept]]:
            sums = GramSum(self.shape[1], self._dtype, self.place)
            kept: list[Kept] = []
            room = self.buffer(form.width)
            packed: Any = None
            for lo, hi, block, c in self.blocks(i, workers, stopped):
                form(block, room, t[lo:hi])
                t[lo:hi] *= c
                w = rule(self._given(t[lo:hi]), lo, hi)
                if isinstance(w, tuple):
                    w, *rest = w
                    kept.append((lo, hi, rest))
                weights = c * self.place.xp.asarray(w)
                own = self._own_blocks and weights.min() >= 0.0
                if packed is None and not own:
                    packed = self.buffer(self.shape[1])
                sums.add(block, weights, 1.0, block if own else packed)
            return sums, kept

        done = self.run(work)
        G = GramSum.total([sums for sums, _ in done])
        return self._given(t), G, *self._joined([piece for _, kept in done for piece in kept])

    def triangle(self, w: Array | None = None) -> Array:
        d = self.shape[1]
        xp = self.place.xp
        R = xp.zeros((0, d))
        rows_at_once = max(self._block_rows(), 2 * d)
        for lo, hi, block, c in self.blocks(0, 1, lambda: False, rows_at_once):
            weights = xp.full(hi - lo, 1.0) * c
            if w is not None:
                weights *= xp.asarray(w[lo:hi])
            stacked = xp.concatenate([R, block * xp.sqrt(weights)[:, None]])
            R = xp.linalg.qr(stacked, mode="r")
        self._passes.total += self._share
        full = np.zeros((d, d))
        full[: R.shape[0]] = self.place.host(R)
        return full

    # ------------------------------------------------------------ blocks

    def _steps(self, count: int) -> Iterator[slice]:
        """The places up to `count`, a block at a time."""
        step = self._block_rows()
        return (slice(lo, lo + step) for lo in range(0, count, step))

    def _block_rows(self) -> int:
        row_bytes = max(self.shape[1] * self._dtype.itemsize, 1)
        return max(16, self._block_bytes // row_bytes)

    @property
    def _as_is(self) -> bool:
        """True if blocks are views of A, False if they are copies that may be overwritten."""
        A = self._A
        # Left to c, a scale far from 1 would square out of range; so would what c is 0 for.
        mild = 2.0**-20 <= self._scale <= 2.0**20 and self._longest <= 2.0**20
        return bool(mild and A.dtype == self._dtype and A.flags.c_contiguous)

    @property
    def _own_blocks(self) -> bool:
        """Whether a block may be overwritten by its weighted rows."""
        return not self._as_is

    def buffer(self, width: int) -> NDArray[Any]:
        """Room for one block of rows of that width."""
        rows = min(self._block_rows(), self.shape[0])
        room: NDArray[Any] = self.place.xp.empty((rows, width), dtype=self._dtype)
        return room

    def _given(self, t: Any) -> Any:
        """A vector of a pass, where per-row vectors are."""
        return t if self.vectors.on_device else self.place.host(t)

    def _joined(self, pieces: list[Kept]) -> list[Array]:
        """Per-row vectors from their pieces, in any order."""
        if not pieces:
            return []
        vectors: list[Array] = [self.vectors.xp.empty(self.shape[0]) for _ in pieces[0][2]]
        for lo, hi, parts in pieces:
            for v, part in zip(vectors, parts, strict=True):
                v[lo:hi] = part
        return vectors
