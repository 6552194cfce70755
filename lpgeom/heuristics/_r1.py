"""R1-PCA: Huber weights on the distances to the subspace."""

from __future__ import annotations

import numpy as np

from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic
from lpgeom.heuristics.reweighting import reweighted
from lpgeom.rows.base import Array


@heuristic(steps=100, tol=1e-8)
def r1_pca(task: RowsTask) -> BasisFound:
    """R1-PCA: minimises ``sum_i rho(y_i)`` over subspaces, y_i the distance of row i.

    ``rho(y) = y^2`` for y <= c and ``2 c y - c^2`` beyond (Huber), c the median distance to the
    SVD's subspace, where the descent starts. Source: Ding, Zhou, He, Zha, "R1-PCA: rotational
    invariant L1-norm principal component analysis for robust subspace factorization", ICML 2006.
    Their step is one subspace iteration ``V <- orth(C V)`` with the reweighted covariance
    ``C = sum_i min(1, c / y_i) a_i a_i^T``; here it is run to its limit, the leading eigenvectors
    of C, which lowers the same majoriser more for the same pass.

    About 10 to 50 steps of one pass and one eigendecomposition, O(n d^2 + d^3) each.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points; read in blocks.
    k : int
        1 <= k <= d - 1.
    p, seed
        Checked, not used.
    max_iter : int, optional
        100 if not given.
    tol : float, optional
        Relative fall of the objective at which it stops; 1e-8 if not given.

    Returns
    -------
    HeuristicResult
        `history` never rises.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import r1_pca
    >>> V = r1_pca([[1.0, 0.0], [2.0, 0.0], [-3.0, 0.0], [1.0, 2.5]], 1).V
    >>> float(abs(V[0, 0])) > 0.98
    True
    """
    start = task.svd_start()
    t = task.rows.quadratic_form(start.W)
    # Where most rows lie in the SVD's subspace their median distance is rounding.
    norms = task.rows.squared_norms()
    c2 = max(float(np.median(t)), 1e-24 * float(norms.max()))
    c = float(np.sqrt(c2))

    def weight(t: Array, lo: int, hi: int) -> Array:
        return c / np.sqrt(np.maximum(t, c2))

    def huber(t: Array) -> float:
        near = t <= c2
        return float(t[near].sum() + (2.0 * c * np.sqrt(t[~near]) - c2).sum())

    return reweighted(task, start, weight, huber)
