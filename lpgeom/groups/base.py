"""What splits of rows into groups share: rows beside their factors, and a group's own solve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import LARGE
from lpgeom.records.subspace import SubspaceResult
from lpgeom.rows.base import Array
from lpgeom.rows.blocks import BlockRows
from lpgeom.rows.door import Problem, some_rows
from lpgeom.subspace.approx import approx_rows
from lpgeom.threads import spread

Labels = NDArray[np.intp]
T = TypeVar("T")

LARGE_SOLVE = 1e-5, 10
"""Tolerance and steps of a group's solve on large data, where the descent has done most of it."""


def is_large(problem: Problem[BlockRows]) -> bool:
    """Few starts, in float32 where that resolves enough, and no more digits than are of use."""
    n, d = problem.rows.shape
    return n * d >= LARGE


class FactoredRows:
    """Plain rows with their factors f beside them, whose cost is ``sum_i (f_i dist_i)^p``.

    Distances are those of the plain rows: one of factor 0 has a nearest subspace, too.

    Parameters
    ----------
    rows : BlockRows
        Their per-row vectors are NumPy's.
    factors : ndarray, shape (n,), or None
    p : float
    """

    def __init__(self, rows: BlockRows, factors: Array | None, p: float) -> None:
        self.rows, self.factors, self.p = rows, factors, p
        # The size of a pass for `each`: none on a device, which is one worker.
        self.size = 0.0 if rows.place.on_device else float(rows.shape[0]) * rows.shape[1]
        self.lengths = rows.squared_norms()

    def scaled(self, t: Array, index: Labels | None = None) -> Array:
        """Squared lengths with the row factors in them."""
        if self.factors is None:
            return t
        f = self.factors if index is None else self.factors[index]
        return t * f * f

    def take(self, index: Labels) -> BlockRows:
        """Those rows, times their factors."""
        return self.rows.take(index, None if self.factors is None else self.factors[index])

    def squared_distances(self, frame: Frame, index: Labels | None = None) -> Array:
        """Squared distances of the plain rows, all or some, from the span of V; W its complement.

        In float32, where V has fewer columns than W, as differences of squared lengths: enough to
        choose by, not to report.
        """
        rows, lengths = self.rows, self.lengths
        if index is not None:
            rows, lengths = rows.take(index), lengths[index]
        if rows.dtype == np.float32 and frame.V.shape[1] < frame.W.shape[1]:
            return np.maximum(lengths - rows.quadratic_form(frame.V), 0.0)
        return rows.quadratic_form(frame.W)


def each(one: Callable[[int], T], count: int, size: float) -> list[T]:
    """``one(c)`` for every c < count, each by one worker; `size` as in `spread`."""
    waiting = iter(range(count))  # of which each worker takes the next
    found: dict[int, T] = {}

    def work(worker: int, workers: int, stopped: Callable[[], bool]) -> None:
        for c in waiting:
            if stopped():
                return
            found[c] = one(c)

    spread(work, size)
    return [found[c] for c in range(count)]


@dataclass(frozen=True)
class GroupSolver:
    """`approx_subspace` of the rows of one group, or of all."""

    problem: Problem[BlockRows]
    seed: int
    certify: bool | str
    started: float

    def counts(self, index: Labels) -> bool:
        """Whether some row of the group has a positive weight."""
        omega = self.problem.omega
        return index.size > 0 and (omega is None or bool(omega[index].any()))

    def rows_of(self, index: Labels | None) -> tuple[Any, Array | None]:
        """Some rows of the matrix, and their weights."""
        A, omega = self.problem.A, self.problem.omega
        if index is None:
            return A, omega
        return some_rows(A, index), None if omega is None else omega[index]

    def solved(self, index: Labels | None, k: int, certify: bool | str) -> SubspaceResult:
        """The subspace of rank k for some rows; None: for all of them."""
        problem, (A, omega) = self.problem, self.rows_of(index)
        method, tol, steps = "auto", None, None
        if index is not None:
            method = "irls"  # the descents have been here: no search
            tol, steps = LARGE_SOLVE if is_large(problem) else (None, None)
        return approx_rows(
            A, k, problem.p,
            method=method, tol=tol, max_iter=steps, row_weights=omega, certify=certify,
            backend=problem.backend, seed=self.seed,
        )  # fmt: skip
