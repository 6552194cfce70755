"""Anderson's extrapolation: charts of the Grassmannian, and what it saves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lpgeom.geometry.grassmann import Frame
from lpgeom.rows.array import ArrayRows
from lpgeom.subspace import irls
from lpgeom.subspace.irls import Anderson, Irls


def random_frame(d: int, k: int, seed: int) -> Frame:
    return Frame.of(np.linalg.qr(np.random.default_rng(seed).standard_normal((d, k)))[0])


def distance(x: Frame, y: Frame) -> float:
    """Largest sine of a principal angle."""
    return float(np.linalg.norm(x.W.T @ y.V, 2))


def power_step(B: np.ndarray, x: Frame) -> Frame:
    return Frame.of(np.linalg.qr(B @ x.V)[0])


def test_nothing_is_extrapolated_from_one_step() -> None:
    x, g = random_frame(6, 2, 0), random_frame(6, 2, 1)
    assert Anderson(3).extrapolate(x, g) is g


def test_a_fixed_point_stays() -> None:
    x = random_frame(7, 3, 2)
    memory = Anderson(3)
    for _ in range(4):
        assert distance(memory.extrapolate(x, x), x) < 1e-12


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_subspace_iteration_takes_fewer_steps(depth: int) -> None:
    rng = np.random.default_rng(3)
    U = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    B = (U * np.r_[1.0, 0.99, 0.98, 0.9, 0.88, 0.85, np.full(6, 0.3)]) @ U.T
    end = Frame.of(U[:, :3])
    start = plain = fast = Frame.of(np.linalg.qr(U[:, :3] + 0.1 * rng.standard_normal((12, 3)))[0])
    memory = Anderson(depth)
    for _ in range(25):
        plain = power_step(B, plain)
        fast = memory.extrapolate(fast, power_step(B, fast))
        np.testing.assert_allclose(fast.V.T @ fast.V, np.eye(3), atol=1e-12)
    assert distance(plain, end) < distance(start, end)
    assert distance(fast, end) < 0.5 * distance(plain, end)


def test_the_chart_follows_the_iteration() -> None:
    """Steps across a right angle, which no single chart holds."""
    memory = Anderson(2)
    angles = np.linspace(0.0, 2.0, 21)
    frames = [Frame.of(np.array([[np.cos(a)], [np.sin(a)], [0.0]])) for a in angles]
    for x, g in pairwise(frames):
        found = memory.extrapolate(x, g)
        assert np.isfinite(found.V).all()
        np.testing.assert_allclose(np.linalg.norm(found.V), 1.0)


def test_descents_take_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    A = np.random.default_rng(4).standard_normal((400, 20))
    start = random_frame(20, 16, 5)

    def steps() -> tuple[int, float]:
        run = Irls(ArrayRows(A), start, 1.0, tol=1e-12).run(5000)
        assert run.converged
        return run.n_iter, run.cost

    fast, cost = steps()
    monkeypatch.setattr(irls, "NEAR", 0.0)
    plain, same = steps()
    assert fast < 0.7 * plain
    assert cost <= same * (1.0 + 1e-9)
