"""How many rows a relative error takes, and what error a number of rows gives, with constants.

Each function is a theorem of docs/coresets.md: draws are independent, one from each of `size`
strata of equal probability, and row i has sensitivity at most ``total * prob_i``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lpgeom.coresets.sensitivity import Sensitivities

Needed = Callable[[float], float]
"""Draws that a relative error eps takes (decreasing in eps)."""

LARGEST_EPS = 1e6


@dataclass(frozen=True)
class Theorem:
    """A name from docs/coresets.md, and how many draws it asks for."""

    name: str
    needed: Needed

    def eps(self, size: int) -> float:
        """The smallest eps that `size` draws are enough for; inf if there is none."""
        if self.needed(LARGEST_EPS) > size:
            return math.inf
        low, high = 0.0, LARGEST_EPS
        while high - low > 1e-9 * high:  # `high` is enough throughout
            middle = math.sqrt(low * high) if low > 0.0 else high / 1e3
            if middle < 1e-9:
                break
            low, high = (low, middle) if self.needed(middle) <= size else (middle, high)
        return high

    def size(self, eps: float) -> float:
        """Draws that are enough for eps: a whole number, or inf."""
        needed = self.needed(eps)
        return math.ceil(needed) if math.isfinite(needed) else math.inf


def fixed_subspace(s: Sensitivities, delta: float) -> Theorem:
    """C3, Bernstein's inequality: ``2 S (1 + eps/3) ln(2/delta) / eps^2``."""
    S = s.total
    return Theorem("C3", lambda eps: 2.0 * S * (1.0 + eps / 3.0) * math.log(2.0 / delta) / eps**2)


def every_subspace(s: Sensitivities, delta: float) -> list[Theorem]:
    """C4, C5, C6, where they apply. Only for sensitivities over every rank."""
    if s.k is not None or s.rank == 0:
        return []
    theorems = [Theorem("C6", lambda eps: _net(s, eps, delta))]
    if s.p < 2.0:
        theorems.append(Theorem("C4", lambda eps: _contraction(s, eps, delta)))
    if s.p == 2.0:
        theorems.append(Theorem("C5", lambda eps: _chernoff(s, eps, delta)))
    return theorems


def _contraction(s: Sensitivities, eps: float, delta: float) -> float:
    """C4, 1 <= p < 2: ``8 L^2 D (1 + eps / (6 L)) ln(4 n / delta) / eps^2``, ``L = p D^(1-1/p)``.

    At p = 1, ``8 D (1 + eps/6) ln(4 n / delta) / eps^2``.
    """
    D = s.dimension
    L = s.p * D ** (1.0 - 1.0 / s.p)
    n = np.count_nonzero(s.weights)
    return 8.0 * L * L * D * (1.0 + eps / (6.0 * L)) * math.log(4.0 * n / delta) / eps**2


def _chernoff(s: Sensitivities, eps: float, delta: float) -> float:
    """C5, p = 2: ``2 D (1 + eps/3) ln(2 r / delta) / eps^2``, r the rank."""
    return 2.0 * s.dimension * (1.0 + eps / 3.0) * math.log(2.0 * s.rank / delta) / eps**2


def _net(s: Sensitivities, eps: float, delta: float) -> float:
    """C6, every p: C3 with error eta on a gamma-net of the unit sphere, ``(1 + 2/gamma)^r`` points.

    Then ``((1 + eta)^(1/p) / (1 - gamma))^p <= 1 + eps`` and ``(1 - eta)^(1/p) - gamma
    (1 + eps)^(1/p) >= (1 - eps)^(1/p)``, the second for eps < 1: it is void above. The best gamma
    is looked for on a grid; each is valid.
    """
    p, S = s.p, s.total
    gamma = np.geomspace(1e-6, 0.5, 200)
    eta = (1.0 - gamma) ** p * (1.0 + eps) - 1.0
    if eps < 1.0:
        least = (1.0 - eps) ** (1.0 / p) + gamma * (1.0 + eps) ** (1.0 / p)
        eta = np.minimum(eta, 1.0 - least**p)
    good = eta > 0.0
    if not good.any():
        return math.inf
    eta, gamma = eta[good], gamma[good]
    logs = s.rank * np.log1p(2.0 / gamma) + math.log(2.0 / delta)
    return float((2.0 * S * (1.0 + eta / 3.0) / eta**2 * logs).min())
