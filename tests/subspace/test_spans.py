"""Subspaces through k rows: optimal hyperplanes at p = 1, starts elsewhere, nothing for large A."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lpgeom
from lpgeom.rows.array import ArrayRows
from lpgeom.subspace import search, solve
from lpgeom.subspace.search import through_rows
from tests import reference
from tests.problems import KINDS, fixed, matrix

searching = settings(fixed, max_examples=12)  # where the usual search runs, too


def cost(A: Any, k: int, p: float = 1.0, **options: Any) -> float:
    return lpgeom.approx_subspace(A, k, p, certify=False, **options).cost


@st.composite
def tiny(draw: st.DrawFn) -> Any:
    """Rows of rank d, among them zero rows, repeated ones, and some 1e5 times as long as others."""
    d = draw(st.integers(2, 4))
    n = draw(st.integers(d, 9))
    return matrix(draw(st.sampled_from(KINDS)), n, d, draw(st.integers(0, 2**31)))


@fixed
@given(tiny(), st.booleans(), st.integers(0, 1000))
def test_hyperplanes_are_optimal_at_p_one(A: Any, weighted: bool, seed: int) -> None:
    omega = np.ones(len(A))
    if weighted:
        rng = np.random.default_rng(seed)
        omega = rng.uniform(0.1, 3.0, len(A)) * (rng.random(len(A)) < 0.8)
    B = reference.weighted(A, omega, 1.0)
    d = A.shape[1]
    if np.linalg.matrix_rank(B) < d:
        return
    result = lpgeom.approx_subspace(A, d - 1, 1.0, row_weights=omega, seed=seed)
    noise = 1e-13 * sum(reference.norm(b) for b in B)
    assert result.cost == pytest.approx(reference.optimum_hyperplane(B), rel=1e-9, abs=noise)
    assert result.cost == pytest.approx(reference.cost_rows(B, result.basis, 1.0), rel=1e-9)
    assert result.history == (result.cost,)
    assert (result.method, result.n_iter, result.converged) == ("k rows", 0, True)
    assert result.n_passes > 1.0
    assert result.lower_bound <= result.cost <= result.svd_cost * (1.0 + 1e-12)


@searching
@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(0, 2))
def test_of_rank_k_plus_one(seed: int, k: int, more: int) -> None:
    """Rows in a subspace of rank k + 1: the same optimum, whatever is around that subspace."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((7, k + 1))
    turned = A @ np.linalg.qr(rng.standard_normal((k + 1 + more, k + 1)))[0].T
    optimum = reference.optimum_hyperplane(A)
    assert cost(turned, k, max_iter=15) == pytest.approx(optimum, rel=1e-8)
    # Fewer rows than columns: their own span is all there is.
    wide = rng.standard_normal((k + 1, k + 4))
    found = lpgeom.approx_subspace(wide, k, 1.0, certify=False)
    best = min(
        reference.cost_rows(wide, np.linalg.qr(wide[list(rows)].T)[0], 1.0)
        for rows in combinations(range(k + 1), k)
    )
    assert found.cost == pytest.approx(best, rel=1e-9)
    assert found.method == "k rows"


@searching
@given(st.integers(0, 2**31), st.sampled_from((1.0, 1.3, 1.8)), st.integers(1, 3))
def test_never_dearer_than_a_span(seed: int, p: float, k: int) -> None:
    A = matrix("heavy", 7, 4, seed)
    result = lpgeom.approx_subspace(A, k, p, certify=False, max_iter=15)
    bases = (np.linalg.qr(A[list(rows)].T)[0] for rows in combinations(range(7), k))
    least = min(reference.cost_rows(A, V, p) for V in bases)
    assert result.cost <= least * (1.0 + 1e-8)
    assert all(b <= a for a, b in zip(result.history, result.history[1:], strict=False))


