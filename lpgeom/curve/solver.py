"""One of several ranks: what the ranks share, and a subspace of each from its neighbours'."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lpgeom.geometry.grassmann import Frame, complement
from lpgeom.geometry.lewis import LewisWeights, a_priori_cost, guarantee
from lpgeom.geometry.spectrum import LARGE, Spectrum, eigen
from lpgeom.progress import Progress
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.blocks import BlockRows
from lpgeom.rows.door import Problem
from lpgeom.subspace.assemble import Candidate, Solution
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.irls import Irls, Run
from lpgeom.subspace.sampling import Sampler
from lpgeom.subspace.scale import centred
from lpgeom.subspace.search import follow, leading, robust_weights, typical
from lpgeom.subspace.solve import FLOOR, METHODS, Solver, Starts
from lpgeom.subspace.svd_curve import divisors, tails

ROBUST = 1.05
"""A robust start is followed unless it costs more than the usual ones by this factor."""

SMOOTHED = 1e-3
"""A descent from neighbours begins by smoothing squared residuals below this share of the squared
p-mean."""


@dataclass(frozen=True)
class RankOptions:
    """What the descents of every rank are told."""

    method: str
    seed: int
    max_iter: int
    tol: float


@dataclass(frozen=True)
class RankEnd:
    """Where the search for one rank ended, in the scale of its own problem."""

    k: int
    problem: Problem[Rows]
    found: Candidate
    svd_cost: float
    promise: float
    passes: float

    def solution(self, span: Array | None) -> Solution:
        """The same as a solution, in the space that `span` leads to."""
        return Solution(self.found, self.svd_cost, None, self.promise).lifted(span)


class Shared:
    """What is the same for every rank: spectra, Lewis weights, and what both subspaces cost."""

    def __init__(
        self,
        problem: Problem[Rows],
        pca: Spectrum,
        ks: list[int],
        options: RankOptions,
        bar: Progress,
    ) -> None:
        self.problem, self.pca, self.options, self.bar = problem, pca, options, bar
        self.p = problem.p
        self.lewis: LewisWeights | None = None
        self.source: Sampler | None = None
        self.eigvals = np.zeros(0)
        self._U = pca.U
        n = problem.rows.shape[0]
        spectra = np.maximum(pca.eigvals, 0.0)
        self._svd = CostsByRank.of(problem.rows, pca.U, spectra / n, ks, self.p)
        self._own = self._svd
        if self.p != 2.0:
            middle = RankSolver(self, ks[len(ks) // 2])
            t = middle.svd.t
            lewis, self.eigvals, frame = middle.lewis(t)
            self.source = middle.source
            # In the scale of that rank: M is in squared units of the rows.
            factor = problem.unit / middle.problem.unit
            self.lewis = replace(lewis, M=lewis.M / factor**2)
            self.eigvals = self.eigvals / factor**2
            self._U = np.concatenate([frame.W, frame.V], axis=1)
            means = ((self._U.T @ pca.U) ** 2) @ spectra / n
            self._own = CostsByRank.of(problem.rows, self._U, means, ks, self.p)
        self._robust: list[tuple[str, Array, CostsByRank]] = []
        n, d = problem.rows.shape
        if self.p < 2.0 and n * d < LARGE and isinstance(problem.rows, BlockRows):
            assert self.lewis is not None
            tau = self.lewis.weights ** (2.0 / self.p)
            for name, w in robust_weights(problem.rows, tau).items():
                U = eigen(problem.rows.weighted_gram(w))[1]
                means = ((U.T @ pca.U) ** 2) @ spectra / n
                self._robust.append((name, U, CostsByRank.of(problem.rows, U, means, ks, self.p)))

    def svd_cost(self, k: int, factor: float) -> float:
        """Cost of the SVD's subspace of rank k, rows times `factor`."""
        return self._svd.at(k, factor)

    def lewis_cost(self, k: int, factor: float) -> float:
        return self._own.at(k, factor)

    def robust(self, k: int, below: float) -> Iterator[tuple[str, Frame]]:
        """Subspaces of Grams in which long rows count less, where they cost hardly more."""
        for name, U, curve in self._robust:
            if curve.at(k, 1.0) < ROBUST * below:
                yield name, Frame.leading(U, k)

    def lewis_frame(self, k: int) -> Frame:
        return Frame.leading(self._U, k)


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
        return float(self.lost[k] * (self.root[k] * factor) ** self.p)


