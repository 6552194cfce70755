"""Minorants of one row's cost y^p that are linear in what a relaxation knows (theory 3d, 3e).

A rank-m projection Q gives row a (norm Y = ||a||) the residual ``y = ||Q a||`` with
``y^2 = a^T Q a``. A matrix Q of the Fantope gives two different numbers: ``r = ||Q a||`` and
``t = a^T Q a``, with ``r^2 <= t <= Y r``. A minorant

    y^p >= alpha y + beta y^2 + c   for all y in [0, Y],   alpha >= 0,

is convex in Q after y -> ||Q a||, y^2 -> a^T Q a, and so can be minimised over the Fantope.
"""

from __future__ import annotations

import numpy as np

from lpgeom.bounds.rounding import EPS
from lpgeom.rows.base import Array

SERIES = 1e-2
"""Below S - 1 = SERIES, beta is summed as a series: the quotient would cancel."""


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
