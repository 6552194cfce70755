"""The projection on the best subspace for rows."""

from __future__ import annotations

from lpgeom.heuristics.entrywise.base import EntriesTask, FactorsFound, entrywise
from lpgeom.subspace.approx import approx_rows


@entrywise()
def rows(task: EntriesTask) -> FactorsFound:
    """Minimises ``sum_i ||a_i - a_i V V^T||^p`` by `approx_subspace`; the factors are AV and V^T.

    What a solver for rows is worth to one who wants small entries. Robust to wrong rows, not to
    wrong entries.

    Parameters
    ----------
    A : array_like, shape (n, d)
    k : int
        1 <= k <= d - 1.
    p : float
        1 <= p <= 100.
    seed : int
        The same as in `approx_subspace`.
    max_iter, tol
        Checked, not used.

    Returns
    -------
    HeuristicFactors

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import entrywise
    >>> found = entrywise.rows([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 2.0]], 1)
    >>> abs(found.right).round(6).tolist()
    [[1.0, 0.0]]
    """
    found = approx_rows(task.B, task.k, task.p, certify=False, seed=task.seed)
    V, steps = found.basis, found.n_iter
    return FactorsFound(task.B @ V, V.T, "", steps, found.converged, found.method)
