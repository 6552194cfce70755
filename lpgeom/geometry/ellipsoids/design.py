"""Weights on points that maximise ``log det sum_i u_i x_i x_i^T``: the dual of minimum ellipsoids.

Known as D-optimal design; `min_volume_ellipsoid` and the John ellipsoid both rest on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lpgeom.geometry.ellipsoids.dense import near
from lpgeom.rows.base import Array
from lpgeom.rows.place import place_of

DROP_SLACK = 1e-9
"""Rounding allowed to the variances before a point is dropped."""

COARSE = 1e-2
"""Above this excess points are dropped so fast that each q steps are looked at anew."""

FINE_STEPS = 50
"""Steps between two refactorisations below that: rank-one updates lose about a digit in 1e3."""

STALLED_ROUNDS = 40
"""Rounds without a smaller excess after which rounding is to blame."""


@dataclass(frozen=True)
class Design:
    """u >= 0 with sum 1, the variances of all points, and how far from optimal they are.

    Attributes
    ----------
    weights : ndarray, shape (n,), where the points are
    variance : ndarray, shape (n,), where the points are
        ``omega_i = x_i^T M^-1 x_i``, ``M = sum u x x^T``; ``sum u omega = q``.
    excess : float
        ``max omega / q - 1``, 0 at the optimum (Kiefer and Wolfowitz 1960).
    n_iter : int
    converged : bool
    """

    weights: Array
    variance: Array
    excess: float
    n_iter: int
    converged: bool


def optimal_design(X: Array, tolerance: float, max_iter: int) -> Design:
    """Weights with ``max omega <= q (1 + tolerance)``, by exchange steps on fewer and fewer points.

    Parameters
    ----------
    X : ndarray, shape (n, q)
        Full column rank, and not too far from orthonormal columns times a number.
    tolerance : float
    max_iter : int
        Exchange steps, O(n q) each.

    Notes
    -----
    It begins at equal weights on at most 2q points that are far out in q directions, each
    orthogonal to the ones before (Kumar and Yildirim 2005). Steps and their exact line search:
    `exchange_steps` (Wolfe 1970 and Atwood 1973; Todd and Yildirim, Discrete Appl. Math. 2007, for
    the rate with away steps). Points are dropped by `support_threshold`, and M factored anew after
    every round. At the end the variances of all points are computed from the weights alone;
    `excess` is theirs. Of points on a device those that are left come to the host once they are few
    (`near`).
    """
    q = X.shape[1]
    if q == 1:  # all weight on the longest
        size = X[:, 0] ** 2
        u = np.zeros_like(size)
        u[int(size.argmax())] = 1.0
        return Design(u, size / size.max(), 0.0, 0, True)
    spent = 0
    u = spread_start(X)
    for dropping in (True, False):  # should rounding have dropped a point too many: once without
        u, steps = _rounds(X, u, tolerance, max_iter - spent, dropping)
        spent += steps
        omega, _ = variances(X, u)
        excess = float(omega.max()) / q - 1.0
        if excess <= tolerance or spent >= max_iter:
            break
    return Design(u, omega, excess, spent, excess <= tolerance)


def _rounds(
    X: Array, u: Array, tolerance: float, max_iter: int, dropping: bool
) -> tuple[Array, int]:
    """Rounds of exchange steps; the weights on all points, and the steps taken."""
    n, q = X.shape
    home = place_of(X)
    points, kept, u = near(n * q, X, home.xp.arange(n), u.copy())
    place = place_of(points)
    columns = place.array(points.T)
    least, since, spent = math.inf, 0, 0
    while True:
        omega, inverse = variances(points, u)
        excess = float(omega.max()) / q - 1.0
        since = 0 if excess < least else since + 1
        least = min(least, excess)
        if excess <= tolerance or spent >= max_iter or since > STALLED_ROUNDS:
            break
        if dropping:
            stays = omega >= support_threshold(excess, q) * (1.0 - DROP_SLACK)
            if int(np.count_nonzero(stays)) <= 0.9 * stays.size:
                trial = u[stays] / max(float(u[stays].sum()), 1e-300)
                points = place.array(points[stays])
                points, kept, trial = near(points.size, points, kept[stays], trial)
                place = place_of(points)
                columns = place.array(points.T)
                u, omega, inverse = _restart(points, trial)
        steps = q if excess > COARSE else max(FINE_STEPS, q)
        taken = place.kernels.exchange_steps(
            columns, u, inverse, omega, 0.5 * tolerance, min(steps, max_iter - spent)
        )
        u /= u.sum()
        spent += max(taken, 1)
    full: Array = home.xp.zeros(n)
    full[home.xp.asarray(kept)] = home.xp.asarray(u)
    return full, spent


def _restart(points: Array, u: Array) -> tuple[Array, Array, Array]:
    """The weights on the points left, or a fresh start where those points alone do not span."""
    try:
        return u, *variances(points, u)
    except np.linalg.LinAlgError:
        u = spread_start(points)
        return u, *variances(points, u)


def variances(X: Array, u: Array) -> tuple[Array, Array]:
    """``omega_i = x_i^T M^-1 x_i`` and ``M^-1``, by Cholesky."""
    place = place_of(X)
    support = u > 0.0
    S = X[support]
    L = np.linalg.cholesky(place.host((S * u[support][:, None]).T @ S))
    T = np.linalg.inv(L)
    return place.row_squares(X @ place.xp.asarray(T.T)), place.xp.asarray(T.T @ T)


def support_threshold(excess: float, q: int) -> float:
    """Points with omega below this carry no weight at any optimum.

    The eigenvalues l of ``M^(-1/2) M* M^(-1/2)`` satisfy ``sum l = sum u* omega <= q (1 + excess)``
    and ``sum 1/l = sum u omega* <= q``, and a point that carries weight has ``omega = x^T M^-1 x
    >= l_min x^T M*^-1 x = q l_min``. The least l_min that the two sums allow (the others equal)
    is the smaller root of ``l^2 - (2 + q excess) l + 1 + excess`` (Harman and Pronzato 2007).
    """
    half = 1.0 + 0.5 * q * excess
    root = math.sqrt(max(half * half - 1.0 - excess, 0.0))
    return q * (1.0 + excess) / (half + root)


def spread_start(X: Array) -> Array:
    """Equal weights on the extreme points in q directions, each orthogonal to the ones before."""
    n, q = X.shape
    rest = X.copy()
    chosen = np.zeros(n)
    for _ in range(q):
        length = place_of(X).row_squares(rest)
        j = int(length.argmax())
        b = rest[j] / math.sqrt(float(length[j]))
        along = rest @ b
        chosen[[j, int(along.argmax()), int(along.argmin())]] = 1.0
        rest -= along[:, None] * b
    u: Array = place_of(X).xp.asarray(chosen / chosen.sum())
    return u
