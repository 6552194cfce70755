"""Ranks from a ratio, from an error, and from one budget for all layers."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from lpgeom.nn.plan.ranks import Size, for_error, share_budget

some = settings(deadline=None, derandomize=True, max_examples=100)
sizes = st.builds(Size, st.integers(1, 3000), st.integers(1, 800), st.integers(1, 8))


@some
@given(sizes, st.integers(1, 999))
def test_ratio_keeps_no_more_than_asked_and_no_less_than_it_may(size: Size, mille: int) -> None:
    ratio = Fraction(mille, 1000)
    k = size.for_ratio(float(ratio))
    allowed = (1 - ratio) * size.dense
    assert 0 <= k <= size.full
    assert size.parameters(k) <= allowed
    assert k == size.full or size.parameters(k + 1) > allowed
    assert size.worthwhile(k) or k == 0


def test_sizes() -> None:
    size = Size(30522, 384)
    assert size.for_ratio(0.28) == 273
    assert size.parameters(273) == 273 * (30522 + 384)
    assert size.break_even == pytest.approx(379.2, abs=0.1)
    assert size.worthwhile(379)
    assert not size.worthwhile(380)
    assert Size(100, 10, 5).parameters(3) == 3 * 100 + 5 * 3 * 10


@some
@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12),
    st.sampled_from([1.0, 1.5, 2.0, 4.0]),
    st.floats(0.01, 0.99),
    st.sampled_from([1e-300, 1.0, 1e300]),
)
def test_error_takes_the_least_rank(
    drops: list[float], p: float, error: float, unit: float
) -> None:
    shares = np.concatenate([[1.0], np.cumprod(drops), [0.0]])
    curve = shares**p * unit
    k = for_error(curve, p, error)
    assert 1 <= k < len(curve)
    reached = (curve / curve[0]) ** (1.0 / p)
    assert reached[k] <= error
    assert k == 1 or reached[k - 1] > error


def test_error_of_a_zero_weight() -> None:
    assert for_error(np.zeros(5), 1.0, 0.1) == 1


# ---- one budget for all


@st.composite
def layers(draw: st.DrawFn, convex: bool = True) -> tuple[list[Any], list[Size]]:
    curves, found = [], []
    for _ in range(draw(st.integers(1, 3))):
        size = Size(draw(st.integers(4, 9)), draw(st.integers(4, 6)))
        steps = draw(st.lists(st.integers(0, 50), min_size=size.d, max_size=size.d))
        if convex:
            steps = sorted(steps, reverse=True)
        falls = np.array([*steps, 0.0])
        curve = np.append(falls[::-1].cumsum()[::-1], 0.0)[: size.d + 1]
        curve[size.full :] = 0.0
        curves.append(np.minimum.accumulate(curve + draw(st.sampled_from([0.0, 1.0]))))
        curves[-1][size.full :] = 0.0
        found.append(size)
    return curves, found


def spent(ranks: Any, sizes: list[Size]) -> int:
    return sum(s.dense if k is None else s.parameters(k) for k, s in zip(ranks, sizes, strict=True))


def lost(ranks: Any, curves: list[Any]) -> float:
    return sum(
        0.0 if k is None else c[k] / (c[0] or 1.0) for k, c in zip(ranks, curves, strict=True)
    )


def least(sizes: list[Size]) -> int:
    return sum(min(s.parameters(1), s.dense) for s in sizes)


def enumerated(curves: list[Any], sizes: list[Size], budget: float) -> float:
    choices = [[k for k in range(1, s.full + 1) if s.worthwhile(k)] + [None] for s in sizes]
    return min(lost(ranks, curves) for ranks in product(*choices) if spent(ranks, sizes) <= budget)


@some
@given(layers(), st.floats(0.0, 1.0))
def test_budget_is_kept_and_nearly_optimal(drawn: Any, share: float) -> None:
    curves, sizes = drawn
    dense = sum(size.dense for size in sizes)
    budget = least(sizes) + share * (dense - least(sizes))
    ranks = share_budget(curves, sizes, budget)
    assert spent(ranks, sizes) <= budget
    assert all(k is None or s.worthwhile(k) or k == 1 for k, s in zip(ranks, sizes, strict=True))
    # Optimal for what it spends or within one corner's gain: the greedy choice on convex hulls.
    best = enumerated(curves, sizes, budget)
    gain = max(max(c[k] / (c[0] or 1.0) for k in range(1, len(c))) for c in curves)
    assert best - 1e-12 <= lost(ranks, curves) <= best + gain + 1e-12


def mixed_optimum(curves: list[Any], sizes: list[Size], budget: float) -> tuple[float, bool]:
    """The optimum over mixtures of ranks, a linear program, and whether it mixes nothing."""
    cost, price, rows = [], [], []
    for i, (curve, size) in enumerate(zip(curves, sizes, strict=True)):
        for k in [*(k for k in range(1, size.full + 1) if size.worthwhile(k)), None]:
            cost.append(lost([k], [curve]))
            price.append(spent([k], [size]))
            rows.append(i)
    equal = np.zeros((len(sizes), len(cost)))
    equal[rows, np.arange(len(cost))] = 1.0
    found = linprog(cost, A_ub=[price], b_ub=[budget], A_eq=equal, b_eq=np.ones(len(sizes)))
    return float(found.fun), bool(np.all(np.minimum(found.x, 1.0 - found.x) < 1e-9))


def test_optimal_where_a_corner_uses_the_budget_up() -> None:
    rng = np.random.default_rng(0)
    corners = 0
    for _ in range(8):
        sizes = [Size(12, 5), Size(9, 6), Size(20, 4)]
        curves = []
        for size in sizes:
            falls = np.sort(rng.exponential(size=size.d))[::-1]
            curves.append(np.append(falls[::-1].cumsum()[::-1], 0.0))
        for budget in range(least(sizes), sum(s.dense for s in sizes) + 1, 3):
            ranks = share_budget(curves, sizes, budget)
            lower, unmixed = mixed_optimum(curves, sizes, spent(ranks, sizes))
            assert lower <= lost(ranks, curves) + 1e-12
            best, whole = mixed_optimum(curves, sizes, budget)
            if whole:
                corners += 1
                assert lost(ranks, curves) == pytest.approx(best, abs=1e-9)
            if unmixed and budget % 9 == 0:
                assert enumerated(curves, sizes, spent(ranks, sizes)) >= lower - 1e-9
    assert corners > 20


@some
@given(layers())
def test_more_budget_never_loses_more(drawn: Any) -> None:
    """Up to the end of a curve, where a step to the dense weight takes many ranks at once."""
    curves, sizes = drawn
    low, high = least(sizes), sum(size.dense for size in sizes)
    found = [share_budget(curves, sizes, budget) for budget in range(low, high + 1, 3)]
    losses = [lost(ranks, curves) for ranks in found]
    for i, (a, b) in enumerate(pairwise(losses)):
        assert b <= a + 1e-12 or None in found[i] or None in found[i + 1]
    assert not lost(share_budget(curves, sizes, high), curves)


@some
@given(layers(convex=False), st.floats(0.0, 1.0))
def test_nothing_affordable_that_helps_is_left(drawn: Any, share: float) -> None:
    curves, sizes = drawn
    high = sum(size.dense for size in sizes)
    budget = least(sizes) + share * (high - least(sizes))
    ranks = share_budget(curves, sizes, budget)
    assert spent(ranks, sizes) <= budget
    loss = lost(ranks, curves)
    for i, size in enumerate(sizes):
        for k in [*(k for k in range(1, size.full + 1) if size.worthwhile(k)), None]:
            other = [*ranks[:i], k, *ranks[i + 1 :]]
            assert spent(other, sizes) > budget or lost(other, curves) >= loss - 1e-12


def test_the_whole_budget_leaves_everything_as_it_is() -> None:
    curves = [np.array([4.0, 2.0, 1.0, 0.0]), np.array([3.0, 1.0, 0.5, 0.0])]
    sizes = [Size(10, 3), Size(20, 3)]
    assert share_budget(curves, sizes, 90) == [None, None]
    with pytest.raises(ValueError, match="rank 1 everywhere takes 36 parameters, more than the 35"):
        share_budget(curves, sizes, 35)


def test_a_weight_that_factors_never_pay_for() -> None:
    """A single row is smaller than any factors of it: its own size is the least it takes."""
    curves, sizes = [np.array([1.0] + [0.0] * 8), np.array([4.0, 2.0, 1.0, 0.0])], []
    sizes = [Size(1, 8), Size(10, 3)]
    assert share_budget(curves, sizes, 8 + 13) == [None, 1]
    with pytest.raises(ValueError, match="more than the 20 allowed"):
        share_budget(curves, sizes, 20)


def test_layers_that_lose_nothing_get_nothing() -> None:
    curves = [np.zeros(6), np.array([4.0, 2.0, 1.0, 0.0])]
    sizes = [Size(30, 5), Size(10, 3)]
    assert share_budget(curves, sizes, 35 + 30) == [1, None]
