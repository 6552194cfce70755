"""What a comparison has to know of an objective: its methods, its bound, what a result costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpgeom.entries.factors import approx_factors
from lpgeom.heuristics import HEURISTICS
from lpgeom.heuristics.base import Heuristic
from lpgeom.heuristics.entrywise import ENTRYWISE
from lpgeom.records.base import p_norm
from lpgeom.records.subspace import Array, to_cost_units
from lpgeom.subspace.approx import approx_rows
from lpgeom.subspace.certify import cost

_BLOCK = 2048


@dataclass(frozen=True)
class Judge:
    """One objective.

    Attributes
    ----------
    objective : str
    methods : mapping
        Name -> heuristic, as an entry that says whether it is seeded and from where it is slow.
    own : callable
        ``own(A, k, p, *, seed, certify)``: the solver of this library, with its certificate.
    work : callable
        ``work(n, d, k)``: the work that the entries' `slow_from` is stated in.
    measured : callable
        ``measured(A, found, k, p)``: (basis (d, k), cost in user units), recomputed from what a
        method returned; ValueError if that is nothing of rank k.
    size : callable
        ``size(A, p)``: what rounding of a norm error is relative to.
    infinite : bool
        Whether p may be inf.
    """

    objective: str
    methods: dict[str, Heuristic[Any]]
    own: Callable[..., Any]
    work: Callable[[int, int, int], float]
    measured: Callable[[Array, Any, int, float], tuple[Array, float]]
    size: Callable[[Array, float], float]
    infinite: bool = False

    def slow(self, shape: tuple[int, int], ranks: Sequence[int]) -> set[str]:
        """The heuristics that take too long to run unasked."""
        work = self.work(*shape, max(ranks))
        return {name for name, entry in self.methods.items() if work >= entry.slow_from}


def _measured_rows(A: Array, found: Any, k: int, p: float) -> tuple[Array, float]:
    V = np.asarray(getattr(found, "V", getattr(found, "basis", found)), dtype=np.float64)
    if V.shape != (A.shape[1], k):
        raise ValueError(f"returned shape {V.shape}, not {(A.shape[1], k)}")
    return V, cost(A, V, p)


def _measured_entries(A: Array, found: Any, k: int, p: float) -> tuple[Array, float]:
    left, right = found if isinstance(found, tuple) else (found.left, found.right)
    left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if left.shape != (A.shape[0], k) or right.shape != (k, A.shape[1]):
        raise ValueError(
            f"returned shapes {left.shape} and {right.shape}, not {(A.shape[0], k)} and "
            f"{(k, A.shape[1])}"
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("returned entries that are not finite")
    return np.linalg.qr(right.T)[0], entries_cost(A, left, right, p)


def entries_cost(A: Array, left: Array, right: Array, p: float) -> float:
    """``sum |A - left right|^p`` in user units, computed in units of the largest residual."""
    norms = [
        p_norm(np.abs(np.asarray(A[rows], dtype=np.float64) - left[rows] @ right), p)
        for rows in (slice(lo, lo + _BLOCK) for lo in range(0, len(A), _BLOCK))
    ]
    return to_cost_units(1.0, p_norm(norms, p), p)


JUDGES = {
    judge.objective: judge
    for judge in (
        Judge(
            "rows",
            HEURISTICS,
            approx_rows,
            work=lambda n, d, k: float(n) * d,
            measured=_measured_rows,
            size=lambda A, p: float(np.linalg.norm(A)),
            infinite=True,
        ),
        Judge(
            "entries",
            ENTRYWISE,
            approx_factors,
            work=lambda n, d, k: float(n) * d * k**2,
            measured=_measured_entries,
            size=lambda A, p: p_norm(np.abs(A), p),
        ),
    )
}
"""What `compare` knows of each objective; a new one is an entry here."""
