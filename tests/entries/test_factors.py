"""Entrywise factors: costs recomputed, never above the portfolio's, bounds, recovery, bad input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.entries import portfolio, starts
from lpgeom.entries.alternating import alternate, fit_left
from lpgeom.entries.problem import Entries
from lpgeom.entries.run import FactorsRun
from lpgeom.entries.splitting import split
from tests.problems import KINDS, matrix

POWERS = (1.0, 1.5, 2.0, 3.0)


def naive(A: np.ndarray, result: Any, omega: Any = 1.0) -> float:
    residual = np.abs(A - result.left @ result.right) ** result.p
    return float(np.sum(np.reshape(omega, (-1, 1)) * residual))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("p", "k"), [(1.0, 1), (1.5, 2), (2.0, 3), (3.0, 1)])
def test_cost_bound_and_portfolio(kind: str, p: float, k: int) -> None:
    A = matrix(kind, 30, 6, seed=k)
    result = lpgeom.approx_factors(A, k, p)
    size = float(np.sum(np.abs(A) ** p))
    np.testing.assert_allclose(result.cost, naive(A, result), rtol=1e-9, atol=1e-12 * size)
    np.testing.assert_allclose(result.right @ result.right.T, np.eye(k), atol=1e-9)
    assert result.left.shape == (A.shape[0], k)
    assert result.lower_bound <= result.cost * (1.0 + 1e-9) + 1e-12 * size
    assert result.cost <= result.svd_cost * (1.0 + 1e-12) + 1e-12 * size
    lewis = lpgeom.approx_subspace(A, k, p, method="lewis", certify=False)
    projection = lpgeom.cost(A, lewis.basis, p, objective="entries")
    assert result.cost <= projection * (1.0 + 1e-9) + 1e-12 * size
    assert all(a >= b for a, b in zip(result.history, result.history[1:], strict=False))
    np.testing.assert_allclose(result.history[-1], result.cost, rtol=1e-9, atol=1e-12 * size)


@pytest.mark.slow
@pytest.mark.parametrize("p", POWERS)
def test_no_factors_are_below_the_bound(p: float) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 6))
    result = lpgeom.approx_factors(A, 2, p)
    assert result.ratio >= 1.0
    for _ in range(50):
        V = np.linalg.qr(rng.standard_normal((6, 2)))[0]
        assert np.sum(np.abs(A - A @ V @ V.T) ** p) >= result.lower_bound
    assert result.certificate is not None
    result.certificate.verify(A)


@pytest.mark.slow
def test_gross_errors_are_left_out() -> None:
    rng = np.random.default_rng(0)
    B = rng.standard_normal((300, 4)) @ rng.standard_normal((4, 40))
    A = B + 10.0 * rng.standard_normal(B.shape) * (rng.random(B.shape) < 0.1)
    result = lpgeom.approx_factors(A, 4)
    assert np.linalg.norm(result.left @ result.right - B) <= 1e-6 * np.linalg.norm(B)
    svd = lpgeom.approx_subspace(A, 4, 2.0).basis
    assert np.linalg.norm(A @ svd @ svd.T - B) > 0.5 * np.linalg.norm(B)


@pytest.mark.slow
def test_row_weights_and_scale() -> None:
    rng = np.random.default_rng(1)
    A = rng.standard_normal((24, 5))
    omega = rng.random(24)
    omega[:3] = 0.0
    for p in (1.0, 3.0):
        plain = lpgeom.approx_factors(A, 2, p, row_weights=omega)
        np.testing.assert_allclose(plain.cost, naive(A, plain, omega), rtol=1e-9)
        big = lpgeom.approx_factors(A * 2.0**60, 2, p, row_weights=omega)
        np.testing.assert_allclose(big.norm_error, plain.norm_error * 2.0**60, rtol=1e-12)
    for factor in (1e-150, 1e150):
        extreme = lpgeom.approx_factors(A * factor, 2)
        assert np.isfinite(extreme.norm_error)
        np.testing.assert_allclose(extreme.cost, naive(A * factor, extreme), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, 100.0])
@pytest.mark.parametrize("kind", ["diagonal", "rows", "columns", "entries", "empty"])
def test_sizes_of_all_orders_give_an_answer(kind: str, p: float) -> None:
    """High powers are rescaled, and normal matrices see a column through next to nothing."""
    for seed, (n, d, k) in enumerate([(4, 12, 3), (6, 2, 1)]):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((n, d))
        if kind == "diagonal":
            A = np.zeros((n, d))
            A[range(min(n, d)), range(min(n, d))] = 10.0 ** rng.integers(-250, 1, min(n, d))
        elif kind == "empty":
            A *= rng.random((n, d)) < 0.3
        else:
            shape = {"rows": (n, 1), "columns": (1, d), "entries": (n, d)}[kind]
            A *= 10.0 ** rng.integers(-250, 1, shape)
        weights = 10.0 ** rng.integers(-300, 1, (n, d)) * (rng.random((n, d)) < 0.8)
        weights[0] = 1.0
        for W in (None, weights):
            found = lpgeom.approx_factors(A, k, p, entry_weights=W, max_iter=5)
            assert 0.0 <= found.lower_bound <= found.cost <= found.svd_cost
            assert np.isfinite(found.left @ found.right).all()


def test_exact_rank_and_the_same_seed() -> None:
    rng = np.random.default_rng(2)
    B = rng.standard_normal((20, 2)) @ rng.standard_normal((2, 6))
    exact = lpgeom.approx_factors(B, 3)
    assert exact.norm_error <= 1e-10
    np.testing.assert_allclose(exact.left @ exact.right, B, atol=1e-12)
    A = rng.standard_normal((24, 6))
    first, second = (lpgeom.approx_factors(A, 3, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.left, second.left)


def test_the_input_is_not_modified_and_the_record_speaks() -> None:
    A = np.random.default_rng(4).standard_normal((30, 5))
    before = A.copy()
    result = lpgeom.approx_factors(A, 2, certify=False)
    np.testing.assert_array_equal(A, before)
    assert result.ratio == np.inf
    assert "none computed" in result.summary()
    assert json.loads(json.dumps(result.to_dict()))["ratio"] == "inf"
    assert "FactorResult(k=2" in repr(result)


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((np.full((4, 3), np.nan), 1), {}, ValueError),
        ((np.ones((4, 3)), 3), {}, ValueError),
        ((np.ones((4, 3)), 1, 0.5), {}, ValueError),
        ((np.ones((4, 3)), 1, np.inf), {}, ValueError),
        ((np.ones((4, 3)), 1), {"max_iter": 0}, ValueError),
        ((np.ones((4, 3)), 1), {"tol": -1.0}, ValueError),
        ((np.ones((4, 3)), 1), {"row_weights": [1.0, -1.0, 1.0, 1.0]}, ValueError),
        ((np.ones((4, 3), dtype=object), 1), {}, TypeError),
    ],
)
def test_bad_input(arguments: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        lpgeom.approx_factors(*arguments, **options)


@pytest.mark.parametrize("weighted", [False, True])
def test_splitting_keeps_its_start(weighted: bool) -> None:
    rng = np.random.default_rng(5)
    A = rng.standard_normal((40, 6))
    W = rng.random(A.shape) if weighted else None
    full = np.ones(A.shape) if W is None else W
    V = np.linalg.svd(A)[2][:2].T
    run = split(A, A @ V, V.T, 1.0, W, max_iter=1)
    np.testing.assert_allclose(run.left @ run.right, A @ V @ V.T, atol=1e-12)
    np.testing.assert_allclose(run.cost, (full * np.abs(A - A @ V @ V.T)).sum(), rtol=1e-12)
    longer = split(A, A @ V, V.T, 1.0, W, max_iter=200)
    np.testing.assert_allclose(longer.cost, (full * np.abs(A - longer.left @ longer.right)).sum())
    assert longer.cost < run.cost


def test_regressions_never_raise_the_cost() -> None:
    rng = np.random.default_rng(6)
    A = rng.standard_t(1.5, (40, 8))
    for p in (1.0, 1.5, 3.0):
        start = rng.standard_normal((40, 3)), rng.standard_normal((3, 8))
        run = alternate(A, *start, p, max_iter=30, tol=1e-6)
        assert all(a >= b for a, b in zip(run.history, run.history[1:], strict=False))
        np.testing.assert_allclose(run.cost, (np.abs(A - run.left @ run.right) ** p).sum())
        assert run.cost < run.history[0]


# ---------------------------------------------------------------- tables


@pytest.mark.slow
def test_a_start_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Factors that only a new start knows are found by it, and one that does not apply is left."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((30, 2)), rng.standard_normal((2, 8))
    A = left @ right + 20.0 * (rng.random((30, 8)) < 0.05)

    def known(entries: Entries, certify: bool | str, seed: int) -> starts.Projection | None:
        return starts.Projection(left * entries.scale, right) if entries.k == 2 else None

    monkeypatch.setitem(starts.STARTS, "known", known)
    monkeypatch.setattr(portfolio, "DESCENTS", [])
    assert lpgeom.approx_factors(A, 2, certify=False).method == "known"
    assert lpgeom.approx_factors(A, 3, certify=False).method != "known"


@pytest.mark.parametrize("good", [True, False])
def test_a_descent_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch, good: bool) -> None:
    """Its end is taken where that is cheaper than its start, and only there."""
    A = np.random.default_rng(1).standard_normal((30, 8))
    right = lpgeom.approx_factors(A, 2, certify=False).right if good else np.eye(2, 8)

    def descend(B: Any, *start: Any, **limits: Any) -> FactorsRun:
        return FactorsRun(fit_left(B, right, 1.0, None)[0], right, 0.0, (), 3)

    mine = portfolio.EntriesDescent(
        "mine",
        "a descent of mine",
        descend,
        limits=lambda search: (1, 1e-3),
        chosen=lambda search: search.found[:1],
    )
    monkeypatch.setattr(portfolio, "DESCENTS", [mine])
    found = lpgeom.approx_factors(A, 2, certify=False)
    assert ("mine" in found.method) is good
    assert found.n_iter == (3 if good else 0)
    assert found.cost <= found.svd_cost


def test_nan_without_weight_is_told_how_to_be_missing() -> None:
    A = np.random.default_rng(0).standard_normal((20, 5))
    weights = np.ones(A.shape)
    A[3, 1], weights[3, 1] = np.nan, 0.0
    with pytest.raises(ValueError, match='missing="ignore" takes NaN'):
        lpgeom.approx_factors(A, 2, entry_weights=weights)
    lpgeom.approx_factors(A, 2, entry_weights=weights, missing="ignore", certify=False, max_iter=3)
    A[4, 4] = np.nan
    with pytest.raises(ValueError, match=r"A\[3, 1\] is nan"):
        lpgeom.approx_factors(A, 2, entry_weights=weights)
