"""The radial minorant of the whole cost: a concave quadratic function of Q (theory 3g to 3i).

*The whole cost.* With ``r_i(Q) = q_i . Q a_i``, ``t_i(Q) = a_i^T Q a_i`` and the row minorants of
`row_minorants`,

    cost(Q) >= value(Q) = sum_i const_i + linear_r r_i + linear_t t_i  -  E(Q),
    E(X) = sum_i square_r r_i(X)^2 + square_t t_i(X)^2  >= 0,

for every rank-m projection Q. Since ``q_i = Q0 a_i / ||Q0 a_i||``, r_i is the bilinear form of
``sym(Q0 Q)``: two passes give the features, two weighted Grams the gradient.

*One row.* A row a with residual z = Q a has y = ||z|| and, for a projection, ``y^2 = a^T Q a``. For
a unit vector q put ``r = q . z``; then |r| <= y <= Y = ||a||. In units of a tangent point y0 (rho =
r / y0, eta = y / y0, S = Y / y0) each family below satisfies

    eta^p >= 1 + alpha (rho - 1) - gamma (rho - 1)^2 + beta (eta^2 - 1) - C (eta^2 - 1)^2,

alpha = p - 2 beta, for all |rho| <= eta <= S, with equality at rho = eta = 1.

*Quartic family (theory 3i).* Let kappa = (S^p - 1 - p (S - 1)) / (S - 1)^2, so that
``eta^p >= 1 + p (eta - 1) + kappa (eta - 1)^2`` on [0, S] (theory 3e; kappa = 0 at p = 1). Take
gamma = beta - kappa - C > 0. The right side grows in rho up to rho* = 1 + delta*, delta* =
alpha / (2 gamma). If eta <= rho*, it is largest at rho = eta, where eta^p minus it is at least
``C (eta - 1)^2 ((1 + eta)^2 - 1) >= 0``. If eta = 1 + delta > rho*, the difference is at least
``C delta^2 (1 + delta)(3 + delta) - gamma (delta - delta*)^2``, which is >= 0 as soon as
``delta - delta* <= c delta (sqrt 3 + delta)``, c = sqrt(C / gamma): a quadratic in delta, true on
[delta*, S - 1] if ``b = 1 - sqrt(3) c <= 0``, or ``b^2 <= 4 c delta*``, or its smaller root
``(b - sqrt(b^2 - 4 c delta*)) / (2 c) >= S - 1``.

*C = 0* is theory 3h (any gamma >= beta, beta at the root of its condition), and gamma = beta =
1 / (2 S) with p = 1 is theory 3g. For p > 1 both are applied to the y-term of theory 3e.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpgeom.rows.base import Array, Rows
from lpgeom.rows.pairs import Pairs
from lpgeom.rows.vectors import each, kept

FLOOR = 1e-3
"""Tangent points stay above FLOOR ||a_i||: any positive point is valid, this one keeps E tame."""

NEGLIGIBLE = 1e-70
"""Rows up to this long, where the longest is near 1, count as nothing: 0 is a minorant too, and
fourth powers of what is shorter leave float64."""

_MARGIN = 1e-9
"""Conditions are asked for with this much to spare, relative, to absorb their own rounding."""


class RadialForm:
    """The minorant whose unit vectors and tangent points come from a reference Q0.

    Parameters
    ----------
    rows : Rows
    Q0 : ndarray, shape (d, d), symmetric
        Any matrix will do; a minimiser of the minorant it makes is best.
    name, parameter : str, float
        Family of row minorants and its parameter.
    p : float
    view : Rows, optional
        Float32 rows to search with; their images under Q0 are kept if they fit into memory,
        which makes each pass over this view about twice as fast.

    Notes
    -----
    Two passes over A here, two for `features`, two for `gradient` and for `image`.
    """

    def __init__(
        self,
        rows: Rows,
        Q0: Array,
        p: float,
        name: str,
        parameter: float,
        view: Rows | None = None,
    ) -> None:
        Y = np.sqrt(rows.squared_norms())
        r0 = np.sqrt(np.maximum(rows.quadratic_form(Q0), 0.0))
        t0 = np.maximum(rows.bilinear_form(Q0), 0.0)
        y0 = np.clip(0.5 * (r0 + np.sqrt(t0)), FLOOR * Y, Y)
        self.Q0 = Q0
        self._view = view
        self._pairs = None if view is None else Pairs.of(view, Q0)
        # |q_i| <= 1 is all that the proof needs: divide by a little more than ||Q0 a_i||.
        safe = np.maximum(r0 * (1.0 + 1e-9), FLOOR * Y)
        self.inverse = kept(np.where(safe > 0.0, 1.0 / np.where(safe > 0.0, safe, 1.0), 0.0))
        self.parts = RowMinorants(
            *each(lambda y0, Y: row_minorants(name, y0, Y, p, parameter), y0, Y)
        )
        self.quartic = bool(np.any(self.parts.square_t > 0.0))
        # Features of Q0 itself: q_i . Q0 a_i = ||Q0 a_i||^2 / (what q_i was divided by).
        self.at_reference = (r0 * r0 * self.inverse, t0)

    def features(self, rows: Rows, X: Array) -> tuple[Array, Array]:
        """(r_i(X), t_i(X)), each of shape (n,)."""
        if self._pairs is not None and rows is self._view:
            r, t = self._pairs.forms(X)
            return r * self.inverse, t
        product = self.Q0 @ X
        r = rows.bilinear_form(0.5 * (product + product.T)) * self.inverse
        return r, rows.bilinear_form(X)

    def value(self, r: Array, t: Array) -> float:
        """The minorant at features (r, t), a cost."""
        c = self.parts
        rising = c.constant + c.linear_r * r + c.linear_t * t
        return float((rising - c.square_r * r * r - c.square_t * t * t).sum())

    def magnitude(self, rows: Rows) -> float:
        """What `value` and its gradient can add up to in absolute value, for their rounding.

        |r| <= Y and t <= Y^2 = ||a||^2 on the Fantope, and so for the products they come from.
        """
        c = self.parts
        t = rows.squared_norms()
        linear = np.abs(c.constant) + c.linear_r * np.sqrt(t) + c.linear_t * t
        return float((linear + c.square_r * t + c.square_t * t * t).sum())

    def gradient(self, rows: Rows, r: Array, t: Array) -> Array:
        """Gradient of the minorant where the features are (r, t); (d, d), symmetric."""
        c = self.parts
        weight_r = c.linear_r - 2.0 * c.square_r * r
        return self._adjoint(rows, weight_r, c.linear_t - 2.0 * c.square_t * t)

    def square(self, r: Array, t: Array) -> float:
        """E(X) from the features of X."""
        return float((self.parts.square_r * r * r + self.parts.square_t * t * t).sum())

    def image(self, rows: Rows, r: Array, t: Array | None) -> Array:
        """E X, the symmetric matrix with <Z, E X> = E(Z, X), from the features of X."""
        weight_t = None if t is None or not self.quartic else self.parts.square_t * t
        return self._adjoint(rows, self.parts.square_r * r, weight_t)

    def apply(self, rows: Rows, X: Array) -> Array:
        """E X: two passes and two Grams, half of it where square_t = 0 or the images are kept."""
        if self._pairs is not None and rows is self._view:
            return self.image(rows, *self.features(rows, X))
        product = self.Q0 @ X
        r = rows.bilinear_form(0.5 * (product + product.T)) * self.inverse
        return self.image(rows, r, rows.bilinear_form(X) if self.quartic else None)

    def _adjoint(self, rows: Rows, weight_r: Array, weight_t: Array | None) -> Array:
        """``sum_i weight_r sym(q_i a_i^T) + weight_t a_i a_i^T``."""
        if self._pairs is not None and rows is self._view:
            both = np.zeros_like(weight_r) if weight_t is None else weight_t
            return self._pairs.gram(weight_r * self.inverse, both)
        G = self.Q0 @ rows.weighted_gram(weight_r * self.inverse)
        G = 0.5 * (G + G.T)
        return G if weight_t is None else G + rows.weighted_gram(weight_t)


class RowMinorants(NamedTuple):
    """``y^p >= constant + linear_r r - square_r r^2 + linear_t t - square_t t^2``, t = y^2."""

    constant: Array
    linear_r: Array
    square_r: Array
    linear_t: Array
    square_t: Array


def curvature(S: Array, p: float) -> Array:
    """kappa = (S^p - 1 - p (S - 1)) / (S - 1)^2, p (p - 1) / 2 at S = 1; lowered by a hair."""
    if p == 1.0:
        return np.zeros_like(S)
    e = S - 1.0
    near = np.abs(e) < 1e-3
    safe = np.where(near, 1.0, e)
    value = (S**p - 1.0 - p * e) / safe**2
    series = p * (p - 1.0) / 2.0 * (1.0 + (p - 2.0) / 3.0 * e + (p - 2.0) * (p - 3.0) / 12.0 * e**2)
    return np.maximum(np.where(near, series, value) * (1.0 - 1e-7), 0.0)


def quartic(S: Array, p: float, strength: float) -> tuple[Array, Array, Array]:
    """(beta, gamma, C) of the quartic family, C = strength / S and beta as large as proved."""
    kappa = curvature(S, p)
    # At p near 2, where kappa nearly is beta, there is little left for C to do.
    C = np.minimum(strength / S, 0.25 * (p / 2.0 - kappa)) * (1.0 - kappa)
    low, high = kappa + C * (1.0 + 1e-3) + 1e-12, np.full_like(S, p / 2.0)
    for _ in range(50):
        beta = 0.5 * (low + high)
        good = _quartic_holds(S, p, beta, beta - kappa - C, C)
        low, high = np.where(good, beta, low), np.where(good, high, beta)
    return low, low - kappa - C, C


def _quartic_holds(S: Array, p: float, beta: Array, gamma: Array, C: Array) -> Array:
    """The condition of the quartic family, with a margin; gamma = beta - kappa - C."""
    gamma = np.maximum(gamma, 1e-300)
    c = np.sqrt(C / gamma)
    delta = (p - 2.0 * beta) / (2.0 * gamma)
    b = 1.0 - np.sqrt(3.0) * c
    gap = b * b - 4.0 * c * delta * (1.0 - _MARGIN)
    root = (b - np.sqrt(np.maximum(gap, 0.0))) / (2.0 * np.maximum(c, 1e-300))
    return (b <= 0.0) | (gap <= 0.0) | (root >= (S - 1.0) * (1.0 + _MARGIN))


def two_parameter(S: Array, p: float, spread: float) -> tuple[Array, Array, Array]:
    """(beta, gamma, 0) of theory 3h on the y-term of 3e: gamma = spread / (2 S) in its units.

    ``b (S^2 - 1) + (1 - 2 b)^2 / (4 g) = S - 1`` is solved for b <= g; spread = 1 is 3g, b = g.
    """
    kappa = curvature(S, p)
    lead = np.maximum(p - 2.0 * kappa, 0.0)  # weight of y in 3e: y^p >= lead y + kappa y^2 + ...
    g = spread / (2.0 * S)
    # b^2/g + b (S^2 - 1 - 1/g) + 1/(4 g) - (S - 1) = 0; the larger root, by the stable formula.
    mid = S * S - 1.0 - 1.0 / g
    tail = 1.0 / (4.0 * g) - (S - 1.0)
    disc = np.sqrt(np.maximum(mid * mid - 4.0 * tail / g, 0.0))
    b = np.where(mid >= 0.0, -2.0 * tail / np.maximum(mid + disc, 1e-300), (disc - mid) * g / 2.0)
    b = np.minimum(b, g) * (1.0 - _MARGIN) if spread > 1.0 else g * (1.0 - _MARGIN)
    b = np.maximum(b, 0.0)
    return kappa + lead * b, lead * g, np.zeros_like(S)


FAMILIES = {"radial": two_parameter, "radial_two": two_parameter, "radial_quartic": quartic}
"""Bound name -> family ``(S, p, parameter) -> (beta, gamma, C)``."""


def row_minorants(name: str, y0: Array, Y: Array, p: float, parameter: float) -> RowMinorants:
    """Minorants of a family at tangent points 0 < y0; zero where Y is `NEGLIGIBLE`."""
    zero = Y <= NEGLIGIBLE
    y = np.where(zero, 1.0, y0)
    S = np.maximum(np.where(zero, 1.0, Y) / y, 1.0) * (1.0 + 1e-12)
    beta, gamma, C = FAMILIES[name](S, p, parameter)
    alpha = p - 2.0 * beta
    y_p = np.where(zero, 0.0, y**p)
    return RowMinorants(
        constant=y_p * (1.0 - alpha - gamma - beta - C),
        linear_r=y_p / y * (alpha + 2.0 * gamma),
        square_r=y_p / y**2 * gamma,
        linear_t=y_p / y**2 * (beta + 2.0 * C),
        square_t=y_p / y**4 * C,
    )
