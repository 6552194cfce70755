"""Rows of a NumPy array or memory map, read in blocks and never copied whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.kernels.cpu import rowwise
from lpgeom.rows.base import Array, Passes, Rule

BLOCK_BYTES = 4 << 20
"""Bytes of one block in the type it is computed in: small beside A, large enough for BLAS."""


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
        A: NDArray[Any],
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
    def n_passes(self) -> float:
        return self._passes.total

    def single(self) -> ArrayRows:
        view = ArrayRows(
            self._A,
            self._factors,
            self._scale,
            self._block_bytes,
            dtype=np.float32,
            passes=self._passes,
            share=self._share,
        )
        view._norms = self._norms
        return view

    def scaled(self, factor: float) -> ArrayRows:
        """The same rows times a power of two."""
        view = ArrayRows(
            self._A,
            self._factors,
            self._scale * factor,
            self._block_bytes,
            dtype=self._dtype.type,
            passes=self._passes,
            share=self._share,
        )
        if self._norms is not None:
            view._norms = self._norms * factor**2
        return view

    def take(self, indices: NDArray[np.intp], factors: Array | None = None) -> ArrayRows:
        out = np.empty((len(indices), self.shape[1]), dtype=self._dtype)
        f = self._row_factors(indices)
        if factors is not None:
            f = f * factors
        step = self._block_rows()
        for lo in range(0, len(indices), step):
            hi = min(lo + step, len(indices))
            chunk = _plain(np.asarray(self._A[indices[lo:hi]]))
            rowwise.scale_rows(chunk, f[lo:hi], out[lo:hi])
        n = max(self.shape[0], 1)
        share = self._share * len(indices) / n
        self._passes.total += share
        return ArrayRows(
            out,
            block_bytes=self._block_bytes,
            dtype=self._dtype.type,
            passes=self._passes,
            share=share,
        )

    def squared_norms(self) -> Array:
        if self._norms is None:
            t = np.empty(self.shape[0])
            for lo, hi, block in self._blocks():
                rowwise.row_squares(block, t[lo:hi])
            self._norms = t
        return self._norms

    def quadratic_form(self, X: Array) -> Array:
        t = np.empty(self.shape[0])
        X = np.ascontiguousarray(X, dtype=self._dtype)
        product = self._buffer(X.shape[1])
        for lo, hi, block in self._blocks():
            rowwise.row_squares(np.matmul(block, X, out=product[: hi - lo]), t[lo:hi])
        return t

    def bilinear_form(self, M: Array) -> Array:
        t = np.empty(self.shape[0])
        M = np.ascontiguousarray(M, dtype=self._dtype)
        product = self._buffer(M.shape[1])
        for lo, hi, block in self._blocks():
            rowwise.row_dots(np.matmul(block, M, out=product[: hi - lo]), block, t[lo:hi])
        return t

    def weighted_gram(self, w: Array | None = None) -> Array:
        G = np.zeros((self.shape[1],) * 2)
        scaled = self._buffer(self.shape[1])
        for lo, hi, block in self._blocks():
            self._add_gram(G, block, None if w is None else w[lo:hi], scaled)
        return G

    def reweighted_gram(self, X: Array, rule: Rule) -> tuple[Array, Array]:
        t = np.empty(self.shape[0])
        G = np.zeros((self.shape[1],) * 2)
        X = np.ascontiguousarray(X, dtype=self._dtype)
        product = self._buffer(X.shape[1])
        scaled = self._buffer(self.shape[1])
        for lo, hi, block in self._blocks():
            rowwise.row_squares(np.matmul(block, X, out=product[: hi - lo]), t[lo:hi])
            self._add_gram(G, block, rule(t[lo:hi], lo, hi), scaled)
        return t, G

    def triangle(self, w: Array | None = None) -> Array:
        d = self.shape[1]
        R = np.zeros((0, d))
        for lo, hi, block in self._blocks(at_least=2 * d):
            part = block if w is None else block * np.sqrt(w[lo:hi])[:, None]
            R = np.linalg.qr(np.concatenate([R, part.astype(np.float64, copy=False)]), mode="r")
        full = np.zeros((d, d))
        full[: R.shape[0]] = R
        return full

    def _add_gram(self, G: Array, block: NDArray[Any], w: Array | None, buffer: Any) -> None:
        """``G += sum_i w_i a_i a_i^T`` by one symmetric product for each sign of w."""
        if w is None:
            G += block.T @ block
            return
        top = float(np.max(np.abs(w), initial=0.0))
        if top == 0.0:
            return
        root = np.sqrt(np.abs(w) / top)
        for sign, rows in ((1.0, w > 0), (-1.0, w < 0)):
            if not rows.any():
                continue
            part, f = (block, root) if rows.all() else (block[rows], root[rows])
            scaled = buffer[: len(f)]
            rowwise.scale_rows(part, f, scaled)
            G += (sign * top) * (scaled.T @ scaled)

    def _row_factors(self, indices: NDArray[np.intp]) -> Array:
        f = np.full(len(indices), self._scale)
        return f if self._factors is None else f * self._factors[indices]

    def _block_rows(self) -> int:
        row_bytes = max(self.shape[1] * self._dtype.itemsize, 1)
        return max(16, self._block_bytes // row_bytes)

    def _buffer(self, width: int) -> NDArray[Any]:
        return np.empty((min(self._block_rows(), self.shape[0]), width), dtype=self._dtype)

    def _blocks(self, at_least: int = 1) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Blocks ``(lo, hi, rows lo to hi)``, scaled, in the dtype computed in; one pass.

        A block is a view of A where nothing has to be done to it, otherwise a buffer that the
        next block overwrites.
        """
        n, d = self.shape
        step = max(self._block_rows(), at_least)
        as_is = self._factors is None and self._scale == 1.0 and self._A.dtype == self._dtype
        as_is = as_is and self._A.flags.c_contiguous
        buffer = None if as_is else np.empty((min(step, n), d), dtype=self._dtype)
        for lo in range(0, n, step):
            hi = min(lo + step, n)
            block = np.asarray(self._A[lo:hi])
            if buffer is not None:
                f = np.full(hi - lo, self._scale)
                if self._factors is not None:
                    f *= self._factors[lo:hi]
                rowwise.scale_rows(_plain(block), f, buffer[: hi - lo])
                block = buffer[: hi - lo]
            yield lo, hi, block
        self._passes.total += self._share


def _plain(block: NDArray[Any]) -> NDArray[Any]:
    """The block in a dtype the kernels know: float32, float64 or an integer type, native order."""
    if block.dtype.kind in "iu" or block.dtype in (np.float32, np.float64):
        return block if block.dtype.isnative else block.astype(block.dtype.newbyteorder("="))
    return block.astype(np.float64)
