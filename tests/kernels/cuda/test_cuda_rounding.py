"""Rounding to levels: against the CPU's kernels, in rows narrower and wider than a warp."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import assert_twins

LEVELS = np.array([-1.0, -0.6, -0.3, -0.1, 0.1, 0.3, 0.6, 1.0])
CUTS = 0.5 * (LEVELS[1:] + LEVELS[:-1])
SHAPES = ((1, 1), (5, 7), (3, 40), (37, 33))


def data(n: int, d: int) -> Any:
    """(W, H, scales, group) of n rows; one row of zeros, and one scale of 0."""
    rng = np.random.default_rng(n + d)
    W, X = rng.standard_normal((n, d)), rng.standard_normal((2 * d, d))
    group = np.arange(d) // 8
    scales = rng.uniform(0.5, 2.0, (n, group[-1] + 1))
    if n > 2:
        W[1], scales[1] = 0.0, 0.0
    return W, X.T @ X / d, scales, group


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_scales_and_codes(backend: Any, n: int, d: int, dtype: Any) -> None:
    W, H, scales, group = data(n, d)
    W, h = W.astype(dtype), np.abs(H[: 1 + n % 2])
    shrinks = np.array([1.0, 0.8])
    found = assert_twins(
        backend, "rounding", "fit_scales", W, h, LEVELS, CUTS, shrinks, 2, np.ones(n)
    )
    assert (found[-1] >= 0.0).all()
    assert found[-1][W.any(axis=1)].all()
    codes = np.empty(W.shape, np.uint8)
    found = assert_twins(backend, "rounding", "nearest_codes", W, scales, group, CUTS, codes)
    wide = scales[:, group, None]
    off = np.abs(np.where(wide > 0.0, W[:, :, None] - wide * LEVELS, LEVELS))
    np.testing.assert_array_equal(np.take_along_axis(off, found[-1][..., None], 2)[..., 0],
                                  off.min(axis=2))  # fmt: skip


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_errors_fed_back(backend: Any, n: int, d: int) -> None:
    W, H, scales, group = data(n, d)
    R = np.triu(H / np.diag(H)[:, None], 1) + np.eye(d)
    out = np.zeros(W.shape, np.uint8), np.zeros(W.shape)
    assert_twins(backend, "rounding", "feed_back", W, R, scales, group, LEVELS, CUTS, *out,
                 atol=1e-12)  # fmt: skip


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_descent_over_codes(backend: Any, n: int, d: int) -> None:
    W, H, scales, group = data(n, d)
    codes = np.random.default_rng(0).integers(0, 8, W.shape).astype(np.uint8)
    G = (W - scales[:, group] * LEVELS[codes]) @ H
    changed = np.zeros(n, np.int64)
    found = assert_twins(
        backend, "rounding", "descend_codes", G, H, scales, group, LEVELS, CUTS, codes, changed,
        atol=1e-11,
    )  # fmt: skip
    exact = (W - scales[:, group] * LEVELS[found[-2]]) @ H
    np.testing.assert_allclose(found[0], exact, atol=1e-10)
    np.testing.assert_array_equal(found[-1] > 0, (found[-2] != codes).any(axis=1))


@pytest.mark.parametrize("group", [3, 32, 64])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_squares_of_casts(backend: Any, n: int, d: int, group: int) -> None:
    """Few levels, so that what is left of an entry is no matter of its last bits."""
    W = data(n, d)[0].astype(np.float32)
    scales = np.full((n, -(-d // group)), 0.7, np.float32)
    scales[:, -1] = 0.0
    wide = np.repeat(scales, group, axis=1)[:, :d]
    found = assert_twins(
        backend, "rounding", "add_cast_squares", W, scales, 1.0, group, np.ones(n), rtol=1e-5
    )
    off = W - wide * np.clip(np.rint(W / np.where(wide > 0.0, wide, 1.0)), -1.0, 1.0)
    np.testing.assert_allclose(found[-1], 1.0 + np.square(off).sum(axis=1), rtol=1e-5)
