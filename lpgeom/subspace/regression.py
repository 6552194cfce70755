"""``lp_regression``: many l_p regressions that share their matrix, each with its duality gap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from lpgeom import validation
from lpgeom.interchange import as_numpy
from lpgeom.kernels.cpu import regression as kernels
from lpgeom.kernels.cpu.line_search import line_search
from lpgeom.rows.base import Array
from lpgeom.subspace.progress import Progress
from lpgeom.subspace.vertices import vertex
from lpgeom.threads import limited, spread

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BLOCK_ENTRIES = 1 << 15
"""Entries of B in one block: with a dozen arrays of that size the cache holds it."""

PACKED_ENTRIES = 1 << 23
"""Largest table of the products ``v_ja v_jb`` (64 MiB): all normal matrices of a block are then one
product with it; larger ones are formed one by one."""

STEEP = 2.0
"""From this p on the Hessian is bounded at 0, and Newton's method does; below, interior points."""

_FLOOR = 1e-13
"""Least weight of an entry in a Newton step, the largest residual's being 1."""

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Regression:
    """Solutions of l_p regressions, and how far from optimal each can be.

    Attributes
    ----------
    X : ndarray, shape (n, k)
        Coefficients of problem i in row i.
    cost : ndarray, shape (n,)
        ``sum_j w_ij |B_ij - (V X_i)_j|^p`` (p-th powers).
    lower_bound : ndarray, shape (n,)
        Proved: no coefficients cost less. From a dual vector, rounding allowed for.
    gap : ndarray, shape (n,)
        ``(cost - lower_bound) / cost``; 0 where the residual is rounding of B.
    n_iter : ndarray of int, shape (n,)
    converged : ndarray of bool, shape (n,)
        Whether the gap came down to the tolerance.
    p : float

    Examples
    --------
    >>> import lpgeom
    >>> fit = lpgeom.lp_regression([[1.0], [1.0], [1.0]], [[1.0, 2.0, 30.0]])
    >>> fit.X.shape, bool(fit.lower_bound[0] <= fit.cost[0]), bool(fit.converged[0])
    ((1, 1), True, True)
    """

    X: Array = field(repr=False)
    cost: Array = field(repr=False)
    lower_bound: Array = field(repr=False)
    gap: Array
    n_iter: np.ndarray = field(repr=False)
    converged: np.ndarray = field(repr=False)
    p: float


def lp_regression(
    V: ArrayLike,
    B: ArrayLike,
    p: float = 1.0,
    *,
    weights: ArrayLike | None = None,
    tol: float = 1e-9,
    max_iter: int = 300,
    progress: bool = False,
) -> Regression:
    """Solve ``min_x sum_j w_ij |B_ij - (V x)_j|^p`` for every row i of B.

    Parameters
    ----------
    V : array_like, shape (d, k)
        The matrix all problems share. Its columns may be dependent: X is then one of many.
    B : array_like, shape (n, d) or (d,)
        A right side in each row; a vector is one problem.
    p : float
        1 <= p <= 100.
    weights : array_like, shape (d,) or (n, d), optional
        w >= 0; where it is 0 the entry takes no part.
    tol : float
        A problem ends when its gap, as the iteration sees it, is below this share of its cost.
    max_iter : int
    progress : bool
        A counter of problems on stderr.

    Returns
    -------
    Regression

    Raises
    ------
    TypeError, ValueError
        Entries that are not finite real numbers, shapes that do not match, p out of range, negative
        weights.

    Notes
    -----
    p < 2: a primal-dual interior-point method with a corrector step, 10 to 20 iterations; at p = 1
    a few problems in ten thousand are ended by the simplex method from there. p >= 2:
    Newton's method with a line search, over exponents that double up to p, 2 to 30 iterations. Each
    costs O(d k^2 + k^3) a problem, most of it in one matrix product for a block of problems. Memory
    beyond V, B and the result: some blocks.

    The bound is Hölder's: for y with ``V^T y = 0``, ``(sum w |r|^p)^(1/p) >= y . r / ||y||_*`` with
    the dual norm, evaluated at the returned residual with the y of the iteration. Sources:
    Portnoy and Koenker, "The Gaussian hare and the Laplacian tortoise", Statistical Science 1997
    (p = 1); Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J.
    Optimization 1992; Adil, Peng and Sachdeva, "Fast, provably convergent IRLS algorithm for p-norm
    linear regression", NeurIPS 2019 (large p).

    Examples
    --------
    >>> import lpgeom
    >>> fit = lpgeom.lp_regression([[1.0], [1.0], [1.0]], [[1.0, 2.0, 30.0]], p=1.0)
    >>> fit.X.round(6).tolist(), fit.cost.round(6).tolist()  # the median
    ([[2.0]], [29.0])
    >>> bool(fit.gap[0] < 1e-8)
    True
    """
    p = validation.check_p(p)
    tol = validation.check_tolerance(tol)
    max_iter = validation.check_positive_int("max_iter", max_iter)
    matrix = validation.check_matrix(V, "V")
    validation.largest_entry(matrix, "V")
    right = as_numpy(B, "B")
    right = validation.check_matrix(right[None] if right.ndim == 1 else B, "B")
    d, n = matrix.shape[0], right.shape[0]
    if right.shape[1] != d:
        raise ValueError(
            f"B must have shape (n, {d}), one entry for each row of V; got {right.shape}"
        )
    validation.largest_entry(right, "B")
    w = None if weights is None else validation.check_entry_weights(weights, (n, d))
    with limited():
        basis = Basis.of(matrix)
        with Progress(progress) as bar:
            bar.stage("lp regression")
            return regress(basis, right, p, w, tol, max_iter, bar.step)


