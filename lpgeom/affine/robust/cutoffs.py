"""Where distances from a subspace are called large."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtr, chdtri, ndtri

from lpgeom.rows.base import Array

LEVEL = 0.975
"""Share of regular rows that a cut-off lets pass."""

MOST = 2001
"""Numbers that a medcouple is computed of, at most."""


def univariate_mcd(x: Array, weights: Array | None, share: float) -> tuple[float, float]:
    """Location and scale of numbers: the mean and deviation of a part of least variance.

    The part holds `share` of the weight; its variance is made consistent for normal numbers, those
    within `LEVEL` of it are kept, and their mean and deviation, again made consistent, are the
    answer. Source: P. J. Rousseeuw and A. M. Leroy, "Robust regression and outlier detection",
    Wiley 1987, chapter 4. O(n log n).

    Parameters
    ----------
    x : ndarray, shape (n,)
    weights : ndarray, shape (n,), or None
    share : float
        In (0, 1].

    Returns
    -------
    tuple of float
        The scale is 0 where the part is of equal numbers.
    """
    w = np.ones(len(x)) if weights is None else weights
    order = np.argsort(x, kind="stable")
    middle = float(x[order[len(x) // 2]])
    s, m = x[order] - middle, w[order]
    mass, first, second = (np.concatenate([[0.0], np.cumsum(v)]) for v in (m, m * s, m * s * s))
    # To each beginning the first end that holds enough.
    ends = np.searchsorted(mass, mass[:-1] + share * mass[-1] * (1.0 - 1e-9))
    begins = np.flatnonzero(ends <= len(x))
    ends = ends[begins]
    held = mass[ends] - mass[begins]
    means = (first[ends] - first[begins]) / held
    variances = np.maximum((second[ends] - second[begins]) / held - means**2, 0.0)
    best = int(np.argmin(variances))
    inside = slice(begins[best], ends[best])
    location = float(np.average(s[inside], weights=m[inside]))
    # About its own mean: differences of sums have rounding of the whole in them.
    variance = float(np.average((s[inside] - location) ** 2, weights=m[inside]))
    part = min(float(held[best] / mass[-1]), 1.0)
    scale = math.sqrt(variance * _consistency(part))
    kept = np.abs(s - location) <= math.sqrt(_chi2(LEVEL, 1)) * scale
    if scale == 0.0 or not kept.any():
        return location + middle, 0.0
    location = float(np.average(s[kept], weights=m[kept]))
    variance = float(np.average((s[kept] - location) ** 2, weights=m[kept]))
    return location + middle, math.sqrt(variance * _consistency(LEVEL))


def orthogonal_cutoff(
    distances: Array, weights: Array | None, share: float, level: float = LEVEL
) -> float:
    """The distance from the subspace that `level` of the regular rows do not exceed.

    Distances to the power 2/3 are nearly normal (Wilson and Hilferty): the cut-off is ``(location +
    z scale)^(3/2)`` of these, by `univariate_mcd`. Source: Hubert, Rousseeuw and Vanden Branden,
    Technometrics 2005.
    """
    location, scale = univariate_mcd(np.cbrt(distances) ** 2, weights, share)
    return float(max(location + float(ndtri(level)) * scale, 0.0) ** 1.5)


def score_cutoff(k: int, level: float = LEVEL) -> float:
    """``sqrt(chi2_{k, level})``: what normal scores of k components do not exceed at that level."""
    return math.sqrt(_chi2(level, k))


def _chi2(level: float, degrees: int) -> float:
    return float(chdtri(degrees, 1.0 - level))


def _consistency(part: float) -> float:
    """What the variance of the middle part of normal numbers is multiplied by for that of all."""
    if part >= 1.0:
        return 1.0
    return part / float(chdtr(3, _chi2(part, 1)))


def adjusted_cutoff(distances: Array) -> float:
    """The upper end of the boxplot adjusted for skewness, ``Q3 + 1.5 exp(c MC) IQR``.

    MC is the `medcouple`, c is 3 for MC >= 0 and 4 below. Source: M. Hubert and E. Vandervieren,
    "An adjusted boxplot for skewed distributions", CSDA 52, 2008.
    """
    finite = distances[np.isfinite(distances)]
    if not finite.size:
        return math.inf
    low, high = np.quantile(finite, [0.25, 0.75])
    mc = medcouple(finite)
    return float(high + 1.5 * math.exp((3.0 if mc >= 0.0 else 4.0) * mc) * (high - low))


def medcouple(x: Array) -> float:
    """Robust skewness in [-1, 1]: the median of ``((x_j - m) - (m - x_i)) / (x_j - x_i)``.

    Over pairs x_i <= m <= x_j about the median m; pairs of numbers equal to m, of which the i-th
    and the j-th, count the sign of their places. O(n^2), of 2,001 order statistics where there are
    more numbers. Source: G. Brys, M. Hubert and A. Struyf, "A robust measure of skewness", J.
    Computational and Graphical Statistics 13, 2004.
    """
    x = np.sort(x)
    if len(x) > MOST:
        x = x[np.round(np.linspace(0.0, len(x) - 1.0, MOST)).astype(np.intp)]
    z = x - np.median(x)
    upper, lower = z[z >= 0.0][:, None], z[z <= 0.0][None, :]
    ties = int((z == 0.0).sum())
    spread = upper - lower
    h = np.divide(upper + lower, spread, out=np.zeros_like(spread), where=spread > 0.0)
    if ties:
        place = np.arange(ties)
        h[:ties, lower.shape[1] - ties :] = np.sign(place[:, None] + place[None, :] + 1 - ties)
    return float(np.median(h))
