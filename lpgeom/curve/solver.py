"""One of several ranks: what the ranks share, and a subspace of each from its neighbours'."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from lpgeom.geometry.grassmann import Frame, complement
from lpgeom.geometry.lewis import LewisWeights
from lpgeom.geometry.spectrum import LARGE, Spectrum, eigen
from lpgeom.progress import Progress
from lpgeom.records.base import to_cost_units
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.blocks import BlockRows
from lpgeom.rows.door import Problem
from lpgeom.subspace.assemble import Candidate, Solution
from lpgeom.subspace.cost import cheapest, lp_cost
from lpgeom.subspace.irls import FLOOR
from lpgeom.subspace.sampling import Sampler
from lpgeom.subspace.scale import centred
from lpgeom.subspace.search import follow, leading, robust_weights, typical
from lpgeom.subspace.solve import METHODS, Solver, Starts
from lpgeom.subspace.svd_curve import divisors, tails

ROBUST = 1.05
"""A robust start is followed unless it costs more than the usual ones by this factor."""

SMOOTHED = 1e-3
"""A descent from neighbours begins by smoothing squared residuals below this share of the squared
p-mean."""


@dataclass(frozen=True)
class RankEnd:
    """Where the search for one rank ended, in the scale of its own problem."""

    k: int
    problem: Problem[Rows]
    solution: Solution
    passes: float

    @property
    def found(self) -> Candidate:
        """The subspace."""
        return self.solution.found

    def holding(self, found: Candidate, **more: Any) -> RankEnd:
        """The same with another subspace, or another view of it."""
        return replace(self, solution=replace(self.solution, found=found, **more))


class Shared:
    """What is the same for every rank: spectra, Lewis weights, and what both subspaces cost."""

    def __init__(
        self,
        problem: Problem[Rows],
        pca: Spectrum,
        ks: list[int],
        method: str,
        bar: Progress,
        **options: Any,
    ) -> None:
        self.problem, self.pca, self.method, self.bar = problem, pca, METHODS[method], bar
        self.options, self.p = options, problem.p
        self.lewis: LewisWeights | None = None
        self.source: Sampler | None = None
        self.eigvals = np.zeros(0)
        self.U = pca.U
        n, d = problem.rows.shape
        spectra = np.maximum(pca.eigvals, 0.0)

        def costs(U: Array) -> CostsByRank:
            means = ((U.T @ pca.U) ** 2) @ spectra / n
            return CostsByRank.of(problem.rows, U, means, ks, self.p)

        self.svd = self.own = costs(pca.U)
        if self.p != 2.0:
            middle = RankSolver(self, ks[len(ks) // 2])
            lewis, eigvals, frame = middle.lewis(middle.svd.t)
            self.source = middle.source
            # In the scale of that rank: M is in squared units of the rows.
            self.lewis = lewis.scaled(1.0 / middle.factor)
            self.eigvals = eigvals / middle.factor**2
            self.U = np.concatenate([frame.W, frame.V], axis=1)
            self.own = costs(self.U)
        self._robust: list[tuple[str, Array, CostsByRank]] = []
        if self.p < 2.0 and n * d < LARGE and isinstance(problem.rows, BlockRows):
            assert self.lewis is not None
            tau = self.lewis.weights ** (2.0 / self.p)
            for name, w in robust_weights(problem.rows, tau).items():
                U = eigen(problem.rows.weighted_gram(w))[1]
                self._robust.append((name, U, costs(U)))

    def robust(self, k: int, below: float) -> Iterator[tuple[str, Frame]]:
        """Subspaces of Grams in which long rows count less, where they cost hardly more."""
        for name, U, curve in self._robust:
            if curve.at(k, 1.0) < ROBUST * below:
                yield name, Frame.leading(U, k)


@dataclass(frozen=True)
class CostsByRank:
    """Costs of the leading columns of an orthogonal U, as ``lost * root^p``."""

    lost: dict[int, float]
    root: dict[int, float]
    p: float

    @staticmethod
    def of(rows: Rows, U: Array, means: Array, ks: list[int], p: float) -> CostsByRank:
        """One pass in memory, one for each rank elsewhere. `means`: of ``(a U)_j^2`` over rows."""
        d = U.shape[1]
        mean = divisors(np.cumsum(np.maximum(means, 0.0)))
        root = {k: float(np.sqrt(mean[d - k - 1])) for k in ks}
        if isinstance(rows, BlockRows):
            found = tails(rows, U, 1.0 / mean, p)
            return CostsByRank({k: float(found[d - k - 1]) for k in ks}, root, p)
        lost = {}
        for k in ks:
            t = rows.quadratic_form(U[:, : d - k])
            lost[k] = lp_cost(t / root[k] ** 2, p)
        return CostsByRank(lost, root, p)

    def at(self, k: int, factor: float) -> float:
        return to_cost_units(self.lost[k], self.root[k] * factor, self.p)


class RankSolver(Solver):
    """One rank, with what the ranks have in common."""

    def __init__(self, shared: Shared, k: int) -> None:
        self.shared = shared
        self.problem, pca = centred(shared.problem, shared.pca, k)
        super().__init__(self.problem.rows, pca, k, shared.p, bar=shared.bar, **shared.options)
        if shared.source is not None:
            self.source = shared.source
        self.factor = shared.problem.unit / self.problem.unit

    @cached_property
    def svd_cost(self) -> float:
        """From what the ranks have in common."""
        return self.shared.svd.at(self.k, self.factor)

    @cached_property
    def usual(self) -> float:
        """What the cheaper of the SVD's subspace and the Lewis one costs."""
        return min(self.svd_cost, self.shared.own.at(self.k, self.factor))

    @cached_property
    def starts(self) -> Starts:
        """The Lewis subspace of this rank, and its weights in this rank's scale."""
        lewis = self.shared.lewis
        assert lewis is not None
        return Starts(Frame.leading(self.shared.U, self.k), lewis.scaled(self.factor))

    def plain(self, svd: Candidate) -> Candidate:
        """The SVD of one rank among many stays that of the shared spectrum."""
        return self.in_double(svd)

    def own(self) -> Candidate:
        """The Lewis subspace."""
        return self.evaluate("lewis", self.starts.ellipsoid)

    def end(self, low: RankEnd | None, high: RankEnd | None, *, anchor: bool) -> RankEnd:
        """The best subspace of this rank; `low` and `high` are ends of a smaller and a larger."""
        before = self.rows.n_passes
        method = self.shared.method
        if self.p == 2.0:
            found = self.svd
        elif not method.descends:
            found = cheapest(method.candidates(self, self.starts))
        elif self.p > 2.0:
            found = self._damped(low, high)
        elif low is None or high is None or (anchor and not self.large):
            found = self._anchored(anchor and method.searches)
        else:
            self.bar.stage(f"k = {self.k}")
            found = self._warm("the ranks around", self._residuals(low, high))
            if not self.large and method.searches:
                found = self._without_long_rows(found)
                if not found.converged:
                    found = cheapest([found, self._anchored(True)])
        return self._end(found, before)

    def _end(self, found: Candidate, before: float) -> RankEnd:
        if self.p == 2.0:
            solution = Solution(found, found.cost, None, 1.0)
        else:
            lam = self.shared.eigvals * self.factor**2
            solution = self.settled(found, self.shared.method, self.starts, lam)
        return RankEnd(self.k, self.problem, solution, self.rows.n_passes - before)

    def _without_long_rows(self, found: Candidate) -> Candidate:
        """The best end of descents from robust starts as well."""
        for name, frame in self.shared.robust(self.k, self.usual):
            found = self._cheaper(found, name, frame, typical(self.rows, frame))
        return found

    def _cheaper(self, best: Candidate, name: str, start: Frame, eps: float) -> Candidate:
        """The end of a descent from `start` if it is cheaper than `best`, else that."""
        descent = partial(self._irls, self.rows)
        run, _ = follow(descent, start, eps, best.frame, best.cost, self.tol, self.max_iter)
        if run is None or run.cost >= best.cost * (1.0 - 1e-9):
            return best
        return self._ended(name, run)

    def _anchored(self, searching: bool) -> Candidate:
        """As `Solver.solve` finds it."""
        found = self.searched(self.starts) if searching else self.descents(self.starts)
        return cheapest(found)

    def _residuals(self, low: RankEnd, high: RankEnd) -> Array:
        """Squared residuals between those of two other ranks; in any scale."""
        share = (self.k - low.k) / (high.k - low.k)
        least = FLOOR[self.rows.dtype] * float(self.rows.squared_norms().max())
        t: Array = np.maximum(low.found.t, least) ** (1.0 - share)
        return t * np.maximum(high.found.t, least) ** share

    def _warm(self, name: str, t: Array) -> Candidate:
        """Descent from the reweighting by residuals t of other subspaces."""
        view = self.rows.single() if self.large else self.rows
        start, eps = self._reweighted(view, t)
        irls = self._irls(view, start, eps=eps)
        if irls.best_cost > self.usual * (1.0 + 1e-5):
            return self._descend(self.svd if self.usual == self.svd_cost else self.own())
        if self.large:
            unknown = Candidate(name, start, t, math.inf, False, ())
            return self._descend(unknown, irls)
        return self._ended(name, irls.run(self.max_iter))

    def _reweighted(self, view: Rows, t: Array) -> tuple[Frame, float]:
        """Where weights of the smoothed residuals t lead, and the smoothing."""
        mean = (lp_cost(t, self.p) / self.rows.shape[0]) ** (2.0 / self.p)
        eps = max(SMOOTHED * mean, 1e-300)
        return leading(view, np.maximum(t, eps) ** (self.p / 2.0 - 1.0), self.k), eps

    def improved(self, end: RankEnd, other: RankEnd) -> RankEnd | None:
        """A cheaper subspace from the residuals of another rank's; None if it leads to none."""
        before = self.rows.n_passes
        start = self._reweighted(self.rows, other.found.t)
        found = self._cheaper(end.found, f"rank {other.k}", *start)
        if found is end.found:
            return None
        improved = self._end(found, before)
        return replace(improved, passes=improved.passes + end.passes)

    def _damped(self, low: RankEnd | None, high: RankEnd | None) -> Candidate:
        """Descent for p > 2 from the cheapest start known."""
        candidates = [self.svd, self.own()]
        if low is not None and high is not None:
            candidates += [self.in_double(self.evaluate(*s)) for s in self._near(low, high)]
            candidates = [cheapest(candidates)]
        return cheapest([self._descend(c) for c in candidates])

    def _near(self, low: RankEnd, high: RankEnd) -> Iterator[tuple[str, Frame]]:
        """A smaller subspace with the leading directions outside it, the leading directions inside
        a larger one, and a reweighting by residuals between theirs."""
        yield f"rank {low.k}", self._with_more(low.found.frame)
        frame = high.found.frame
        U = np.concatenate([frame.W, self._ordered(frame.V)], axis=1)
        yield f"rank {high.k}", Frame.leading(U, self.k)
        t = self._residuals(low, high)
        w = (t / float(t.max())) ** (self.p / 2.0 - 1.0)
        yield "the ranks around", leading(self.rows, w, self.k)

    def _with_more(self, frame: Frame) -> Frame:
        rest = self._ordered(frame.W if frame.W.shape[1] else complement(frame.V))
        return Frame.leading(np.concatenate([rest, frame.V], axis=1), self.k)

    def _ordered(self, B: Array) -> Array:
        """A basis of the span of B along the axes of the rows inside it, the shortest first."""
        C = self.pca.U.T @ B
        lam = np.maximum(self.pca.eigvals, 0.0)
        return np.asarray(B @ eigen(C.T @ (lam[:, None] * C))[1])

    def extended(self, low: RankEnd) -> Candidate:
        """A subspace around that of a smaller rank."""
        frame = self._with_more(low.found.frame)
        found = self.evaluate(f"around rank {low.k}: {low.found.name}", frame, double=True)
        return replace(found, n_iter=low.found.n_iter, converged=low.found.converged)
