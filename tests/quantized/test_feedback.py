"""Error feedback: against plain loops, never worse than nearest levels, and any moment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpgeom.quantized import feedback
from lpgeom.quantized.feedback import damped, fed_back
from lpgeom.quantized.rounding import rounded
from tests import reference

some = settings(deadline=None, derandomize=True, max_examples=30)


def problem(n: int, d: int, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A weight, and the moment of inputs in `rank` directions."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((4 * d, rank)) @ rng.standard_normal((rank, d))
    return rng.standard_normal((n, d)), X.T @ X / len(X)


def cost(W: np.ndarray, Q: np.ndarray, H: np.ndarray) -> float:
    return float(np.einsum("ij,jk,ik->", W - Q, H, W - Q))


@some
@given(
    st.integers(1, 6), st.integers(1, 40), st.integers(1, 8), st.sampled_from([None, 1, 4, 32]),
    st.integers(1, 40), st.integers(0, 999),
)  # fmt: skip
def test_never_worse_than_nearest(
    n: int, d: int, bits: int, group: int | None, rank: int, seed: int
) -> None:
    W, moment = problem(n, d, rank, seed)
    before = W.copy(), moment.copy()
    found = fed_back(W, bits, group, moment)
    assert np.array_equal(W, before[0])
    assert np.array_equal(moment, before[1])
    ridge = damped(moment, d)
    H, U = ridge.H, ridge.U
    assert np.array_equal(fed_back(W, bits, group, ridge).codes, found.codes)
    near = rounded(W, bits, group, column_weights=np.diag(H))
    assert cost(W, found.dense(), H) <= cost(W, near.dense(), H) * (1 + 1e-9)
    assert (found.codes < 2**bits).all()
    assert (found.bits, found.group) == (near.bits, near.group)
    order = feedback.order_of(H)
    np.testing.assert_allclose(U.T @ U @ H[np.ix_(order, order)], np.eye(d), atol=1e-8)
    assert np.array_equal(U, np.triu(U))


@pytest.mark.parametrize("block", [1, 3, 128])
def test_the_recursion_is_the_best_move_of_free_weights(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "BLOCK", block)
    W, moment = problem(5, 12, 30, 1)
    ridge = damped(moment, 12)
    H, U = ridge.H, ridge.U
    start = rounded(W, 3, 4)
    steps = feedback._Problem(W, H, start.levels, np.arange(12) // 4)
    scales = start.scales.astype(float)
    wanted = reference.fed_back(W, H, scales, start.levels, 4)
    codes = steps.recursion(scales, U)
    np.testing.assert_allclose(start.levels[codes] * np.repeat(scales, 4, 1), wanted, rtol=1e-9)


def test_every_step_costs_less() -> None:
    W, moment = problem(40, 96, 60, 2)
    ridge = damped(moment, 96)
    H, U = ridge.H, ridge.U
    start = rounded(W, 3, 32)
    steps = feedback._Problem(W, H, start.levels, np.arange(96) // 32)
    scales = start.scales.astype(float)
    nearest = steps.judged(scales, start.codes)
    recursion = steps.judged(scales, steps.recursion(scales, U))
    descended = steps.descended(recursion)
    solved = steps.rescaled(descended)
    assert recursion.costs.sum() < 0.7 * nearest.costs.sum()
    assert descended.costs.sum() < recursion.costs.sum()
    assert (descended.costs <= recursion.costs).all()
    assert solved.costs.sum() < descended.costs.sum()
    # No code alone does better.
    for i, j in ((0, 0), (7, 50), (39, 95)):
        for code in range(8):
            codes = descended.codes.copy()
            codes[i, j] = code
            assert steps.judged(scales, codes).costs[i] >= descended.costs[i] * (1 - 1e-9)
    np.testing.assert_allclose(
        descended.G, (W - np.repeat(scales, 32, 1) * start.levels[descended.codes]) @ H, atol=1e-9
    )


def test_inputs_that_depend_on_each_other() -> None:
    """Where inputs lie in few directions, few bits represent the outputs nearly exactly."""
    W, moment = problem(30, 64, 4, 3)
    X = np.linalg.cholesky(moment + 1e-9 * np.eye(64))

    def error(Q: np.ndarray) -> float:
        return float(np.linalg.norm((W - Q) @ X) / np.linalg.norm(W @ X))

    assert error(fed_back(W, 2, None, moment).dense()) < 0.2 * error(rounded(W, 2).dense())


def test_moments_of_all_sizes() -> None:
    W, moment = problem(4, 8, 8, 4)
    wanted = fed_back(W, 3, 4, moment)
    for size in (2.0**-900, 2.0**900):
        assert np.array_equal(fed_back(W, 3, 4, moment * size).codes, wanted.codes)
    nothing = fed_back(W, 3, 4, np.zeros((8, 8)))
    assert np.linalg.norm(W - nothing.dense()) <= np.linalg.norm(W - rounded(W, 3, 4).dense())
    dead = moment.copy()
    dead[2], dead[:, 2] = 0.0, 0.0
    assert np.isfinite(fed_back(W, 3, 4, dead).dense()).all()
    for scale in (1e30, 1e-30):
        found = fed_back((W * scale).astype(np.float32), 4, 4, moment).dense()
        assert np.linalg.norm(W * scale - found) < 0.3 * np.linalg.norm(W * scale)


def test_rows_of_zeros_stay_zeros() -> None:
    W, moment = problem(4, 8, 8, 5)
    W[1] = 0.0
    assert not fed_back(W, 3, 4, moment).dense()[1].any()
    assert not fed_back(np.zeros((2, 8)), 3, 4, moment).dense().any()


def test_what_is_no_moment() -> None:
    W, moment = problem(3, 4, 4, 6)
    skew = moment.copy()
    skew[0, 1] += 1.0
    for bad, words in (
        (moment[:3], "shape"), (skew, "symmetric"), (-moment, "positive semidefinite"),
        (moment * np.nan, "moment"), (np.diag([1.0, 1.0, 1.0, -0.9]), "positive semidefinite"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            fed_back(W, 3, None, bad)
    for damping in (0.0, -1.0, 1.0, np.nan):
        with pytest.raises(ValueError, match="damping"):
            fed_back(W, 3, None, moment, damping=damping)
