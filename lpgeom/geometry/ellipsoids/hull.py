"""The affine hull (or the span) of points, and coordinates in which they are well spread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lpgeom.geometry.spectrum import EPS
from lpgeom.rows.base import Array
from lpgeom.rows.place import place_of

MOST_HALVED = 1020.0
"""2 to this power, and its inverse, are normal numbers."""


@dataclass(frozen=True)
class Hull:
    """``x = origin + G z`` for every point, z of mean square about 1 in each coordinate.

    Attributes
    ----------
    origin : ndarray, shape (d,)
    Z : ndarray, shape (n, r)
        Coordinates of the points, orthogonal columns; where the points are.
    T : ndarray, shape (r, d)
        ``z = T (x - origin)``; a left inverse of G. Infinite where that is beyond float64.
    G : ndarray, shape (d, r)
    rank : int
        r: dimension of the hull, as far as rounding lets it be seen.
    """

    origin: Array
    Z: Array
    T: Array
    G: Array
    rank: int


def hull_of(P: Array, *, centred: bool, singular: bool = False) -> Hull:
    """Affine hull of the rows of P (their span if `centred`), one QR and a small SVD: O(n d^2).

    Columns are scaled by powers of two first, so that units do not decide what is flat. A direction
    is flat where no point leaves the hull along it by more than ``12 sqrt(d) eps`` times the size
    of the points, which is what rounding of their own coordinates brings about (`Ellipsoid.gauge`
    lets points leave a flat ellipsoid by ``16 d eps``, in all directions together). With `singular`
    also those whose singular value is at most ``max(n, d) eps`` times the largest: the usual rank.
    """
    place = place_of(P)
    n, d = P.shape
    origin = np.zeros(d) if centred else place.host(P.mean(axis=0))
    B = P - place.xp.asarray(origin)
    spread = place.host(np.abs(B).max(axis=0))
    size = place.host(np.abs(P).max(axis=0))
    live = spread > (0.0 if centred else 4.0 * EPS) * size
    powers = -np.ceil(np.log2(np.where(live, spread, 1.0)))
    scale = np.where(live, 2.0 ** np.minimum(powers, MOST_HALVED), 0.0)
    B *= place.xp.asarray(scale)
    R = place.host(np.linalg.qr(B, mode="r") if n > d else B)
    _, s, Vt = np.linalg.svd(R, full_matrices=False)
    coordinates = B @ place.xp.asarray(Vt.T)
    leaves = place.host(np.abs(coordinates).max(axis=0))
    longest = float(np.linalg.norm(P * place.xp.asarray(scale), axis=1).max())
    solid = leaves > 12.0 * math.sqrt(d) * EPS * longest
    if singular:
        solid &= s > max(n, d) * EPS * s[0]
    r = int(np.count_nonzero(np.logical_and.accumulate(solid)))
    # z = B V / s sqrt(n): singular values of Z all sqrt(n).
    spreads = s[:r] / math.sqrt(n)
    V = Vt[:r].T
    back = np.where(live, 1.0 / np.where(live, scale, 1.0), 0.0)
    with np.errstate(over="ignore"):  # inf, which who reads T refuses
        T = (V / spreads).T * scale
    return Hull(
        origin,
        coordinates[:, :r] / place.xp.asarray(spreads),
        T,
        back[:, None] * V * spreads,
        r,
    )
