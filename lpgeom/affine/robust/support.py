"""Rows that a fit may rest on where up to half of all rows may lie anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpgeom.affine.robust.cloud import Cloud, Mask
from lpgeom.affine.robust.clusters import far_clusters
from lpgeom.affine.robust.cutoffs import orthogonal_cutoff
from lpgeom.rows.base import Array

ROUNDS = 10
"""Concentration steps, at most; two to four are enough as a rule."""


@dataclass(frozen=True, eq=False)
class Support:
    """Rows to rest on, and the subspace that they suggest.

    Attributes
    ----------
    kept : ndarray, shape (n,), bool
    centre, basis : ndarray, shapes (d,) and (d, k)
        The principal subspace of the rows kept.
    """

    kept: Mask
    centre: Array
    basis: Array


def supported(
    A: Array, omega: Array | None, k: int, share: float, *, point: Array | None, seed: int
) -> Support:
    """The rows within the cut-off of a subspace that most of them agree on.

    Rows of far clusters are set aside, as long as `share` of the weight is left (`far_clusters`).
    Of the others those of least outlyingness, `share` of their weight, have a principal subspace:
    the outlyingness of a row is its distance from the median over the median absolute deviation,
    along the worst of some 640 directions (Stahel; Donoho; see ``directions.py``). All rows whose
    distance from it is below `orthogonal_cutoff`, those of clusters too, have another one, and so
    on until the rows stay the same (ROBPCA's steps, taken to their end). As half of the rows decide
    every median, up to that many may lie anywhere.

    There is one such start. Of several the cheapest would be no better: what the nearest half of
    the rows costs is less for a subspace through a cluster of a tenth of them than for the others'.

    Parameters
    ----------
    A : ndarray, shape (n, d), float64
    omega : ndarray, shape (n,), or None
        Rows of weight 0 are not looked at, and not kept.
    k : int
        1 <= k < d.
    share : float
        In [0.5, 1].
    point : ndarray, shape (d,), or None
        Where subspaces have to go through, if anywhere.
    seed : int

    Returns
    -------
    Support

    Notes
    -----
    O(640 n d) for the projections and their medians, O(n d min(n, d)) for each subspace. Sources:
    W. A. Stahel, PhD thesis, ETH Zurich 1981; D. L. Donoho, PhD qualifying paper, Harvard 1982;
    Hubert, Rousseeuw and Vanden Branden, Technometrics 47, 2005; S. Engelen, M. Hubert and K.
    Vanden Branden, "A comparison of three procedures for robust PCA in high dimensions", Austrian
    J. Statistics 34, 2005; the steps: P. J. Rousseeuw and K. Van Driessen, "A fast algorithm for
    the minimum covariance determinant estimator", Technometrics 41, 1999.
    """
    counts = np.ones(len(A), dtype=bool) if omega is None else omega > 0.0
    weights = np.ones(len(A)) if omega is None else omega[counts]
    cloud = Cloud.of(A[counts], weights, point)
    # As many as are needed for subspaces to differ in what they leave, as the MCD takes.
    share = max(share, min(0.5 + (k + 1) / (2.0 * len(weights)), 1.0))
    chosen = trusted(cloud, k, share, seed)
    for _ in range(ROUNDS):
        off = cloud.distances(*cloud.principal(chosen, k))
        limit = orthogonal_cutoff(off, weights, share)
        before, chosen = chosen, off <= np.maximum(limit, cloud.rounding)
        if np.array_equal(before, chosen):
            break
    kept = counts.copy()
    kept[counts] = chosen
    return Support(kept, *cloud.restored(*cloud.principal(chosen, k), k))


def trusted(cloud: Cloud, k: int, share: float, seed: int) -> Mask:
    """The least outlying rows of those in no far cluster, with this share of their weight."""
    chosen = ~far_clusters(cloud, k, 1.0 - share, seed)
    chosen[chosen] = cloud.some(chosen).least_outlying(k, share, seed)
    return chosen
