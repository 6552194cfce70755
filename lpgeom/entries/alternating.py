"""Alternating l_p regressions (Ke and Kanade 2005): each factor in turn, exactly."""

from __future__ import annotations

from collections.abc import Callable

from lpgeom.entries.regression import regress
from lpgeom.entries.regression_basis import Basis
from lpgeom.entries.run import FactorsRun
from lpgeom.rows.base import Array
from lpgeom.rows.place import place_of

FIT_TOL = 1e-8
"""Gap of one regression."""

FIT_STEPS = 100


def fit_left(
    B: Array, right: Array, p: float, W: Array | None, near: Array | None = None
) -> tuple[Array, float]:
    """The best left factor for a right one, and the cost; `near`: a good one.

    On a CUDA device if B is there, with the other arrays.
    """
    fit = regress(Basis.of(right.T), B, p, W, FIT_TOL, FIT_STEPS, start=near)
    return fit.X, float(fit.cost.sum())


def fit_right(
    B: Array, left: Array, p: float, W: Array | None, near: Array | None = None
) -> tuple[Array, float]:
    """The best right factor for a left one, and the cost; `near`: a good one."""
    turned = None if near is None else near.T
    X, cost = fit_left(B.T, left.T, p, None if W is None else W.T, turned)
    return place_of(X).array(X.T), cost


def alternate(
    B: Array,
    left: Array,
    right: Array,
    p: float,
    W: Array | None = None,
    *,
    max_iter: int,
    tol: float,
    tick: Callable[[str], None] | None = None,
) -> FactorsRun:
    """Refit the right factor, then the left, until a round brings less than `tol` of the cost.

    Every half round solves n (or d) regressions to a gap of `FIT_TOL`; one that would raise the
    cost, by rounding, is left out. A round costs O(n d k^2) times the 10 to 20 iterations of a
    regression. A point where neither factor alone can be improved need not be a local minimum.
    """
    left, cost = fit_left(B, right, p, W)
    history = [cost]
    converged = False
    while len(history) < max_iter and not converged and cost > 0.0:
        before = cost
        other, value = fit_right(B, left, p, W, right)
        if value < cost:
            right, cost = other, value
        history.append(cost)
        other, value = fit_left(B, right, p, W, left)
        if value < cost:
            left, cost = other, value
        history.append(cost)
        converged = before - cost <= tol * before
        if tick is not None:
            tick(f"cost {cost:.6g}")
    return FactorsRun(left, right, cost, tuple(history), len(history), converged or cost == 0.0)
