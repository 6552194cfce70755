"""Smallest ellipsoid around points (Löwner's), general and centred."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.geometry.ellipsoids.dense import open_points
from lpgeom.geometry.ellipsoids.design import optimal_design
from lpgeom.geometry.ellipsoids.hull import hull_of
from lpgeom.geometry.ellipsoids.record import Ellipsoid
from lpgeom.geometry.spectrum import EPS
from lpgeom.io import validation
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.place import place_of
from lpgeom.threads import limited, sized

DEFAULT_MAX_ITER = 200_000

BEYOND = "the shape is in {} and leaves float64; rescale them"
UNITS = "inverse squared units of the points"


def min_volume_ellipsoid(
    points: ArrayLike,
    *,
    centered: bool = False,
    eps: float = 1e-6,
    max_iter: int | None = None,
    backend: str = "auto",
) -> Ellipsoid:
    """Ellipsoid of least volume that contains points, to a proved gap in log-volume.

    Minimises the volume of ``{x : (x - c)^T H (x - c) <= 1}`` over H and c subject to every point
    lying inside; with ``centered`` c = 0, which is the smallest ellipsoid around ``{±x_i}``.

    Parameters
    ----------
    points : array_like, shape (n, d)
        Real and finite, any layout, n >= 1. Coincident, collinear or too few points are answered
        in their affine hull (their span if `centered`).
    centered : bool
    eps : float
        Gap in log-volume to reach: the volume is at most ``e^eps`` times the smallest. (Kumar and
        Yildirim's (1 + eps)-approximation, up to eps^2; the support points are then also within
        a share of about eps/d of the boundary.)
    max_iter : int, optional
        Exchange steps at most; 200,000 if not given.
    backend : {"auto", "cpu", "cuda"}
        As in `approx_subspace`. On a device there are up to eight float64 arrays of the points'
        shape: they are not streamed. Matrices of (d, d) are factored on the host, and exchange
        steps on the last points that matter are made there.

    Returns
    -------
    Ellipsoid
        `shape` (d, d) in inverse squared units, `center` (d,). `gauge` of every point is at most 1,
        computed in float64. `gap` is the proved excess of its log-volume over the least one (within
        the hull, if that is flat), by weak duality with the weights found, and with the inflation
        for rounding; `converged` says whether eps was reached before that inflation. `alpha` is
        proved as well: the ellipsoid shrunk by it about its center lies in the convex hull of the
        points (of ±points if centered); d, or sqrt(d), at the optimum. For flat points `basis`
        (d, r) spans the hull's directions, and `shape` is 0 across them.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite, nonempty, real matrix; eps or max_iter out of range.
    OverflowError
        `shape` is beyond the range of float64 (coordinates or their spreads beyond 1e±150).
    ImportError, RuntimeError, MemoryError
        ``backend="cuda"``: CuPy or numba-cuda, a device, or room on it is missing.

    Notes
    -----
    The dual, ``max log det sum u_i y_i y_i^T`` over the simplex with y = (x, 1) (y = x if
    centered), by exchange steps with away steps and exact line search, O(n d) each, on points that
    can still matter (`optimal_design`). Sources: Khachiyan, Math. Oper. Res. 1996; Kumar and
    Yildirim, J. Optim. Theory Appl. 2005; Todd and Yildirim, Discrete Appl. Math. 2007; Harman and
    Pronzato, Stat. Probab. Lett. 2007. Proofs: docs/theory/mvee.md.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> corners = [[1.0, 1.0], [3.0, 1.0], [1.0, 5.0], [3.0, 5.0]]
    >>> E = lpgeom.min_volume_ellipsoid([*corners, [2.0, 3.0]])
    >>> semi_axes = 1.0 / np.sqrt(np.diag(E.shape))
    >>> E.center.round(6).tolist(), semi_axes.round(3).tolist()
    ([2.0, 3.0], [1.414, 2.828])
    """
    eps = validation.check_tolerance(eps, "eps")
    steps = validation.check_steps(max_iter, DEFAULT_MAX_ITER)
    centered = validation.check_flag("centered", centered)
    P, e = open_points(points, "points", backend)
    with limited(), sized(*P.shape), device.device_of(P):
        return _smallest(P, e, centered, eps, steps)


def _smallest(P: Array, e: int, centered: bool, eps: float, max_iter: int) -> Ellipsoid:
    """For points scaled by ``2^-e``."""
    place, d = place_of(P), P.shape[1]
    hull = hull_of(P, centred=centered)
    r = hull.rank

    def around(F: Array, center: Array, **found: Any) -> Ellipsoid:
        return recorded(F, np.ldexp(center, e), -e, UNITS, "khachiyan", **found)

    if r == 0:
        flat: dict[str, Any] = {"alpha": 1.0, "n_iter": 0, "converged": True, "gap": 0.0}
        return around(np.zeros((0, d)), hull.origin, basis=np.zeros((d, 0)), **flat)
    if not np.isfinite(hull.T).all():
        raise OverflowError(BEYOND.format(UNITS))
    Z = hull.Z if centered else np.concatenate([hull.Z, place.xp.ones((len(P), 1))], axis=1)
    q = Z.shape[1]
    # The gap of the design alone: r/2 log(1 + q excess / r) <= q excess / 2.
    found = optimal_design(Z, eps / q, max_iter)
    u = found.weights
    z0 = np.zeros(r) if centered else place.host(u @ hull.Z)
    C = hull.Z - place.xp.asarray(z0)
    # ||F (x - c)||^2 has u-mean r, F^T F = T^T S^-1 T.
    S = place.host((C * u[:, None]).T @ C)
    F = np.asarray(np.linalg.solve(np.linalg.cholesky(S), hull.T), dtype=np.float64)
    center = hull.origin + hull.G @ z0
    reach = _reach(P, center, F)
    proved = {
        # h_E(y) <= sqrt(reach) sigma(y), and the points reach sigma (centred), sigma / sqrt(reach)
        # (sum u (b - v)(v - a) >= 0 for the least and greatest value a, b of v = <x - c, y>).
        "alpha": max(1.0, (math.sqrt(reach) if centered else reach) * (1.0 + 1e-9)),
        "n_iter": found.n_iter,
        "converged": found.converged,
        "gap": max(0.5 * r * math.log(reach / r), 0.0),
    }
    basis = None if r == d else np.linalg.qr(hull.G)[0]
    return around(F / math.sqrt(reach), center, basis=basis, **proved)


def _reach(P: Array, center: Array, F: Array) -> float:
    """``max ||F (x - c)||^2``, plus what float64 may add to it in any order of evaluation.

    A component of ``F (x - c)`` is off by at most (d + 8) eps times that of ``|F| |x - c|``
    (the difference, the products, d additions, the rounding of F itself), the norm by that of the
    whole.
    """
    place, d = place_of(P), P.shape[1]
    top, step = 0.0, place.block_rows(d)
    center, F = place.xp.asarray(center), place.xp.asarray(F)
    size = np.abs(F)
    for lo in range(0, len(P), step):
        X = P[lo : lo + step] - center
        value = np.linalg.norm(X @ F.T, axis=1)
        value += (d + 8) * EPS * np.linalg.norm(np.abs(X) @ size.T, axis=1)
        top = max(top, float(value.max()) * (1.0 + 2 * d * EPS))
    return top * top


def recorded(F: Array, center: Array, e: int, units: str, method: str, **found: Any) -> Ellipsoid:
    """``{x : ||2^e F (x - center)|| <= 1}`` in the user's units; powers of two, so exact within
    the range of float64."""
    root = scaled_root(F, e, units)
    return Ellipsoid(
        shape=root.T @ root,
        center=center,
        p=None,  # the claim of an l_p ball is about the ellipsoid around it
        method=method,
        root=root if len(root) else None,
        **found,
    )


def scaled_root(F: Array, e: int, units: str) -> Array:
    """``2^e F``, where its Gram matrix is in the range of float64."""
    with np.errstate(over="ignore", under="ignore"):
        root = np.ldexp(F, e)
        squares = (root * root).sum(axis=0)
    lost = (np.abs(F).max(axis=0, initial=0.0) > 0.0) & (squares < np.finfo(np.float64).tiny)
    if not np.isfinite(squares).all() or lost.any():
        raise OverflowError(BEYOND.format(units))
    return root
