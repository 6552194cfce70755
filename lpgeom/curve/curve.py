"""``cost_curve``: subspaces and certificates of many ranks, from work that they share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from numpy.typing import ArrayLike

from lpgeom.bounds.table import lower_bounds
from lpgeom.coresets.record import Coreset, unpacked
from lpgeom.curve.bounds import RankBounds
from lpgeom.curve.search import RankSearch
from lpgeom.curve.solver import RankEnd, Shared
from lpgeom.geometry.grassmann import widened
from lpgeom.geometry.spectrum import LARGE, Spectrum, principal
from lpgeom.io import validation
from lpgeom.progress import Progress
from lpgeom.records.curve import CostCurve
from lpgeom.records.subspace import SubspaceResult, to_cost_units
from lpgeom.rows import device
from lpgeom.rows.base import Rows
from lpgeom.rows.door import Problem, open_anywhere
from lpgeom.rows.vectors import local
from lpgeom.subspace.approx import DEFAULT_MAX_ITER, SMALL_TOL, approx_rows
from lpgeom.subspace.assemble import result_of, with_bounds
from lpgeom.subspace.certify import cost
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.exact import spanned
from lpgeom.subspace.scale import check_cost, rescaled
from lpgeom.subspace.solve import METHODS
from lpgeom.subspace.span import Span, in_span
from lpgeom.threads import limited, sized

COARSE_TOL = 3e-6
"""Where a descent ends on data from 2^20 entries on: far below what the bounds resolve."""


def cost_curve(
    A: ArrayLike | Coreset,
    p: float | None,
    ks: int | Iterable[int],
    *,
    row_weights: ArrayLike | None = None,
    certify: bool | str = True,
    method: str = "auto",
    backend: str = "auto",
    seed: int = 0,
    max_iter: int | None = None,
    tol: float | None = None,
    progress: bool = False,
) -> CostCurve:
    """Cost and certified lower bound over many ranks, for less than the ranks one by one.

    For each rank k of `ks` a subspace of small ``sum_i omega_i ||a_i - a_i V V^T||_2^p`` and a
    lower bound on that sum for every subspace of rank k, as `approx_subspace` gives them.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points; as in `approx_subspace`. Or a `Coreset`.
    p : float or None
        1 <= p <= 100, or inf. None: 1, or the coreset's own.
    ks : sequence of int
        Ranks, 1 <= k <= d - 1, in any order; the curve has each of them once, ascending. For k >=
        rank(A) the cost is 0.
    row_weights : array_like, shape (n,), optional
        omega >= 0, not all zero.
    certify : bool or "tight"
        As in `approx_subspace`. A radial bound ("tight") is computed for every rank by itself.
    method : {"auto", "irls", "lewis", "svd"}
        As in `approx_subspace`.
    backend : {"auto", "cpu", "cuda"}
        As in `approx_subspace`: where passes over A run.
    seed : int
    max_iter, tol
        Of one descent, as in `approx_subspace`; but `tol` is 3e-6 from 2^20 entries of A on.
    progress : bool
        A counter of steps on stderr.

    Returns
    -------
    CostCurve
        ``cost``, ``lower_bound``, ``ratio``, ``svd_cost`` over ``ks``; ``at(k)`` is the
        `SubspaceResult` of rank k, with its own certificate, whose `seconds` and `n_passes` are
        those of this rank alone.

    Raises
    ------
    TypeError, ValueError
        As `approx_subspace`; no ranks.
    ImportError, RuntimeError, MemoryError
        backend="cuda" without its libraries, without a device, or with too little memory on it.

    Notes
    -----
    Shared by all ranks: the Gram, the Lewis weights, the costs of both of their subspaces (one pass
    each), the closed-form bounds. A rank between two others starts where the residuals
    interpolated between theirs lead, and takes its bound from their reference matrices where the
    convexity of the relaxed cost in k shows that a search of its own would bring no more than its
    tolerance. At the end the curve is closed under what is obvious: costs do not rise with k, and
    a bound for k + 1 is one for k. p = inf has nothing to share but this. Memory: beside A, (d, d)
    for each reference and d k for each subspace. See docs/cost-curve.md for how the values compare
    with those of `approx_subspace`, and the time.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((300, 12))
    >>> A *= 0.8 ** np.arange(12)
    >>> curve = lpgeom.cost_curve(A, p=1.0, ks=[2, 4, 8])
    >>> curve.ks.tolist(), bool((np.diff(curve.cost) < 0).all())
    ([2, 4, 8], True)
    >>> below = curve.lower_bound <= curve.cost
    >>> bool(below.all()), bool(curve.ratio.max() < 1.3)
    (True, True)
    """
    started = time.perf_counter()
    validation.check_choice("method", method, tuple(METHODS))
    validation.check_choice("certify", certify, (False, True, "tight"))
    seed = validation.check_seed(seed)
    tol = None if tol is None else validation.check_tolerance(tol)
    steps = validation.check_steps(max_iter, DEFAULT_MAX_ITER)
    given: list[Any] = list(ks) if isinstance(ks, Iterable) else [ks]
    if not given:
        raise ValueError("ks is empty: name at least one rank")
    largest = max((k for k in given if isinstance(k, int)), default=None)
    data, p, row_weights, source = unpacked(A, largest, p, row_weights)
    with limited():
        problem = open_anywhere(data, p, row_weights, infinite=True, backend=backend)
        p = problem.p
        n, d = problem.rows.shape
        ranks = sorted({validation.check_k(k, d) for k in given})
        if math.isinf(p):
            return _one_by_one(
                data, ranks, started,
                p=p, row_weights=row_weights, certify=certify, method=method, backend=backend,
                seed=seed, max_iter=max_iter, tol=tol, progress=progress,
            )  # fmt: skip
        with sized(n, min(n, d)), device.algebra(problem.rows), Progress(progress) as bar:
            bar.stage("Gram")
            inner, span = in_span(problem)
            if tol is None:
                tol = COARSE_TOL if math.prod(inner.rows.shape) >= LARGE else SMALL_TOL
            # The accuracy that the largest rank below that of A needs does for the others.
            pca = principal(inner.rows, min(ranks[-1], inner.rows.shape[1] - 1), p)
            build = _Builder(problem, inner, span, seed, source, bool(certify))
            results = [build.exact(pca, k) for k in ranks if k >= pca.rank]
            ranks = [k for k in ranks if k < pca.rank]
            if ranks:
                options = {"seed": seed, "max_iter": steps, "tol": tol}
                shared = Shared(inner, pca, ranks, method, bar, **options)
                level = None if not certify else "tight" if certify == "tight" else "fast"
                results = build.searched(shared, ranks, level) + results
        total = to_cost_units(lp_cost(problem.rows.squared_norms(), p), problem.unit, p)
    return CostCurve(tuple(results), total, problem.rows.n_passes, time.perf_counter() - started)


class _Builder:
    """Results from ends, in user units."""

    def __init__(
        self,
        problem: Problem[Rows],
        inner: Problem[Rows],
        span: Span,
        seed: int,
        source: str,
        certify: bool,
    ) -> None:
        if certify and problem.omega is not None:  # fetched once for all certificates
            problem = replace(problem, omega=local(problem.omega))
        self._problem, self._inner, self._span, self._seed = problem, inner, span, seed
        self._result = partial(result_of, certified=certify, source=source, seed=seed)

    def searched(self, shared: Shared, ranks: list[int], level: str | None) -> list[SubspaceResult]:
        """The results of ranks below that of A."""
        bounds: RankBounds | None = None
        powers: dict[int, list[Any]] = {}
        p = self._problem.p
        if level is not None and p <= 2.0:
            bounds = RankBounds(self._inner.rows, shared.lewis, ranks, p, level, self._seed)

        def look(end: RankEnd) -> None:
            """Called while an end's residuals are still at hand."""
            if level is None or p == 2.0:
                return
            shared.bar.stage(f"k = {end.k}: certificate")
            rows = end.problem.rows
            evidence = end.solution.evidence(rows)
            if bounds is not None:
                bounds.look(end.k, evidence)
            else:
                powers[end.k] = lower_bounds(rows, evidence, end.k, p, level, self._seed)

        results = []
        for end, seconds in RankSearch(shared, ranks, look).run():
            check_cost(end.found.cost, self._problem.p)
            problem, solution = rescaled(self._problem, end.problem.unit), end.solution
            known = None
            if level is not None:
                known = bounds.at(end.k) if bounds is not None else powers[end.k]
                known = self._span.bounds(known, end.problem.rows, p)
            V = self._span.lifted(end.found.frame.V)
            statement = with_bounds(problem, V, end.found.cost, known, solution.promise)
            results.append(
                self._result(problem, solution, statement, n_passes=end.passes, seconds=seconds)
            )
        return results

    def exact(self, pca: Spectrum, k: int) -> SubspaceResult:
        """k >= rank(A): the span of the rows costs nothing, as far as float64 can tell them."""
        found = spanned(self._problem, self._inner, self._span, pca, k)
        return self._result(*found, n_passes=0.0, seconds=0.0)


