"""The ends of float64: powers that overflow or underflow on the way to a number that does not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import lpgeom
from lpgeom.geometry.median import lp_median
from lpgeom.records.base import to_cost_units


@pytest.fixture(autouse=True)
def _strict() -> object:
    with np.errstate(all="raise", under="ignore"):
        yield


def over_decades(seed: int, n: int) -> np.ndarray:
    return 10.0 ** np.random.default_rng(seed).uniform(-300.0, 300.0, n)


def test_a_unit_whose_power_overflows() -> None:
    """What is far below the unit is a float in user units, though ``unit^p`` is none."""
    assert to_cost_units(1e-30, 1e160, 2.0) == pytest.approx(1e290)
    assert to_cost_units(1e-200, 1e100, 5.0) == pytest.approx(1e300)
    assert to_cost_units(1.0, 1e160, 2.0) == math.inf
    assert to_cost_units(1e300, 1e-200, 2.0) == pytest.approx(1e-100)


def test_a_bound_is_not_the_largest_float_where_the_cost_is_far_below() -> None:
    rng = np.random.default_rng(0)
    A = 1e158 * rng.standard_normal((40, 2)) @ rng.standard_normal((2, 6))
    A += 1e150 * rng.standard_normal(A.shape)
    result = lpgeom.approx_subspace(A, 2, 2.0)
    tail = float((np.linalg.svd(A / 1e150, compute_uv=False)[2:] ** 2).sum()) * 1e300
    assert result.lower_bound <= tail * (1.0 + 1e-9)
    assert result.cost == pytest.approx(tail, rel=1e-6)


@pytest.mark.parametrize("p", [1.0, 1.0001, 1.5, 2.5, 7.0, 50.0, 100.0])
def test_medians_with_weights_over_hundreds_of_decades(p: float) -> None:
    for seed in range(20):
        A = np.random.default_rng(seed).standard_normal((9, 3))
        found = lp_median(A, p, row_weights=over_decades(seed, 9))
        assert 0.0 < found.lower_bound <= found.cost
        assert found.ratio < 3.0
    A = A * over_decades(1, 9)[:, None] ** 0.25
    found = lp_median(A, p, row_weights=over_decades(2, 9))
    assert found.lower_bound <= found.cost


@pytest.mark.parametrize("p", [1.0, 1.5, 1.9, 1.9999])
@pytest.mark.parametrize("level", ["fast", "all"])
def test_row_minorants_of_rows_too_short_for_powers(p: float, level: str) -> None:
    """A row of 1e-170 or 1e-80 has squares or fourth powers that are 0."""
    for seed in range(4):
        A = np.random.default_rng(seed).standard_normal((12, 4))
        omega = over_decades(seed, 12)
        V = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 1)))[0]
        certificate = lpgeom.certify(A, V, p, level, row_weights=omega)
        assert certificate.lower_bound <= certificate.cost
        certificate.verify(A)


def test_steps_whose_squares_overflow() -> None:
    """Bound 3f's gradients reach 1e200 where high powers meet one long row."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((10, 4))
        A[3] *= 1e13
        result = lpgeom.approx_subspace(A, 3, 50.0, row_weights=over_decades(seed, 10))
        assert result.lower_bound <= result.cost
        assert result.certificate is not None
        result.certificate.verify(A)


def test_a_guarantee_that_no_bound_stands_for_is_not_stated() -> None:
    """For p > 2 bound 3a has other weights than the promise: kappa apart, p large, that is told."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((9, 2)) @ rng.standard_normal((2, 5))
        for p in (2.0001, 20.0, 100.0):
            certificate = lpgeom.approx_subspace(A, 1, p).certificate
            assert certificate is not None
            assert certificate.ratio <= certificate.guarantee * (1.0 + 1e-9)
            certificate.verify(A)


@pytest.mark.parametrize("p", [50.0, 100.0])
def test_a_cost_that_is_lost_is_no_optimum(p: float) -> None:
    """The residual is 1e-12 of the rows, which no power of two brings nearer 1."""
    A = np.array([[-1.15177077e-318, -1.90210333e-318], [-5.36833636e-306, 9.08792364e-306]])
    V = np.array([[0.5], [-0.86]])
    for solve in (
        lambda A: lpgeom.approx_subspace(A, 1, p),
        lambda A: lpgeom.cost_curve(A, p, [1]),
    ):
        with pytest.raises(OverflowError, match="multiply A by a power of ten"):
            solve(A)
    assert lpgeom.certify(A, V, p).cost >= 0.0  # far from every row: a number
    found = lpgeom.approx_subspace(A * 2.0**300, 1, p)
    assert found.norm_error == pytest.approx(1.95909e-318 * 2.0**300, rel=1e-3)
    for few in (1.0, 2.0, 3.0):
        assert lpgeom.approx_subspace(A, 1, few).norm_error == pytest.approx(1.96e-318, rel=1e-2)


def test_a_relaxed_cost_beyond_float64() -> None:
    """Rows over 14 decades at p = 50: a step too far costs more than the largest float."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((20, 4)) * 10.0 ** rng.uniform(-7.0, 7.0, (20, 1))
        result = lpgeom.approx_subspace(A, 2, 50.0)
        assert result.lower_bound <= result.cost
        assert result.certificate is not None
        result.certificate.verify(A)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.5, 7.0])
def test_no_claim_hides_in_the_rounding_of_a_long_row(p: float) -> None:
    """One row 1e7 times as long: the allowance of its terms is above the whole cost."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((12, 3))
    A[0] *= 1e7
    certificate = lpgeom.approx_subspace(A, 1, p).certificate
    assert certificate is not None
    certificate.verify(A)
    for i, bound in enumerate(certificate.bounds):
        for value in (1.001 * certificate.scaled_cost, 100.0 * certificate.scaled_cost):
            forged = list(certificate.bounds)
            forged[i] = replace(bound, scaled_value=value)
            with pytest.raises(lpgeom.CertificateError):
                replace(certificate, bounds=tuple(forged)).verify(A)


def test_curves_of_data_whose_small_ranks_are_all_there_is() -> None:
    """What the SVD leaves at the largest ranks is rounding, no divisor for high powers."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((9, 2)) @ rng.standard_normal((2, 5))
        omega = over_decades(seed, 9)
        for p in (1.5, 2.0001, 7.0, 50.0):
            curve = lpgeom.cost_curve(A, p, range(1, 5), row_weights=omega)
            assert (curve.lower_bound <= curve.cost).all()
