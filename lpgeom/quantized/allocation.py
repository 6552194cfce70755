"""How many bits each component of each group of rows takes, within one budget of bytes.

Every component is alone with one price (Everett 1963): reverse water-filling (Huang and
Schultheiss 1963), see docs/theory/quantised.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lpgeom.groups.allocation import climbed, lower_hull
from lpgeom.quantized.layout import Bytes, Ints
from lpgeom.rows.base import Array


def corners(distortion: Array, widths: Sequence[int]) -> tuple[Ints, Array]:
    """Widths at the corners of the lower convex hull, and their distortions; the first is 0."""
    hull = lower_hull([(float(b), float(distortion[b])) for b in sorted({0, *widths})])
    found = np.array([int(b) for b, _ in hull])
    return found, distortion[found]


def allocated_widths(
    energy: Array, counts: Ints, budget: float, distortion: Array, widths: Sequence[int]
) -> tuple[Bytes, float]:
    """Widths of small total error whose codes take at most `budget` bytes, and a byte's price.

    Parameters
    ----------
    energy : ndarray, shape (groups, r)
        Weighted squares that a component of width 0 loses, all rows of the group together.
    counts : ndarray of int, shape (groups,)
        Rows of each group.
    budget : float
        Bytes; a row takes whole bytes.
    distortion : ndarray, shape (9,)
        Share of its energy that a component loses at 0 to 8 bits.
    widths : sequence of int
        Those allowed beside 0.

    Notes
    -----
    Within a group the bits go where each takes off most (a component's steps lie on a convex hull,
    so a wider step never comes before a narrower one); among groups the bytes go along the hulls of
    what that leaves. Optimal for the bytes used whenever a corner uses the budget up, up to what
    whole bytes a row cost: ``O(groups r log r)``.
    """
    groups, r = energy.shape
    at, share = corners(distortion, widths)
    more, less = np.diff(at), -np.diff(share)
    hulls, ends = [], []
    orders = []
    for own, n in zip(energy, counts, strict=True):
        gains = (own[:, None] * (less / more)).ravel()
        order = np.argsort(-gains, kind="stable")
        bits = np.cumsum(np.tile(more, r)[order])
        left = float(own.sum()) - np.cumsum((own[:, None] * less).ravel()[order])
        # For whole bytes: the most steps that fit into them.
        strides = np.arange(int(-(-bits[-1] // 8)) + 1) if n and bits.size else np.zeros(1, int)
        steps = np.searchsorted(bits, 8 * strides, side="right")
        rest = np.append(float(own.sum()), left)[steps]
        orders.append(order)
        ends.append(steps)
        points = [(float(n * s), max(float(e), 0.0)) for s, e in zip(strides, rest, strict=True)]
        hulls.append(lower_hull(points if n else [(0.0, 0.0)]))
    reached, left_over, refused = climbed(hulls, budget)
    bytes_ = [
        round(hull[i][0] / n) if n else 0 for hull, i, n in zip(hulls, reached, counts, strict=True)
    ]
    for _, c in refused:
        extra = min(int(left_over // counts[c]), len(ends[c]) - 1 - bytes_[c])
        bytes_[c] += extra
        left_over -= extra * counts[c]
    bits = np.zeros((groups, r), dtype=np.uint8)
    for c, s in enumerate(bytes_):
        taken = np.bincount(orders[c][: ends[c][s]] // more.size, minlength=r)
        bits[c] = at[taken]
    return bits, -refused[0][0] if refused else 0.0
