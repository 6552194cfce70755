"""l_p regressions: against cvxpy, against any other coefficients, and the gap that is claimed."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from lpgeom.entries import regression
from tests.problems import KINDS, fixed, matrix

POWERS = (1.0, 1.1, 1.5, 2.0, 2.5, 4.0, 10.0, 100.0)


def costs(V: Any, B: Any, X: Any, p: float, weights: Any = 1.0) -> np.ndarray:
    """``sum_j w_ij |B - X V^T|_ij^p``, the naive way; what has no weight may be any size."""
    off = np.where(np.broadcast_to(weights, B.shape) > 0.0, np.abs(B - X @ V.T), 0.0)
    with np.errstate(over="ignore"):
        return np.asarray(np.sum(weights * off**p, axis=1))


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_equal_to_cvxpy(p: float, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    V, B = rng.standard_normal((20, 4)), rng.standard_t(1.5, (6, 20))
    w = rng.integers(0, 4, B.shape).astype(float) if weighted else np.ones(B.shape)
    fit = lpgeom.lp_regression(V, B, p, weights=w if weighted else None)
    for i in range(len(B)):
        x = cp.Variable(4)
        loss = cp.sum(cp.multiply(w[i], cp.power(cp.abs(B[i] - V @ x), p)))
        optimum = cp.Problem(cp.Minimize(loss)).solve(solver=cp.CLARABEL)
        assert fit.cost[i] == pytest.approx(optimum, rel=1e-6)
    np.testing.assert_allclose(fit.cost, costs(V, B, fit.X, p, w), rtol=1e-10)


@fixed
@given(
    st.sampled_from(KINDS),
    st.sampled_from(POWERS),
    st.integers(2, 6),
    st.sampled_from(["none", "mask", "weights"]),
    st.integers(0, 99),
)
def test_gap_and_bound(kind: str, p: float, k: int, weighting: str, seed: int) -> None:
    V = matrix(kind, 24, k, seed)
    rng = np.random.default_rng(seed + 1)
    B = matrix(kind, 8, len(V), seed + 1)
    w = None
    if weighting != "none":
        w = rng.integers(0, 3, B.shape) * (rng.random(B.shape) if weighting == "weights" else 1.0)
    fit = lpgeom.lp_regression(V, B, p, weights=w)
    full = np.ones(B.shape) if w is None else w
    assert fit.X.shape == (len(B), k)
    assert fit.converged.all()
    # Columns that are dependent but for their rounding, on the entries seen, prove nothing.
    whole = [np.linalg.matrix_rank(V[row > 0.0]) == k for row in full]
    assert (fit.gap[whole] <= 1e-8).all()
    assert (fit.gap >= 0.0).all()
    assert (fit.lower_bound <= fit.cost).all()
    dust = len(V) * (1e-12 * np.abs(B).max(axis=1)) ** p * full.max(axis=1)
    np.testing.assert_array_less(
        np.abs(fit.cost - costs(V, B, fit.X, p, full)), 1e-9 * fit.cost + dust + 1e-300
    )
    # No coefficients are below the bound, near the solution least of all.
    for reach in (1e-3, 1.0):
        other = fit.X + reach * rng.standard_normal(fit.X.shape) * (1.0 + np.abs(fit.X))
        assert (costs(V, B, other, p, full) >= fit.lower_bound * (1.0 - 1e-12)).all()


@pytest.mark.parametrize("p", POWERS)
def test_the_bound_holds_where_the_iteration_was_cut_short(p: float) -> None:
    rng = np.random.default_rng(1)
    V, B = rng.standard_t(1.2, (60, 9)), rng.standard_t(1.2, (20, 60))
    whole = lpgeom.lp_regression(V, B, p)
    short = lpgeom.lp_regression(V, B, p, max_iter=1)
    assert whole.converged.all()
    assert (short.n_iter == 1).all()
    assert (short.lower_bound <= whole.cost).all()
    assert (short.cost >= whole.lower_bound).all()
    if p != 2.0:
        assert not short.converged.any()
        assert (short.gap > 1e-6).all()


def exact_optimum(V: Any, b: Any, p: float, w: Any) -> Fraction:
    """The least cost in rational arithmetic: normal equations (p = 2), or all vertices (p = 1)."""
    rows = [[Fraction(v) for v in row] for row in V]
    right, weights = [Fraction(v) for v in b], [Fraction(v) for v in w]
    d, k = V.shape

    def cost(x: list[Fraction]) -> Fraction:
        off = (right[i] - sum(v * c for v, c in zip(rows[i], x, strict=True)) for i in range(d))
        return sum((u * abs(r) ** int(p) for u, r in zip(weights, off, strict=True)), Fraction(0))

    if p == 2.0:
        normal = [
            [sum(weights[i] * rows[i][a] * rows[i][c] for i in range(d)) for c in range(k)]
            for a in range(k)
        ]
        side = [sum(weights[i] * rows[i][a] * right[i] for i in range(d)) for a in range(k)]
        return cost(solved(normal, side))
    systems = (
        solved([rows[i] for i in J], [right[i] for i in J])
        for J in itertools.combinations(range(d), k)
    )
    return min(cost(x) for x in systems if x)


def solved(M: list[list[Any]], b: list[Any]) -> list[Fraction]:
    """``M^-1 b`` by elimination: some solution of dependent equations, none: an empty list."""
    rows = [[*row, side] for row, side in zip(M, b, strict=True)]
    k, pivots = len(M), []
    for c in range(k):
        at = next((i for i in range(len(pivots), k) if rows[i][c] != 0), None)
        if at is None:
            continue
        i = len(pivots)
        rows[i], rows[at] = rows[at], rows[i]
        rows[i] = [v / rows[i][c] for v in rows[i]]
        for j in range(k):
            if j != i:
                rows[j] = [v - rows[j][c] * u for v, u in zip(rows[j], rows[i], strict=True)]
        pivots.append(c)
    if any(row[-1] != 0 for row in rows[len(pivots) :]):
        return []
    x = [Fraction(0)] * k
    for i, c in enumerate(pivots):
        x[c] = rows[i][-1]
    return x


@fixed
@given(
    st.sampled_from(["columns", "rows", "nearly dependent", "dependent", "copies", "zero"]),
    st.integers(0, 16),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from([0, 8, 250]),
    st.integers(0, 2**31),
)
def test_the_bound_is_of_v_itself(kind: str, orders: int, p: float, light: int, seed: int) -> None:
    """Against the optimum in rational arithmetic, whatever the condition of V and the weights."""
    rng = np.random.default_rng(seed)
    V, B = rng.standard_normal((7, 3)), rng.standard_normal((2, 7))
    if kind == "columns":
        V *= 10.0 ** rng.integers(-orders, orders + 1, 3)
    elif kind == "rows":
        V *= 10.0 ** rng.integers(-orders, orders + 1, (7, 1))
    elif kind == "zero":
        V[:, 1] = 0.0
    elif kind == "copies":
        V[:, 1] = V[:, 0]
    else:  # "dependent": in exact integers
        V = np.round(4.0 * V) if kind == "dependent" else V
        V[:, 2] = V[:, 0] + V[:, 1]
        V[:, 2] += 0.0 if kind == "dependent" else 10.0**-orders * rng.standard_normal(7)
    basis = {"dependent": [0, 1], "copies": [0, 2], "zero": [0, 2]}.get(kind, [0, 1, 2])
    w = 10.0 ** rng.integers(-light, 1, B.shape) * (rng.random(B.shape) < 0.9)
    fit = lpgeom.lp_regression(V, B, p, weights=w)
    for i in range(2):
        optimum = exact_optimum(V[:, basis], B[i], p, w[i])
        assert Fraction(fit.lower_bound[i]) <= optimum
        assert fit.cost[i] >= float(optimum) * (1.0 - 1e-9)
    if kind in ("zero", "copies") and light == 0:
        assert (fit.gap[(w > 0.0).sum(axis=1) > 4] <= 1e-8).all()


@pytest.mark.parametrize("p", [1.0, 2.0, 2.5, 3.0, 100.0])
@pytest.mark.parametrize("weight", [1e-250, 1e-300])
def test_bounds_whose_parts_leave_float64(p: float, weight: float) -> None:
    fit = lpgeom.lp_regression([[1.0], [1.0]], [[0.0, 1e4]], p, weights=[1.0, weight])
    assert 0.0 < fit.lower_bound[0] <= fit.cost[0] < np.inf
    # A point between them, in long steps.
    points = np.linspace(0.0, 1e4, 100_001)
    logs = np.logaddexp(
        p * np.log(np.maximum(points, 1e-300)), np.log(weight) + p * np.log1p(1e4 - points)
    )
    assert np.log(fit.lower_bound[0]) <= logs.min()
    assert fit.gap[0] <= 1e-8
    with pytest.raises(OverflowError, match="coefficients"):
        lpgeom.lp_regression([[1e-200]], [[1e200]])


def test_dependent_columns_fit_as_well() -> None:
    rng = np.random.default_rng(2)
    V, B = rng.standard_normal((30, 3)), rng.standard_normal((5, 30))
    wide = np.column_stack([V, V @ [1.0, 2.0, -1.0], np.zeros(30)])
    one, other = lpgeom.lp_regression(V, B, 1.0), lpgeom.lp_regression(wide, B, 1.0)
    np.testing.assert_allclose(other.cost, one.cost, rtol=1e-8)
    np.testing.assert_allclose(costs(wide, B, other.X, 1.0), other.cost, rtol=1e-9)


@pytest.mark.parametrize("p", POWERS)
def test_columns_dependent_where_they_are_seen_fit_as_well(p: float) -> None:
    rng = np.random.default_rng(8)
    V, B = rng.standard_normal((30, 4)), rng.standard_normal((5, 30))
    V[:14, 3] = V[:14, :3] @ [1.0, 2.0, -1.0]
    one = lpgeom.lp_regression(V[:14, :3], B[:, :14], p)
    other = lpgeom.lp_regression(V, B, p, weights=np.arange(30) < 14)
    assert other.converged.all()
    np.testing.assert_allclose(other.cost, one.cost, rtol=1e-8)
    np.testing.assert_allclose(costs(V[:14], B[:, :14], other.X, p), one.cost, rtol=1e-8)
    assert np.abs(other.X).max() < 100.0  # 1e14, where they are told apart by rounding


def test_wrong_entries_are_left_out() -> None:
    rng = np.random.default_rng(3)
    V, X = rng.standard_normal((80, 5)), rng.standard_normal((40, 5))
    B = X @ V.T + 1e3 * rng.standard_normal((40, 80)) * (rng.random((40, 80)) < 0.2)
    np.testing.assert_allclose(lpgeom.lp_regression(V, B, 1.0).X, X, atol=1e-6)
    exact = lpgeom.lp_regression(V, X @ V.T, 1.0)
    np.testing.assert_allclose(exact.X, X, atol=1e-12)
    assert (exact.gap == 0.0).all()
    assert (exact.converged).all()


def problem_that_stalls() -> tuple[Any, Any]:
    """V and one right side of 30,000 at which interior points stay 1e-8 away."""
    rng = np.random.default_rng(0)
    B = rng.standard_t(1.5, size=(30_000, 384))[14854]
    return np.linalg.qr(rng.standard_normal((384, 64)))[0], B


def test_a_vertex_ends_what_interior_points_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    V, B = problem_that_stalls()
    assert lpgeom.lp_regression(V, B).gap[0] <= 1e-8
    # 9.6e-9 or 1.3e-8, by the BLAS: both too far for this tol.
    fit = lpgeom.lp_regression(V, B, tol=1e-10)
    assert fit.converged.all()
    assert fit.gap[0] <= 1e-11
    monkeypatch.setattr("lpgeom.entries.regression.vertex", lambda *problem: None)
    assert lpgeom.lp_regression(V, B, tol=1e-10).gap[0] > 100 * fit.gap[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_p_1_is_solved_to_rounding_if_asked(weighted: bool) -> None:
    rng = np.random.default_rng(6)
    V, B = rng.standard_normal((90, 12)), rng.standard_t(1.2, (40, 90))
    w = rng.random(B.shape) * (rng.random(B.shape) < 0.7) if weighted else None
    assert lpgeom.lp_regression(V, B, weights=w, tol=1e-14).gap.max() <= 1e-11


@pytest.mark.parametrize("seed", range(5))
def test_a_vertex_proves_itself(seed: int) -> None:
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((30, 4)))[0]
    b, w = rng.standard_t(1.5, 30), 0.1 + rng.random(30)
    found = regression.vertex(Q, b, w, b @ Q)
    assert found is not None
    x, y = found
    r = b - Q @ x
    assert np.sum(np.abs(r) < 1e-12) >= 4
    assert (np.abs(y) <= w * (1.0 + 1e-12)).all()
    np.testing.assert_allclose(Q.T @ y, 0.0, atol=1e-12)
    assert y @ r == pytest.approx((w * np.abs(r)).sum(), rel=1e-12)


def test_no_vertex_is_better_than_a_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    Q = np.linalg.qr(rng.standard_normal((30, 4)))[0]
    b, w = rng.standard_normal(30), np.ones(30)
    assert regression.vertex(np.zeros((30, 1)), b, w, np.zeros(1)) is None
    monkeypatch.setattr(regression, "PIVOTS", 1)
    assert regression.vertex(Q, b, w, np.full(4, 5.0)) is None


@pytest.mark.parametrize("scale", [1e-300, 1e-140, 1e140, 1e300])
@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_scale_changes_nothing(scale: float, p: float) -> None:
    rng = np.random.default_rng(4)
    V, B = rng.standard_normal((30, 4)), rng.standard_normal((6, 30))
    plain = lpgeom.lp_regression(V, B, p)
    scaled = lpgeom.lp_regression(V, B * scale, p)
    # Costs within 1e-10 of the optimum leave X to about 1e-5 for p > 1.
    np.testing.assert_allclose(scaled.X / scale, plain.X, atol=1e-6)
    other = lpgeom.lp_regression(V * scale, B, p)
    np.testing.assert_allclose(other.X * scale, plain.X, atol=1e-6)
    np.testing.assert_allclose(other.cost, plain.cost, rtol=1e-9)
    assert (scaled.converged).all()
    assert (other.converged).all()


def test_one_vector_and_types() -> None:
    V = np.ones((5, 1), dtype=np.float32)
    fit = lpgeom.lp_regression(V, [3, 1, 2, 100, -50])
    np.testing.assert_allclose(fit.X, [[2.0]], atol=1e-9)
    assert fit.X.dtype == np.float64
    unused = lpgeom.lp_regression(V, [3, 1, 2, 100, -50], weights=np.zeros(5))
    assert unused.cost == 0.0
    assert unused.converged.all()
    mask = lpgeom.lp_regression(V, [3, 1, 2, 100, -50], weights=[True, True, True, False, False])
    np.testing.assert_allclose(mask.X, [[2.0]], atol=1e-9)


def test_input_is_left_alone_and_threads_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    V, B = rng.standard_normal((200, 20)), rng.standard_normal((600, 200))
    V.flags.writeable = B.flags.writeable = False
    a, b = lpgeom.lp_regression(V, B, 1.0), lpgeom.lp_regression(V, B[::-1], 1.0)
    np.testing.assert_allclose(a.X, b.X[::-1], atol=1e-8)
    np.testing.assert_allclose(a.cost, b.cost[::-1], rtol=1e-10)


@pytest.mark.parametrize(
    ("V", "B", "kwargs", "error", "match"),
    [
        (np.ones((3, 1)), np.ones((2, 4)), {}, ValueError, r"B must have shape \(n, 3\)"),
        (np.ones(3), np.ones((2, 3)), {}, ValueError, "V must be two-dimensional"),
        (np.ones((3, 1)), np.full((2, 3), np.nan), {}, ValueError, r"B\[0, 0\] is nan"),
        (np.full((3, 1), np.inf), np.ones((2, 3)), {}, ValueError, r"V\[0, 0\] is inf"),
        (np.ones((3, 0)), np.ones((2, 3)), {}, ValueError, "V is empty"),
        (np.ones((3, 1)), np.ones((2, 3)), {"p": 0.5}, ValueError, "p must be"),
        (np.ones((3, 1)), np.ones((2, 3)), {"tol": 0.0}, ValueError, "tol must lie"),
        (np.ones((3, 1)), np.ones((2, 3)), {"max_iter": 0}, ValueError, "max_iter"),
        (np.ones((3, 1)), np.ones((2, 3)), {"weights": [1, 1]}, ValueError, "weights must have"),
        (np.ones((3, 1)), np.ones((2, 3)), {"weights": [1, 1, -1]}, ValueError, ">= 0"),
        (np.ones((3, 1)), np.ones((2, 3), dtype=complex), {}, TypeError, "real numbers"),
    ],
)
def test_bad_input(V: Any, B: Any, kwargs: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        lpgeom.lp_regression(V, B, **kwargs)


def test_a_column_of_right_sides_is_told_to_be_turned() -> None:
    V = np.random.default_rng(0).standard_normal((21, 3))
    with pytest.raises(ValueError, match=r"right side in each row; got \(21, 1\): pass B\.T"):
        lpgeom.lp_regression(V, np.ones((21, 1)))
