"""Lower bound 3f for p > 2: minimum of ``sum (a_i^T Q a_i)^(p/2)`` over the Fantope, from below.

t^(p/2) is convex and ``t = a^T Q a`` linear in Q (Deshpande, Tulsiani, Vishnoi, SODA 2011). The
bound at any reference Q0 is Hölder's (`linear.holder_bound`), which is the linearisation of the
relaxed cost at the best multiple of Q0.
"""

from __future__ import annotations

import math

import numpy as np

from lpgeom.bounds.evidence import Evidence
from lpgeom.bounds.linear import holder_bound, holder_value, holder_weights
from lpgeom.geometry.fantope import water_filling
from lpgeom.geometry.spectrum import eigen, eigenvalues
from lpgeom.records.subspace import Bound
from lpgeom.rows.base import Array, Rows

GAP = {"fast": 1e-3, "tight": 1e-6}
"""Relative duality gap of the cost at which the search stops."""

LIMIT = {"fast": 12, "tight": 60}
"""Steps of the search at most."""

SMALL = 1 << 18
"""Below this many entries of A the search runs in float64: there is no time to be saved."""

HIGHEST = 900.0
"""Relaxed costs beyond 2 to this power, where that of the projection found is near n at most, are
not computed."""

SHORT = 1e-3
"""A bound by this share below what the search promised is held against that of the start; float32
passes are off by less."""

SINGLE_RANGE = 1e30
"""Squared row norms beyond this leave float32 no room."""


def power(rows: Rows, evidence: Evidence, k: int, p: float, level: str) -> Bound:
    """3f, p > 2. Spectral projected gradient from the best projection found, then one bound.

    Two passes a step (in single precision where A is large), two in float64 for the bound.
    """
    n, d = rows.shape
    top = float(evidence.Y2.max())
    view = rows.single() if n * d > SMALL and top < SINGLE_RANGE else rows
    Q0, promised = _search(view, evidence, d - k, p, level)
    bound = holder_bound("power", "3f", rows, Q0, k, p)
    kept = math.log(bound.scaled_value) if bound.scaled_value > 0.0 else -math.inf
    if kept < promised + math.log1p(-max(GAP[level], SHORT)):
        # What the search saw was rounding beside a long row, and the allowance leaves less of it,
        # or nothing, where the projection that it started from may still prove its share.
        start = holder_bound("power", "3f", rows, evidence.W @ evidence.W.T, k, p)
        bound = max(bound, start, key=lambda b: b.scaled_value)
    return bound


def _search(rows: Rows, evidence: Evidence, m: int, p: float, level: str) -> tuple[Array, float]:
    """The reference of the largest bound among the steps of a projected gradient descent, and the
    logarithm of that bound before any rounding allowance.

    Step lengths are Barzilai and Borwein's two, in turn (IMA J. Numer. Anal. 1988); a step that
    raises the relaxed cost by more than a tenth is taken again, four times shorter.
    """
    s = p / 2.0
    Q = evidence.W @ evidence.W.T
    unit = float(evidence.t.max())
    if unit == 0.0:
        return Q, -math.inf

    def look(Q: Array) -> tuple[Array, float, float]:
        """Gradient / s and the relaxed cost (t in units of `unit`), and the bound's share of it."""
        t = np.maximum(rows.bilinear_form(Q), 0.0)
        u, count = holder_weights(t, p)
        top = float(t.max()) / unit
        G = rows.weighted_gram(u) / unit
        smallest = float(eigenvalues(G)[:m].sum())
        lower = holder_value(smallest, count, p)
        if s * math.log2(max(top, 1.0)) > HIGHEST:  # only ever a step too far
            return G, math.inf, lower
        return G * top ** (s - 1.0), count * top**s, lower

    G, F, lower = look(Q)
    best = (lower, Q)
    step = 1.0 / max(float(eigenvalues(G)[-1]), 1e-300)
    for it in range(LIMIT[level]):
        if F - best[0] <= GAP[level] * F:
            break
        e, X = eigen(Q - step * G)
        q = water_filling(np.ones_like(e), m, -e)
        Q_new = (X * q) @ X.T
        G_new, F_new, lower = look(Q_new)
        if lower > best[0]:
            best = (lower, Q_new)
        if F_new > 1.1 * F:
            step *= 0.25
            continue
        dQ, dG = Q_new - Q, G_new - G
        size = float(np.abs(dG).max())  # its square may leave float64
        if size == 0.0:
            break
        dG /= size
        dot, dQ2, dG2 = float((dQ * dG).sum()), float((dQ * dQ).sum()), float((dG * dG).sum())
        if dot <= 0.0:
            break
        step = (dQ2 / dot if it % 2 else dot / dG2) / size
        Q, G, F = Q_new, G_new, F_new
    return best[1], math.log(best[0]) + s * math.log(unit) if best[0] > 0.0 else -math.inf
