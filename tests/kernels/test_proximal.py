"""Proximal maps of |x|^p against their definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lpgeom.kernels.cpu.proximal import prox, prox_entries, split_step
from tests.problems import fixed

POWERS = st.one_of(
    st.sampled_from((1.0, 4 / 3, 1.5, 2.0, 3.0, 10.0)), st.floats(1.0, 1.01), st.floats(1.0, 50.0)
)
SIZES = st.floats(1e-12, 1e6)


@fixed
@example(5.0, 1.0, 1.0 + 2**-52)
@example(2.0, 1.0, 1.00001)
@example(1.0, 1.0, 1.0 + 2**-52)
@example(1.0 + 1e-9, 1.0, 1.0 + 1e-12)
@given(SIZES, st.floats(1e-9, 1e6), POWERS)
def test_the_root_is_exact(v: float, lam: float, p: float) -> None:
    """x + lam p x^(p-1) = v to rounding of its terms, except where x underflows."""
    x = prox(v, lam, p)
    assert 0.0 <= x <= v
    assert prox(-v, lam, p) == -x
    if p == 1.0:
        assert x == max(v - lam, 0.0)
        return
    log_term = math.log(lam * p) + (p - 1.0) * math.log(x) if x > 0.0 else -math.inf
    if x < 1e-290:  # the root is below float64: v = lam p x^(p-1) puts it there
        assert math.log(v / (lam * p)) / (p - 1.0) < math.log(1e-280)
        return
    # The power amplifies the rounding of its own argument.
    assert abs(x + math.exp(log_term) - v) <= 64 * 2.3e-16 * (abs(log_term) + p + 8.0) * v


@fixed
@given(st.floats(-10, 10), st.floats(1e-3, 10), POWERS, st.floats(-12, 12))
def test_no_other_point_is_better(v: float, lam: float, p: float, other: float) -> None:
    def value(x: float) -> float:
        return lam * abs(x) ** p + 0.5 * (x - v) ** 2

    x = prox(v, lam, p)
    assert value(x) <= value(other) * (1.0 + 1e-13) + 1e-290


@fixed
@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(1e-3, 10), POWERS)
def test_firmly_nonexpansive(v: float, w: float, lam: float, p: float) -> None:
    x, y = prox(v, lam, p), prox(w, lam, p)
    assert (x - y) ** 2 <= (x - y) * (v - w) + 1e-12


@pytest.mark.parametrize("p", [4 / 3, 1.5, 3.0])
def test_closed_forms(p: float) -> None:
    for v in (0.1, 1.0, 7.0):
        for lam in (0.2, 3.0):
            c = lam * p
            if p == 1.5:  # sqrt(x) solves y^2 + c y = v
                known = (0.5 * (math.sqrt(c * c + 4 * v) - c)) ** 2
            elif p == 3.0:  # c x^2 + x = v
                known = 2 * v / (1 + math.sqrt(1 + 4 * c * v))
            else:  # y = x^(1/3) solves y^3 + c y = v: Cardano
                s = math.sqrt((v / 2) ** 2 + (c / 3) ** 3)
                y = np.cbrt(v / 2 + s) + np.cbrt(v / 2 - s)
                known = y**3
            assert prox(v, lam, p) == pytest.approx(known, rel=1e-10)


def test_zero_and_no_weight() -> None:
    assert prox(0.0, 1.0, 1.5) == 0.0
    assert prox(3.0, 0.0, 7.0) == 3.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1.0, 1.4, 2.0, 3.0])
def test_a_fused_step_is_its_parts(dtype: type, p: float) -> None:
    rng = np.random.default_rng(0)
    A, L, U = (rng.standard_normal((7, 5)).astype(dtype) for _ in range(3))
    M = np.empty_like(A)
    R = A.astype(np.float64) - L
    Z = (R + U).ravel()
    E = np.empty_like(Z)
    prox_entries(Z, 0.3, p, E)
    before = U.copy()
    cost = split_step(A, L, U, M, None, 0.3, p, 0.9)
    assert cost == pytest.approx(np.sum(np.abs(R) ** p), rel=1e-12)
    expected = 0.9 * (Z - E).reshape(A.shape)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(U, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(M, A - E.reshape(A.shape) + expected, rtol=1e-5, atol=tolerance)
    assert not np.array_equal(U, before)
