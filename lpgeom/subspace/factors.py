"""``approx_factors``: the entrywise objective; projections, splitting, alternating regressions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpgeom import validation
from lpgeom.factorization import EntriesBlock, EntriesBound, EntriesCertificate, FactorResult
from lpgeom.geometry.spectrum import LARGE
from lpgeom.results import SubspaceResult, to_cost_units
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.subspace.alternating import alternate, fit_left, fit_right
from lpgeom.subspace.approx import approx_subspace
from lpgeom.subspace.column_sets import column_sets
from lpgeom.subspace.entries import Entries, open_entries
from lpgeom.subspace.entry_bounds import entry_bounds, whole_is_worth_it
from lpgeom.subspace.progress import Progress
from lpgeom.subspace.reweighted import reweight
from lpgeom.subspace.splitting import split
from lpgeom.threads import limited, sized

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CLIP = 3.0
"""Entries beyond this many times their median size count no more than that in one of the starts."""

SMALL = 1 << 16
"""Up to this many entries of A every start is followed to its end, above only the best two."""

REGRESSION_WORK = 4e9
"""Largest n d k^2 at which alternating regressions end a descent: some seconds a round."""

ROUND_TOL = 1e-8
"""Least tol of alternating regressions, which themselves are solved to that."""

ROUGH_STEPS, ROUGH_TOL = 200, 1e-5
"""Of ADMM: for p > 1 and for small matrices. At p = 1 it goes on slowly for a long time."""

SMOOTH_STEPS, SMOOTH_TOL = 100, 1e-6
"""Of reweighted least squares, which come near a minimum soon and the whole way late."""

POLISH = 60
"""Half rounds of regressions that end a descent for p > 1: reweighting comes nearly as far."""

RESTARTS, RESTART_WORK = 20, 2e7
"""Further starts: at most that many, and as many as are descents of that n d k^2 altogether."""

FOLLOWED, SAME = 3, 1e-6
"""Runs that regressions end, of those that differ by more than this share of the cost."""


@dataclass
class _Run:
    """Factors of B, their cost, and the way there."""

    name: str
    left: Array
    right: Array
    cost: float
    history: tuple[float, ...]
    n_iter: int = 0
    converged: bool = True


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
        As in `approx_subspace`, whose lower bounds, for the rows and for the columns, whole and in
        groups, give one for entries.
    backend : {"auto", "cpu", "cuda"}
        As in `approx_subspace`.
    seed : int
        As in `approx_subspace`.
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
        As `approx_subspace`; and weights or missing entries that leave nothing to fit.

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
    if max_iter is not None:
        max_iter = validation.check_positive_int("max_iter", max_iter)
    tol = None if tol is None else validation.check_tolerance(tol)
    seed = validation.check_seed(seed)
    validation.check_choice("certify", certify, (False, True, "tight"))
    backend = validation.check_backend(backend)
    if backend == "cuda":
        device.require()
    if device.on_device(A):
        A = device.host(A)
    entries = open_entries(A, k, p, row_weights, entry_weights, missing)
    n, d = entries.shape
    with limited(), sized(n, d), Progress(progress) as bar:
        entries = entries.centred()
        bar.stage("starts")
        starts, rows, guarantee = _starts(entries, certify, seed)
        svd_cost = starts["svd"].cost
        run = min(starts.values(), key=lambda start: start.cost)
        # At p = 2 the SVD is the best there is, unless entries differ in weight; of k rows, always.
        best_already = entries.k >= n or (entries.p == 2.0 and entries.W is None)
        if run.cost > 0.0 and not best_already:
            run = _descend(entries, starts, seed, max_iter, tol, bar)
        if entries.is_exact(run.left, run.right):
            run.cost, run.history = 0.0, (*run.history[:-1], 0.0)
        bounds: tuple[EntriesBound, ...] = ()
        if certify and run.cost > 0.0:
            bounds = entry_bounds(entries, rows, certify, seed, bar.stage)
    left, right = entries.in_user_units(run.left, run.right), np.ascontiguousarray(run.right)
    unit, p = entries.unit, entries.p
    certificate = None
    if certify:
        certificate = EntriesCertificate(
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
    lower = certificate.lower_bound if certificate is not None else 0.0
    return FactorResult(
        left=left,
        right=right,
        cost=to_cost_units(run.cost, unit, p),
        norm_error=run.cost ** (1.0 / p) * unit,
        lower_bound=lower,
        ratio=certificate.ratio if certificate is not None else math.inf,
        guarantee=guarantee,
        certificate=certificate,
        history=tuple(to_cost_units(c, unit, p) for c in run.history),
        method=run.name,
        p=p,
        k=entries.k,
        shape=(n, d),
        n_iter=run.n_iter,
        converged=run.converged,
        seconds=time.perf_counter() - started,
        svd_cost=to_cost_units(svd_cost, unit, p),
        seed=seed,
    )


def _starts(
    entries: Entries, certify: bool | str, seed: int
) -> tuple[dict[str, _Run], EntriesBlock | None, float]:
    """Projections to start from by name, the whole matrix's certificate for rows, the guarantee."""
    B, k, p = entries.B, entries.k, entries.p
    found: dict[str, tuple[Array, Array]] = {"svd": entries.projected(k)}
    if p < 2.0:
        found["clipped"] = entries.projected(k, CLIP * entries.typical())
    rows, guarantee = None, math.inf
    if entries.W is None:
        # B has the row weights inside, A has not: for the certificate it must be A.
        omega = entries.row_weights
        d = entries.shape[1]
        best = approx_subspace(
            entries.A,
            k,
            p,
            method="auto" if entries.A.size <= SMALL else "irls",
            row_weights=omega,
            certify=certify if whole_is_worth_it(d, k) else False,
            seed=seed,
        )
        lewis = approx_subspace(
            entries.A, k, p, method="lewis", row_weights=omega, certify=False, seed=seed
        )
        guarantee = lewis.guarantee * d ** abs(1.0 / p - 0.5)
        if best.lower_bound > 0.0 and best.certificate and entries.entry_weights is None:
            rows = EntriesBlock(np.arange(d), best.certificate)
        for name, result in (("lewis", lewis), ("rows", best)):
            found[name] = (B @ result.basis, result.basis.T)
        columns = _columns(entries, seed)
        if columns is not None:
            found["columns"] = (columns.basis, columns.basis.T @ B)
    runs = {}
    for name, (left, right) in found.items():
        cost = entries.cost(left, right)
        runs[name] = _Run(name, *_orthonormal(left, right), cost, (cost,))
    return runs, rows, guarantee


