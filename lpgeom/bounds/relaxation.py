"""Lower bounds by convex relaxation over the Fantope: 3d and 3e (1 <= p < 2).

The search (single precision first) looks for a good reference matrix Q0. The bound itself needs
nothing of it: for ANY symmetric Q0, put ``u_i = Q0 a_i / max(||Q0 a_i||, floor_i)``. Then
``|u_i| <= 1``, so ``||Q a_i|| >= u_i . Q a_i``, and a minorant ``alpha y + beta y^2 + c`` of y^p
(`minorant`) gives for every rank-m projection Q

    cost(Q) >= sum_i c_i + <G, Q>,   G = sym(Q0 N) + H,
    N = sum_i alpha_i / max(||Q0 a_i||, floor_i) a_i a_i^T,   H = sum_i beta_i a_i a_i^T,

hence ``cost >= sum c_i + (sum of the m smallest eigenvalues of G)``: one pass in float64 and one
eigenvalue computation. At a minimiser Q0 it is the minimum of the relaxation.

A rank-m projection Q gives row a (norm Y = ||a||) the residual ``y = ||Q a||`` with
``y^2 = a^T Q a``. A matrix Q of the Fantope gives two different numbers: ``r = ||Q a||`` and
``t = a^T Q a``, with ``r^2 <= t <= Y r``. A minorant

    y^p >= alpha y + beta y^2 + c   for all y in [0, Y],   alpha >= 0,

is convex in Q after y -> ||Q a||, y^2 -> a^T Q a, and so can be minimised over the Fantope.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lpgeom.bounds.evidence import Evidence
from lpgeom.bounds.rounding import EPS, ky_fan_sums
from lpgeom.geometry.fantope import water_filling
from lpgeom.geometry.spectrum import eigen
from lpgeom.records.subspace import Bound
from lpgeom.rows.base import Array, Rows

FLOOR = 1e-6
"""floor_i = FLOOR ||a_i||: caps the weights 1/||Q0 a_i||, and with them the rounding of N."""

SINGLE_FLOOR = 3e-5
"""The same for the search in float32, whose residuals are off by about 1e-6 ||a_i||."""

SMALL = 1 << 18
"""Below this many entries of A the search runs in float64: there is no time to be saved."""

GAP = {"fast": 2.5e-3, "tight": 3e-5}
"""Relative duality gap at which the search stops."""

LIMIT = {"fast": 12, "tight": 60}
"""Steps of the search in each precision, at most."""

STEP = 12.0
"""A step shrinks the gap about tenfold: the search in float32 stops one step early."""


SLOW = 0.97
"""The exact steps go on as long as each takes this share off the gap: towards a minimiser that is
a projection they come close slowly, and would end where the last bits of the start decide."""


SERIES = 1e-2
"""Below S - 1 = SERIES, beta is summed as a series: the quotient would cancel."""


@dataclass(frozen=True)
class Linearised:
    """What one look at the rows says about a reference matrix."""

    N: Array
    H: Array | None
    total: float  # the relaxed cost
    tails: Array  # tails[m - 1]: sum of the m smallest eigenvalues of G, less its allowance
    constant: float  # sum of the c_i; nan for 3d, whose bound is Hölder's
    p: float

    def lower(self, m: int) -> float:
        """The bound for complements of dimension m, whatever m the reference was made for."""
        smallest = float(self.tails[m - 1])
        if not math.isnan(self.constant):
            return self.constant + smallest
        if smallest <= 0.0 or self.total <= 0.0:
            return 0.0
        return smallest * (smallest / self.total) ** (self.p - 1.0) * (1.0 - 16.0 * EPS)


@dataclass(frozen=True)
class Reference:
    """A reference matrix with its float64 linearisation: a bound for every rank."""

    name: str
    theorem: str
    Q0: Array
    at: Linearised

    def bound(self, m: int) -> Bound:
        """What it proves for complements of dimension m."""
        value = max(self.at.lower(m), 0.0)
        witness = {"Q0": self.Q0, "floor": FLOOR}
        return Bound(self.name, self.theorem, value, witness=witness, p=self.at.p)


def relaxation_at(
    rows: Rows, evidence: Evidence, k: int, p: float, level: str, **begun: Any
) -> Reference:
    """3d, 1 <= p < 2: minimum of ``sum ||Q a_i||^p`` over the Fantope, from below.

    ``y^p >= p v y - (p-1) v^(p/(p-1))`` for every v >= 0; the best common scale of the v_i turns
    the bound into Hölder's, ``S(v)^p / (sum v^(p/(p-1)))^(p-1)`` with ``v_i = ||Q0 a_i||^(p-1)``
    and S(v) the sum of the m smallest eigenvalues of ``sum v_i sym(u_i a_i^T)``.

    Where it has `begun`: searched for from `start` if one is given, in float64 from the first step
    on if that is `near` the end already.
    """
    m = rows.shape[1] - k
    y = np.sqrt(evidence.t)
    weights = _reciprocal(y ** (p - 1.0), y, np.sqrt(evidence.Y2), SINGLE_FLOOR)

    def first(view: Rows) -> tuple[Array, Array | None]:
        return view.weighted_gram(weights), None

    linearise = partial(_linearise, p=p)
    return Reference("relaxation", "3d", *_search(rows, m, level, first, linearise, **begun))


def tangent_at(
    rows: Rows, evidence: Evidence, k: int, p: float, level: str, **begun: Any
) -> Reference:
    """3e, 1 < p < 2: minimum over the Fantope of the sum of the rows' best minorants, from below.

    The minorant of row i touches at the point of `touching_point` for ``r = ||Q0 a_i||`` and
    ``t = a_i^T Q0 a_i``: no other touching point gives more at Q0. At p = 1 this is 3d, at p = 2
    the spectrum of ``A^T A``.

    `begun` is that of `relaxation_at`.
    """
    m = rows.shape[1] - k
    Y = np.sqrt(evidence.Y2)
    y = np.sqrt(evidence.t)

    def first(view: Rows) -> tuple[Array, Array | None]:
        alpha, beta, _ = minorant(_kept(y, Y, SINGLE_FLOOR), Y, p)
        weights = _reciprocal(alpha, y, Y, SINGLE_FLOOR)
        return view.weighted_gram(weights), view.weighted_gram(beta)

    linearise = partial(_linearise_tangent, Y=Y, p=p)
    return Reference("tangent", "3e", *_search(rows, m, level, first, linearise, **begun))


def _search(
    rows: Rows,
    m: int,
    level: str,
    first: Callable[[Rows], tuple[Array, Array | None]],
    linearise: Callable[[Rows, Array, float], Linearised],
    start: Array | None = None,
    near: bool = False,
) -> tuple[Array, Linearised]:
    """The Q0 of the largest bound met in float64, and its linearisation.

    Single precision runs until one more step should close the gap, or until steps no longer
    shrink it. Then float64, where each step is both a bound and the start of the next; where the
    quick heuristic step settles short of the minimum, the exact one takes over.
    """
    n, d = rows.shape
    view = rows.single() if n * d > SMALL and not near else rows
    Q = next_reference(*first(view), m) if start is None else start
    if view is not rows:
        last = math.inf
        for _ in range(LIMIT[level]):
            at = linearise(view, Q, SINGLE_FLOOR)
            gap = (at.total - at.lower(m)) / at.total if at.total > 0.0 else 0.0
            Q = next_reference(at.N, at.H, m)
            if gap <= STEP * GAP[level] or gap > 0.7 * last:
                break
            last = gap
    best: tuple[Array, Linearised] | None = None
    total, last, stalled, exact = math.inf, math.inf, 0, False
    for _ in range(LIMIT[level]):
        at = linearise(rows, Q, FLOOR)
        if best is None or at.lower(m) > best[1].lower(m):
            best = (Q, at)
        total = min(total, at.total)
        gap = (total - best[1].lower(m)) / total if total > 0.0 else 0.0
        if gap <= GAP[level]:
            break
        stalled = stalled + 1 if gap > (SLOW if exact else 0.8) * last else 0
        last = gap
        if stalled == 2 and at.H is not None and not exact:
            exact, stalled = True, 0
        elif stalled == 8:
            break
        Q = majoriser_step(Q, at.N, at.H, m) if exact else next_reference(at.N, at.H, m)
    assert best is not None
    return best


def next_reference(N: Array, H: Array | None, m: int) -> Array:
    """Near-minimiser of ``tr(N Q^2) / 2 + tr(H Q)`` over the Fantope.

    It majorises the relaxed cost (``||Q a|| <= (||Q a||^2 / r + r) / 2``), so for H = 0 this is
    iteratively reweighted least squares: Q has the eigenvectors of N and water-filled
    eigenvalues. In general, water-filling on the diagonal of H in that basis gives the level
    theta; without the constraints on the eigenvalues, stationarity ``(N Q + Q N)/2 + H = theta I``
    is solved entrywise, and a second water-filling in the eigenbasis of that solution restores
    them. A heuristic: no bound rests on it.
    """
    lam, U = eigen(N)
    lam = np.maximum(lam, max(float(lam[-1]), 1e-300) * 1e-14)
    if H is None:
        return _assemble(U, water_filling(lam, m))
    Hu = U.T @ H @ U
    h = np.diag(Hu).copy()
    q = water_filling(lam, m, h)
    theta = _level(lam, h, q)
    Q = (2.0 / (lam[:, None] + lam[None, :])) * (theta * np.eye(lam.size) - Hu)
    e, X = eigen(Q)
    metric = np.einsum("ij,i,ij->j", X, lam, X)
    return _assemble(U @ X, water_filling(metric, m, -e * metric))


def majoriser_step(Q0: Array, N: Array, H: Array | None, m: int, inner: int = 4) -> Array:
    """Descend on ``tr(N Q^2) / 2 + tr(H Q)`` over the Fantope from Q0, slower and without bias.

    Unlike `next_reference` it leaves the minimiser where it is. In the eigenbasis of Q with nu
    the diagonal of N, the quasi-Newton step ``Q_jl - 2 (G - theta I)_jl / (nu_j + nu_l)``, G the
    gradient, is followed by water-filling in the eigenbasis of the result. At the minimiser G
    commutes with Q and equals theta on eigenvalues of Q inside (0, 1), so the step only moves
    eigenvalues that water-filling returns to 0 and 1.
    """
    Q = Q0
    for _ in range(inner):
        q, U = eigen(Q)
        S = Q @ N
        G = U.T @ (0.5 * (S + S.T) + (0.0 if H is None else H)) @ U
        nu = np.einsum("ij,ij->j", U, N @ U)
        nu = np.maximum(nu, max(float(nu.max()), 1e-300) * 1e-14)
        h = np.diag(G) - nu * q
        theta = _level(nu, h, water_filling(nu, m, h))
        Z = np.diag(q) - (2.0 / (nu[:, None] + nu[None, :])) * (G - theta * np.eye(q.size))
        e, X = eigen(Z)
        metric = np.einsum("ij,i,ij->j", X, nu, X)
        Q = _assemble(U @ X, water_filling(metric, m, -e * metric))
    return Q


def _level(lam: Array, h: Array, q: Array) -> float:
    """The level theta of a water-filling q."""
    inner = (q > 1e-9) & (q < 1.0 - 1e-9)
    if inner.any():
        return float(np.median((h + lam * q)[inner]))
    return 0.5 * (float((h + lam)[q > 0.5].max()) + float(h[q <= 0.5].min(initial=np.inf)))


def _assemble(U: Array, q: Array) -> Array:
    Q = (U * q) @ U.T
    return 0.5 * (Q + Q.T)


def _kept(y: Array, Y: Array, floor: float) -> Array:
    """y within [floor Y, Y], and 1 where Y = 0."""
    return np.where(Y > 0.0, np.minimum(np.maximum(y, floor * Y), Y), 1.0)


def _reciprocal(alpha: Array, r: Array, Y: Array, floor: float) -> Array:
    """``alpha / max(r, floor Y)``, 0 for zero rows."""
    below = np.maximum(r, floor * Y)
    return np.where(below > 0.0, alpha / np.where(below > 0.0, below, 1.0), 0.0)


def _linearise(rows: Rows, Q: Array, floor: float, p: float) -> Linearised:
    """3d at Q: one fused pass."""
    n = rows.shape[0]
    Y2 = rows.squared_norms()

    def rule(r2: Array, lo: int, hi: int) -> tuple[Array, ...]:
        r = np.sqrt(r2)
        w = _reciprocal(r ** (p - 1.0), r, np.sqrt(Y2[lo:hi]), floor)
        return w, w

    r2, N, weights = rows.reweighted_gram(Q, rule)
    G = Q @ N
    G = 0.5 * (G + G.T)
    total = float((r2 ** (p / 2.0)).sum())
    size = float((weights * Y2).sum())
    return Linearised(N, None, total, ky_fan_sums(G, n, size), math.nan, p)


def _linearise_tangent(rows: Rows, Q: Array, floor: float, Y: Array, p: float) -> Linearised:
    """3e at Q: three passes."""
    n = rows.shape[0]
    t = rows.bilinear_form(Q)

    def rule(r2: Array, lo: int, hi: int) -> tuple[Array, ...]:
        r, Yb = np.sqrt(r2), Y[lo:hi]
        y0 = touching_point(r, t[lo:hi], Yb, floor * Yb)
        alpha, beta, c = minorant(y0, Yb, p)
        w = _reciprocal(alpha, r, Yb, floor)
        return w, w, alpha, beta, c

    r2, N, weights, alpha, beta, c = rows.reweighted_gram(Q, rule)
    H = rows.weighted_gram(beta)
    G = Q @ N
    G = 0.5 * (G + G.T) + H
    constant = float(c.sum())
    total = float((alpha * np.sqrt(r2) + beta * t).sum()) + constant
    size = float(((weights + beta) * Y * Y).sum()) - constant  # no c is positive
    return Linearised(N, H, total, ky_fan_sums(G, n, size), constant, p)


def beta_of(S: Array, p: float) -> Array:
    """``(S^p - 1 - p (S-1)) / (S-1)^2``, never rounded up; 1 <= p <= 2, S >= 1.

    A smaller beta, with alpha = p - 2 beta, is still a minorant: the excess
    ``y^p - 1 - p (y-1) - beta (y-1)^2`` only grows.
    """
    e = S - 1.0
    near = e < SERIES
    x = np.where(near, e, 0.0)
    # Taylor about 1: coefficients alternate in sign from the second on, so stopping after a
    # negative term stays below.
    coefficient, term, series = p * (p - 1.0) / 2.0, np.ones_like(x), np.zeros_like(x)
    for j in range(2, 10):
        series += coefficient * term
        coefficient *= (p - j) / (j + 1.0)
        term = term * x
    far = np.where(near, 1.0, e)
    power = np.expm1(p * np.log1p(far))
    quotient = (power - p * far) / far**2 - 4.0 * EPS * (power + p * far) / far**2
    return np.maximum(np.where(near, series * (1.0 - 8.0 * EPS), quotient), 0.0)


def touching_point(r: Array, t: Array, Y: Array, floor: Array) -> Array:
    """Where the best minorant for (r, t) touches: ``(r Y - t) / (Y - r)``.

    Kept in [floor, Y]; 1 for rows with Y = 0.

    Among all minorants above, the largest value of ``alpha r + beta t + c`` is the least
    ``E[y^p]`` of a random y in [0, Y] with ``E y = r`` and ``E y^2 = t`` (linear programming
    duality). For 1 < p < 2 the powers 1, y, y^2, y^p form a Chebyshev system and the third
    derivative of y^p is negative, so the least is attained by two values, one of them Y: the
    other is this one. Any other point of (0, Y] gives a bound too, only a smaller one.
    """
    gap = np.maximum(Y - r, 1e-12 * Y)
    with np.errstate(divide="ignore", invalid="ignore"):
        point = np.where(gap > 0.0, (r * Y - t) / gap, 0.0)
    kept = np.minimum(np.maximum(np.minimum(point, r), floor), Y)
    return np.where(Y > 0.0, kept, 1.0)


def minorant(y0: Array, Y: Array, p: float) -> tuple[Array, Array, Array]:
    """``(alpha, beta, c)`` with ``y^p >= alpha y + beta y^2 + c`` on [0, Y], equality at y0.

    ``y0`` in (0, Y]. In units of y0: beta as in `beta_of` at S = Y/y0 (the excess over the tangent
    divided by ``(y-1)^2`` decreases in y, so its value at the far end serves everywhere),
    ``alpha = p - 2 beta``, ``c = 1 - p + beta``. Rows with Y = 0 get zeros.
    """
    alive = Y > 0.0
    S = np.where(alive, np.maximum(Y / y0, 1.0), 1.0)
    beta = beta_of(S, p)
    unit = np.where(alive, y0**p, 0.0)
    return unit / y0 * (p - 2.0 * beta), unit / y0 / y0 * beta, unit * (1.0 - p + beta)
