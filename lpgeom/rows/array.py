"""Rows of a NumPy array or memory map, read in blocks and never copied whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.kernels.cpu import rowwise
from lpgeom.rows.base import Array, KeepingRule, Passes, Rule
from lpgeom.rows.forms import Bilinear, GramSum, SquaredNorm
from lpgeom.threads import spread

BLOCK_BYTES = 2 << 20
"""Bytes of one block in the type it is computed in: a few blocks a worker stay in cache and are
small beside A, and are large enough for BLAS."""

Block = tuple[int, int, NDArray[Any], Array | float]
Raw = tuple[int, int, NDArray[Any]]
Kept = tuple[int, int, list[Array]]
Stop = Callable[[], bool]


class ArrayRows:
    """Rows ``scale * factors[i] * A[i]`` of an array, a strided view or a memory map.

    Parameters
    ----------
    A : ndarray, shape (n, d), any real dtype
    factors : ndarray, shape (n,), float64, optional
        Row factors (row weights to the power 1/p).
    scale : float
        A power of two that brings the largest entry near 1.
    block_bytes : int
        Size of one block in the dtype computed in.
    """

    def __init__(
        self,
        A: Any,
        factors: Array | None = None,
        scale: float = 1.0,
        block_bytes: int = BLOCK_BYTES,
        *,
        dtype: type[np.floating[Any]] = np.float64,
        passes: Passes | None = None,
        share: float = 1.0,
    ) -> None:
        self._A = A
        self._factors = factors
        self._scale = scale
        self._dtype = np.dtype(dtype)
        self._block_bytes = block_bytes
        self._passes = Passes() if passes is None else passes
        self._share = share
        self._norms: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        n, d = self._A.shape
        return int(n), int(d)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type passes are computed in."""
        return self._dtype

    @property
    def n_passes(self) -> float:
        return self._passes.total

    def single(self) -> ArrayRows:
        return self._view(self._scale, np.float32)

    def scaled(self, factor: float) -> ArrayRows:
        """The same rows times a power of two."""
        view = self._view(self._scale * factor, self._dtype.type)
        if self._norms is not None:
            view._norms = self._norms * factor**2
        return view

    def _view(self, scale: float, dtype: type[np.floating[Any]]) -> ArrayRows:
        view = type(self)(
            self._A,
            self._factors,
            scale,
            self._block_bytes,
            dtype=dtype,
            passes=self._passes,
            share=self._share,
        )
        view._norms = self._norms
        return view

    def take(self, indices: NDArray[np.intp], factors: Array | None = None) -> ArrayRows:
        out = np.empty((len(indices), self.shape[1]), dtype=self._dtype)
        f = np.full(len(indices), self._scale)
        if self._factors is not None:
            f *= self._factors[indices]
        if factors is not None:
            f *= factors
        step = self._block_rows()
        for lo in range(0, len(indices), step):
            chunk = plain(np.asarray(self._A[indices[lo : lo + step]]))
            rowwise.scale_rows(chunk, f[lo : lo + step], out[lo : lo + step])
        share = self._share * len(indices) / max(self.shape[0], 1)
        self._passes.total += share
        return ArrayRows(
            out,
            block_bytes=self._block_bytes,
            dtype=self._dtype.type,
            passes=self._passes,
            share=share,
        )

    def reduced(self) -> tuple[ArrayRows, Array]:
        """For n < d: the rows in coordinates of their span.

        ``A = B Q^T`` with Q (d, n) orthonormal and B (n, n), by QR of A^T in float64 (a copy of
        A, which is smaller than any (d, d) matrix). Everything that depends on inner products of
        rows is the same for B.
        """
        double = self._view(self._scale, np.float64)
        Q, R = np.linalg.qr(double.take(np.arange(self.shape[0]))._A.T)
        B = np.ascontiguousarray(R.T)
        return ArrayRows(B, passes=self._passes, share=self._share * len(B) / self.shape[1]), Q

    def squared_norms(self) -> Array:
        if self._norms is None:
            t = np.empty(self.shape[0])

            def work(i: int, workers: int, stopped: Stop) -> None:
                for lo, hi, block, c in self.blocks(i, workers, stopped):
                    t[lo:hi] = 0.0
                    rowwise.add_row_squares(block, t[lo:hi])
                    t[lo:hi] *= c

            self.run(work)
            self._norms = t
        return self._norms

    def quadratic_form(self, X: Array) -> Array:
        t = np.empty(self.shape[0])
        form = SquaredNorm(X, self.shape[0], self._dtype)

        def work(i: int, workers: int, stopped: Stop) -> None:
            room = self.buffer(form.width)
            for lo, hi, block, c in self.blocks(i, workers, stopped):
                form(block, room, t[lo:hi])
                t[lo:hi] *= c

        self.run(work)
        return t

    def bilinear_form(self, M: Array) -> Array:
        t = np.empty(self.shape[0])
        form = Bilinear(M, self._dtype)

        def work(i: int, workers: int, stopped: Stop) -> None:
            room = self.buffer(form.width)
            for lo, hi, block, c in self.blocks(i, workers, stopped):
                form(block, room, t[lo:hi])
                t[lo:hi] *= c

        self.run(work)
        return t

    def weighted_gram(self, w: Array | None = None) -> Array:
        d = self.shape[1]
        own = not self._as_is and (w is None or bool(w.min(initial=0.0) >= 0.0))

        def work(i: int, workers: int, stopped: Stop) -> GramSum:
            sums = GramSum(d, self._dtype)
            room = None if own or (w is None and self._factors is None) else self.buffer(d)
            for lo, hi, block, c in self.blocks(i, workers, stopped):
                weights = None if w is None else w[lo:hi]
                if isinstance(c, np.ndarray):
                    weights = c if weights is None else c * weights
                    c = 1.0
                sums.add(block, weights, c, block if room is None else room)
            return sums

        return GramSum.total(self.run(work))

    def local(self) -> ArrayRows:
        return self

    def reweighted_gram(self, X: Array, rule: Rule | KeepingRule) -> tuple[Array, ...]:
        t = np.empty(self.shape[0])
        form = SquaredNorm(X, self.shape[0], self._dtype)

        own = not self._as_is

        def work(i: int, workers: int, stopped: Stop) -> tuple[GramSum, list[Kept]]:
            sums = GramSum(self.shape[1], self._dtype)
            kept: list[Kept] = []
            room = self.buffer(form.width)
            packed = None
            for lo, hi, block, c in self.blocks(i, workers, stopped):
                form(block, room, t[lo:hi])
                t[lo:hi] *= c
                w = rule(t[lo:hi], lo, hi)
                if isinstance(w, tuple):
                    w, *rest = w
                    kept.append((lo, hi, rest))
                weights = c * w
                if own and weights.min() >= 0.0:
                    sums.add(block, weights, 1.0, block)
                    continue
                if packed is None:
                    packed = self.buffer(self.shape[1])
                sums.add(block, weights, 1.0, packed)
            return sums, kept

        done = self.run(work)
        G = GramSum.total([sums for sums, _ in done])
        return t, G, *_joined(len(t), [piece for _, kept in done for piece in kept])

    def triangle(self, w: Array | None = None) -> Array:
        d = self.shape[1]
        R = np.zeros((0, d))
        rows_at_once = max(self._block_rows(), 2 * d)
        for lo, hi, block, c in self.blocks(0, 1, lambda: False, rows_at_once):
            weights = np.full(hi - lo, 1.0) * c
            if w is not None:
                weights *= w[lo:hi]
            stacked = np.concatenate([R, block * np.sqrt(weights)[:, None]])
            R = np.asarray(np.linalg.qr(stacked, mode="r"))
        self._passes.total += self._share
        full = np.zeros((d, d))
        full[: R.shape[0]] = R
        return full

    def run(self, work: Callable[[int, int, Stop], Any]) -> list[Any]:
        """One pass: ``work(worker, workers, stopped)`` on every worker; their results in order."""
        n, d = self.shape
        results = spread(work, float(n) * d)
        self._passes.total += self._share
        return results

    def _block_rows(self) -> int:
        row_bytes = max(self.shape[1] * self._dtype.itemsize, 1)
        return max(16, self._block_bytes // row_bytes)

    @property
    def _as_is(self) -> bool:
        """True if blocks are views of A, False if they are copies that may be overwritten."""
        A = self._A
        # Left to c, a scale far from 1 would square out of range.
        mild = 2.0**-20 <= self._scale <= 2.0**20
        return bool(mild and A.dtype == self._dtype and A.flags.c_contiguous and A.flags.aligned)

    def buffer(self, width: int) -> NDArray[Any]:
        """Room for one block of rows of that width."""
        return np.empty((min(self._block_rows(), self.shape[0]), width), dtype=self._dtype)

    def blocks(
        self, worker: int, workers: int, stopped: Stop, step: int | None = None
    ) -> Iterator[Block]:
        """This worker's blocks ``(lo, hi, B, c)``: rows lo to hi are ``sqrt(c) B``.

        B is a view of A where the type and layout allow, with scale and row factors left to c (a
        power of two, or exact to a rounding); otherwise a scaled copy that the next block
        overwrites, and c = 1.
        """
        n, d = self.shape
        f = self._factors
        step = step or self._block_rows()
        buffer = None if self._as_is else np.empty((min(step, n), d), dtype=self._dtype)
        for lo, hi, block in self._read(worker, workers, step):
            if stopped():
                return
            if buffer is None:
                c: Array | float = self._scale**2
                if f is not None:
                    c = c * f[lo:hi] ** 2
                yield lo, hi, block, c
            else:
                g = np.full(hi - lo, self._scale)
                if f is not None:
                    g *= f[lo:hi]
                rowwise.scale_rows(plain(block), g, buffer[: hi - lo])
                yield lo, hi, buffer[: hi - lo], 1.0

    def _read(self, worker: int, workers: int, step: int) -> Iterator[Raw]:
        """This worker's share of A, in blocks of `step` rows at most."""
        n = self.shape[0]
        for lo in range(worker * step, n, workers * step):
            hi = min(lo + step, n)
            yield lo, hi, np.asarray(self._A[lo:hi])


def _joined(n: int, pieces: list[Kept]) -> list[Array]:
    """Vectors of length n from their pieces, in any order."""
    if not pieces:
        return []
    vectors = [np.empty(n) for _ in pieces[0][2]]
    for lo, hi, parts in pieces:
        for v, part in zip(vectors, parts, strict=True):
            v[lo:hi] = part
    return vectors


def plain(block: NDArray[Any]) -> NDArray[Any]:
    """The block as C-contiguous, aligned native float32 or float64: kernels are compiled for that.

    Arrays that came through a socket, as chunks of Dask do, may start anywhere.
    """
    dtype = np.float32 if block.dtype == np.float32 else np.float64
    return np.require(block, dtype, ["C", "A"])


def dense(rows: ArrayRows) -> Array:
    """All rows as one float64 array, scale and factors applied (for few rows)."""
    out = np.empty(rows.shape)
    for lo, hi, block, c in rows.blocks(0, 1, lambda: False):
        root = np.sqrt(c)
        out[lo:hi] = block * (root[:, None] if isinstance(root, np.ndarray) else root)
    return out
