"""Line searches and interior-point steps: against the CPU's, step by step and to the optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import assert_twins, both


@pytest.mark.parametrize("q", [2.0, 3.5, 20.0])
@pytest.mark.parametrize(("m", "d"), [(3, 40), (1, 5), (5, 1), (0, 3)])
def test_line_search(backend: Any, m: int, d: int, q: float) -> None:
    rng = np.random.default_rng(0)
    r, along = rng.standard_normal((m, d)), rng.standard_normal((m, d))
    along += r  # downhill
    if m > 2:
        r[1] = 3.0 * along[1]  # a root of every term
        along[2] = -along[2]
    length = both(backend, "lines", "line_search", r, along, np.full(m, q), np.empty(m))
    there, here = length[0][-1], length[1][-1]
    np.testing.assert_allclose(there, here, rtol=3e-6)

    def value(t: Any) -> Any:
        return (np.abs(r - np.asarray(t)[:, None] * along) ** q).sum(axis=1)

    # From below, and close: a step longer by the promised share is past the minimum.
    assert (value(there) <= value(np.zeros(m)) * (1.0 + 1e-12)).all()
    around = there[:, None] * np.linspace(0.9, 1.1, 9)[None, :]
    for t in around.T:
        assert (value(there) <= value(t) * (1.0 + 1e-6 * q) + 1e-300).all()


def problems(m: int, d: int, k: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Q (d, k), residuals (m, d), weights (m, d): some 0, and one problem without any entry."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((d, k)))[0]
    w = rng.integers(0, 3, (m, d)).astype(float)
    if m > 2:
        w[2] = 0.0
    return Q, rng.standard_t(2.0, (m, d)), w


def products(Q: Any) -> Any:
    k = Q.shape[1]
    rows, columns = np.triu_indices(k)
    return Q[:, rows] * Q[:, columns]


@pytest.mark.parametrize("p", [1.0, 1.5])
@pytest.mark.parametrize(("m", "d", "k"), [(5, 37, 3), (1, 4, 1), (0, 3, 2)])
def test_every_step_of_the_method(backend: Any, m: int, d: int, k: int, p: float) -> None:
    """The two sides go on from the same numbers, so that each kernel is compared by itself."""
    Q, r, w = problems(m, d, k)

    def empty(*shape: int) -> Any:
        return np.zeros(shape)

    state = [empty(m, d) for _ in range(5)]
    near = {"rtol": 1e-11, "atol": 1e-13}
    u, v, zu, zv, y = assert_twins(backend, "regression", "begin", r, w, p, 0.5, *state, **near)[2:]
    x, gap, cost = empty(m, k), empty(m), empty(m)
    first = None
    for _ in range(3):
        room = [empty(m, d) for _ in range(6)]
        args = u, v, zu, zv, y, w, p, *room
        Du, Dv, gu, gv, W, Wh = assert_twins(backend, "regression", "predict", *args, **near)[6:]
        G = assert_twins(backend, "regression", "unpack", W @ products(Q), empty(m, k, k))[1]
        U = assert_twins(backend, "regression", "cholesky", G, **near)[0]
        dx = assert_twins(backend, "regression", "solve", U, -Wh @ Q, rtol=1e-9, atol=1e-12)[1]
        args = u, v, zu, zv, w, Du, Dv, gu, gv, W, Wh, dx @ Q.T, p
        changed = assert_twins(backend, "regression", "correct", *args, rtol=1e-9, atol=1e-12)
        gu, gv, Wh = changed[7], changed[8], changed[10]
        dx = assert_twins(backend, "regression", "solve", U, -Wh @ Q, rtol=1e-9, atol=1e-12)[1]
        args = u, v, zu, zv, y, w, Du, Dv, gu, gv, W, Wh, dx @ Q.T, p, x, dx, gap, cost
        changed = assert_twins(backend, "regression", "advance", *args, rtol=1e-9, atol=1e-12)
        u, v, zu, zv, y = changed[:5]
        x, gap, cost = changed[13], changed[15], changed[16]
        first = gap if first is None else first
        seen = w > 0.0
        assert (u[seen] > 0.0).all()
        assert (zv[seen] > 0.0).all()
        total = (w * np.abs(u - v) ** p).sum(axis=1)
        np.testing.assert_allclose(cost, total, rtol=1e-12, atol=1e-14)
    if m > 2:
        assert (gap[:2] < 0.5 * first[:2]).all()  # it does converge
        assert gap[2] == cost[2] == 0.0


@pytest.mark.parametrize(("m", "k"), [(3, 1), (2, 5), (1, 40)])
def test_factor_and_solve(backend: Any, m: int, k: int) -> None:
    """More columns than a warp has lanes; a matrix of full rank against NumPy."""
    rng = np.random.default_rng(4)
    S = rng.standard_normal((m, k, k + 3))
    G = S @ S.transpose(0, 2, 1)
    b = rng.standard_normal((m, k))
    U = assert_twins(backend, "regression", "cholesky", G, rtol=1e-9, atol=1e-11)[0]
    wanted = np.linalg.cholesky(G).transpose(0, 2, 1)
    np.testing.assert_allclose(np.triu(U), wanted, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(np.tril(U, -1), np.tril(G, -1))
    x = assert_twins(backend, "regression", "solve", U, b, rtol=1e-9, atol=1e-11)[1]
    np.testing.assert_allclose(x, np.linalg.solve(G, b[:, :, None])[:, :, 0], rtol=1e-6)


def test_a_direction_without_a_pivot(backend: Any) -> None:
    """Its component of the solution is 0, and the others are as without it."""
    G = np.diag([4.0, 0.0, 9.0])[None]
    G[0, 0, 2] = G[0, 2, 0] = 1.0
    U = assert_twins(backend, "regression", "cholesky", G)[0]
    assert U[0, 1, 1] == 1e150
    x = assert_twins(backend, "regression", "solve", U, np.array([[1.0, 5.0, 2.0]]))[1]
    assert abs(x[0, 1]) < 1e-100
    np.testing.assert_allclose(x[0, [0, 2]], np.linalg.solve([[4.0, 1.0], [1.0, 9.0]], [1.0, 2.0]))
