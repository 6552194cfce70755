"""What every record is made of: errors, units, bounds and what they prove.

Units. Algorithms work on rows scaled by a power of two, with the row weights folded in
(`unit` is the norm that scaled norm 1 stands for). Records keep the scaled numbers, which can
neither overflow nor underflow, and give user units on demand: a cost is a p-th power,
``cost = scaled_cost * unit**p``; a norm is ``scaled_norm * unit``. At p = inf a cost is the largest
distance itself: a norm.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)
LARGEST = sys.float_info.max


class CertificateError(ValueError):
    """A certificate that does not hold for the data it is checked against.

    Examples
    --------
    >>> import dataclasses
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> certificate = lpgeom.approx_subspace(A, 2).certificate
    >>> half = 0.5 * certificate.scaled_cost
    >>> forged = dataclasses.replace(certificate, scaled_cost=half)
    >>> try:
    ...     forged.verify(A)
    ... except lpgeom.CertificateError:
    ...     print("refused")
    refused
    """


# ---------------------------------------------------------------- units


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


def p_norm(x: ArrayLike, p: float) -> float:
    """``(sum x^p)^(1/p)`` for x >= 0, relative to the largest."""
    x = np.asarray(x, dtype=np.float64)
    top = float(x.max(initial=0.0))
    if top == 0.0 or math.isinf(top):
        return top
    return top * float(((x / top) ** p).sum()) ** (1.0 / p)


def plain(record: Any, names: Iterable[str]) -> dict[str, Any]:
    """These properties of a record, ready for JSON: inf, for which it has no number, is "inf"."""
    return {name: jsonable(getattr(record, name)) for name in names}


def jsonable(value: Any) -> Any:
    """Tuples and vectors as lists, and infinities as strings."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [jsonable(x) for x in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


# ---------------------------------------------------------------- statements


class Proved:
    """A lower bound: `scaled_value` (of scaled rows), `unit`, `p` and `failure_probability`."""

    @property
    def value(self: Any) -> float:
        """The bound in the user's cost units (p-th powers); capped at the largest float."""
        return min(to_cost_units(self.scaled_value, self.unit, self.p), LARGEST)

    @property
    def always(self: Any) -> bool:
        """True if the bound does not rest on a random start."""
        return self.failure_probability == 0.0

    @property
    def certainty(self: Any) -> str:
        """``"always"``, or ``"with probability >= 1 - x"``."""
        chance = self.failure_probability
        return "always" if chance == 0.0 else f"with probability >= 1 - {chance:.1g}"


B = TypeVar("B", bound=Any)


class Certified(Generic[B]):
    """A cost beside lower bounds for it."""

    p: float
    k: int
    shape: tuple[int, int]
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
    def norm_error(self) -> float:
        """``cost^(1/p)``; finite even where `cost` overflows."""
        root = 1.0 if math.isinf(self.p) else 1.0 / self.p
        return float(self.scaled_cost**root) * self.unit

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
        """Of `lower_bound`: 0.0 if the best bound holds always, else the sum over all of them."""
        if self.best is None or self.best.always:
            return 0.0
        return min(1.0, sum(bound.failure_probability for bound in self.bounds))

    certainty = Proved.certainty

    def _lines(self, heads: str, names: Iterable[str]) -> str:
        """The bounds as text, largest first: what `names` has of each, and what it proves."""
        lines = [f"{heads}{'lower bound':>14}{'cost/bound':>12}  holds"]
        for name, b in sorted(
            zip(names, self.bounds, strict=True), key=lambda pair: -pair[1].scaled_value
        ):
            over = norm_ratio(self.scaled_cost, b.scaled_value, 1.0)
            lines.append(f"{name}{b.value:>14.6g}{over:>12.5f}  {b.certainty}")
        return "\n".join(lines)
