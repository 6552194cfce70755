"""Codes of a trellis: those of the CPU's kernel, and back to values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import assert_twins, both

from lpgeom.quantized.layout import layout

RNG = np.random.default_rng(0)
BOOKS = RNG.standard_normal((9, 256)).astype(np.float32)
WIDTHS = np.array([8, 7, 6, 5, 4, 3, 2, 1, 1], np.uint8)


def arguments(rows: int, widths: Any, books: Any) -> list[Any]:
    """What `encode_rows` takes, for rows that are drawn; sums and counts are not zero before."""
    x = RNG.standard_normal((rows, widths.size)).astype(np.float32)
    codes = np.zeros((rows, -(-int(widths.sum()) // 8)), np.uint8)
    weights = RNG.random(widths.size).astype(np.float32)
    return [x, widths, weights, books, codes, RNG.random(rows), *np.ones((2, 9, 256))]


@pytest.mark.parametrize("scratch", [1, 3000, 1 << 28])
@pytest.mark.parametrize("rows", [1, 3, 33])
def test_codes_are_the_same(
    backend: Any, monkeypatch: pytest.MonkeyPatch, rows: int, scratch: int
) -> None:
    monkeypatch.setattr(backend.kernels("trellis")[0], "SCRATCH", scratch)  # 519 bytes a row
    there, here = both(backend, "trellis", "encode_rows", *arguments(rows, WIDTHS, BOOKS))
    np.testing.assert_array_equal(there[4], here[4])
    assert there[4].any()
    for a, b in zip(there[-2:], here[-2:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        assert (a > 1.0).any()


@pytest.mark.parametrize("b", range(1, 9))
def test_of_equal_costs_the_first_is_chosen(backend: Any, b: int) -> None:
    """Values are few, and whole numbers apart: most states tie."""
    given = arguments(5, np.full(6, b, np.uint8), np.round(BOOKS))
    given[0], given[2] = np.round(given[0]), np.ones(6, np.float32)
    there, here = both(backend, "trellis", "encode_rows", *given)
    np.testing.assert_array_equal(there[4], here[4])


@pytest.mark.parametrize(("rows", "r"), [(0, 3), (2, 0)])
def test_nothing_to_encode(backend: Any, rows: int, r: int) -> None:
    there, here = both(backend, "trellis", "encode_rows", *arguments(rows, WIDTHS[:r], BOOKS))
    for a, b in zip(there, here, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rows", [1, 3, 33])
@pytest.mark.parametrize("r", [6, 40])
def test_values_of_several_groups(backend: Any, rows: int, r: int) -> None:
    bits = RNG.integers(0, 9, (3, r)).astype(np.uint8)
    bits[1] = 0
    labels = RNG.integers(0, 3, rows).astype(np.uint8)
    lay = layout(bits, np.bincount(labels, minlength=3))
    codes = RNG.integers(0, 256, lay.nbytes + 1).astype(np.uint8)
    sizes, means = RNG.random((3, r)), RNG.standard_normal((3, r))
    rtol = 0.0 if backend.name == "simulator" else 1e-12
    found = assert_twins(
        backend, "trellis", "decode_rows", np.full((rows, r), np.nan), codes,
        lay.addresses(labels), labels, lay.byte, lay.shift, lay.mask, bits, BOOKS, sizes, means,
        rtol=rtol,
    )  # fmt: skip
    assert np.isfinite(found[0]).all()
