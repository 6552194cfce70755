"""What a pass does with one block of rows: squared norms, bilinear forms, Gram sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows.base import Array
from lpgeom.rows.place import HOST, Place
from lpgeom.threads import serial_blas

Add = Callable[[NDArray[Any], NDArray[Any], int, Array], None]
"""``add(product, block, j, out)`` adds what the product of a block with panel j contributes."""

CORNER = 96
"""Columns of one panel of a (d, d) matrix whose lower triangle is filled in."""


class Form:
    """A number for each row of a block, from its products with panels of one matrix.

    Panel j of a triangular matrix needs only the columns of the rows from its first row on.
    """

    def __init__(
        self, panels: list[tuple[int, Array]], add: Add, dtype: np.dtype[Any], place: Place
    ) -> None:
        self._place, self._add = place, add
        self._panels: list[tuple[int, Any]] = [
            (j, place.xp.asarray(np.ascontiguousarray(x, dtype=dtype))) for j, x in panels
        ]
        self.width = max((x.shape[1] for _, x in panels), default=0)

    def __call__(self, block: NDArray[Any], room: NDArray[Any], out: Array) -> None:
        """Add to `out`."""
        for j, panel in self._panels:
            rows, width = len(block), panel.shape[1]
            product = room.reshape(-1)[: rows * width].reshape(rows, width)  # without gaps
            self._place.matmul(block[:, j:], panel, out=product)
            self._add(product, block, j, out)


def squared_norm(X: Array, n: int, dtype: np.dtype[Any], place: Place = HOST) -> Form:
    """``||a X||^2`` for a block of rows, panel by panel of a triangular X.

    ``X = L O`` with O orthonormal rows and L (d, r) lower trapezoidal (QR of X^T, backward stable)
    leaves ``||a X|| = ||a L||``: for r = d the work approaches half of the full product. Worth its
    QR for many rows and r near d; not on a device, where it would take longer than the product.
    """
    d, r = X.shape
    step, panels = place.panel, [(0, X)]
    if not place.on_device and r >= 2 * step and 4 * r >= 3 * d and n >= 8 * d:
        with serial_blas():
            L = np.asarray(np.linalg.qr(X.T, mode="r")).T
        panels = [(j, L[j:, j : j + step]) for j in range(0, L.shape[1], step)]
    add = place.kernels.add_row_squares
    return Form(panels, lambda product, block, j, out: add(product, out), dtype, place)


def bilinear(M: Array, dtype: np.dtype[Any], place: Place = HOST) -> Form:
    """``a^T M a`` for a block of rows and a symmetric M, from one triangle of M.

    ``a^T M a = a . (a T)`` with T the lower triangle of M, entries below the diagonal doubled: half
    of the full product.
    """
    step = place.panel if len(M) >= 2 * place.panel else len(M)
    T = np.tril(M) + np.tril(M, -1)
    panels = [(j, T[j:, j : j + step]) for j in range(0, len(M), step)]
    return Form(panels, place.kernels.add_row_dots, dtype, place)


class GramSum:
    """Running sum of weighted Grams, upper triangle; in float64 over groups of blocks."""

    def __init__(self, d: int, dtype: np.dtype[Any], place: Place = HOST) -> None:
        self._place = place
        self._G = place.xp.zeros((d, d), dtype=dtype, order="F")
        self._double = dtype == np.float64
        self._sum: Any = self._G if self._double else None
        self._pending = 0

    def add(self, block: NDArray[Any], w: Array | None, c: float, packed: NDArray[Any]) -> None:
        """Add ``c sum_i w_i b_i b_i^T``.

        `packed` is room for one block; the block itself, where it may be overwritten and no
        weight is negative.
        """
        if w is None:
            self._update(c, block)
            return
        top = float(np.abs(w).max())
        if top == 0.0:
            return
        for sign in (1.0, -1.0):
            count = self._place.kernels.pack_rows(block, w, top, sign, packed)
            if count > 0:
                self._update(sign * c * top, packed[:count])
            if count == len(w) or packed is block:
                break

    def _update(self, alpha: float, block: NDArray[Any]) -> None:
        if not (self._double or 1e-15 < abs(alpha) < 1e15):  # it would leave float32
            self._flush()
            self._place.kernels.rank_update(self._G, 1.0, block)
            self._flush(alpha)
            return
        self._place.kernels.rank_update(self._G, alpha, block)
        self._pending += 1
        if self._pending == self._place.flush and not self._double:
            self._flush()

    def _flush(self, alpha: float = 1.0) -> None:
        if self._sum is None:
            self._sum = self._place.xp.zeros(self._G.shape, order="F")
        self._sum += self._G if alpha == 1.0 else alpha * self._G.astype(np.float64)
        self._G[:] = 0.0
        self._pending = 0

    @staticmethod
    def total(parts: list[GramSum]) -> Array:
        """The sum over all workers, both triangles, as a NumPy array."""
        G = parts[0]._sum
        place = parts[0]._place
        if G is None:
            G = place.xp.zeros(parts[0]._G.shape, order="F")
        for part in parts:
            if part._sum is not None and part._sum is not G:
                G += part._sum
            if not part._double:
                G += part._G
        if place.xp is not np:  # there in a few sweeps; here it would take as long as a pass
            upper = place.xp.triu(G)
            upper += place.xp.triu(upper, 1).T
            return place.host(place.xp.ascontiguousarray(upper))
        d = len(G)
        for j in range(0, d, CORNER):  # panel by panel, no temporary of G's size
            k = min(j + CORNER, d)
            corner = np.triu(G[j:k, j:k])
            G[j:k, j:k] = corner + np.triu(corner, 1).T
            G[k:, j:k] = G[j:k, k:].T
        # Symmetric: the transpose of the Fortran array is the same matrix in C order.
        return G.T
