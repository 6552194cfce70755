"""Lower bounds for several ranks of the same rows, from shared work.

Every bound of theory 3a to 3f ends in a sum of the m = d - k smallest eigenvalues of one matrix,
and holds for any reference: what was computed for one rank bounds every other rank too, only less
tightly. So a search is run where these are not good enough yet. That is known without a pass: the
relaxed cost is convex in Q, hence its minimum over the Fantope convex in m, and the chord between
two ranks that were searched lies above it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lpgeom.bounds.evidence import Evidence
from lpgeom.bounds.relaxation import (
    GAP,
    Reference,
    next_reference,
    relaxation_at,
    tangent_at,
)
from lpgeom.bounds.table import BOUNDS, RELAXATIONS, Task, is_large
from lpgeom.geometry.lewis import LewisWeights
from lpgeom.records.subspace import Bound
from lpgeom.rows.base import Array, Rows

FAR = 0.02
"""Where the chord between the neighbours is that far above their bounds, the subspace found is a
better start than what lies between their references."""

NEAR = 2.0
"""Where it is within this multiple of the tolerance, a start between them is nearly good enough."""


class RankBounds:
    """Collects what is known about the ranks; `look` adds to it, `at` gives the bounds of one rank.

    Parameters
    ----------
    rows : Rows
        For p <= 2. (Higher powers need a scale of their own for every rank: `lower_bounds`.)
    lewis : LewisWeights or None
    ks : sequence of int
        The ranks that will be asked for.
    p : float
        1 <= p <= 2.
    level : {"fast", "tight"}
        As in `lower_bounds`.
    seed : int
    """

    def __init__(
        self,
        rows: Rows,
        lewis: LewisWeights | None,
        ks: Sequence[int],
        p: float,
        level: str,
        seed: int,
    ) -> None:
        self._rows, self._p, self._level, self._seed = rows, p, level, seed
        self._d = rows.shape[1]
        large = is_large(rows)
        self._effort = "fast" if level == "fast" or large else "tight"
        self._closed: dict[int, list[Bound]] = {k: [] for k in ks}
        self._references: dict[int, Reference] = {}
        self._others: dict[int, list[Bound]] = {}
        entries = [entry for entry in BOUNDS if entry.applies(p, level, large)]
        # Relaxations share their references; what else is asked of one rank follows them.
        self._rest = [e for e in entries if e.at is None and e.name not in RELAXATIONS]
        for entry in entries:
            if entry.at is not None:
                for k, found in zip(ks, entry.at(rows, lewis, ks, p), strict=True):
                    self._closed[k] += found

    def look(self, k: int, evidence: Evidence) -> None:
        """Search for a reference for rank k, unless those of its neighbours will do."""
        if self._p != 2.0 and not self._settled(k):
            self._references[k] = self._searched(k, evidence)
        known = [self._best(k)] if self._references else []
        task = Task(self._rows, k, self._p, self._level, self._seed, evidence, known)
        self._others[k] = [bound for entry in self._rest for bound in entry.bounds(task)]

    def _searched(self, k: int, evidence: Evidence) -> Reference:
        search = relaxation_at if self._p == 1.0 else tangent_at
        start, excess = self._between(k), self._excess(k)
        if excess > FAR and self._p == 1.0 and evidence.N is not None:
            start = next_reference(evidence.N, None, self._d - k)
        near = excess < NEAR * GAP[self._effort]
        given = self._rows, evidence, k, self._p, self._effort
        found = search(*given, start=start, near=near)
        m = self._d - k
        if start is not None and found.at.total - found.at.lower(m) > (
            GAP[self._effort] * found.at.total
        ):  # it ran out of steps, perhaps because of where it began
            found = max(found, search(*given), key=lambda reference: reference.at.lower(m))
        return found

    def at(self, k: int) -> list[Bound]:
        """Every bound known for rank k, largest first."""
        bounds = [*self._closed[k], *self._others.get(k, [])]
        if self._references:
            bounds.append(self._best(k))
        return sorted(bounds, key=lambda b: -b.scaled_value)

    def _best(self, k: int) -> Bound:
        m = self._d - k
        best = max(self._references.values(), key=lambda reference: reference.at.lower(m))
        return best.bound(m)

    def _around(self, k: int) -> tuple[Reference, Reference, float] | None:
        """The nearest references on both sides, and where between them k lies."""
        below = [other for other in self._references if other < k]
        above = [other for other in self._references if other > k]
        if not (below and above):
            return None
        low, high = max(below), min(above)
        return self._references[low], self._references[high], (k - low) / (high - low)

    def _settled(self, k: int) -> bool:
        """Whether a search for rank k could raise its bound by no more than its tolerance."""
        return k in self._references or self._excess(k) <= GAP[self._effort]

    def _excess(self, k: int) -> float:
        """How far the chord between the neighbours' relaxed costs lies above what they prove, as a
        share of it; inf where there are no neighbours."""
        around = self._around(k)
        if around is None:
            return math.inf
        low, high, share = around
        upper = (1.0 - share) * low.at.total + share * high.at.total
        return (upper - self._best(k).scaled_value) / upper if upper > 0.0 else 0.0

    def _between(self, k: int) -> Array | None:
        """A member of the Fantope of rank k between the neighbours' references."""
        around = self._around(k)
        if around is None:
            return None
        low, high, share = around
        mean: Array = (1.0 - share) * low.Q0
        mean += share * high.Q0
        return mean