@pytest.mark.parametrize("d", [3, 4])
def test_what_changes_nothing(d: int) -> None:
    for seed in range(4):
        A = matrix("heavy", 8, d, seed)
        rng = np.random.default_rng(seed)
        want = cost(A, d - 1)
        turned = A @ np.linalg.qr(rng.standard_normal((d, d)))[0]
        twice = np.repeat(A, 2, axis=0)
        padded = np.r_[A, np.zeros((90, d))]
        assert cost(A * 2.0**70, d - 1) == want * 2.0**70
        assert cost(turned, d - 1) == pytest.approx(want, rel=1e-9)
        assert cost(A[rng.permutation(8)], d - 1) == pytest.approx(want, rel=1e-9)
        assert cost(A, d - 1, seed=seed + 1) == want
        assert cost(twice, d - 1) == pytest.approx(2.0 * want, rel=1e-9)
        assert cost(A, d - 1, row_weights=np.full(8, 3.0)) == pytest.approx(3.0 * want, rel=1e-9)
        assert cost(padded, d - 1) == pytest.approx(want, rel=1e-9)
        assert cost(padded, d - 1, row_weights=np.r_[np.ones(8), np.zeros(90)]) == pytest.approx(
            want, rel=1e-9
        )


def test_the_same_bits_again() -> None:
    A = matrix("heavy", 10, 4, 3)
    for k, p in ((3, 1.0), (2, 1.5)):
        one, two = (lpgeom.approx_subspace(A, k, p, seed=5, max_iter=30) for _ in range(2))
        assert np.array_equal(one.basis, two.basis)
        assert (one.cost, one.n_passes, one.method) == (two.cost, two.n_passes, two.method)


@pytest.mark.parametrize(("k", "p"), [(1, 1.0), (2, 1.5), (3, 1.0), (3, 1.9)])
def test_the_cheapest_spans_in_order(k: int, p: float) -> None:
    A = matrix("gauss", 9, 4, k)
    A = np.r_[A, A[:2], np.zeros((1, 4))]
    rows = ArrayRows(A)
    frames = through_rows(rows, k, p, 5)
    assert rows.n_passes == pytest.approx(2.0, abs=0.1)  # the lengths, and the rows that are not 0
    costs = [reference.cost_rows(A, frame.V, p) for frame in frames]
    every = sorted(
        reference.cost_rows(A, np.linalg.qr(A[list(chosen)].T)[0], p)
        for chosen in combinations(range(9), k)
    )
    np.testing.assert_allclose(costs, every[:5], rtol=1e-12)
    for frame in frames:
        both = np.concatenate([frame.V, frame.W], axis=1)
        np.testing.assert_allclose(both.T @ both, np.eye(4), atol=1e-14)


def test_dependent_rows_stand_for_some_subspace_around_them() -> None:
    A = np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [-3.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    frames = through_rows(ArrayRows(A), 2, 1.0, 9)
    for frame in frames:
        np.testing.assert_allclose(frame.V.T @ frame.V, np.eye(2), atol=1e-14)
    assert reference.cost_rows(A, frames[0].V, 1.0) == pytest.approx(0.0, abs=1e-14)


def test_nothing_where_there_is_too_much() -> None:
    rng = np.random.default_rng(0)
    for n, d, k in ((40, 8, 5), (2000, 3, 1), (120, 3, 2)):
        rows = ArrayRows(rng.standard_normal((n, d)))
        assert through_rows(rows, k, 1.0) == []
        assert rows.n_passes <= 2.0


def test_large_data_and_other_methods_look_at_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*args: Any) -> Any:
        raise AssertionError("looked at spans")

    monkeypatch.setattr(solve, "through_rows", unexpected)
    A = matrix("gauss", 100, 4, 0)
    for method in ("irls", "lewis", "svd"):
        lpgeom.approx_subspace(A, 3, 1.0, method=method, certify=False)
    for p in (2.0, 3.0):
        lpgeom.approx_subspace(A, 3, p, certify=False)
    monkeypatch.setattr(solve, "LARGE", 1)
    lpgeom.approx_subspace(A, 3, 1.0, certify=False)
    monkeypatch.undo()
    monkeypatch.setattr(solve, "through_rows", unexpected)
    with pytest.raises(AssertionError, match="spans"):
        lpgeom.approx_subspace(A[:9], 3, 1.0)


def test_the_limits_count_sets_and_products(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ArrayRows(matrix("gauss", 12, 4, 1))
    assert len(through_rows(rows, 3, 1.0)) == search.CHEAPEST
    monkeypatch.setattr(search, "SETS_WORK", 220 * 4 * (12 + 16) - 1)
    assert through_rows(rows, 3, 1.0) == []
    monkeypatch.setattr(search, "SETS_WORK", 220 * 4 * (12 + 16))
    assert through_rows(rows, 3, 1.0)
    monkeypatch.setattr(search, "SETS", 219)
    assert through_rows(rows, 3, 1.0) == []
