"""Rows split among subspaces: each row to the nearest, each subspace refitted to its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import EPS, eigen
from lpgeom.groups.base import FactoredRows, Labels, each
from lpgeom.rows.base import Array
from lpgeom.rows.blocks import BlockRows
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.damped import damped
from lpgeom.subspace.irls import COOL, FALL, FLOOR

Tick = Callable[[str], None]

DAMPED = 2
"""Steps of one refit for p > 2."""

STILL = 5
"""Rounds without a change of labels after which the solves of each cluster can take over."""

FEW, FULL = 4, 5
"""With many subspaces a row is compared with those few that were nearest in the last full round,
which is every FULL-th one."""

NEIGHBOURS = 2
"""Rows that a subspace is drawn through at first, in multiples of k."""


@dataclass(frozen=True)
class Clustering:
    """Subspaces, and the rows of each.

    Attributes
    ----------
    frames : tuple of Frame
    labels : ndarray of int, shape (n,)
        The nearest subspace of each row; the first of equally near ones.
    t : ndarray, shape (n,)
        Squared distances to it, with the row factors in them.
    cost : float
        ``sum t^(p/2)``, in the precision of the rows.
    history : tuple of float
        The least cost so far after each round.
    n_iter : int
        Rounds.
    converged : bool
    """

    frames: tuple[Frame, ...]
    labels: Labels
    t: Array
    cost: float
    history: tuple[float, ...] = ()
    n_iter: int = 0
    converged: bool = False


class Points(FactoredRows):
    """Rows to be split among subspaces of rank k.

    Every number here is made for one row, or by one worker for one subspace: the same for any
    number of threads, so that no label depends on it.

    Parameters
    ----------
    rows, factors, p
        The same as in `FactoredRows`.
    k : int
    rng : Generator
        For subspaces that have lost all their rows.
    """

    def __init__(
        self, rows: BlockRows, factors: Array | None, k: int, p: float, rng: np.random.Generator
    ) -> None:
        super().__init__(rows, factors, p)
        self.k, self.rng = k, rng
        self.norms = self.scaled(self.lengths)
        self.alive = max(1, int(np.count_nonzero(self.norms)))
        self.lowest = FLOOR[rows.dtype] * float(self.norms.sum()) / self.alive

    def nearest(
        self, frames: Sequence[Frame], among: NDArray[np.bool_] | None = None
    ) -> tuple[Labels, Array, NDArray[np.bool_] | None]:
        """Which subspace is nearest to each row, and the squared distance, factors in it.

        A pass over all rows for each; or each only with the rows for which `among` (j, n) names it.
        The third result is such a choice, of the `FEW` nearest; None where it would not pay.
        """
        (n, d), j = self.rows.shape, len(frames)
        t = np.full(n, np.inf)
        labels = np.zeros(n, dtype=np.intp)
        if among is not None:
            chosen = [np.flatnonzero(row) for row in among]
            some = each(lambda c: self.squared_distances(frames[c], chosen[c]), j, self.size)
            for c, (index, own) in enumerate(zip(chosen, some, strict=True)):
                closer = own < t[index]
                t[index[closer]] = own[closer]
                labels[index[closer]] = c
            return labels, self.scaled(t), among
        # Not more memory than a part of the rows take.
        kept = np.empty((j, n), np.float32) if 2 * FEW < j <= d // 2 else None
        for c, frame in enumerate(frames):
            own = self.squared_distances(frame)
            closer = own < t
            t[closer] = own[closer]
            labels[closer] = c
            if kept is not None:
                kept[c] = own
        if kept is not None:
            among = np.zeros((j, n), np.bool_)
            np.put_along_axis(among, np.argpartition(kept, FEW - 1, axis=0)[:FEW], True, axis=0)
            among[labels, np.arange(n)] = True  # float32 may not know it
        return labels, self.scaled(t), among

    def refitted(
        self, labels: Labels, j: int, t: Array | None = None, eps: float = 0.0
    ) -> list[Frame | None]:
        """A subspace for the rows of each label; None where there are no rows.

        The leading eigenvectors of ``sum_i max(t_i, eps)^(p/2-1) a_i a_i^T`` (p < 2), or of the
        plain Gram where t is not given.
        """
        power = self.p / 2.0 - 1.0

        def one(c: int) -> Frame | None:
            index = np.flatnonzero(labels == c)
            if index.size == 0:
                return None
            w = None if t is None or power == 0.0 else np.maximum(t[index], eps) ** power
            return self.leading(index, w)

        return each(one, j, self.size)

    def stepped(self, labels: Labels, t: Array, frames: Sequence[Frame]) -> list[Frame | None]:
        """For p > 2: some damped steps of each subspace on its own rows."""

        def one(c: int) -> Frame | None:
            index = np.flatnonzero(labels == c)
            if index.size == 0:
                return None
            own = t[index]
            if not own.any():
                return frames[c]
            with np.errstate(over="ignore", invalid="ignore"):  # inf, until it has come down
                run = damped(self.take(index), frames[c], self.p, max_iter=DAMPED, tol=1e-12, t=own)
            return run.best

        return each(one, len(frames), self.size)

    def shares(self, t: Array) -> Array | None:
        """``t^(p/2)`` over its sum, None if that is 0; relative to the largest, as in all sums of
        powers of what may be far from 1."""
        top = float(t.max(initial=0.0))
        if top == 0.0:
            return None
        share = (t / top) ** (self.p / 2.0)
        return share / share.sum()

    def leading(self, index: Labels, w: Array | None = None) -> Frame:
        """The k leading eigenvectors of ``sum_i w_i a_i a_i^T`` over some rows."""
        return Frame.leading(eigen(self.take(index).weighted_gram(w))[1], self.k)

    def through(self, t: Array, count: int) -> Frame | None:
        """A subspace through `count` rows of nearly one direction, the first drawn by its share
        of the cost at t; None if nothing costs anything."""
        share = self.shares(np.where(self.norms > 0.0, t, 0.0))
        if share is None:
            return None
        first = self.rng.choice(t.size, p=share)
        row = self.rows.take(np.array([first])).weighted_gram()
        x = row[:, [int(np.argmax(np.diag(row)))]]
        x /= np.linalg.norm(x)
        lengths = self.lengths
        cosine = self.rows.quadratic_form(x) / np.where(lengths > 0.0, lengths, 1.0)
        cosine[self.norms == 0.0] = -1.0
        count = min(count, int(np.count_nonzero(self.norms)))
        return self.leading(np.sort(np.argsort(-cosine, kind="stable")[:count]))


def descend(
    points: Points,
    frames: Sequence[Frame],
    *,
    tol: float,
    max_iter: int,
    tick: Tick | None = None,
) -> Clustering:
    """Rounds of nearest subspaces and refits, until a round brings less than `tol` of the cost, or
    no row has moved for some rounds.

    p <= 2: a round never raises ``F_eps = sum_i phi_eps(min_c t_ic)`` (docs/clusters.md): phi_eps,
    ``t^(p/2)`` with its tangent at eps below eps, is increasing, so that the nearest subspace is
    the cheapest one, and concave, so that the reweighted eigenvectors of a cluster lower its part;
    and it falls with eps, which is lowered as in `irls`. p > 2: each refit is a damped descent of
    its cluster. A subspace without rows moves to where the cost is, which raises nothing.
    """
    p = points.p
    frames = list(frames)
    best: Clustering | None = None
    history: list[float] = []
    eps = before = 0.0
    converged = False
    n_iter = still = 0
    looked = 0
    labels: Labels | None = None
    among: NDArray[np.bool_] | None = None
    while True:
        last = labels
        full = among is None or n_iter - looked >= FULL
        labels, t, among = points.nearest(frames, None if full else among)
        looked = n_iter if full else looked
        still = still + 1 if last is not None and np.array_equal(last, labels) else 0
        with np.errstate(over="ignore"):
            cost = lp_cost(t, p)
        if best is None or cost < best.cost:
            best = Clustering(tuple(frames), labels, t, cost)
        history.append(best.cost)
        if tick is not None:
            tick(f"cost {best.cost:.6g}")
        if p < 2.0:
            if n_iter == 0:
                eps = max(0.25 * (cost / points.alive) ** (2.0 / p), points.lowest)
            hidden = _hidden(t, p, eps)
        else:
            hidden = 0.0
        smoothed = cost + hidden
        if n_iter > 0:
            fall = before - smoothed if before < np.inf else np.inf
            smooth = eps > points.lowest and hidden > 0.1 * tol * smoothed
            converged = fall <= max(tol, 8.0 * EPS) * smoothed and not smooth
            converged = converged or still >= STILL
            if converged and not full:
                among, converged = None, False
            if fall <= COOL * hidden or hidden == 0.0:
                eps = max(FALL * eps, points.lowest)
                smoothed = cost + (_hidden(t, p, eps) if p < 2.0 else 0.0)
        if converged or cost == 0.0 or n_iter >= max_iter:
            break
        before = smoothed
        n_iter += 1
        if p <= 2.0:
            new = points.refitted(labels, len(frames), t, eps)
        else:
            new = points.stepped(labels, t, frames)
        for c, frame in enumerate(new):
            if frame is None:
                frame, among = points.through(t, NEIGHBOURS * points.k), None
            if frame is not None:
                frames[c] = frame
    done = converged or best.cost == 0.0
    return replace(best, history=tuple(history), n_iter=n_iter, converged=done)


def _hidden(t: Array, p: float, eps: float) -> float:
    """``F_eps - cost``: how far the tangents at eps lie above ``t^(p/2)``."""
    low = t[t < eps]
    power = p / 2.0
    tangent = power * eps ** (power - 1.0) * low + (1.0 - power) * eps**power
    return float((tangent - low**power).sum())
