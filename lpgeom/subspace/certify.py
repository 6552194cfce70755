"""For a subspace from anywhere: what it costs, and how far from optimal it can be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.bounds.evidence import Evidence
from lpgeom.bounds.table import lower_bounds
from lpgeom.coresets.record import Coreset, check_rank, unpacked
from lpgeom.geometry.lewis import guarantee
from lpgeom.geometry.spectrum import principal
from lpgeom.io import validation
from lpgeom.records.subspace import Certificate, to_cost_units
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.door import open_anywhere
from lpgeom.rows.vectors import fetched, numbers
from lpgeom.subspace.assemble import exact_certificate, with_bounds
from lpgeom.subspace.cost import entries_cost, lp_cost
from lpgeom.subspace.exact import measured, residuals
from lpgeom.subspace.minimax import solver_for
from lpgeom.subspace.scale import centred, check_cost, rescaled
from lpgeom.subspace.span import in_span
from lpgeom.threads import limited, sized


def cost(
    A: ArrayLike | Coreset,
    basis: ArrayLike,
    p: float = 1.0,
    objective: str = "rows",
    row_weights: ArrayLike | None = None,
    *,
    backend: str = "auto",
) -> float:
    """Cost of projecting the rows of A onto a subspace (a p-th power).

    Parameters
    ----------
    A : array_like, shape (n, d)
        Read in blocks, float64 arithmetic. Or a `Coreset`, made for this p: the cost is then that
        of its weighted rows.
    basis : array_like, shape (d, k)
        Spans the subspace; made orthonormal if it is not.
    p : float
        1 <= p <= 100, or inf (then costs are largest distances: norms).
    objective : {"rows", "entries"}
        ``sum_i omega_i ||a_i - a_i V V^T||_2^p``, or the entrywise ``sum_ij omega_i |A - A V
        V^T|_ij^p`` of the same projection.
    row_weights : array_like, shape (n,), optional
        omega >= 0.
    backend : {"auto", "cpu", "cuda"}
        See `approx_subspace`.

    Returns
    -------
    float
        Two passes over A. inf if the p-th power is beyond float64.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix; a basis of the wrong shape or not of full rank; a
        coreset made for another p or smaller ranks, or beside row weights.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.array([[3.0, 4.0], [0.0, 1.0]])
    >>> lpgeom.cost(A, [[1.0], [0.0]], p=1.0)
    5.0
    """
    validation.check_choice("objective", objective, ("rows", "entries"))
    p = validation.check_p(p, infinite=True)
    data, p, row_weights, source = unpacked(A, None, p, row_weights)
    if source and objective == "entries":
        raise ValueError("a coreset stands for the rows objective, not for entries")
    with limited():
        problem = open_anywhere(data, p, row_weights, infinite=True, backend=backend)
        V = validation.check_basis(basis, problem.rows.shape[1])
        check_rank(A, V.shape[1])
        unit, p = problem.unit, problem.p
        with device.device_of(problem.A):
            if objective == "entries":
                value = entries_cost(fetched(problem.A), V, p, problem.factors, problem.scale)
            else:
                # Relative to the largest residual, so that high powers stay inside float64.
                inner, span = in_span(problem)
                t = inner.rows.quadratic_form(span.seen(V)[0])
                top = float(t.max()) or 1.0
                value, unit = lp_cost(t / top, p), unit * math.sqrt(top)
    return to_cost_units(value, unit, p)


def certify(
    A: ArrayLike | Coreset,
    basis: ArrayLike,
    p: float = 1.0,
    level: str = "fast",
    *,
    row_weights: ArrayLike | None = None,
    backend: str = "auto",
    seed: int = 0,
    progress: bool = False,
) -> Certificate:
    """Lower bounds on the cost of every subspace of that dimension, beside what this one costs.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Read in blocks. Or a `Coreset`, made for this p: costs and bounds are then those of its
        weighted rows, not of the data behind it.
    basis : array_like, shape (d, k)
        Spans the subspace, which may come from anywhere; made orthonormal if it is not.
    p : float
        1 <= p <= 100, or inf (then costs are largest distances: norms).
    level : {"fast", "tight", "all"}
        "fast": theory 3a to 3f (3j and 3k for p = inf). "tight" adds the radial bound 3i, "all"
        also 3g and 3h, which now and then prove more, and every dominated one; radial bounds take
        longer and are marked with their failure probability.
    row_weights : array_like, shape (n,), optional
        omega >= 0.
    backend : {"auto", "cpu", "cuda"}
        See `approx_subspace`.
    seed : int
        For the random starts of the tight bounds, and the samples the search works on.
    progress : bool
        A bar on stderr.

    Returns
    -------
    Certificate
        ``ratio`` (of norms, >= 1), ``cost`` and ``lower_bound`` (p-th powers), every bound by name.
        ``guarantee`` is the a-priori ratio of theory 2 where this subspace costs no more than that
        theorem promises, inf otherwise.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix; a basis of the wrong shape or not of full rank; a
        coreset made for another p or smaller ranks, or beside row weights.
    OverflowError
        A, or A and row_weights, lie so near an end of float64 that p-th powers leave it.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((300, 6))
    >>> V = np.linalg.svd(A, full_matrices=False)[2][:2].T
    >>> c = lpgeom.certify(A, V, p=1.0)
    >>> 0.0 < c.lower_bound <= c.cost
    True
    """
    validation.check_choice("level", level, ("fast", "tight", "all"))
    seed = validation.check_seed(seed)
    p = validation.check_p(p, infinite=True)
    data, p, row_weights, _ = unpacked(A, None, p, row_weights)
    with limited():
        problem = open_anywhere(data, p, row_weights, infinite=True, backend=backend)
        p = problem.p
        V = validation.check_basis(basis, problem.rows.shape[1])
        k = V.shape[1]
        check_rank(A, k)
        with sized(n := problem.rows.shape[0], min(n, len(V))), device.algebra(problem.rows):
            inner, span = in_span(problem)
            pca = principal(inner.rows, k, p)
            inner, pca = centred(inner, pca, k)
            problem, (X, frame) = rescaled(problem, inner.unit), span.seen(V)
            t = inner.rows.quadratic_form(X)
            e = 0 if math.isinf(p) else _beyond(t, p)
            if e > 0:  # a subspace so much worse than the SVD's that its cost leaves float64
                problem, inner = (rescaled(x, math.ldexp(x.unit, e)) for x in (problem, inner))
                pca = replace(pca, eigvals=pca.eigvals * 0.25**e)
                t = t * 0.25**e
            rows, value = inner.rows, lp_cost(t, p)
            if pca.rank <= k:
                # The optimum is 0, or not to be told from it by the longest rows; this subspace
                # reaches it only if it contains every row.
                y, exact = residuals(rows, X, inner.scale, len(V))
                problem, value = (problem, 0.0) if exact else measured(problem, y)
                return exact_certificate(problem, pca.rank, V, cost=value)
            check_cost(value, p)
            lewis, promise = None, 1.0
            seen = t if X is frame.W else rows.quadratic_form(frame.W)
            if p != 2.0:
                solver = solver_for(p)(rows, pca, k, p, seed=seed)
                lewis, lam, _ = solver.lewis(seen)
                promise = guarantee(lewis) if value <= solver.owed(lewis, lam) else math.inf
            elif value > float(np.maximum(pca.eigvals[: pca.eigvals.size - k], 0.0).sum()) * (
                1.0 + 1e-9
            ):
                promise = math.inf
            evidence = Evidence(frame.V, frame.W, seen, rows.squared_norms(), lewis)
            bounds = lower_bounds(rows, evidence, k, p, level, seed, progress)
            return with_bounds(problem, V, value, span.bounds(bounds, rows, p), promise)


def _beyond(t: Array, p: float) -> int:
    """How often norms have to be halved for ``sum t^(p/2)`` to be a float."""
    (top,) = numbers(t.max())
    if top == 0.0:
        return 0
    return math.ceil(0.5 * math.log2(top) - (1000.0 - math.log2(len(t))) / p)
