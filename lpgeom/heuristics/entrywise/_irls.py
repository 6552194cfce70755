"""Iteratively reweighted least squares, entry by entry."""

from __future__ import annotations

from lpgeom.entries.reweighted import reweight
from lpgeom.heuristics.entrywise.base import EntriesTask, FactorsFound, entrywise


@entrywise(steps=100, tol=1e-5)
def irls(task: EntriesTask) -> FactorsFound:
    """Minimises ``sum w_ij (A - left @ right)_ij^2``, w being the last ``|residual|^(p-2)``.

    Source: De la Torre and Black, "A framework for robust subspace learning", IJCV 54, 2003, with
    the weights of the l_p cost. From the SVD, one weighted least-squares step for each row's
    coefficients, then for each column's, damped to a Newton step for p > 2. Small residuals are
    held back by a floor that halves from step to step. The cost can rise; the cheapest factors met
    are returned.

    A step costs 4 n d k^2 operations.

    Parameters
    ----------
    A : array_like, shape (n, d)
    k : int
        1 <= k <= d - 1.
    p : float
        1 <= p <= 100.
    seed
        Checked, not used.
    max_iter : int, optional
        100 if not given.
    tol : float, optional
        Relative fall of the cost at which it stops; 1e-5 if not given.

    Returns
    -------
    HeuristicFactors
        `history` holds the cost after each step.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import entrywise
    >>> A = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 9.0], [4.0, 4.0, 4.0]]
    >>> found = entrywise.irls(A, 1)
    >>> (found.left @ found.right)[2].round(3).tolist()
    [3.0, 3.0, 3.0]
    """
    return task.followed(reweight)
