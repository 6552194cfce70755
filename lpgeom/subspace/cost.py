"""The two objectives of theory 0, evaluated for a given subspace."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from lpgeom.rows.base import Array

TIE = 1e-9
"""Costs that differ by less than this share are equal: which is lower the last places decide."""


class Costed(Protocol):
    """What has a cost."""

    @property
    def cost(self) -> float: ...


Found = TypeVar("Found", bound=Costed)


def cheapest(found: Sequence[Found], tie: float = TIE, nothing: float = 0.0) -> Found:
    """The first of the cheapest: what is found does not hang on a processor's rounding.

    Costs within the share `tie` of the least are equal to it, and so, unless that is 0, are those
    up to `nothing`. What costs NaN is not among them.

    Raises
    ------
    FloatingPointError
        Every cost is NaN.
    """
    least = min((c.cost for c in found if not math.isnan(c.cost)), default=math.nan)
    if math.isnan(least):
        raise FloatingPointError(
            "the cost of everything that was found is NaN; the data may span more orders of "
            "magnitude than float64 can tell apart"
        )
    most = max(least * (1.0 + tie), nothing if least > 0.0 else 0.0)
    return next(c for c in found if c.cost <= most)


def ranked(found: Iterable[Found], nothing: float = 0.0) -> list[Found]:
    """By cost, those that are equal in the order in which they come; without what costs NaN."""
    left, order = [c for c in found if not math.isnan(c.cost)], []
    while left:
        order.append(cheapest(left, nothing=nothing))
        left = [c for c in left if c is not order[-1]]
    return order


def lp_cost(t: Array, p: float) -> float:
    """``sum_i t_i^(p/2)`` for squared residuals t; p = inf: the root of the largest."""
    if p == math.inf:
        return math.sqrt(float(t.max()))
    return float(lp_sum(t, p))


def lp_sum(t: Array, p: float) -> Any:
    """`lp_cost` for a finite p, as whatever a sum over t is: a number, or the recipe for one."""
    if p == 1.0:
        return np.sqrt(t).sum()
    if p == 2.0:
        return t.sum()
    with np.errstate(over="ignore"):  # a cost beyond float64 is inf: another subspace is cheaper
        return (t ** (p / 2.0)).sum()


def entries_cost(A: Any, V: Array, p: float, factors: Array | None, scale: float) -> float:
    """``sum_ij |f_i s (A - A V V^T)_ij|^p``, in blocks; p = inf: the largest of them, no power."""
    n, d = A.shape
    step = max(1, (4 << 20) // (8 * d))
    total = 0.0
    for lo in range(0, n, step):
        # Factors first: rows of factor 0 may hold anything.
        f = scale if factors is None else scale * factors[lo : lo + step, None]
        block = np.asarray(A[lo : lo + step], dtype=np.float64) * f
        residual = np.abs(block - (block @ V) @ V.T)
        if p == math.inf:
            total = max(total, float(residual.max()))
        else:
            total += float((residual**p).sum())
    return total
