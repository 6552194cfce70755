"""Gradient descent of the l_p cost along geodesics of the Grassmannian."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from lpgeom.geometry.grassmann import Frame
from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic
from lpgeom.heuristics.reweighting import DELTA, mean_square, powers
from lpgeom.records.subspace import to_cost_units
from lpgeom.rows.base import Array
from lpgeom.subspace.cost import lp_cost
from lpgeom.threads import serial_blas

FIRST_ANGLE, SMALLEST_ANGLE = 0.3, 1e-13
"""Largest principal angle (radians) of the first trial step; below the other one, no step."""

ARMIJO, MEMORY = 1e-4, 5
"""A step must bring this share of what the slope promises, measured from the worst of the last
few values."""

SLOW, PATIENCE = 1e-4, 5
"""Steps that bring less than SLOW of the smoothed cost bring little; so many in a row, and the
smoothing is lowered (or, at its end and with tol in place of SLOW, the descent is over)."""


@heuristic(steps=200, tol=1e-8)
def grassmann_descent(task: RowsTask) -> BasisFound:
    """Riemannian gradient descent of ``sum_i y_i^p`` over subspaces, from the SVD's.

    Source: Maunu, Zhang, Lerman, "A well-tempered landscape for non-convex robust subspace
    recovery", JMLR 20, 2019 (p = 1). The gradient at V is ``-p Q (sum_i y_i^(p-2) a_i a_i^T) V``;
    steps follow the geodesic along minus the gradient (Edelman, Arias, Smith, SIAM J. Matrix Anal.
    20, 1998). They shrink the step size on a schedule, which has to suit the data; here it is the
    secant step of Barzilai and Borwein (IMA J. Numerical Analysis 8, 1988), halved until the cost
    falls enough below the worst of the last five (Grippo, Lampariello, Lucidi, SIAM J. Numerical
    Analysis 23, 1986). For p < 2 the cost has kinks where a row fits, and line searches stall
    there: distances below a threshold are smoothed, and it falls tenfold whenever the descent slows
    down, from the root mean squared distance to 1e-10 of the rows' length. The cheapest subspace
    met is returned.

    Trial steps of one pass, O(n d^2 + d^3) each; one or two a step. Long outliers make the problem
    badly conditioned for a gradient: it may then be far from done after the 200 steps.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points; read in blocks.
    k : int
        1 <= k <= d - 1.
    p : float
        The exponent minimised; finite.
    seed
        Checked, not used.
    max_iter : int, optional
        200 if not given.
    tol : float, optional
        Stops once five steps in a row each brought less than this share of the cost; 1e-8 if not
        given.

    Returns
    -------
    HeuristicResult
        `history` holds the least cost so far.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range; p = inf.

    Examples
    --------
    >>> from lpgeom.heuristics import grassmann_descent
    >>> A = [[1.0, 0.1], [2.0, 0.0], [-3.0, 0.1], [1.0, 2.5]]
    >>> V = grassmann_descent(A, 1).V
    >>> float(abs(V[0, 0])) > 0.99
    True
    """
    rows, p = task.rows, task.p
    if math.isinf(p):
        raise ValueError(
            "grassmann_descent minimises a sum of p-th powers and needs a finite p, got p = inf"
        )
    frame = task.svd_start()
    t = rows.quadratic_form(frame.W)
    # Relative to the largest residual, so that high powers stay inside float64.
    unit = max(float(t.max()), DELTA**2 * mean_square(task))
    lowest = DELTA**2 * mean_square(task) / unit if p < 2.0 else 0.0
    eps = max(float(t.mean()) / unit, lowest) if p < 2.0 else 0.0

    def look(at: Frame) -> tuple[Array, Array]:
        """Residuals and the weighted Gram whose product with V is minus the gradient."""

        def rule(t: Array, lo: int, hi: int) -> Array:
            return np.asarray(np.maximum(t / unit, eps) ** (p / 2.0 - 1.0))

        with np.errstate(over="ignore", invalid="ignore"):  # a trial far off, refused below
            t, G = rows.reweighted_gram(at.W, rule)
            return t / unit, G / unit

    t, G = look(frame)
    best, cost = frame, lp_cost(t, p)
    history = [cost]
    value, way = _smoothed(t, p, eps), Way(frame, G, p)
    recent, lowest_value = deque([value], maxlen=MEMORY), value
    step, idle, n_iter = np.inf, 0, 0
    converged = cost == 0.0
    while not converged and n_iter < task.max_iter:
        before = max(recent)
        step = min(step, FIRST_ANGLE / way.speed) if way.speed > 0.0 else 0.0
        moved = False
        while step * way.speed > SMALLEST_ANGLE and not moved:
            trial = way.at(step)
            t, G = look(trial)
            value = _smoothed(t, p, eps)
            moved = value <= before - ARMIJO * step * way.slope
            if not moved:
                step *= 0.5
        if moved:
            n_iter += 1
            frame, last, way = trial, way, Way(trial, G, p)
            step = last.next_step(step, way)
            if lp_cost(t, p) < cost:
                best, cost = frame, lp_cost(t, p)
            history.append(cost)
            recent.append(value)
        smooth = eps > lowest
        least = (SLOW if smooth else task.tol) * lowest_value
        idle = idle + 1 if not moved or lowest_value - value <= least else 0
        lowest_value = min(lowest_value, value) if moved else lowest_value
        ended = not moved or idle >= PATIENCE
        converged = ended and not smooth
        if ended and smooth:
            eps = max(0.1 * eps, lowest)
            t, G = look(frame)
            value, way = _smoothed(t, p, eps), Way(frame, G, p)
            recent, lowest_value = deque([value], maxlen=MEMORY), value
            step, idle = step if moved else np.inf, 0
    scale = float(np.sqrt(unit))
    costs = tuple(to_cost_units(c, scale, p) for c in history)
    return BasisFound(best.V, n_iter=n_iter, converged=converged, history=costs)


def _smoothed(t: Array, p: float, eps: float) -> float:
    """``sum t^(p/2)``, below eps continued by its tangent (p < 2)."""
    with np.errstate(over="ignore"):
        return lp_cost(t, p) if eps == 0.0 else powers(p, eps)[1](t)


class Way:
    """The geodesic that leaves a subspace along minus the gradient of the cost.

    With ``W D = X diag(s) Z^T`` the descent direction (D = p W^T G V), it is ``V(a) = V + (V Z
    (cos(a s) - 1) + X sin(a s)) Z^T``; its velocity at a is parallel along it.
    """

    def __init__(self, frame: Frame, G: Array, p: float) -> None:
        with serial_blas():
            D = p * (frame.W.T @ (G @ frame.V))
            self.gradient = -(frame.W @ D)
            # s has min(m, k) entries: what of V is outside the span of Z rests.
            U, self._s, self._Zt = np.linalg.svd(D, full_matrices=False)
            self._towards = frame.W @ U
        self._V, self._start = frame.V, frame.V @ self._Zt.T

    @property
    def speed(self) -> float:
        """Largest principal angle for a = 1."""
        return float(self._s[0])

    @property
    def slope(self) -> float:
        """Minus the slope of the cost at a = 0."""
        return float(self._s @ self._s)

    def at(self, a: float) -> Frame:
        angles = a * self._s
        turned = self._start * (np.cos(angles) - 1.0) + self._towards * np.sin(angles)
        V = self._V + turned @ self._Zt
        with serial_blas():
            Q, R = np.linalg.qr(V, mode="complete")
        # The columns of V up to rounding, so that gradients at both ends share coordinates.
        signs = np.where(np.diag(R) < 0.0, -1.0, 1.0)
        frame = Frame.cut(Q, V.shape[1])
        return Frame(frame.V * signs, frame.W)

    def next_step(self, a: float, after: Way) -> float:
        """First trial step from the end: the secant step along this way (Barzilai and Borwein),
        between a quarter of this one and four times it."""
        angles = a * self._s
        velocity = (self._towards * np.cos(angles) - self._start * np.sin(angles)) * self._s
        slope_after = -float(np.einsum("ij,ij->", velocity @ self._Zt, after.gradient))
        bend = (self.slope - slope_after) / self.slope
        return a / min(max(bend, 0.1), 10.0)
