"""Steps of ellipsoid methods in array functions: against the CPU's kernels, and their promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import assert_twins, both

# ---- column norms and dual vectors


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 7.0, np.inf])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (150, 3), (70, 40), (0, 2)])
def test_column_norms(backend: Any, n: int, d: int, p: float) -> None:
    M = np.random.default_rng(0).standard_normal((n, d))
    M[:, 0] = 0.0
    out = assert_twins(backend, "shallow_cut", "column_norms", M, p, np.full(d, 9.0))[1]
    wanted = [np.linalg.norm(c, p) if n else 0.0 for c in M.T]
    np.testing.assert_allclose(out, wanted, rtol=1e-12)


def test_column_norms_stay_in_range(backend: Any) -> None:
    M = np.full((70, 2), 1e250) * [[1.0, 1e-100]]
    out = assert_twins(backend, "shallow_cut", "column_norms", M, 10.0, np.empty(2))[1]
    np.testing.assert_allclose(out, 70**0.1 * np.array([1e250, 1e150]), rtol=1e-12)


@pytest.mark.parametrize("p", [1.0, 1.5, 4.0, np.inf])
@pytest.mark.parametrize("n", [1, 33, 150])
def test_dual_vector(backend: Any, n: int, p: float) -> None:
    M = np.random.default_rng(1).standard_normal((n, 3))
    if n > 1:
        M[n // 2, 1] = 0.0
        M[[5, 7], 1] = -9.0  # the largest, twice
    norm = float(np.linalg.norm(M[:, 1], p))
    v = assert_twins(backend, "shallow_cut", "dual_vector", M, 1, norm, p, np.empty(n))[1]
    assert v @ M[:, 1] == pytest.approx(norm, rel=1e-12)
    q = {1.0: np.inf, np.inf: 1.0}.get(p, p / (p - 1.0) if 1.0 < p < np.inf else 1.0)
    assert np.linalg.norm(v, q) == pytest.approx(1.0, rel=1e-12)


# ---- shallow cuts


def ball(n: int, d: int, p: float, seed: int = 0) -> Any:
    """B, M = B L, L and the norms of M's columns, for an ellipsoid that contains the ball."""
    B = np.linalg.qr(np.random.default_rng(seed).standard_cauchy((n, d)))[0]
    L = 2.0 * np.eye(d) * n ** max(0.0, 0.5 - 1.0 / p)
    M = B @ L
    return B, M, L, np.array([np.linalg.norm(c, p) for c in M.T])


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0, np.inf])
def test_shallow_cuts(backend: Any, p: float) -> None:
    B, M, L, norms = ball(40, 3, p)
    there, here = both(backend, "shallow_cut", "shallow_cuts", B, M, L, norms, p, 200)
    for a, b in zip(there, here, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    _, M1, L1, norms1, steps = there
    assert 0 < steps < 200
    np.testing.assert_allclose(M1, B @ L1, atol=1e-10)
    assert norms1.max() <= 2.0 * (1.0 + 1e-9)
    # The ellipsoid still contains the ball.
    X = np.random.default_rng(1).standard_normal((300, 3))
    X /= np.linalg.norm(X @ B.T, p, axis=1)[:, None]
    assert np.linalg.norm(np.linalg.solve(L1, X.T), axis=0).max() <= 1.0 + 1e-9


def test_cuts_stop_where_they_are_told(backend: Any) -> None:
    B, M, L, norms = ball(40, 3, 1.0)
    for most in (0, 1, 2):
        there, here = both(backend, "shallow_cut", "shallow_cuts", B, M, L, norms, 1.0, most)
        assert there[-1] == here[-1] == most
        np.testing.assert_allclose(there[2], here[2], rtol=1e-10, atol=1e-12)
    rounded = both(backend, "shallow_cut", "shallow_cuts", B, 0.1 * M, L, 0.1 * norms, 1.0, 9)
    assert rounded[0][-1] == rounded[1][-1] == 0
    np.testing.assert_array_equal(rounded[0][2], L)


# ---- minimum ellipsoids


def points(n: int, q: int, seed: int = 0) -> Any:
    """Columns, weights, M^-1 and the variances, as `exchange_steps` takes them."""
    X = np.random.default_rng(seed).standard_normal((n, q))
    u = np.full(n, 1.0 / n)
    inverse = np.linalg.inv((X * u[:, None]).T @ X)
    return np.ascontiguousarray(X.T), u, inverse, np.einsum("ij,jk,ik->i", X, inverse, X)


@pytest.mark.parametrize(("n", "q", "steps"), [(140, 3, 8), (33, 2, 20), (5, 1, 9), (4, 4, 9)])
def test_exchange_steps(backend: Any, n: int, q: int, steps: int) -> None:
    X, u, inverse, omega = points(n, q)
    there, here = both(backend, "mvee", "exchange_steps", X, u, inverse, omega, 1e-3, steps)
    assert there[-1] == here[-1]
    for a, b in zip(there, here, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    _, u1, inverse1, omega1, taken = there
    assert u1.sum() == pytest.approx(1.0, rel=1e-9)
    assert (u1 >= 0.0).all()
    np.testing.assert_allclose(np.linalg.inv((X * u1) @ X.T), inverse1, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(np.einsum("ai,ab,bi->i", X, inverse1, X), omega1, rtol=1e-8)
    if taken < steps and q > 1:
        assert omega1.max() <= q * (1.0 + 1e-3)


def test_of_equal_points_either_may_be_chosen(backend: Any) -> None:
    X, u, inverse, omega = points(40, 2)
    X, u, omega = np.tile(X, 2), np.tile(u, 2) / 2.0, np.tile(omega, 2)
    there, here = both(backend, "mvee", "exchange_steps", X, u, inverse, omega, 1e-9, 3)
    again, _ = both(backend, "mvee", "exchange_steps", X, u, inverse, omega, 1e-9, 3)
    assert there[1].tobytes() == again[1].tobytes()  # whichever it is, it is so each time
    for v in (there, here):
        v[1] = v[1].reshape(2, 40).sum(axis=0)
    for a, b in zip(there, here, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)


def test_a_single_point(backend: Any) -> None:
    one = np.ones((1, 1)), np.ones(1), np.ones((1, 1)), np.ones(1)
    assert assert_twins(backend, "mvee", "exchange_steps", *one, 1e-9, 5)[-1] == 0
