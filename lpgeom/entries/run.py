"""The entrywise cost, and where a descent of it ended: what all of them return."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpgeom.rows.place import place_of


@dataclass(frozen=True)
class FactorsRun:
    """Factors of a matrix, where it is; their cost, and the way there.

    Attributes
    ----------
    left, right : arrays, shapes (n, k) and (k, d)
        The cheapest that were met.
    cost : float
        What the steps saw, in the type of the data.
    history : tuple of float
        Cost after each step.
    n_iter : int
    converged : bool
        False if `max_iter` ended it.
    name : str
        The start, and the descents from it, by their names.
    """

    left: Any
    right: Any
    cost: float
    history: tuple[float, ...] = ()
    n_iter: int = 0
    converged: bool = True
    name: str = ""


def orthonormal(left: Any, right: Any) -> tuple[Any, Any]:
    """The same product in float64, with orthonormal rows on the right."""
    Q, R = np.linalg.qr(right.astype(np.float64, copy=False).T)
    return left.astype(np.float64, copy=False) @ R.T, Q.T


def parts(B: Any) -> Iterator[slice]:
    """The rows of B, a block at a time."""
    step = place_of(B).sweep_rows(B.shape[1])
    for lo in range(0, len(B), step):
        yield slice(lo, lo + step)


def entries_cost(B: Any, left: Any, right: Any, p: float, W: Any = None) -> float:
    """``sum W |B - left right|^p`` in float64, in blocks; inf where that overflows."""
    total = 0.0
    with np.errstate(over="ignore"):
        for part in parts(B):
            r = np.abs(B[part] - left[part] @ right)
            if W is not None:
                r[W[part] == 0.0] = 0.0  # 0 times a power that overflows is not 0
            if p != 1.0:
                r **= p
            total += float(r.sum() if W is None else (W[part] * r).sum())
    return total
