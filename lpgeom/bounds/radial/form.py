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

from functools import partial
from typing import NamedTuple

import numpy as np

from lpgeom.records.check.radial import (
    CHECKERS,
    FLOOR,
    coefficients,
    row_minorants,
)
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.pairs import Pairs
from lpgeom.rows.vectors import each, kept


class RowMinorants(NamedTuple):
    """``y^p >= constant + linear_r r - square_r r^2 + linear_t t - square_t t^2``, t = y^2."""

    constant: Array
    linear_r: Array
    square_r: Array
    linear_t: Array
    square_t: Array


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
        self._blur = kept(1.0 + Y / (16.0 * np.where(y0 > 0.0, y0, 1.0)))
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

        |r| <= Y and t <= Y^2 = ||a||^2 on the Fantope. What a row's tangent point is off by,
        relative, grows as Y / y0.
        """
        c, t = self.parts, rows.squared_norms()
        linear = np.abs(c.constant) + c.linear_r * np.sqrt(t) + c.linear_t * t
        return float(((linear + c.square_r * t + c.square_t * t * t) * self._blur).sum())

    def bend(self, rows: Rows) -> float:
        """What E can add up to, in the same way."""
        c, t = self.parts, rows.squared_norms()
        return float(((c.square_r * t + c.square_t * t * t) * self._blur).sum())

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


FAMILIES = {name: partial(coefficients, name) for name in CHECKERS}
"""Bound name -> family ``(S, p, parameter) -> (beta, gamma, C)``."""
