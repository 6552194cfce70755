"""The fixed point of Lewis weights, ``w = tau^(p/2)``, by accelerated damped steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lpgeom.rows.base import Array
from lpgeom.rows.vectors import beside, kept, least_squares

SMALLEST = 1e-300

MEMORY_ENTRIES = 1 << 21
"""Entries that the acceleration may keep; with many rows it keeps fewer steps, or none."""

LOCAL_GAP = 0.1
"""Below this gap the damping that is best near the fixed point is tried again (p >= 4)."""


@dataclass(frozen=True)
class FixedPoint:
    """Weights w, ``tau`` in their metric, and ``gap = max |log(tau / w^(2/p))|``."""

    w: Array
    tau: Array
    gap: float
    n_iter: int
    converged: bool


def solve_fixed_point(
    tau_of: Callable[[Array], Array],
    tau: Array,
    rank: int,
    p: float,
    *,
    tol: float,
    max_iter: int,
    depth: int = 5,
) -> FixedPoint:
    """Weights to `tol` in ``max |log(tau_i / w_i^(2/p))|``, started from ``w = tau^(p/2)``.

    ``tau_of(w)`` gives ``tau_i = a_i^T M^-1 a_i`` for ``M = A^T W^(1-2/p) A``; `tau` is that of the
    plain Gram. All rows are nonzero; weights sum to `rank` throughout.

    With ``l = w^(1-2/p) tau`` (the leverages) the step is ``w <- w^(1-s) l^s``. p < 4: s = p/2,
    that is ``w <- tau^(p/2)``, which contracts log w by |1 - p/2| (Cohen and Peng, STOC 2015).
    p >= 4: that map need not converge. In log w the step's derivative has eigenvalues between
    ``1 - s`` and ``1 - 2s/p``, whatever the rows; s = 2p/(p+2) balances the two ends at
    (p-2)/(p+2), against (p-1)/p for the geometric mean s = 1/2, which stands in while a step has
    made the gap grow.

    The last `depth` steps are combined so that their residuals, in the metric of w, cancel best
    (Anderson 1965; Walker and Ni, SIAM J. Numer. Anal. 2011). Should a combined step not lower the
    smallest gap so far, it is undone, and plain steps follow, twice as many each time it happens:
    the plain map has the last word.
    """
    local = p / 2.0 if p < 4.0 else 2.0 * p / (p + 2.0)
    depth = min(depth, MEMORY_ENTRIES // (2 * tau.size))
    s = local
    u = kept(_normalised(0.5 * p * np.log(np.maximum(tau, SMALLEST)), rank))
    best_gap, last, n_iter = np.inf, np.inf, 0
    best = (u, tau, tau)
    combined = False
    plain_left, patience = 0, 1
    points: list[Array] = []
    residuals: list[Array] = []
    while True:
        w = np.maximum(np.exp(u), SMALLEST)
        tau = tau_of(w)
        residual = kept(np.log(np.maximum(tau, SMALLEST)) - (2.0 / p) * u)
        gap = float(np.abs(residual).max())
        n_iter += 1
        if combined and not gap < best_gap:
            points, residuals = [], []
            patience *= 2
            plain_left = patience
            u, tau, residual = best
            gap = best_gap
        elif p >= 4.0 and not combined and gap > last:
            s = 0.5
        elif gap < LOCAL_GAP:
            s = local
        if gap < best_gap:
            best_gap, best = gap, (u, tau, residual)
        if best_gap <= tol or n_iter >= max_iter:
            break
        last = gap
        points.append(u)
        residuals.append(residual)
        if len(points) > depth + 1:
            del points[0], residuals[0]
        u = u + s * residual
        plain_left -= 1
        combined = len(points) > 1 and plain_left < 0
        if combined:
            root = np.sqrt(np.maximum(np.exp(points[-1]), SMALLEST))
            D = np.stack([r - residual for r in residuals[:-1]], axis=1)
            gamma = least_squares(D * root[:, None], -residual * root, rcond=1e-12)
            moves = np.stack([x - points[-1] for x in points[:-1]], axis=1)
            u = u + (moves + s * D) @ beside(u, gamma)
        u = kept(_normalised(u, rank))
    u, tau, _ = best
    # Floored as where tau was computed: powers of small weights would be 0, and divided by.
    return FixedPoint(np.maximum(np.exp(u), SMALLEST), tau, best_gap, n_iter, best_gap <= tol)


def _normalised(u: Array, rank: int) -> Array:
    """u shifted so that ``sum exp(u) = rank``."""
    top = float(u.max())
    return u - (top + np.log(float(np.exp(u - top).sum()) / rank))
