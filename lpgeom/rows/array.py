"""Rows of a NumPy array or memory map, read in blocks and never copied whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.kernels.cpu import rowwise
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.blocks import Block, BlockRows, Raw, Stop
from lpgeom.threads import spread


class ArrayRows(BlockRows):
    """Rows ``scale * factors[i] * A[i]`` of an array, a strided view or a memory map.

    Parameters as in `BlockRows`, with NumPy arrays; a pass is spread over threads.
    """

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

    def run(self, work: Callable[[int, int, Stop], Any]) -> list[Any]:
        """One pass: ``work(worker, workers, stopped)`` on every worker; their results in order."""
        n, d = self.shape
        results = spread(work, float(n) * d)
        self._passes.total += self._share
        return results

    @property
    def _as_is(self) -> bool:
        # Short of what is checked there, an array that came through a socket may start anywhere.
        return super()._as_is and bool(self._A.flags.aligned)

    def blocks(
        self, worker: int, workers: int, stopped: Stop, step: int | None = None
    ) -> Iterator[Block]:
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


def plain(block: NDArray[Any]) -> NDArray[Any]:
    """The block as C-contiguous, aligned native float32 or float64: kernels are compiled for that.

    Arrays that came through a socket, as chunks of Dask do, may start anywhere.
    """
    dtype = np.float32 if block.dtype == np.float32 else np.float64
    return np.require(block, dtype, ["C", "A"])


def dense(rows: BlockRows) -> Array:
    """All rows as one float64 NumPy array, scale and factors applied (for few rows)."""
    out = np.empty(rows.shape)
    host = rows.place.host
    for lo, hi, block, c in rows.blocks(0, 1, lambda: False):
        root = np.sqrt(host(c))
        out[lo:hi] = host(block) * (root[:, None] if root.ndim else root)
    return out


def gathered(rows: Rows, index: NDArray[np.intp]) -> Array:
    """Few rows, from wherever they are, as one float64 NumPy array (see `dense`)."""
    some: Any = rows.take(index)
    return dense(some)
