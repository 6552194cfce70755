"""The descents: reweighting for p < 2, damped steps for p > 2, and their geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpgeom.geometry.fantope import largest_sum, smallest_sum, water_filling
from lpgeom.geometry.grassmann import Frame, Geodesic, complement, largest_sine
from lpgeom.rows.array import ArrayRows
from lpgeom.subspace.damped import continued, damped
from lpgeom.subspace.irls import Irls
from tests import reference
from tests.problems import KINDS, fixed, matrix


def random_frame(d: int, k: int, seed: int) -> Frame:
    return Frame.of(np.linalg.qr(np.random.default_rng(seed).standard_normal((d, k)))[0])


@fixed
@given(
    st.sampled_from(KINDS),
    st.sampled_from((1.0, 1.2, 1.6, 1.95)),
    st.integers(2, 6),
    st.integers(0, 2**31),
)
def test_irls_never_rises(kind: str, p: float, d: int, seed: int) -> None:
    A = matrix(kind, 25, d, seed)
    k = 1 + seed % (d - 1)
    start = random_frame(A.shape[1], k, seed)
    run = Irls(ArrayRows(A), start, p, tol=1e-8).run(100)
    assert run.history[0] == pytest.approx(reference.cost_rows(A, start.V, p), rel=1e-9)
    assert all(b <= a for a, b in zip(run.history, run.history[1:], strict=False))
    assert run.cost == run.history[-1]
    assert run.cost == pytest.approx(reference.cost_rows(A, run.best.V, p), rel=1e-6, abs=1e-12)


def test_the_promise_is_kept() -> None:
    """Each step lowers the cost by what was promised, smoothing aside."""
    A = matrix("gauss", 80, 6, 0)
    run = Irls(ArrayRows(A), random_frame(6, 2, 1), 1.0, tol=1e-12)
    for _ in range(20):
        before = run.history[-1]
        run.step()
        after = reference.cost_rows(A, run.frame.V, 1.0)
        promise = run.promise * before
        assert promise >= -1e-9 * before
        assert after <= before - 0.5 * promise + 1e-6 * before
        run._look()


@pytest.mark.parametrize("p", [1.0, 1.5])
def test_irls_stops_at_a_stationary_point(p: float) -> None:
    A = matrix("gauss", 100, 6, 4)
    run = Irls(ArrayRows(A), random_frame(6, 2, 5), p, tol=1e-10).run(2000)
    assert run.converged
    V = run.frame.V
    R = A - A @ V @ V.T
    t = (R * R).sum(1)
    M = (A.T * t ** (p / 2 - 1)) @ A
    Q = np.eye(6) - V @ V.T
    assert np.abs(Q @ M @ V).max() < 1e-3 * np.linalg.norm(M, 2)


def test_rows_that_fit_the_start_do_not_pin_it() -> None:
    """A start through k far outliers: they fit it exactly, and must lose against 200 inliers."""
    rng = np.random.default_rng(0)
    A = np.concatenate([rng.standard_normal((200, 2)) @ np.eye(8)[:2], 5.0 * np.eye(8)[6:8]])
    start = Frame.of(np.eye(8)[:, 6:8])
    run = Irls(ArrayRows(A), start, 1.0, tol=1e-8).run(200)
    assert largest_sine(run.frame.V, np.eye(8)[:, :2]) < 1e-6


@fixed
@given(
    st.sampled_from(KINDS),
    st.sampled_from((2.1, 3.0, 4.0, 10.0, 40.0)),
    st.integers(2, 6),
    st.integers(0, 2**31),
)
def test_damped_never_rises(kind: str, p: float, d: int, seed: int) -> None:
    A = matrix(kind, 25, d, seed)
    A = A / max(np.abs(A).max(), 1e-300)
    k = 1 + seed % (d - 1)
    start = random_frame(A.shape[1], k, seed)
    for solver in (damped, continued):
        run = solver(ArrayRows(A), start, p, max_iter=30, tol=1e-8)
        assert all(b <= a for a, b in zip(run.history, run.history[1:], strict=False))
        got = reference.cost_rows(A, run.frame.V, p)
        assert got == pytest.approx(run.cost, rel=1e-6, abs=1e-14 * run.history[0])


def test_damped_finds_the_middle() -> None:
    """Large p, points on two directions: the best line balances the two, whatever their counts."""
    A = np.repeat([[1.0, 0.2], [1.0, -0.2]], [50, 5], axis=0)
    run = damped(ArrayRows(A), random_frame(2, 1, 0), 30.0, max_iter=500, tol=1e-12)
    slope = run.frame.V[1, 0] / run.frame.V[0, 0]
    # (1/10)^(1/29) between the residuals of the two groups.
    residual = np.abs(np.array([0.2, -0.2]) - slope)
    assert residual[0] / residual[1] == pytest.approx(0.1 ** (1 / 29), rel=0.02)


@fixed
@given(st.integers(2, 8), st.integers(0, 2**31))
def test_geodesics(d: int, seed: int) -> None:
    k = 1 + seed % (d - 1)
    V, V2 = random_frame(d, k, seed).V, random_frame(d, k, seed + 1).V
    path = Geodesic(V, V2)
    assert largest_sine(path.at(0.0).V, V) < 1e-12
    assert largest_sine(path.at(1.0).V, V2) < 1e-7
    middle = path.at(0.5)
    np.testing.assert_allclose(middle.V.T @ middle.V, np.eye(k), atol=1e-12)
    np.testing.assert_allclose(middle.V.T @ middle.W, 0.0, atol=1e-12)
    angles = [np.arcsin(largest_sine(middle.V, X)) for X in (V, V2)]
    np.testing.assert_allclose(angles, path.length / 2, atol=1e-6)


def test_geodesic_between_equal_subspaces() -> None:
    V = random_frame(5, 2, 0).V
    assert Geodesic(V, V[:, ::-1]).length < 1e-14
    assert largest_sine(Geodesic(V, V).at(0.7).V, V) < 1e-14


def test_complement() -> None:
    V = random_frame(7, 3, 0).V
    W = complement(V)
    np.testing.assert_allclose(np.concatenate([V, W], axis=1).T @ V, np.eye(7)[:, :3], atol=1e-14)


def test_small_sines_keep_their_digits() -> None:
    V = np.eye(4)[:, :2]
    tilted = V + 1e-12 * np.eye(4)[:, 2:]
    assert largest_sine(V, tilted) == pytest.approx(1e-12, rel=1e-3)


@fixed
@given(
    st.integers(1, 9),
    st.integers(0, 2**31),
    st.booleans(),
    st.booleans(),
)
def test_water_filling_is_optimal(d: int, seed: int, zeros: bool, tilted: bool) -> None:
    rng = np.random.default_rng(seed)
    lam = rng.exponential(size=d) * ((rng.random(d) < 0.6) if zeros else 1.0)
    h = rng.standard_normal(d) if tilted else None
    m = int(rng.integers(0, d + 1))
    q = water_filling(lam, m, h)
    assert q.sum() == pytest.approx(m, abs=1e-9)
    assert ((q >= 0.0) & (q <= 1.0)).all()
    # KKT: moving mass from i to j, where both can move, does not pay.
    slope = lam * q + (0.0 if h is None else h)
    gives, takes = slope[q > 1e-9], slope[q < 1.0 - 1e-9]
    if gives.size and takes.size:
        assert gives.max() <= takes.min() + 1e-9


def test_water_filling_bounds() -> None:
    with pytest.raises(ValueError, match="outside"):
        water_filling(np.ones(3), 4)


def test_ky_fan_sums_lean_to_the_safe_side() -> None:
    G = matrix("gauss", 6, 6, 0)
    G = G + G.T
    lam = np.linalg.eigvalsh(G)
    for m in range(7):
        assert smallest_sum(G, m) <= lam[:m].sum() <= smallest_sum(G, m) + 1e-12
        assert largest_sum(G, m) >= lam[6 - m :].sum() >= largest_sum(G, m) - 1e-12
