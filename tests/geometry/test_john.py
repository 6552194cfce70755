"""John's ellipsoid: his conditions at the optimum, both inclusions, polarity, degenerate rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from lpgeom.geometry.ellipsoids.john import john_passes, john_weights
from lpgeom.rows.array import ArrayRows
from tests import reference
from tests.problems import KINDS, fixed, matrix

SOLID = ("gauss", "heavy", "duplicates", "zero rows")


def body(kind: str, n: int, d: int, seed: int) -> Any:
    """Rows of full rank, so that the body is bounded."""
    A = matrix(kind, n, d, seed)
    A[:d] += np.eye(d)
    return A


def supremum(A: Any, x: Any) -> float:
    return float(np.abs(A @ x).max())


@pytest.mark.parametrize("kind", SOLID)
def test_johns_conditions(kind: str) -> None:
    """In the ellipsoid's own coordinates the contact points decompose the identity.

    With ``b_i = shape^(-1/2) a_i`` the body is ``|<b_i, y>| <= 1``, the ellipsoid the unit ball;
    it touches where ``||b_i|| = 1``, and ``sum w_i b_i b_i^T = I`` with w > 0 only there.
    """
    A = body(kind, 40, 4, 2)
    E = lpgeom.john_ellipsoid(A, eps=1e-10)
    w, tau = john_weights(A, tol=1e-10)
    lam, U = np.linalg.eigh(E.shape)
    B = A @ (U / np.sqrt(lam))
    lengths = np.linalg.norm(B, axis=1)
    assert lengths.max() <= 1.0 + 1e-12
    np.testing.assert_allclose(lengths**2, tau, atol=1e-6)
    assert w.sum() == pytest.approx(4.0)
    contact = w > 1e-6
    np.testing.assert_allclose(lengths[contact], 1.0, atol=1e-4)
    np.testing.assert_allclose(reference.gram(B, w), np.eye(4), atol=1e-6)
    # A contact point lies on the boundary of both.
    for a, b in zip(A[contact], B[contact], strict=True):
        x = U @ (b / np.sqrt(lam) / float(b @ b))
        assert abs(float(a @ x)) == pytest.approx(1.0)
        assert supremum(A, x) <= 1.0 + 1e-4


@pytest.mark.needs("cvxpy")
def test_against_a_conic_solver() -> None:
    import cvxpy as cp

    A = body("gauss", 20, 3, 7)
    B = cp.Variable((3, 3), PSD=True)
    problem = cp.Problem(cp.Maximize(cp.log_det(B)), [cp.norm(B @ a) <= 1.0 for a in A])
    problem.solve(solver="CLARABEL")
    E = lpgeom.john_ellipsoid(A)
    unit = 0.5 * 3 * math.log(math.pi) - math.lgamma(2.5)
    assert E.log_volume == pytest.approx(unit + np.linalg.slogdet(B.value)[1], abs=1e-4)


def test_known_bodies() -> None:
    cube = lpgeom.john_ellipsoid(np.eye(3), eps=1e-9)
    np.testing.assert_allclose(cube.shape, np.eye(3), atol=1e-8)
    assert cube.alpha == pytest.approx(3.0**0.5)
    signs = np.array([[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1)])
    cross = lpgeom.john_ellipsoid(signs, eps=1e-9)  # the octahedron: a ball of radius 3^(-1/2)
    np.testing.assert_allclose(cross.shape, 3.0 * np.eye(3), atol=1e-7)


@fixed
@given(st.sampled_from(KINDS), st.integers(2, 5), st.integers(0, 2**31), st.floats(1e-8, 0.5))
def test_both_inclusions(kind: str, d: int, seed: int, eps: float) -> None:
    """``||A x||_inf <= sqrt(x^T shape x) <= alpha ||A x||_inf``, also far from the optimum."""
    A = matrix(kind, 20, d, seed)
    before = A.copy()
    E = lpgeom.john_ellipsoid(A, eps=eps)
    np.testing.assert_array_equal(A, before)
    assert E.converged
    r = int(np.linalg.matrix_rank(A))
    assert E.rank == r
    assert E.gap is not None
    assert E.gap <= eps + 1e-6
    # Of the product of two matrices more is left than rounding tells from 0.
    alpha = math.inf if r < min(A.shape) else math.sqrt(r) * math.exp(E.gap / r)
    assert E.alpha == pytest.approx(alpha, rel=1e-9)
    rng = np.random.default_rng(seed)
    lengths = E.lengths[E.lengths < math.inf]
    axes = E.axes[:, d - r :] * lengths
    tests = [*rng.standard_normal((20, d)), *axes.T]
    pseudo = np.linalg.pinv(E.shape, hermitian=True)
    tests += [pseudo @ a for a in A if np.abs(a).max() > 0.0]
    top = np.abs(A).max()
    for x in tests:
        noise = 1e-13 * top * float(np.linalg.norm(x)) * d
        gauge, value = float(E.gauge(x)), supremum(A, x)
        assert value <= gauge * (1.0 + 1e-12) + noise
        assert alpha == math.inf or gauge <= E.alpha * value * (1.0 + 1e-12) + noise


@fixed
@given(st.sampled_from(SOLID), st.integers(2, 5), st.integers(0, 2**31))
def test_polar_to_the_smallest_ellipsoid_around_the_rows(kind: str, d: int, seed: int) -> None:
    A = body(kind, 25, d, seed)
    inside = lpgeom.john_ellipsoid(A, eps=1e-8)
    around = lpgeom.min_volume_ellipsoid(A, centered=True, eps=1e-8)
    top = np.abs(inside.shape).max()
    np.testing.assert_allclose(
        np.linalg.inv(around.shape) / top, inside.shape / top, rtol=1e-4, atol=1e-4
    )


@fixed
@given(st.sampled_from(KINDS), st.integers(2, 5), st.integers(0, 2**31))
def test_weights(kind: str, d: int, seed: int) -> None:
    A = matrix(kind, 20, d, seed)
    r = int(np.linalg.matrix_rank(A))
    w, tau = john_weights(A, tol=1e-8)
    assert w.min() >= 0.0
    assert w.sum() == pytest.approx(r)
    assert tau.max() <= 1.0 + 1e-8
    np.testing.assert_allclose(tau, reference.leverages(A, reference.gram(A, w)), atol=1e-6)
    assert (w[np.abs(A).sum(1) == 0.0] == 0.0).all()


@fixed
@given(st.sampled_from(KINDS), st.integers(2, 5), st.integers(0, 2**31), st.integers(1, 20))
def test_passes_of_the_fixed_point(kind: str, d: int, seed: int, steps: int) -> None:
    """w <- w tau: sum w stays the rank, log det never falls, tau is that of the w returned."""
    A = matrix(kind, 30, d, seed)
    r = int(np.linalg.matrix_rank(A))
    w, tau, M = john_passes(ArrayRows(A), tol=1e-3, max_iter=steps)
    assert w.sum() == pytest.approx(r)
    np.testing.assert_allclose(M, reference.gram(A, w), rtol=1e-9, atol=1e-9 * np.abs(M).max())
    np.testing.assert_allclose(tau, reference.leverages(A, M), rtol=1e-5, atol=1e-5)
    assert w @ tau == pytest.approx(r, rel=1e-6)
    if tau.max() > 1.0 + 1e-3:  # the rate of the mean, from equal weights
        assert tau.max() <= math.exp(math.log(len(A) / r) / steps) * 1.5


def test_many_passes_reach_the_tolerance() -> None:
    tau = john_passes(ArrayRows(matrix("heavy", 60, 4, 0)), tol=0.05, max_iter=200)[1]
    assert tau.max() <= 1.05


def test_unbounded_body() -> None:
    E = lpgeom.john_ellipsoid([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])
    assert E.rank == 1
    assert E.log_volume == math.inf
    assert np.isinf(E.lengths[:2]).all()
    zero = lpgeom.john_ellipsoid(np.zeros((3, 2)))
    assert zero.rank == 0
    assert not zero.shape.any()


@pytest.mark.parametrize("scale", [1e-140, 1e140])
def test_scales(scale: float) -> None:
    A = body("gauss", 20, 3, 1)
    one, other = lpgeom.john_ellipsoid(A), lpgeom.john_ellipsoid(A * scale)
    assert other.log_volume == pytest.approx(one.log_volume - 3.0 * math.log(scale), abs=1e-5)


@pytest.mark.parametrize("decades", [50, 100, 200, 300])
def test_units_of_the_columns_change_nothing_but_units(decades: int) -> None:
    """Columns times powers of two: the same ellipsoid, and the same proofs, in other units."""
    half = round(decades / 2 * math.log2(10.0))
    powers = np.array([half, 3, -half])
    for kind in SOLID:
        A = body(kind, 30, 3, 4)
        E = lpgeom.john_ellipsoid(A)
        scaled = lpgeom.john_ellipsoid(np.ldexp(A, powers))
        assert scaled.alpha == pytest.approx(E.alpha, rel=1e-6)
        assert scaled.gap <= 1e-6
        back = np.ldexp(np.ldexp(scaled.shape, -powers), -powers[:, None])
        np.testing.assert_allclose(back, E.shape, rtol=1e-5, atol=1e-9)
    known = lpgeom.john_ellipsoid(np.diag(np.ldexp(1.0, powers)))
    np.testing.assert_allclose(np.diag(known.shape), np.ldexp(1.0, 2 * powers), rtol=1e-12)
    assert known.alpha == pytest.approx(math.sqrt(3.0))


@pytest.mark.parametrize("ellipsoid", [lpgeom.john_ellipsoid, lpgeom.min_volume_ellipsoid])
@pytest.mark.parametrize("columns", [(1.0, 1e-200), (1e200, 1.0), (1e154, 1e-154), (1.0, 5e-324)])
def test_squares_beyond_float64_are_a_clear_error(ellipsoid: Any, columns: Any) -> None:
    A = np.array([[1.0, 1.0], [1.0, -1.0], [2.0, 0.0]]) * columns
    with pytest.raises(OverflowError, match="leaves float64; rescale"):
        ellipsoid(A)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="finite"):
        lpgeom.john_ellipsoid([[1.0, np.inf]])
    with pytest.raises(OverflowError, match="squared units"):
        lpgeom.john_ellipsoid(np.eye(2) * 1e200)
    with pytest.raises(ValueError, match="^eps must"):
        lpgeom.john_ellipsoid(np.eye(2), eps=2.0)


def test_one_dimension() -> None:
    E = lpgeom.john_ellipsoid([[2.0], [-4.0], [0.0]])
    assert E.shape.item() == pytest.approx(16.0)
    assert E.alpha == pytest.approx(1.0)
    w, tau = john_weights(np.array([[2.0], [-4.0], [0.0]]))
    assert w.tolist() == [0.0, 1.0, 0.0]
    np.testing.assert_allclose(tau, [0.25, 1.0, 0.0], rtol=1e-15)
