"""Anderson's extrapolation of a fixed-point iteration on the Grassmannian."""

from __future__ import annotations

import numpy as np

from lpgeom.geometry.grassmann import Frame
from lpgeom.rows.base import Array

_CHART = 3.0
"""Largest norm of coordinates (tangents of the principal angles to the origin) for which a chart is
kept."""


class Anderson:
    """From steps ``x_j -> g(x_j)`` to where their steps would cancel.

    In a chart, ``f_j = g(x_j) - x_j``. The next point is ``sum_j alpha_j g(x_j)``, with the
    alpha_j of sum 1 that minimise ``||sum_j alpha_j f_j||`` over the last few steps: on a linear
    iteration this is GMRES. It may fail to descend, which the caller has to look at.

    The chart around a frame (V, W) gives the subspace spanned by ``V + W X`` the coordinates X
    (m, k): affine combinations of subspaces are those of their X. It moves to where the iteration
    is when that gets far from its origin.

    Sources: Anderson, J. ACM 12 (1965) 547; Walker and Ni, SIAM J. Numer. Anal. 49 (2011) 1715.

    Parameters
    ----------
    depth : int
        Steps remembered before the present one, 2 (d - k) k numbers each.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self.forget()

    def forget(self) -> None:
        """Start anew from the next step on."""
        self._origin: Frame | None = None
        self._last: tuple[Array, Array] | None = None
        self._df: list[Array] = []
        self._dg: list[Array] = []

    def extrapolate(self, x: Frame, g: Frame) -> Frame:
        """The next point, from the step x -> g; g itself as long as nothing is remembered."""
        here = self._coordinates(x)
        there = self._coordinates(g)
        if here is None or there is None:
            self.forget()
            self._origin = x
            here, there = np.zeros((x.W.shape[1], x.V.shape[1])), self._coordinates(g)
            if there is None:
                self._origin = None
                return g
        f = there - here
        if self._last is not None:
            self._df.append(f - self._last[0])
            self._dg.append(there - self._last[1])
            del self._df[: -self._depth], self._dg[: -self._depth]
        self._last = f, there
        if not self._df:
            return g
        F = np.stack([df.ravel() for df in self._df], axis=1)
        gamma = np.linalg.lstsq(F, f.ravel(), rcond=1e-8)[0]
        X = there - sum(c * dg for c, dg in zip(gamma, self._dg, strict=True))
        return self._frame(X)

    def _coordinates(self, x: Frame) -> Array | None:
        if self._origin is None:
            return None
        try:
            X = np.linalg.solve((self._origin.V.T @ x.V).T, (self._origin.W.T @ x.V).T).T
        except np.linalg.LinAlgError:  # a right angle
            return None
        # A NaN or an infinity from a nearly right angle fails this too.
        return np.asarray(X) if np.linalg.norm(X) <= _CHART else None

    def _frame(self, X: Array) -> Frame:
        assert self._origin is not None
        return Frame.spanned_by(self._origin.V + self._origin.W @ X)
