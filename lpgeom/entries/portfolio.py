"""The portfolio for entries: descents from the starts, and from one another's ends; the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lpgeom.entries.alternating import alternate
from lpgeom.entries.problem import Entries
from lpgeom.entries.reweighted import reweight
from lpgeom.entries.run import FactorsRun, orthonormal
from lpgeom.entries.splitting import split
from lpgeom.entries.starts import FURTHER, SMALL, started
from lpgeom.geometry.spectrum import LARGE
from lpgeom.progress import Progress
from lpgeom.subspace.cost import cheapest, ranked

REGRESSION_WORK = 4e9
"""Largest n d k^2 at which alternating regressions end a descent: some seconds a round."""

ROUND_TOL = 1e-8
"""Least tol of alternating regressions, which themselves are solved to that."""

ROUGH_STEPS, ROUGH_TOL = 200, 1e-5
"""Limits of ADMM, for p > 1 and for small matrices. At p = 1 it goes on slowly for a long time."""

SMOOTH_STEPS, SMOOTH_TOL = 100, 1e-6
"""Limits of reweighted least squares, which come near a minimum soon and the whole way late."""

POLISH = 60
"""Half rounds of regressions that end a descent for p > 1: reweighting comes nearly as far."""

RESTARTS, RESTART_WORK = 20, 2e7
"""Further starts: at most that many, and as many as are descents of that n d k^2 altogether."""

FOLLOWED, SAME = 3, 1e-6
"""Runs that regressions end, of those that differ by more than this share of the cost."""


@dataclass
class EntriesSearch:
    """One problem, and the runs so far.

    Attributes
    ----------
    large, small : bool
        Whether only the best start is followed (in float32 for float32 input), or every one.
    work : float
        n d k^2.
    steps : int
        Steps of a descent, at most.
    found : list of FactorsRun
        The starts, cheapest first; then ends, each in the place of the end that it came from.
    latest : list of FactorsRun
        What the last descent made of the runs it was given.
    """

    entries: Entries
    starts: dict[str, FactorsRun]
    seed: int
    max_iter: int | None
    tol: float | None
    bar: Progress

    def __post_init__(self) -> None:
        size = self.entries.B.size
        self.large, self.small = size >= LARGE, size <= SMALL
        self.work = float(size) * self.entries.k**2
        self.steps = self.max_iter or (200 if self.large else 500)
        self.found = ranked(self.starts.values(), self.entries.rounding)
        self.latest: list[FactorsRun] = []

    def best(self) -> FactorsRun:
        """The best of the starts, and of what the descents make of them and of one another's ends.

        The same descents on every place: what is found does not depend on where.
        """
        start = self.found[0]
        for descent in DESCENTS:
            chosen, self.latest = list(descent.chosen(self)), []
            for run in chosen:
                self.bar.stage(f"{descent.title} from {run.name}")
                self.latest.append(self.follow(descent, run))
                self.keep(run, self.latest[-1])
        best = cheapest(self.found, nothing=self.entries.rounding)
        # A history that begins at the cheapest start and never rises.
        costs = [start.cost, *best.history, best.cost]
        return replace(best, history=tuple(np.minimum.accumulate(costs).tolist()))

    def follow(self, descent: EntriesDescent, start: FactorsRun) -> FactorsRun:
        """The end of a descent in float64; or the start, if that is cheaper."""
        entries, max_iter, tol = self.entries, *descent.limits(self)
        B, W = entries.B, entries.W
        if descent.single and self.large and entries.A.dtype == np.float32:
            B, W = B.astype(np.float32), None if W is None else W.astype(np.float32)
        end = descent.descend(
            B, start.left, start.right, entries.p, W, max_iter=max_iter, tol=tol, tick=self.bar.step
        )
        left, right = orthonormal(end.left, end.right)
        cost = entries.cost(left, right)
        if not cost < start.cost:
            return start
        name = start.name if descent.name in start.name else f"{start.name}, {descent.name}"
        # In float32 the steps' own costs are only nearly those of the result.
        history = (*start.history, *(max(c, cost) for c in end.history), cost)
        n_iter = start.n_iter + end.n_iter
        return FactorsRun(left, right, cost, history, n_iter, end.converged, name)

    def keep(self, start: FactorsRun, end: FactorsRun) -> None:
        """Starts stay, and an end gives way to what comes of it."""
        known = [run is start for run in self.found]
        if start.n_iter > 0 and any(known):
            self.found[known.index(True)] = end
        else:
            self.found += [run for run in (start, end) if all(run is not r for r in self.found)]


@dataclass(frozen=True)
class EntriesDescent:
    """A descent, and where it goes on from.

    Attributes
    ----------
    name : str
        What it adds to the name of a run.
    title : str
        What a counter on stderr calls it.
    descend : callable
        ``descend(B, left, right, p, W, max_iter=, tol=, tick=)``, a `FactorsRun`.
    limits : callable
        (max_iter, tol) for an `EntriesSearch`.
    chosen : callable
        The runs of an `EntriesSearch` that it goes on from.
    single : bool
        Whether float32 will do where A is that, and large.
    """

    name: str
    title: str
    descend: Callable[..., FactorsRun]
    limits: Callable[[EntriesSearch], tuple[int, float]]
    chosen: Callable[[EntriesSearch], Sequence[FactorsRun]]
    single: bool = False


def different(runs: Sequence[FactorsRun], count: int, nothing: float) -> list[FactorsRun]:
    """The cheapest runs that do not end at the same cost; of those that do, the first."""
    chosen: list[FactorsRun] = []
    left = list(runs)
    while left and len(chosen) < count:
        chosen.append(cheapest(left, SAME, nothing))
        most = max(chosen[-1].cost * (1.0 + SAME), nothing)
        left = [run for run in left if run.cost > most]
    return chosen


# ---------------------------------------------------------------- the descents


def _cheap_starts(search: EntriesSearch) -> list[FactorsRun]:
    return search.found[: 1 if search.large else None if search.small else 2]


def _for_reweighting(search: EntriesSearch) -> list[FactorsRun]:
    """All so far, or for p > 2 the last ends: from 2^16 entries on it takes long, and for p < 2
    ADMM ends lower. And further starts."""
    runs: list[FactorsRun] = []
    if search.small:
        runs = list(search.found)
    elif search.entries.p > 2.0 and search.work <= REGRESSION_WORK:
        runs = search.latest
    count = int(min(RESTARTS, RESTART_WORK / search.work))
    nothing = search.entries.rounding
    for name, kind in FURTHER.items() if count else ():
        some = [
            started(search.entries, f"{name} {i}", *factors)
            for i, factors in enumerate(kind(search.entries, count, search.seed))
        ]
        runs = runs + (some if name == "random" else different(some, FOLLOWED, nothing))
    return runs


def _for_regressions(search: EntriesSearch) -> list[FactorsRun]:
    if search.work > REGRESSION_WORK:
        return []
    best = different(search.found, FOLLOWED if search.small else 1, search.entries.rounding)
    return [*best, search.starts["svd"]] if search.small else best


DESCENTS = [
    EntriesDescent(
        "admm",
        "ADMM",
        split,
        # What regressions end need not be followed to the last digit before.
        limits=lambda s: (
            min(s.steps, ROUGH_STEPS),
            s.tol or (ROUGH_TOL if s.small or s.entries.p > 1.0 else 1e-4),
        ),
        chosen=_cheap_starts,
        single=True,
    ),
    EntriesDescent(
        "irls",
        "reweighting",
        reweight,
        limits=lambda s: (SMOOTH_STEPS, SMOOTH_TOL),
        chosen=_for_reweighting,
    ),
    EntriesDescent(
        "alternating",
        "regressions",
        alternate,
        limits=lambda s: (
            s.steps if s.entries.p == 1.0 else min(s.steps, POLISH),
            max(s.tol or (1e-10 if s.small else 1e-4), ROUND_TOL),
        ),
        chosen=_for_regressions,
    ),
]
"""Descents in the order in which they run; a new one is an entry here."""
