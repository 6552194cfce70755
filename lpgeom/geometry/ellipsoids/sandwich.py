"""What an ellipsoid is worth for the ball of ``||A x||_p``, proved with rounding included."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lpgeom.geometry.spectrum import EPS, eigenvalues
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.place import place_of

_SMALLEST = 1e-290
SHAPE_SLACK = 1e-6
"""Up to this relative error of ``x^T (R^T R) x`` the claims are widened to hold for the stored
``shape`` too; beyond it (axes that differ by more than some 1e4) they are about its root R."""


@dataclass(frozen=True)
class Sandwich:
    """``lower ||y|| <= ||B y||_p <= upper ||y||`` for every y."""

    lower: float
    upper: float

    @property
    def rounding(self) -> float:
        return self.upper / self.lower if self.lower > 0.0 else math.inf


def norm_sandwich(
    B: Array,
    p: float,
    *,
    error: Array | None = None,
    weights: tuple[Array, ...] = (),
) -> Sandwich:
    """Bounds on ``||B y||_p / ||y||`` from O(n d^2) work (docs/theory/ellipsoids.md, E1 and E2).

    For any w > 0 let ``mu`` run over the eigenvalues of ``sum_i w_i^(1-2/p) b_i b_i^T`` and ``rho =
    max_i ||b_i|| / w_i^(1/p)``. With ``s_i = |<b_i, y>| / w_i^(1/p) <= rho ||y||`` one has ``||B
    y||^p = sum w s^p`` and ``sum w s^2`` in ``[mu_min, mu_max] ||y||^2``; Hölder does the rest:

    - p <= 2: ``(mu_min rho^(p-2))^(1/p)`` and ``(sum w)^(1/p-1/2) mu_max^(1/2)``;
    - p >= 2: ``(sum w)^(1/p-1/2) mu_min^(1/2)`` and ``(rho^(p-2) mu_max)^(1/p)``; at p = inf the
      second is rho.

    The weights tried are ``||b_i||^p`` (which at Lewis weights gives back the constants 1 and
    ``d^(1/p-1/2)``) and those given. By the triangle inequality the upper bound is also at most
    ``(sum_j ||B e_j||_p^2)^(1/2)`` for p <= 2, and ``(sum_i ||b_i||^p)^(1/p)`` for every p.

    `error` (n,) bounds how far the rows of B are from the rows meant, in the Euclidean norm. B,
    `error` and the weights lie in one place; the rounding allowances hold for any order of
    summation.
    """
    beta = np.sqrt(place_of(B).row_squares(B))
    off = np.zeros_like(beta) if error is None else error
    top = float((beta + off).max())
    alive = beta > top * 1e-150
    lost = float((beta + off)[~alive].sum())
    if not alive.all():
        B, beta, off = B[alive], beta[alive], off[alive]
    B, beta, off = B / top, beta / top, off / top
    usual = () if math.isinf(p) else (np.maximum(beta**p, _SMALLEST),)
    given = tuple(np.maximum(w[alive], _SMALLEST) for w in weights)
    found = [_weighted(B, beta, off, w, p) for w in usual + given]
    uppers = [s.upper for s in found]
    n = len(B)
    if math.isinf(p):
        uppers.append(float((beta + off).max()))
    elif p <= 2.0:
        columns = (np.abs(B) ** p).sum(axis=0) ** (1.0 / p) if p != 1.0 else np.abs(B).sum(axis=0)
        shift = float((off**p).sum() ** (1.0 / p))
        uppers.append(float(np.linalg.norm(columns)) * (1.0 + n * EPS) + shift)
    else:
        uppers.append(float(((beta + off) ** p).sum() ** (1.0 / p)))
    small = 64.0 * EPS
    lower = max((s.lower for s in found), default=0.0) * (1.0 - small)
    return Sandwich(lower * top, (min(uppers) * top + lost) * (1.0 + small))


def _weighted(B: Array, beta: Array, off: Array, w: Array, p: float) -> Sandwich:
    """The two bounds for one choice of w > 0."""
    n, d = B.shape
    root = w**0.5 if math.isinf(p) else w ** (0.5 - 1.0 / p)
    C = B * root[:, None]
    gram = device.fetched(C.T @ C)
    mu = eigenvalues(gram)
    trace = float(np.trace(gram))
    # Rounding of C, of its Gram, of the eigenvalues; then the rows' own error.
    slack = (n + 8 * d + 16) * EPS * trace + float((root**2 * (2.0 * beta + off) * off).sum())
    low, high = max(float(mu[0]) - slack, 0.0), float(mu[-1]) + slack
    total = float(w.sum()) * (1.0 + n * EPS)
    rho = float(((beta + off) * (1.0 if math.isinf(p) else w ** (-1.0 / p))).max())
    if math.isinf(p):
        return Sandwich(math.sqrt(low / total), rho)
    power = total ** (1.0 / p - 0.5)
    if p <= 2.0:
        return Sandwich((low * rho ** (p - 2.0)) ** (1.0 / p), power * math.sqrt(high))
    return Sandwich(power * math.sqrt(low), (rho ** (p - 2.0) * high) ** (1.0 / p))


@dataclass(frozen=True)
class Proved:
    """A factor R with ``||R x|| <= ||A x||_p <= alpha ||R x||`` for every x."""

    R: Array
    alpha: float
    n_iter: int = 0
    converged: bool = True

    def after(self, search: Any) -> Proved:
        """The same, as what a search came to."""
        return replace(self, n_iter=search.n_iter, converged=search.converged)


def proved_root(
    A: Array,
    X: Array,
    R: Array,
    p: float,
    *,
    weights: tuple[Array, ...] = (),
    lower: float = 0.0,
    upper: float = math.inf,
) -> Proved:
    """R scaled so that its ellipsoid contains the ball, and the proved rounding factor.

    Parameters
    ----------
    A : ndarray, shape (n, d)
    X, R : ndarray, shapes (d, r) and (r, d)
        R has the row space of A and X is nearly its right inverse.
    weights : tuple of ndarray, shape (n,)
        Tried in `norm_sandwich`.
    lower, upper : float
        Bounds on ``||A X y||_p / ||y||`` known otherwise.

    Notes
    -----
    With unit roundoff u, ``fl(a_i X)`` is off by at most ``(d + 8) u ||a_i|| ||X||_F`` (3 u of it
    for the scaling of the rows); the norms of ``y = X^-1 x`` and ``R x`` differ by the factor
    ``1 +- e``, ``e = ||I - R X||_F`` plus the rounding of that product and of R's scaling. For axes
    of very different lengths e is about their ratio times u. Where nothing is left (e >= 1/2) alpha
    is inf, and the scale of R rests on what was computed without these allowances, halved.
    """
    d, r = X.shape
    sizes = float(np.linalg.norm(R) * np.linalg.norm(X))
    place = place_of(A)
    row_norms = np.sqrt(place.row_squares(A))
    error = (d + 8) * EPS * float(np.linalg.norm(X)) * row_norms
    Y = A @ place.xp.asarray(X)
    got = norm_sandwich(Y, p, error=error, weights=weights)
    low, high = max(got.lower, lower), min(got.upper, upper)
    e = float(np.linalg.norm(np.eye(r) - R @ X)) + (2 * d + 12) * EPS * sizes
    s = (r + 8) * EPS * sizes**2
    s = s if s <= SHAPE_SLACK else 0.0
    if not (low > 0.0 and e < 0.5):
        # Not proved: what is computed when rounding is left out, with room for it.
        rough = norm_sandwich(Y, p, weights=weights).lower
        low = 0.5 * max(low, rough)
        return Proved(R * (low if low > 0.0 else high), math.inf)
    low *= (1.0 - s) / (1.0 + e)
    high *= (1.0 + s) / (1.0 - e)
    return Proved(R * low, max(1.0, high / low))
