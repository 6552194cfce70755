"""Spherical PCA: every row counts by its direction alone."""

from __future__ import annotations

import numpy as np

from lpgeom.heuristics.base import TINY, BasisFound, RowsTask, heuristic, leading


@heuristic()
def spherical_pca(task: RowsTask) -> BasisFound:
    """SVD of the rows scaled to length 1: maximises ``sum_i ||V^T a_i||^2 / ||a_i||^2``.

    Source: Locantore, Marron, Simpson, Tripoli, Zhang, Cohen, "Robust principal component
    analysis for functional data", Test 8, 1999. They centre at the spatial median first; here
    subspaces pass through the origin, as everywhere in lpgeom. Zero rows are left out. Bounded
    influence of every row, no iteration; it weighs short noisy rows as much as long ones.

    Two passes (norms; Gram of the scaled rows) and one eigendecomposition, O(n d^2 + d^3).

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points; read in blocks.
    k : int
        1 <= k <= d - 1.
    p, seed, max_iter, tol
        Checked, not used.

    Returns
    -------
    HeuristicResult

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import spherical_pca
    >>> V = spherical_pca([[1.0, 0.0], [2.0, 0.0], [0.0, 900.0]], 1).V
    >>> abs(V).round(12).ravel().tolist()
    [1.0, 0.0]
    """
    t = task.rows.squared_norms()
    w = np.where(t > TINY, 1.0 / np.maximum(t, TINY), 0.0)
    return BasisFound(leading(task.rows.weighted_gram(w), task.k))
