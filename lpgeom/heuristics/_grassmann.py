"""Gradient descent of the l_p cost along geodesics of the Grassmannian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpgeom.geometry.subspaces import Frame
from lpgeom.heuristics.base import Found, Task, run
from lpgeom.heuristics.result import HeuristicResult
from lpgeom.heuristics.reweighting import DELTA, mean_square
from lpgeom.results import to_cost_units
from lpgeom.rows.base import Array
from lpgeom.subspace.cost import lp_cost

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FIRST_ANGLE, SMALLEST_ANGLE = 0.3, 1e-13
"""Largest principal angle (radians) of the first trial step; below the other one, no step."""

ARMIJO = 1e-4
PATIENCE = 3
"""Steps in a row that have to bring little before the descent counts as converged."""


def grassmann_descent(
    A: ArrayLike,
    k: int,
    p: float = 1.0,
    *,
    seed: int = 0,
    max_iter: int | None = None,
    tol: float | None = None,
) -> HeuristicResult:
    """Riemannian gradient descent of ``sum_i y_i^p`` over subspaces, from the SVD's.

    Source: Maunu, Zhang, Lerman, "A well-tempered landscape for non-convex robust subspace
    recovery", JMLR 20, 2019 (p = 1). The gradient at V is ``-p Q (sum_i y_i^(p-2) a_i a_i^T) V``,
    rows in the subspace left out; steps follow the geodesic along minus the gradient (Edelman,
    Arias, Smith, SIAM J. Matrix Anal. 20, 1998). In place of a step size shrunk on a schedule: the
    last one doubled, then halved until the cost falls enough (Armijo).

    Trial steps of one pass, O(n d^2 + d^3) each; one or two a step.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points; read in blocks.
    k : int
        1 <= k <= d - 1.
    p : float
        The exponent minimised.
    seed
        Checked, not used.
    max_iter : int, optional
        200 if not given.
    tol : float, optional
        Stops after three steps in a row each brought less than this share of the cost; 1e-8 if
        not given.

    Returns
    -------
    HeuristicResult
        `history` holds the cost, and never rises.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range.

    Examples
    --------
    >>> from lpgeom.heuristics import grassmann_descent
    >>> V = grassmann_descent([[1.0, 0.1], [2.0, 0.0], [-3.0, 0.1], [1.0, 2.5]], 1).V
    >>> float(abs(V[0, 0])) > 0.99
    True
    """
    return run("grassmann_descent", _solve, A, k, p, seed, max_iter, tol, steps=200, small=1e-8)


def _solve(task: Task) -> Found:
    rows, p = task.rows, task.p
    frame = task.svd_start()
    low = DELTA**2 * mean_square(task)
    # Relative to the largest residual, so that high powers stay inside float64.
    unit = max(float(rows.quadratic_form(frame.W).max()), low)

    def rule(t: Array, lo: int, hi: int) -> Array:
        return np.where(t > low, (np.maximum(t, low) / unit) ** (p / 2.0 - 1.0), 0.0)

    def look(at: Frame) -> tuple[float, Array]:
        with np.errstate(over="ignore"):  # a trial far off, refused below
            t, G = rows.reweighted_gram(at.W, rule)
            return lp_cost(t / unit, p), G / unit

    cost, G = look(frame)
    history = [cost]
    converged = cost == 0.0
    step, idle, n_iter = np.inf, 0, 0
    while not converged and n_iter < task.max_iter:
        X, s, Zt = np.linalg.svd(frame.W.T @ (G @ frame.V))
        if s[0] <= 0.0:
            converged = True
            break
        slope = p * float(s @ s)
        start, towards = frame.V @ Zt.T, frame.W @ X[:, : s.size]
        step = min(2.0 * step, FIRST_ANGLE / s[0])
        before = cost
        while step * s[0] > SMALLEST_ANGLE:
            trial = _along(start, towards, step * s)
            cost, G_trial = look(trial)
            if cost <= before - ARMIJO * step * slope:
                frame, G = trial, G_trial
                break
            step *= 0.5
        else:
            cost = before
            converged = True
            break
        n_iter += 1
        history.append(cost)
        idle = idle + 1 if before - cost <= task.tol * before else 0
        converged = idle >= PATIENCE
    scale = float(np.sqrt(unit))
    return Found(
        frame.V, n_iter, converged, history=tuple(to_cost_units(c, scale, p) for c in history)
    )


def _along(start: Array, towards: Array, angles: Array) -> Frame:
    """``span(start cos + towards sin)``; where there are fewer directions than columns of `start`
    (m < k) the rest of these stays."""
    V = start.copy()
    r = angles.size
    V[:, :r] = start[:, :r] * np.cos(angles) + towards * np.sin(angles)
    Q = np.linalg.qr(V, mode="complete")[0]
    k = V.shape[1]
    return Frame(np.ascontiguousarray(Q[:, :k]), np.ascontiguousarray(Q[:, k:]))
