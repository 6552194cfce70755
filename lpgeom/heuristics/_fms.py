"""Fast median subspace (FMS): reweighted eigenvectors from the SVD."""

from __future__ import annotations

from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic
from lpgeom.heuristics.reweighting import DELTA, mean_square, powers, reweighted


@heuristic(steps=100, tol=1e-9)
def fms(task: RowsTask) -> BasisFound:
    """Fast median subspace: minimises ``sum_i y_i^p`` over subspaces, 1 <= p <= 2.

    Source: Lerman and Maunu, "Fast, robust and non-convex subspace recovery", Information and
    Inference 7, 2018. From the SVD's subspace, take the k leading eigenvectors of ``sum_i
    max(y_i, delta)^(p-2) a_i a_i^T`` again and again, delta fixed at 1e-10 of the rows' root mean
    squared norm. Minimises the same cost as `approx_subspace` by the same majoriser, from one
    start and without lowering delta on the way; a row that the start fits exactly keeps its
    weight of 1 / delta.

    Steps of one pass and one eigendecomposition, O(n d^2 + d^3) each.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points; read in blocks.
    k : int
        1 <= k <= d - 1.
    p : float
        1 <= p <= 2; the exponent minimised.
    seed
        Checked, not used.
    max_iter : int, optional
        100 if not given.
    tol : float, optional
        Relative fall of the objective at which it stops; 1e-9 if not given.

    Returns
    -------
    HeuristicResult
        `history` holds the cost with distances below delta smoothed, and never rises.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range; p > 2.

    Examples
    --------
    >>> from lpgeom.heuristics import fms
    >>> V = fms([[1.0, 0.1], [2.0, 0.0], [-3.0, 0.1], [1.0, 2.5]], 1).V
    >>> float(abs(V[0, 0])) > 0.99
    True
    """
    p = task.p
    if p > 2.0:
        raise ValueError(f"fms is defined for 1 <= p <= 2, got p = {p:g}")
    start = task.svd_start()
    weight, objective = powers(p, DELTA**2 * mean_square(task))
    return reweighted(task, start, weight, objective)
