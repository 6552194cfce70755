"""Majorise and minimise for 1 <= p <= 2 (theory 4): iteratively reweighted eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import EPS, eigen
from lpgeom.rows.base import Array, Rows, Rule
from lpgeom.rows.vectors import numbers
from lpgeom.subspace.cost import lp_cost, lp_sum

Tick = Callable[[str], None]

MEMORY = 4
"""Steps that the extrapolation looks back."""

NEAR = 0.01
"""Steps are extrapolated from where they promise less than this share of the cost."""

COOL, FALL = 0.3, 0.3
"""eps is lowered once a step promises less than the first share of what the smoothing hides; by the
second factor."""

HASTE = 1.0, 0.1
"""The same in haste: fewer steps, and a worse end where rows fit exactly on the way."""

FLOOR = {np.dtype(np.float64): 1e-26, np.dtype(np.float32): 1e-11}
"""Squared residuals below this share of the mean squared row norm are rounding."""

ROUNDING = {np.dtype(np.float64): EPS, np.dtype(np.float32): 2.0**-24}
"""Relative rounding of Grams."""

NOISE = 1e-14
"""Falls of a float64 cost below this share of it are rounding."""

CHART = 3.0
"""Largest norm of coordinates (tangents of the principal angles to the origin) for which a chart is
kept."""


@dataclass(frozen=True)
class Run:
    """One descent.

    Attributes
    ----------
    frame : Frame
        Where it ended; its cost has not been evaluated if the last step was taken on the
        majoriser's word.
    best : Frame
        The cheapest subspace evaluated on the way.
    cost : float
        Cost of `best`, in the precision of the rows.
    history : tuple of float
        Cost of the best subspace after each evaluation: it never rises.
    n_iter : int
        Steps taken (eigendecompositions).
    converged : bool
    N : ndarray, shape (d, d), or None
        The weighted Gram of the last step.
    eps : float
        Where the smoothing ended.
    """

    frame: Frame
    best: Frame
    cost: float
    history: tuple[float, ...]
    n_iter: int
    converged: bool
    N: Array | None = None
    eps: float = 0.0


@dataclass(frozen=True)
class Look:
    """What one pass says of a subspace: the majoriser M of F_eps there, the cost, and F_eps less
    the cost."""

    M: Array
    cost: float
    hidden: float

    @property
    def smoothed(self) -> float:
        """F_eps."""
        return self.cost + self.hidden


class Irls:
    """``V <- k leading eigenvectors of sum_i max(t_i, eps)^(p/2-1) a_i a_i^T``, one pass a step.

    With ``phi(t) = t^(p/2)`` for t >= eps and its tangent at eps below, phi is concave and
    increasing, so the step never increases ``F_eps = sum phi(t_i)``; phi also falls with eps,
    so lowering eps on the way keeps F_eps falling. eps starts at a quarter of the squared
    p-mean residual, and falls once a step promises less than the smoothing hides: rows that happen
    to fit a subspace on the way exactly do not pin it, and rows that fit the optimum are found.

    A step lowers F_eps by at least ``p/2 <M, Q_old - Q_new>`` (the majoriser's decrease), its
    `promise`, which is known before the new subspace is evaluated.

    The steps converge linearly, slowly where k is close to d. Once they are small the next point
    is extrapolated from the last few (`Anderson`); where the cost rises there, which its pass
    shows, the step's own end takes its place.

    Parameters
    ----------
    rows : Rows
        Their precision says which eps is the smallest, and how their Grams are rounded; in float32
        eps falls in haste.
    start : Frame
    p : float
        1 <= p < 2.
    tol : float
        Converged once a step promises less than this share of F_eps, and what smoothing hides
        of the cost is below a tenth of that. Where rounding of the eigenvalues could hide as much,
        the last step must not have brought more either.
    t : ndarray, shape (n,), optional
        Squared residuals of the start, if they are known: saves their pass.
    eps : float, optional
        First eps, where the start is the end of another descent.
    tick : callable, optional
        Told after every step.
    """

    def __init__(
        self,
        rows: Rows,
        start: Frame,
        p: float,
        *,
        tol: float,
        t: Array | None = None,
        eps: float | None = None,
        tick: Tick | None = None,
    ) -> None:
        self.rows, self.p, self.tol, self.tick = rows, p, tol, tick
        self.rounding = ROUNDING[rows.dtype]
        self.cool, self.fall = (COOL, FALL) if rows.dtype == np.float64 else HASTE
        self.frame = self.best = start
        self.best_cost = np.inf
        self.history: list[float] = []
        self.n_iter = 0
        self.converged = False
        self.promise = np.inf
        self.anderson = Anderson(MEMORY)
        self.plain: Frame | None = None  # where the last step led, if it was extrapolated
        self.N: Array | None = None
        Y2 = rows.squared_norms()
        alive, total = numbers(np.count_nonzero(Y2), Y2.sum())
        n = max(1, int(alive))
        self.lowest = FLOOR[rows.dtype] * total / n
        t = rows.quadratic_form(start.W) if t is None else t
        mean = (lp_cost(t, p) / n) ** (2.0 / p)
        self.eps = max(0.25 * mean if eps is None else eps, self.lowest)
        M = rows.weighted_gram(np.maximum(t, self.eps) ** (p / 2.0 - 1.0))
        self.last = self._measured(t, M)
        self.looked: Look | None = self.last  # None: not yet where the last step led
        self._record()

    def run(self, max_iter: int) -> Run:
        """Step until converged, or `max_iter` steps in all."""
        while not self.converged and self.n_iter < max_iter:
            self.step()
        return Run(
            self.frame,
            self.best,
            self.best_cost,
            tuple(self.history),
            self.n_iter,
            self.converged,
            self.N,
            self.eps,
        )

    def step(self) -> None:
        """Move to the majoriser's minimiser."""
        at = self.looked or self._advance()
        k, W = self.frame.V.shape[1], self.frame.W
        lam, U = eigen(at.M)
        before = float(np.einsum("ij,ij->", W, at.M @ W))
        drop = 0.5 * self.p * (before - float(lam[: lam.size - k].sum()))
        self.promise = drop / at.smoothed
        self.converged = self._settled(at, float(lam[-1]))
        x, self.frame = self.frame, Frame.leading(U, k)
        if not self.converged and self.promise < NEAR:
            self.plain = self.frame
            self.frame = self.anderson.extrapolate(x, self.frame)
        self.n_iter += 1
        self.N, self.looked = at.M, None
        # M, (d, d), is not kept twice.
        self.last = Look(np.empty((0, 0)), at.cost, at.hidden)
        if self.tick is not None:
            self.tick(f"cost {self.best_cost:.6g}")

    def _settled(self, at: Look, top: float) -> bool:
        """Whether the step from here is sure to bring less than `tol`; `top` is M's norm."""
        smooth = self.eps > self.lowest and at.hidden > 0.1 * self.tol * at.smoothed
        # Rows that fit weigh so much that the eigenvalues below theirs, and the promise, are
        # rounding: then the last fall decides.
        blur = self.rounding * top / at.smoothed
        sure = blur <= 0.1 * self.tol or self.gain <= max(self.tol, NOISE) * at.smoothed
        return self.promise <= max(self.tol, blur) and sure and not smooth

    def _advance(self) -> Look:
        """Look where the last step led, with a smaller eps once the smoothing hides more than steps
        promise; an extrapolation that raised F_eps is taken back."""
        before, hidden = self.last.smoothed, self.last.hidden / self.last.smoothed
        if self.promise <= self.cool * hidden or hidden == 0.0:
            self.eps = max(self.fall * self.eps, self.lowest)
            if hidden > 0.0:
                self.anderson.forget()
        at = self._look()
        plain, self.plain = self.plain, None
        if at.smoothed > before and plain is not None and plain is not self.frame:
            self.anderson.forget()
            self.frame = plain
            at = self._look()
        self.last = self.looked = at
        self._record()
        return at

    def _look(self) -> Look:
        """One pass: residuals where we are, and the majoriser there."""
        return self._measured(*self.rows.reweighted_gram(self.frame.W, floored(self.eps, self.p)))

    def _measured(self, t: Array, M: Array) -> Look:
        """F_eps less the cost is, row by row, how far the tangent at eps lies above t^(p/2)."""
        eps, p = self.eps, self.p
        low = t[t < eps]
        tangent = (p / 2.0) * eps ** (p / 2.0 - 1.0) * low + (1.0 - p / 2.0) * eps ** (p / 2.0)
        cost, above, below = numbers(lp_sum(t, p), tangent.sum(), lp_sum(low, p))
        return Look(M, cost, above - below)

    def _record(self) -> None:
        self.gain = self.best_cost - self.last.cost
        if self.gain > 0.0:
            self.best, self.best_cost = self.frame, self.last.cost
        self.history.append(self.best_cost)


def floored(eps: float, p: float) -> Rule:
    """The weight rule ``max(t, eps)^(p/2-1)``."""

    def rule(t: Array, lo: int, hi: int) -> Array:
        w: Array = np.maximum(t, eps) ** (p / 2.0 - 1.0)
        return w

    return rule


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
        assert self._origin is not None  # or there would be no coordinates
        return Frame.spanned_by(self._origin.V + self._origin.W @ X)

    def _coordinates(self, x: Frame) -> Array | None:
        if self._origin is None:
            return None
        try:
            X = np.linalg.solve((self._origin.V.T @ x.V).T, (self._origin.W.T @ x.V).T).T
        except np.linalg.LinAlgError:  # a right angle
            return None
        # A NaN or an infinity from a nearly right angle fails this too.
        return np.asarray(X) if np.linalg.norm(X) <= CHART else None
