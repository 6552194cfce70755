"""Where distances from a subspace are called large."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtr, chdtri, ndtri

from lpgeom.rows.base import Array

LEVEL = 0.975
"""Share of regular rows that a cut-off lets pass."""


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