@dataclass(frozen=True)
class Basis:
    """An orthonormal Q of V's column span; and how to change coefficients of one to the other's."""

    Q: Array
    back: Array
    forth: Array
    products: Array | None

    @staticmethod
    def of(V: Array) -> Basis:
        """Q from the SVD of V with columns scaled alike; directions of rounding size are left."""
        V = np.asarray(V, dtype=np.float64)
        scale = np.ldexp(1.0, -np.frexp(np.abs(V).max(axis=0))[1])
        U, s, Wt = np.linalg.svd(V * scale, full_matrices=False)
        rank = int(np.sum(s > max(V.shape) * _EPS * max(float(s[0]), 1e-300)))
        Q = np.ascontiguousarray(U[:, :rank])
        back = (scale[:, None] * Wt[:rank].T) / s[:rank]
        forth = s[:rank, None] * (Wt[:rank] / scale)
        d, r = Q.shape
        products = None
        if 0 < d * r * (r + 1) // 2 <= PACKED_ENTRIES:
            products = np.concatenate([Q[:, a : a + 1] * Q[:, a:] for a in range(r)], axis=1)
        return Basis(Q, np.ascontiguousarray(back), forth, products)


def regress(
    basis: Basis,
    B: Array,
    p: float,
    weights: Array | None,
    tol: float,
    max_iter: int,
    tick: Callable[[str], None] | None = None,
    start: Array | None = None,
) -> Regression:
    """`lp_regression` of checked input, in blocks over the threads that are allowed.

    `start`: coefficients (n, k) near the solution, of which Newton's method makes use.
    """
    n, d = B.shape
    rank = basis.Q.shape[1]
    X, cost, lower = np.empty((n, basis.back.shape[0])), np.empty(n), np.empty(n)
    gap, n_iter = np.empty(n), np.zeros(n, dtype=np.int64)
    step = max(1, min(BLOCK_ENTRIES // d, (1 << 20) // max(1, rank * rank)))

    def work(i: int, workers: int, stopped: Callable[[], bool]) -> None:
        for lo in range(i * step, n, workers * step):
            if stopped():
                return
            part = slice(lo, min(lo + step, n))
            w = None if weights is None else np.broadcast_to(weights, (n, d))[part]
            b = np.asarray(B[part], dtype=np.float64)
            x = None if start is None else start[part] @ basis.forth.T
            X[part], cost[part], lower[part], gap[part], n_iter[part] = _solve(
                basis, b, w, p, tol, max_iter, x
            )
            # Rounding can spoil a last step, and few entries seen make columns nearly dependent:
            # once more, with a basis for these entries.
            for j in np.flatnonzero(gap[part] > _allowed(tol)):
                at = np.ones(d, dtype=bool) if w is None or not w[j].any() else w[j] > 0.0
                one = None if w is None else w[j : j + 1, at]
                own = basis if at.all() else Basis.of(basis.Q[at])
                x, *rest = _once_more(own, b[j : j + 1, at], one, p, 0.01 * tol, max_iter)
                if own is not basis:
                    x = x @ basis.back.T
                if rest[2][0] < gap[lo + j]:
                    X[lo + j] = x[0]
                    cost[lo + j], lower[lo + j], gap[lo + j], n_iter[lo + j] = (v[0] for v in rest)
            if tick is not None and i == 0:
                tick(f"{part.stop} of {n}")

    spread(work, float(n) * d * max(1, rank))
    return Regression(X, cost, lower, gap, n_iter, gap <= _allowed(tol), p)


def _allowed(tol: float) -> float:
    """Largest gap of a problem that counts as solved."""
    return max(10.0 * tol, 1e-12)


def _solve(
    basis: Basis,
    b: Array,
    w: Array | None,
    p: float,
    tol: float,
    max_iter: int,
    start: Array | None = None,
) -> tuple[Array, Array, Array, Array, NDArray[np.int64]]:
    """(X, cost, lower bound, gap, n_iter) of one block."""
    block = _Block(basis, b, w, p, start)
    x = block.solve(tol, max_iter) * block.unit[:, None]
    return x @ basis.back.T, *block.certified(), block.n_iter


def _once_more(
    basis: Basis, b: Array, w: Array | None, p: float, tol: float, max_iter: int
) -> tuple[Array, Array, Array, Array, NDArray[np.int64]]:
    """As `_solve`, for one problem; at p = 1 ended at a vertex where that proves more."""
    block = _Block(basis, b, w, p)
    x = block.solve(tol, max_iter)
    found = block.certified()
    if p == 1.0 and found[2][0] > 0.0 and block.n_iter[0] < max_iter:
        end = vertex(basis.Q, block.b[0], block.w[0], x[0])
        if end is not None:
            block.x, block.y = end[0][None], end[1][None]
            better = block.certified()
            if better[2][0] < found[2][0]:
                x, found = block.x, better
    return (x * block.unit[:, None]) @ basis.back.T, *found, block.n_iter


class _Block:
    """Some problems, scaled so that the mean residual of each one's first fit is 1."""

    def __init__(
        self, basis: Basis, b: Array, w: Array | None, p: float, start: Array | None = None
    ) -> None:
        self.basis, self.p = basis, p
        self.near = start is not None and p >= STEEP
        self.masked = w is not None and not w.all()
        # A power of two brings b into range; weights are scaled to at most 1.
        b = b if w is None else np.where(w > 0.0, b, 0.0)
        self.unit = np.ldexp(1.0, np.frexp(np.abs(b).max(axis=1))[1])
        self.b = b / self.unit[:, None]
        self.top = np.ones(len(b)) if w is None else np.where(w.any(axis=1), w.max(axis=1), 1.0)
        self.w = np.ones_like(b) if w is None else w / self.top[:, None]
        self.x, r = self._first_fit()
        seen = self.w > 0.0
        count = np.maximum(seen.sum(axis=1), 1)
        sizes = np.where(seen, np.abs(r), 0.0)
        mean = sizes.sum(axis=1) / count
        # A residual of rounding size: nothing is left to minimise.
        self.exact = mean <= 8.0 * _EPS * math.sqrt(b.shape[1])
        self.scale = np.where(self.exact, 1.0, mean)
        if start is not None and self.near:
            self.x = start / self.unit[:, None]
        self.y = np.zeros_like(b)
        self.n_iter = np.zeros(len(b), dtype=np.int64)

    def _first_fit(self) -> tuple[Array, Array]:
        """Least squares over the entries that take part."""
        Q = self.basis.Q
        if not self.masked:
            x = self.b @ Q
        else:
            seen = (self.w > 0.0).astype(np.float64)
            x = (self.b * seen) @ Q
            kernels.solve(self._factors(seen), x)
        return x, self.b - x @ Q.T

    def _factors(self, W: Array) -> Array:
        """Cholesky factors of ``Q^T W_i Q``."""
        Q, products = self.basis.Q, self.basis.products
        m, r = len(W), Q.shape[1]
        G = np.empty((m, r, r))
        if products is not None:
            kernels.unpack(W @ products, G)
        else:
            for i in range(m):
                np.matmul((Q * W[i, :, None]).T, Q, out=G[i])
        kernels.cholesky(G)
        return G

    def solve(self, tol: float, max_iter: int) -> Array:
        """Coefficients of Q for every problem, in units of the scaled b."""
        at = np.flatnonzero(~self.exact)  # the problems still at work
        if at.size > 0 and self.p >= STEEP:
            self._newton(at, tol, max_iter)
        elif at.size > 0:
            self._interior_point(at, tol, max_iter)
        return self.x

    def _interior_point(self, at: NDArray[np.intp], tol: float, max_iter: int) -> None:
        Q, p = self.basis.Q, self.p
        x = self.x[at] / self.scale[at, None]
        w = np.ascontiguousarray(self.w[at])
        r = self.b[at] / self.scale[at, None] - x @ Q.T
        u, v, zu, zv, y = (np.empty_like(r) for _ in range(5))
        kernels.begin(r, w, p, 0.5, u, v, zu, zv, y)
        for _ in range(max_iter):
            Du, Dv, gu, gv, W, Wh = (np.empty_like(u) for _ in range(6))
            gap, cost = np.empty(at.size), np.empty(at.size)
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

    def _newton(self, at: NDArray[np.intp], tol: float, max_iter: int) -> None:
        """Newton's method with an exact line search, over exponents that double from 4 to p.

        The step is a weighted least-squares fit: with weights ``W = w |r|^(q-2)`` its residual s
        gives both the direction and a vector ``y = W s`` orthogonal to the columns of Q.
        """
        Q = self.basis.Q
        x, b, w = self.x[at], self.b[at], self.w[at]
        q = np.full((at.size, 1), self.p if self.near else 4.0)
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
            length = np.empty(at.size)
            line_search(t, v * (step @ Q.T), q[:, 0], length)
            x = x + (length[:, None] * top) * step
            q = np.where((near & ~last)[:, None], 2.0 * q, q)
            left = ~(near & last)
            if not left.any():
                break
            at, x, b, w, q = at[left], x[left], b[left], w[left], q[left]

    def certified(self) -> tuple[Array, Array, Array]:
        """(cost, lower bound, relative gap) in the user's units, from the residual and y alone."""
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
        least = np.min(np.where(seen, w, np.inf), axis=1, initial=1.0)
        with np.errstate(over="ignore"):
            far = d ** max(0.0, 0.5 - 1.0 / p) * (cost / least) ** (1.0 / p)
        far = np.minimum(far, 1e300)
        slack = off * (np.sqrt((r**2).sum(axis=1)) + far)
        slack += d * _EPS * (np.abs(r) * np.abs(y)).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scaled = np.where(seen, np.abs(y) / w ** (1.0 / p), 0.0)
            top = scaled.max(axis=1)
            if p > 1.0:
                q = p / (p - 1.0)
                top = top * ((scaled / top[:, None]) ** q).sum(axis=1) ** (1.0 / q)
            norm = np.maximum((r * y).sum(axis=1) - slack, 0.0) / (top * (1.0 + d * _EPS))
        norm = np.where(np.isfinite(norm) & ~self.exact, norm, 0.0)
        low = np.minimum(norm**p, cost)
        gap = np.where(self.exact | (cost == 0.0), 0.0, (cost - low) / np.where(cost, cost, 1.0))
        with np.errstate(over="ignore", under="ignore"):
            unit = (self.unit * size) ** p * self.top
            return cost * unit, np.minimum(low * unit, np.finfo(np.float64).max), gap

    def _orthogonal(self, y: Array, seen: NDArray[np.bool_]) -> tuple[Array, Array]:
        """y without its part in the columns of Q on the entries seen; the norm of what is left."""
        Q = self.basis.Q
        if not self.masked:
            for _ in range(2):
                y = y - (y @ Q) @ Q.T
            return y, np.linalg.norm(y @ Q, axis=1)
        y, off = y.copy(), np.zeros(len(y))
        for i in range(len(y) if Q.shape[1] else 0):
            at = seen[i]
            N, R, _ = scipy.linalg.qr(Q[at], mode="economic", pivoting=True)
            kept = np.abs(np.diagonal(R)) > len(Q) * _EPS
            N = N[:, : kept.size][:, kept]
            for _ in range(2):
                y[i, at] -= N @ (N.T @ y[i, at])
            off[i] = np.linalg.norm(N.T @ y[i, at])
        return y, off
