"""Weights rounded to a few levels: against plain loops, and what may go wrong with numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpgeom.quantized.rounding import Rounding, packed, rounded, unpacked
from tests import reference

some = settings(deadline=None, derandomize=True, max_examples=40)
shapes = st.fixed_dictionaries(
    {
        "n": st.integers(1, 7),
        "d": st.integers(1, 37),
        "bits": st.integers(1, 8),
        "group": st.sampled_from([None, 1, 3, 8, 32, 100]),
        "seed": st.integers(0, 1000),
    }
)


def weights(n: int, d: int, seed: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(dtype)


@some
@given(shapes, st.sampled_from([1e-30, 1e-3, 1.0, 1e30]))
def test_every_entry_has_the_nearest_level(shape: dict, scale: float) -> None:
    W = weights(shape["n"], shape["d"], shape["seed"]) * np.float32(scale)
    before = W.copy()
    found = rounded(W, shape["bits"], shape["group"])
    assert np.array_equal(W, before)
    assert found.bits == shape["bits"]
    assert found.group == min(shape["group"] or shape["d"], shape["d"])
    assert found.levels.dtype == np.float32
    dense = found.dense()
    assert np.isfinite(dense).all()
    wanted = reference.nearest(W, found.scales, found.levels, found.group)
    np.testing.assert_allclose(np.abs(W - dense), np.abs(W - wanted), rtol=1e-9, atol=0.0)
    exact = W.astype(np.float64)
    assert np.linalg.norm(exact - dense) <= np.linalg.norm(exact) * 1.001
    assert found.nbytes == packed(found.codes, found.bits).nbytes + 2 * found.scales.size + (
        4 * found.levels.size
    )


@some
@given(shapes)
def test_packed_codes_are_the_bits_in_order(shape: dict) -> None:
    bits = shape["bits"]
    rng = np.random.default_rng(shape["seed"])
    codes = rng.integers(0, 2**bits, (shape["n"], shape["d"])).astype(np.uint8)
    found = packed(codes, bits)
    assert np.array_equal(found, reference.packed(codes, bits))
    assert np.array_equal(unpacked(found, bits, shape["d"]), codes)


def test_more_bits_and_smaller_groups_mean_less_error() -> None:
    W = weights(64, 256, 0)

    def error(bits: int, group: int | None) -> float:
        return float(np.linalg.norm(W - rounded(W, bits, group).dense()) / np.linalg.norm(W))

    by_bits = [error(bits, 64) for bits in range(1, 9)]
    assert all(after < 0.7 * before for before, after in pairwise(by_bits))
    assert error(4, 32) < error(4, 64) < error(4, 128) < error(4, None)
    # The quantiser of a normal distribution has .0095 of its variance at 4 bits.
    assert 0.09 < error(4, None) < 0.11


def test_better_than_a_scale_that_clips_nothing() -> None:
    W = weights(32, 128, 1)
    for bits in (2, 3, 4):
        steps = 2 ** (bits - 1) - 1
        blocks = W.reshape(32, 4, 32)
        scale = np.abs(blocks).max(2, keepdims=True) / steps
        usual = np.linalg.norm(blocks - scale * np.round(blocks / scale))
        assert np.linalg.norm(W - rounded(W, bits, 32).dense()) < 0.85 * usual


def test_rows_that_are_zero_or_constant() -> None:
    W = np.array([[0.0] * 9, [2.5] * 9, [-1.0] * 9], np.float32)
    for bits in (1, 3, 8):
        found = rounded(W, bits, 4).dense()
        assert not found[0].any()
        np.testing.assert_allclose(found, W, rtol=1e-3)
    assert not rounded(np.zeros((2, 3)), 4).dense().any()
    # Exact zeros among others stay zeros where a level is learned for them.
    sparse = np.where(np.random.default_rng(0).random((40, 50)) < 0.2, 1.0, 0.0)
    assert np.array_equal(rounded(sparse, 4).dense() != 0.0, sparse != 0.0)


def test_sizes_at_the_ends_of_float() -> None:
    subnormal = np.array([[1e-44, 0.0]], np.float32)
    assert 0.0 < rounded(subnormal, 8).dense()[0, 0] < 2e-44
    for dtype, sizes in ((np.float32, (3e38, 1e-34)), (np.float64, (1.7e308, 1e-300))):
        for size in sizes:
            W = np.array([[size, -size / 2, size / 4]], dtype)
            found = rounded(W, 8)
            assert np.isfinite(found.dense()).all()
            np.testing.assert_allclose(found.dense(), W, rtol=0.0, atol=0.01 * size)
    # Of rows of very different sizes the smaller come out with fewer digits, never as nonsense.
    W = weights(5, 16, 2, np.float64) * np.array([1e8, 1e5, 1.0, 1e-5, 1e-8])[:, None]
    found = rounded(W, 8).dense()
    assert np.isfinite(found).all()
    assert (np.linalg.norm(W - found, axis=1) <= 1.001 * np.linalg.norm(W, axis=1)).all()
    np.testing.assert_allclose(found[:2], W[:2], rtol=0.0, atol=0.02 * np.abs(W[:2]).max(1).max())


def test_columns_that_count_more_have_less_error() -> None:
    W = weights(200, 64, 3)
    h = np.where(np.arange(64) < 8, 100.0, 1.0)
    plain, for_them = rounded(W, 3), rounded(W, 3, column_weights=h)

    def cost(found: Rounding) -> float:
        return float((h * (W - found.dense()) ** 2).sum())

    assert cost(for_them) < 0.9 * cost(plain)
    zeros = rounded(W, 3, 32, column_weights=np.where(np.arange(64) < 32, 0.0, 1.0))
    assert np.isfinite(zeros.dense()).all()


def test_rows_that_weigh_most_are_in_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpgeom.quantized.rounding.SAMPLE", 512)
    W = weights(100, 32, 4)
    W[3, 5] = 1000.0
    found = rounded(W, 4)
    assert abs(found.dense()[3, 5] - 1000.0) < 10.0
    assert np.linalg.norm(np.delete(W - found.dense(), 3, 0)) < 0.3 * np.linalg.norm(
        np.delete(W, 3, 0)
    )


def test_the_order_in_memory_does_not_matter() -> None:
    W = weights(9, 20, 5)
    for other in (np.asfortranarray(W), np.repeat(W, 2, 1)[:, ::2], W.tolist()):
        assert np.array_equal(rounded(other, 4, 8).codes, rounded(W, 4, 8).codes)
    assert rounded(W.astype(np.float16), 4).levels.dtype == np.float32
    assert rounded(np.arange(12).reshape(3, 4), 4).levels.dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_entries_that_are_not_finite(bad: float) -> None:
    W = weights(3, 4, 0)
    W[1, 2] = bad
    with pytest.raises(ValueError, match=r"W\[1, 2\]"):
        rounded(W, 4)


def test_what_cannot_be_rounded() -> None:
    W = weights(3, 4, 0)
    for bits in (0, 9, -1):
        with pytest.raises(ValueError, match="bits must be"):
            rounded(W, bits)
    with pytest.raises(TypeError, match="bits"):
        rounded(W, 2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="group must be"):
        rounded(W, 4, 0)
    for other in (W[0], np.empty((0, 3)), np.empty((3, 0))):
        with pytest.raises(ValueError, match="W"):
            rounded(other, 4)
    with pytest.raises(TypeError, match="W"):
        rounded(W.astype(object), 4)
    with pytest.raises(ValueError, match="column_weights"):
        rounded(W, 4, column_weights=[1.0, 2.0])
    with pytest.raises(ValueError, match="column_weights"):
        rounded(W, 4, column_weights=[1.0, 2.0, -1.0, 0.0])
