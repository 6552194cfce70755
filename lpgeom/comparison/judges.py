"""What a comparison has to know of an objective: its methods, its bound, what a result costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpgeom.entries.factors import approx_factors
from lpgeom.heuristics import HEURISTICS, SEEDED, SLOW, entrywise
from lpgeom.heuristics.entrywise import ENTRYWISE
from lpgeom.records.factors import FactorResult
from lpgeom.records.subspace import Array, SubspaceResult, to_cost_units
from lpgeom.subspace.approx import approx_rows
from lpgeom.subspace.certify import cost

LARGE = 1 << 20
"""From this many entries of A on, methods for rows that are slow run only if named."""

LARGE_WORK = 1e10
"""From this n d k^2 on, methods for entries that are slow run only if named."""

_BLOCK = 2048


@dataclass(frozen=True)
class Judge:
    """One objective.

    Attributes
    ----------
    objective : str
    methods : mapping
        Name -> heuristic.
    seeded : sequence of str
        Those whose answer depends on the seed.
    own : callable
        ``own(A, k, p, seed, certify)``: the solver of this library, with its certificate.
    slow : callable
        ``slow(shape, ranks)``: the heuristics that take too long to run unasked.
    measured : callable
        ``measured(A, found, k, p)``: (basis (d, k), cost in user units), recomputed from what a
        method returned; ValueError if that is nothing of rank k.
    """

    objective: str
    methods: dict[str, Callable[..., Any]]
    seeded: Sequence[str]
    own: Callable[[Array, int, float, int, Any], SubspaceResult | FactorResult]
    slow: Callable[[tuple[int, int], Sequence[int]], set[str]]
    measured: Callable[[Array, Any, int, float], tuple[Array, float]]


def _own_rows(A: Array, k: int, p: float, seed: int, certify: Any) -> SubspaceResult:
    return approx_rows(A, k, p, seed=seed, certify=certify)


def _slow_rows(shape: tuple[int, int], ranks: Sequence[int]) -> set[str]:
    return set(SLOW) if math.prod(shape) >= LARGE else {"cvxpy_reaper"}


def _measured_rows(A: Array, found: Any, k: int, p: float) -> tuple[Array, float]:
    V = np.asarray(getattr(found, "V", getattr(found, "basis", found)), dtype=np.float64)
    if V.shape != (A.shape[1], k):
        raise ValueError(f"returned shape {V.shape}, not {(A.shape[1], k)}")
    return V, cost(A, V, p)


def _own_entries(A: Array, k: int, p: float, seed: int, certify: Any) -> FactorResult:
    return approx_factors(A, k, p, seed=seed, certify=certify)


def _slow_entries(shape: tuple[int, int], ranks: Sequence[int]) -> set[str]:
    work = float(math.prod(shape)) * max(ranks) ** 2
    return set(entrywise.CUBIC) if work >= LARGE_WORK else set()


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
    blocks = [slice(lo, lo + _BLOCK) for lo in range(0, len(A), _BLOCK)]

    def residual(rows: slice) -> Array:
        return np.abs(np.asarray(A[rows], dtype=np.float64) - left[rows] @ right)

    top = max(float(residual(rows).max()) for rows in blocks)
    if top == 0.0:
        return 0.0
    total = sum(float(((residual(rows) / top) ** p).sum()) for rows in blocks)
    return to_cost_units(total, top, p)


JUDGES = {
    "rows": Judge("rows", HEURISTICS, SEEDED, _own_rows, _slow_rows, _measured_rows),
    "entries": Judge(
        "entries", ENTRYWISE, entrywise.SEEDED, _own_entries, _slow_entries, _measured_entries
    ),
}
