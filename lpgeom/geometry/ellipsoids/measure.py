"""Independent measurement of an ellipsoid around an l_p ball: NumPy, SciPy and the data.

The claim is about all directions; a search can refute it, not prove it. Each search below only
ever improves its start, and ends where first-order conditions hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.io.interchange import as_numpy
from lpgeom.records.base import EPS, Array, CertificateError
from lpgeom.threads import sized

if TYPE_CHECKING:
    from lpgeom.geometry.ellipsoids.record import Ellipsoid

FIRST, UP, DOWN = 6, 300, 60
"""Rounds of every search at first, and rounds at most of those that go on."""
KEPT_UP, KEPT_DOWN = 32, 6
"""How many of the best searches go on; those for the maximum run side by side."""
SETTLED = 1e-9
"""Relative gain of a round below which a search has ended."""
FLOOR = 1e-9
"""Below this share of the largest entry an entry counts as that in a reweighting (p < 2)."""
PROGRAMS, STAND_IN = 3, 40.0
"""Starts of the successive linear programs at p = inf, and the p whose descent precedes them."""
SMALLEST = 1e-300


@dataclass(frozen=True, eq=False)
class Rounding:
    """Extremes of ``||A x||_p / sqrt(x^T shape x)`` found by searching.

    Attributes
    ----------
    lowest, highest : float
        The smallest and the largest ratio found.
    at_lowest, at_highest : ndarray, shape (d,), float64
        The directions, of gauge 1.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 3))
    >>> E = lpgeom.loewner_ellipsoid(A, p=1.0, method="lewis")
    >>> measured = E.verify(A)
    >>> 1.0 - 1e-9 <= measured.lowest <= measured.highest <= E.alpha * (1 + 1e-9)
    True
    """

    lowest: float
    highest: float
    at_lowest: Array = field(repr=False)
    at_highest: Array = field(repr=False)

    @property
    def rounding(self) -> float:
        """``highest / lowest``: the rounding factor measured, at most the true one."""
        return self.highest / self.lowest if self.lowest > 0.0 else math.inf


def verify_ellipsoid(
    E: Ellipsoid,
    A: ArrayLike,
    *,
    row_weights: ArrayLike | None = None,
    seed: int = 0,
    starts: int = 32,
) -> Rounding:
    """Search for the extremes of ``||A x||_p / sqrt(x^T shape x)``; raise if outside [1, alpha].

    The largest: ``y <- B^T v / ||B^T v||`` with v dual to ``B y``, B the rows in coordinates in
    which the ellipsoid is a ball; never falls, since ``||B y||_p`` is convex. The smallest, p <= 2:
    ``y <-`` last eigenvector of ``sum |b_i y|^(p-2) b_i b_i^T``; never rises, since ``|u|^p`` is
    concave in u^2. p > 2: quasi-Newton descent; p = inf: ``y <- argmax {<y, z> : |B z| <= 1}``, a
    linear program. Starts: axes, rows, eigenvectors of weighted Grams, `starts` random directions,
    and random directions near the best found.

    Parameters
    ----------
    E : Ellipsoid
    A : array_like, shape (n, d)
        In memory, as float64.
    row_weights : array_like, shape (n,), optional
    seed, starts : int

    Returns
    -------
    Rounding

    Raises
    ------
    ValueError
        E is not about an l_p ball.
    CertificateError
        E is not a proper ellipsoid of that dimension, or a ratio lies outside [1, alpha] by more
        than the rounding of its own evaluation.
    """
    if E.p is None:
        raise ValueError("this ellipsoid is not about the ball of an l_p norm")
    p = float(E.p)
    rows = _rows(A, p, row_weights)
    R = _root(E, rows.shape[1])
    top = float(np.abs(rows).max(initial=0.0))
    if top == 0.0:
        if R.size and np.abs(R).max() > 0.0:
            raise CertificateError("A is zero, the ellipsoid is bounded somewhere")
        return Rounding(1.0, 1.0, np.zeros(rows.shape[1]), np.zeros(rows.shape[1]))
    # A power of two near the largest entry: no product leaves the range of float64.
    unit = 2.0 ** math.frexp(top)[1]
    rows, R = rows / unit, R / unit
    X = _inverse(E, rows, R)
    search = _Search(rows @ X, p, np.random.default_rng(seed))
    with sized(*rows.shape):
        low, high = search.extremes(starts, E.axes.T @ R.T)
    found = []
    for y in (low, high):
        x = X @ y
        length = float(np.linalg.norm(R @ x))
        x = x / length
        found.append((_norm(rows @ x, p), x, _slack(rows, R, x, p)))
    (lowest, x_low, slack_low), (highest, x_high, slack_high) = found
    if not lowest >= 1.0 - slack_low:
        raise CertificateError(
            f"the ellipsoid does not contain the ball: ||A x||_p is {lowest:.9g} at a point of it"
        )
    if not highest <= E.alpha * (1.0 + slack_high) + slack_high:
        raise CertificateError(
            f"alpha is stated as {E.alpha:.9g}; ||A x||_p / sqrt(x^T shape x) reaches {highest:.9g}"
        )
    return Rounding(lowest, highest, x_low / unit, x_high / unit)


def _rows(A: ArrayLike, p: float, row_weights: ArrayLike | None) -> Array:
    """``omega_i^(1/p) a_i`` as float64; a finite matrix."""
    rows = np.asarray(as_numpy(A, "A"), dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape or not np.isfinite(rows).all():
        raise CertificateError("A is not a finite, nonempty matrix")
    if row_weights is None:
        return rows
    omega = np.asarray(as_numpy(row_weights, "row_weights"), dtype=np.float64)
    if omega.shape != rows.shape[:1] or not (np.isfinite(omega).all() and (omega >= 0.0).all()):
        raise CertificateError(f"row weights are not {len(rows)} finite numbers >= 0")
    factor = (omega > 0.0).astype(np.float64) if math.isinf(p) else omega ** (1.0 / p)
    return np.asarray(rows * factor[:, None])


def _root(E: Ellipsoid, d: int) -> Array:
    """R with R^T R = shape, after the checks that E is an ellipsoid around 0."""
    if E.shape.shape != (d, d) or E.center.shape != (d,):
        raise CertificateError(f"the ellipsoid is in dimension {len(E.center)}, A has {d} columns")
    if not (np.isfinite(E.shape).all() and not E.center.any() and E.basis is None):
        raise CertificateError("the shape is not finite, or the center not 0")
    if not (E.alpha >= 1.0 and float(E.p or 0.0) >= 1.0):
        raise CertificateError(f"alpha = {E.alpha!r} or p = {E.p!r} is not a number >= 1")
    size = float(np.abs(E.shape).max())
    if np.abs(E.shape - E.shape.T).max() > 1e-12 * size:
        raise CertificateError("the shape is not symmetric")
    if E.root is not None:
        if E.root.ndim != 2 or E.root.shape[1] != d or not np.isfinite(E.root).all():
            raise CertificateError(f"the root has shape {E.root.shape}, expected (r, {d})")
        if np.abs(E.root.T @ E.root - E.shape).max(initial=0.0) > 64 * d * EPS * size:
            raise CertificateError("the root is not one of the shape")
        return E.root
    unit = 4.0 ** (math.frexp(size)[1] // 2)
    lam, U = np.linalg.eigh(E.shape / unit)
    floor = d * EPS * float(np.abs(lam).max())
    if lam[0] < -floor:
        raise CertificateError(f"the shape has a negative eigenvalue, {lam[0] * unit:.3g}")
    keep = lam > floor
    return np.asarray(np.sqrt(lam[keep])[:, None] * U[:, keep].T * math.sqrt(unit))


def _inverse(E: Ellipsoid, rows: Array, R: Array) -> Array:
    """X with R X = I; where R x = 0 the ball must be unbounded too."""
    d = R.shape[1]
    _, s, Vt = np.linalg.svd(R, full_matrices=True)
    keep = s > max(R.shape) * EPS * s.max(initial=0.0)
    r = int(np.count_nonzero(keep))
    null = Vt[r:].T
    if r < d and math.isfinite(E.alpha):
        sticks_out = float(np.linalg.norm(rows @ null, axis=1).max())
        if sticks_out > 16 * max(rows.shape) * EPS * float(np.linalg.norm(rows)):
            raise CertificateError("the ellipsoid is unbounded where the ball is bounded")
    if r == 0:
        raise CertificateError("the shape is zero, A is not")
    return np.asarray(np.linalg.pinv(R, rcond=max(R.shape) * EPS)) if r < len(R) else _right(R)


def _right(R: Array) -> Array:
    """The pseudo-inverse of R of full row rank, by QR."""
    Q, T = np.linalg.qr(R.T)
    return np.asarray(Q @ np.linalg.inv(T).T)


def _slack(rows: Array, R: Array, x: Array, p: float) -> float:
    """Rounding of ``||rows x||_p / ||R x||`` when ``||R x|| = 1``, and 1e-12 for the rest."""
    unit = (x.size + 8) * EPS
    blur = _norm(np.abs(rows) @ np.abs(x), p) + float(np.linalg.norm(np.abs(R) @ np.abs(x)))
    return unit * blur + 1e-12


def _norm(u: Array, p: float) -> float:
    """``||u||_p`` of a vector, without leaving the range."""
    return float(_norms(u[:, None], p)[0])


def _norms(U: Array, p: float) -> Array:
    """``||u||_p`` of every column."""
    size = np.abs(U)
    top = size.max(axis=0)
    if math.isinf(p):
        return np.asarray(top)
    safe = np.where(top > 0.0, top, 1.0)
    return np.asarray(top * ((size / safe) ** p).sum(axis=0) ** (1.0 / p))


def _unit_columns(Y: Array) -> Array:
    length = np.linalg.norm(Y, axis=0)
    return np.asarray(Y[:, length > 0.0] / length[length > 0.0])


class _Search:
    """Extremes of ``f(y) = ||B y||_p`` on the unit sphere."""

    def __init__(self, B: Array, p: float, rng: np.random.Generator) -> None:
        self.B, self.p, self.rng = B, p, rng
        self.r = B.shape[1]

    def extremes(self, starts: int, axes: Array) -> tuple[Array, Array]:
        """(y at the smallest value, y at the largest) among all searches."""
        beta = np.linalg.norm(self.B, axis=1)
        safe = np.where(beta > 0.0, beta, 1.0)
        power = 0.0 if math.isinf(self.p) else min(self.p, 40.0) - 2.0
        weighted = self.B * (safe / safe.max())[:, None] ** (0.5 * power)
        grams = [np.linalg.eigh(C.T @ C)[1] for C in (self.B, weighted)]
        longest = np.argsort(-beta)[: max(starts, 1)]
        scattered = self.rng.standard_normal((self.r, max(starts, 1)))
        Y = _unit_columns(
            np.concatenate([axes.T, *grams, self.B[longest].T, scattered, np.eye(self.r)], axis=1)
        )
        high = self._best(self.ascend, Y, -1.0, KEPT_UP, UP)
        least = np.argsort(_norms(self.B @ Y, self.p))
        few = np.concatenate([least[:starts], self.rng.permutation(least[starts:])[: starts // 2]])
        low = self._best(self.descend, Y[:, few], 1.0, KEPT_DOWN, DOWN)
        return low, high

    def _best(
        self,
        search: Callable[[Array, int], Array],
        Y: Array,
        sign: float,
        kept: int,
        rounds: int,
    ) -> Array:
        """The best end of a search from Y, then from around that end."""
        for _ in range(2):
            rough = search(Y, FIRST)
            order = np.argsort(sign * _norms(self.B @ rough, self.p))
            ends = search(rough[:, order[:kept]], rounds)
            values = sign * _norms(self.B @ ends, self.p)
            best = np.asarray(ends[:, int(values.argmin())])
            near = best[:, None] + 0.3 * self.rng.standard_normal((self.r, 8)) / math.sqrt(self.r)
            Y = np.concatenate([best[:, None], _unit_columns(near)], axis=1)
        return best

    def ascend(self, Y: Array, rounds: int) -> Array:
        """Columns after monotone ascent: ``y <- B^T v / ||B^T v||``, v dual to ``B y``."""
        value = _norms(self.B @ Y, self.p)
        for _ in range(rounds):
            Z = self.B.T @ self._dual(self.B @ Y)
            length = np.linalg.norm(Z, axis=0)
            Z = np.where(length > 0.0, Z / np.where(length > 0.0, length, 1.0), Y)
            new = _norms(self.B @ Z, self.p)
            better = new > value
            gain = float((new[better] / np.maximum(value[better], SMALLEST)).max(initial=1.0)) - 1.0
            Y = np.where(better, Z, Y)
            value = np.where(better, new, value)
            if gain <= SETTLED:
                break
        return Y

    def _dual(self, U: Array) -> Array:
        """v of every column: the gradient of the norm at u."""
        if math.isinf(self.p):
            V = np.zeros_like(U)
            at = np.abs(U).argmax(axis=0), np.arange(U.shape[1])
            V[at] = np.sign(U[at])
            return V
        size = np.abs(U) / np.maximum(np.abs(U).max(axis=0), SMALLEST)
        return np.asarray(np.sign(U) * size ** (self.p - 1.0))

    def descend(self, Y: Array, rounds: int) -> Array:
        """Columns after descent, by the method that p asks for."""
        if math.isinf(self.p) and rounds > FIRST:
            return np.stack([self._by_programs(y) for y in Y[:, :PROGRAMS].T], axis=1)
        one = self._by_reweighting if self.p <= 2.0 else self._by_gradients
        return np.stack([one(y, rounds) for y in Y.T], axis=1)

    def _by_reweighting(self, y: Array, rounds: int) -> Array:
        """``y <-`` last eigenvector of ``sum |b_i y|^(p-2) b_i b_i^T`` (p <= 2)."""
        best, least = y, _norm(self.B @ y, self.p)
        for _ in range(rounds):
            u = np.abs(self.B @ y)
            C = self.B * np.maximum(u, FLOOR * u.max())[:, None] ** (0.5 * self.p - 1.0)
            y = np.linalg.eigh(C.T @ C)[1][:, 0]
            value = _norm(self.B @ y, self.p)
            if not value < least * (1.0 - SETTLED):
                break
            best, least = y, value
        return np.asarray(best)

    def _by_gradients(self, y: Array, rounds: int) -> Array:
        """Quasi-Newton descent on ``log ||B y||_p - log ||y||`` (p > 2)."""
        from scipy.optimize import minimize

        p = STAND_IN if math.isinf(self.p) else self.p

        def value(z: Array) -> tuple[float, Array]:
            u = self.B @ z
            top = float(np.abs(u).max())
            size = np.abs(u) / top
            total = float((size**p).sum())
            gradient = self.B.T @ (np.sign(u) * size ** (p - 1.0)) / (total * top)
            square = float(z @ z)
            log = math.log(top) + math.log(total) / p - 0.5 * math.log(square)
            return log, gradient - z / square

        found: Any = minimize(value, y, jac=True, method="L-BFGS-B", options={"maxiter": rounds})
        return np.asarray(found.x / np.linalg.norm(found.x))

    def _by_programs(self, y: Array) -> Array:
        """``y <- argmax {<y, z> : |B z| <= 1}``: the length of y never falls (p = inf)."""
        from scipy.optimize import linprog

        both = np.concatenate([self.B, -self.B])
        longest = 0.0
        best = y
        for _ in range(20):
            found: Any = linprog(-y, A_ub=both, b_ub=np.ones(len(both)), bounds=(None, None))
            if found.status != 0:
                break
            length = float(np.linalg.norm(found.x))
            if length <= longest * (1.0 + 1e-9):
                break
            longest, best = length, found.x / length
            y = best
        return np.asarray(best)
