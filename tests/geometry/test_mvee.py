"""Minimum ellipsoids: exact optima, containment, optimality conditions, flat and bad points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from lpgeom.geometry.ellipsoids.design import (
    optimal_design,
    spread_start,
    support_threshold,
    variances,
)
from lpgeom.geometry.ellipsoids.hull import hull_of
from lpgeom.kernels.cpu.mvee import exchange_steps
from tests import reference
from tests.problems import fixed

KINDS = ("gauss", "heavy", "sphere", "cube", "grid", "graded", "shifted", "few")


def cloud(kind: str, n: int, d: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    if kind == "heavy":
        X = rng.standard_t(1.0, (n, d))
    elif kind == "sphere":
        X /= np.linalg.norm(X, axis=1)[:, None]
    elif kind == "cube":
        X = rng.uniform(-1.0, 1.0, (n, d))
    elif kind == "grid":
        X = rng.integers(-2, 3, (n, d)).astype(float)
    elif kind == "graded":
        X = X * np.geomspace(1.0, 1e-6, d)
    elif kind == "shifted":
        X = X + 1e5
    elif kind == "few":
        X = X[: d + 1]
    return X


@st.composite
def clouds(draw: st.DrawFn) -> Any:
    d = draw(st.integers(1, 5))
    n = draw(st.integers(1, 40))
    return cloud(draw(st.sampled_from(KINDS)), n, d, draw(st.integers(0, 2**31)))


def by_cvxpy(X: Any, centered: bool) -> float:
    """Log-volume of the minimum ellipsoid from a conic solver, inflated to contain the points."""
    import cvxpy as cp

    d = X.shape[1]
    B, b = cp.Variable((d, d), PSD=True), cp.Variable(d)
    inside = [cp.norm(B @ x + (0.0 if centered else b)) <= 1.0 for x in X]
    cp.Problem(cp.Maximize(cp.log_det(B)), inside).solve(solver="CLARABEL")
    shift = np.zeros(d) if centered else b.value
    reach = np.linalg.norm(X @ B.value + shift, axis=1).max()
    unit = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1.0)
    return float(unit - np.linalg.slogdet(B.value)[1] + d * math.log(reach))


@pytest.mark.needs("cvxpy")
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("kind", ["gauss", "heavy", "sphere", "cube", "grid", "few"])
def test_against_a_conic_solver(kind: str, centered: bool) -> None:
    for d in (2, 4):
        X = cloud(kind, 25, d, 3)
        E = lpgeom.min_volume_ellipsoid(X, centered=centered)
        wanted = by_cvxpy(X, centered)
        assert E.log_volume == pytest.approx(wanted, abs=1e-4)
        assert E.gap is not None
        assert E.log_volume - E.gap <= wanted + 1e-9


def test_against_plain_khachiyan() -> None:
    X = cloud("gauss", 12, 3, 0)
    shape, center = reference.smallest_ellipsoid(X, steps=1500)
    E = lpgeom.min_volume_ellipsoid(X, eps=1e-9)
    np.testing.assert_allclose(E.center, center, atol=5e-3)
    np.testing.assert_allclose(E.shape, shape, rtol=0.01, atol=0.01 * np.abs(shape).max())


@pytest.mark.parametrize(
    ("points", "shape", "center"),
    [
        # A box: the ball of radius sqrt(d) in its coordinates.
        ([[1, 2], [1, -2], [-1, 2], [-1, -2]], [[0.5, 0.0], [0.0, 0.125]], [0, 0]),
        # A cross: the unit ball.
        ([[1, 0], [-1, 0], [0, 1], [0, -1], [0.5, 0.5]], [[1, 0], [0, 1]], [0, 0]),
        # A regular simplex: its circumscribed ball.
        ([[0, 1], [-(3**0.5) / 2, -0.5], [3**0.5 / 2, -0.5]], [[1, 0], [0, 1]], [0, 0]),
        # An interval.
        ([[1.0], [2.0], [5.0]], [[0.25]], [3.0]),
    ],
)
def test_known_optima(points: Any, shape: Any, center: Any) -> None:
    E = lpgeom.min_volume_ellipsoid(points, eps=1e-10)
    np.testing.assert_allclose(E.shape, shape, atol=1e-6)
    np.testing.assert_allclose(E.center, center, atol=1e-6)
    assert E.converged


@fixed
@given(clouds(), st.booleans())
def test_every_point_is_inside_and_the_gap_is_small(X: Any, centered: bool) -> None:
    before = X.copy()
    E = lpgeom.min_volume_ellipsoid(X, centered=centered)
    np.testing.assert_array_equal(X, before)
    assert E.contains(X).all()
    if centered:
        assert E.contains(-X).all()
        assert not E.center.any()
    assert E.converged
    # Thin ones are inflated for what float64 makes of x - c.
    assert E.gap is not None
    assert 0.0 <= E.gap <= 1e-6 + 1e-3 * (np.abs(X).max() > 1e4)
    # ||F (x - c)|| has weighted mean square r, so some point is nearly on the boundary.
    if E.rank > 0:
        assert E.gauge(X).max() >= 1.0 - 1e-6


@fixed
@given(clouds(), st.booleans(), st.integers(0, 1000))
def test_shrunk_by_alpha_it_lies_in_the_hull(X: Any, centered: bool, seed: int) -> None:
    """Support functions: h_E(y) / alpha <= h_points(y), in the directions of the hull."""
    E = lpgeom.min_volume_ellipsoid(X, centered=centered, eps=0.1)
    rng = np.random.default_rng(seed)
    finite = E.axes[:, : E.rank] * E.lengths[: E.rank]
    for y in rng.standard_normal((20, X.shape[1])):
        width = float(np.linalg.norm(finite.T @ y))
        values = (X - E.center) @ y
        reach = np.abs(values).max() if centered else values.max()
        size = np.abs(X).max() * np.abs(y).sum()
        assert width / E.alpha <= reach + 1e-7 * width + 1e-12 * size


@fixed
@given(clouds(), st.booleans(), st.sampled_from([1e-2, 1e-5]))
def test_a_loose_answer_brackets_the_tight_one(X: Any, centered: bool, eps: float) -> None:
    loose = lpgeom.min_volume_ellipsoid(X, centered=centered, eps=eps)
    tight = lpgeom.min_volume_ellipsoid(X, centered=centered, eps=1e-8)
    if loose.rank < X.shape[1]:
        return
    assert loose.gap is not None
    assert tight.gap is not None
    assert tight.log_volume - tight.gap <= loose.log_volume + 1e-9
    assert loose.log_volume - loose.gap <= tight.log_volume + 1e-9


@fixed
@given(clouds(), st.integers(0, 1000))
def test_affine_maps_carry_it_along(X: Any, seed: int) -> None:
    """The minimum ellipsoid is unique: that of T x + s is T E + s."""
    rng = np.random.default_rng(seed)
    d = X.shape[1]
    if np.abs(X).max() > 1e3 or hull_of(X, centred=False).rank < d:
        return
    spread = np.linalg.svd(X - X.mean(0), compute_uv=False)
    if spread[-1] < 1e-5 * spread[0]:
        return
    T = np.linalg.qr(rng.standard_normal((d, d)))[0] * rng.uniform(0.5, 2.0, d)
    s = rng.standard_normal(d)
    one = lpgeom.min_volume_ellipsoid(X, eps=1e-8)
    other = lpgeom.min_volume_ellipsoid(X @ T.T + s, eps=1e-8)
    change = np.linalg.slogdet(T)[1]
    assert other.log_volume == pytest.approx(one.log_volume + change, abs=1e-6)
    gauges = other.gauge(one.center @ T.T + s)
    assert gauges <= 1e-2


@pytest.mark.parametrize("centered", [False, True])
def test_optimality_conditions(centered: bool) -> None:
    """Kiefer and Wolfowitz: sum u y y^T = M, omega <= q, equal to q on the support."""
    X = cloud("gauss", 300, 4, 1)
    Z = hull_of(X, centred=centered).Z
    Y = Z if centered else np.column_stack([Z, np.ones(len(Z))])
    q = Y.shape[1]
    found = optimal_design(Y, 1e-10, 100_000)
    assert found.converged
    u, omega = found.weights, found.variance
    assert u.min() >= 0.0
    assert u.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(omega, reference.leverages(Y, reference.gram(Y, u)), rtol=1e-9)
    assert omega.max() <= q * (1.0 + 1e-10)
    assert omega[u > 1e-6].min() >= q * (1.0 - 1e-6)
    assert u @ omega == pytest.approx(q)


@pytest.mark.parametrize("kind", ["gauss", "sphere", "heavy"])
def test_dropped_points_never_carry_weight(kind: str) -> None:
    X = cloud(kind, 60, 3, 5)
    Y = np.column_stack([hull_of(X, centred=False).Z, np.ones(60)])
    final = optimal_design(Y, 1e-12, 200_000).weights
    for steps in (0, 5, 20, 80):
        u = spread_start(Y)
        omega, inverse = variances(Y, u)
        exchange_steps(np.ascontiguousarray(Y.T), u, inverse, omega, 1e-12, steps)
        omega, _ = variances(Y, u / u.sum())
        threshold = support_threshold(float(omega.max()) / 4 - 1.0, 4)
        assert final[omega < threshold * (1.0 - 1e-9)].max(initial=0.0) <= 1e-7


def test_exchange_steps_keep_the_inverse_and_raise_the_determinant() -> None:
    Y = np.column_stack([cloud("gauss", 50, 3, 2), np.ones(50)])
    u = spread_start(Y)
    omega, inverse = variances(Y, u)
    last = -math.inf
    for _ in range(40):
        exchange_steps(np.ascontiguousarray(Y.T), u, inverse, omega, 1e-12, 1)
        M = reference.gram(Y, u)
        np.testing.assert_allclose(inverse @ M, np.eye(4), atol=1e-8)
        np.testing.assert_allclose(omega, reference.leverages(Y, M), rtol=1e-8)
        value = np.linalg.slogdet(M)[1]
        assert value >= last - 1e-12
        last = value


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(
    ("points", "affine", "linear"),
    [
        ([[1.0, 2.0, 3.0]], 0, 1),
        ([[1.0, 2.0]] * 5, 0, 1),
        ([[0.0, 0.0]] * 2, 0, 0),
        ([[0.0, 0.0], [1.0, 1.0], [3.0, 3.0]], 1, 1),
        ([[1.0, 0.0], [0.0, 1.0]], 1, 2),
        ([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9], [1e3, 1e3 + 0.1, 1e3 + 0.2]], 1, 2),
        ([[1.0, 5.0, 2.0], [2.0, 5.0, 3.0], [0.0, 5.0, 7.0], [1.0, 5.0, 1.0]], 2, 3),
        (np.arange(12.0).reshape(4, 3), 1, 2),
    ],
)
def test_flat_points(points: Any, affine: int, linear: int, centered: bool) -> None:
    E = lpgeom.min_volume_ellipsoid(points, centered=centered)
    d = np.shape(points)[1]
    r = linear if centered else affine
    assert E.rank == r
    assert E.converged
    assert E.contains(points).all()
    if r < d:
        assert E.basis is not None
        assert E.basis.shape == (d, r)
        np.testing.assert_allclose(E.basis.T @ E.basis, np.eye(r), atol=1e-12)
        assert E.log_volume == -math.inf
        assert (E.lengths == 0.0).sum() == d - r
    else:
        assert E.basis is None


def test_flat_points_are_solved_within_their_plane() -> None:
    rng = np.random.default_rng(0)
    low = rng.standard_normal((40, 2))
    frame = np.linalg.qr(rng.standard_normal((5, 2)))[0]
    E = lpgeom.min_volume_ellipsoid(low @ frame.T + 3.0, eps=1e-9)
    inner = lpgeom.min_volume_ellipsoid(low, eps=1e-9)
    np.testing.assert_allclose(E.lengths[:2], inner.lengths, rtol=1e-6)
    np.testing.assert_allclose(E.center, frame @ inner.center + 3.0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-140, 1e-3, 1e140])
def test_scales(scale: float) -> None:
    X = cloud("gauss", 30, 3, 4)
    one, other = lpgeom.min_volume_ellipsoid(X), lpgeom.min_volume_ellipsoid(X * scale)
    assert other.log_volume == pytest.approx(one.log_volume + 3.0 * math.log(scale), abs=1e-5)
    assert other.contains(X * scale).all()


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_shape_out_of_range_is_told(scale: float) -> None:
    with pytest.raises(OverflowError, match="squared units"):
        lpgeom.min_volume_ellipsoid(np.eye(3) * scale)


def test_layouts_and_types() -> None:
    X = cloud("grid", 30, 3, 4)
    wanted = lpgeom.min_volume_ellipsoid(X)
    for other in (
        np.asfortranarray(X),
        X.astype(np.int8),
        X.astype(np.float32),
        X[::-1],
        X.tolist(),
    ):
        E = lpgeom.min_volume_ellipsoid(other)
        assert E.log_volume == pytest.approx(wanted.log_volume, abs=2e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda X: lpgeom.min_volume_ellipsoid(X[0]), ValueError, "points must be two-dimensional"),
        (lambda X: lpgeom.min_volume_ellipsoid(X[:0]), ValueError, "points is empty"),
        (lambda X: lpgeom.min_volume_ellipsoid(X * np.nan), ValueError, r"points\[0, 0\] is nan"),
        (lambda X: lpgeom.min_volume_ellipsoid(X > 0), TypeError, "points has boolean"),
        (lambda X: lpgeom.min_volume_ellipsoid(X, eps=0.0), ValueError, "^eps must"),
        (lambda X: lpgeom.min_volume_ellipsoid(X, max_iter=0), ValueError, "^max_iter must"),
        (lambda X: lpgeom.min_volume_ellipsoid(X, centered=1), TypeError, "^centered must"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(cloud("gauss", 10, 2, 0))


def test_too_few_steps_are_told_and_still_contain() -> None:
    X = cloud("gauss", 200, 6, 0)
    E = lpgeom.min_volume_ellipsoid(X, max_iter=3)
    assert not E.converged
    assert E.contains(X).all()
    best = lpgeom.min_volume_ellipsoid(X)
    assert E.gap is not None
    assert E.gap > 1e-3
    assert E.log_volume - E.gap <= best.log_volume <= E.log_volume
