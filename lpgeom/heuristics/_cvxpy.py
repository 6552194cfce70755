"""REAPER as a semidefinite program, solved by an interior-point method: small cases, exactly."""

from __future__ import annotations

import warnings

import numpy as np

from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic

MOST_COLUMNS, MOST_ENTRIES = 40, 20_000
"""Beyond this the solver takes minutes, and gigabytes."""

FAILED = "cvxpy_reaper: the solver found no solution (rows of very different lengths?)"


@heuristic(steps=200)
def cvxpy_reaper(task: RowsTask) -> BasisFound:
    """Minimises ``sum_i ||Q a_i||`` over ``0 <= Q <= I, tr Q = d - k`` by cvxpy, then rounds.

    The relaxation that `reaper` solves by reweighting (Lerman, McCoy, Tropp, Zhang, Foundations of
    Computational Mathematics 15, 2015), here as a cone program by Clarabel: n second-order cones
    of size d + 1 and two semidefinite ones of size d. The k eigenvectors of Q with the smallest
    eigenvalues are returned.

    Cost grows with n d^3 and more; only for d <= 40 (or n <= 40) and n d <= 20,000.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points. Copied.
    k : int
        1 <= k <= d - 1.
    p, seed, tol
        Checked, not used.
    max_iter : int, optional
        Steps of the interior-point method: 200 if not given.

    Returns
    -------
    HeuristicResult
        `history` holds the relaxed optimum alone.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix, k or p out of range; A too large; rows of lengths
        so different that the solver gives up.
    ImportError
        Without cvxpy.

    Examples
    --------
    >>> from lpgeom.heuristics import cvxpy_reaper
    >>> V = cvxpy_reaper([[1.0, 0.0], [2.0, 0.0], [-3.0, 0.0], [1.0, 2.5]], 1).V
    >>> abs(V).round(4).ravel().tolist()
    [1.0, 0.0]
    """
    n, d = task.shape
    if d > MOST_COLUMNS or n * d > MOST_ENTRIES:
        raise ValueError(
            f"cvxpy_reaper is limited to {MOST_COLUMNS} columns and {MOST_ENTRIES} entries of A, "
            f"got {n} x {d}; reaper solves the same relaxation at any size"
        )
    try:
        import cvxpy
    except ImportError as error:
        raise ImportError("cvxpy_reaper needs cvxpy: pip install 'lpgeom[cvxpy]'") from error

    A = task.dense()
    # Zero rows cost nothing, and the rest near norm 1 suits the solver's absolute tolerances.
    norms = np.sqrt((A * A).sum(axis=1))
    unit = float(np.median(norms[norms > 0.0]))
    A = A[norms > 0.0] / unit
    Q = cvxpy.Variable((d, d), symmetric=True)
    goal = cvxpy.Minimize(cvxpy.sum(cvxpy.norm(A @ Q, 2, axis=1)))
    program = cvxpy.Problem(goal, [Q >> 0, np.eye(d) - Q >> 0, cvxpy.trace(Q) == d - task.k])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "may be inaccurate": the status says so too
        try:
            program.solve(solver=cvxpy.CLARABEL, max_iter=task.max_iter)
        except cvxpy.SolverError as error:
            raise ValueError(f"{FAILED}: {error}") from error
    if Q.value is None:
        raise ValueError(f"{FAILED}: it ended with status {program.status!r}")
    V = np.linalg.eigh(0.5 * (Q.value + Q.value.T))[1][:, : task.k]
    stats = program.solver_stats
    n_iter = int(stats.num_iters) if stats.num_iters is not None else 0
    history, converged = (float(program.value) * unit,), program.status == cvxpy.OPTIMAL
    return BasisFound(V, n_iter=n_iter, converged=converged, history=history)
