"""A splitting method with the proximal map of |x|^p."""

from __future__ import annotations

from lpgeom.entries.splitting import split
from lpgeom.heuristics.entrywise.base import EntriesTask, FactorsFound, entrywise


@entrywise(steps=200, tol=1e-4)
def admm(task: EntriesTask) -> FactorsFound:
    """Minimises ``sum |E|_ij^p`` subject to ``A - L = E``, rank L <= k, from the SVD.

    Source: Boyd et al., "Distributed optimization and statistical learning via the alternating
    direction method of multipliers", 2011, section 9.1 (a rank constraint is not convex: what is
    returned is the cheapest L met).

    A step costs O(n d^2 + n d k) operations; the penalty grows by 2% a step.

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
        200 if not given.
    tol : float, optional
        Relative change of the cost in a step at which it stops; 1e-4 if not given.

    Returns
    -------
    HeuristicFactors
        `history` holds the cheapest cost so far.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import entrywise
    >>> A = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 9.0], [4.0, 4.0, 4.0]]
    >>> found = entrywise.admm(A, 1)
    >>> (found.left @ found.right)[2].round(1).tolist()
    [3.0, 3.0, 3.0]
    """
    if task.k >= len(task.B):
        return FactorsFound(*task.svd_start(), note="k >= n: exact")
    return task.followed(split)
