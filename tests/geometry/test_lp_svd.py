"""The lp-SVD: its inequality at adversarial x, the factors, degenerate and badly scaled rows."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lpgeom
from tests.problems import KINDS, fixed, matrix

few = settings(fixed, max_examples=25)
PS = (1.0, 1.3, 2.0, 3.0, 6.0, math.inf)
METHODS = ("lewis", "shallow-cut", "john")


def norm(A: Any, x: Any, p: float) -> float:
    y = np.abs(A @ x)
    top = float(y.max())
    if math.isinf(p) or top == 0.0:
        return top
    return top * float(((y / top) ** p).sum()) ** (1.0 / p)


def extremes(A: Any, f: Any, p: float, seed: int) -> tuple[float, float]:
    """Smallest and largest ``||A x||_p / ||D V^T x||`` found by optimising from many starts.

    In ``c = D V^T x`` the ratio is ``||U c||_p`` on the unit sphere: ascent by the generalised
    power method (convex, so monotone), descent by reweighting (p <= 2), and by shrinking random
    steps for any p.
    """
    rng = np.random.default_rng(seed)
    B, r = f.U, f.rank
    lengths = np.linalg.norm(B, axis=1)
    starts = [*np.eye(r), *rng.standard_normal((12, r))]
    starts += [B[i] for i in np.argsort(lengths)[-5:]]
    low, high = math.inf, 0.0
    for start in starts:
        for up in (True, False):
            c = start / np.linalg.norm(start)
            for _ in range(40):
                y = B @ c
                top = np.abs(y).max()
                if up:
                    if math.isinf(p):
                        g = B[np.abs(y).argmax()] * np.sign(y[np.abs(y).argmax()])
                    else:
                        g = B.T @ (np.sign(y) * (np.abs(y) / top) ** (p - 1.0))
                    if np.linalg.norm(g) == 0.0:
                        break
                    c = g / np.linalg.norm(g)
                elif p <= 2.0:
                    w = np.maximum(np.abs(y) / top, 1e-7) ** (p - 2.0)
                    c = np.linalg.eigh((B * w[:, None]).T @ B)[1][:, 0]
                else:
                    trial = c + 0.3 * rng.standard_normal(r) * rng.random() ** 4
                    trial /= np.linalg.norm(trial)
                    if norm(B, trial, p) < norm(B, c, p):
                        c = trial
                value = norm(B, c, p)
                low, high = min(low, value), max(high, value)
    return low, high


@pytest.mark.slow
@few
@given(
    st.sampled_from(KINDS),
    st.integers(2, 5),
    st.sampled_from(PS),
    st.sampled_from(METHODS),
    st.integers(0, 2**31),
)
def test_the_inequality_at_adversarial_x(
    kind: str, d: int, p: float, method: str, seed: int
) -> None:
    A = matrix(kind, 20, d, seed)
    before = A.copy()
    f = lpgeom.lp_svd(A, p, method)
    np.testing.assert_array_equal(A, before)
    r = int(np.linalg.matrix_rank(A))
    assert f.rank == r
    assert (f.U.shape, f.D.shape, f.V.shape) == ((len(A), r), (r,), (d, r))
    assert (np.diff(f.D) <= 0.0).all()
    assert (f.D > 0.0).all()
    np.testing.assert_allclose(f.V.T @ f.V, np.eye(r), atol=1e-12)
    np.testing.assert_allclose(f.U * f.D @ f.V.T, A, atol=1e-11 * np.abs(A).max())
    low, high = extremes(A, f, p, seed)
    assert low >= 1.0 - 1e-9
    assert high <= f.alpha * (1.0 + 1e-9)
    # In the user's coordinates too.
    rng = np.random.default_rng(seed)
    noise = 1e-12 * np.abs(A).max() * len(A)
    for x in rng.standard_normal((10, d)):
        gauge, value = float(np.linalg.norm(f.D * (f.V.T @ x))), norm(A, x, p)
        assert gauge <= value * (1.0 + 1e-9) + noise
        assert value <= f.alpha * gauge * (1.0 + 1e-9) + noise


@pytest.mark.parametrize("p", PS)
def test_lewis_factor(p: float) -> None:
    f = lpgeom.lp_svd(matrix("heavy", 60, 5, 3), p)
    exponent = 0.5 if math.isinf(p) else abs(1.0 / p - 0.5)
    assert f.alpha == pytest.approx(5.0**exponent, rel=1e-4)


def test_at_two_it_is_the_svd() -> None:
    A = matrix("gauss", 30, 5, 2)
    f = lpgeom.lp_svd(A, 2.0)
    _, s, Vt = np.linalg.svd(A, full_matrices=False)
    np.testing.assert_allclose(f.D, s, rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(f.V * Vt.T, axis=0)), 1.0, rtol=1e-9)
    np.testing.assert_allclose(f.U.T @ f.U, np.eye(5), atol=1e-9)
    assert f.alpha == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("p", PS)
def test_truncation_is_within_alpha_of_the_best_operator(p: float) -> None:
    """``||A - A_k|| <= alpha D_(k+1)``, and every B of rank k has ``||A - B|| >= D_(k+1)``."""
    A = matrix("gauss", 25, 5, 4)
    f = lpgeom.lp_svd(A, p)
    rng = np.random.default_rng(0)
    for k in (1, 3, 5):
        left, right = f.truncate(k)
        assert (left.shape, right.shape) == ((25, k), (k, 5))
        np.testing.assert_allclose(left @ right, A @ f.V[:, :k] @ f.V[:, :k].T, atol=1e-9)
        after = f.D[k] if k < 5 else 0.0
        rest = A - left @ right
        for x in rng.standard_normal((20, 5)):
            assert norm(rest, x / np.linalg.norm(x), p) <= f.alpha * after * (1.0 + 1e-9) + 1e-9
        if k < 5:
            B = rng.standard_normal((25, k)) @ rng.standard_normal((k, 5)) + left @ right * 0.0
            kernel = np.linalg.svd(np.linalg.svd(B)[2][:k] @ f.V[:, : k + 1])[2][-1]
            x = f.V[:, : k + 1] @ kernel
            assert norm(A - B, x, p) >= after * (1.0 - 1e-9)


def test_row_weights() -> None:
    A = matrix("gauss", 20, 3, 1)
    omega = np.ones(20)
    omega[:6] = 2.0
    weighted = lpgeom.lp_svd(A, 1.5, row_weights=omega)
    twice = lpgeom.lp_svd(np.concatenate([A, A[:6]]), 1.5)
    np.testing.assert_allclose(weighted.D, twice.D, rtol=1e-5)
    np.testing.assert_allclose(weighted.U * weighted.D @ weighted.V.T, A, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-140, 1e140])
@pytest.mark.parametrize("p", [1.0, 4.0, math.inf])
def test_scales(scale: float, p: float) -> None:
    A = matrix("heavy", 30, 4, 2)
    one, other = lpgeom.lp_svd(A, p), lpgeom.lp_svd(A * scale, p)
    np.testing.assert_allclose(other.D / scale, one.D, rtol=1e-6)
    np.testing.assert_allclose(other.U * (other.D / scale) @ other.V.T, A, atol=1e-9)


def test_nearly_singular_rows_say_so() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((50, 3)) * np.array([1.0, 1e-6, 1e-12])
    f = lpgeom.lp_svd(A, 1.0)
    assert f.rank == 3
    assert 3.0**0.5 <= f.alpha <= 2.0
    low, high = extremes(A, f, 1.0, 0)
    assert low >= 1.0 - 1e-6
    assert high <= f.alpha * (1.0 + 1e-6)


def test_records() -> None:
    A = matrix("gauss", 20, 4, 0)
    f = lpgeom.lp_svd(A, math.inf)
    text = json.dumps(f.to_dict(), allow_nan=False)
    assert json.loads(text)["p"] == "inf"
    assert json.loads(text)["D"] == f.D.tolist()
    assert "20 x 4" in f.summary()
    assert "rank=4" in repr(f)
    empty = lpgeom.lp_svd(np.zeros((3, 2)), 1.0)
    assert empty.rank == 0
    assert "none" in empty.summary()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda A: lpgeom.lp_svd(A, 0.5), ValueError, "^p must"),
        (lambda A: lpgeom.lp_svd(A, 1.0, "qr"), ValueError, "method"),
        (lambda A: lpgeom.lp_svd(A * np.nan, 1.0), ValueError, "finite"),
        (lambda A: lpgeom.lp_svd(A[0], 1.0), ValueError, "two-dimensional"),
        (lambda A: lpgeom.lp_svd(A, 1.0).truncate(0), ValueError, "^k must"),
        (lambda A: lpgeom.lp_svd(A, 1.0).truncate(5), ValueError, "at most the rank, 4"),
        (lambda A: lpgeom.lp_svd(A, 1.0).truncate(1.5), TypeError, "^k must"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(matrix("gauss", 20, 4, 0))
