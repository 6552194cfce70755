"""The point of least l_p cost to all rows (at p = 1 the geometric median), with its own bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.io import validation
from lpgeom.records.base import EPS, norm_ratio, to_cost_units
from lpgeom.rows.base import Array

WARM = 3
"""Weiszfeld steps before Newton's: they are a third of the price where d is large, and safe."""

HALVINGS = 30
"""Halvings of a Newton step that does not descend, before it is given up."""


@dataclass(frozen=True, eq=False)
class Median:
    """A centre and how far from the best one it can be.

    Attributes
    ----------
    point : ndarray, shape (d,), float64
    cost : float
        ``sum_i omega_i ||a_i - point||^p``, a p-th power, in user units.
    lower_bound : float
        No point has a smaller cost (A1 of docs/theory/affine.md).
    ratio : float
        ``(cost / lower_bound)^(1/p) >= 1``, of norms.
    n_iter : int
    converged : bool
        Whether `ratio` came within the tolerance.

    Examples
    --------
    >>> import lpgeom
    >>> points = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [50.0, 50.0]]
    >>> found = lpgeom.lp_median(points)
    >>> bool(found.lower_bound <= found.cost), found.converged
    (True, True)
    """

    point: Array = field(repr=False)
    cost: float
    lower_bound: float
    ratio: float
    n_iter: int
    converged: bool


def lp_median(
    A: ArrayLike,
    p: float = 1.0,
    *,
    row_weights: ArrayLike | None = None,
    tol: float = 1e-10,
    max_iter: int = 200,
) -> Median:
    """The point c that minimises ``sum_i omega_i ||a_i - c||_2^p``, with a bound on all others.

    At p = 1 this is the geometric median, at p = 2 the mean. A Weiszfeld step moves to the mean
    with weights ``omega_i ||a_i - c||^(p-2)``, and from a row itself as Vardi and Zhang do it;
    Newton steps with a line search finish. Each step is taken only if it lowers the cost, and the
    result is judged by the bound alone, whatever the path.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points.
    p : float
        1 <= p <= 100.
    row_weights : array_like, shape (n,), optional
        omega >= 0, not all zero.
    tol : float
        Stops once ``ratio <= 1 + tol``.
    max_iter : int

    Returns
    -------
    Median

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix; p or weights out of range.

    Notes
    -----
    A Weiszfeld step is O(n d), a Newton step O(n d^2 + d^3), both of them in the span of the rows
    where n < d (which takes O(n^2 d) once); 5 to 15 of them as a rule. At p = 1
    the median is a row where that row outweighs the pull of all others, which is tested at the
    nearest row of every step. Sources: E. Weiszfeld, "Sur le point pour lequel la somme des
    distances de n points donnes est minimum", Tohoku Math. J. 1937; Y. Vardi and C.-H. Zhang, "The
    multivariate L1-median and associated data depth", PNAS 2000.

    Examples
    --------
    >>> import lpgeom
    >>> found = lpgeom.lp_median([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    >>> found.point.tolist(), found.ratio < 1.0 + 1e-12
    ([1.0, 1.0], True)
    """
    tol = validation.check_tolerance(tol)
    max_iter = validation.check_positive_int("max_iter", max_iter)
    scaled = _Scaled.of(A, p, row_weights)
    X, span = scaled.X, None
    if X.shape[0] < X.shape[1]:  # every step stays in the span of the rows
        span, R = np.linalg.qr(X.T)
        X = np.ascontiguousarray(R.T)
    c, n_iter = _descend(X, scaled.weights, scaled.p, tol, max_iter)
    point = scaled.restored(c, X, span)
    # Bound and cost are those of the point as it is stored.
    cost, lower, ratio = scaled.judged(point)
    return Median(point, cost, lower, ratio, n_iter, ratio <= 1.0 + max(tol, 1e-9))


