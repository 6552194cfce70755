"""Every lower bound there is, as a table, and those that apply to a subspace already found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lpgeom.bounds.evidence import Evidence
from lpgeom.bounds.linear import chord_at, lewis_bounds_at, spectral_at
from lpgeom.bounds.minimax import minimax_bounds
from lpgeom.bounds.power import power
from lpgeom.bounds.radial.bound import radial_bound
from lpgeom.bounds.relaxation import Reference, relaxation_at, tangent_at
from lpgeom.geometry.lewis import LewisWeights
from lpgeom.records.subspace import Bound
from lpgeom.rows.base import Rows

LEVELS = ("fast", "tight", "all")
"""What to spend, from the least to the most."""

SMALL = 1 << 22
"""Up to this many entries of A, the dominated bounds are computed too."""


@dataclass(frozen=True)
class Task:
    """What a bound is computed from.

    Attributes
    ----------
    rows : Rows
        In their scaled units, which are those of the bound.
    k : int
        1 <= k < rank of the rows.
    p : float
    level : str
        One of `LEVELS`.
    seed : int
        For bounds with a random start.
    evidence : Evidence
        The subspace found, its residuals, and the Lewis weights if they are known.
    found : list of Bound
        Those of the entries before this one in the table.
    progress : bool
    """

    rows: Rows
    k: int
    p: float
    level: str
    seed: int
    evidence: Evidence
    found: list[Bound] = field(default_factory=list)
    progress: bool = False

    @property
    def large(self) -> bool:
        """Whether A has so many entries that what is dominated is left out."""
        return is_large(self.rows)

    @property
    def effort(self) -> str:
        """ "fast" or "tight": how far a search goes. A relaxation that a radial bound will pass
        need not be solved to its last digits."""
        passed = self.level == "tight" and self.large and self.p < 2.0
        return "fast" if self.level == "fast" or passed else "tight"


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    Attributes
    ----------
    name, theorem : str
        Those of the `Bound` it makes; several in one line where they share their work.
    domain : callable
        Whether it applies to p.
    bounds : callable, optional
        ``bounds(task)`` gives a list of `Bound`, empty where nothing can be said.
    level : str
        The least of `LEVELS` at which it is computed.
    dominated : bool
        Whether another entry proves at least as much, by theorem: then it is computed for small A,
        and at level "all".
    at : callable, optional
        Instead of `bounds`, where nothing that was found is needed: ``at(rows, lewis, ks, p)``
        gives such a list for every rank of ks, for the passes of one.
    """

    name: str
    theorem: str
    domain: Callable[[float], bool]
    bounds: Callable[[Task], list[Bound]] = lambda task: []
    level: str = "fast"
    dominated: bool = False
    at: Callable[[Rows, LewisWeights | None, Sequence[int], float], list[list[Bound]]] | None = None

    def of(self, task: Task) -> list[Bound]:
        """The bounds of one rank."""
        if self.at is not None:
            return self.at(task.rows, task.evidence.lewis, [task.k], task.p)[0]
        return self.bounds(task)

    def applies(self, p: float, level: str, large: bool) -> bool:
        """Whether it is computed for this p at this level."""
        enough = LEVELS.index(level) >= LEVELS.index(self.level)
        return self.domain(p) and enough and (level == "all" or not (self.dominated and large))


def is_large(rows: Rows) -> bool:
    """Whether what is dominated is left out."""
    n, d = rows.shape
    return n * d > SMALL


def _lewis_at(
    rows: Rows, lewis: LewisWeights | None, ks: Sequence[int], p: float
) -> list[list[Bound]]:
    return [[] for _ in ks] if lewis is None else lewis_bounds_at(rows, lewis, ks, p)


def _relaxed(search: Callable[..., Reference]) -> Callable[[Task], list[Bound]]:
    """The bound of a reference that is searched for from the evidence."""

    def bounds(task: Task) -> list[Bound]:
        m = task.rows.shape[1] - task.k
        return [search(task.rows, task.evidence, task.k, task.p, task.effort).bound(m)]

    return bounds


