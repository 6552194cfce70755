"""From rows to a subspace: the candidates, the descents, and the best of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lpgeom.certificates.evidence import Evidence
from lpgeom.geometry.lewis import a_priori_cost, guarantee, lewis_from_metric, lewis_iteration
from lpgeom.geometry.spectrum import HEALTHY, LARGE, Spectrum, spectrum
from lpgeom.geometry.subspaces import Frame
from lpgeom.results import LewisWeights
from lpgeom.rows.base import Array, Rows
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.grassmann import damped
from lpgeom.subspace.irls import Run, irls
from lpgeom.subspace.progress import Progress
from lpgeom.subspace.sampling import sampler

FLOOR = 1e-26
"""Squared residuals below this share of the mean squared row norm are rounding (float64)."""

SINGLE_FLOOR = 1e-11
"""The same for float32 passes."""

SINGLE_TOL = 1e-6
"""Relative changes of the cost below this are not told apart by float32 passes."""

TRAIN, TEST = 6, 4
"""Rows of the two samples, in multiples of d: one to search on, one to compare on."""

BENIGN = 0.03
"""If two reweightings lower the cost of a sample by less than this share, whatever the start,
reweighting changes little, and what a sample could teach is below its noise."""


@dataclass(frozen=True)
class Solution:
    """What `Solver.solve` found, in the scaled units of its rows."""

    frame: Frame
    t: Array
    cost: float
    svd_cost: float
    lewis: LewisWeights | None
    guarantee: float
    method: str
    history: tuple[float, ...]
    n_iter: int
    converged: bool

    def evidence(self, rows: Rows) -> Evidence:
        """What the certificate starts from."""
        return Evidence(self.frame.V, self.frame.W, self.t, rows.squared_norms(), self.lewis)


@dataclass(frozen=True)
class Candidate:
    """A subspace with its residuals on all rows."""

    name: str
    frame: Frame
    t: Array
    cost: float
    double: bool  # whether t and cost come from a float64 pass
    history: tuple[float, ...]
    n_iter: int = 0
    converged: bool = True


class Solver:
    """Best of the SVD, the Lewis subspace, and descents: costs that decide are float64's.

    Parameters
    ----------
    rows : Rows
        Their rank exceeds k.
    pca : Spectrum
        Of the plain Gram of the rows.
    k, p, seed, max_iter, tol
        As in `approx_subspace`.
    bar : Progress
    """

    def __init__(
        self,
        rows: Rows,
        pca: Spectrum,
        k: int,
        p: float,
        *,
        seed: int,
        max_iter: int,
        tol: float,
        bar: Progress,
    ) -> None:
        self.rows = rows
        self.pca = pca
        self.k = k
        self.p = p
        self.max_iter = max_iter
        self.tol = tol
        self.bar = bar
        self.rng = np.random.default_rng(seed)
        n, d = rows.shape
        # Samples and float32 need rows to spare, and a Gram that float32 does not make singular.
        healthy = pca.squared and pca.eigvals[0] > HEALTHY * pca.eigvals[-1]
        self.large = healthy and n * d >= LARGE and n >= 2 * (TRAIN + TEST) * d

    def solve(self, method: str) -> Solution:
        """Run `method` ("auto", "irls", "lewis" or "svd")."""
        svd = self._evaluate("svd", Frame.leading(self.pca.U, self.k))
        if self.p == 2.0:
            return _solution(self._in_double(svd), svd, None, 1.0)
        start, metric = svd.frame, None
        if self.large and self.p < 2.0:
            start, metric = self._search(svd, triage=method == "auto")
        self.bar.stage("Lewis weights")
        lewis, spec = self._lewis(metric)
        ellipsoid = Frame.leading(spec.U, self.k)
        candidates: list[Candidate] = []
        if method == "svd":
            svd = self._svd_in_double(svd)
            candidates = [svd]
        elif method == "lewis":
            candidates = [self._in_double(self._evaluate("lewis", ellipsoid))]
        elif method == "auto" and self.large and self.p < 2.0:
            chosen = svd if start is svd.frame else self._evaluate("sample", start)
            candidates = [self._descend(chosen)]
            if candidates[0].cost >= svd.cost and chosen is not svd:
                candidates.append(self._descend(svd))
        else:
            candidates = [self._descend(svd), self._descend(self._evaluate("lewis", ellipsoid))]
        if method in ("auto", "irls"):
            best = min(candidates, key=lambda c: c.cost)
            # Figures and eigenvectors from float32 decide nothing close.
            if best.cost > svd.cost * (1.0 - 1e-5):
                svd = self._svd_in_double(svd)
                candidates.append(svd)
        best = min(candidates, key=lambda c: c.cost)
        # The promise of theory 2 is the Lewis subspace's; another subspace inherits it by costing
        # no more than the theorem's upper bound for that one, or than that one itself.
        promise = guarantee(lewis)
        if best.cost > a_priori_cost(lewis, spec.eigvals, spec.eigvals.size - self.k):
            own = self._in_double(self._evaluate("lewis", ellipsoid))
            if best.cost > own.cost:
                if method == "svd":
                    promise = math.inf
                else:
                    best = own
        return _solution(best, svd, lewis, promise)

    def _lewis(self, metric: Array | None) -> tuple[LewisWeights, Spectrum]:
        if metric is not None:
            return lewis_from_metric(self.rows, self.p, metric)
        if self.large:
            _, spec = lewis_iteration(
                self.rows.single(), self.p, start=self.pca, tol=0.05, max_iter=20
            )
            return lewis_from_metric(self.rows, self.p, spec.whitener())
        return lewis_iteration(self.rows, self.p, start=self.pca, tol=1e-2, max_iter=50)

    def _search(self, svd: Candidate, triage: bool) -> tuple[Frame, Array]:
        """Where to start the descent on all rows, and a whitener of the Lewis metric.

        Both come from a sample. Reweighting is tried there from the SVD and from the Lewis
        subspace; the subspaces it leads to are compared with their starts on a second sample,
        because on the first they have an advantage that all rows would not confirm.
        """
        self.bar.stage("search on a sample")
        rows, p, d = self.rows.single(), self.p, self.rows.shape[1]
        source = sampler(rows, self.pca.whitener(), svd.t, p, self.rng)
        train = source.draw(TRAIN * d, self.rng)
        _, spec = lewis_iteration(train, p, tol=0.1, max_iter=3)
        metric = spec.whitener()
        if not triage:
            return svd.frame, metric
        starts = (svd.frame, Frame.leading(spec.U, self.k))
        runs = [self._sampled(train, start, 2) for start in starts]
        first = min(run.history[0] for run in runs)
        frames = list(starts)
        if min(run.cost for run in runs) < (1.0 - BENIGN) * first:
            frames += [self._sampled(train, run.frame, 30).frame for run in runs]
        test = source.draw(TEST * d, self.rng)
        costs = [lp_cost(test.quadratic_form(frame.W), p) for frame in frames]
        # A tie goes to the SVD, whose residuals are known already.
        best = int(np.argmin(costs))
        return frames[best if costs[best] < 0.99 * costs[0] else 0], metric

    def _sampled(self, sample: Rows, start: Frame, steps: int) -> Run:
        return irls(
            sample,
            start,
            self.p,
            max_iter=steps,
            tol=1e-4,
            floor=SINGLE_FLOOR,
            tick=self.bar.step,
        )

    def _descend(self, start: Candidate) -> Candidate:
        """Descent on all rows: in float32 as far as that sees, then in float64."""
        self.bar.stage(f"descent from {start.name}")
        p = self.p
        name = f"{'irls' if p < 2.0 else 'damped'} from {start.name}"
        frame, t = start.frame, start.t
        history: list[float] = []
        n_iter, converged = 0, False
        if self.large:
            run = self._run(self.rows.single(), frame, t, max(self.tol, SINGLE_TOL), SINGLE_FLOOR)
            history += run.history
            n_iter, converged = run.n_iter, run.converged
            found = self._settle(name, run)
            frame, t = found.frame, found.t
            # Rows that fit to float32's resolution had their weights capped by it.
            hidden = t < 1e-9 * self.rows.squared_norms()
            capped = p < 2.0 and np.count_nonzero(hidden) > 1e-3 * t.size
            if not capped and self.tol >= SINGLE_TOL:
                return _with_history(found, history, n_iter, converged)
        run = self._run(self.rows, frame, t, self.tol, FLOOR)
        history += run.history
        found = self._settle(name, run)
        return _with_history(found, history, n_iter + run.n_iter, run.converged)

    def _run(self, rows: Rows, frame: Frame, t: Array, tol: float, floor: float) -> Run:
        if self.p > 2.0:
            return damped(
                rows, frame, self.p, max_iter=self.max_iter, tol=tol, t=t, tick=self.bar.step
            )
        return irls(
            rows,
            frame,
            self.p,
            max_iter=self.max_iter,
            tol=tol,
            floor=floor,
            t=t,
            tick=self.bar.step,
        )

    def _settle(self, name: str, run: Run) -> Candidate:
        """The end of a run in float64, or the best subspace it saw should that be cheaper."""
        end = self._in_double(self._evaluate(name, run.frame))
        if run.best is not run.frame and run.cost < end.cost:
            best = self._in_double(self._evaluate(name, run.best))
            if best.cost < end.cost:
                return best
        return end

    def _evaluate(self, name: str, frame: Frame) -> Candidate:
        """Residuals in float32 where that gives the cost to six digits, else in float64."""
        if self.large and not name.startswith(("irls", "damped")):
            t = self.rows.single().quadratic_form(frame.W)
            cost = lp_cost(t, self.p)
            if self.p < 2.0 and cost > 0.03 * lp_cost(self.rows.squared_norms(), self.p):
                return Candidate(name, frame, t, cost, False, (cost,))
        t = self.rows.quadratic_form(frame.W)
        cost = lp_cost(t, self.p)
        return Candidate(name, frame, t, cost, True, (cost,))

    def _svd_in_double(self, svd: Candidate) -> Candidate:
        """The SVD's subspace from a float64 Gram, with its float64 cost."""
        if self.pca.single:
            return self._in_double(
                self._evaluate("svd", Frame.leading(spectrum(self.rows).U, self.k))
            )
        return self._in_double(svd)

    def _in_double(self, c: Candidate) -> Candidate:
        if c.double:
            return c
        t = self.rows.quadratic_form(c.frame.W)
        cost = lp_cost(t, self.p)
        return Candidate(c.name, c.frame, t, cost, True, (cost,), c.n_iter, c.converged)


def _with_history(
    found: Candidate, history: list[float], n_iter: int, converged: bool
) -> Candidate:
    """Costs after each step, never rising, ending in the float64 cost of what was found."""
    before = (max(c, found.cost) for c in np.minimum.accumulate(history).tolist())
    return Candidate(
        found.name,
        found.frame,
        found.t,
        found.cost,
        found.double,
        (*before, found.cost),
        n_iter,
        converged,
    )


def _solution(
    best: Candidate, svd: Candidate, lewis: LewisWeights | None, promise: float
) -> Solution:
    return Solution(
        best.frame,
        best.t,
        best.cost,
        svd.cost,
        lewis,
        promise,
        best.name,
        best.history,
        best.n_iter,
        best.converged,
    )