def _one_by_one(data: Any, ranks: list[int], started: float, **options: Any) -> CostCurve:
    """p = inf: nothing is shared."""
    results: list[SubspaceResult] = [approx_rows(data, k, **options) for k in ranks]
    weights, backend = options["row_weights"], options["backend"]
    problem = open_anywhere(data, math.inf, weights, infinite=True, backend=backend)
    total = lp_cost(problem.rows.squared_norms(), math.inf) * problem.unit
    for i in range(1, len(results)):
        if results[i].cost > results[i - 1].cost:
            results[i] = _around(data, results[i], results[i - 1], weights, backend)
    passes = sum(r.n_passes for r in results)
    return CostCurve(tuple(results), total, passes, time.perf_counter() - started)


def _around(
    data: Any, result: SubspaceResult, smaller: SubspaceResult, row_weights: Any, backend: str
) -> SubspaceResult:
    """`result` with a subspace around a smaller and cheaper one (p = inf)."""
    V = widened(smaller.basis, result.k)
    found = cost(data, V, math.inf, row_weights=row_weights, backend=backend)
    value = min(found, smaller.cost)
    statement = replace(result.statement, basis=V, scaled_cost=value / result.statement.unit)
    method = f"around rank {smaller.k}: {smaller.method}"
    return replace(result, statement=statement, method=method)
