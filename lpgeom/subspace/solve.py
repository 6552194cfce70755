"""From rows to a subspace: the candidates, the descents, and the best of them."""

from __future__ import annotations

from dataclasses import dataclass

from lpgeom.certificates.evidence import Evidence
from lpgeom.geometry.lewis import a_priori_cost, guarantee, lewis_iteration
from lpgeom.geometry.spectrum import Spectrum
from lpgeom.geometry.subspaces import Frame
from lpgeom.results import LewisWeights
from lpgeom.rows.base import Array, Rows
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.grassmann import damped
from lpgeom.subspace.irls import Run, irls
from lpgeom.subspace.progress import Progress

FLOOR = 1e-26
"""Squared residuals below this share of the mean squared row norm are rounding (float64)."""


@dataclass(frozen=True)
class Solution:
    """What `solve` found, in the scaled units of its rows."""

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
class _Candidate:
    name: str
    frame: Frame
    t: Array
    cost: float
    history: tuple[float, ...]
    n_iter: int = 0
    converged: bool = True


def solve(
    rows: Rows,
    pca: Spectrum,
    k: int,
    p: float,
    *,
    method: str,
    seed: int,
    max_iter: int,
    tol: float,
    bar: Progress,
) -> Solution:
    """Best of the SVD, the Lewis subspace, and the descents from both; costs compared in float64.

    `pca` is the spectrum of the plain Gram. The rank of the rows must exceed k.
    """
    svd = _evaluated(rows, "svd", Frame.leading(pca.U, k), p)
    if p == 2.0:
        return _solution(svd, svd, None, 1.0)
    bar.stage("Lewis weights")
    lewis, spec = lewis_iteration(rows, p, start=pca, tol=1e-3, max_iter=30)
    ellipsoid = _evaluated(rows, "lewis", Frame.leading(spec.U, k), p)
    candidates = {"auto": [svd, ellipsoid], "svd": [svd], "lewis": [ellipsoid]}.get(
        method, [svd, ellipsoid]
    )
    if method in ("auto", "irls"):
        for start in (svd, ellipsoid):
            bar.stage(f"descent from {start.name}")
            run = _descend(rows, start.frame, p, max_iter, tol, bar)
            name = f"{'irls' if p < 2.0 else 'damped'} from {start.name}"
            candidates.append(_finished(rows, name, run, p))
    best = min(candidates, key=lambda c: c.cost)
    # The promise of theory 2 is the Lewis subspace's; another subspace inherits it by costing
    # no more than the theorem's upper bound for that one.
    promised = a_priori_cost(lewis, spec.eigvals, spec.eigvals.size - k)
    kept = best.cost <= max(ellipsoid.cost, promised)
    return _solution(best, svd, lewis, guarantee(lewis) if kept else float("inf"))


def _descend(rows: Rows, start: Frame, p: float, max_iter: int, tol: float, bar: Progress) -> Run:
    if p < 2.0:
        return irls(rows, start, p, max_iter=max_iter, tol=tol, floor=FLOOR, tick=bar.step)
    return damped(rows, start, p, max_iter=max_iter, tol=tol, tick=bar.step)


def _evaluated(rows: Rows, name: str, frame: Frame, p: float) -> _Candidate:
    t = rows.quadratic_form(frame.W)
    cost = lp_cost(t, p)
    return _Candidate(name, frame, t, cost, (cost,))


def _finished(rows: Rows, name: str, run: Run, p: float) -> _Candidate:
    t = rows.quadratic_form(run.frame.W)
    cost = lp_cost(t, p)
    # The run's own last figure gives way to the float64 evaluation of the same subspace.
    history = (*(max(c, cost) for c in run.history[:-1]), cost)
    return _Candidate(name, run.frame, t, cost, history, run.n_iter, run.converged)


def _solution(
    best: _Candidate, svd: _Candidate, lewis: LewisWeights | None, promise: float
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
