"""L1-PCA, greedy: one direction of largest sum of absolute projections after another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg

from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic
from lpgeom.heuristics.sweeps import sweep
from lpgeom.rows.base import Array
from lpgeom.threads import serial_blas


@heuristic(steps=200)
def l1_pca(task: RowsTask) -> BasisFound:
    """PCA-L1: maximises ``sum_i |<a_i, v>|`` over unit v, k times, each v removed from the rows.

    Source: Kwak, "Principal component analysis based on L1-norm maximization", IEEE TPAMI 30, 2008.
    The step ``v <- sum_i sign(<a_i, v>) a_i``, normalised, never lowers the sum and ends after
    finitely many at a local maximum; rows orthogonal to v there are met by a small random turn of
    v, as in the paper. Both of Kwak's starts, the leading singular vector and the longest row, run
    side by side, and the better end is kept. It maximises what is kept, not the distance that is
    left: unlike the methods that minimise ``sum_i y_i``, it has no exact recovery.

    Per direction, some 10 to 20 passes of O(n d) and one eigenvector, O(d^3), over a float64 copy
    of A: k times that.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points. Copied.
    k : int
        1 <= k <= d - 1.
    p, tol
        Checked, not used.
    seed : int
        Decides the random turns.
    max_iter : int, optional
        Steps for one direction, at most: 200 if not given.

    Returns
    -------
    HeuristicResult
        `history` holds the sum for each direction; `n_iter` counts the steps of all.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import l1_pca
    >>> A = [[3.0, 0.0], [-4.0, 0.0], [0.0, 5.0]]
    >>> V = l1_pca(A, 1).V  # along x 7, along y 5, but between them 8.6
    >>> abs(V).round(3).ravel().tolist()
    [0.814, 0.581]
    """
    A = task.dense()
    rng = np.random.default_rng(task.seed)
    d = A.shape[1]
    G = A.T @ A
    left = np.einsum("ij,ij->i", A, A)  # squared norms of the rows with V removed
    V = np.zeros((d, task.k))
    task.swept += 1.0
    history: list[float] = []
    n_iter, converged = 0, True
    for j in range(task.k):
        done = V[:, :j]
        with serial_blas():
            top = scipy.linalg.eigh(G, subset_by_index=[d - 1, d - 1])[1][:, 0]
        starts = np.stack([top, A[int(np.argmax(left))]], axis=1)
        v, value, steps, ended = _direction(task, A, done, starts, rng)
        # The deflated Gram and norms: P G P and ||a P||^2 with P = I - v v^T.
        Gv = G @ v
        G += float(v @ Gv) * np.outer(v, v) - np.outer(v, Gv) - np.outer(Gv, v)
        left -= (A @ v) ** 2
        task.swept += 1.0
        V[:, j] = v
        history.append(value)
        n_iter += steps
        converged = converged and ended
    return BasisFound(V, n_iter=n_iter, converged=converged, history=tuple(history))


def _direction(
    task: RowsTask, A: Array, done: Array, starts: Array, rng: np.random.Generator
) -> tuple[Array, float, int, bool]:
    """The better end of the ascents from the columns of `starts`, orthogonal to `done`."""
    X = _unit(starts, done, rng)
    values = np.full(X.shape[1], -1.0)
    best, n_iter, turned = X, 0, 0
    converged = False
    while n_iter < task.max_iter:
        sums, ascent, orthogonal = ascend(A, X, done)
        task.swept += 1.0
        n_iter += 1
        risen = sums > values * (1.0 + 1e-15)
        best = np.where(risen, X, best)
        values = np.maximum(sums, values)
        if risen.any():
            X = np.where(risen, ascent, best)
            X = _unit(X, done, rng)
            continue
        if orthogonal == 0 or turned == 3:
            converged = True
            break
        # A row orthogonal to v has no sign: v may be no local maximum. Turn it a little.
        turned += 1
        X = _unit(best + 1e-7 * rng.standard_normal(best.shape), done, rng)
        values = np.minimum(values, sums)
    winner = int(np.argmax(values))
    return best[:, winner], float(values[winner]), n_iter, converged


def ascend(A: Array, X: Array, done: Array) -> tuple[Array, Array, int]:
    """``sum_i |<a_i, x>|`` and ``sum_i sign(<a_i, x>) a_i`` for the columns x of X, in one pass,
    and how many products are zero though the row is not."""

    def work(slices: Iterator[slice]) -> tuple[Array, Array, int]:
        sums = np.zeros(X.shape[1])
        ascent = np.zeros_like(X)
        zeros = 0
        for rows in slices:
            block = A[rows]
            y = block @ X
            sums += np.abs(y).sum(axis=0)
            flat = y == 0.0
            if flat.any():
                outside = block[flat.any(axis=1)]
                outside = outside - (outside @ done) @ done.T
                scale = 1e-12 * float(np.abs(block).max())
                zeros += int(np.count_nonzero(np.abs(outside).max(axis=1) > scale))
            ascent += block.T @ np.where(y < 0.0, -1.0, 1.0)
        return sums, ascent, zeros

    sums, ascents, zeros = zip(*sweep(A, work), strict=True)
    return np.sum(sums, axis=0), np.sum(ascents, axis=0), sum(zeros)


def _unit(X: Array, done: Array, rng: np.random.Generator) -> Array:
    """Columns made orthogonal to `done` and of length 1; random where nothing is left."""
    out = X.copy()
    for j in range(X.shape[1]):
        x = X[:, j]
        for _ in range(10):
            norm = float(np.linalg.norm(x))
            if norm > 0.0:
                x = x / norm
                # Twice is enough (Kahan and Parlett), where anything is left at all.
                for _ in range(2):
                    x = x - done @ (done.T @ x)
                rest = float(np.linalg.norm(x))
                if rest > 1e-10:
                    x = x / rest
                    x = x - done @ (done.T @ x)
                    out[:, j] = x / np.linalg.norm(x)
                    break
            x = rng.standard_normal(len(x))
    return out
