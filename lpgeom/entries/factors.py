"""``approx_factors``: the entrywise objective; projections, splitting, alternating regressions."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.entries.bounds import entry_bounds
from lpgeom.entries.portfolio import EntriesSearch
from lpgeom.entries.problem import open_entries
from lpgeom.entries.starts import projections
from lpgeom.io import validation
from lpgeom.progress import Progress
from lpgeom.records.factors import EntriesBound, EntriesCertificate, FactorResult
from lpgeom.records.subspace import to_cost_units
from lpgeom.rows.place import device_for
from lpgeom.subspace.cost import cheapest
from lpgeom.threads import limited, sized


def approx_factors(
    A: ArrayLike,
    k: int,
    p: float = 1.0,
    *,
    row_weights: ArrayLike | None = None,
    entry_weights: ArrayLike | None = None,
    missing: str = "raise",
    certify: bool | str = True,
    backend: str = "auto",
    seed: int = 0,
    max_iter: int | None = None,
    tol: float | None = None,
    progress: bool = False,
) -> FactorResult:
    """Rank-k factors of small entrywise cost ``sum_ij omega_i w_ij |A - left @ right|_ij^p``.

    At p = 1 single wrong entries weigh least. The best of a portfolio: the projections on the SVD's
    subspace, on the Lewis subspace, on the best subspaces for rows and for columns, on the SVD's of
    A with its entries cut off at three times their median; and from these ADMM (a splitting method
    with the proximal map of |x|^p), reweighted least squares, and alternating l_p regressions, each
    of which finds the best factor for the other. The result never costs more than the SVD's.

    Parameters
    ----------
    A : array_like, shape (n, d)
    k : int
        1 <= k <= d - 1.
    p : float
        1 <= p <= 100.
    row_weights : array_like, shape (n,), optional
        omega >= 0.
    entry_weights : array_like, shape (n, d) or (d,), optional
        w >= 0, or a mask that is False where an entry does not count.
    missing : {"raise", "ignore"}
        "ignore": NaN is a missing entry, and does not count.
    certify : bool or "tight"
        The same as in `approx_subspace`, whose lower bounds, for the rows and for the columns,
        whole and in groups, give one for entries.
    backend : {"auto", "cpu", "cuda"}
        Where A and all that is of its size lie. "cuda": on a CUDA device, to which a NumPy array is
        sent as a whole; needs `lpgeom[cuda]`. "cpu": here, with a device array fetched. "auto":
        where A is. CuPy arrays and torch CUDA tensors are used where they lie, without a copy.
        Results are NumPy's.
    seed : int
        The same as in `approx_subspace`.
    max_iter : int, optional
        Steps of ADMM and of the regressions, at most; if not given 200 from 2^20 entries of A on,
        500 below.
    tol : float, optional
        A descent ends when a step brings less than this share of the cost; if not given 1e-4 from
        2^16 entries of A on (1e-5 for steps of ADMM at p > 1), 1e-10 below.
    progress : bool
        A counter of steps on stderr.

    Returns
    -------
    FactorResult

    Raises
    ------
    TypeError, ValueError
        The same as for `approx_subspace`; and weights or missing entries that leave nothing to fit.
    ImportError, RuntimeError, MemoryError
        backend="cuda" without CuPy, without a device, or with too little memory for some six arrays
        of A's size in float64, eight with weights.

    Notes
    -----
    A step of ADMM costs O(n d k + n d^2) and holds three arrays of A's size in its precision
    (float32 for float32 input of 2^20 entries or more); a round of regressions O(n d k^2), tens of
    times, and is left out where that takes too long. Both are heuristics here: the problem is
    NP-hard at p = 1 even for k = 1. Theorem (theory 2): the Lewis projection has ratio at most
    ``d^|2/p - 1|``. Sources: Boyd et al., "Distributed optimization and statistical learning via
    the alternating direction method of multipliers", 2011; Ke and Kanade, "Robust L1 norm
    factorization in the presence of outliers and missing data by alternative convex programming",
    CVPR 2005.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> B = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 30))
    >>> A = B + 10.0 * rng.standard_normal(B.shape) * (rng.random(B.shape) < 0.05)
    >>> A[rng.random(B.shape) < 0.1] = np.nan
    >>> result = lpgeom.approx_factors(A, 3, missing="ignore")
    >>> bool(np.abs(result.left @ result.right - B).max() < 1e-6)
    True
    """
    started = time.perf_counter()
    max_iter = validation.check_steps(max_iter, None)
    tol = None if tol is None else validation.check_tolerance(tol)
    seed = validation.check_seed(seed)
    validation.check_choice("certify", certify, (False, True, "tight"))
    with device_for(A, backend):
        entries = open_entries(A, k, p, row_weights, entry_weights, missing, backend)
        n, d = entries.shape
        with limited(), sized(n, d), Progress(progress) as bar:
            entries = entries.centred()
            bar.stage("starts")
            starts, rows, guarantee = projections(entries, certify, seed)
            svd_cost = starts["svd"].cost
            run = cheapest(list(starts.values()), nothing=entries.rounding)
            # At p = 2 the SVD is the best there is, unless entries differ in weight; of k rows,
            # always.
            best_already = entries.k >= n or (entries.p == 2.0 and entries.W is None)
            if run.cost > 0.0 and not best_already:
                run = EntriesSearch(entries, starts, seed, max_iter, tol, bar).best()
            if entries.is_exact(run.left, run.right):
                run = replace(run, cost=0.0, history=(*run.history[:-1], 0.0))
            bounds: tuple[EntriesBound, ...] = ()
            if certify and run.cost > 0.0:
                bounds = entry_bounds(entries, rows, certify, seed, bar.stage)
        right = np.ascontiguousarray(entries.place.host(run.right))
        left = entries.in_user_units(entries.place.host(run.left), right)
    unit, p = entries.unit, entries.p
    statement = EntriesCertificate(
        p=p,
        k=entries.k,
        shape=(n, d),
        left=left,
        right=right,
        scaled_cost=run.cost,
        bounds=bounds,
        unit=unit,
        row_weights=entries.row_weights,
        entry_weights=entries.entry_weights,
        missing=missing,
    )
    return FactorResult(
        statement=statement,
        certified=bool(certify),
        guarantee=guarantee,
        history=tuple(to_cost_units(c, unit, p) for c in run.history),
        method=run.name,
        n_iter=run.n_iter,
        converged=run.converged,
        seconds=time.perf_counter() - started,
        svd_cost=to_cost_units(svd_cost, unit, p),
        seed=seed,
        backend=entries.place.backend,
    )
