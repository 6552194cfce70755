"""Weights of few rows among many, wherever these are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows.base import Array
from lpgeom.rows.vectors import largest

MOST = 20_000
"""Rows that are given a weight at most."""

NEGLIGIBLE = 1e-14
"""Weights below this share of the largest are left out."""


@dataclass(frozen=True)
class Weights:
    """`values` (s,) > 0 of the rows `index` (s,), ascending; the other rows have none."""

    index: NDArray[np.intp]
    values: Array

    @staticmethod
    def of(w: Array) -> Weights:
        """The heaviest of w (n,) >= 0, not all zero."""
        index, values = largest(w, MOST)
        matter = values > NEGLIGIBLE * values.max()
        return Weights(index[matter], values[matter])

    def at(self, index: NDArray[np.intp]) -> Array:
        """The weights of those rows (ascending), 0 for the others."""
        w = np.zeros(index.size)
        _, here, there = np.intersect1d(index, self.index, assume_unique=True, return_indices=True)
        w[here] = self.values[there]
        return w

    def among(self, index: NDArray[np.intp]) -> Weights:
        """For weights whose rows are numbered within `index` (ascending): among all rows."""
        return Weights(index[self.index], self.values)
