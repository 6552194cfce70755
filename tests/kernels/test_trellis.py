"""Trellis codes against plain loops: what bits mean, and that none mean less error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpgeom.kernels.cpu.trellis import decode_rows, encode_rows
from lpgeom.quantized.layout import layout


def values(stream: str, widths: list[int], books: np.ndarray) -> list[float]:
    """What a row's bits stand for, one by one."""
    found, end = [], 0
    for b in widths:
        end += b
        found.append(float(books[b, int(stream[max(0, end - 8) : end], 2)]))
    return found


def encoded(
    x: np.ndarray, widths: list[int], weights: np.ndarray, books: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, and the sums and counts of each state."""
    codes = np.zeros((len(x), -(-sum(widths) // 8)), dtype=np.uint8)
    sums, counts = np.zeros((9, 256)), np.zeros((9, 256))
    encode_rows(
        x.astype(np.float32), np.array(widths, np.uint8), weights.astype(np.float32), books,
        codes, np.ones(len(x)), sums, counts,
    )  # fmt: skip
    return codes, sums, counts


def books_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((9, 256)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), widths=st.lists(st.integers(1, 8), min_size=1, max_size=5))
def test_no_bits_have_less_error(seed: int, widths: list[int]) -> None:
    while sum(widths) > 12:
        widths = widths[1:]
    rng = np.random.default_rng(seed)
    books, weights = books_of(seed), rng.random(len(widths))
    x = rng.standard_normal((3, len(widths)))
    codes, _, _ = encoded(x, widths, weights, books)
    for row, code in zip(x, codes, strict=True):
        stream = "".join(f"{byte:08b}" for byte in code)[: sum(widths)]
        off = [
            sum(
                w * (a - v) ** 2
                for w, a, v in zip(weights, row, values(bits, widths, books), strict=True)
            )
            for bits in (stream, *map("".join, itertools.product("01", repeat=sum(widths))))
        ]
        assert off[0] <= min(off) * (1 + 1e-5) + 1e-6


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 200])
def test_groups_are_decoded_as_they_were_encoded(rows: int) -> None:
    rng = np.random.default_rng(rows)
    books = books_of(1)
    bits = np.array([[8, 3, 0, 2, 1, 5], [1, 1, 1, 0, 0, 7], [0] * 6, [4, 4, 4, 4, 4, 4]], np.uint8)
    labels = rng.integers(0, 4, rows).astype(np.uint8)
    sizes, means = rng.random((4, 6)), rng.standard_normal((4, 6))
    lay = layout(bits, np.bincount(labels, minlength=4))
    codes, wanted = np.zeros(lay.nbytes, dtype=np.uint8), means[labels]
    x = rng.standard_normal((rows, 6))
    for c, order in enumerate(lay.order):
        own = np.flatnonzero(labels == c)
        if not order.size or not own.size:
            continue
        widths = bits[c, order].tolist()
        packed, _, _ = encoded(x[np.ix_(own, order)], widths, np.ones(order.size), books)
        start = lay.offsets[c]
        codes[start : start + packed.size] = packed.ravel()
        for i, code in zip(own, packed, strict=True):
            stream = "".join(f"{byte:08b}" for byte in code)
            wanted[i, order] += sizes[c, order] * values(stream, widths, books)
    found = np.empty((rows, 6))
    decode_rows(
        found, codes, lay.addresses(labels), labels, lay.byte, lay.shift, lay.mask, bits, books,
        sizes, means,
    )  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_sums_are_those_of_the_values_used() -> None:
    rng = np.random.default_rng(0)
    x, widths, weights = rng.standard_normal((70, 4)), [6, 3, 1, 1], rng.random(4)
    books = books_of(2)
    codes, sums, counts = encoded(x, widths, weights, books)
    wanted, times = np.zeros((9, 256)), np.zeros((9, 256))
    for row, code in zip(x.astype(np.float32), codes, strict=True):
        stream, end = "".join(f"{byte:08b}" for byte in code), 0
        for b, w, a in zip(widths, weights.astype(np.float32), row, strict=True):
            end += b
            state = int(stream[max(0, end - 8) : end], 2)
            wanted[b, state] += float(w) * float(a)
            times[b, state] += float(w)
    np.testing.assert_allclose(sums, wanted, rtol=1e-6)
    np.testing.assert_allclose(counts, times, rtol=1e-6)
