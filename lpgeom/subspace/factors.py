"""``approx_factors``: the entrywise objective, from projections and by splitting."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from lpgeom import validation
from lpgeom.factorization import FactorResult
from lpgeom.geometry.spectrum import LARGE, eigen
from lpgeom.results import norm_ratio, to_cost_units
from lpgeom.rows.array import dense
from lpgeom.rows.base import Array
from lpgeom.rows.door import open_rows
from lpgeom.subspace.approx import approx_subspace
from lpgeom.subspace.progress import Progress
from lpgeom.subspace.splitting import split
from lpgeom.threads import limited, sized

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ROUNDS = 6
"""Runs of ADMM in a row, each from where the last ended: the growing penalty freezes a run."""


def approx_factors(
    A: ArrayLike,
    k: int,
    p: float = 1.0,
    *,
    row_weights: ArrayLike | None = None,
    certify: bool | str = True,
    seed: int = 0,
    max_iter: int | None = None,
    tol: float | None = None,
    progress: bool = False,
) -> FactorResult:
    """Rank-k factors of small entrywise l_p error: ``sum_ij omega_i |A - left @ right|_ij^p``.

    At p = 1 single wrong entries weigh least. The best of a portfolio: the projections on the SVD's
    subspace, on the Lewis subspace, on the best subspace for the rows objective, on the SVD's of A
    with its entries cut off at three times their median (p < 2), and ADMM (a splitting method with
    the proximal map of |x|^p) from each of them; for large A from the cheapest only. So the result
    never costs more than the SVD's.

    Parameters
    ----------
    A : array_like, shape (n, d)
    k : int
        1 <= k <= d - 1.
    p : float
        1 <= p <= 100.
    row_weights : array_like, shape (n,), optional
        omega >= 0.
    certify : bool or "tight"
        As in `approx_subspace`, whose lower bound for rows is one for entries: times 1 for p <= 2,
        times ``d^(1 - p/2)`` for p >= 2.
    seed : int
        As in `approx_subspace`.
    max_iter : int, optional
        Steps of ADMM, at most; if not given 100 from 2^20 entries of A on, 500 below.
    tol : float, optional
        ADMM ends when its cost changes by less than this share a step; if not given 1e-4 from 2^20
        entries of A on, 1e-10 below.
    progress : bool
        A counter of steps on stderr.

    Returns
    -------
    FactorResult

    Raises
    ------
    TypeError, ValueError
        As `approx_subspace`.

    Notes
    -----
    A step of ADMM costs O(n d k + n d^2) and holds three arrays of A's size in its precision
    (float32 for float32 input of 2^20 entries or more). ADMM is a heuristic here: the problem is
    NP-hard at p = 1 even for k = 1. Theorem (theory 2): the Lewis projection has ratio at most
    ``d^|2/p - 1|``. Source of the splitting: Boyd et al., "Distributed optimization and statistical
    learning via the alternating direction method of multipliers", 2011.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> B = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 30))
    >>> A = B + 10.0 * rng.standard_normal(B.shape) * (rng.random(B.shape) < 0.05)
    >>> result = lpgeom.approx_factors(A, 3)
    >>> bool(np.abs(result.left @ result.right - B).max() < 1e-3)
    True
    """
    started = time.perf_counter()
    if max_iter is not None:
        max_iter = validation.check_positive_int("max_iter", max_iter)
    tol = None if tol is None else validation.check_tolerance(tol)
    p = validation.check_p(p)
    rows = approx_subspace(
        A, k, p, row_weights=row_weights, certify=certify, seed=seed, progress=progress
    )
    lewis = approx_subspace(A, k, p, method="lewis", row_weights=row_weights, certify=False)
    svd = approx_subspace(A, k, 2.0, row_weights=_squared(row_weights, p), certify=False)
    with limited():
        problem = open_rows(A, p, row_weights)
        n, d = problem.rows.shape
        k = rows.k
        B = dense(problem.rows)
        with sized(n, d), Progress(progress) as bar:
            starts = {"svd": svd.basis, "lewis": lewis.basis, "rows": rows.basis}
            if p < 2.0:
                starts["clipped"] = _clipped(B, k)
            large = n * d >= LARGE
            steps = max_iter or (100 if large else 500)
            small = tol or (1e-4 if large else 1e-10)
            found = {name: (_cost(B, B @ V, V.T, p), B @ V, V.T) for name, V in starts.items()}
            svd_cost = found["svd"][0]
            history: tuple[float, ...] = (min(cost for cost, _, _ in found.values()),)
            n_iter, converged = 0, True
            best = min(found, key=lambda name: found[name][0])
            if found[best][0] > 0.0 and p != 2.0 and rows.cost > 0.0:
                single = np.asarray(A).dtype == np.float32 and large
                work = B.astype(np.float32) if single else B
                names = sorted(starts, key=lambda name: found[name][0])[: 1 if large else None]
                for name in names:
                    bar.stage(f"ADMM from {name}")
                    V = starts[name]
                    for _ in range(1 if large else ROUNDS):
                        run = split(work, V, p, max_iter=steps, tol=small, tick=bar.step)
                        left, right = _orthonormal(run.left, run.right)
                        cost = _cost(B, left, right, p)
                        if cost >= found[best][0] * (1.0 - small):
                            break
                        best, V = f"admm from {name}", right.T
                        found[best] = cost, left, right
                        n_iter, converged = run.n_iter, run.converged
                        history = (history[0], *(max(c, cost) for c in run.history), cost)
                history = tuple(np.minimum.accumulate(history).tolist())
    cost, left, right = found[best]
    left = left / problem.scale
    if problem.factors is not None:
        f = problem.factors
        left = np.where(f[:, None] > 0.0, left / np.where(f > 0.0, f, 1.0)[:, None], 0.0)
        idle = f == 0.0
        left[idle] = np.asarray(A, dtype=np.float64)[idle] @ right.T
    unit = problem.unit
    lower = rows.lower_bound * min(1.0, d ** (1.0 - p / 2.0))
    value = to_cost_units(cost, unit, p)
    return FactorResult(
        left=left,
        right=np.ascontiguousarray(right),
        cost=value,
        norm_error=cost ** (1.0 / p) * unit,
        lower_bound=lower,
        ratio=norm_ratio(value, lower, p) if rows.certificate is not None else math.inf,
        guarantee=lewis.guarantee * d ** abs(1.0 / p - 0.5),
        certificate=rows.certificate,
        history=tuple(to_cost_units(c, unit, p) for c in history),
        method=best,
        p=p,
        k=k,
        shape=(n, d),
        n_iter=n_iter,
        converged=converged,
        seconds=time.perf_counter() - started,
        svd_cost=to_cost_units(svd_cost, unit, p),
        seed=rows.seed,
    )


def _squared(row_weights: ArrayLike | None, p: float) -> Array | None:
    """Weights with which p = 2 sees the same rows: ``(omega^(1/p))^2``."""
    if row_weights is None:
        return None
    omega = np.asarray(row_weights, dtype=np.float64)
    top = float(omega.max(initial=0.0)) or 1.0
    return np.asarray((omega / top) ** (2.0 / p))


def _clipped(B: Array, k: int) -> Array:
    """The SVD's subspace with entries cut off at three times their median size.

    Where few entries are grossly wrong, they count no more than others here.
    """
    size = np.abs(B[np.any(B != 0.0, axis=1)])
    typical = float(np.median(size)) or float(size.mean())
    C = np.clip(B, -3.0 * typical, 3.0 * typical)
    return _leading(C, k)


def _leading(C: Array, k: int) -> Array:
    """The k leading right singular vectors, (d, k)."""
    U = eigen(C.T @ C)[1]
    return np.ascontiguousarray(U[:, U.shape[0] - k :])


def _cost(B: Array, left: Array, right: Array, p: float) -> float:
    """``sum |B - left right|^p`` in float64, in blocks."""
    total = 0.0
    for lo in range(0, len(B), 2048):
        residual = np.abs(B[lo : lo + 2048] - left[lo : lo + 2048] @ right)
        total += float(residual.sum() if p == 1.0 else (residual**p).sum())
    return total


def _orthonormal(left: Array, right: Array) -> tuple[Array, Array]:
    """The same product in float64, with orthonormal rows on the right."""
    Q, R = np.linalg.qr(np.asarray(right, dtype=np.float64).T)
    return np.asarray(left, dtype=np.float64) @ R.T, Q.T