def _columns(entries: Entries, seed: int) -> SubspaceResult | None:
    """The best subspace for columns, where the columns are not all in one."""
    n, d = entries.shape
    if min(n, d) <= entries.k or n * d >= LARGE:
        return None
    return approx_subspace(
        entries.B.T, entries.k, entries.p, method="irls", certify=False, seed=seed
    )


def _descend(
    entries: Entries,
    starts: dict[str, _Run],
    seed: int,
    max_iter: int | None,
    tol: float | None,
    bar: Progress,
) -> _Run:
    """The best of the starts, and of what ADMM and alternating regressions make of them."""
    n, d = entries.shape
    large, small = n * d >= LARGE, n * d <= SMALL
    steps = max_iter or (200 if large else 500)
    eps = tol or (1e-10 if small else 1e-4)
    # What regressions end need not be followed to the last digit before.
    rough = tol or (ROUGH_TOL if small or entries.p > 1.0 else 1e-4)
    work = float(n * d) * entries.k**2
    order = sorted(starts.values(), key=lambda start: start.cost)
    found = list(order)
    for start in order[: 1 if large else None if small else 2]:
        bar.stage(f"ADMM from {start.name}")
        run = _split(entries, start, min(steps, ROUGH_STEPS), rough, bar.step)
        for way in (run, start) if small and run is not start else (run,):
            # From 2^16 entries on reweighting takes long, and for p < 2 ADMM ends lower.
            if small or (entries.p > 2.0 and work <= REGRESSION_WORK):
                bar.stage(f"reweighting from {way.name}")
                way = _reweighted(entries, way, bar.step)
            found.append(way)
    bar.stage("reweighting from further starts")
    count = int(min(RESTARTS, RESTART_WORK / work))
    for start in _further(entries, seed, count) if count else ():
        found += [start, _reweighted(entries, start, bar.step)]
    followed = _different(found, FOLLOWED if small else 1)
    best = followed[0]
    if work <= REGRESSION_WORK:
        polish = steps if entries.p == 1.0 else min(steps, POLISH)
        for run in (*followed, starts["svd"]) if small else followed:
            bar.stage(f"regressions from {run.name}")
            run = _alternated(entries, run, polish, eps, bar.step)
            best = run if run.cost < best.cost else best
    return _from_the_cheapest(best, order[0])


