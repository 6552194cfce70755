"""Lewis weights: fixed point, theory 1 for any weights, the guarantee, degenerate rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from lpgeom.geometry.fixed_point import solve_fixed_point
from lpgeom.geometry.lewis import (
    LewisWeights,
    a_priori_cost,
    gram_weights,
    guarantee,
    lewis_from_metric,
    lewis_iteration,
    measured_kappa,
)
from lpgeom.geometry.spectrum import spectrum
from lpgeom.rows.array import ArrayRows
from lpgeom.rows.base import Array
from tests import reference
from tests.problems import KINDS, fixed, matrix, random_bases

PS = (1.0, 1.3, 1.7, 2.0, 2.5, 3.9, 4.0, 6.0, 10.0, 25.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", PS)
def test_fixed_point(kind: str, p: float) -> None:
    A = matrix(kind, 30, 5, 7)
    r = np.linalg.matrix_rank(A)
    got = lpgeom.lewis_weights(A, p, max_iter=2000)
    assert got.converged
    assert got.rank == r
    assert got.weights.sum() == pytest.approx(r, rel=1e-9)
    assert 1.0 <= got.kappa <= 1.0 + 1e-5
    alive = np.abs(A).sum(1) > 0
    assert (got.weights[alive] > 0.0).all()
    assert (got.weights[~alive] == 0.0).all()
    np.testing.assert_allclose(
        got.M, reference.gram(A, list(gram_weights(got.weights, p))), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [1.0, 1.5, 3.0, 4.0, 8.0, 16.0])
def test_ten_digits(kind: str, weighted: bool, p: float) -> None:
    """``w = tau^(p/2)`` in its own metric, by dense formulas; rank-deficient, weighted, wide."""
    A = matrix(kind, 40, 6, 3)
    rng = np.random.default_rng(1)
    omega = rng.exponential(size=len(A)) * (rng.random(len(A)) > 0.2) if weighted else None
    got = lpgeom.lewis_weights(A, p, row_weights=omega, tol=1e-10)
    assert got.converged
    rows = A if omega is None else reference.weighted(A, omega, p)
    alive = np.linalg.norm(rows, axis=1) > 0.0
    w, rows = got.weights[alive], rows[alive]
    # The metric's own triangle: squaring the condition number would cost the digits looked for.
    _, s, Vt = np.linalg.svd(rows * (w ** (0.5 - 1.0 / p))[:, None], full_matrices=False)
    r = int(np.count_nonzero(s > 1e-10 * s[0]))
    tau = ((rows @ (Vt[:r].T / s[:r])) ** 2).sum(axis=1)
    assert r == got.rank
    residual = np.abs(np.log(tau) - (2.0 / p) * np.log(w)).max()
    assert residual <= 1e-10 + 1e-9 * (kind in ("heavy", "scales", "exact"))


@pytest.mark.parametrize("p", [1.0, 3.0, 16.0, 100.0])
@pytest.mark.parametrize("kind", ["heavy", "exact", "scales"])
def test_acceleration_finds_the_same_point_sooner(kind: str, p: float) -> None:
    A = np.linalg.qr(matrix(kind, 60, 8, 3))[0]

    def tau_of(w: Array) -> Array:
        R = np.linalg.qr(A * (w ** (0.5 - 1.0 / p))[:, None], mode="r")
        return np.asarray((np.linalg.solve(R.T, A.T) ** 2).sum(axis=0))

    start = (A * A).sum(axis=1)
    fast, plain = (
        solve_fixed_point(tau_of, start, 8, p, tol=1e-9, max_iter=3000, depth=depth)
        for depth in (5, 0)
    )
    assert fast.converged
    assert plain.converged
    assert fast.n_iter <= 0.8 * plain.n_iter
    np.testing.assert_allclose(fast.w, plain.w, rtol=1e-5)


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0, 5.0])
def test_against_the_naive_iteration(p: float) -> None:
    A = matrix("heavy", 20, 4, 3)
    np.testing.assert_allclose(
        lpgeom.lewis_weights(A, p, tol=1e-9, max_iter=1000).weights,
        reference.lewis_weights(A, p),
        rtol=1e-6,
    )


def test_rows_times_weights() -> None:
    """omega enters as omega^(1/p) a: weight 2 is the row twice, up to how w is shared out."""
    A = matrix("gauss", 15, 3, 0)
    omega = np.ones(15)
    omega[:5] = 2.0
    one = lpgeom.lewis_weights(A, 1.5, row_weights=omega, tol=1e-10)
    two = lpgeom.lewis_weights(np.concatenate([A, A[:5]]), 1.5, tol=1e-10)
    np.testing.assert_allclose(one.M, two.M, rtol=1e-8)
    np.testing.assert_allclose(one.weights[:5], two.weights[:5] + two.weights[15:], rtol=1e-8)


@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1e140])
def test_scaling(scale: float) -> None:
    A = matrix("heavy", 30, 4, 1)
    one, other = lpgeom.lewis_weights(A, 1.0), lpgeom.lewis_weights(A * scale, 1.0)
    np.testing.assert_allclose(other.weights, one.weights, rtol=1e-8)
    np.testing.assert_allclose(other.M / scale / scale, one.M, rtol=1e-8)


def test_metric_out_of_range() -> None:
    with pytest.raises(OverflowError, match="squared units"):
        lpgeom.lewis_weights(np.eye(3) * 1e200, 1.0)


def test_zero_matrix() -> None:
    got = lpgeom.lewis_weights(np.zeros((4, 2)), 1.0)
    assert got.rank == 0
    assert not got.weights.any()


@fixed
@given(
    st.sampled_from(KINDS),
    st.sampled_from(PS),
    st.integers(2, 5),
    st.integers(0, 2**31),
    st.floats(0.0, 2.0),
)
def test_any_weights_keep_the_promise(kind: str, p: float, d: int, seed: int, noise: float) -> None:
    """Theory 1 and 2 with inexact weights: both sides of the sandwich, and the guarantee."""
    A = matrix(kind, 20, d, seed)
    rng = np.random.default_rng(seed)
    r = int(np.linalg.matrix_rank(A))
    if r < 2:
        return
    alive = np.abs(A).sum(1) > 0
    w = np.where(alive, np.exp(noise * rng.standard_normal(len(A))), 0.0)
    M = reference.gram(A, list(gram_weights(w, p)))
    kappa = reference.kappa(A, w, p)
    total = kappa * w.sum()
    assert total >= r * (1.0 - 1e-9)
    lewis = LewisWeights(w, M, kappa, r, p, 0, False)
    promise = guarantee(lewis)
    for k in range(1, r):
        m = d - k
        lam, U = np.linalg.eigh(M)
        own = reference.cost_rows(A, U[:, m:], p)
        assert own <= a_priori_cost(lewis, lam, m) * (1.0 + 1e-9)
        for V in random_bases(d, k, 4, rng):
            cost = reference.cost_rows(A, V, p)
            assert own <= promise**p * cost * (1.0 + 1e-9)
            Q = np.eye(d) - V @ V.T
            S = np.sqrt(max(np.trace(Q @ M @ Q), 0.0))
            low, high = sorted((kappa ** (p / 2 - 1) * S**p, w.sum() ** (1 - p / 2) * S**p))
            if p != 2.0:
                assert low * (1.0 - 1e-9) <= cost or kappa ** (p / 2 - 1) > w.sum() ** (1 - p / 2)
                assert cost <= high * (1.0 + 1e-9) or high == 0.0 or S**p < 1e-12 * lam[-1]


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("condition", [1.0, 1e4])
def test_weights_from_a_metric(p: float, condition: float) -> None:
    rng = np.random.default_rng(5)
    A = rng.standard_normal((400, 6)) * np.geomspace(1.0, 1.0 / condition, 6)
    rows = ArrayRows(A)
    _, rough = lewis_iteration(rows, p, tol=0.5)
    got, spec = lewis_from_metric(rows, p, rough.whitener())
    assert got.kappa >= reference.kappa(A, got.weights, p)
    assert got.kappa <= 2.0
    np.testing.assert_allclose(got.M, reference.gram(A, list(gram_weights(got.weights, p))))
    np.testing.assert_allclose(spec.eigvals, np.linalg.eigvalsh(got.M), rtol=1e-6)


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_measured_kappa_is_never_too_small(condition: float) -> None:
    """In float32 the allowance covers the rounding; where it is too large float64 takes over."""
    rng = np.random.default_rng(6)
    for _ in range(5):
        A = rng.standard_normal((300, 8)) * np.geomspace(1.0, 1.0 / condition, 8)
        rows = ArrayRows(A)
        w = np.exp(0.1 * rng.standard_normal(300))
        w *= 8.0 / w.sum()
        X = spectrum(rows, gram_weights(w, 1.0)).whitener()
        true = max(((A @ X) ** 2).sum(1) / w**2)
        got = measured_kappa(rows, w, X, 1.0)
        assert true <= got <= 1.03 * true


def test_ill_conditioned_rows() -> None:
    """Weights do not change under an invertible map of the columns, however bad."""
    A = matrix("gauss", 60, 5, 2)
    want = lpgeom.lewis_weights(A, 1.0, tol=1e-9)
    bad = A @ np.diag(np.geomspace(1.0, 1e-10, 5)) @ np.linalg.qr(matrix("gauss", 5, 5, 3))[0]
    got = lpgeom.lewis_weights(bad, 1.0, tol=1e-4)
    assert got.rank == 5
    np.testing.assert_allclose(got.weights, want.weights, rtol=1e-3)
