"""What bounds and certificates have in common, whatever they are about: figures in user units."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar


def to_cost_units(scaled: float, unit: float, p: float) -> float:
    """``scaled * unit**p`` (p = inf: ``scaled * unit``), infinite only where that overflows."""
    if scaled == 0.0:
        return 0.0
    if math.isinf(p):
        return scaled * unit
    factor = _power(unit, p)
    value = scaled * factor
    if 0.0 < factor < math.inf and 0.0 < value < math.inf:
        return value
    # unit**p left the range although the product may not: go through norms.
    return _power(scaled ** (1.0 / p) * unit, p)


def _power(x: float, p: float) -> float:
    """``x**p``, infinite where Python raises."""
    try:
        return float(x**p)
    except OverflowError:
        return math.inf


def norm_ratio(cost: float, lower_bound: float, p: float) -> float:
    """(cost / lower_bound)^(1/p), with 0/0 = 1 and x/0 = inf; at p = inf, cost / lower_bound."""
    if cost <= lower_bound:
        return 1.0
    if lower_bound <= 0.0:
        return math.inf
    return float((cost / lower_bound) ** (1.0 if math.isinf(p) else 1.0 / p))


def plain(record: Any, names: Iterable[str]) -> dict[str, Any]:
    """These properties of a record, ready for JSON: inf, for which it has no number, is "inf"."""
    values = {name: getattr(record, name) for name in names}
    return {name: "inf" if value == math.inf else value for name, value in values.items()}


class _Scaled(Protocol):
    @property
    def scaled_value(self) -> float: ...
    @property
    def failure_probability(self) -> float: ...
    @property
    def unit(self) -> float: ...
    @property
    def p(self) -> float: ...


class Proved:
    """A lower bound: `scaled_value` in cost units of the scaled rows, `unit`, `p` and
    `failure_probability` are its own."""

    @property
    def value(self: _Scaled) -> float:
        """The bound in the user's cost units (p-th powers); capped at the largest float."""
        return min(to_cost_units(self.scaled_value, self.unit, self.p), sys.float_info.max)

    @property
    def always(self: _Scaled) -> bool:
        """True if the bound does not rest on a random start."""
        return self.failure_probability == 0.0

    @property
    def certainty(self: _Scaled) -> str:
        """``"always"``, or ``"with probability >= 1 - x"``."""
        chance = self.failure_probability
        return "always" if chance == 0.0 else f"with probability >= 1 - {chance:.1g}"


class _Bound(_Scaled, Protocol):
    @property
    def value(self) -> float: ...


B = TypeVar("B", bound=_Bound)


class Certified(Generic[B]):
    """A cost beside lower bounds for it."""

    p: float
    scaled_cost: float
    bounds: tuple[B, ...]
    unit: float

    @property
    def best(self) -> B | None:
        """The largest lower bound, or None if there is none."""
        return max(self.bounds, key=lambda bound: bound.scaled_value, default=None)

    @property
    def cost(self) -> float:
        """The cost (a p-th power), in user units."""
        return to_cost_units(self.scaled_cost, self.unit, self.p)

    @property
    def lower_bound(self) -> float:
        """The largest lower bound, in user cost units; 0.0 if there is none."""
        return self.best.value if self.best is not None else 0.0

    @property
    def ratio(self) -> float:
        """(cost / lower_bound)^(1/p) >= 1: what is certified is within this factor of optimal."""
        scaled = self.best.scaled_value if self.best is not None else 0.0
        return norm_ratio(self.scaled_cost, scaled, self.p)

    @property
    def failure_probability(self) -> float:
        """Failure probability of the largest bound (0.0: it holds always)."""
        return self.best.failure_probability if self.best is not None else 0.0
