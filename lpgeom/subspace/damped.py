"""Damped reweighting for p > 2 (theory 4): steps along Grassmannian geodesics, with line search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lpgeom.geometry.grassmann import Frame, Geodesic
from lpgeom.geometry.spectrum import eigen
from lpgeom.rows.base import Array, Rows
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.irls import Run, Tick

_SHORTEST = 2.0**-20

STATIONS = (6.0, 20.0, 50.0)
"""Exponents at which the descent for a larger p stops over: high powers see only the few rows
that are worst at the start, and descend slowly from there."""


def continued(
    rows: Rows, start: Frame, p: float, *, t: Array | None = None, tol: float, **options: Any
) -> Run:
    """`damped` for p up to 10; beyond, through smaller exponents first, where that is cheaper."""
    if p <= 10.0:
        return damped(rows, start, p, tol=tol, t=t, **options)
    if t is None:
        t = rows.quadratic_form(start.W)
    before = lp_cost(t, p)
    frame = start
    n_iter = 0
    for station in STATIONS:
        if station < p:
            run = damped(rows, frame, station, tol=1e-4, **options)
            frame, n_iter = run.frame, n_iter + run.n_iter
    reached = rows.quadratic_form(frame.W)
    if lp_cost(reached, p) < before:
        start, t = frame, reached
    run = damped(rows, start, p, tol=tol, t=t, **options)
    return replace(run, history=(before, *run.history), n_iter=n_iter + run.n_iter)


def damped(
    rows: Rows,
    start: Frame,
    p: float,
    *,
    max_iter: int,
    tol: float,
    t: Array | None = None,
    tick: Tick | None = None,
) -> Run:
    """Minimise ``sum_i t_i^(p/2)`` over subspaces, p > 2; the cost never rises.

    t^(p/2) is convex in Q, so the reweighted eigenvectors (weights t^(p/2-1), which is the
    gradient) overshoot: near a solution by the factor p - 1, as in l_p regression. Each step
    therefore goes part of the way, first 1/(p-1), along the geodesic from V to the eigenvectors
    V2, and halves until the cost falls; a share that worked grows again. If no share of that
    path descends, the pull is softened: V2 = leading eigenvectors of ``M / ||M|| + c P`` stays
    closer to V as c grows, and in the limit leaves V along the steepest descent.

    Weights are ``(t / max t)^(p/2-1)``: they cannot overflow, and the eigenvectors are the same.
    """
    power = p / 2.0 - 1.0
    frame = start
    if t is None:
        t = rows.quadratic_form(frame.W)
    cost = lp_cost(t, p)
    history = [cost]
    converged = cost == 0.0
    share = 1.0 / (p - 1.0)
    n_iter = 0
    while not converged and n_iter < max_iter:
        M = rows.weighted_gram((t / float(t.max())) ** power)
        M /= np.linalg.norm(M, ord=2)
        n_iter += 1
        for grown, trial in _trials(frame.V, M, share):
            t_trial = rows.quadratic_form(trial.W)
            cost_trial = lp_cost(t_trial, p)
            if cost_trial < cost:
                share = grown
                break
        else:
            converged = True
            break
        converged = cost_trial == 0.0 or cost - cost_trial <= tol * cost
        frame, t, cost = trial, t_trial, cost_trial
        history.append(cost)
        if tick is not None:
            tick(f"cost {cost:.6g}")
    return Run(frame, frame, cost, tuple(history), n_iter, converged)


def _trials(V: Array, M: Array, share: float) -> Iterator[tuple[float, Frame]]:
    """Shorter and shorter steps; with each the share that the next iteration begins with."""
    for c in (0.0, 1.0, 10.0, 100.0):
        target = M if c == 0.0 else M + c * (V @ V.T)
        path = Geodesic(V, Frame.leading(eigen(target)[1], V.shape[1]).V)
        if path.length <= 1e-14:
            return
        s = share if c == 0.0 else 1.0
        while s > _SHORTEST:
            yield (min(1.0, 1.5 * s) if c == 0.0 else share), path.at(s)
            s *= 0.5
