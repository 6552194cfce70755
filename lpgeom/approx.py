"""``approx_subspace``, the door above two problems: the one subspace for rows, factors for entries.

Inside the library the functions of the two rooms are called; this is for those who come from
outside, with `objective` as a string.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

from numpy.typing import ArrayLike

from lpgeom.coresets.record import Coreset
from lpgeom.entries.factors import approx_factors
from lpgeom.io import validation
from lpgeom.records.factors import FactorResult
from lpgeom.records.subspace import SubspaceResult
from lpgeom.subspace.approx import approx_rows


def approx_entries(
    A: ArrayLike | Coreset, k: int, p: float | None, *, method: str, **options: Any
) -> FactorResult:
    """`approx_factors` for what `approx_subspace` takes."""
    if isinstance(A, Coreset):
        raise ValueError("a coreset stands for the rows objective, not for entries")
    if method != "auto":
        raise ValueError(f'objective="entries" has no method {method!r}; leave it at "auto"')
    return approx_factors(A, k, 1.0 if p is None else p, **options)


OBJECTIVES: dict[str, Callable[..., SubspaceResult | FactorResult]] = {
    "rows": approx_rows,
    "entries": approx_entries,
}
"""Objective -> the function of its room, with the arguments of `approx_subspace`."""


@overload
def approx_subspace(
    A: ArrayLike | Coreset,
    k: int,
    p: float | None = None,
    *,
    objective: Literal["rows"] = "rows",
    **options: Any,
) -> SubspaceResult: ...


@overload
def approx_subspace(
    A: ArrayLike | Coreset,
    k: int,
    p: float | None = None,
    *,
    objective: Literal["entries"],
    **options: Any,
) -> FactorResult: ...


def approx_subspace(  # type: ignore[misc]  # the overloads name what decides the result
    A: ArrayLike | Coreset,
    k: int,
    p: float | None = None,
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
) -> SubspaceResult | FactorResult:
    """Rank-k subspace of small l_p cost, with a proof of how far from optimal it can be.

    Minimises, over orthonormal V of shape (d, k),

        cost(V) = sum_i omega_i ||a_i - a_i V V^T||_2^p,

    and bounds the minimum from below. For p = 2 this is PCA without centring, and exact; at p = 1
    rows far off the subspace weigh least; a large p looks at the worst rows.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points. Floating or integer, any layout, or a memory map: read in blocks, never
        copied whole. Reported numbers come from float64 passes whatever the dtype. Or a `Coreset`:
        cost and certificate are then those of its weighted rows, and `method` says so; for the data
        behind it see `certify`.
    k : int
        1 <= k <= d - 1. For k >= rank(A) the cost is 0 and `method` says "rank". Where some rows
        are some 1e15 times as long as others, float64 cannot tell that rank: unless the subspace
        found holds every row, to the rounding of its own length, `method` is "longest rows", the
        cost is the one measured and the lower bound 0.
    p : float
        1 <= p <= 100, or inf: then the cost is the largest distance, ``max_i ||a_i - a_i V V^T||``
        over the rows with omega_i > 0 (a norm, not a power). If not given: 1, or the coreset's own.
    objective : {"rows", "entries"}
        "rows": the cost above. "entries": ``sum_ij omega_i |A - B|_ij^p`` over all B of rank k;
        then this is `approx_factors`, and the result a `FactorResult`, whose `basis` spans the rows
        of B.
    method : {"auto", "irls", "lewis", "svd"}
        "lewis": the k leading eigenvectors of ``M = A^T W^(1-2/p) A``, W the Lewis weights (for p =
        inf John's). "svd": the k leading right singular vectors. "irls": descent from both of them,
        by iteratively reweighted eigenvectors (p < 2), damped steps of them (p > 2), or through a
        large p to steps on the largest distance itself (p = inf). "auto": the same, and for p < 2 a
        search for better local minima, from robust starts and by hops from the best (on a sample of
        the rows for large A, and only where the SVD can be improved much); for p = inf the convex
        relaxation and, for small A, random subspaces are starts too. For tiny A and p < 2 the spans
        of k rows are tried; at p = 1, k = d - 1 the best of them is an optimum, and the result's
        `method` "k rows" (theory 4). "auto" and "irls" return the cheapest subspace seen, so never
        one that costs more than the SVD's.
    row_weights : array_like, shape (n,), optional
        omega >= 0, not all zero.
    certify : bool or "tight"
        True: lower bounds 3a to 3f (3j and 3k for p = inf). "tight": also the radial bound 3i,
        which takes longer and holds with a stated probability. False: none;
        `lower_bound` is 0 and `ratio` inf.
    backend : {"auto", "cpu", "cuda"}
        Where passes over A run. "cuda": on a CUDA device, to which a NumPy array is sent (as a
        whole, or block by block in every pass where it does not fit); needs `lpgeom[cuda]`. "cpu":
        here, with a device array fetched. "auto": where A is. CuPy arrays and torch CUDA tensors
        are used where they lie, without a copy. Results are NumPy's.
    seed : int
        For the samples, the search, and the random starts of the tight bounds. The same seed and
        thread count give the same result; other thread counts agree up to rounding.
    max_iter : int, optional
        Steps of one descent, at most. 200 if not given.
    tol : float, optional
        A descent stops when its next step is sure of (p < 2), or the last one brought (p > 2),
        less than this share of the cost. If not given: 3e-7 from 2^20 entries of A on, 1e-10 below;
        for p < 2 the cost is then within a few times that of where the descent would end.
    progress : bool
        A counter of steps on stderr.

    Returns
    -------
    SubspaceResult (FactorResult for entries)
        `cost` and `lower_bound` are p-th powers, `ratio = (cost / lower_bound)^(1/p)` is of norms.
        `guarantee` is the a-priori ratio ``(kappa rank)^|1/p - 1/2|`` with the kappa measured for
        the weights used; with method="svd" it is inf where that subspace costs more than the
        theorem allows.

    Raises
    ------
    TypeError
        A sparse, masked, boolean, complex, object or text A; k, p, ... not numbers.
    ValueError
        NaN or infinite entries, an A that is empty or not two-dimensional, k or p out of range,
        weights that are negative, all zero or of the wrong length.
    OverflowError
        A, or A and row_weights, lie so near an end of float64 that p-th powers leave it.
    ImportError, RuntimeError, MemoryError
        backend="cuda" without its libraries, without a device, or with too little memory on it.

    Notes
    -----
    About 15 passes over A without the certificate on large data, mostly in float32, and 3 more
    with it at p = 1; what is not a pass is d x d work. For n < d it is n x n: search and proof are
    in coordinates of the rows' span, with O(n d) memory. Below 2^20 entries 100 to 200 passes at
    p < 2, most of them in the search (`method="irls"` leaves it out). Theorem (theory 2): the Lewis
    subspace has ratio at most ``rank^|1/p - 1/2|``; the returned one inherits it by costing no more
    than that theorem's upper bound. Sources: Cohen and Peng, "lp row sampling by Lewis weights",
    STOC 2015; Tukan, Maalouf, Weksler, Feldman, "No Fine-Tuning, No Cry: Robust SVD for Compressing
    Deep Networks", Sensors 2021.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((500, 2)) @ rng.standard_normal((2, 10))
    >>> A += 0.01 * rng.standard_normal(A.shape)
    >>> A[:25] = 30.0 * rng.standard_normal((25, 10))  # 5% of the rows are wrong
    >>> result = lpgeom.approx_subspace(A, k=2, p=1.0)
    >>> result.ratio < 1.1, result.cost < result.svd_cost
    (True, True)
    """
    validation.check_choice("objective", objective, tuple(OBJECTIVES))
    return OBJECTIVES[objective](
        A, k, p,
        method=method, row_weights=row_weights, certify=certify, backend=backend, seed=seed,
        max_iter=max_iter, tol=tol, progress=progress,
    )  # fmt: skip
