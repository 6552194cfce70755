"""The road that every entrywise heuristic shares: check the input, scale it, solve, scale back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.entries.problem import open_entries
from lpgeom.entries.run import FactorsRun
from lpgeom.heuristics.base import HeuristicMethod, Limits, method_of
from lpgeom.rows.base import Array
from lpgeom.threads import limited, sized


@dataclass(frozen=True, eq=False)
class HeuristicFactors:
    """Rank-k factors from a method that proves nothing about them.

    Attributes
    ----------
    left, right : ndarray, shapes (n, k) and (k, d), float64
    method : str
        Name of the method, its key in ``ENTRYWISE``.
    n_iter : int
        Steps taken, as the method counts them; 0 for one that has none.
    converged : bool
        False where `max_iter` ended the run.
    note : str
        What a reader of the result should know; empty if nothing.
    history : tuple of float
        Cost after each step, for A scaled so that its largest entry is near 1 (its largest residual
        for p > 2); empty where there are no steps.

    Examples
    --------
    >>> import numpy as np
    >>> from lpgeom.heuristics import entrywise
    >>> A = np.random.default_rng(0).standard_normal((30, 5))
    >>> found = entrywise.svd(A, 2)
    >>> found.left.shape, found.right.shape, found.basis.shape
    ((30, 2), (2, 5), (5, 2))
    """

    left: Array = field(repr=False)
    right: Array = field(repr=False)
    method: str = ""
    n_iter: int = 0
    converged: bool = True
    note: str = ""
    history: tuple[float, ...] = field(default=(), repr=False)

    @property
    def basis(self) -> Array:
        """Orthonormal basis of the space the rows of ``left @ right`` lie in, (d, k)."""
        return np.linalg.qr(self.right.T)[0]


@dataclass(frozen=True)
class EntriesTask:
    """One run: A scaled, and what the caller asked for."""

    B: Array
    k: int
    p: float
    seed: int
    max_iter: int
    tol: float
    svd_start: Callable[[], tuple[Array, Array]]

    def followed(self, descend: Callable[..., FactorsRun]) -> FactorsFound:
        """The end of a descent of `lpgeom.entries` from the SVD."""
        start, limits = self.svd_start(), {"max_iter": self.max_iter, "tol": self.tol}
        run = descend(self.B, *start, self.p, **limits)
        return FactorsFound(run.left, run.right, "", run.n_iter, run.converged, "", run.history)


FactorsFound = HeuristicFactors
"""What a solver of tasks gives back: factors of the scaled matrix, without `method`."""


def entrywise(
    *, steps: int = 1, tol: float = 1e-6
) -> Callable[[Callable[[EntriesTask], FactorsFound]], HeuristicMethod[HeuristicFactors]]:
    """Make a solver of tasks a heuristic for entries, as `lpgeom.heuristics.base.heuristic`."""

    def road(
        solve: Callable[[EntriesTask], FactorsFound], A: ArrayLike, k: int, p: float, limits: Limits
    ) -> HeuristicFactors:
        entries = open_entries(A, k, p, None, None, "raise")
        with limited(), sized(*entries.shape):
            entries = entries.centred()
            start = partial(entries.projected, k)
            found = solve(EntriesTask(entries.B, entries.k, entries.p, *limits, start))
        left = entries.in_user_units(found.left, found.right)
        right = np.ascontiguousarray(found.right)
        return replace(found, left=left, right=right, method=solve.__name__)

    return lambda solve: method_of(solve, road, steps, tol)
