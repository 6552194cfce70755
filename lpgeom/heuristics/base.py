"""The road that every heuristic shares: check the input, scale it, solve, lift the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpgeom.geometry.grassmann import Frame, complement
from lpgeom.geometry.spectrum import eigen, spectrum
from lpgeom.heuristics.result import HeuristicResult
from lpgeom.io import validation
from lpgeom.rows.array import ArrayRows
from lpgeom.rows.base import Array
from lpgeom.rows.door import open_rows
from lpgeom.subspace.assemble import in_span
from lpgeom.threads import limited, sized

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

TINY = 1e-300
"""Squared norms up to this count as zero: their reciprocals leave float64."""


@dataclass
class Task:
    """One run: the rows scaled to entries below 1, and what the caller asked for.

    For n < d the rows are in coordinates of their span, for methods that only see inner products.
    `swept` counts passes over copies of A, which `rows` does not see.
    """

    rows: ArrayRows
    k: int
    p: float
    seed: int
    max_iter: int
    tol: float
    swept: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """(n, r): rows, and coordinates they are given in."""
        return self.rows.shape

    def dense(self) -> Array:
        """All rows as one float64 array (a copy; counts as a pass)."""
        out = np.empty(self.shape)
        for lo, hi, block, c in self.rows.blocks(0, 1, lambda: False):
            np.multiply(block, np.sqrt(c), out=out[lo:hi])
        self.swept += 1.0
        return out

    def svd_start(self) -> Frame:
        """The SVD's subspace: where most methods start. One pass."""
        return Frame.leading(spectrum(self.rows).U, self.k)


@dataclass(frozen=True)
class Found:
    """The answer in the task's coordinates; fields as in `HeuristicResult`."""

    V: Array
    n_iter: int = 0
    converged: bool = True
    note: str = ""
    history: tuple[float, ...] = ()


def run(
    method: str,
    solve: Callable[[Task], Found],
    A: ArrayLike,
    k: int,
    p: float,
    seed: int,
    max_iter: int | None,
    tol: float | None,
    *,
    steps: int = 1,
    small: float = 1e-8,
    invariant: bool = True,
) -> HeuristicResult:
    """Solve by `solve`; `steps` and `small` are the method's own max_iter and tol.

    `invariant`: whether the method commutes with rotations of the coordinates.
    """
    seed = validation.check_seed(seed)
    max_iter = steps if max_iter is None else validation.check_positive_int("max_iter", max_iter)
    tol = small if tol is None else validation.check_tolerance(tol)
    with limited():
        # p = inf is let in for the methods that do not use p; those that do refuse it themselves.
        problem = open_rows(A, p, infinite=True)
        n, d = problem.rows.shape
        k = validation.check_k(k, d)
        if not problem.A.any():
            return HeuristicResult(np.eye(d, k), method, 0, True, 0.0, "all rows are zero")
        with sized(n, d):
            span = None
            if invariant:
                inner, span = in_span(problem)
                problem = inner
            if span is not None and k >= span.shape[1]:
                V = completed(span, k)
                passes = problem.rows.n_passes
                return HeuristicResult(V, method, 0, True, passes, "k >= n: spans the rows")
            task = Task(problem.rows, k, problem.p, seed, max_iter, tol)
            found = solve(task)
            V = found.V if span is None else span @ found.V
            passes = task.rows.n_passes + task.swept
    V = np.ascontiguousarray(V)
    return HeuristicResult(
        V, method, found.n_iter, found.converged, passes, found.note, found.history
    )


def leading(G: Array, k: int) -> Array:
    """The k leading eigenvectors of a symmetric G, (d, k)."""
    return np.ascontiguousarray(eigen(G)[1][:, len(G) - k :])


def completed(V: Array, k: int) -> Array:
    """V with further orthonormal columns, k in all."""
    missing = k - V.shape[1]
    if missing <= 0:
        return V
    return np.concatenate([V, complement(V)[:, :missing]], axis=1)
