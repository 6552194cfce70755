"""The heuristics: each finds what it must, descends on its own objective, survives bad input."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import lpgeom
from lpgeom import heuristics
from lpgeom.geometry.grassmann import largest_sine
from lpgeom.heuristics import (
    HEURISTICS,
    _alternating,
    _cvxpy,
    alternating_l1,
    base,
    cvxpy_reaper,
    fms,
    grassmann_descent,
    l1_pca,
    l1_pca_nongreedy,
    outlier_filter_svd,
    outlier_pursuit,
    r1_pca,
    randomized_svd,
    reaper,
    spherical_pca,
    svd,
    tyler,
)
from tests import reference
from tests.problems import KINDS, fixed, matrix

EVERY = pytest.mark.parametrize("name", list(HEURISTICS))
FAST = [name for name in HEURISTICS if name != "cvxpy_reaper"]
ROTATES = [name for name in FAST if name not in ("alternating_l1", "randomized_svd")]
few = settings(fixed, max_examples=15)


def inliers(n: int, d: int, k: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((d, k)))[0]
    return rng.standard_normal((n, k)) @ V.T, V


def contaminated(n: int, d: int, k: int, seed: int, scale: float = 1.0) -> tuple[Any, Any]:
    """One row in ten anywhere, the others in a subspace."""
    A, V = inliers(n, d, k, seed)
    A[: n // 10] = scale * np.random.default_rng(seed + 1).standard_normal((n // 10, d))
    return A, V


def falls(history: tuple[float, ...], slack: float = 1e-12) -> bool:
    return all(b <= a + slack * max(abs(a), 1.0) for a, b in itertools.pairwise(history))


def orthonormal(V: Any) -> bool:
    return bool(np.abs(V.T @ V - np.eye(V.shape[1])).max() <= 1e-12)


# One door for all


def test_the_registry() -> None:
    shape = inspect.signature(svd)
    for name, entry in HEURISTICS.items():
        method: Any = entry.method
        assert method is getattr(heuristics, name)
        assert method.__name__ == name
        assert inspect.signature(method) == shape
        assert "Source" in method.__doc__ or name in ("svd", "cvxpy_reaper", "outlier_filter_svd")


def test_the_derived_lists() -> None:
    assert heuristics.SEEDED == ("randomized_svd", "l1_pca")
    assert set(heuristics.SLOW) == {
        "l1_pca", "l1_pca_nongreedy", "alternating_l1", "outlier_pursuit", "grassmann_descent",
        "cvxpy_reaper",
    }  # fmt: skip


@EVERY
@pytest.mark.parametrize("kind", [*KINDS, "one column of many", "one row", "n <= k"])
def test_any_input_gives_an_orthonormal_basis(name: str, kind: str) -> None:
    d, k = 5, 2
    if kind == "one column of many":
        A = np.zeros((12, d))
        A[:, 3] = 1.0
    elif kind == "one row":
        A = np.arange(1.0, d + 1.0)[None]
    elif kind == "n <= k":
        A, k = np.random.default_rng(0).standard_normal((3, d)), 4
    else:
        A = matrix(kind, 15, d, 3)
        k = 2
    before = A.copy()
    found = HEURISTICS[name](A, k, seed=1)
    assert found.V.shape == (A.shape[1], k)
    assert found.V.dtype == np.float64
    assert found.method == name
    assert orthonormal(found.V)
    assert np.array_equal(A, before)
    if np.linalg.matrix_rank(A) <= k:
        assert lpgeom.cost(A, found.V) <= 1e-5 * lpgeom.cost(A, np.eye(A.shape[1], 1)) + 1e-5
    again = HEURISTICS[name](A, k, seed=1)
    assert np.array_equal(found.V, again.V)
    assert found.passes == again.passes > 0.0


@EVERY
def test_zero_rows_only(name: str) -> None:
    found = HEURISTICS[name](np.zeros((6, 4)), 2)
    assert orthonormal(found.V)
    assert found.note == "all rows are zero"


@EVERY
@pytest.mark.parametrize("exponent", [-490, 490])
def test_scale_changes_nothing(name: str, exponent: int) -> None:
    """A power of two times A (1e-148 to 1e147) gives the same subspace to the last bit."""
    A, _ = contaminated(40, 6, 2, 5)
    A += 0.05 * np.random.default_rng(6).standard_normal(A.shape)
    assert np.array_equal(HEURISTICS[name](A * 2.0**exponent, 2).V, HEURISTICS[name](A, 2).V)


@pytest.mark.parametrize("name", FAST)
def test_order_of_rows_changes_rounding_only(name: str) -> None:
    A, _ = contaminated(60, 6, 2, 7)
    A += 0.05 * np.random.default_rng(8).standard_normal(A.shape)
    V = HEURISTICS[name](A, 2).V
    # The random directions of the sketch meet other rows: close, not equal.
    slack = 1e-3 if name == "randomized_svd" else 1e-6
    assert largest_sine(V, HEURISTICS[name](A[::-1], 2).V) <= slack


@pytest.mark.parametrize("name", ROTATES)
def test_rotation(name: str) -> None:
    A, _ = contaminated(60, 6, 2, 9)
    A += 0.05 * np.random.default_rng(10).standard_normal(A.shape)
    R = np.linalg.qr(np.random.default_rng(11).standard_normal((6, 6)))[0]
    assert largest_sine(R.T @ HEURISTICS[name](A, 2).V, HEURISTICS[name](A @ R, 2).V) <= 1e-6


@pytest.mark.parametrize("name", FAST)
def test_types_and_layouts(name: str) -> None:
    A, _ = contaminated(50, 5, 2, 12)
    single = (A + 0.1 * np.random.default_rng(13).standard_normal(A.shape)).astype(np.float32)
    V = HEURISTICS[name](single.astype(np.float64), 2).V
    assert np.array_equal(HEURISTICS[name](single.astype(np.float64).tolist(), 2).V, V)
    for other in (single, np.asfortranarray(single), np.repeat(single, 2, axis=0)[::2]):
        assert largest_sine(HEURISTICS[name](other, 2).V, V) <= 1e-6


@EVERY
def test_bad_input(name: str) -> None:
    method = HEURISTICS[name]
    A = np.random.default_rng(0).standard_normal((8, 4))
    for value in (np.nan, np.inf):
        bad = A.copy()
        bad[3, 1] = value
        with pytest.raises(ValueError, match=r"A\[3, 1\]"):
            method(bad, 2)
    for k in (0, 4):
        with pytest.raises(ValueError, match="k must lie between"):
            method(A, k)
    with pytest.raises(ValueError, match="two-dimensional"):
        method(A[0], 2)
    with pytest.raises(ValueError, match="empty"):
        method(A[:0], 2)
    with pytest.raises(TypeError, match="real numbers"):
        method(A.astype(complex), 2)
    with pytest.raises(ValueError, match="p must be"):
        method(A, 2, 0.5)
    with pytest.raises(ValueError, match="seed"):
        method(A, 2, seed=-1)
    with pytest.raises(ValueError, match="max_iter"):
        method(A, 2, max_iter=0)
    with pytest.raises(ValueError, match="tol"):
        method(A, 2, tol=1.0)


@EVERY
def test_p_inf_is_refused_only_where_p_is_used(name: str) -> None:
    A, _ = contaminated(60, 6, 2, 7)
    if name in ("fms", "grassmann_descent"):
        with pytest.raises(ValueError, match=f"{name} .*got p = inf"):
            HEURISTICS[name](A, 2, np.inf)
    else:
        assert np.array_equal(HEURISTICS[name](A, 2, np.inf).V, HEURISTICS[name](A, 2).V)


def test_limits_of_size(monkeypatch: pytest.MonkeyPatch) -> None:
    A = np.random.default_rng(0).standard_normal((60, 50))
    with pytest.raises(ValueError, match="limited to 40 columns"):
        cvxpy_reaper(A, 2)
    monkeypatch.setattr(base, "MOST_ENTRIES", 2999)
    for method in (outlier_pursuit, alternating_l1):
        with pytest.raises(ValueError, match="limited to 2999 entries of A, got 60 x 50"):
            method(A, 2)
    monkeypatch.setattr(_cvxpy, "MOST_ENTRIES", 10)
    with pytest.raises(ValueError, match="limited to .* 10 entries"):
        cvxpy_reaper(A[:, :5], 2)
    with pytest.raises(ValueError, match="fms is defined for 1 <= p <= 2"):
        fms(A, 2, 3.0)


def test_a_solver_that_fails_is_a_clear_error() -> None:
    A = np.random.default_rng(0).standard_normal((30, 4))
    A[0] *= 1e150
    with pytest.raises(ValueError, match="cvxpy_reaper: the solver found no solution"):
        cvxpy_reaper(A, 2)


@pytest.mark.parametrize(
    ("library", "method", "extra"),
    [("sklearn.utils.extmath", randomized_svd, "compare"), ("cvxpy", cvxpy_reaper, "cvxpy")],
)
def test_a_missing_library_is_named(
    library: str, method: Any, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"lpgeom\[{extra}\]"):
        method(np.random.default_rng(0).standard_normal((9, 4)), 2)


def test_passes_are_counted() -> None:
    A, _ = contaminated(100, 6, 2, 1)
    assert svd(A, 2).passes == 1.0
    assert spherical_pca(A, 2).passes == 2.0
    for method, first in ((fms, 3), (reaper, 2), (r1_pca, 4), (tyler, 2)):
        found = method(A, 2)
        assert found.passes - found.n_iter in (first, first - 1), method.__name__
    assert l1_pca(A, 2).passes >= l1_pca(A, 2).n_iter


# The subspace they are after


@EVERY
def test_rows_in_a_subspace(name: str) -> None:
    A, V = inliers(60, 8, 3, 0)
    assert largest_sine(V, HEURISTICS[name](A, 3).V) <= 1e-6


@pytest.mark.parametrize(
    "method",
    [tyler, fms, reaper, cvxpy_reaper, grassmann_descent, outlier_filter_svd, outlier_pursuit],
)
def test_exact_recovery_beside_outliers(method: Any) -> None:
    A, V = contaminated(150, 8, 2, 2)
    assert largest_sine(V, method(A, 2).V) <= 1e-4


@pytest.mark.parametrize("method", [tyler, outlier_filter_svd, outlier_pursuit])
def test_exact_recovery_beside_long_outliers(method: Any) -> None:
    """At a hundred times the length p = 1 itself prefers the outliers; these do not."""
    A, V = contaminated(150, 8, 2, 2, 100.0)
    assert reference.cost_rows(A, V, 1.0) > reference.cost_rows(A, fms(A, 2).V, 1.0)
    assert largest_sine(V, method(A, 2).V) <= 1e-4


def test_nearly_exact_beside_outliers() -> None:
    A, V = contaminated(300, 8, 2, 2)
    off = largest_sine(V, svd(A, 2).V)
    assert largest_sine(V, alternating_l1(A, 2).V) <= 0.02
    assert largest_sine(V, r1_pca(A, 2).V) <= off
    A, V = contaminated(300, 8, 2, 2, 100.0)
    assert largest_sine(V, spherical_pca(A, 2).V) <= 0.1
    assert largest_sine(V, svd(A, 2).V) >= 0.5


def test_alternating_l1_sees_past_wrong_entries() -> None:
    rng = np.random.default_rng(0)
    A, V = inliers(200, 12, 2, 3)
    wrong = rng.random(A.shape) < 0.05
    A[wrong] += 3.0 * rng.standard_normal(int(wrong.sum()))
    assert largest_sine(V, alternating_l1(A, 2, tol=1e-7, max_iter=100).V) <= 1e-3
    assert largest_sine(V, svd(A, 2).V) >= 0.1


def test_the_filter_judges_by_distance_in_the_end() -> None:
    """Long rows in the subspace come back, and the outliers do not."""
    A, V = contaminated(100, 6, 2, 4, 30.0)
    A[50:55] *= 1000.0
    found = outlier_filter_svd(A, 2)
    assert found.note == "10 of 100 rows dropped"
    assert largest_sine(V, found.V) <= 1e-9


# Their own objectives


@few
@given(st.sampled_from(KINDS), st.integers(2, 6), st.integers(0, 2**31))
def test_each_descends_on_its_own_objective(kind: str, d: int, seed: int) -> None:
    A = matrix(kind, 20, d, seed)
    d = A.shape[1]
    k = 1 + seed % (d - 1)
    for p in (1.0, 1.5, 2.0):
        assert falls(fms(A, k, p).history)
    for p in (1.0, 1.5, 3.0, 20.0):
        assert falls(grassmann_descent(A, k, p, max_iter=30).history)
    assert falls(r1_pca(A, k).history)
    assert falls(reaper(A, k).history)
    assert falls(tuple(-x for x in l1_pca_nongreedy(A, k).history))
    assert falls(alternating_l1(A, k, max_iter=5).history)


@pytest.mark.parametrize("p", [1.0, 1.5])
def test_fms_steps_are_the_definition(p: float) -> None:
    A = matrix("gauss", 40, 5, 1)
    V = svd(A, 2).V
    for steps in range(1, 4):
        before = reference.cost_rows(A, V, p)
        weights = [y ** (p - 2.0) for y in reference.residuals(A, V)]
        V = np.linalg.eigh(reference.gram(A, weights))[1][:, 3:]
        found = fms(A, 2, p, max_iter=steps)
        assert found.n_iter == steps
        assert largest_sine(V, found.V) <= 1e-9
        assert reference.cost_rows(A, found.V, p) <= before


def test_r1_pca_lowers_hubers_sum() -> None:
    A = matrix("heavy", 60, 5, 2)
    start = svd(A, 2).V
    c = float(np.median(reference.residuals(A, start)))
    found = r1_pca(A, 2)
    assert found.converged
    assert found.history[-1] / found.history[0] == pytest.approx(
        reference.huber_sum(A, found.V, c) / reference.huber_sum(A, start, c)
    )
    assert found.history[-1] < found.history[0]
    # Stationary: the reweighted eigenvectors are the subspace itself.
    weights = [min(1.0, c / y) for y in reference.residuals(A, found.V)]
    V = np.linalg.eigh(reference.gram(A, weights))[1][:, 3:]
    assert largest_sine(V, found.V) <= 1e-3


def test_grassmann_descent_ends_where_the_gradient_vanishes() -> None:
    A = matrix("gauss", 60, 6, 3)
    for p in (1.0, 1.5, 4.0):
        found = grassmann_descent(A, 2, p, tol=1e-13, max_iter=2000)
        assert found.converged
        y = reference.residuals(A, found.V)
        G = reference.gram(A, [v ** (p - 2.0) for v in y])
        slope = np.linalg.norm((G - found.V @ (found.V.T @ G)) @ found.V)
        assert slope <= 1e-5 * np.linalg.norm(G)
        assert found.history[-1] == pytest.approx(
            reference.cost_rows(A, found.V, p) * 2.0 ** (-p * np.frexp(np.abs(A).max())[1])
        )


def test_grassmann_descent_at_high_powers_of_small_residuals() -> None:
    """Trial subspaces far off cost more than float64 holds."""
    rng = np.random.default_rng(1)
    A = inliers(60, 6, 2, 1)[0] + 1e-9 * rng.standard_normal((60, 6))
    for p in (10.0, 50.0, 100.0):
        found = grassmann_descent(A, 2, p, max_iter=30)
        assert falls(found.history)
        assert lpgeom.cost(A, found.V, p) <= lpgeom.cost(A, svd(A, 2).V, p) * (1.0 + 1e-6)


@pytest.mark.parametrize("kind", ["gauss", "heavy", "wide", "zero rows", "duplicates"])
def test_reaper_reaches_the_optimum_of_the_relaxation(kind: str) -> None:
    A = matrix(kind, 25, 5, 4)
    exact, found = cvxpy_reaper(A, 2), reaper(A, 2, tol=1e-13, max_iter=5000)
    assert exact.converged
    assert found.history[-1] == pytest.approx(exact.history[-1], rel=1e-5)
    # Its rounding costs no less than the relaxation, and the relaxation no more than any subspace.
    unit = 2.0 ** np.frexp(np.abs(A).max())[1]
    for V in (found.V, exact.V, svd(A, 2).V):
        assert reference.cost_rows(A, V, 1.0) >= unit * exact.history[-1] * (1.0 - 1e-6)


def test_tyler_is_a_fixed_point_that_descends() -> None:
    A = matrix("heavy", 80, 4, 5)
    found = tyler(A, 2, tol=1e-12, max_iter=2000)
    assert found.converged
    assert falls(found.history)
    S = np.eye(4)
    values = []
    for _ in range(500):
        values.append(reference.tyler_objective(A, S))
        inverse = np.linalg.inv(S)
        S = reference.gram(A, [1.0 / float(a @ inverse @ a) for a in A])
        S /= np.trace(S)
    assert falls(tuple(values))
    unit = 2.0 ** np.frexp(np.abs(A).max())[1]
    assert found.history[-1] + 2.0 * np.log(unit) == pytest.approx(values[-1], abs=1e-8)
    assert largest_sine(np.linalg.eigh(S)[1][:, 2:], found.V) <= 1e-6
    # Lengths do not matter.
    lengths = np.exp(np.random.default_rng(0).uniform(-5.0, 5.0, (80, 1)))
    assert largest_sine(tyler(A * lengths, 2, tol=1e-12, max_iter=2000).V, found.V) <= 1e-6


@pytest.mark.parametrize("seed", range(8))
def test_greedy_l1_pca_against_all_signs(seed: int) -> None:
    A = matrix("gauss", 10, 3, seed)
    unit = 2.0 ** np.frexp(np.abs(A).max())[1]
    best = reference.best_projection_sum(A, 1)
    found = l1_pca(A, 2, seed=seed)
    first = reference.projection_sum(A, found.V[:, :1])
    assert found.history[0] * unit == pytest.approx(first)
    assert 0.95 * best <= first <= best * (1.0 + 1e-12)
    # A fixed point of Kwak's step, and so is the second direction on the rows without the first.
    rest = A - np.outer(A @ found.V[:, 0], found.V[:, 0])
    for rows, v in ((A, found.V[:, 0]), (rest, found.V[:, 1])):
        step = rows.T @ np.sign(rows @ v)
        assert float(step @ v) == pytest.approx(float(np.linalg.norm(step)))


@pytest.mark.parametrize("seed", range(3))
def test_nongreedy_l1_pca_against_all_signs(seed: int) -> None:
    A = matrix("gauss", 5, 4, seed)
    best = reference.best_projection_sum(A, 2)
    found = l1_pca_nongreedy(A, 2)
    value = reference.projection_sum(A, found.V)
    assert 0.9 * best <= value <= best * (1.0 + 1e-12)
    X, _, Zt = np.linalg.svd(A.T @ np.sign(A @ found.V), full_matrices=False)
    assert reference.projection_sum(A, X @ Zt) == pytest.approx(value)


def test_greedy_l1_pca_turns_off_a_saddle() -> None:
    """From both starts the second row is orthogonal, and its sign decides: there is better."""
    A = np.array([[4.0, 0.0], [0.0, 3.0], [4.0, 0.0]])
    v = l1_pca(A, 1).V
    assert reference.projection_sum(A, v) == pytest.approx(np.hypot(8.0, 3.0))


def l1_regression(basis: Any, b: Any) -> float:
    q, k = basis.shape
    c = np.r_[np.zeros(k), np.ones(2 * q)]
    equations = np.c_[basis, np.eye(q), -np.eye(q)]
    bounds = [(None, None)] * k + [(0.0, None)] * (2 * q)
    return float(linprog(c, A_eq=equations, b_eq=b, bounds=bounds).fun)


def test_the_regressions_of_alternating_l1() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((30, 4)))[0]
    B = rng.standard_t(1.5, (12, 30)) * np.exp(rng.uniform(-9.0, 9.0, (12, 1)))
    best = sum(l1_regression(basis, b) for b in B)
    x, duals = B @ basis, np.zeros_like(B)
    values = [_alternating._regress(B, basis, x, duals) for _ in range(10)]
    assert falls(tuple(values))
    assert values[-1] == pytest.approx(np.abs(B - x @ basis.T).sum())
    assert best * (1.0 - 1e-9) <= values[-1] <= best * (1.0 + 2e-3)
    assert values[0] <= best * 1.05


def test_outlier_pursuit_solves_its_program() -> None:
    import cvxpy

    A, _ = contaminated(40, 6, 2, 6)
    A += 0.02 * np.random.default_rng(7).standard_normal(A.shape)
    share = (3.0 / 7.0) * np.sqrt((1.0 + 121.0 * 2 / 9.0) / 40)
    L = cvxpy.Variable(A.shape)
    goal = cvxpy.normNuc(L) + share * cvxpy.sum(cvxpy.norm(A - L, 2, axis=1))
    cvxpy.Problem(cvxpy.Minimize(goal)).solve(solver=cvxpy.CLARABEL)
    s, Vt = np.linalg.svd(L.value)[1:]
    found = outlier_pursuit(A, 2, max_iter=3000)
    assert found.converged
    assert s[1] > 1.5 * s[2]
    assert largest_sine(Vt[:2].T, found.V) <= 1e-4
    assert found.note.startswith(f"rank of L {np.count_nonzero(s > 1e-5)},")


def test_randomized_svd_is_close_to_the_svd() -> None:
    A = matrix("gauss", 200, 30, 0) * 0.8 ** np.arange(30)
    for seed in range(3):
        found = randomized_svd(A, 4, seed=seed)
        assert lpgeom.cost(A, found.V, 2.0) <= lpgeom.cost(A, svd(A, 4).V, 2.0) * (1.0 + 1e-6)
