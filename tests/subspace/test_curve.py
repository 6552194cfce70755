"""The SVD's cost at every rank: against the definition and against `approx_subspace`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.subspace.svd_curve import svd_cost_curve
from tests import reference
from tests.problems import KINDS, matrix


def by_definition(A: Any, p: float, omega: Any = None) -> Any:
    """Costs for k = 0 .. d from a NumPy SVD and plain loops."""
    B = A if omega is None else reference.weighted(A, omega, p)
    V = np.linalg.svd(B)[2].T
    return [reference.cost_rows(B, V[:, :k], p) for k in range(A.shape[1] + 1)]


@pytest.mark.parametrize("p", [1.0, 1.5, 1.7, 2.0, 3.0, 7.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_definition(p: float, weighted: bool) -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((60, 7)) * np.arange(1.0, 8.0)
    omega = rng.uniform(0.1, 3.0, 60) if weighted else None
    curve = svd_cost_curve(A, p, row_weights=omega)
    wanted = by_definition(A, p, omega)
    np.testing.assert_allclose(curve.cost[:-1], wanted[:-1], rtol=1e-10)
    assert curve.cost[-1] == 0.0
    B = A if omega is None else reference.weighted(A, omega, p)
    np.testing.assert_allclose(
        curve.singular_values, np.linalg.svd(B, compute_uv=False), rtol=1e-12
    )


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(200, 9), (6, 9)])
def test_equals_the_svd_cost_of_approx_subspace(
    p: float, weighted: bool, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(5)
    A = rng.standard_t(3.0, shape) * np.exp(-np.arange(9.0))
    omega = rng.uniform(0.1, 3.0, shape[0]) if weighted else None
    curve = svd_cost_curve(A, p, row_weights=omega)
    for k in range(1, 9):
        found = lpgeom.approx_subspace(
            A, k, p, row_weights=omega, certify=False, method="svd"
        ).svd_cost
        assert curve.cost[k] == pytest.approx(found, rel=1e-9, abs=0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_falls_to_zero_at_the_rank(kind: str, p: float) -> None:
    A = matrix(kind, 24, 6, seed=1)
    curve = svd_cost_curve(A, p)
    rank = np.linalg.matrix_rank(A)
    assert (np.diff(curve.cost) <= 0.0).all()
    assert (curve.cost[rank:] == 0.0).all()
    assert (curve.cost[:rank] > 0.0).all()
    assert (curve.singular_values[rank:] == 0.0).all()
    assert curve.cost[0] == pytest.approx(sum(reference.norm(a) ** p for a in A), rel=1e-12)


def test_no_digits_are_lost_near_full_rank() -> None:
    """The last direction has 1e-5 of the length of the first: 1e-10 of its square."""
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.standard_normal((300, 5)))[0]
    V = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    A = (U * [1.0, 1.0, 1.0, 1.0, 1e-5]) @ V.T
    curve = svd_cost_curve(A, 1.0)
    assert curve.cost[4] == pytest.approx(1e-5 * np.abs(U[:, 4]).sum(), rel=1e-8)


def test_larger_than_a_block_and_in_any_layout() -> None:
    A = np.random.default_rng(1).standard_normal((3000, 130)).astype(np.float32)
    curve = svd_cost_curve(A, 1.0)
    V = np.linalg.svd(A.astype(np.float64), full_matrices=False)[2].T
    for k in (0, 1, 64, 129):
        R = A - (A @ V[:, :k]) @ V[:, :k].T
        assert curve.cost[k] == pytest.approx(np.linalg.norm(R, axis=1).sum(), rel=1e-6)
    for other in (np.asfortranarray(A), np.repeat(A, 2, axis=0)[::2], A.astype(np.float64)):
        np.testing.assert_allclose(svd_cost_curve(other, 1.0).cost, curve.cost, rtol=1e-9)


@pytest.mark.parametrize("p", [1.0, 2.0, 30.0])
@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_any_scale(p: float, scale: float) -> None:
    A = np.random.default_rng(2).standard_normal((40, 5))
    plain, scaled = svd_cost_curve(A, p), svd_cost_curve(scale * A, p)
    assert np.isfinite(plain.cost).all()
    np.testing.assert_allclose(scaled.singular_values, scale * plain.singular_values, rtol=1e-12)
    power = math.pow(scale, p) if abs(math.log10(scale) * p) < 301 else math.nan
    if math.isfinite(power):
        np.testing.assert_allclose(scaled.cost, power * plain.cost, rtol=1e-9)
    else:  # beyond float64: as the costs themselves are
        assert set(scaled.cost[:-1]) == {0.0 if scale < 1.0 else math.inf}


def test_high_powers_of_small_residuals_do_not_vanish() -> None:
    rng = np.random.default_rng(4)
    A = rng.standard_normal((50, 4)) * [1.0, 1.0, 1.0, 1e-3]
    curve = svd_cost_curve(A, 100.0)
    found = lpgeom.approx_subspace(A, 3, 100.0, certify=False, method="svd").svd_cost
    assert found > 0.0
    assert curve.cost[3] == pytest.approx(found, rel=1e-9)


def test_a_matrix_of_zeros_costs_nothing() -> None:
    curve = svd_cost_curve(np.zeros((4, 3)), 1.0)
    assert (curve.cost == 0.0).all()
    assert (curve.singular_values == 0.0).all()


def test_bad_input() -> None:
    A = np.eye(3)
    with pytest.raises(ValueError, match="p must be a finite number"):
        svd_cost_curve(A, math.inf)
    with pytest.raises(ValueError, match="row_weights"):
        svd_cost_curve(A, 1.0, row_weights=[1.0, 2.0])
    with pytest.raises(ValueError, match="two-dimensional"):
        svd_cost_curve(np.ones(3), 1.0)
    with pytest.raises(ValueError, match="finite"):
        svd_cost_curve([[1.0, math.nan]], 1.0)
