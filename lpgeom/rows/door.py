"""From the user's array to Rows: scaled by a power of two, row weights folded in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom import validation
from lpgeom.rows.array import ArrayRows
from lpgeom.rows.base import Array


@dataclass(frozen=True)
class Problem:
    """Validated input.

    `unit` is the norm that scaled norm 1 stands for: ``cost = scaled_cost * unit**p``; for p = inf
    a cost is a norm.
    """

    A: NDArray[Any]
    rows: ArrayRows
    factors: Array | None
    scale: float
    unit: float
    p: float
    omega: Array | None


def open_rows(A: Any, p: Any, row_weights: Any = None, *, infinite: bool = False) -> Problem:
    """Check the input and wrap it: largest |entry| in [0.5, 1), largest row factor 1.

    A power of two scales without rounding (what underflows is below 1e-300 of the largest entry).
    p = inf is let in only where the caller has an answer to it (`infinite`); row factors are then
    the limits of ``omega_i^(1/p)``: 1 where omega_i > 0, 0 where it is 0.
    """
    array = validation.check_matrix(A)
    p = validation.check_p(p, infinite=infinite)
    omega = validation.check_weights(row_weights, array.shape[0])
    largest = validation.largest_entry(array)
    # 2^-e and 2^e must both be floats; at the ends of the range the entry misses [0.5, 1).
    e = min(max(math.frexp(largest)[1], -1020), 1020) if largest > 0.0 else 0
    scale = math.ldexp(1.0, -e)
    factors, unit = None, math.ldexp(1.0, e)
    if omega is not None:
        top = float(omega.max())
        if math.isinf(p):
            factors = (omega > 0.0).astype(np.float64)
        else:
            factors = (omega / top) ** (1.0 / p)
            unit *= top ** (1.0 / p)
    rows = ArrayRows(array, factors, scale)
    return Problem(array, rows, factors, scale, unit, p, omega)
