"""Further starts and hops: what they find, and what they leave alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import lpgeom
from lpgeom.geometry.grassmann import Frame
from lpgeom.rows.array import ArrayRows
from lpgeom.subspace import search
from lpgeom.subspace.irls import Irls
from lpgeom.subspace.search import affordable, explored


def trapped(seed: int) -> np.ndarray:
    """Rows near a 5-dimensional subspace of R^30, a twentieth of them 100 times as long."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((30, 5)))[0]
    A = rng.standard_normal((300, 5)) @ U.T + 1e-3 * rng.standard_normal((300, 30))
    far = rng.standard_normal((15, 30))
    A[:15] = 100.0 * np.sqrt(5.0) * far / np.linalg.norm(far, axis=1, keepdims=True)
    return A


def search_from(A: np.ndarray, start: Frame, seed: int = 0) -> tuple[float, search.End | None]:
    rows = ArrayRows(A)

    def descent(frame: Frame, tol: float, eps: float | None = None) -> Irls:
        return Irls(rows, frame, 1.0, tol=tol, eps=eps)

    run = descent(start, 1e-10).run(500)
    rng = np.random.default_rng(seed)
    return run.cost, explored(
        rows, 1.0, run.best, run.cost, descent, tol=1e-10, max_iter=500, rng=rng
    )


@pytest.mark.slow
def test_local_minima_are_left() -> None:
    gains = []
    for seed in range(8):
        A = trapped(seed)
        V = np.linalg.svd(A, full_matrices=False)[2][:5].T
        cost, end = search_from(A, Frame.of(V))
        if end is not None:
            gains.append(1.0 - end.run.cost / cost)
            W = end.run.best.V
            residuals = np.linalg.norm(A - (A @ W) @ W.T, axis=1)
            np.testing.assert_allclose(residuals.sum(), end.run.cost, rtol=1e-9)
    assert len(gains) >= 2
    assert max(gains) > 0.003


def test_nothing_is_found_below_an_optimum() -> None:
    """Lines in the plane: at p = 1 the best passes through one of the points."""
    A = np.random.default_rng(5).standard_normal((12, 2)) * [3.0, 1.0]
    directions = A / np.linalg.norm(A, axis=1, keepdims=True)
    costs = [np.abs(A @ np.array([-y, x])).sum() for x, y in directions]
    best = directions[int(np.argmin(costs))]
    cost, end = search_from(A, Frame.of(best[:, None]))
    np.testing.assert_allclose(cost, min(costs), rtol=1e-9)
    assert end is None


def test_auto_finds_planar_optima() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        A = rng.standard_cauchy((25, 3))
        normals = [np.cross(x, y) for x, y in combinations(A, 2)]
        costs = [np.abs(A @ (v / np.linalg.norm(v))).sum() for v in normals]
        found = lpgeom.approx_subspace(A, 2, 1.0, certify=False)
        assert found.cost >= min(costs) * (1.0 - 1e-9)
        assert found.cost <= min(costs) * (1.0 + 1e-6)


@pytest.mark.slow
def test_auto_is_never_dearer_than_irls() -> None:
    for seed in range(5):
        A = trapped(seed)
        auto = lpgeom.approx_subspace(A, 5, 1.0, certify=False)
        irls = lpgeom.approx_subspace(A, 5, 1.0, method="irls", certify=False)
        assert auto.cost <= irls.cost * (1.0 + 1e-12)


def test_the_same_seed_gives_the_same_result() -> None:
    A = trapped(0)
    first, second = (lpgeom.approx_subspace(A, 4, 1.0, seed=7, certify=False) for _ in range(2))
    np.testing.assert_array_equal(first.basis, second.basis)


def test_large_problems_pay_for_few_descents() -> None:
    assert affordable(1000, 50) > search.HOPS + 3
    assert affordable(1000, 1000) == 0
    assert affordable(10**6, 100) < 3


@pytest.mark.slow
def test_zero_rows_do_not_matter() -> None:
    A = trapped(1)
    padded = np.vstack([A, np.zeros((100, 30))])
    plain = lpgeom.approx_subspace(A, 5, 1.0, certify=False)
    found = lpgeom.approx_subspace(padded, 5, 1.0, certify=False)
    np.testing.assert_allclose(found.cost, plain.cost, rtol=1e-6)
