"""Descent on the largest distance of a row from the subspace (p = inf)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.grassmann import Frame
from lpgeom.kernels.cpu.simplex import pairwise_descent
from lpgeom.rows.array import ArrayRows, dense
from lpgeom.rows.base import Array
from lpgeom.subspace.irls import Tick

MOST_ACTIVE = 300
"""Rows that a step looks at, the farthest ones."""

NEAR = 0.25
"""Rows with less than this share of the largest squared distance are left out of a step."""

LONGEST, SHORTEST = 1e-3, 1e9
"""Range of the damping."""


@dataclass(frozen=True)
class Descent:
    """Where the descent ended, and the weights of its last step.

    Attributes
    ----------
    frame : Frame
    t : ndarray, shape (n,)
        Squared distances.
    history : tuple of float
        Largest distance at the start and after every step.
    converged : bool
    index, weights : ndarray
        Rows and weights (sum 1) under which the subspace is stationary, when converged.
    """

    frame: Frame
    t: Array
    history: tuple[float, ...]
    converged: bool
    index: NDArray[np.intp]
    weights: Array

    @property
    def cost(self) -> float:
        return self.history[-1]


def descend(
    rows: ArrayRows,
    start: Frame,
    t: Array,
    *,
    max_iter: int,
    tol: float,
    tick: Tick | None = None,
) -> Descent:
    """Lower ``max_i t_i`` step by step; it never rises.

    With ``alpha_i = V^T a_i`` and ``beta_i = W^T a_i``, the subspace spanned by ``V + W D`` leaves
    row i at a squared distance of at most ``||beta_i - D alpha_i||^2``: that is its distance from
    one point of the subspace. A step minimises ``max_i (t_i - 2 beta_i^T D alpha_i) + c tr(D K
    D^T)`` over the rows that are nearly the farthest, K a weighted mean of ``alpha alpha^T``. The
    dual has one weight a row, ``max t^T w - w^T H w`` over the simplex, ``H_ij = (beta_i . beta_j)
    alpha_i^T (c K)^-1 alpha_j``, and ``D = sum w_i beta_i ((c K)^-1 alpha_i)^T``. Where the
    largest distance does not fall, c grows and the step is taken again, shorter. It ends once a
    step promises less than the share `tol` of the largest distance.

    One pass over the rows a trial.
    """
    V, W = start.V, start.W
    k = V.shape[1]
    top = float(t.max())
    history = [float(np.sqrt(top))]
    damping = 1.0
    weight_of = np.zeros(len(t))
    converged = top == 0.0
    index, w = np.zeros(0, dtype=np.intp), np.zeros(0)
    for _ in range(max_iter):
        if converged:
            break
        count = min(MOST_ACTIVE, len(t))
        index = np.argpartition(t, len(t) - count)[len(t) - count :]
        index = np.sort(index[t[index] >= NEAR * top])
        B = dense(rows.take(index))
        alpha, beta = B @ V, B @ W
        b = t[index] / top
        w = weight_of[index] + 1e-3 / len(index)
        w /= w.sum()
        K = (alpha * w[:, None]).T @ alpha / top
        K += (1e-10 * np.trace(K) / k + 1e-30) * np.eye(k)
        H0 = (beta @ beta.T / top) * (alpha @ np.linalg.solve(K, alpha.T) / top)
        moved = False
        while damping <= SHORTEST:
            H = H0 / damping
            gap = pairwise_descent(H, b, w, 0.1 * tol, 0.05, 20 * len(w) + 1000)
            promise = 1.0 - float(b @ w - w @ H @ w) - gap
            if promise <= tol:
                converged = True
                break
            D = (beta * w[:, None]).T @ np.linalg.solve(damping * K, alpha.T).T / top
            trial = _spanned(V + W @ D)
            t_trial = rows.quadratic_form(trial.W)
            if float(t_trial.max()) < top * (1.0 - 0.1 * promise):
                moved = True
                break
            damping *= 4.0
        if not moved:
            break
        damping = max(damping / 3.0, LONGEST)
        V, W, t = trial.V, trial.W, t_trial
        top = float(t.max())
        weight_of[:] = 0.0
        weight_of[index] = w
        history.append(float(np.sqrt(top)))
        if tick is not None:
            tick(f"largest distance {history[-1]:.6g}")
    return Descent(Frame(V, W), t, tuple(history), converged, index, w)


def _spanned(X: Array) -> Frame:
    """The frame of the column span of X."""
    k = X.shape[1]
    Q = np.linalg.qr(X, mode="complete")[0]
    return Frame(np.ascontiguousarray(Q[:, :k]), np.ascontiguousarray(Q[:, k:]))
