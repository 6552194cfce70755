"""``approx_rows``: rows, solve (Lewis start, SVD start, IRLS), certify, result."""

from __future__ import annotations

import math
import time

from numpy.typing import ArrayLike

from lpgeom.bounds.table import lower_bounds
from lpgeom.coresets.record import Coreset, unpacked
from lpgeom.geometry.spectrum import LARGE, principal
from lpgeom.io import validation
from lpgeom.progress import Progress
from lpgeom.records.subspace import SubspaceResult
from lpgeom.rows import device
from lpgeom.rows.door import open_anywhere
from lpgeom.subspace.assemble import result_of, with_bounds
from lpgeom.subspace.exact import spanned
from lpgeom.subspace.minimax import solver_for
from lpgeom.subspace.scale import centred, check_cost, rescaled
from lpgeom.subspace.solve import METHODS
from lpgeom.subspace.span import in_span
from lpgeom.threads import limited, sized

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
    validation.check_choice("method", method, tuple(METHODS))
    validation.check_choice("certify", certify, (False, True, "tight"))
    seed = validation.check_seed(seed)
    tol = None if tol is None else validation.check_tolerance(tol)
    steps = validation.check_steps(max_iter, DEFAULT_MAX_ITER)
    with limited():
        problem = open_anywhere(data, p, row_weights, infinite=True, backend=backend)
        p = problem.p
        n, d = problem.rows.shape
        k = validation.check_k(k, d)
        with sized(n, min(n, d)), device.algebra(problem.rows), Progress(progress) as bar:
            bar.stage("Gram")
            inner, span = in_span(problem)
            if tol is None:
                tol = LARGE_TOL if math.prod(inner.rows.shape) >= LARGE else SMALL_TOL
            pca = principal(inner.rows, k, p)
            if pca.rank <= k:
                problem, solution, statement = spanned(problem, inner, span, pca, k)
            else:
                inner, pca = centred(inner, pca, k)
                solver = solver_for(p)(
                    inner.rows, pca, k, p, seed=seed, max_iter=steps, tol=tol, bar=bar
                )
                # (d, d) matrices are most of the memory used: none is kept longer than needed.
                del pca
                solution = solver.solve(method)
                del solver
                check_cost(solution.found.cost, p)
                problem, rows = rescaled(problem, inner.unit), inner.rows
                found, bounds = solution.found, None
                if certify:
                    bar.stage("certificate")
                    level = "tight" if certify == "tight" else "fast"
                    evidence = solution.evidence(rows)
                    bounds = lower_bounds(rows, evidence, k, p, level, seed, progress)
                    bounds = span.bounds(bounds, rows, p)
                V = span.lifted(found.frame.V)
                statement = with_bounds(problem, V, found.cost, bounds, solution.promise)
    return result_of(
        problem, solution, statement,
        certified=bool(certify), source=source, seed=seed, n_passes=problem.rows.n_passes,
        seconds=time.perf_counter() - started,
    )  # fmt: skip
