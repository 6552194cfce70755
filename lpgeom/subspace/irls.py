"""Majorise and minimise for 1 <= p <= 2 (theory 4): iteratively reweighted eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lpgeom.geometry.subspaces import Frame
from lpgeom.rows.base import Array, Rows, Rule
from lpgeom.subspace.cost import lp_cost

Tick = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One descent: the best subspace it saw.

    `history` is the cost of the best subspace after each step, so it never rises.
    """

    frame: Frame
    cost: float
    history: tuple[float, ...]
    n_iter: int
    converged: bool


def irls(
    rows: Rows,
    start: Frame,
    p: float,
    *,
    max_iter: int,
    tol: float,
    floor: float,
    tick: Tick | None = None,
) -> Run:
    """``V <- k leading eigenvectors of sum_i max(t_i, eps)^(p/2-1) a_i a_i^T``, one pass a step.

    With ``phi(t) = t^(p/2)`` for t >= eps and its tangent at eps below, phi is concave and
    increasing, so the step never increases ``F_eps = sum phi(t_i)``; phi also decreases with eps,
    so lowering eps on the way keeps F_eps falling. eps starts at a hundredth of the squared
    p-mean residual and falls tenfold a step: rows that happen to fit the start exactly do not
    pin it, and rows that fit the optimum exactly are found.

    Parameters
    ----------
    floor : float
        Smallest eps, in units of the mean squared row norm: where t is all rounding.
    tol : float
        Stop when a step lowers F_eps by less than this share, and what smoothing hides of the
        cost is below it too.
    """
    k = start.V.shape[1]
    Y2 = rows.squared_norms()
    n_alive = max(1, int(np.count_nonzero(Y2)))
    lowest = floor * float(Y2.sum()) / n_alive
    frame = start
    best, best_cost = start, np.inf
    history: list[float] = []
    eps = -1.0
    previous = np.inf
    converged = False
    n_iter = 0
    power = p / 2.0 - 1.0
    while True:
        if eps < 0.0:  # the first residuals choose eps
            t = rows.quadratic_form(frame.W)
            eps = max(0.01 * (lp_cost(t, p) / n_alive) ** (2.0 / p), lowest)
            M = rows.weighted_gram(np.maximum(t, eps) ** power)
        else:
            t, M = rows.reweighted_gram(frame.W, _floored(eps, power))
        cost = lp_cost(t, p)
        low = t[t < eps]
        # F_eps - cost, row by row: the tangent at eps lies above t^(p/2).
        hidden = float(
            ((p / 2.0) * eps**power * low + (1.0 - p / 2.0) * eps ** (p / 2.0)).sum()
        ) - lp_cost(low, p)
        smoothed = cost + hidden
        if cost < best_cost:
            best, best_cost = frame, cost
        history.append(best_cost)
        if tick is not None:
            tick(f"cost {best_cost:.6g}")
        small = previous - smoothed <= tol * smoothed
        at_floor = eps <= lowest or hidden <= 0.1 * tol * smoothed
        if small and at_floor:
            converged = True
            break
        if n_iter >= max_iter:
            break
        previous = smoothed
        eps = max(0.1 * eps, lowest)
        U = np.linalg.eigh(M)[1]
        frame = Frame.leading(U, k)
        n_iter += 1
    return Run(best, best_cost, tuple(history), n_iter, converged)


def _floored(eps: float, power: float) -> Rule:
    """The weight rule ``max(t, eps)^power``."""

    def rule(t: Array, lo: int, hi: int) -> Array:
        return np.asarray(np.maximum(t, eps) ** power)

    return rule
