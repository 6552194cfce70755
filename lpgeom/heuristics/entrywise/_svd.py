"""The truncated SVD, which minimises the sum of squares."""

from __future__ import annotations

from lpgeom.heuristics.entrywise.base import EntriesTask, FactorsFound, entrywise


@entrywise()
def svd(task: EntriesTask) -> FactorsFound:
    """Minimises ``sum_ij |A - left @ right|_ij^2``, whatever p.

    O(n d^2) operations.

    Parameters
    ----------
    A : array_like, shape (n, d)
    k : int
        1 <= k <= d - 1.
    p, seed, max_iter, tol
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
    >>> found = entrywise.svd([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]], 1)
    >>> (found.left @ found.right).round(6).tolist()
    [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]
    """
    return FactorsFound(*task.svd_start())
