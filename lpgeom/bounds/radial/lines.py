"""The last step of a radial bound: lines in one scalar s, and a minimum over s."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lpgeom.bounds.rounding import EPS
from lpgeom.geometry.fantope import largest_sum, smallest_sum
from lpgeom.rows.base import Array


@dataclass
class Cut:
    """``h(Q) >= constant + <G, Q>`` for all Q, by linearisation at a point Q.

    Each slope mu makes a line: ``h(Q) >= line + mu s`` for every rank-m projection Q, s = <N, Q>.
    """

    Q: Array
    constant: float
    G: Array
    slopes: list[float] = field(default_factory=list)
    lines: list[float] = field(default_factory=list)

    def add(self, mu: float, N: Array, m: int) -> None:
        """Add the line of slope mu: one eigenvalue computation."""
        self.slopes.append(mu)
        self.lines.append(self.constant + smallest_sum(self.G - mu * N, m))


def lowest_value(cuts: list[Cut], N: Array, c0: float, m: int) -> float:
    """Minimum over s of ``max (line + mu s) - s^2 / c0``, lowered by its own rounding."""
    slopes, lines = _lines(cuts)
    value, s = _lowest(slopes, lines, smallest_sum(N, m), largest_sum(N, m), c0)
    size = float(np.abs(lines).max() + np.abs(slopes).max() * abs(s)) + s * s / c0
    return value - 64.0 * EPS * size


def attained(
    cuts: list[Cut], N: Array, c0: float, m: int
) -> tuple[float, float | None, float | None]:
    """The minimum over s, and the slopes next to it from below and above (None: no line there)."""
    slopes, lines = _lines(cuts)
    value, s = _lowest(slopes, lines, smallest_sum(N, m), largest_sum(N, m), c0)
    height = lines + slopes * s
    meeting = slopes[height >= height.max() - 1e-9 * np.abs(height).max()]
    low, high = float(meeting.min()), float(meeting.max())
    if low < high:
        return value, low, high
    # At an end of the range only one line is active: the missing slope lies on the far side.
    return (value, None, low) if s * 2.0 / c0 < low else (value, low, None)


def _lines(cuts: list[Cut]) -> tuple[Array, Array]:
    slopes = np.array([mu for c in cuts for mu in c.slopes])
    return slopes, np.array([line for c in cuts for line in c.lines])


def _lowest(
    slopes: Array, lines: Array, s_min: float, s_max: float, c0: float
) -> tuple[float, float]:
    """Minimum over [s_min, s_max] of ``max_j (lines_j + slopes_j s) - s^2 / c0``, and where.

    Between two breakpoints of the maximum the function is concave, so breakpoints and ends are
    enough; every pair of lines is tried, so no breakpoint is missed.
    """
    i, j = np.triu_indices(slopes.size, 1)
    apart = slopes[j] != slopes[i]
    s = (lines[i] - lines[j])[apart] / (slopes[j] - slopes[i])[apart]
    s = np.concatenate([[s_min, s_max], s[(s > s_min) & (s < s_max)]])
    values = (lines[None, :] + np.outer(s, slopes)).max(axis=1) - s * s / c0
    best = int(np.argmin(values))
    return float(values[best]), float(s[best])
