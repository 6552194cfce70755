"""Tyler's M-estimator of scatter, and the subspace of its leading eigenvectors."""

from __future__ import annotations

import numpy as np

from lpgeom.geometry.spectrum import eigen
from lpgeom.heuristics.base import TINY, BasisFound, RowsTask, heuristic, leading
from lpgeom.rows.base import Array

FLOOR = 1e-14
"""Eigenvalues of the scatter below this share of the largest are rounding, and count as this."""


@heuristic(steps=100, tol=1e-6)
def tyler(task: RowsTask) -> BasisFound:
    """Tyler's M-estimator: minimises ``mean_i log(a_i^T S^-1 a_i) + (1/d) log det S`` over S > 0.

    The k leading eigenvectors of S are returned. Sources: Tyler, "A distribution-free M-estimator
    of multivariate scatter", Annals of Statistics 15, 1987; Zhang, "Robust subspace recovery by
    Tyler's M-estimator", Information and Inference 5, 2016, who shows that the iteration
    ``S <- sum_i a_i a_i^T / (a_i^T S^-1 a_i)``, trace 1, finds a subspace that holds more than
    k/d of otherwise well spread rows exactly (S then tends to a singular matrix: eigenvalues are
    kept above 1e-14 of the largest in S^-1). Lengths of rows do not matter; zero rows are left out.
    For n <= d it is the SVD.

    Steps of one pass and one eigendecomposition, O(n d^2 + d^3) each.

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
        Largest change of S in a step, relative, at which it stops; 1e-6 if not given.

    Returns
    -------
    HeuristicResult
        `history` never rises while no eigenvalue is at its floor.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import tyler
    >>> V = tyler([[1.0, 0.1], [2.0, 0.1], [-3.0, 0.1], [9.0, 90.0]], 1).V
    >>> float(abs(V[0, 0])) > 0.99
    True
    """
    rows = task.rows

    def rule(t: Array, lo: int, hi: int) -> Array:
        return np.where(t > TINY, 1.0 / np.maximum(t, TINY), 0.0)

    # The sphered rows: the same fixed points, and scale-free from the first step.
    norms = rows.squared_norms()
    S = rows.weighted_gram(rule(norms, 0, norms.size))
    S /= np.trace(S)
    history: list[float] = []
    converged = False
    n_iter = 0
    while not converged and n_iter < task.max_iter:
        lam, U = eigen(S)
        lam = np.maximum(lam, FLOOR * lam[-1])
        t, G = rows.reweighted_gram(U / np.sqrt(lam), rule)
        history.append(float(np.log(t[t > TINY]).mean() + np.log(lam).mean()))
        G /= np.trace(G)
        n_iter += 1
        converged = bool(np.linalg.norm(G - S) <= task.tol * np.linalg.norm(S))
        S = G
    V = leading(S, task.k)
    return BasisFound(V, n_iter=n_iter, converged=converged, history=tuple(history))
