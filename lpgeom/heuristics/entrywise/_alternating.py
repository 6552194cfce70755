"""Alternating l_p regressions."""

from __future__ import annotations

from dataclasses import replace

from lpgeom.entries.alternating import alternate
from lpgeom.heuristics.entrywise.base import EntriesTask, FactorsFound, entrywise


@entrywise(steps=60, tol=1e-4)
def alternating(task: EntriesTask) -> FactorsFound:
    """Minimises the cost over one factor at a time, from the SVD.

    Source: Ke and Kanade, "Robust L1 norm factorization in the presence of outliers and missing
    data by alternative convex programming", CVPR 2005. Theirs is p = 1; here any p, and every
    regression is solved to a duality gap of 1e-8 by `lp_regression`. The cost never rises; where it
    stops need not be a local minimum.

    A round costs 20 to 40 times n d k^2 operations.

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
        Half rounds: 60 if not given.
    tol : float, optional
        Relative fall of the cost in a round at which it stops; 1e-4 if not given.

    Returns
    -------
    HeuristicFactors
        `history` never rises.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import entrywise
    >>> A = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 9.0], [4.0, 4.0, 4.0]]
    >>> found = entrywise.alternating(A, 1)
    >>> (found.left @ found.right)[2].round(6).tolist()
    [3.0, 3.0, 3.0]
    """
    return replace(task, tol=max(task.tol, 1e-8)).followed(alternate)
