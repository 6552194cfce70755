"""The ellipsoid method with shallow cuts, around a symmetric body."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpgeom.geometry.ellipsoids.dense import near
from lpgeom.geometry.ellipsoids.sandwich import norm_sandwich
from lpgeom.geometry.spectrum import EPS
from lpgeom.kernels.scalar import cut_size
from lpgeom.rows.base import Array
from lpgeom.rows.place import place_of

REFRESH = 1000
"""Steps between two products ``B L`` from scratch."""

EULER = 1e-6
"""How far ``<s, x>`` may be from g(x), relatively, before an oracle is turned down."""


@dataclass(frozen=True)
class Cut:
    """``lower ||L^-1 y|| <= g(y) <= upper ||L^-1 y||`` for all y."""

    L: Array
    lower: float
    upper: float
    n_iter: int
    converged: bool


def step_decrease(d: int) -> float:
    """By how much a cut lowers the log-volume at least: ``gamma^2 <= 1 / (d + 1)``, d >= 2.

    ``-1/2 [log(d gamma^2) + (d - 1) log(d (1 - gamma^2) / (d - 1))]``, which falls as gamma grows
    up to ``1/sqrt(d)``, taken at ``gamma^2 = 1 / (d + 1)``; more than ``1 / (4 (d + 1)^2)``.
    """
    return 0.5 * (math.log1p(1.0 / d) - (d - 1) * math.log1p(1.0 / (d * d - 1.0)))


def most_steps(d: int, log_rounding: float) -> int:
    """Steps after which the volume would be below the body's: ``d log_rounding`` / `step_decrease`.

    `log_rounding` is the logarithm of the rounding factor of the first ellipsoid.
    """
    return max(1, math.ceil(d * max(log_rounding, 0.0) / step_decrease(d))) if d > 1 else 1


def cut_ball(B: Array, p: float, max_steps: int | None = None) -> Cut:
    """Shallow cuts for ``{y : ||B y||_p <= 1}``, B with orthonormal columns up to rounding.

    The first ellipsoid is ``||B y||_2 <= n^(1/2 - 1/p)`` (p <= 2: 1). Until then every step keeps
    the ball inside exactly; rounding is answered at the end by `lower`: with s the steps made, the
    computed L of a step is within ``8 d eps ||L||_F`` of the exact one, that is within ``8 d eps
    ||L||_F ||L^-1||_F`` in the metric of E, and a computed ``B^T v`` within ``n eps ||B||_F
    ||v||_2``. A containment ``K in (1 + sigma) E`` survives a cut, since the bound of a step is a
    combination of E's and the slab's with coefficients of sum 1.

    The steps are made where B is unless it is small (`near`); L is looked at, and returned, on the
    host.
    """
    n, d = B.shape
    top = _first_radius(B, p)
    (B,) = near(n * d, B)
    place = place_of(B)
    kernels = place.kernels
    L = place.xp.asarray(np.eye(d) * top)
    M = B * top
    norms = place.xp.empty(d)
    kernels.column_norms(M, p, norms)
    limit = most_steps(d, abs(0.5 - _inverse(p)) * math.log(n) + 1e-6)
    limit = limit if max_steps is None else max_steps
    if d == 1:  # an interval: its length is its norm
        return Cut(place.host(L / norms[0]), 1.0 - 8.0 * n * EPS, math.inf, 1, True)
    v_norm = n ** max(0.0, _inverse(p) - 0.5)
    sigma = n * EPS * math.sqrt(d) * v_norm * top
    n_iter, size = 0, float(d)
    while True:
        steps = int(kernels.shallow_cuts(B, M, L, norms, p, min(REFRESH, limit - n_iter)))
        n_iter += steps
        last = size
        found = place.host(L)
        size = float(np.linalg.norm(found) * np.linalg.norm(np.linalg.inv(found)))
        sigma += 8 * d * EPS * steps * max(size, last)
        place.matmul(B, L, out=M)
        kernels.column_norms(M, p, norms)
        converged = bool(norms.max() <= math.sqrt(d + 1.0) * (1.0 + 1e-9))
        if converged or n_iter >= limit:
            break
    return Cut(found, 1.0 / (1.0 + sigma), math.inf, n_iter, converged)


def _first_radius(B: Array, p: float) -> float:
    """r with ``||y|| <= r`` wherever ``||B y||_p <= 1``."""
    n = B.shape[0]
    two = norm_sandwich(B, 2.0)
    return n ** max(0.0, 0.5 - _inverse(p)) * (1.0 + 8.0 * EPS) / two.lower


def _inverse(p: float) -> float:
    return 0.0 if math.isinf(p) else 1.0 / p


def cut_body(oracle: Callable[[Array], Any], d: int, max_steps: int | None = None) -> Cut:
    """Shallow cuts for ``{y : g(y) <= 1}``, g known through ``y -> (g(y), subgradient)``.

    A subgradient s of a norm at x has ``|<s, y>| <= g(y)`` for all y, so the body lies in the slab
    ``|<s, y>| <= 1``; d independent ones give the first ellipsoid, ``sum <s_i, y>^2 <= d``. They
    are independent if x_i is orthogonal to the ones before, since ``<s_i, x_i> = g(x_i) > 0``.
    Afterwards columns of L are tried in turn, each that is longer than ``sqrt(d + 1)`` makes a cut.
    `upper` is ``(sum_j g(L e_j)^2)^(1/2)`` (triangle and Cauchy-Schwarz inequalities).
    """
    S = np.zeros((d, d))
    for i in range(d):
        free = np.linalg.svd(S[:i], full_matrices=True)[2][i] if i else np.eye(d)[0]
        g, s = _ask(oracle, free)
        if not g > 0.0:
            raise ValueError("the gauge is 0 at a nonzero point: the body is unbounded")
        S[i] = s
    try:
        L = np.asarray(math.sqrt(d) * np.linalg.inv(S), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise ValueError("the oracle's subgradients do not span the space") from None
    gauges = np.array([_ask(oracle, column)[0] for column in L.T])
    limit = (
        most_steps(d, math.log(float(np.linalg.norm(gauges)))) if max_steps is None else max_steps
    )
    stop = math.sqrt(d + 1.0)
    sigma = 8 * d * EPS * float(np.linalg.norm(S) * np.linalg.norm(L))
    n_iter, passed, j = 0, 0, 0
    while passed < d and d > 1:
        g, s = _ask(oracle, L[:, j])
        gauges[j] = g
        z = s @ L
        length = float(np.linalg.norm(z))
        if g <= stop or length <= math.sqrt(d):
            passed += 1
            j = (j + 1) % d
            continue
        if n_iter >= limit:
            break
        z /= length
        c, b = cut_size(d, 1.0 / length)
        L = np.asarray(c * (L - np.outer(b * (L @ z), z)))
        n_iter, passed = n_iter + 1, 0
        if n_iter % d == 1:
            size = float(np.linalg.norm(L) * np.linalg.norm(np.linalg.inv(L)))
        sigma += 16 * d * EPS * size
    for j in range(d):
        gauges[j] = _ask(oracle, L[:, j])[0]
    upper = float(np.linalg.norm(gauges)) * (1.0 + 8 * d * EPS)
    return Cut(L, 1.0 / (1.0 + sigma), upper, n_iter, bool(gauges.max() <= stop * (1.0 + 1e-9)))


def _ask(oracle: Callable[[Array], Any], x: Array) -> tuple[float, Array]:
    """The oracle's answer at x, held to what can be seen of its promise."""
    d = x.size
    try:
        g, s = oracle(x.copy())
        value, s = float(g), np.asarray(s, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"oracle(x) must return (gauge, subgradient): {error}") from error
    if s.shape != (d,):
        raise ValueError(f"the oracle's subgradient has shape {s.shape}, expected ({d},)")
    if not (math.isfinite(value) and np.isfinite(s).all() and value >= 0.0):
        raise ValueError("the oracle's gauge must be finite and >= 0, its subgradient finite")
    along = float(s @ x)
    room = EULER * max(value, float(np.abs(s) @ np.abs(x)) * 1e-6)
    if not abs(along - value) <= room:
        raise ValueError(
            f"the oracle's subgradient s at x has <s, x> = {along!r}, not the gauge {value!r}"
        )
    return value, s
