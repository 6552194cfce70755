"""What the solver already knows when the certificate begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.lewis import LewisWeights
from lpgeom.rows.base import Array
from lpgeom.rows.vectors import largest

MOST = 20_000
"""Rows that are given a weight at most."""

NEGLIGIBLE = 1e-14
"""Weights below this share of the largest are left out."""


@dataclass(frozen=True)
class Weights:
    """Weights of few rows among many: `values` (s,) > 0 of the rows `index` (s,), ascending.

    The other rows have none.
    """

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


@dataclass(frozen=True)
class Evidence:
    """The best subspace found, in the scaled units of the rows.

    Attributes
    ----------
    V : ndarray, shape (d, k), float64
        Orthonormal basis of the subspace.
    W : ndarray, shape (d, m), float64
        Orthonormal basis of its complement, m = d - k.
    t : ndarray, shape (n,), float64
        ``||a_i W||^2``, computed in float64.
    Y2 : ndarray, shape (n,), float64
        ``||a_i||^2``, computed in float64.
    lewis : LewisWeights or None
        Lewis weights of the same rows, with measured kappa; John's at p = inf.
    N : ndarray, shape (d, d), or None
        About ``sum_i t_i^(p/2-1) a_i a_i^T``, from the last step towards V: one step old, perhaps
        summed in float32. A start for searches; nothing proved may rest on it.
    duals : tuple of Weights
        p = inf: weights under which the subspace is nearly stationary.
    """

    V: Array
    W: Array
    t: Array
    Y2: Array
    lewis: LewisWeights | None = None
    N: Array | None = None
    duals: tuple[Weights, ...] = ()
