"""From rows to a subspace: the candidates, the descents, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.lewis import (
    LewisWeights,
    a_priori_cost,
    guarantee,
    lewis_from_metric,
    lewis_iteration,
)
from lpgeom.geometry.spectrum import HEALTHY, LARGE, Spectrum, spectrum
from lpgeom.progress import Progress
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.vectors import local
from lpgeom.subspace.assemble import Candidate, Solution
from lpgeom.subspace.cost import TIE, cheapest, lp_cost
from lpgeom.subspace.damped import continued
from lpgeom.subspace.irls import FLOOR, Irls, Run
from lpgeom.subspace.sampling import Sampler, sampler
from lpgeom.subspace.search import THROUGH, affordable, explored, through_rows

SINGLE_TOL = 3e-7
"""Relative changes of the cost below this are not told apart by float32 passes."""

TRAIN, TEST = 6, 3
"""Rows of the two samples, in multiples of d: one to search on, one to compare on."""

BENIGN = 0.03
"""Where the first reweighting of the SVD promises less than this share of the cost, and the Lewis
subspace is not this much cheaper, the descent starts from the SVD: what a sample could teach is
below its noise."""


@dataclass(frozen=True)
class Starts:
    """What a method begins with beside `Solver.svd`: the Lewis subspace, and its weights."""

    ellipsoid: Frame
    lewis: LewisWeights


@dataclass(frozen=True)
class Method:
    """A way from the starts to subspaces, of which the cheapest is the answer.

    Attributes
    ----------
    candidates : callable
        ``candidates(solver, starts)`` is a list of `Candidate`. ``solver.evaluate(name, frame)``
        makes one of a `Frame`; `solver` has the rows, k, p, tol, max_iter, rng and
        the SVD's candidate.
    cheapest : bool
        Whether the SVD's subspace and the Lewis one stand by: then the result never costs more than
        the SVD's, nor more than the a-priori ratio allows, whatever the candidates are. Where not,
        it is the candidate, and the promise may be lost.
    descends : bool
        Whether it is descents: for many ranks they then begin where those of other ranks ended.
    searches : bool
        Whether more starts than the two are tried.
    """

    candidates: Callable[[Solver, Starts], list[Candidate]]
    cheapest: bool = True
    descends: bool = False
    searches: bool = False


@dataclass(eq=False)
class Solver:
    """Best of the SVD, the Lewis subspace, and descents: costs that decide are float64's.

    Parameters
    ----------
    rows : Rows
        Their rank exceeds k.
    pca : Spectrum
        The spectrum of the plain Gram of the rows.
    k, p, seed, max_iter, tol
        See `approx_subspace`.
    bar : Progress
    """

    rows: Rows
    pca: Spectrum
    k: int
    p: float
    _: KW_ONLY
    seed: int
    max_iter: int = 200
    tol: float = 1e-5
    bar: Progress = field(default_factory=lambda: Progress(False))

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.source: Sampler | None = None
        (n, d), pca = self.rows.shape, self.pca
        # Samples and float32 need rows to spare, and a Gram that float32 does not make singular.
        healthy = pca.squared and pca.eigvals[0] > HEALTHY * pca.eigvals[-1]
        self.large = healthy and n * d >= LARGE and n >= 2 * (TRAIN + TEST) * d

    def solve(self, method: str) -> Solution:
        """The best candidate of a method, by its name in `METHODS`."""
        if self.p == 2.0:
            return Solution(self.svd, self.svd.cost, None, 1.0)
        lewis, lam, ellipsoid = self.lewis(self.svd.t)
        how, starts = METHODS[method], Starts(ellipsoid, lewis)
        best = cheapest(how.candidates(self, starts), SINGLE_TOL if self.large else TIE)
        return self.settled(best, how, starts, lam)

    def settled(self, best: Candidate, how: Method, starts: Starts, lam: Array) -> Solution:
        """With what is promised, and never dearer than the SVD; lam are the eigenvalues of M."""
        svd_cost, lewis = self.svd_cost, starts.lewis
        # Figures and eigenvectors from float32 decide nothing close.
        if how.cheapest and best.cost > svd_cost * (1.0 - 1e-5):
            svd = Solver.plain(self, self.svd)
            svd_cost = svd.cost
            best = cheapest([svd, best])
        if best.name == "svd":
            svd_cost = best.cost
        # The promise of theory 2 is the Lewis subspace's; another subspace inherits it by costing
        # no more than the theorem's upper bound for that one, or than that one itself.
        promise = guarantee(lewis)
        if best.cost > self.owed(lewis, lam):
            own = self.in_double(self.evaluate("lewis", starts.ellipsoid))
            if best.cost > own.cost and how.cheapest:
                best = own
            elif best.cost > own.cost:
                promise = math.inf
        return Solution(best, svd_cost, lewis, promise)

    @cached_property
    def svd(self) -> Candidate:
        """The SVD's subspace."""
        return self.evaluate("svd", Frame.leading(self.pca.U, self.k))

    @cached_property
    def svd_cost(self) -> float:
        """What that costs."""
        return self.svd.cost

    def owed(self, lewis: LewisWeights, lam: Array) -> float:
        """What the Lewis subspace costs at most (theory 2), from the eigenvalues of M."""
        return a_priori_cost(lewis, lam, lam.size - self.k)

    def lewis(self, t: Array) -> tuple[LewisWeights, Array, Frame]:
        """Lewis weights of all rows, the eigenvalues of M, and the Lewis subspace.

        t are squared residuals of a good subspace, for drawing samples. Uses `pca` up.

        For large A the metric comes from a sample (p < 2) or from float32 passes; weights, M and
        kappa are those of all rows.
        """
        self.bar.stage("Lewis weights")
        p = self.p
        if not self.large:
            steps = int(50 + 10 * p)
            lewis, spec = lewis_iteration(self.rows, p, start=self.pca, tol=1e-2, max_iter=steps)
        elif p < 2.0:
            view = self.rows.single()
            self.source = source = sampler(view, self.pca, t, p, self.rng)
            rough = source.metric(TRAIN * self.rows.shape[1], self.rng)
            lewis, spec = lewis_from_metric(self.rows, p, rough)
        else:
            steps = int(20 + 2 * p)
            view = self.rows.single()
            rough = lewis_iteration(view, p, start=self.pca, tol=0.05, max_iter=steps)[1].whitener()
            lewis, spec = lewis_from_metric(self.rows, p, rough)
        self.pca = replace(self.pca, U=np.empty((0, 0)))  # used up, and as large as any matrix here
        return lewis, spec.eigvals, Frame.leading(spec.U, self.k)

    def _sample(self, multiple: int) -> Rows:
        assert self.source is not None
        return self.source.draw(multiple * self.rows.shape[1], self.rng)

    def descents(self, starts: Starts) -> list[Candidate]:
        """The ends of descents from both subspaces."""
        lewis = self.evaluate("lewis", starts.ellipsoid)
        return [self._descend(self.svd), self._descend(lewis)]

    def searched(self, starts: Starts) -> list[Candidate]:
        """The same, and for p < 2 a search for better local minima."""
        if self.p > 2.0:
            return self.descents(starts)
        if self.large:
            return self._sampled(self.svd, starts.ellipsoid)
        if optimum := self._exact():
            return optimum
        ends = self.descents(starts)
        return ends + self._explored(cheapest(ends), starts.lewis)

    def _sampled(self, svd: Candidate, ellipsoid: Frame) -> list[Candidate]:
        """Descent on all rows from the start that samples recommend.

        If the first step from the SVD promises much, reweighting is tried on one sample from the
        SVD and from the Lewis subspace. Where that leads is compared with the two starts on
        another sample, because on the first it has an advantage that all rows would not confirm.
        """
        first = self._irls(self.rows.single(), svd.frame, t=svd.t)
        first.step()
        frames = [svd.frame, ellipsoid]
        if first.promise > BENIGN:
            self.bar.stage("search on a sample")
            train = self._sample(TRAIN)
            descent = partial(self._irls, train)
            runs = [descent(start, 1e-4).run(30) for start in (svd.frame, ellipsoid)]
            best = min(runs, key=lambda run: run.cost)
            end = explored(
                train, self.p, best.best, best.cost, descent, tol=1e-4, max_iter=30, rng=self.rng
            )
            frames += [run.frame for run in runs]
            if end is not None:
                frames.append(end.run.frame)
            del train, descent
        test = self._sample(TEST)
        costs = [lp_cost(test.quadratic_form(frame.W), self.p) for frame in frames]
        del test
        chosen = int(np.argmin(costs))
        if chosen == 0 or costs[chosen] > (1.0 - BENIGN) * costs[0]:
            return [self._descend(svd, first)]
        name = "lewis" if chosen == 1 else "sample"
        found = self._descend(self.evaluate(name, frames[chosen]))
        # The sample was wrong: the SVD's own descent decides.
        return [found] if found.cost < svd.cost else [found, self._descend(svd, first)]

    def _exact(self) -> list[Candidate]:
        """For p = 1 and few hyperplanes through d - 1 rows: the cheapest of them (theory 4)."""
        if self.p != 1.0 or self.k < self.rows.shape[1] - 1:
            return []
        low = FLOOR[self.rows.dtype] * float(np.mean(self.rows.squared_norms()))
        best = [self.evaluate(THROUGH, f) for f in through_rows(self.rows, self.k, 1.0, 1)]
        return [replace(c, N=self.rows.weighted_gram(np.maximum(c.t, low) ** -0.5)) for c in best]

    def _explored(self, best: Candidate, lewis: LewisWeights) -> list[Candidate]:
        """A better end of further descents, if there is one that is affordable."""
        rows = self.rows.local() if affordable(*self.rows.shape) > 0 else None
        if rows is None:
            return []
        self.bar.stage("search")
        end = explored(
            rows,
            self.p,
            best.frame,
            best.cost,
            partial(self._irls, rows),
            tol=self.tol,
            max_iter=self.max_iter,
            rng=self.rng,
            tau=local(lewis.weights) ** (2.0 / self.p),
            starts=through_rows(rows, self.k, self.p),
        )
        if end is None:
            return []
        return [self._ended(end.name, end.run)]

    def _ended(self, name: str, run: Run) -> Candidate:
        found = self._settle(f"irls from {name}", run)
        return found.after(list(run.history), run.n_iter, run)

    def _irls(
        self,
        rows: Rows,
        start: Frame,
        tol: float | None = None,
        eps: float | None = None,
        *,
        t: Array | None = None,
    ) -> Irls:
        tol = self._tol(rows, tol)
        return Irls(rows, start, self.p, tol=tol, t=t, eps=eps, tick=self.bar.step)

    def _descend(self, start: Candidate, begun: Irls | None = None) -> Candidate:
        """Descent on all rows: in float32 as far as that sees, then in float64."""
        self.bar.stage(f"descent from {start.name}")
        p = self.p
        name = f"{'irls' if p < 2.0 else 'damped'} from {start.name}"
        frame, t = start.frame, start.t
        history: list[float] = []
        n_iter, eps = 0, None
        for rows in (self.rows.single(), self.rows) if self.large else (self.rows,):
            if p < 2.0:
                irls = begun or self._irls(rows, frame, t=t, eps=eps)
                run, begun = irls.run(self.max_iter), None
            else:
                run = continued(
                    rows, frame, p, max_iter=self.max_iter, tol=self._tol(rows), t=t,
                    tick=self.bar.step,
                )  # fmt: skip
            history += run.history
            n_iter += run.n_iter
            found = self._settle(name, run)
            frame, t, eps = found.frame, found.t, run.eps
            if rows is not self.rows and self.tol >= SINGLE_TOL:
                # Rows that fit to float32's resolution had their weights capped by it.
                hidden = t < 1e-9 * self.rows.squared_norms()
                if p >= 2.0 or int(np.count_nonzero(hidden)) <= 1e-3 * t.size:
                    break
        return found.after(history, n_iter, run)

    def _tol(self, rows: Rows, tol: float | None = None) -> float:
        """No change is asked for that float32 passes cannot tell."""
        return max(tol or self.tol, 0.0 if rows.dtype == np.float64 else SINGLE_TOL)

    def _settle(self, name: str, run: Run) -> Candidate:
        """The end of a run in float64, or the best subspace it saw should that be cheaper."""
        end = self.evaluate(name, run.frame, double=True)
        if run.best is not run.frame and run.cost < end.cost:
            best = self.evaluate(name, run.best, double=True)
            return min(end, best, key=lambda c: c.cost)
        return end

    def evaluate(self, name: str, frame: Frame, *, double: bool = False) -> Candidate:
        """Residuals in float32 where that gives the cost to six digits, else, or if asked to, in
        float64."""
        if self.large and self.p < 2.0 and not double:
            t = self.rows.single().quadratic_form(frame.W)
            cost = lp_cost(t, self.p)
            if cost > 0.03 * lp_cost(self.rows.squared_norms(), self.p):
                return Candidate(name, frame, t, cost, False, (cost,))
        t = self.rows.quadratic_form(frame.W)
        cost = lp_cost(t, self.p)
        return Candidate(name, frame, t, cost, True, (cost,))

    def plain(self, svd: Candidate) -> Candidate:
        """The SVD's subspace from a float64 Gram, with its float64 cost."""
        if self.pca.single:
            return self.evaluate("svd", Frame.leading(spectrum(self.rows).U, self.k), double=True)
        return self.in_double(svd)

    def in_double(self, c: Candidate) -> Candidate:
        """The same with its float64 cost."""
        return c if c.double else self.evaluate(c.name, c.frame, double=True)


METHODS: dict[str, Method] = {
    "auto": Method(lambda solver, starts: solver.searched(starts), descends=True, searches=True),
    "irls": Method(lambda solver, starts: solver.descents(starts), descends=True),
    "lewis": Method(
        lambda solver, starts: [solver.in_double(solver.evaluate("lewis", starts.ellipsoid))],
        cheapest=False,
    ),
    "svd": Method(lambda solver, starts: [solver.plain(solver.svd)], cheapest=False),
}
"""Name -> method. ``METHODS["mine"] = Method(candidates)``, in a module of your own, is all that it
takes for ``approx_subspace(..., method="mine")``, `cost_curve` and `approx_affine`."""
