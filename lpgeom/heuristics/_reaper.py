"""REAPER: the convex relaxation of the p = 1 problem by reweighted least squares, rounded."""

from __future__ import annotations

import numpy as np

from lpgeom.geometry.fantope import water_filling
from lpgeom.geometry.spectrum import eigen
from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic, monotone
from lpgeom.heuristics.reweighting import DELTA, mean_square, powers
from lpgeom.rows.base import Array


@heuristic(steps=200, tol=1e-9)
def reaper(task: RowsTask) -> BasisFound:
    """REAPER: minimises ``sum_i ||Q a_i||`` over ``0 <= Q <= I, tr Q = d - k``, then rounds.

    The k eigenvectors of Q with the smallest eigenvalues are returned. Source: Lerman, McCoy,
    Tropp, Zhang, "Robust computation of linear models by convex relaxation", Foundations of
    Computational Mathematics 15, 2015, whose algorithm this is: with weights ``1 / max(||Q a_i||,
    delta)`` and C the weighted Gram, the least squares problem ``min tr(Q C Q)`` is solved by
    ``Q = U min(1, theta / lam) U^T`` (water filling over the eigenvalues lam of C). delta is 1e-10
    of the root mean squared norm, and all weights are 1 at first.

    Converges to the global minimum of the relaxation, at a linear rate that can be slow.
    Steps of one pass and one eigendecomposition, O(n d^2 + d^3) each.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points; read in blocks.
    k : int
        1 <= k <= d - 1.
    p, seed
        Checked, not used: REAPER is the relaxation at p = 1.
    max_iter : int, optional
        200 if not given.
    tol : float, optional
        Relative fall of the relaxed objective at which it stops; 1e-9 if not given.

    Returns
    -------
    HeuristicResult
        `history` holds the relaxed objective, distances below delta smoothed, and never rises.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import reaper
    >>> V = reaper([[1.0, 0.0], [2.0, 0.0], [-3.0, 0.0], [1.0, 2.5]], 1).V
    >>> abs(V).round(6).ravel().tolist()
    [1.0, 0.0]
    """
    rows, k = task.rows, task.k
    d = task.shape[1]
    weight, objective = powers(1.0, DELTA**2 * mean_square(task))

    def step(state: tuple[Array, Array]) -> tuple[tuple[Array, Array], float]:
        lam, U = eigen(state[1])
        t, C = rows.reweighted_gram(U * water_filling(lam, d - k), weight)
        return (U, C), objective(t)

    start = np.empty((0, 0)), rows.weighted_gram()
    return monotone(task, start, np.inf, step, lambda state: state[0][:, d - k :])
