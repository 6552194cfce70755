"""Fewer rows than columns around a point, in coordinates of their span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpgeom.affine.joint import power_of_two
from lpgeom.geometry.grassmann import widened
from lpgeom.rows.base import Array


@dataclass(frozen=True, eq=False)
class Around:
    """Rows less a point, and where they came from.

    Means, medians and best subspaces of the rows less a point are those of the rows, less it; those
    through a given point are then the ones through the origin.

    Attributes
    ----------
    rows : ndarray, shape (n, n)
        Coordinates in the columns of `span`, of size 1 at most.
    origin, span : ndarray, shapes (d,) and (d, n)
    unit : float
    """

    rows: Array
    origin: Array
    span: Array
    unit: float

    @staticmethod
    def of(rows: Array, point: Array | None) -> Around:
        """Around a point, or the median of each column."""
        origin = np.median(rows, axis=0) if point is None else point
        B = rows - origin
        unit = power_of_two(B) or 1.0
        span, R = np.linalg.qr((B / unit).T)
        return Around(np.ascontiguousarray(R.T), origin, span, unit)

    def lifted(self, c: Array, V: Array, k: int) -> tuple[Array, Array]:
        """``c + span V`` where the rows came from, with k axes."""
        return self.span @ c * self.unit + self.origin, widened(self.span @ V, k)


def in_few(B: Array) -> Array:
    """The n rows of B, n < d, in n coordinates of their span."""
    R: Array = np.asarray(np.linalg.qr(B.T, mode="r"))
    return np.ascontiguousarray(R.T)
