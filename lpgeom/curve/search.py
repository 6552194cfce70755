"""The order in which ranks are searched, and what they hand to one another."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from lpgeom.curve.solver import RankEnd, RankSolver, Shared
from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import LARGE
from lpgeom.records.base import to_cost_units
from lpgeom.rows.blocks import BlockRows

ANCHORS = 2
"""Levels of the bisection whose ranks are searched as `approx_subspace` would search them."""

SWEEPS = 3
"""Times that what one rank found is handed to its neighbours, at most."""


class RankSearch:
    """The ends of all ranks: from the smallest and the largest inwards, by bisection.

    `look` is told of every end while its residuals are at hand. Where these are kept, what one rank
    found is then handed to its neighbours, up and down.
    """

    def __init__(self, shared: Shared, ks: list[int], look: Callable[[RankEnd], None]) -> None:
        self._shared, self._ks, self._look = shared, ks, look
        n, d = shared.problem.rows.shape
        self._small = n * d < LARGE and isinstance(shared.problem.rows, BlockRows)
        self._ends: dict[int, RankEnd] = {}
        self._seconds: dict[int, float] = {}

    def run(self) -> Iterator[tuple[RankEnd, float]]:
        """The ends, ascending, with the seconds that each took."""
        ks = self._ks
        self._solve(ks[0], None, None, 0)
        if len(ks) > 1:
            self._solve(ks[-1], None, None, 0)
            self._between(0, len(ks) - 1, 0)
        if self._small and self._shared.p < 2.0 and self._shared.method.searches:
            self._sweep()
        self._close()
        for k in ks:
            yield self._ends[k], self._seconds[k]

    def _solve(self, k: int, low: RankEnd | None, high: RankEnd | None, depth: int) -> None:
        begin, rows = time.perf_counter(), self._shared.problem.rows
        before = rows.n_passes
        end = RankSolver(self._shared, k).end(low, high, anchor=depth < ANCHORS)
        self._look(end)
        end = end.holding(end.found, lewis=None)  # which were for the certificate
        self._ends[k] = replace(end, passes=rows.n_passes - before)
        self._seconds[k] = time.perf_counter() - begin

    def _between(self, first: int, last: int, depth: int) -> None:
        if last - first < 2:
            return
        middle = (first + last) // 2
        ks = self._ks
        k = ks[middle]
        self._solve(k, self._ends[ks[first]], self._ends[ks[last]], depth)
        self._between(first, middle, depth + 1)
        self._between(middle, last, depth + 1)
        if not self._small:  # what is left to do needs the basis only
            end = self._ends[k]
            nothing = np.zeros((end.found.frame.V.shape[0], 0))
            frame = Frame(end.found.frame.V, nothing)
            basis = replace(end.found, frame=frame, t=nothing, N=None)
            self._ends[k] = end.holding(basis)

    def _sweep(self) -> None:
        """Up and down while a rank's residuals lead its neighbour to something cheaper."""
        ks, ends = self._ks, self._ends
        fresh = set(ks)
        for _ in range(SWEEPS):
            better: set[int] = set()
            for order in (ks, ks[::-1]):
                for other, k in itertools.pairwise(order):
                    if other not in fresh and other not in better:
                        continue
                    begin = time.perf_counter()
                    found = RankSolver(self._shared, k).improved(ends[k], ends[other])
                    self._seconds[k] += time.perf_counter() - begin
                    if found is not None:
                        ends[k] = found
                        better.add(k)
            fresh = better
            if not better:
                break

    def _close(self) -> None:
        """A larger subspace costs no more than one inside it."""
        for smaller, k in itertools.pairwise(self._ks):
            low, end = self._ends[smaller], self._ends[k]
            larger = low.problem.unit / end.problem.unit
            before = to_cost_units(low.found.cost, larger, self._shared.p)
            if end.found.cost > before:
                found = RankSolver(self._shared, k).extended(low)
                self._ends[k] = end.holding(replace(found, cost=min(found.cost, before)))