def _radial(name: str) -> Callable[[Task], list[Bound]]:
    """The radial bound of that name, from the reference of the relaxation before it."""

    def bounds(task: Task) -> list[Bound]:
        relaxed = next(b for b in task.found if b.name in RELAXATIONS)
        rows, k, p, seed, progress = task.rows, task.k, task.p, task.seed, task.progress
        return [radial_bound(rows, relaxed, k, p, seed=seed, progress=progress, name=name)]

    return bounds


def _concave(p: float) -> bool:
    return 1.0 <= p < 2.0


RELAXATIONS = ("tangent", "relaxation")
"""Bounds whose reference a radial bound starts from, the better one first."""

BOUNDS = [
    Entry(
        "spectral", "3a", lambda p: p == 2.0,
        at=lambda rows, lewis, ks, p: [[b] for b in spectral_at(rows, ks)],
    ),
    Entry(
        "john, minimax", "3j, 3k", math.isinf,
        lambda task: minimax_bounds(task.rows, task.evidence, task.k, task.level),
    ),
    Entry("lewis_trace, lewis_sharpened", "3a, 3b", _concave, at=_lewis_at),
    Entry("lewis_trace", "3a", lambda p: 2.0 < p < math.inf, at=_lewis_at, dominated=True),
    Entry(
        "power", "3f", lambda p: 2.0 < p < math.inf,
        lambda task: [power(task.rows, task.evidence, task.k, task.p, task.effort)],
    ),
    Entry("tangent", "3e", lambda p: 1.0 < p < 2.0, _relaxed(tangent_at)),
    Entry("relaxation", "3d", lambda p: p == 1.0, _relaxed(relaxation_at)),
    Entry("relaxation", "3d", lambda p: 1.0 < p < 2.0, _relaxed(relaxation_at), dominated=True),
    Entry(
        "chord", "3c", _concave,
        at=lambda rows, lewis, ks, p: [[b] for b in chord_at(rows, ks, p)],
        dominated=True,
    ),
    Entry("radial_quartic", "3i", _concave, _radial("radial_quartic"), "tight"),
    Entry("radial", "3g", _concave, _radial("radial"), "all"),
    Entry("radial_two", "3h", _concave, _radial("radial_two"), "all"),
]  # fmt: skip
"""The table, in the order in which bounds are computed. ``BOUNDS.append(Entry(...))``, in a module
of your own, is all that it takes for a bound to stand in the certificates of `approx_subspace`,
`certify` and `cost_curve`; a checker of the same name in `lpgeom.records.check` verifies it."""


def lower_bounds(
    rows: Rows,
    evidence: Evidence,
    k: int,
    p: float,
    level: str,
    seed: int,
    progress: bool = False,
) -> list[Bound]:
    """Lower bounds on the cost of every rank-k subspace, in the scaled units of the rows.

    Parameters
    ----------
    rows : Rows
    evidence : Evidence
        The subspace found, its residuals, and the Lewis weights if they are known.
    k : int
        1 <= k < rank of the rows.
    p : float
        p >= 1.
    level : {"fast", "tight", "all"}
        "fast" leaves out what is dominated, if A is large: the chord bound (at p = 1 its
        relaxation is weaker than 3d row by row), and for 1 < p < 2 the plain relaxation (weaker
        than 3e row by row). "tight" adds, for p < 2, the radial bound 3i; for p > 2 it solves the
        relaxation to the end, and for p = inf takes more steps. "all" leaves out nothing, and adds
        the radial bounds 3g and 3h.
    seed : int
        For the random starts of the radial bounds.
    progress : bool

    Returns
    -------
    list of Bound
        Largest first. Passes over A: p = 1 about 3 (one in float64); 1 < p < 2 about 3 a step of
        the search; p = 2 one; p > 2 two a step.
    """
    task = Task(rows, k, p, level, seed, evidence, progress=progress)
    for entry in BOUNDS:
        if entry.applies(p, level, task.large):
            task.found.extend(entry.of(task))
    return sorted(task.found, key=lambda b: -b.scaled_value)
