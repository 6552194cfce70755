"""The portfolio for entries: projections to start from, descents from them, the best of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpgeom.entries.alternating import alternate, fit_left, fit_right
from lpgeom.entries.bounds import whole_is_worth_it
from lpgeom.entries.column_sets import column_sets
from lpgeom.entries.problem import Entries
from lpgeom.entries.reweighted import reweight
from lpgeom.entries.splitting import split
from lpgeom.geometry.spectrum import LARGE
from lpgeom.progress import Progress
from lpgeom.records.factors import EntriesBlock
from lpgeom.records.subspace import SubspaceResult
from lpgeom.rows.vectors import beside
from lpgeom.subspace.approx import approx_rows

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
class Run:
    """Factors of B, where B is; their cost, and the way there."""

    name: str
    left: Any
    right: Any
    cost: float
    history: tuple[float, ...]
    n_iter: int = 0
    converged: bool = True


def projections(
    entries: Entries, certify: bool | str, seed: int
) -> tuple[dict[str, Run], EntriesBlock | None, float]:
    """Projections to start from by name, the whole matrix's certificate for rows, the guarantee."""
    B, k, p = entries.B, entries.k, entries.p
    found: dict[str, tuple[Any, Any]] = {"svd": entries.projected(k)}
    if p < 2.0:
        found["clipped"] = entries.projected(k, CLIP * entries.typical())
    rows, guarantee = None, math.inf
    if entries.W is None:
        # B has the row weights inside, A has not: for the certificate it must be A.
        omega = entries.row_weights
        d = entries.shape[1]
        best = approx_rows(
            entries.A,
            k,
            p,
            method="auto" if entries.A.size <= SMALL else "irls",
            row_weights=omega,
            certify=certify if whole_is_worth_it(d, k) else False,
            backend=entries.place.backend,
            seed=seed,
        )
        lewis = approx_rows(
            entries.A, k, p, method="lewis", row_weights=omega, certify=False,
            backend=entries.place.backend, seed=seed,
        )  # fmt: skip
        guarantee = lewis.guarantee * d ** abs(1.0 / p - 0.5)
        if best.lower_bound > 0.0 and best.certificate and entries.entry_weights is None:
            rows = EntriesBlock(np.arange(d), best.certificate)
        for name, result in (("lewis", lewis), ("rows", best)):
            V = beside(B, result.basis)
            found[name] = (B @ V, V.T)
        columns = _columns(entries, seed)
        if columns is not None:
            V = beside(B, columns.basis)
            found["columns"] = (V, V.T @ B)
    runs = {}
    for name, (left, right) in found.items():
        cost = entries.cost(left, right)
        runs[name] = Run(name, *_orthonormal(left, right), cost, (cost,))
    return runs, rows, guarantee


def _columns(entries: Entries, seed: int) -> SubspaceResult | None:
    """The best subspace for columns, where the columns are not all in one."""
    n, d = entries.shape
    if min(n, d) <= entries.k or n * d >= LARGE:
        return None
    return approx_rows(
        entries.B.T, entries.k, entries.p, method="irls", certify=False,
        backend=entries.place.backend, seed=seed,
    )  # fmt: skip


def best_of(
    entries: Entries,
    starts: dict[str, Run],
    seed: int,
    max_iter: int | None,
    tol: float | None,
    bar: Progress,
) -> Run:
    """The best of the starts, and of what ADMM and alternating regressions make of them.

    The same descents on every place: what is found does not depend on where.
    """
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


def _further(entries: Entries, seed: int, count: int) -> list[Run]:
    """The best sets of k columns, the best sets of k rows, and random subspaces."""
    B, W, k, p = entries.B, entries.W, entries.k, entries.p
    columns, rows = [], []
    for i, J in enumerate(column_sets(B, k, p, count, seed)):
        left = entries.place.array(B[:, beside(B, J)])
        right, _ = fit_right(B, left, p, W)
        columns.append(_start(entries, f"column set {i}", left, right))
    if k < len(B):
        for i, J in enumerate(column_sets(B.T, k, p, count, seed)):
            right = entries.place.array(B[beside(B, J)])
            left, _ = fit_left(B, right, p, W)
            rows.append(_start(entries, f"row set {i}", left, right))
    rng = np.random.default_rng(seed)
    found = [*_different(columns, FOLLOWED), *_different(rows, FOLLOWED)]
    for i in range(count):
        right = beside(B, np.linalg.qr(rng.standard_normal((B.shape[1], k)))[0].T)
        found.append(_start(entries, f"random {i}", fit_left(B, right, p, W)[0], right))
    return found


def _start(entries: Entries, name: str, left: Any, right: Any) -> Run:
    left, right = _orthonormal(left, right)
    return Run(name, left, right, entries.cost(left, right), ())


def _different(runs: Sequence[Run], count: int) -> list[Run]:
    """The cheapest runs that do not end at the same cost."""
    chosen: list[Run] = []
    for run in sorted(runs, key=lambda run: run.cost):
        if len(chosen) < count and not any(_same(run.cost, other.cost) for other in chosen):
            chosen.append(run)
    return chosen


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= SAME * max(a, b)


def _from_the_cheapest(run: Run, start: Run) -> Run:
    """The run with a history that begins at the cheapest start and never rises."""
    costs = [start.cost, *run.history, run.cost]
    run.history = tuple(np.minimum.accumulate(costs)[: len(costs)].tolist())
    return run


def _split(
    entries: Entries, start: Run, steps: int, tol: float, tick: Callable[[str], None]
) -> Run:
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
    return Run(f"{start.name}, admm", left, right, cost, history, found.n_iter, found.converged)


def _reweighted(entries: Entries, start: Run, tick: Callable[[str], None]) -> Run:
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
    return Run(f"{start.name}, irls", left, right, cost, history, steps, found.converged)


def _alternated(
    entries: Entries, start: Run, steps: int, tol: float, tick: Callable[[str], None]
) -> Run:
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
    return Run(name, left, right, cost, history, start.n_iter + found.n_iter, found.converged)


def _orthonormal(left: Any, right: Any) -> tuple[Any, Any]:
    """The same product in float64, with orthonormal rows on the right."""
    Q, R = np.linalg.qr(right.astype(np.float64, copy=False).T)
    return left.astype(np.float64, copy=False) @ R.T, Q.T
