"""A block of l_p regressions that share their matrix: interior points, Newton steps, and gaps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.linalg

from lpgeom.entries.regression_basis import EPS, Basis
from lpgeom.rows.base import Array
from lpgeom.rows.place import place_of

STEEP = 2.0
"""From this p on the Hessian is bounded at 0, and Newton's method does; below, interior points."""

_FLOOR = 1e-13
"""Least weight of an entry in a Newton step, the largest residual's being 1."""

DEPENDENT = 1e-10
"""Share of the largest pivot of a Gram matrix below which the smallest may be rounding."""

INDEPENDENT = 1e6
"""Largest trace of an inverse Gram matrix with which Cholesky's method is trusted in a bound: it is
then off by less than 1e-6 of itself."""

_UNIT = 0.5 * EPS  # unit roundoff


class Block:
    """Some problems, scaled so that the mean residual of each one's first fit is 1.

    Parameters
    ----------
    basis : Basis
        It lies where b lies.
    b : shape (m, d), float64
    w : shape (m, d), float64, or None
        Weights; None for 1.
    p : float
    start : shape (m, r), optional
        Coefficients of Q near the solution.
    """

    def __init__(self, basis: Basis, b: Any, w: Any, p: float, start: Any = None) -> None:
        self.basis, self.p, self.place = basis, p, place_of(b)
        xp = self.place.xp
        self.near = start is not None and p >= STEEP
        self.masked = w is not None and not w.all()
        # A power of two brings b into range; weights are scaled to at most 1.
        b = b if w is None else np.where(w > 0.0, b, 0.0)
        largest = np.abs(b).max(axis=1)
        self.unit = np.ldexp(np.ones_like(largest), np.frexp(largest)[1])
        self.b = b / self.unit[:, None]
        self.top = xp.ones(len(b)) if w is None else np.where(w.any(axis=1), w.max(axis=1), 1.0)
        self.w = np.ones_like(b) if w is None else w / self.top[:, None]
        seen, Q = self.w > 0.0, basis.Q
        self.weighted = bool((seen & (self.w < 1.0)).any())
        self.x = (self.b * seen if self.masked else self.b) @ Q
        self.dependent = np.zeros_like(largest, dtype=bool)
        if self.masked and Q.shape[1]:  # least squares over the entries that take part
            U = self._factors(seen.astype(np.float64))
            self.place.kernels.regression.solve(U, self.x)
            pivots = np.diagonal(U, axis1=1, axis2=2) ** 2
            self.dependent = pivots.min(axis=1) < DEPENDENT * pivots.max(axis=1)
        r = self.b - self.x @ Q.T
        count = np.maximum(seen.sum(axis=1), 1)
        sizes = np.where(seen, np.abs(r), 0.0)
        mean = sizes.sum(axis=1) / count
        # A residual of rounding size: nothing is left to minimise.
        self.exact = mean <= 8.0 * EPS * math.sqrt(b.shape[1])
        self.dependent &= ~self.exact
        self.scale = np.where(self.exact, 1.0, mean)
        if start is not None and self.near:
            self.x = start / self.unit[:, None]
        self.y = np.zeros_like(b)
        self.n_iter = xp.zeros(len(b), dtype=np.int64)

    def _factors(self, W: Any) -> Any:
        """Cholesky factors of ``Q^T W_i Q``."""
        Q, products, kernels = self.basis.Q, self.basis.products, self.place.kernels.regression
        m, (d, r) = len(W), Q.shape
        G = self.place.xp.empty((m, r, r))
        if products is not None:
            kernels.unpack(W @ products, G)
        else:
            step = max(1, self.place.batch_bytes // (8 * d * max(1, r)))
            for lo in range(0, m, step):
                part = slice(lo, lo + step)
                weighted = np.swapaxes(Q * W[part, :, None], 1, 2)
                self.place.xp.matmul(weighted, Q, out=G[part])
        kernels.cholesky(G)
        return G

    def solve(self, tol: float, max_iter: int) -> Any:
        """Coefficients of Q for every problem, in units of the scaled b.

        Not of those in which columns of Q depend on one another where they are seen: steps along
        what is rounding there lead anywhere. They take a basis of their own (`Basis.seen`).
        """
        at = np.flatnonzero(~(self.exact | self.dependent))  # the problems still at work
        if at.size > 0 and self.p >= STEEP:
            self._newton(at, tol, max_iter)
        elif at.size > 0:
            self._interior_point(at, tol, max_iter)
        return self.x

    def _interior_point(self, at: Any, tol: float, max_iter: int) -> None:
        Q, p, xp, kernels = self.basis.Q, self.p, self.place.xp, self.place.kernels.regression
        x = self.x[at] / self.scale[at, None]
        w = self.place.array(self.w[at])
        r = self.b[at] / self.scale[at, None] - x @ Q.T
        u, v, zu, zv, y = (np.empty_like(r) for _ in range(5))
        kernels.begin(r, w, p, 0.5, u, v, zu, zv, y)
        for _ in range(max_iter):
            Du, Dv, gu, gv, W, Wh = (np.empty_like(u) for _ in range(6))
            gap, cost = xp.empty(at.size), xp.empty(at.size)
            kernels.predict(u, v, zu, zv, y, w, p, Du, Dv, gu, gv, W, Wh)
            U = self._factors(W)
            dx = (y - Wh) @ Q
            kernels.solve(U, dx)
            kernels.correct(u, v, zu, zv, w, Du, Dv, gu, gv, W, Wh, dx @ Q.T, p)
            dx = (y - Wh) @ Q
            kernels.solve(U, dx)
            # Refined: near a vertex W spans so many orders that y would drift off Q^T y = 0.
            more = (y - Wh - W * (dx @ Q.T)) @ Q
            kernels.solve(U, more)
            dx += more
            kernels.advance(
                u, v, zu, zv, y, w, Du, Dv, gu, gv, W, Wh, dx @ Q.T, p, x, dx, gap, cost
            )
            self.n_iter[at] += 1
            good = np.isfinite(gap) & np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
            self.x[at[good]] = x[good] * self.scale[at[good], None]
            self.y[at[good]] = y[good]
            left = good & (gap > 0.1 * tol * cost)
            if not left.any():
                break
            if not left.all():
                at, x, y, w = at[left], x[left], y[left], w[left]
                u, v, zu, zv = u[left], v[left], zu[left], zv[left]

    def _newton(self, at: Any, tol: float, max_iter: int) -> None:
        """Newton's method with an exact line search, over exponents that double from 4 to p.

        The step is a weighted least-squares fit: with weights ``W = w |r|^(q-2)`` its residual s
        gives both the direction and a vector ``y = W s`` orthogonal to the columns of Q.
        """
        Q, xp, kernels = self.basis.Q, self.place.xp, self.place.kernels.regression
        x, b, w = self.x[at], self.b[at], self.w[at]
        q = xp.full((at.size, 1), self.p if self.near else min(4.0, self.p))
        if self.weighted and not self.near:
            # Where weights span many orders, steps from another fit would lose as many digits.
            W = w ** (2.0 / q)
            x = (W * b) @ Q
            kernels.solve(self._factors(W), x)
        for _ in range(max_iter):
            self.n_iter[at] += 1
            q = np.minimum(q, self.p)
            # Weighted residuals v r, the largest of them 1: then the cost is sum |t|^q.
            v = w ** (1.0 / q)
            r = b - x @ Q.T
            t = v * r
            top = np.abs(t).max(axis=1, keepdims=True)
            top[top == 0.0] = 1.0
            t /= top
            power = np.abs(t) ** (q - 2.0)
            # The floor keeps normal matrices regular where all residuals but a few are small.
            W = v**2 * np.maximum(power, _FLOOR)
            U = self._factors(W)
            fit, g = (W * r) @ Q, (v * power * t) @ Q
            step = g.copy()
            kernels.solve(U, fit)
            kernels.solve(U, step)
            self.x[at], self.y[at] = x, W * (r - fit @ Q.T)
            last = (q == self.p)[:, 0]
            decrement = 0.5 * (q / (q - 1.0))[:, 0] * (g * step).sum(axis=1)
            near = decrement <= np.where(last, 0.01 * tol, 1e-2) * (power * t**2).sum(axis=1)
            length = xp.empty(at.size)
            self.place.kernels.line_search(t, v * (step @ Q.T), q[:, 0], length)
            x = x + (length[:, None] * top) * step
            q = np.where((near & ~last)[:, None], 2.0 * q, q)
            left = ~(near & last)
            if not left.any():
                break
            at, x, b, w, q = at[left], x[left], b[left], w[left], q[left]

    def certified(self) -> tuple[Array, Array, Array]:
        """(cost, lower bound, relative gap) in the user's units, from the residual and y alone.

        On the host.
        """
        p, Q, w = self.p, self.basis.Q, self.w
        seen = w > 0.0
        r = np.where(seen, self.b - self.x @ Q.T, 0.0)
        size = np.abs(r).max(axis=1)
        size[size == 0.0] = 1.0
        r /= size[:, None]
        cost = (w * np.abs(r) ** p).sum(axis=1)
        y = np.where(seen, self.y, 0.0)
        y /= np.maximum(np.abs(y).max(axis=1, keepdims=True), 1e-300)
        y, off = self._orthogonal(y, seen)
        # An optimal residual r* has no larger cost, and y . (r - r*) = (Q^T y) . (x* - x).
        d = r.shape[1]
        least = np.minimum(np.where(seen, w, np.inf).min(axis=1), 1.0)
        with np.errstate(over="ignore"):
            far = d ** max(0.0, 0.5 - 1.0 / p) * (cost / least) ** (1.0 / p)
        far = np.minimum(far, 1e300)
        slack = off * (np.sqrt((r**2).sum(axis=1)) + far)
        slack += d * EPS * (np.abs(r) * np.abs(y)).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            dual = _dual_norm(np.where(seen, np.abs(y) / w ** (1.0 / p), 0.0), p)
            norm = np.maximum((r * y).sum(axis=1) - slack, 0.0) / (dual * (1.0 + d * EPS))
        return self._in_user_units(cost, norm, size, self.exact, self.unit, self.top)

    def _in_user_units(
        self, cost: Any, norm: Any, size: Any, exact: Any, unit: Any, top: Any
    ) -> tuple[Array, Array, Array]:
        """Costs, bounds and gaps from costs and bounded norms in units of `size`."""
        p, host = self.p, self.place.host
        norm = np.where(np.isfinite(norm) & ~exact, norm, 0.0)
        low = np.minimum(norm**p, cost)
        gap = np.where(exact | (cost == 0.0), 0.0, (cost - low) / np.where(cost, cost, 1.0))
        with np.errstate(over="ignore", under="ignore"):
            # By way of norms: powers of the parts may leave float64 where that of the whole does
            # not. A power is off by p times what its base is.
            norms = unit * size * top ** (1.0 / p)
            low = (low ** (1.0 / p) * norms) ** p * (1.0 - (8.0 * p + 16.0) * EPS)
            cost = (cost ** (1.0 / p) * norms) ** p
        low = np.minimum(np.minimum(low, cost), np.finfo(np.float64).max)
        return host(cost), host(low), host(gap)

    def proved(self) -> tuple[Array, Array, Array]:
        """As `certified`, for V as it was given, on the host; all rounding is allowed for.

        For coefficients z and any others z*, ``y . r* = y . r - (V^T y) . (z* - z)``. With ``D =
        w^(1/p)`` and X such that ``DVX`` has orthonormal columns, up to e, the last term is at most
        ``||X^T V^T y|| / (1 - e)^(1/2)`` times ``||D (r - r*)||_2``, which the costs bound
        (`lost_to_columns`).
        """
        p, host = self.p, self.place.host
        V, w, b, y = self.basis.given, host(self.w), host(self.b), host(self.y)
        z = host(self.x) @ self.basis.inner.T
        d, k = V.shape
        D = w ** (1.0 / p) * (1.0 - 8.0 * EPS)
        r = np.where(D > 0.0, b - z @ V.T, 0.0)
        off = (k + 4.0) * _UNIT * (np.abs(b) + np.abs(z) @ np.abs(V.T))
        size = np.abs(r).max(axis=1, initial=0.0)
        size[size == 0.0] = 1.0
        r, off = r / size[:, None], off / size[:, None]
        cost = (w * np.abs(r) ** p).sum(axis=1)
        y = np.where(D > 0.0, y, 0.0)
        y = y / np.maximum(np.abs(y).max(axis=1, keepdims=True), 1e-300)
        y = host(self._orthogonal(self.place.xp.asarray(y), self.w > 0.0)[0])
        apart = np.linalg.norm(D * r, axis=1) + d ** max(0.0, 0.5 - 1.0 / p) * cost ** (1.0 / p)
        alike = (D[0] == D).all()
        lost = (
            lost_to_columns(V, D[0], y)
            if alike
            else np.array([lost_to_columns(V, *one)[0] for one in zip(D, y[:, None], strict=True)])
        )
        slack = 1.01 * lost * apart + ((off + (d + 1.0) * _UNIT * np.abs(r)) * np.abs(y)).sum(
            axis=1
        )
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            dual = _dual_norm(np.where(D > 0.0, np.abs(y) / D, 0.0), p)
            norm = ((r * y).sum(axis=1) - slack) / (dual * (1.0 + (d + 32.0) * EPS))
        norm = np.maximum(np.nan_to_num(norm, nan=0.0, posinf=0.0), 0.0)
        unit, most = host(self.unit), host(self.top)
        exact = host(self.exact) | (np.abs(r) <= off).all(axis=1)  # rounding of b
        return self._in_user_units(cost, norm, size, exact, unit, most)

    def _orthogonal(self, y: Any, seen: Any) -> tuple[Any, Any]:
        """y without its part in the columns of Q on the entries seen; the norm of what is left."""
        Q = self.basis.Q
        if not self.masked:
            for _ in range(2):
                y = y - (y @ Q) @ Q.T
            return y, np.linalg.norm(y @ Q, axis=1)
        if not self.place.on_device:
            return _orthogonal_one_by_one(Q, y, seen)
        y, off, sure = self._orthogonal_by_normal_matrices(y, seen)
        if not sure.all():
            # Nearly dependent where they are seen: that takes a QR with pivots, which the device
            # has not got.
            xp, host = self.place.xp, self.place.host
            rest = np.flatnonzero(~sure)
            found = _orthogonal_one_by_one(host(Q), host(y[rest]), host(seen[rest]))
            y[rest], off[rest] = xp.asarray(found[0]), xp.asarray(found[1])
        return y, off

    def _orthogonal_by_normal_matrices(self, y: Any, seen: Any) -> tuple[Any, Any, Any]:
        """`_orthogonal` where the columns of Q are independent on the entries seen, and whether.

        With ``G = Q_S^T Q_S`` the norm of the projection of y on these columns is
        ``(g^T G^-1 g)^(1/2)``, ``g = Q_S^T y``: at most ``||g|| trace(G^-1)^(1/2)``.
        """
        Q, xp, kernels = self.basis.Q, self.place.xp, self.place.kernels.regression
        m, r = len(y), Q.shape[1]
        U = self._factors(seen.astype(np.float64))
        trace = xp.zeros(m)
        for a in range(r):
            column = xp.zeros((m, r))
            column[:, a] = 1.0
            kernels.solve(U, column)
            trace += column[:, a]
        # A direction without a pivot has a huge one instead, and no part in the trace.
        sure = (trace < INDEPENDENT) & (np.diagonal(U, axis1=1, axis2=2).max(axis=1) < 2.0)
        for _ in range(2):
            g = y @ Q
            kernels.solve(U, g)
            y = y - np.where(seen, g @ Q.T, 0.0)
        off = np.linalg.norm(y @ Q, axis=1) * np.sqrt(trace)
        return y, off * (1.0 + 1e-6), sure


def _dual_norm(size: Any, p: float) -> Any:
    """Rows' norms for the exponent p / (p - 1), from absolute values."""
    top = size.max(axis=1)
    if p == 1.0:
        return top
    q = p / (p - 1.0)
    return top * ((size / top[:, None]) ** q).sum(axis=1) ** (1.0 / q)


def _orthogonal_one_by_one(Q: Array, y: Array, seen: Any) -> tuple[Array, Array]:
    """`Block._orthogonal` by a QR decomposition for each problem."""
    y, off = y.copy(), np.zeros(len(y))
    for i in range(len(y) if Q.shape[1] else 0):
        at = seen[i]
        if not at.any():  # nothing to be orthogonal to; LAPACK takes no empty matrix
            continue
        N, R, _ = scipy.linalg.qr(Q[at], mode="economic", pivoting=True)
        kept = np.abs(np.diagonal(R)) > len(Q) * EPS
        N = N[:, : kept.size][:, kept]
        for _ in range(2):
            y[i, at] -= N @ (N.T @ y[i, at])
        off[i] = np.linalg.norm(N.T @ y[i, at])
    return y, off


def lost_to_columns(V: Array, D: Array, y: Array) -> Array:
    """What ``|y_i . V x|`` is at most of ``||D V x||``, for every x; inf where that is not proved.

    With ``C = DV`` and any X (a computed inverse of its R), let e bound ``||(CX)^T CX - I||``. For
    e < 1, C has full rank, ``x = X t`` with ``||t|| <= ||Cx|| / (1 - e)^(1/2)``, and ``y . Vx =
    (X^T V^T y) . t``. Zero columns and copies of others are no columns of their own.

    Parameters
    ----------
    V : ndarray, shape (d, k)
    D : ndarray, shape (d,)
        >= 0; where it is 0, so is y.
    y : ndarray, shape (m, d)
    """
    V = V[D > 0.0]
    D, y = D[D > 0.0], y[:, D > 0.0]
    V = V[:, V.any(axis=0)]
    V = np.unique(V, axis=1) if V.size else V
    C = V * D[:, None]
    top = np.abs(C).max(axis=0, initial=0.0)
    if not top.size:
        return np.zeros(len(y))
    d, k = V.shape
    # Products that underflow are no longer rounded relatively.
    if d < k or not top.min() > 1e-250 * max(1.0, float(top.max())):
        return np.full(len(y), np.inf)
    scale = np.ldexp(1.0, -np.frexp(top)[1])
    V, C = V * scale, C * scale
    X, clean = scipy.linalg.lapack.dtrtri(np.linalg.qr(C, mode="r"))
    if clean != 0 or not np.isfinite(X).all():
        return np.full(len(y), np.inf)
    size = np.abs(X)
    CX = C @ X
    off, whole = (k + 3.0) * _UNIT * np.linalg.norm(np.abs(C) @ size), np.linalg.norm(CX)
    e = np.linalg.norm(CX.T @ CX - np.eye(k))
    e += 2.0 * off * whole + off**2 + (d + k + 3.0) * _UNIT * whole**2
    if not e < 0.5:
        return np.full(len(y), np.inf)
    g = y @ V
    g_off = (d + 3.0) * _UNIT * (np.abs(y) @ np.abs(V))
    t = np.linalg.norm(g @ X, axis=1)
    t += np.linalg.norm((g_off + (k + 3.0) * _UNIT * np.abs(g)) @ size, axis=1)
    return np.asarray(t * (1.0 + (k + 8.0) * EPS) / math.sqrt(1.0 - e))
