"""The Fantope ``{Q : 0 <= Q <= I, tr Q = m}``: convex hull of the rank-m projections (theory 3)."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from lpgeom.geometry.spectrum import eigenvalues
from lpgeom.rows.base import Array

EPS = float(np.finfo(np.float64).eps)


def water_filling(eigvals: Array, m: float, linear: Array | None = None) -> Array:
    """Minimise ``sum_i (lam_i q_i^2 / 2 + h_i q_i)`` over ``0 <= q <= 1, sum q = m``.

    The minimiser is ``q_i = clip((theta - h_i) / lam_i, 0, 1)``, with the level theta at which the
    sum is m; for h = 0 that is ``min(1, theta / lam_i)``.

    Parameters
    ----------
    eigvals : ndarray, shape (d,)
        lam_i >= 0. Zeros are allowed: such a q_i jumps from 0 to 1 at theta = h_i, and takes a
        value between at the level where the sum passes m.
    m : float
        0 <= m <= d.
    linear : ndarray, shape (d,), optional
        h_i, of any sign; zeros if not given.

    Returns
    -------
    q : ndarray, shape (d,)
    """
    lam = np.maximum(np.asarray(eigvals, dtype=np.float64), 0.0)
    h = np.zeros_like(lam) if linear is None else np.asarray(linear, dtype=np.float64)
    d = lam.size
    if not 0 <= m <= d:
        raise ValueError(f"m = {m} is outside [0, {d}]")
    if m in (0, d):
        return np.full(d, m / max(d, 1))
    # The sum of q is piecewise linear and nondecreasing in theta, with kinks at h and h + lam:
    # bisect over the sorted kinks, then interpolate between the two that enclose m.
    kinks = np.unique(np.concatenate([h, h + lam]))

    def fill(theta: float, closed: bool) -> Array:
        """q at the level theta; where lam = 0 (to rounding) the jump is taken only if closed."""
        rise = theta - h
        jump = (rise >= 0.0) if closed else (rise > 0.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            q = np.where(h + lam > h, np.clip(rise / lam, 0.0, 1.0), jump)
        return np.asarray(q, dtype=np.float64)

    # The first kink whose closed sum reaches m.
    lo = bisect_left(kinks, m, hi=kinks.size - 1, key=lambda theta: fill(theta, True).sum())
    upper = fill(kinks[lo], True)
    before = fill(kinks[lo], False)
    if before.sum() < m:  # m is reached inside the jump at this kink
        below, above = before, upper
    else:  # on the linear piece that ends here
        below, above = fill(kinks[lo - 1], True), before
    rise = above.sum() - below.sum()
    share = 0.0 if rise <= 0.0 else (m - below.sum()) / rise
    return np.asarray(np.clip(below + min(max(share, 0.0), 1.0) * (above - below), 0.0, 1.0))


def eigenvalue_slack(eigvals: Array, d: int) -> float:
    """Bound on the error of one computed eigenvalue of a symmetric (d, d) matrix.

    LAPACK's symmetric eigenvalues are those of G + E with ``||E|| <= c eps ||G||``, c a low-degree
    polynomial of d that is below d in practice; by Weyl no eigenvalue is off by more than ||E||.
    """
    return d * EPS * float(np.max(np.abs(eigvals), initial=0.0))


def smallest_sum(G: Array, m: int) -> float:
    """Sum of the m smallest eigenvalues of G, lowered by m times the eigenvalue slack.

    It is the minimum of <G, Q> over the Fantope (Ky Fan), so it must not come out too large.
    """
    lam = eigenvalues(G)
    return float(lam[:m].sum()) - m * eigenvalue_slack(lam, lam.size)


def largest_sum(G: Array, m: int) -> float:
    """Sum of the m largest eigenvalues of G, raised by m times the eigenvalue slack."""
    lam = eigenvalues(G)
    return float(lam[lam.size - m :].sum()) + m * eigenvalue_slack(lam, lam.size)
