"""Rows beside their images under one matrix: the inner loop of the radial bounds.

Kept in memory, the images ``b_i = a_i X0`` halve the work of a quadratic form that pairs b_i with
a_i: one product gives ``b_i^T X a_i`` and ``a_i^T X a_i`` together, one gives both weighted sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows.array import ArrayRows
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.blocks import Stop

LARGEST = 512 << 20
"""Bytes of images kept in memory at most."""


class Pairs:
    """``(b_i, a_i)`` with ``b_i = a_i X0``, X0 of shape (d, d), in the dtype of the rows.

    Sums over one row run in that dtype: meant for float32 views, to search with.
    """

    @staticmethod
    def of(rows: Rows, X0: Array) -> Pairs | None:
        """The pairs, or None where their images would not fit into LARGEST bytes."""
        if not isinstance(rows, ArrayRows):
            return None
        n, d = rows.shape
        return Pairs(rows, X0) if n * d * rows.dtype.itemsize <= LARGEST else None

    def __init__(self, rows: ArrayRows, X0: Array) -> None:
        self._rows = rows
        n, d = rows.shape
        self._images: NDArray[Any] = np.empty((n, d), dtype=rows.dtype)
        X = np.ascontiguousarray(X0, dtype=rows.dtype)

        def work(i: int, workers: int, stopped: Stop) -> None:
            for lo, hi, block, _ in rows.blocks(i, workers, stopped):
                np.matmul(block, X, out=self._images[lo:hi])

        rows.run(work)

    def forms(self, X: Array) -> tuple[Array, Array]:
        """``(b_i^T X a_i, a_i^T X a_i)`` for a symmetric X, each of shape (n,)."""
        n, d = self._rows.shape
        first, second = np.empty(n), np.empty(n)
        X = np.ascontiguousarray(X, dtype=self._rows.dtype)

        def work(i: int, workers: int, stopped: Stop) -> None:
            product = self._rows.buffer(d)
            for lo, hi, block, c in self._rows.blocks(i, workers, stopped):
                image = np.matmul(block, X, out=product[: hi - lo])
                first[lo:hi] = c * np.einsum("ij,ij->i", image, self._images[lo:hi])
                second[lo:hi] = c * np.einsum("ij,ij->i", image, block)

        self._rows.run(work)
        return first, second

    def gram(self, v: Array, w: Array) -> Array:
        """``sum_i v_i sym(b_i a_i^T) + w_i a_i a_i^T``, shape (d, d)."""
        d = self._rows.shape[1]
        dtype = self._rows.dtype

        def work(i: int, workers: int, stopped: Stop) -> Array:
            total = np.zeros((d, d))
            mixed, room = self._rows.buffer(d), self._rows.buffer(d)
            part = np.empty((d, d), dtype=dtype)
            for lo, hi, block, c in self._rows.blocks(i, workers, stopped):
                size = hi - lo
                left = np.multiply(
                    self._images[lo:hi], (c * v[lo:hi]).astype(dtype)[:, None], out=mixed[:size]
                )
                left += np.multiply(block, (c * w[lo:hi]).astype(dtype)[:, None], out=room[:size])
                total += np.matmul(left.T, block, out=part)
            return total

        G: Array = np.sum(self._rows.run(work), axis=0)
        return 0.5 * (G + G.T)
