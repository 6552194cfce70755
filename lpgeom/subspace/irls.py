"""Majorise and minimise for 1 <= p <= 2 (theory 4): iteratively reweighted eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import EPS, eigen
from lpgeom.rows.base import Array, Rows, Rule
from lpgeom.rows.vectors import numbers
from lpgeom.subspace.anderson import Anderson
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
"""The same for a descent in haste."""

NOISE = 1e-14
"""Falls of a float64 cost below this share of it are rounding."""


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
    start : Frame
    p : float
        1 <= p < 2.
    floor : float
        Smallest eps, in units of the mean squared row norm: where t is all rounding.
    tol : float
        Converged once a step promises less than this share of F_eps, and what smoothing hides
        of the cost is below a tenth of that. Where rounding of the eigenvalues could hide as much,
        the last step must not have brought more either.
    unit : float
        Relative rounding of the rows' Grams.
    t : ndarray, shape (n,), optional
        Squared residuals of the start, if they are known: saves their pass.
    eps : float, optional
        First eps, where the start is the end of another descent.
    haste : bool
        Lower eps faster: fewer steps, and a worse end where rows fit exactly on the way.
    tick : callable, optional
        Told after every step.
    """

    def __init__(
        self,
        rows: Rows,
        start: Frame,
        p: float,
        *,
        floor: float,
        tol: float,
        unit: float = EPS,
        t: Array | None = None,
        eps: float | None = None,
        haste: bool = False,
        tick: Tick | None = None,
    ) -> None:
        self.rows = rows
        self.p = p
        self.tol = tol
        self._unit = unit
        self._cool, self._factor = HASTE if haste else (COOL, FALL)
        self.frame = start
        self.best = start
        self.best_cost = np.inf
        self.history: list[float] = []
        self.n_iter = 0
        self.converged = False
        self.promise = np.inf
        self._hidden = 0.0
        self._tick = tick
        self._N: Array | None = None
        Y2 = rows.squared_norms()
        count, total = numbers(np.count_nonzero(Y2), Y2.sum())
        n_alive = max(1, int(count))
        self._lowest = floor * total / n_alive
        self._power = p / 2.0 - 1.0
        self._t = rows.quadratic_form(start.W) if t is None else t
        mean = (lp_cost(self._t, p) / n_alive) ** (2.0 / p)
        self._eps = max(0.25 * mean if eps is None else eps, self._lowest)
        self._M: Array | None = rows.weighted_gram(np.maximum(self._t, self._eps) ** self._power)
        self._anderson = Anderson(MEMORY)
        self._plain: Frame | None = None
        self._measure()
        self._record()

    def step(self) -> None:
        """Move to the majoriser's minimiser."""
        if self._M is None:
            self._look()
        M, p, eps = self._M, self.p, self._eps
        assert M is not None
        k = self.frame.V.shape[1]
        lam, U = eigen(M)
        before = float(np.einsum("ij,ij->", self.frame.W, M @ self.frame.W))
        drop = 0.5 * p * (before - float(lam[: lam.size - k].sum()))
        hidden = self._smoothing
        smoothed = self._cost + hidden
        self.promise = drop / smoothed
        self._hidden = hidden / smoothed
        smooth = eps > self._lowest and hidden > 0.1 * self.tol * smoothed
        # Rows that fit weigh so much that the eigenvalues below theirs, and the promise, are
        # rounding: then the last fall decides.
        blur = self._unit * float(lam[-1]) / smoothed
        sure = blur <= 0.1 * self.tol or self._fall <= max(self.tol, NOISE) * smoothed
        self.converged = self.promise <= max(self.tol, blur) and sure and not smooth
        x, self.frame = self.frame, Frame.leading(U, k)
        if not self.converged and self.promise < NEAR:
            self._plain = self.frame
            self.frame = self._anderson.extrapolate(x, self.frame)
        self.n_iter += 1
        self._N, self._M = M, None
        if self._tick is not None:
            self._tick(f"cost {self.best_cost:.6g}")

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
            self._N,
            self._eps,
        )

    def _measure(self) -> None:
        """The cost where we are, and F_eps - cost: row by row, how far the tangent at eps lies
        above t^(p/2)."""
        t, eps, p = self._t, self._eps, self.p
        low = t[t < eps]
        tangent = (p / 2.0) * eps**self._power * low + (1.0 - p / 2.0) * eps ** (p / 2.0)
        self._cost, above, below = numbers(lp_sum(t, p), tangent.sum(), lp_sum(low, p))
        self._smoothing = above - below

    def _look(self) -> None:
        """One pass: the residuals where we are, and the majoriser there with a smaller eps."""
        before = self._cost + self._smoothing
        if self.promise <= self._cool * self._hidden or self._hidden == 0.0:
            self._eps = max(self._factor * self._eps, self._lowest)
            if self._hidden > 0.0:
                self._anderson.forget()
        rule = _floored(self._eps, self._power)
        self._t, self._M = self.rows.reweighted_gram(self.frame.W, rule)
        self._measure()
        plain, self._plain = self._plain, None
        rose = self._cost + self._smoothing > before
        if rose and plain is not None and plain is not self.frame:
            self._anderson.forget()
            self.frame = plain
            self._t, self._M = self.rows.reweighted_gram(self.frame.W, rule)
            self._measure()
        self._record()

    def _record(self) -> None:
        self._fall = self.best_cost - self._cost
        if self._cost < self.best_cost:
            self.best, self.best_cost = self.frame, self._cost
        self.history.append(self.best_cost)


def _floored(eps: float, power: float) -> Rule:
    """The weight rule ``max(t, eps)^power``."""

    def rule(t: Array, lo: int, hi: int) -> Array:
        w: Array = np.maximum(t, eps) ** power
        return w

    return rule
