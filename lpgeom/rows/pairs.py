"""Rows beside their images under one matrix: the inner loop of the radial bounds.

Kept in memory, the images ``b_i = a_i X0`` halve the work of a quadratic form that pairs b_i with
a_i: one product gives ``b_i^T X a_i`` and ``a_i^T X a_i`` together, one gives both weighted sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lpgeom.rows import device
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.blocks import BlockRows, Stop
from lpgeom.rows.place import Place

LARGEST = 512 << 20
"""Bytes of images kept in memory at most; on a device a quarter of what is free, since two sets of
them are there while one follows the other."""


class Pairs:
    """``(b_i, a_i)`` with ``b_i = a_i X0``, X0 of shape (d, d), in the dtype of the rows.

    Sums over one row run in that dtype: meant for float32 views, to search with.
    """

    @staticmethod
    def of(rows: Rows, X0: Array) -> Pairs | None:
        """The pairs, or None where their images would not fit into LARGEST bytes."""
        if not isinstance(rows, BlockRows):
            return None
        n, d = rows.shape
        room = LARGEST
        if rows.place.on_device:
            room = min(room, device.free_bytes() // 4)
        return Pairs(rows, X0) if n * d * rows.dtype.itemsize <= room else None

    def __init__(self, rows: BlockRows, X0: Array) -> None:
        self._rows = rows
        n, d = rows.shape
        self._images: Any = rows.place.xp.empty((n, d), dtype=rows.dtype)
        X = self._placed(X0)
        matmul = rows.place.matmul

        def work(i: int, workers: int, stopped: Stop) -> None:
            for lo, hi, block, _ in rows.blocks(i, workers, stopped):
                matmul(block, X, out=self._images[lo:hi])

        rows.run(work)

    def forms(self, X: Array) -> tuple[Array, Array]:
        """``(b_i^T X a_i, a_i^T X a_i)`` for a symmetric X, each of shape (n,)."""
        (n, d), place = self._rows.shape, self._rows.place
        xp = place.xp
        first, second = xp.empty(n), xp.empty(n)
        there = self._placed(X)

        def work(i: int, workers: int, stopped: Stop) -> None:
            product = self._rows.buffer(d)
            for lo, hi, block, c in self._rows.blocks(i, workers, stopped):
                image = place.matmul(block, there, out=product[: hi - lo])
                first[lo:hi] = c * row_dots(place, image, self._images[lo:hi])
                second[lo:hi] = c * row_dots(place, image, block)

        self._rows.run(work)
        return first, second

    def gram(self, v: Array, w: Array) -> Array:
        """``sum_i v_i sym(b_i a_i^T) + w_i a_i a_i^T``, shape (d, d)."""
        d, place = self._rows.shape[1], self._rows.place
        dtype, xp = self._rows.dtype, place.xp

        def work(i: int, workers: int, stopped: Stop) -> Array:
            total = xp.zeros((d, d))
            mixed, room = self._rows.buffer(d), self._rows.buffer(d)
            part = xp.empty((d, d), dtype=dtype)
            for lo, hi, block, c in self._rows.blocks(i, workers, stopped):
                size = hi - lo
                left = xp.multiply(
                    self._images[lo:hi], (c * v[lo:hi]).astype(dtype)[:, None], out=mixed[:size]
                )
                left += xp.multiply(block, (c * w[lo:hi]).astype(dtype)[:, None], out=room[:size])
                total += place.matmul(left.T, block, out=part)
            return place.host(total)

        G: Array = np.sum(self._rows.run(work), axis=0)
        return 0.5 * (G + G.T)

    def _placed(self, X: Array) -> Any:
        """X beside the rows, in their dtype."""
        return self._rows.place.xp.asarray(np.ascontiguousarray(X, dtype=self._rows.dtype))


def row_dots(place: Place, left: Any, right: Any) -> Any:
    """``sum_j left_ij right_ij`` for each row; on the host in the dtype of the rows."""
    if not place.on_device:
        return np.einsum("ij,ij->i", left, right)
    out = place.xp.zeros(len(left))
    place.kernels.add_row_dots(left, right, 0, out)
    return out
