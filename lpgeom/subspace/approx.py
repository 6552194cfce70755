"""``approx_subspace``: rows, solve (Lewis start, SVD start, IRLS), certify, result."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from lpgeom import validation
from lpgeom.geometry.spectrum import LARGE, Spectrum, principal
from lpgeom.geometry.subspaces import Frame
from lpgeom.results import SubspaceResult, to_cost_units
from lpgeom.rows.door import Problem, open_rows
from lpgeom.subspace.assemble import centred, certificate_of, exact_certificate
from lpgeom.subspace.progress import Progress
from lpgeom.subspace.solve import Solver
from lpgeom.threads import limited

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

METHODS = ("auto", "irls", "lewis", "svd")
DEFAULT_MAX_ITER = 200
LARGE_TOL, SMALL_TOL = 1e-5, 1e-8


def approx_subspace(
    A: ArrayLike,
    k: int,
    p: float = 1.0,
    *,
    objective: str = "rows",
    method: str = "auto",
    row_weights: ArrayLike | None = None,
    certify: bool | str = True,
    backend: str = "auto",
    seed: int = 0,
    max_iter: int | None = None,
    tol: float | None = None,
    progress: bool = False,
) -> SubspaceResult:
    """Rank-k subspace of small l_p cost, with a proof of how far from optimal it can be.

    Minimises ``sum_i omega_i ||a_i - a_i V V^T||_2^p`` over orthonormal V of shape (d, k).
    """
    started = time.perf_counter()
    validation.check_objective(objective)
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
    if objective == "entries":
        raise NotImplementedError(
            'objective="entries" (sum_ij |A_ij - B_ij|^p over every B of rank <= k) is not built '
            'yet; objective="rows" is'
        )
    with limited():
        problem = open_rows(A, p, row_weights)
        p = problem.p
        n, d = problem.rows.shape
        k = validation.check_k(k, d)
        if tol is None:
            tol = LARGE_TOL if n * d >= LARGE else SMALL_TOL
        with Progress(progress) as bar:
            bar.stage("Gram")
            pca = principal(problem.rows, k, p)
            if pca.rank <= k:
                return _exact(problem, pca, k, bool(certify), objective, seed, started)
            problem, pca = centred(problem, pca, k)
            solver = Solver(problem.rows, pca, k, p, seed=seed, max_iter=steps, tol=tol, bar=bar)
            solution = solver.solve(method)
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
    norm_error = solution.cost ** (1.0 / p) * unit
    return SubspaceResult(
        basis=solution.frame.V,
        cost=to_cost_units(solution.cost, unit, p),
        norm_error=norm_error,
        lower_bound=certificate.lower_bound if certificate is not None else 0.0,
        ratio=certificate.ratio if certificate is not None else math.inf,
        guarantee=solution.guarantee,
        certificate=certificate,
        p=p,
        k=k,
        shape=problem.rows.shape,
        objective=objective,
        method=solution.method,
        backend=backend,
        history=tuple(to_cost_units(c, unit, p) for c in solution.history),
        n_iter=solution.n_iter,
        n_passes=problem.rows.n_passes,
        converged=solution.converged,
        seconds=time.perf_counter() - started,
        svd_cost=to_cost_units(solution.svd_cost, unit, p),
        seed=seed,
    )


def _exact(
    problem: Problem,
    pca: Spectrum,
    k: int,
    certify: bool,
    objective: str,
    seed: int,
    started: float,
) -> SubspaceResult:
    """k >= rank(A): the span of the rows costs nothing."""
    frame = Frame.leading(pca.U, k)
    certificate = exact_certificate(problem, pca.rank, frame.V)
    return SubspaceResult(
        basis=frame.V,
        cost=0.0,
        norm_error=0.0,
        lower_bound=0.0,
        ratio=1.0,
        guarantee=1.0,
        certificate=certificate if certify else None,
        p=problem.p,
        k=k,
        shape=problem.rows.shape,
        objective=objective,
        method="rank",
        backend="cpu",
        history=(0.0,),
        n_iter=0,
        n_passes=problem.rows.n_passes,
        converged=True,
        seconds=time.perf_counter() - started,
        svd_cost=0.0,
        seed=seed,
    )
