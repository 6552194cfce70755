"""The coders of tables that ours is compared with: bytes counted, errors bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.accuracy import coders


def _table(n: int, d: int, seed: int = 0) -> coders.Table:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@given(
    st.integers(1, 9), st.integers(1, 4), st.sampled_from([4, 8]), st.integers(2, 8),
    st.sampled_from([1e-3, 1.0, 1e3]),
)  # fmt: skip
def test_rounding_is_off_by_half_a_step_or_a_whole_one(
    n: int, groups: int, group: int, bits: int, scale: float
) -> None:
    table = scale * _table(n, groups * group, seed=n)
    given_before = table.copy()
    back, size = coders.rounded(table, bits, group)
    np.testing.assert_array_equal(table, given_before)
    x, y = (t.reshape(-1, group) for t in (table, back))
    largest = np.abs(x).max(axis=1, keepdims=True)
    step = largest / 2 ** (bits - 1)
    # Scales are rounded to float16: relatively, and near 0 to multiples of 2^-24.
    slack = largest * 2.0**-10 + 2.0 ** (bits - 26)
    furthest = x[np.arange(len(x)), np.abs(x).argmax(axis=1)]
    other_side = np.sign(x) != np.sign(furthest)[:, None]
    assert (np.abs(x - y) <= np.where(other_side, 1.0, 0.5) * step + slack).all()
    assert size == -(-bits * table.size // 8) + 2 * n * groups
    for row in y:
        assert len(np.unique(row)) <= 2**bits


def test_bytes_are_those_of_codes_and_scales() -> None:
    table = _table(100, 64)
    assert coders.cast(table)[1] == 12_800
    assert coders.rounded(table, 8)[1] == 6400 + 200
    assert coders.rounded(table, 4, 32)[1] == 3200 + 400
    assert coders.product_codes(table, 8)[1] == 800 + 2 * 256 * 64
    with pytest.raises(ValueError, match="groups of 48 do not divide rows of 64"):
        coders.rounded(table, 4, 48)


def test_zeros_stay_zeros() -> None:
    table = np.zeros((3, 8), np.float32)
    table[1] = 1.0
    for back in (coders.rounded(table, 4, 4)[0], coders.cast(table)[0]):
        np.testing.assert_array_equal(back, table)


def test_product_codes_are_means_of_few_kinds_of_rows() -> None:
    kinds = _table(7, 24)
    table = kinds[np.random.default_rng(1).integers(0, 7, 300)]
    back, _ = coders.product_codes(table, 5)  # 24 columns in parts of 5 and 4
    np.testing.assert_allclose(back, table, atol=2e-3)
    heavy = np.where((table == kinds[0]).all(axis=1), 1.0, 0.0)
    only, _ = coders.product_codes(table + 0.1 * _table(300, 24, 2), 5, heavy)
    at = heavy > 0
    noise = np.abs(only - table)
    assert noise[at].mean() < noise[~at].mean()


@pytest.mark.parametrize("bits", [8, 16])
def test_mixed_ranks_keep_to_their_numbers(bits: int) -> None:
    table = _table(400, 24)
    back, size = coders.mixed_ranks(table, 0.5, 1.0 / np.arange(1, 401), bits)
    # Numbers of the factors, a label a row, a scale a row.
    assert size <= 0.5 * table.size * 2 + 400 + 800
    error = np.linalg.norm(back - table, axis=1) / np.linalg.norm(table, axis=1)
    assert error[:20].max() < 0.02 < error[300:].mean()
    assert error.max() < 1.0 + 1e-5  # rank 0 is a row of zeros
