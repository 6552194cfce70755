"""Rows of far clusters, each of fewer rows than the rest: set aside before rows are compared.

Two fifths of the rows in one cluster move the middle of all, and along most directions half of all
rows lie close to that middle only because the cluster does: regular rows then seem far off. A gap
between two groups shows in the one direction between them, however many rows are beyond it.
"""

from __future__ import annotations

import numpy as np

from lpgeom.affine.robust.cloud import Cloud, Mask, axes, norms
from lpgeom.affine.robust.directions import WIDEST, least_kurtosis
from lpgeom.kernels.cpu import quantile
from lpgeom.rows.base import Array

LEAST = 0.15
"""Share of the weight that a cluster has at least; what is less is far off along directions."""

FEWEST = 20
"""Fewer rows have wide gaps by chance."""

GAP = 10.0
"""A gap is wide that is this many median absolute deviations of the rows on its larger side."""


def far_clusters(cloud: Cloud, k: int, most: float, seed: int) -> Mask:
    """Rows beyond wide gaps, as long as they have at most this share of the weight, (n,).

    Gaps are looked for within the leading principal axes of the rows at length 1, where no row has
    more say than others: from the mean to single rows, once rows are whitened, and on from there to
    a least kurtosis, where rows in two groups are furthest apart for their spread (see
    ``directions.py``). The widest is taken first; then the larger side alone is looked at. Sources:
    D. Peña and F. J. Prieto, "Cluster identification using projections", JASA 96, 2001; the axes:
    N. Locantore and others, "Robust principal component analysis for functional data", Test 8,
    1999.

    Parameters
    ----------
    cloud : Cloud
    k : int
        Dimension of the subspace that is looked for.
    most : float
        In [0, 0.5].
    seed : int
    """
    rng = np.random.default_rng(seed)
    inside = np.ones(len(cloud.B), dtype=bool)
    total = float(cloud.weights.sum())
    while inside.sum() >= FEWEST:
        rest = cloud.some(inside)
        left = total / float(rest.weights.sum())
        found = [
            _widest_gap(x, rest.weights, LEAST, 1.0 - (1.0 - most) * left)
            for x in _projections(rest, k, rng)
        ]
        gap, beyond = max(found, key=lambda one: one[0], default=(0.0, inside))
        if gap < GAP:
            break
        inside[np.flatnonzero(inside)[beyond]] = False
    return ~inside


def _projections(cloud: Cloud, k: int, rng: np.random.Generator) -> Array:
    """Rows along directions that may lie between groups of them, (m, n); none where all are one."""
    B, w = cloud.B, cloud.weights
    unit = B - np.median(B, axis=0)
    lengths = norms(unit)
    unit /= np.where(lengths > 0.0, lengths, 1.0)[:, None]
    gram = (unit * w[:, None]).T @ unit
    found = [np.zeros((0, len(B)))]
    for q in (k + 1, 2 * k + 2):
        Z = B @ axes(gram, min(q, WIDEST, max(len(B) // 5, 1)))
        if Z.shape[1]:
            found += [D @ Z.T for D in least_kurtosis(Z, w, rng)]
    return np.concatenate(found)


def _widest_gap(x: Array, w: Array, least: float, most: float) -> tuple[float, Mask]:
    """The widest gap between numbers with a share from `least` to `most` on its smaller side.

    In median absolute deviations of the other side; and which numbers the smaller side has.
    """
    order = np.argsort(x, kind="stable")
    s, masses = x[order], w[order]
    below = np.cumsum(masses)[:-1] / masses.sum()
    smaller = np.minimum(below, 1.0 - below)
    gaps = np.where((smaller >= least) & (smaller <= most + 1e-9), np.diff(s), 0.0)
    beyond = np.zeros(len(x), dtype=bool)
    if not gaps.any():
        return 0.0, beyond
    j = int(np.argmax(gaps))
    low = slice(0, j + 1), slice(j + 1, len(x))
    few, many = low if below[j] <= 0.5 else low[::-1]
    half = 0.5 * float(masses[many].sum()) * (1.0 - 1e-9)
    y = s[many] - quantile(s[many].copy(), masses[many].copy(), half)
    scale = quantile(np.abs(y), masses[many].copy(), half)
    beyond[order[few]] = True
    return float(gaps[j] / max(scale, 1e-12 * float(np.abs(s).max()))), beyond