def _further(entries: Entries, seed: int, count: int) -> list[_Run]:
    """The best sets of k columns, the best sets of k rows, and random subspaces."""
    B, W, k, p = entries.B, entries.W, entries.k, entries.p
    columns, rows = [], []
    for i, J in enumerate(column_sets(B, k, p, count, seed)):
        right, _ = fit_right(B, np.ascontiguousarray(B[:, J]), p, W)
        columns.append(_start(entries, f"column set {i}", B[:, J], right))
    if k < len(B):
        for i, J in enumerate(column_sets(B.T, k, p, count, seed)):
            left, _ = fit_left(B, np.ascontiguousarray(B[J]), p, W)
            rows.append(_start(entries, f"row set {i}", left, B[J]))
    rng = np.random.default_rng(seed)
    found = [*_different(columns, FOLLOWED), *_different(rows, FOLLOWED)]
    for i in range(count):
        right = np.linalg.qr(rng.standard_normal((B.shape[1], k)))[0].T
        found.append(_start(entries, f"random {i}", fit_left(B, right, p, W)[0], right))
    return found


def _start(entries: Entries, name: str, left: Array, right: Array) -> _Run:
    left, right = _orthonormal(left, right)
    return _Run(name, left, right, entries.cost(left, right), ())


def _different(runs: Sequence[_Run], count: int) -> list[_Run]:
    """The cheapest runs that do not end at the same cost."""
    chosen: list[_Run] = []
    for run in sorted(runs, key=lambda run: run.cost):
        if len(chosen) < count and not any(_same(run.cost, other.cost) for other in chosen):
            chosen.append(run)
    return chosen


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= SAME * max(a, b)


def _from_the_cheapest(run: _Run, start: _Run) -> _Run:
    """The run with a history that begins at the cheapest start and never rises."""
    costs = [start.cost, *run.history, run.cost]
    run.history = tuple(np.minimum.accumulate(costs)[: len(costs)].tolist())
    return run


def _split(
    entries: Entries, start: _Run, steps: int, tol: float, tick: Callable[[str], None]
) -> _Run:
    """ADMM; or the start, if that is cheaper."""
    B, W = entries.B, entries.W
    n, d = B.shape
    if n * d >= LARGE and entries.A.dtype == np.float32:
        B, W = B.astype(np.float32), None if W is None else W.astype(np.float32)
    found = split(B, start.left, start.right, entries.p, W, max_iter=steps, tol=tol, tick=tick)
    left, right = _orthonormal(found.left, found.right)
    cost = entries.cost(left, right)
    if not cost < start.cost:
        return start
    # In float32 the steps' own costs are only nearly those of the result.
    history = (*start.history, *(max(c, cost) for c in found.history), cost)
    return _Run(f"{start.name}, admm", left, right, cost, history, found.n_iter, found.converged)


def _reweighted(entries: Entries, start: _Run, tick: Callable[[str], None]) -> _Run:
    """Reweighted least squares; or the start, if that is cheaper."""
    found = reweight(
        entries.B, start.left, start.right, entries.p, entries.W,
        max_iter=SMOOTH_STEPS, tol=SMOOTH_TOL, tick=tick,
    )  # fmt: skip
    left, right = _orthonormal(found.left, found.right)
    cost = entries.cost(left, right)
    if not cost < start.cost:
        return start
    history = (*start.history, *(max(c, cost) for c in found.history), cost)
    steps = start.n_iter + found.n_iter
    return _Run(f"{start.name}, irls", left, right, cost, history, steps, found.converged)


def _alternated(
    entries: Entries, start: _Run, steps: int, tol: float, tick: Callable[[str], None]
) -> _Run:
    """Alternating regressions; or the start, if that is cheaper."""
    found = alternate(
        entries.B, start.left, start.right, entries.p, entries.W,
        max_iter=steps, tol=max(tol, ROUND_TOL), tick=tick,
    )  # fmt: skip
    left, right = _orthonormal(found.left, found.right)
    cost = entries.cost(left, right)
    if not cost < start.cost:
        return start
    name = start.name if "alternating" in start.name else f"{start.name}, alternating"
    history = (*start.history, *found.history, cost)
    return _Run(name, left, right, cost, history, start.n_iter + found.n_iter, found.converged)


def _orthonormal(left: Array, right: Array) -> tuple[Array, Array]:
    """The same product in float64, with orthonormal rows on the right."""
    Q, R = np.linalg.qr(np.asarray(right, dtype=np.float64).T)
    return np.asarray(left, dtype=np.float64) @ R.T, Q.T
