"""The search for a split of the rows: starts, and descents from the best of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lpgeom.geometry.spectrum import HEALTHY, spectrum
from lpgeom.groups.base import is_large
from lpgeom.groups.lloyd import Clustering, Points, descend
from lpgeom.groups.seeding import starts
from lpgeom.progress import Progress
from lpgeom.records.subspace import to_cost_units
from lpgeom.rows.base import Array
from lpgeom.rows.blocks import BlockRows
from lpgeom.rows.door import Problem, plain_rows
from lpgeom.subspace.sampling import sampler
from lpgeom.subspace.scale import centred, rescaled
from lpgeom.subspace.span import in_span

LARGE_ROUNDS, SMALL_ROUNDS = 2, 8
"""Rounds after which starts are compared, on large and small data."""

LARGE_KEPT, SMALL_KEPT = (2, 0.01), (4, 0.2)
"""Starts that are then followed to their ends: so many at most, and only those within this share of
the best."""

WORK = 2e9
"""Floating-point operations that all starts together may take, about; FEWEST are taken anyway."""

FEWEST, MOST = 5, 24

LARGE_TOL, SMALL_TOL = 3e-4, 1e-7
"""A descent ends where a round brings less than this share of the cost, on large and small data."""

SAMPLE = 1 << 16
"""Rows on which the starts of larger data are compared; PER_COLUMN times j k where that is more."""

PER_COLUMN = 16


@dataclass(frozen=True)
class Searched:
    """Where the search ended: bases in the space of A, and costs in user units."""

    bases: list[Array]
    history: list[float]
    name: str
    n_iter: int
    converged: bool


def searched(
    problem: Problem[BlockRows],
    k: int,
    j: int,
    seed: int,
    restarts: int | None,
    max_iter: int,
    bar: Progress,
) -> Searched:
    """The best end of descents from several starts."""
    n, d = problem.rows.shape
    rng = np.random.default_rng(seed)
    p, f = problem.p, problem.factors
    plain = replace(problem, rows=plain_rows(problem))
    inner, span = in_span(plain)
    bar.stage("Gram")
    spec = spectrum(inner.rows, None if f is None else f * f)
    inner, spec = centred(inner, spec, k)
    large = is_large(problem)
    # What float32 has to resolve is what k directions leave.
    left = float(spec.eigvals[: spec.eigvals.size - k].mean())
    single = large and spec.squared and left > HEALTHY * float(spec.eigvals[-1])
    rows: Any = inner.rows.single() if single else inner.rows
    points = Points(rows, f, k, p, rng)
    few = max(SAMPLE, PER_COLUMN * j * k)
    some = points
    if large and n > 2 * few:
        weighted = rescaled(problem, inner.unit).rows.fetching().single()
        t = points.scaled(points.rows.quadratic_form(spec.U[:, : d - k]))
        drawn: Any = sampler(weighted, spec, t / t.max(), p, rng).draw(few, rng)
        some = Points(drawn, None, k, p, rng)
    r = rows.shape[1]
    work = 40.0 * some.norms.size * r * (j * min(k, r - k) + r) + 200.0 * j * r**3
    count = restarts or min(max(int(WORK / work), FEWEST), MOST)
    tol = LARGE_TOL if large else SMALL_TOL
    bar.stage("starts")
    rounds = min(LARGE_ROUNDS if large else SMALL_ROUNDS, max_iter)
    begun: list[tuple[str, Clustering]] = []
    for name, frames in starts(some, spec.U, j, count):
        begun.append((name, descend(some, frames, tol=tol, max_iter=rounds, tick=bar.step)))
        if begun[-1][1].cost == 0.0:
            break
    bar.stage("descent")
    begun.sort(key=lambda start: start[1].cost)
    kept, close = LARGE_KEPT if large else SMALL_KEPT
    most = begun[0][1].cost * (1.0 + close)
    ends = []
    for name, split in begun[:kept]:
        if split.cost <= most:
            end = descend(points, split.frames, tol=tol, max_iter=max_iter, tick=bar.step)
            ends.append((name, replace(end, n_iter=split.n_iter + end.n_iter)))
    name, best = min(ends, key=lambda start: start[1].cost)
    bases = [span.lifted(frame.V) for frame in best.frames]
    costs = [to_cost_units(cost, inner.unit, p) for cost in best.history]
    return Searched(bases, costs, name, best.n_iter, best.converged)
