"""Drop rows that look like outliers, then the SVD of the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import eigen
from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic
from lpgeom.rows.base import Array

DEVIATIONS = 3.0 * 1.4826
"""Rows further above the median than this many median absolute deviations go: three standard
deviations of a normal distribution."""


@heuristic(steps=20)
def outlier_filter_svd(task: RowsTask) -> BasisFound:
    """SVD of the rows that pass a median filter.

    The rule: a value passes if it is at most median + 3 * 1.4826 * MAD, over the rows that are not
    zero (MAD: median absolute deviation; Hampel, "The influence curve and its role in robust
    estimation", JASA 69, 1974). First the norms of the rows are filtered, then again and again the
    distances of all rows to the subspace of those kept, until the set kept repeats. At least half
    of the rows always pass. Minimises nothing; the usual cleaning of a data pipeline, as well done
    as it can be: the norms come first because long outliers would hide behind the subspace they
    attract, and rows they cost are judged again by distance.

    A few rounds of two passes (distances; Gram) and one eigendecomposition, O(n d^2 + d^3) each.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points; read in blocks.
    k : int
        1 <= k <= d - 1.
    p, seed, tol
        Checked, not used.
    max_iter : int, optional
        Rounds, at most: 20 if not given.

    Returns
    -------
    HeuristicResult
        `note` says how many rows were dropped.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import outlier_filter_svd
    >>> A = [[1.0, 0.1], [2.0, 0.0], [-3.0, 0.1], [-2.0, 0.1], [5.0, 90.0]]
    >>> found = outlier_filter_svd(A, 1)
    >>> float(abs(found.V[0, 0])) > 0.99, found.note
    (True, '1 of 5 rows dropped')
    """
    rows = task.rows
    norms = np.sqrt(rows.squared_norms())
    alive = norms > 0.0
    # Differences below this are rounding, and no reason to drop a row.
    slack = 1e-12 * float(norms.max())
    kept = _passing(norms, alive, slack)
    for n_iter in range(1, task.max_iter + 1):
        frame = _leading_of(task, kept)
        passing = _passing(np.sqrt(rows.quadratic_form(frame.W)), alive, slack)
        converged = bool((passing == kept).all())
        if converged or n_iter == task.max_iter:
            break
        kept = passing
    dropped = int(np.count_nonzero(alive & ~kept))
    note = f"{dropped} of {alive.size} rows dropped"
    return BasisFound(frame.V, n_iter=n_iter, converged=converged, note=note)


def _passing(values: Array, alive: NDArray[np.bool_], slack: float) -> NDArray[np.bool_]:
    """Which rows pass, among those alive."""
    seen = values[alive]
    middle = float(np.median(seen))
    spread = float(np.median(np.abs(seen - middle)))
    passing: NDArray[np.bool_] = alive & (values <= middle + DEVIATIONS * spread + slack)
    return passing


def _leading_of(task: RowsTask, kept: NDArray[np.bool_]) -> Frame:
    """The SVD's subspace of the rows kept; what they leave open is settled by all rows."""
    G = task.rows.weighted_gram(kept.astype(np.float64))
    lam, U = eigen(G)
    if lam[lam.size - task.k] <= 1e-12 * lam[-1]:
        everything = task.rows.weighted_gram()
        G += 1e-10 * (np.trace(G) / np.trace(everything)) * everything
        U = eigen(G)[1]
    return Frame.leading(U, task.k)
