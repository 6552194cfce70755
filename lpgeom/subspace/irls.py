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
    """One descent.

    Attributes
    ----------
    frame : Frame
        Where it ended; its cost has not been evaluated if the last step was taken on the
        majoriser's word.
    best : Frame
        The cheapest subspace evaluated on the way.
    cost : float
        Cost of `best`, in the precision of the rows.
    history : tuple of float
        Cost of the best subspace after each evaluation: it never rises.
    n_iter : int
        Steps taken (eigendecompositions).
    converged : bool
    """

    frame: Frame
    best: Frame
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
    t: Array | None = None,
    tick: Tick | None = None,
) -> Run:
    """``V <- k leading eigenvectors of sum_i max(t_i, eps)^(p/2-1) a_i a_i^T``, one pass a step.

    With ``phi(t) = t^(p/2)`` for t >= eps and its tangent at eps below, phi is concave and
    increasing, so the step never increases ``F_eps = sum phi(t_i)``; phi also falls with eps,
    so lowering eps on the way keeps F_eps falling. eps starts at a hundredth of the squared
    p-mean residual and falls tenfold a step: rows that happen to fit the start exactly do not
    pin it, and rows that fit the optimum exactly are found.

    A step lowers F_eps by at least ``p/2 <M, Q_old - Q_new>`` (the majoriser's decrease), which
    is known before the new subspace is evaluated.

    Parameters
    ----------
    floor : float
        Smallest eps, in units of the mean squared row norm: where t is all rounding.
    tol : float
        Stop once a step's majoriser promises less than this share of F_eps, and what smoothing
        hides of the cost is below a tenth of that.
    t : ndarray, shape (n,), optional
        Squared residuals of the start, if they are known: saves their pass.
    """
    k = start.V.shape[1]
    Y2 = rows.squared_norms()
    n_alive = max(1, int(np.count_nonzero(Y2)))
    lowest = floor * float(Y2.sum()) / n_alive
    power = p / 2.0 - 1.0
    frame = start
    best, best_cost = start, np.inf
    history: list[float] = []
    if t is None:
        t = rows.quadratic_form(frame.W)
    eps = max(0.01 * (lp_cost(t, p) / n_alive) ** (2.0 / p), lowest)
    M = rows.weighted_gram(np.maximum(t, eps) ** power)
    converged = False
    n_iter = 0
    while True:
        cost = lp_cost(t, p)
        if cost < best_cost:
            best, best_cost = frame, cost
        history.append(best_cost)
        if tick is not None:
            tick(f"cost {best_cost:.6g}")
        if n_iter >= max_iter:
            break
        lam, U = np.linalg.eigh(M)
        before = float(np.einsum("ij,ij->", frame.W, M @ frame.W))
        promise = 0.5 * p * (before - float(lam[: lam.size - k].sum()))
        frame = Frame.leading(U, k)
        n_iter += 1
        # F_eps - cost, row by row: the tangent at eps lies above t^(p/2).
        low = t[t < eps]
        tangent = (p / 2.0) * eps**power * low + (1.0 - p / 2.0) * eps ** (p / 2.0)
        hidden = float(tangent.sum()) - lp_cost(low, p)
        share = tol * (cost + hidden)
        if promise <= share and (eps <= lowest or hidden <= 0.1 * share):
            converged = True
            break
        eps = max(0.1 * eps, lowest)
        t, M = rows.reweighted_gram(frame.W, _floored(eps, power))
    return Run(frame, best, best_cost, tuple(history), n_iter, converged)


def _floored(eps: float, power: float) -> Rule:
    """The weight rule ``max(t, eps)^power``."""

    def rule(t: Array, lo: int, hi: int) -> Array:
        return np.asarray(np.maximum(t, eps) ** power)

    return rule
