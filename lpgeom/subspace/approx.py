"""``approx_rows``: rows, solve (Lewis start, SVD start, IRLS), certify, result."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from lpgeom.coresets.record import Coreset, unpacked
from lpgeom.geometry.spectrum import LARGE, principal
from lpgeom.io import validation
from lpgeom.progress import Progress
from lpgeom.records.subspace import SubspaceResult, to_cost_units
from lpgeom.rows import device
from lpgeom.rows.door import open_anywhere
from lpgeom.subspace.assemble import (
    centred,
    certificate_of,
    check_cost,
    in_span,
    rescaled,
)
from lpgeom.subspace.exact import Spanned, spanned
from lpgeom.subspace.minimax import MinimaxSolver
from lpgeom.subspace.solve import Solver
from lpgeom.threads import limited, sized

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

METHODS = ("auto", "irls", "lewis", "svd")
DEFAULT_MAX_ITER = 200
LARGE_TOL, SMALL_TOL = 3e-7, 1e-10


def approx_rows(
    A: ArrayLike | Coreset,
    k: int,
    p: float | None = None,
    *,
    method: str = "auto",
    row_weights: ArrayLike | None = None,
    certify: bool | str = True,
    backend: str = "auto",
    seed: int = 0,
    max_iter: int | None = None,
    tol: float | None = None,
    progress: bool = False,
) -> SubspaceResult:
    """Rank-k subspace of small ``sum_i omega_i ||a_i - a_i V V^T||_2^p``, and its certificate.

    This is `lpgeom.approx_subspace` with the rows objective: its docstring describes the arguments
    and the result.
    """
    started = time.perf_counter()
    data, p, row_weights, source = unpacked(A, k, p, row_weights)
    validation.check_choice("method", method, METHODS)
    validation.check_choice("certify", certify, (False, True, "tight"))
    backend = validation.check_backend(backend)
    seed = validation.check_seed(seed)
    if tol is not None:
        tol = validation.check_tolerance(tol)
    steps = (
        DEFAULT_MAX_ITER
        if max_iter is None
        else validation.check_positive_int("max_iter", max_iter)
    )
    with limited():
        problem = open_anywhere(data, p, row_weights, infinite=True, backend=backend)
        p = problem.p
        n, d = problem.rows.shape
        k = validation.check_k(k, d)
        if tol is None:
            tol = LARGE_TOL if n * d >= LARGE else SMALL_TOL
        with sized(n, d), device.algebra(problem.rows), Progress(progress) as bar:
            bar.stage("Gram")
            inner, span = in_span(problem)
            pca = principal(inner.rows, k, p)
            if pca.rank <= k:
                found = spanned(problem, inner, span, pca, k)
                done = _within_rank(found, bool(certify), seed, started)
                return replace(done, method=done.method + source)
            inner, pca = centred(inner, pca, k)
            solver: Solver | MinimaxSolver
            if math.isinf(p):
                solver = MinimaxSolver(
                    inner.rows, pca, k, seed=seed, max_iter=steps, tol=tol, bar=bar
                )
            else:
                solver = Solver(inner.rows, pca, k, p, seed=seed, max_iter=steps, tol=tol, bar=bar)
            del pca  # (d, d) matrices are most of the memory used: none is kept longer than needed
            solution = solver.solve(method)
            del solver
            check_cost(solution.cost, p)
            problem = rescaled(problem, inner.unit)
            if span is not None:
                solution = solution.lifted(span)
            certificate = None
            if certify:
                bar.stage("certificate")
                level = "tight" if certify == "tight" else "fast"
                certificate = certificate_of(
                    problem,
                    k,
                    solution.evidence(problem.rows),
                    solution.cost,
                    solution.guarantee,
                    level,
                    seed,
                    progress,
                )
    unit = problem.unit
    norm_error = (solution.cost if math.isinf(p) else solution.cost ** (1.0 / p)) * unit
    return SubspaceResult(
        basis=solution.frame.V,
        cost=to_cost_units(solution.cost, unit, p),
        norm_error=norm_error,
        lower_bound=certificate.lower_bound if certificate is not None else 0.0,
        ratio=certificate.ratio if certificate is not None else math.inf,
        guarantee=certificate.guarantee if certificate is not None else solution.guarantee,
        certificate=certificate,
        p=p,
        k=k,
        shape=problem.rows.shape,
        objective="rows",
        method=solution.method + source,
        backend=problem.backend,
        history=tuple(to_cost_units(c, unit, p) for c in solution.history),
        n_iter=solution.n_iter,
        n_passes=problem.rows.n_passes,
        converged=solution.converged,
        seconds=time.perf_counter() - started,
        svd_cost=to_cost_units(solution.svd_cost, unit, p),
        seed=seed,
    )


def _within_rank(found: Spanned, certify: bool, seed: int, started: float) -> SubspaceResult:
    """k >= rank(A): the span of the rows costs nothing, as far as float64 can tell them."""
    problem = found.problem
    cost, norm_error, svd_cost = found.in_user_units
    return SubspaceResult(
        basis=found.V,
        cost=cost,
        norm_error=norm_error,
        lower_bound=0.0,
        ratio=found.certificate.ratio,
        guarantee=found.certificate.guarantee,
        certificate=found.certificate if certify else None,
        p=problem.p,
        k=found.V.shape[1],
        shape=problem.rows.shape,
        objective="rows",
        method=found.method,
        backend=problem.backend,
        history=(cost,),
        n_iter=0,
        n_passes=problem.rows.n_passes,
        converged=True,
        seconds=time.perf_counter() - started,
        svd_cost=svd_cost,
        seed=seed,
    )
