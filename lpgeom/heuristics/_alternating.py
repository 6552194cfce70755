"""Entrywise L1 factorisation by alternating L1 regressions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lpgeom.geometry.grassmann import widened
from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic, monotone
from lpgeom.heuristics.sweeps import sweep
from lpgeom.rows.base import Array

INNER = 20
"""Steps of one set of regressions; the next set goes on from its multipliers."""

RELAXATION = 1.6


@heuristic(steps=30, tol=1e-4, invariant=False)
def alternating_l1(task: RowsTask) -> BasisFound:
    """Minimises ``sum_ij |A - U V^T|_ij`` over U (n, k) and V (d, k); the span of V is returned.

    Source: Ke and Kanade, "Robust L1 norm factorization in the presence of outliers and missing
    data by alternative convex programming", CVPR 2005. From the SVD, U is fitted for fixed V (n
    regressions in the l_1 norm), then V for fixed U (d of them), and so on. They solve linear or
    quadratic programs; here the regressions that share a matrix are solved together by ADMM (one
    orthonormal factor for all; 20 steps of over-relaxed splitting, going on from the multipliers
    of the round before), and a row's or column's fit is kept only where it is better than the last
    one, so the sum never rises. Depends on the coordinates; meant for wrong entries, not wrong
    rows, and can end in a local minimum.

    Rounds of 160 n d k operations; limited to n d <= 2^26 entries.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points. Copied three times.
    k : int
        1 <= k <= d - 1.
    p, seed
        Checked, not used: the norm is l_1.
    max_iter : int, optional
        Rounds: 30 if not given.
    tol : float, optional
        Relative fall of the sum in a round at which it stops; 1e-4 if not given.

    Returns
    -------
    HeuristicResult
        `history` holds the sum, and never rises.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range; A too large.

    Examples
    --------
    >>> from lpgeom.heuristics import alternating_l1
    >>> A = [[1.0, 1.0], [2.0, 2.0], [-3.0, -3.0], [-2.0, -2.0], [1.0, 3.0]]
    >>> abs(alternating_l1(A, 1).V).round(3).ravel().tolist()
    [0.707, 0.707]
    """
    A = task.dense("alternating_l1", "three")
    if task.k >= len(A):
        return BasisFound(widened(np.linalg.qr(A.T)[0], task.k), note="k >= n: spans the rows")
    V = task.svd_start().V
    At = np.ascontiguousarray(A.T)
    duals, duals_t = np.zeros_like(A), np.zeros_like(At)
    U = A @ V
    value = float(np.abs(A - U @ V.T).sum())
    task.swept += 2.0

    def step(state: tuple[Array, Array]) -> tuple[tuple[Array, Array], float]:
        U, V = state
        # A basis change of either factor leaves the product as it is.
        V, R = np.linalg.qr(V)
        U = U @ R.T
        _regress(A, V, U, duals)
        U, R = np.linalg.qr(U)
        V = V @ R.T
        task.swept += 2.0 * (INNER + 1.0)
        return (U, V), _regress(At, U, V, duals_t)

    return monotone(task, (U, V), value, step, lambda state: np.linalg.qr(state[1])[0])


def _regress(B: Array, basis: Array, x: Array, duals: Array) -> float:
    """Lower ``||b_i - basis x_i||_1`` for every row of B; x (rows, k) and duals change in place.

    ADMM for ``min ||r||_1, basis x + r = b``, orthonormal basis (q, k): x is a projection, r a
    soft threshold. The threshold of a row is the mean of its first |residuals|, so that rows of
    any scale proceed alike; `duals` holds multipliers in [-1, 1]. Returns the sum of all norms.
    """

    def work(slices: Iterator[slice]) -> float:
        total = 0.0
        for rows in slices:
            b, best = B[rows], x[rows]
            r = b - best @ basis.T
            before = np.abs(r).sum(axis=1)
            kappa = before[:, None] / B.shape[1]
            y = duals[rows] * kappa
            for _ in range(INNER):
                new = (b - r + y) @ basis
                fit = new @ basis.T
                # Over-relaxed: between the new fit and the last residual's.
                gap = b - fit
                gap *= RELAXATION
                gap += (1.0 - RELAXATION) * r
                gap += y
                np.clip(gap, -kappa, kappa, out=y)
                r = gap - y
            after = np.abs(b - fit).sum(axis=1)
            better = after < before
            x[rows] = np.where(better[:, None], new, best)
            duals[rows] = y / np.maximum(kappa, 1e-300)
            total += float(np.minimum(after, before).sum())
        return total

    return sum(sweep(B, work))
