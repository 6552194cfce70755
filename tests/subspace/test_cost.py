"""The cheapest of what is found: the same on every processor, and never what has no cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from lpgeom.subspace.cost import TIE, cheapest, ranked


@dataclass(frozen=True)
class Candidate:
    name: str
    cost: float


def named(*costs: float) -> list[Candidate]:
    return [Candidate("abcdef"[i], cost) for i, cost in enumerate(costs)]


@pytest.mark.parametrize(
    ("costs", "best", "order"),
    [
        ((3.0, 1.0, 2.0), "b", "bca"),
        ((1.0 + 0.5 * TIE, 1.0, 2.0), "a", "abc"),
        ((1.0 + 2.0 * TIE, 1.0, 2.0), "b", "bac"),
        ((math.nan, 2.0, 1.0), "c", "cb"),
        ((2.0, math.nan, math.inf), "a", "ac"),
        ((math.inf, math.nan, math.inf), "a", "ac"),
        ((1e-300, 0.0), "b", "ba"),
    ],
)
def test_ties_go_to_the_first_and_nan_to_nobody(
    costs: tuple[float, ...], best: str, order: str
) -> None:
    found = named(*costs)
    assert cheapest(found).name == best
    assert "".join(c.name for c in ranked(found)) == order


def test_up_to_rounding_nothing_is_cheaper_than_nothing() -> None:
    assert cheapest(named(3e-17, 1e-17), nothing=1e-16).name == "a"
    assert cheapest(named(3e-17, 0.0), nothing=1e-16).name == "b"


def test_where_every_cost_is_nan_the_error_says_so() -> None:
    with pytest.raises(FloatingPointError, match="everything that was found is NaN"):
        cheapest(named(math.nan, math.nan))
    assert ranked(named(math.nan)) == []
