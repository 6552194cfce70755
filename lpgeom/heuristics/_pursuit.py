"""Outlier pursuit: a low-rank matrix plus few nonzero rows, by ADMM."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lpgeom.geometry.spectrum import eigen
from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic
from lpgeom.heuristics.sweeps import sweep
from lpgeom.rows.base import Array


@heuristic(steps=300, tol=1e-6)
def outlier_pursuit(task: RowsTask) -> BasisFound:
    """Outlier pursuit: minimises ``||L||_* + lambda sum_i ||s_i||`` over ``L + S = A``.

    ||L||_* is the sum of singular values, s_i are the rows of S; the k leading right singular
    vectors of L are returned. Source: Xu, Caramanis, Sanghavi, "Robust PCA via outlier pursuit",
    NIPS 2010 and IEEE Trans. Information Theory 58, 2012. Their theorem takes ``lambda = 3 / (7
    sqrt(gamma n))`` and recovers rank k while the share gamma of outliers is at most ``1 / (1 +
    121 mu k / 9)``, mu the incoherence; lambda here is that of the largest such gamma for mu = 1:
    ``(3/7) sqrt((1 + 121 k / 9) / n)``, n the number of rows that are not zero.

    Solved by ADMM: singular value thresholding of A - S, thresholding of the rows of A - L, and
    the multiplier; the penalty is doubled or halved while one residual is ten times the other.
    Two sweeps over two arrays of the size of A in each step, O(n d^2 + d^3): some 30 to 200 steps.
    Limited to n d <= 2^26 entries.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points. Copied twice.
    k : int
        1 <= k <= d - 1.
    p, seed
        Checked, not used.
    max_iter : int, optional
        300 if not given.
    tol : float, optional
        It stops when A - L - S relative to A, and the change of S relative to the scaled
        multiplier, are below this; 1e-6 if not given.

    Returns
    -------
    HeuristicResult
        `note` gives the rank of L and the number of rows that S holds.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range; A too large.

    Examples
    --------
    >>> from lpgeom.heuristics import outlier_pursuit
    >>> A = [[1.0, 0.0], [2.0, 0.0], [-3.0, 0.0], [-2.0, 0.0], [1.0, 2.0]]
    >>> abs(outlier_pursuit(A, 1).V).round(6).ravel().tolist()
    [1.0, 0.0]
    """
    n, d = task.shape
    A = task.dense("outlier_pursuit", "two")
    norms = np.sqrt(np.einsum("ij,ij->i", A, A))
    size = float(np.linalg.norm(norms))
    share = (3.0 / 7.0) * math.sqrt((1.0 + 121.0 * task.k / 9.0) / np.count_nonzero(norms))
    # 1 / penalty: singular values below it vanish from L. Started near the middle of those of A.
    radius = size / math.sqrt(min(n, d))
    # R = S + U (U: multiplier / penalty) is all that is kept: U is R shortened to length
    # share * radius, S the rest.
    R = np.zeros_like(A)
    lengths = np.zeros(n)
    short = np.ones(n)
    G = A.T @ A
    task.swept += 1.0
    converged = False
    n_iter, rank = 0, 0
    U = np.eye(d)
    while not converged and n_iter < task.max_iter:
        lam, U = eigen(G)
        s = np.sqrt(np.maximum(lam, 0.0))
        kept = np.where(s > radius, 1.0 - radius / np.maximum(s, radius), 0.0)
        rank = int(np.count_nonzero(kept))
        T = (U * kept) @ U.T
        bound = share * radius
        primal, dual = _sweep(A, R, T, short, lengths, bound)
        n_iter += 1
        task.swept += 2.0
        primal /= size
        converged = max(primal, dual) <= task.tol
        short = np.minimum(1.0, bound / np.maximum(lengths, bound))
        if not converged and n_iter % 5 == 0 and not 0.1 <= primal / max(dual, 1e-300) <= 10.0:
            # The multiplier stays; its share U of R scales with 1 / penalty.
            factor = 0.5 if primal > dual else 2.0
            R *= (1.0 + (factor - 1.0) * short)[:, None]
            lengths = lengths + (factor - 1.0) * short * lengths
            radius *= factor
            bound *= factor
            short = np.minimum(1.0, bound / np.maximum(lengths, bound))
        G = _gram_of_next(A, R, short)
    outliers = int(np.count_nonzero(short < 1.0))
    note = f"rank of L {rank}, rows in S {outliers}"
    return BasisFound(U[:, d - task.k :], n_iter=n_iter, converged=converged, note=note)


def _next(A: Array, R: Array, short: Array, rows: slice) -> tuple[Array, Array]:
    """U, and M = A - S + U = A - R + 2 U, for some rows."""
    U = R[rows] * short[rows, None]
    return U, A[rows] - R[rows] + 2.0 * U


def _gram_of_next(A: Array, R: Array, short: Array) -> Array:
    def work(slices: Iterator[slice]) -> Array:
        G = np.zeros((A.shape[1], A.shape[1]))
        for rows in slices:
            M = _next(A, R, short, rows)[1]
            G += M.T @ M
        return G

    return np.asarray(np.sum(sweep(A, work), axis=0))


def _sweep(
    A: Array, R: Array, T: Array, short: Array, lengths: Array, bound: float
) -> tuple[float, float]:
    """L = M T, then R <- A - L + U in place, and its row lengths; returns the norms of A - L - S
    (= new U - old U) and of the change of S, the latter relative to U."""

    def work(slices: Iterator[slice]) -> Array:
        squares = np.zeros(3)
        for rows in slices:
            U, M = _next(A, R, short, rows)
            S = R[rows] - U
            new = A[rows] - M @ T
            new += U
            lengths[rows] = np.sqrt(np.einsum("ij,ij->i", new, new))
            U_new = new * np.minimum(1.0, bound / np.maximum(lengths[rows], bound))[:, None]
            R[rows] = new
            squares += [((U_new - U) ** 2).sum(), ((new - U_new - S) ** 2).sum(), (U_new**2).sum()]
        return squares

    primal, dual, multiplier = np.sum(sweep(A, work), axis=0).tolist()
    return math.sqrt(primal), math.sqrt(dual / multiplier) if multiplier > 0.0 else 0.0