def median_bound(
    A: ArrayLike,
    point: ArrayLike,
    p: float = 1.0,
    *,
    row_weights: ArrayLike | None = None,
) -> tuple[float, float, float]:
    """Cost of a point from anywhere, a lower bound on that of every point, and their ratio.

    Parameters
    ----------
    A : array_like, shape (n, d)
    point : array_like, shape (d,)
    p : float
    row_weights : array_like, shape (n,), optional

    Returns
    -------
    tuple of float
        Cost and bound as p-th powers, the ratio of norms. O(n d).

    Raises
    ------
    TypeError, ValueError
        Those of `lp_median`; a point of the wrong shape or not finite.

    Examples
    --------
    >>> from lpgeom.geometry.median import median_bound
    >>> cost, lower, ratio = median_bound([[0.0], [1.0], [4.0]], [1.0])
    >>> cost, lower > 3.999, ratio < 1.001
    (4.0, True, True)
    """
    scaled = _Scaled.of(A, p, row_weights)
    return scaled.judged(validation.check_point("point", point, scaled.X.shape[1]))


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Checked rows of positive weight around a middle point, at most 1 in size, by powers of two.

    ``X = (rows * half - origin) / size``; `unit` is the norm that norm 1 stands for, with the
    largest weight in it.
    """

    rows: Array
    X: Array
    weights: Array
    p: float
    half: float
    origin: Array
    size: float
    unit: float

    @staticmethod
    def of(A: ArrayLike, p: float, row_weights: ArrayLike | None) -> _Scaled:
        array = validation.check_matrix(A)
        p = validation.check_p(p)
        omega = validation.check_weights(row_weights, len(array))
        top = validation.largest_entries(array, omega)[1]
        rows = np.asarray(array, dtype=np.float64)
        if omega is None:
            omega = np.ones(len(rows))
        elif not omega.all():
            rows, omega = rows[omega > 0.0], omega[omega > 0.0]
        exponent = min(max(math.frexp(top)[1] + 1, -1000), 1000) if top > 0.0 else 0
        half = math.ldexp(1.0, -exponent)
        X = rows * half
        origin = np.median(X, axis=0)
        X -= origin
        spread = float(np.abs(X).max())
        size = math.ldexp(1.0, math.frexp(spread)[1]) if spread > 0.0 else 1.0
        X /= size
        largest = float(omega.max())
        unit = size / half * largest ** (1.0 / p)
        return _Scaled(rows, X, omega / largest, p, half, origin, size, unit)

    def judged(self, point: Array) -> tuple[float, float, float]:
        """Cost of a point and the bound on that of every other, in user units; their ratio."""
        c = (point * self.half - self.origin) / self.size
        cost, lower = _judged(self.X - c, self.weights, self.p)
        unit, p = self.unit, self.p
        ratio = norm_ratio(cost, lower, p)
        return to_cost_units(cost, unit, p), to_cost_units(lower, unit, p), ratio

    def restored(self, c: Array, X: Array, span: Array | None) -> Array:
        """The point in the coordinates of A, from those of the rows X, in a span if there is one: a
        row, where it is one, and not one beside it."""
        rows = np.flatnonzero((c == X).all(axis=1))
        if rows.size:
            return self.rows[rows[0]].copy()
        c = c if span is None else span @ c
        return np.asarray((c * self.size + self.origin) / self.half)


def _descend(X: Array, w: Array, p: float, tol: float, max_iter: int) -> tuple[Array, int]:
    """The cheapest point found, and the steps taken."""
    d = X.shape[1]
    if d == 1 and p == 1.0:
        return np.array([_weighted_median(X[:, 0], w)]), 1
    mean = w @ X / w.sum()
    if p == 2.0:
        return mean, 1
    tiny = EPS * float(np.abs(X).max()) * math.sqrt(d)
    best, cost = min(((c, _cost(X, w, p, c)) for c in (mean, np.zeros(d))), key=itemgetter(1))
    step = 0
    for step in range(1, max_iter + 1):
        R = X - best
        r = _lengths(R)
        if cost == 0.0 or norm_ratio(*_judged(R, w, p, r), p) <= 1.0 + tol:
            break
        candidates = [best + _weiszfeld(R, r, w, p, tiny)]
        if step > WARM:
            move = _newton(R, r, w, p, tiny)
            halvings = 0
            while halvings < HALVINGS and _cost(X, w, p, best + move) >= cost:
                move = 0.5 * move
                halvings += 1
            candidates.append(best + move)
        # Beside a row that outweighs the others by more than a power of rounding there is no other
        # point; at p = 1 the median often is one.
        candidates.append(X[int(r.argmin())])
        c, value = min(((c, _cost(X, w, p, c)) for c in candidates), key=itemgetter(1))
        if value < cost:
            best, cost = c, value
        elif step > WARM:
            break  # no step descends: rounding decides
    return best, step


def _lengths(R: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", R, R)))


def _cost(X: Array, w: Array, p: float, c: Array) -> float:
    with np.errstate(over="ignore"):
        return float(w @ _lengths(X - c) ** p)


def _weiszfeld(R: Array, r: Array, w: Array, p: float, tiny: float) -> Array:
    """To the mean with weights ``w r^(p-2)``; less far from a row that holds back (p = 1)."""
    away = r > tiny
    if not away.any():
        return np.zeros(R.shape[1])
    top = float(r.max())
    pull = np.zeros_like(r)
    pull[away] = w[away] * (r[away] / top) ** (p - 2.0)
    total = float(pull.sum())
    if total == 0.0:  # powers that left the range
        return np.zeros(R.shape[1])
    step = np.asarray(pull @ R / total)
    if p == 1.0 and not away.all():
        force = float(np.linalg.norm(pull @ R)) / top
        held = float(w[~away].sum())
        step *= max(0.0, 1.0 - held / force) if force > 0.0 else 0.0
    return step


def _newton(R: Array, r: Array, w: Array, p: float, tiny: float) -> Array:
    """Newton's step for the rows away from the point, with a ridge of rounding's size."""
    d = R.shape[1]
    away = r > tiny
    if not away.any():
        return np.zeros(d)
    R, r, w = R[away], r[away], w[away]
    bend = w * (r / r.max()) ** (p - 2.0)
    U = R / r[:, None]
    H = bend.sum() * np.eye(d) + (p - 2.0) * (U * bend[:, None]).T @ U
    H[np.diag_indices(d)] += 1e-14 * float(np.trace(H))
    return np.asarray(np.linalg.solve(H, bend @ R))


def _judged(R: Array, weights: Array, p: float, r: Array | None = None) -> tuple[float, float]:
    """Cost and the bound A1 for rows ``R = a_i - c`` (n, d) with norms r.

    Dual vectors ``g_i = r_i^(p-2) (a_i - c)``, less their mean, so that they balance. At p = 1
    another choice is better where rows lie at c or close to it: the few nearest share one vector
    that balances all others, which costs no more than twice their distances.
    """
    if r is None:
        r = _lengths(R)
    top = float(r.max(initial=0.0))
    if top == 0.0:
        return 0.0, 0.0
    s = r / top
    cost = float(weights @ s**p)
    away = r > 0.0
    G = np.zeros_like(R)
    G[away] = R[away] / top * (s[away] ** (p - 2.0))[:, None]
    n, d = R.shape
    total = float(weights.sum())
    rounding = 4.0 * EPS * (math.sqrt(n) + d + 64.0)
    # No better point is farther from this one (Minkowski), in units of top.
    reach = 2.0 * (cost / total) ** (1.0 / p)
    # Weights may lie hundreds of decades apart: what sums lose to terms below the smallest float.
    lost = n * float(np.finfo(np.float64).tiny)
    lower = 0.0
    for g in (G, _nearest_balance(G, r, weights)) if p == 1.0 else (G,):
        g = g - weights @ g / total
        longest = float(_lengths(g).max())
        if longest == 0.0:
            continue
        g /= longest
        lengths = _lengths(g)
        product = float(weights @ np.einsum("ij,ij->i", g, R)) / top
        # What is not balanced after rounding counts by how far the best point can be.
        unbalanced = float(np.linalg.norm(weights @ g)) + rounding * float(weights @ lengths)
        product -= unbalanced * reach + rounding * float(weights @ (lengths * s)) + lost
        if product <= 0.0:
            continue
        bound = product
        if p > 1.0:
            dual = float(weights @ lengths ** (p / (p - 1.0))) + lost
            # At most the root of the cost (Hölder), but for what the sums lose.
            bound = min(product / dual ** (1.0 - 1.0 / p), cost ** (1.0 / p)) ** p
        lower = max(lower, bound)
    lower *= max(0.0, 1.0 - p * rounding)
    return cost * top**p, min(lower, cost) * top**p


def _nearest_balance(G: Array, r: Array, weights: Array) -> Array:
    """Unit vectors G with those of the fewest nearest rows made one that balances the others."""
    order = np.argsort(r, kind="stable")
    pull = weights[order, None] * G[order]
    rest = np.linalg.norm(pull.sum(axis=0) - np.cumsum(pull, axis=0), axis=1)
    # The last is always enough: nothing is left to balance.
    j = int(np.argmax(rest <= np.cumsum(weights[order]))) + 1
    balanced = G.copy()
    balanced[order[:j]] = -pull[j:].sum(axis=0) / float(weights[order[:j]].sum())
    return balanced


def _weighted_median(x: Array, w: Array) -> float:
    order = np.argsort(x, kind="stable")
    half = np.cumsum(w[order])
    return float(x[order[int(np.searchsorted(half, 0.5 * half[-1]))]])
