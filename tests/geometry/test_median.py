"""The l_p median: against what is known, and its bound against everything that could break it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpgeom.geometry.median import lp_median, median_bound
from tests.problems import KINDS, fixed, matrix

PS = (1.0, 1.2, 1.5, 2.0, 3.0, 8.0)


def plain_cost(A: Any, c: Any, p: float, omega: Any = None) -> float:
    """A loop: what a point costs."""
    total = 0.0
    for i in range(len(A)):
        distance = math.sqrt(sum((A[i][j] - c[j]) ** 2 for j in range(len(c))))
        total += (1.0 if omega is None else omega[i]) * distance**p
    return total


@st.composite
def clouds(draw: st.DrawFn) -> tuple[Any, Any, float]:
    """Rows of every kind, some with weights, some repeated or on a grid."""
    n, d = draw(st.integers(1, 25)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    kind = draw(st.sampled_from((*KINDS, "grid")))
    A = rng.integers(-1, 2, (n, d)).astype(float) if kind == "grid" else None
    if A is None:
        A = matrix(kind, max(n, 3), max(d, 2), seed)
    omega = rng.integers(0, 4, len(A)).astype(float) if draw(st.booleans()) else None
    if omega is not None and not omega.any():
        omega[0] = 1.0
    return A, omega, draw(st.sampled_from(PS))


@fixed
@given(clouds(), st.integers(0, 2**31))
def test_no_point_is_better_than_the_bound_says(cloud: Any, seed: int) -> None:
    A, omega, p = cloud
    found = lp_median(A, p, row_weights=omega)
    assert found.cost == pytest.approx(plain_cost(A, found.point, p, omega), rel=1e-9, abs=1e-300)
    assert found.lower_bound <= found.cost
    # As good as rounding lets it be, at the latest where costs repeat themselves.
    assert found.ratio < 1.0 + 1e-5
    rng = np.random.default_rng(seed)
    spread = float(np.abs(A - found.point).max()) or 1.0
    for size in (1e-6, 1e-3, 0.1, 1.0):
        other = found.point + size * spread * rng.standard_normal(A.shape[1])
        assert found.lower_bound <= plain_cost(A, other, p, omega)
    for row in A:
        assert found.lower_bound <= plain_cost(A, row, p, omega) * (1.0 + 1e-12)


@fixed
@given(clouds(), st.integers(0, 2**31))
def test_a_bound_made_anywhere_holds(cloud: Any, seed: int) -> None:
    """Not only where the search ends: the dual vectors of a bad point give a poor, true bound."""
    A, omega, p = cloud
    least = lp_median(A, p, row_weights=omega)
    rng = np.random.default_rng(seed)
    starts = [A[int(rng.integers(len(A)))], A.mean(axis=0), 10.0 * rng.standard_normal(A.shape[1])]
    for c in starts:
        cost, lower, ratio = median_bound(A, c, p, row_weights=omega)
        assert cost == pytest.approx(plain_cost(A, c, p, omega), rel=1e-9, abs=1e-300)
        assert lower <= least.cost * (1.0 + 1e-12)
        assert ratio >= 1.0


def test_fermats_point() -> None:
    """From the centre of an equilateral triangle the corners pull in balance."""
    A = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])
    found = lp_median(A)
    assert np.allclose(found.point, A.mean(axis=0), atol=1e-7)
    assert found.cost == pytest.approx(math.sqrt(3.0), rel=1e-12)
    assert found.ratio < 1.0 + 1e-9
    # With an angle of 120 degrees or more the corner itself is the median (Fermat, Torricelli).
    flat = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.2]])
    assert np.array_equal(lp_median(flat).point, flat[0])


def test_a_row_that_outweighs_the_others() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20, 3))
    omega = np.ones(20)
    omega[7] = 19.0
    found = lp_median(A, row_weights=omega)
    assert np.array_equal(found.point, A[7])
    assert found.ratio < 1.0 + 1e-12
    omega[7] = 0.0
    assert not np.array_equal(lp_median(A, row_weights=omega).point, A[7])


def test_a_start_at_a_row_does_not_stick() -> None:
    """The mean is a row here, where plain Weiszfeld divides by zero, and not the median."""
    A = np.array([[0.0, 0.0], [3.0, 1.0], [3.0, -1.0], [-6.0, 0.0], [-1.0, 2.0], [1.0, -2.0]])
    assert np.array_equal(A.mean(axis=0), A[0])
    for p in (1.0, 1.3):
        found = lp_median(A, p)
        assert found.ratio < 1.0 + 1e-8
        assert found.cost <= plain_cost(A, A[0], p) * (1.0 + 1e-12)


@pytest.mark.parametrize("p", PS)
def test_it_moves_with_the_rows(p: float) -> None:
    rng = np.random.default_rng(1)
    A = rng.standard_normal((40, 4)) * [5.0, 1.0, 1.0, 0.1]
    Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    point = lp_median(A, p, tol=1e-13).point
    assert np.allclose(lp_median(A @ Q + 3.0, p, tol=1e-13).point, point @ Q + 3.0, atol=1e-5)
    repeated = lp_median(A.repeat(3, axis=0), p, tol=1e-13).point
    assert np.allclose(repeated, point, atol=1e-5)
    assert np.allclose(lp_median(A, p, row_weights=np.full(40, 3.0), tol=1e-13).point, point)


def test_in_one_dimension_and_for_squares() -> None:
    x = np.array([[5.0], [1.0], [2.0], [100.0], [3.0]])
    assert lp_median(x).point.tolist() == [3.0]
    assert lp_median(x, 2.0).point == pytest.approx(x.mean(axis=0))
    # Weights move it: half of all weight lies at 100.
    assert lp_median(x, row_weights=[1.0, 1.0, 1.0, 9.0, 1.0]).point.tolist() == [100.0]


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_scale_changes_nothing(scale: float, p: float) -> None:
    A = np.random.default_rng(2).standard_normal((30, 3))
    found, scaled = lp_median(A, p), lp_median(A * scale, p)
    assert np.allclose(scaled.point / scale, found.point, rtol=1e-6, atol=1e-9)
    assert scaled.ratio < 1.0 + 1e-8


def test_far_from_the_origin_and_over_many_scales() -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((100, 3))
    assert lp_median(A + 1e9).ratio < 1.0 + 1e-6
    wide = np.exp(rng.uniform(-20.0, 20.0, (300, 1))) * rng.standard_normal((300, 4))
    assert lp_median(wide).ratio < 1.0 + 1e-9


def test_constant_rows_and_one_row() -> None:
    for A in (np.ones((5, 3)), np.zeros((4, 2)), np.array([[3.0, 4.0]])):
        found = lp_median(A)
        assert np.array_equal(found.point, A[0])
        assert (found.cost, found.ratio) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, {"A": [["a", "b"]]}),
        (ValueError, {"A": [[1.0, math.nan]]}),
        (ValueError, {"A": np.ones((3, 2)), "p": 0.5}),
        (ValueError, {"A": np.ones((3, 2)), "p": math.inf}),
        (ValueError, {"A": np.ones((3, 2)), "row_weights": [1.0, -1.0, 1.0]}),
        (ValueError, {"A": np.ones((3, 2)), "row_weights": [0.0, 0.0, 0.0]}),
        (ValueError, {"A": np.ones((3, 2)), "tol": 0.0}),
    ],
)
def test_bad_input_is_refused(error: type[Exception], arguments: dict[str, Any]) -> None:
    with pytest.raises(error):
        lp_median(**arguments)


def test_a_point_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="point must hold 2"):
        median_bound(np.ones((3, 2)), [1.0, 2.0, 3.0])


def test_weights_hundreds_of_decades_apart_at_a_high_power() -> None:
    orders = [117, -29, -44, -50, -111, 103, 8, 146, -138, 4, -45, 6, 84, -47, -21]
    omega = 10.0 ** np.array(orders, dtype=np.float64)
    A = np.eye(5)[[0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3]
    found = lp_median(A, 20.0, row_weights=omega)
    assert 0.0 <= found.lower_bound <= found.cost