class RankSolver(Solver):
    """One rank, with what the ranks have in common."""

    def __init__(self, shared: Shared, k: int) -> None:
        self.shared = shared
        self.problem, pca = centred(shared.problem, shared.pca, k)
        o = shared.options
        super().__init__(
            self.problem.rows, pca, k, shared.p,
            seed=o.seed, max_iter=o.max_iter, tol=o.tol, bar=shared.bar,
        )  # fmt: skip
        if shared.source is not None:
            self.source = shared.source
        self.factor = shared.problem.unit / self.problem.unit
        self.svd_cost = shared.svd_cost(k, self.factor)

    def plain(self, svd: Candidate) -> Candidate:
        """The SVD of one rank among many stays that of the shared spectrum."""
        return self.in_double(svd)

    def own(self) -> Candidate:
        """The Lewis subspace."""
        return self.evaluate("lewis", self.shared.lewis_frame(self.k))

    def end(self, low: RankEnd | None, high: RankEnd | None, *, anchor: bool) -> RankEnd:
        """The best subspace of this rank; `low` and `high` are ends of a smaller and a larger."""
        before = self.rows.n_passes
        method = METHODS[self.shared.options.method]
        if self.p == 2.0:
            found = self.svd
        elif not method.descends:
            assert self.shared.lewis is not None
            starts = Starts(self.shared.lewis_frame(self.k), self.shared.lewis)
            found = min(method.candidates(self, starts), key=lambda c: c.cost)
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
                    found = min(found, self._anchored(True), key=lambda c: c.cost)
        return self.settled(found, before)

    def _without_long_rows(self, found: Candidate) -> Candidate:
        """The best end of descents from robust starts as well."""
        usual = min(self.svd_cost, self.shared.lewis_cost(self.k, self.factor))
        for name, frame in self.shared.robust(self.k, usual):
            found = self._cheaper(found, name, frame, typical(self.rows, frame))
        return found

    def _cheaper(self, best: Candidate, name: str, start: Frame, eps: float) -> Candidate:
        """The end of a descent from `start` if it is cheaper than `best`, else that."""

        def descent(start: Frame, tol: float, eps: float | None) -> Irls:
            return self._irls(self.rows, start, None, tol=tol, eps=eps)

        run, _ = follow(descent, start, eps, best.frame, best.cost, self.tol, self.max_iter)
        if run is None or run.cost >= best.cost * (1.0 - 1e-9):
            return best
        return self._ended(name, run)

    def _ended(self, name: str, run: Run) -> Candidate:
        found = self._settle(f"irls from {name}", run)
        return found.after(list(run.history), run.n_iter, run)

    def settled(self, found: Candidate, before: float) -> RankEnd:
        """With what is promised, and never dearer than the SVD."""
        method, promise = METHODS[self.shared.options.method], 1.0
        svd_cost = self.svd_cost
        if method.cheapest and found.name != "svd":
            # Figures and eigenvectors from float32 decide nothing close.
            if found.cost > svd_cost * (1.0 - 1e-5):
                svd = super().plain(self.svd)
                svd_cost = svd.cost
                found = min(found, svd, key=lambda c: c.cost)
        elif found.name == "svd":
            svd_cost = found.cost
        lewis = self.shared.lewis
        if lewis is not None:
            promise = guarantee(lewis)
            lam = self.shared.eigvals * self.factor**2
            scaled = replace(lewis, M=lewis.M * self.factor**2)
            if found.cost > a_priori_cost(scaled, lam, lam.size - self.k):
                own = self.in_double(self.own())
                if found.cost > own.cost:
                    if method.cheapest:
                        found = own
                    else:
                        promise = math.inf
        return RankEnd(self.k, self.problem, found, svd_cost, promise, self.rows.n_passes - before)

    def _anchored(self, searching: bool) -> Candidate:
        """As `Solver.solve` finds it."""
        svd, own = self.svd, self.own()
        if searching and self.large:
            candidates = self._sampled(svd, self.shared.lewis_frame(self.k))
        else:
            candidates = [self._descend(svd), self._descend(own)]
            if searching:
                assert self.shared.lewis is not None
                best = min(candidates, key=lambda c: c.cost)
                candidates += self._explored(best, self.shared.lewis)
        return min(candidates, key=lambda c: c.cost)

    def _residuals(self, low: RankEnd, high: RankEnd) -> Array:
        """Squared residuals between those of two other ranks; in any scale."""
        share = (self.k - low.k) / (high.k - low.k)
        least = FLOOR * float(self.rows.squared_norms().max())
        t: Array = np.maximum(low.found.t, least) ** (1.0 - share)
        return t * np.maximum(high.found.t, least) ** share

    def _interpolated(self, low: RankEnd, high: RankEnd) -> Frame:
        """Where weights of residuals between those of two other ranks lead (p > 2)."""
        t = self._residuals(low, high)
        return leading(self.rows, (t / float(t.max())) ** (self.p / 2.0 - 1.0), self.k)

    def _warm(self, name: str, t: Array) -> Candidate:
        """Descent from the reweighting by residuals t of other subspaces."""
        view = self.rows.single() if self.large else self.rows
        start, eps = self._reweighted(view, t)
        irls = self._irls(view, start, None, eps=eps)
        best = min(self.svd_cost, self.shared.lewis_cost(self.k, self.factor))
        if irls.best_cost > best * (1.0 + 1e-5):
            other = self.svd if best == self.svd_cost else self.own()
            return self._descend(other)
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
        improved = self.settled(found, before)
        return replace(improved, passes=improved.passes + end.passes)

    def _damped(self, low: RankEnd | None, high: RankEnd | None) -> Candidate:
        """Descent for p > 2 from the cheapest start known."""
        candidates = [self.svd, self.own()]
        if low is not None and high is not None:
            starts = [*self._near(low, high), ("the ranks around", self._interpolated(low, high))]
            candidates += [self.in_double(self.evaluate(*start)) for start in starts]
            candidates = [min(candidates, key=lambda c: c.cost)]
        return min((self._descend(c) for c in candidates), key=lambda c: c.cost)

    def _near(self, low: RankEnd, high: RankEnd) -> Iterator[tuple[str, Frame]]:
        """A smaller subspace with the leading directions outside it, and the leading directions
        inside a larger one."""
        yield f"rank {low.k}", self._with_more(low.found.frame)
        V, W = high.found.frame.V, high.found.frame.W
        inside = self._ordered(V)
        less = V.shape[1] - self.k
        yield (
            f"rank {high.k}",
            Frame(
                np.ascontiguousarray(inside[:, less:]),
                np.concatenate([inside[:, :less], W], axis=1),
            ),
        )

    def _with_more(self, frame: Frame) -> Frame:
        V = frame.V
        rest = self._ordered(frame.W if frame.W.shape[1] else complement(V))
        left = V.shape[0] - self.k
        return Frame(
            np.concatenate([V, rest[:, left:]], axis=1), np.ascontiguousarray(rest[:, :left])
        )

    def _ordered(self, B: Array) -> Array:
        """A basis of the span of B along the axes of the rows inside it, the shortest first."""
        C = self.pca.U.T @ B
        lam = np.maximum(self.pca.eigvals, 0.0)
        return np.asarray(B @ eigen(C.T @ (lam[:, None] * C))[1])

    def extended(self, low: RankEnd) -> Candidate:
        """A subspace around that of a smaller rank."""
        frame = self._with_more(low.found.frame)
        t = self.rows.quadratic_form(frame.W)
        cost = lp_cost(t, self.p)
        name = f"around rank {low.k}: {low.found.name}"
        return Candidate(name, frame, t, cost, True, (cost,), low.found.n_iter, low.found.converged)
