"""Rows chosen without chance, by two barriers (Batson, Spielman and Srivastava, STOC 2009)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lpgeom.coresets.record import Provenance
from lpgeom.coresets.sensitivity import lewis_metric, metric_error, proved_kappa, rank_at_most
from lpgeom.geometry.fixed_point import SMALLEST
from lpgeom.geometry.lewis import gram_weights
from lpgeom.geometry.spectrum import eigen, eigenvalues
from lpgeom.rows.array import ArrayRows, dense
from lpgeom.rows.base import Array


def size_for(eps: float, rank: int) -> int:
    """C7: the size whose ``2 sqrt(c) / (c + 1)``, c = size / rank, is at most eps."""
    root = (1.0 + math.sqrt(1.0 - eps * eps)) / eps
    return math.ceil(rank * root * root)


def barrier_selection(
    rows: ArrayRows, p: float, size: int
) -> tuple[NDArray[np.int64], Array, Provenance]:
    """At most `size` rows, their factors, and what they are worth (C7). `size` passes over A.

    In the metric ``M = A^T W^(1-2/p) A`` of the Lewis weights, ``v_i = w_i^(1/2-1/p) M^(-1/2) a_i``
    add up to ``sum v_i v_i^T = I``. Each step adds a multiple of one v v^T to B and moves two
    barriers, ``l I < B < u I``, so that neither potential ``tr (u - B)^-1``, ``tr (B - l)^-1``
    grows; some row always can, as the gap ``L(v) - U(v)`` is at least 0 on average. It is one
    quadratic form of all rows, and the row where it is largest is taken. What B is at the end is
    measured: no constant of the theorem is relied on.

    Raises
    ------
    ValueError
        If `size` is not above the rank, or float64 does not see enough of the rows.
    """
    n = rows.shape[0]
    inner, _, lewis, spec = lewis_metric(rows, p)
    r = spec.rank
    if size <= r:
        raise ValueError(f'method="deterministic" needs a size above the rank, {r}; got {size}')
    g = gram_weights(lewis.weights, p)
    X = spec.whitener()
    c = math.sqrt(size / r)
    up, low_start, high_start = (c + 1.0) / (c - 1.0), -r * c, r * c * (c + 1.0) / (c - 1.0)
    B = np.zeros((r, r))
    factors = np.zeros(n)
    for step in range(size):
        low, high = low_start + step, high_start + step * up
        lam, U = eigen(B)
        below, above = lam - low - 1.0, high + up - lam
        fall = float((1.0 / (high - lam) - 1.0 / above).sum())
        rise = float((1.0 / below - 1.0 / (lam - low)).sum())
        gain = (U * (1.0 / (below * below) / rise - 1.0 / below)) @ U.T
        room = (U * (1.0 / (above * above) / fall + 1.0 / above)) @ U.T
        i = int(np.argmax(g * inner.bilinear_form(X @ (gain - room) @ X.T)))
        v = math.sqrt(g[i]) * (dense(inner.take(np.array([i])))[0] @ X)
        taken = float(v @ gain @ v + v @ room @ v)
        if not taken > SMALLEST:
            raise ValueError('method="deterministic": A is too ill-conditioned for float64')
        t = 2.0 / taken
        factors[i] += t
        B += t * np.outer(v, v)
    e = metric_error(spec, n, 1.0 / float((X * X).sum(axis=0).max()))
    kappa = proved_kappa(inner, lewis.weights, spec, X, lewis.kappa, p)
    if r < rank_at_most(rows, r):
        kappa = math.inf
    return _finished(B, factors, lewis.weights, kappa, p, e)


def _finished(
    B: Array, factors: Array, w: Array, kappa: float, p: float, e: float
) -> tuple[NDArray[np.int64], Array, Provenance]:
    """Scaled so that the eigenvalues of B surround 1, and the bound that they prove.

    In a metric that is off by the share e, each way; kappa = inf: nothing is proved.
    """
    lam = eigenvalues(B)
    middle = 0.5 * float(lam[0] + lam[-1])
    factors = factors / middle
    eps = float(lam[-1] - lam[0]) / (2.0 * middle)
    eps = math.inf if kappa == math.inf else (1.0 + eps) * (1.0 + 8.0 * e) - 1.0
    W, total = float(w.sum()), float((factors * w).sum())
    if not eps < 1.0:
        distortion = math.inf
    elif p <= 2.0:
        most = (kappa * total) ** (1.0 - p / 2.0) * (1.0 + eps) ** (p / 2.0)
        distortion = max(most, (kappa * W) ** (1.0 - p / 2.0) / (1.0 - eps))
    else:
        most = (kappa * W) ** (p / 2.0 - 1.0) * (1.0 + eps)
        distortion = max(most, (kappa * total) ** (p / 2.0 - 1.0) / (1.0 - eps) ** (p / 2.0))
    bound = eps if p == 2.0 else math.inf
    indices = np.flatnonzero(factors).astype(np.int64)
    return indices, factors[indices], Provenance("C7", bound, bound, 0.0, math.nan, distortion)
