"""Selection of k columns of A, the others fitted by regressions."""

from __future__ import annotations

import math

import numpy as np

from lpgeom.entries.alternating import fit_right
from lpgeom.entries.starts import column_sets, is_exhaustive
from lpgeom.heuristics.entrywise.base import EntriesTask, FactorsFound, entrywise


@entrywise(steps=8)
def column_selection(task: EntriesTask) -> FactorsFound:
    """Minimises the cost over right factors, the left one being k columns of A.

    Source: Chierichetti, Gollapudi, Kumar, Lattanzi, Panigrahy, Woodruff, "Algorithms for l_p
    low-rank approximation", ICML 2017: the best k columns are within a factor k + 1 of the best
    factors, in norm. Which they are is not known: up to 200 sets are all tried; of more, the
    pivots of a QR decomposition, then sets drawn with probability in proportion to the columns'
    ``sum |a|^p``. Interpretable: the basis is made of features.

    Each set costs 10 to 20 times n d k^2 operations.

    Parameters
    ----------
    A : array_like, shape (n, d)
    k : int
        1 <= k <= d - 1.
    p : float
        1 <= p <= 100.
    seed : int
        Decides the draws.
    max_iter : int, optional
        Sets: 8 if not given.
    tol
        Checked, not used.

    Returns
    -------
    HeuristicFactors
        `note` names how many sets were tried.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import entrywise
    >>> A = [[1.0, 2.0, 7.0], [2.0, 4.0, 1.0], [3.0, 6.0, 1.0], [4.0, 8.0, 1.0]]
    >>> found = entrywise.column_selection(A, 2)
    >>> float(abs(A - found.left @ found.right).max().round(6)), found.note
    (0.0, 'all 3 sets of columns')
    """
    best, value = None, math.inf
    history = []
    for J in column_sets(task.B, task.k, task.p, task.max_iter, task.seed):
        left = np.ascontiguousarray(task.B[:, J])
        right, cost = fit_right(task.B, left, task.p, None)
        if best is None or cost < value:
            best, value = (left, right), cost
        history.append(value)
    assert best is not None
    everything = is_exhaustive(task.B.shape[1], task.k)
    note = f"{'all ' if everything else ''}{len(history)} sets of columns"
    return FactorsFound(*best, n_iter=len(history), note=note, history=tuple(history))
