"""Rows that are checked and scaled by a power of two, with their row weights folded in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from lpgeom.io import validation
from lpgeom.rows.base import Array, Rows

R = TypeVar("R", bound=Rows, covariant=True)


@dataclass(frozen=True)
class Problem(Generic[R]):
    """Validated input.

    `unit` is the norm that scaled norm 1 stands for: ``cost = scaled_cost * unit**p``; for p = inf
    a cost is a norm. `backend` is where passes run: "cpu" or "cuda".
    """

    A: Any
    rows: R
    factors: Array | None
    scale: float
    unit: float
    p: float
    omega: Array | None
    backend: str = "cpu"


def scaled(array: Any, kind: type[R], p: Any, row_weights: Any, infinite: bool) -> Problem[R]:
    """A checked array, or what is in chunked storage, as rows of that kind in this process."""
    p = validation.check_p(p, infinite=infinite)
    omega = validation.check_weights(row_weights, array.shape[0])
    largest, counted = validation.largest_entries(array, omega)
    scale, factors, unit = units(counted, omega, p)
    make: Any = kind
    rows: R = make(array, factors, scale, longest=largest * scale)
    return Problem(array, rows, factors, scale, unit, p, omega)


def units(largest: float, omega: Any, p: float) -> tuple[float, Any, float]:
    """The scale, a power of two; the row factors ``(omega / top)^(1/p)``; and the unit, the scale's
    inverse with the largest weight in it."""
    # 2^-e and 2^e must both be floats; at the ends of the range the entry misses [0.5, 1).
    e = min(max(math.frexp(largest)[1], -1020), 1020) if largest > 0.0 else 0
    scale, unit = math.ldexp(1.0, -e), math.ldexp(1.0, e)
    if omega is None:
        return scale, None, unit
    if math.isinf(p):
        return scale, (omega > 0.0).astype(np.float64), unit
    top = float(omega.max())
    unit *= top ** (1.0 / p)
    if not np.finfo(np.float64).tiny <= unit < math.inf:
        raise OverflowError(
            f"A and row_weights together leave float64 (the largest weight is {top:g}); multiply "
            "row_weights by a number, as costs are"
        )
    return scale, (omega / top) ** (1.0 / p), unit
