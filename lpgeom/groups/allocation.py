"""One budget of numbers shared out among subspaces of different rank."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from lpgeom.rows.base import Array

Point = tuple[float, float]


def storage(n: int, d: int, k: int) -> int:
    """Numbers that n rows take in a subspace of rank k of R^d: both factors, or the rows as they
    are for k = d, or nothing for k = 0 or no rows."""
    return n * d if k >= d else k * (n + d) if n else 0


def allocated(
    curves: Sequence[Array], counts: Sequence[int], d: int, budget: float
) -> tuple[list[int], float]:
    """Ranks of small total cost whose storage is at most `budget`, and the price of a number.

    ``curves[c][k]`` is the cost of group c, of ``counts[c]`` rows, at rank k = 0, ..., d. The next
    numbers go to the group where they take off most; on the lower convex hulls of the curves, with
    the rows as they are for an end, that is optimal whenever a corner uses the budget up. What is
    left over goes to smaller steps and to ranks between two corners. The price is what one more
    number would take off.

    Notes
    -----
    With C(s) the sum of the hulls at the best split of storage s, C is convex and the price is
    minus its slope to the right of the budget. Up to the first step that does not fit, the ranks
    minimise ``cost + price * storage`` over all ranks (Everett's theorem on generalised Lagrange
    multipliers), so that ranks within the budget cost no less than that minimum less
    ``price * budget``, which is C(budget).
    """
    hulls = [lower_hull(_choices(*group, d)) for group in zip(curves, counts, strict=True)]
    at, left, refused = climbed(hulls, float(budget))
    reached = zip((hull[i][0] for hull, i in zip(hulls, at, strict=True)), counts, strict=True)
    ranks = [d if 0 < n * d <= numbers else round(numbers / (n + d)) for numbers, n in reached]
    for _, i in refused:
        n = counts[i]
        more = int(left // (n + d))
        last = _below_dense(n, d)
        if more > 0 and ranks[i] < last:
            k = min(last, ranks[i] + more)
            left -= storage(n, d, k) - storage(n, d, ranks[i])
            ranks[i] = k
    return ranks, -refused[0][0] if refused else 0.0


def climbed(
    hulls: Sequence[Sequence[Point]], left: float
) -> tuple[list[int], float, list[tuple[float, int]]]:
    """How far a budget reaches along convex hulls, always going on where a number takes off most.

    Returns
    -------
    tuple
        Which corner of each hull is reached, what is left, and (slope, hull) of the steps that did
        not fit, the steepest first: other hulls may still reach corners of their own.
    """
    at = [0] * len(hulls)
    heap = [(slope(*hull[:2]), i) for i, hull in enumerate(hulls) if len(hull) > 1]
    heapq.heapify(heap)
    refused: list[tuple[float, int]] = []
    while heap:
        steep, i = heapq.heappop(heap)
        here, there = hulls[i][at[i] : at[i] + 2]
        price = there[0] - here[0]
        if price > left:
            refused.append((steep, i))
            continue
        left -= price
        at[i] += 1
        if at[i] + 1 < len(hulls[i]):
            heapq.heappush(heap, (slope(*hulls[i][at[i] : at[i] + 2]), i))
    return at, left, refused


def spent(choices: Sequence[Sequence[Point]], budget: float) -> list[int]:
    """Which (storage, cost) of each list to take, so that storage adds up to at most `budget`.

    The next number goes where it takes off most of the summed cost. On the lower convex hulls of
    the lists, storage rising in each, that is optimal for every budget at which it uses a hull's
    step up; what is left where no hull's next corner fits goes, again, where it takes off most.

    Raises
    ------
    ValueError
        If not even the first of every list fits.
    """
    hulls = [lower_hull(points) for points in choices]
    least = sum(hull[0][0] for hull in hulls)
    if least > budget:
        raise ValueError(f"the least there is takes {least:.0f}, more than the {int(budget)} given")
    corners, left, _ = climbed(hulls, budget - least)
    at = [hull[corner] for hull, corner in zip(hulls, corners, strict=True)]
    while True:
        steps = [_best_step(here, points, left) for here, points in zip(at, choices, strict=True)]
        i = max(range(len(steps)), key=lambda i: steps[i][0], default=-1)
        if i < 0 or steps[i][0] <= 0.0:
            break
        left -= steps[i][1][0] - at[i][0]
        at[i] = steps[i][1]
    return [list(points).index(here) for here, points in zip(at, choices, strict=True)]


def _best_step(here: Point, points: Sequence[Point], left: float) -> tuple[float, Point]:
    """(cost taken off for each number, where to) of the best affordable step."""
    affordable = (there for there in points if 0.0 < there[0] - here[0] <= left)
    return max(((-slope(here, there), there) for there in affordable), default=(0.0, here))


def _choices(curve: Array, n: int, d: int) -> list[Point]:
    """(storage, cost) at every rank that is smaller than the rows, and of these as they are."""
    if n == 0:
        return [(0.0, 0.0)]
    ranks = range(_below_dense(n, d) + 1)
    return [*((float(storage(n, d, k)), float(curve[k])) for k in ranks), (float(n * d), 0.0)]


def _below_dense(n: int, d: int) -> int:
    """The largest rank whose factors take fewer numbers than the rows."""
    return (n * d - 1) // (n + d) if n else 0


def lower_hull(points: Sequence[Point]) -> list[Point]:
    """Corners of the lower convex hull of points (x, y) with x rising; nothing is paid (x) for
    nothing (y)."""
    hull: list[Point] = []
    for point in points:
        while len(hull) > 1 and _turns_up(hull[-2], hull[-1], point):
            hull.pop()
        if not hull or point[1] < hull[-1][1]:
            hull.append(point)
    return hull


def slope(a: Point, b: Point) -> float:
    """Slope of the line from a to b."""
    return (b[1] - a[1]) / (b[0] - a[0])


def _turns_up(a: Point, b: Point, c: Point) -> bool:
    """Whether b lies on or above the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])
