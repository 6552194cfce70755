"""One budget shared out among groups: against every choice of ranks."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpgeom.groups.allocation import allocated, lower_hull, slope, storage
from tests.problems import fixed


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Any], list[int], int]:
    """(curves, counts, d): costs that never rise with the rank, 0 where rows are kept."""
    d = draw(st.integers(1, 5))
    counts = draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
    curves = []
    for n in counts:
        steps = draw(st.lists(st.integers(0, 30), min_size=d, max_size=d))
        curves.append(np.array([*np.cumsum(steps)[::-1], 0.0]) * (n > 0))
    return curves, counts, d


def choices(curves: list[Any], counts: list[int], d: int) -> list[tuple[int, float]]:
    """(storage, cost) of all choices of ranks."""
    return [
        (
            sum(storage(n, d, k) for n, k in zip(counts, ranks, strict=True)),
            sum(float(curve[k]) for curve, k in zip(curves, ranks, strict=True)),
        )
        for ranks in itertools.product(range(d + 1), repeat=len(counts))
    ]


def dual(every: list[tuple[int, float]], price: float, budget: int) -> float:
    """No choice within the budget costs less, whatever the price."""
    return min(cost + price * stored for stored, cost in every) - price * budget


@given(groups(), st.integers(0, 130))
@fixed
def test_against_every_choice(problem: Any, budget: int) -> None:
    curves, counts, d = problem
    every = choices(curves, counts, d)
    ranks, price = allocated(curves, counts, d, budget)
    stored = sum(storage(n, d, k) for n, k in zip(counts, ranks, strict=True))
    cost = sum(float(curve[k]) for curve, k in zip(curves, ranks, strict=True))
    assert stored <= budget
    best = min(c for s, c in every if s <= budget)
    assert cost >= best
    # The price is the best multiplier there is: none proves more.
    proved = dual(every, price, budget)
    assert proved <= best + 1e-9
    slopes = [
        (c1 - c2) / (s2 - s1) for (s1, c1), (s2, c2) in itertools.permutations(every[:60], 2)
        if s2 > s1 and c1 > c2
    ]  # fmt: skip
    for other in (0.0, *slopes):
        assert dual(every, other, budget) <= proved + 1e-9
    # A corner that uses the budget up is as good as any choice.
    if math.isclose(proved, cost, abs_tol=1e-9):
        assert cost == pytest.approx(best, abs=1e-9)


@given(groups(), st.integers(0, 40))
@fixed
def test_optimal_where_a_corner_uses_the_budget_up(problem: Any, take: int) -> None:
    """Budgets at which the greedy steps along the hulls end."""
    curves, counts, d = problem
    steps = []
    for curve, n in zip(curves, counts, strict=True):
        if n:
            points = [(float(storage(n, d, k)), float(curve[k])) for k in range(d + 1)]
            hull = lower_hull([*sorted(p for p in points if p[0] < n * d), (float(n * d), 0.0)])
            steps += [(slope(a, b), b[0] - a[0]) for a, b in itertools.pairwise(hull)]
    budget = int(sum(length for _, length in sorted(steps)[:take]))
    ranks, _ = allocated(curves, counts, d, budget)
    cost = sum(float(curve[k]) for curve, k in zip(curves, ranks, strict=True))
    best = min(c for s, c in choices(curves, counts, d) if s <= budget)
    assert cost == pytest.approx(best, abs=1e-9)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12))
@fixed
def test_hull_against_all_segments(heights: list[int]) -> None:
    points = [(float(x), float(y)) for x, y in enumerate(heights)]
    hull = lower_hull(points)
    assert set(hull) <= set(points)
    assert hull[0] == points[0]
    slopes = [slope(a, b) for a, b in itertools.pairwise(hull)]
    assert all(s < 0.0 for s in slopes)
    assert all(a < b for a, b in itertools.pairwise(slopes))
    # By definition: the least over all segments, and nothing rises.
    for x, y in points:
        least = y
        for (x1, y1), (x2, y2) in itertools.combinations(points, 2):
            if x1 <= x <= x2:
                least = min(least, y1 + (y2 - y1) * (x - x1) / (x2 - x1))
        least = min(least, min(b for a, b in points if a <= x))
        ends = [(a, b) for a, b in itertools.pairwise(hull) if a[0] <= x <= b[0]]
        at = ends[0][0][1] + slope(*ends[0]) * (x - ends[0][0][0]) if ends else hull[-1][1]
        assert at == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize(
    ("n", "d", "k", "numbers"),
    [(10, 4, 2, 28), (10, 4, 4, 40), (10, 4, 0, 0), (0, 4, 2, 0), (0, 4, 4, 0), (1, 1, 1, 1)],
)
def test_storage(n: int, d: int, k: int, numbers: int) -> None:
    assert storage(n, d, k) == numbers


def test_everything_and_nothing() -> None:
    curves = [np.array([3.0, 1.0, 0.0]), np.array([5.0, 1.0, 0.0])]
    assert allocated(curves, [10, 10], 2, 40) == ([2, 2], 0.0)
    ranks, price = allocated(curves, [10, 10], 2, 0)
    assert ranks == [0, 0]
    assert price == 4.0 / 12.0  # the first rank of the second group
    assert allocated([np.zeros(3)], [10], 2, 40) == ([0], 0.0)  # nothing is paid for nothing


def test_the_rest_goes_to_ranks_between_corners() -> None:
    """A straight curve has corners at its ends alone: the budget between them is used, too."""
    curve = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    n, d = 100, 4
    ranks, _ = allocated([curve], [n], d, 3 * (n + d) + 5)
    assert ranks == [3]
