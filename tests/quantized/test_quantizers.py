"""Quantisers of a normal number against known figures, and widths against every allocation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lpgeom.quantized.allocation import allocated_widths
from lpgeom.quantized.quantizers import (
    QUANTIZERS,
    TRELLIS,
    codebooks,
    dead_zone,
    distortion,
    lloyd_max,
)  # fmt: skip
from tests.kernels.test_trellis import encoded

MAX_1960 = {1: 0.3634, 2: 0.1175, 3: 0.03454, 4: 0.009497, 5: 0.002499}
"""Squared errors of the best 2, 4, 8, 16 and 32 levels, from Max's table."""


@pytest.mark.parametrize("bits", sorted(MAX_1960))
def test_levels_of_lloyd_and_max(bits: int) -> None:
    assert distortion(lloyd_max(bits)) == pytest.approx(MAX_1960[bits], rel=3e-3)
    np.testing.assert_allclose(lloyd_max(bits), -lloyd_max(bits)[::-1], atol=1e-8)


def test_two_bits_of_max() -> None:
    np.testing.assert_allclose(lloyd_max(2), [-1.510, -0.4528, 0.4528, 1.510], atol=5e-4)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_dead_zone_costs_more_than_the_best_levels(bits: int) -> None:
    assert distortion(lloyd_max(bits)) < distortion(dead_zone(bits)) < 2.7 * 0.25 ** (bits - 1)


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_trellis_leaves_what_is_stated(bits: int) -> None:
    x = np.random.default_rng(bits).standard_normal((400, 96)).astype(np.float32)
    books = codebooks("trellis")
    _, sums, counts = encoded(x, [bits] * 96, np.ones(96), books)
    value = books[bits].astype(np.float64)
    left = (np.square(x.astype(np.float64)).sum() - 2 * value @ sums[bits]
            + value**2 @ counts[bits]) / x.size  # fmt: skip
    assert left == pytest.approx(TRELLIS[bits], rel=0.05 if bits < 8 else 0.15)
    assert 0.25**bits < left
    if bits < 7:
        assert left < 0.85 * distortion(lloyd_max(bits))


@pytest.mark.parametrize("name", sorted(QUANTIZERS))
def test_errors_fall_by_width(name: str) -> None:
    errors = [1.0, *(QUANTIZERS[name](b)[1] for b in range(1, 9))]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("seed", range(6))
def test_no_allocation_within_the_bytes_used_is_better(seed: int) -> None:
    """Rows of whole bytes, every choice of widths enumerated."""
    rng = np.random.default_rng(seed)
    energy = rng.exponential(size=(2, 3)) ** 2 * 10
    counts = rng.integers(1, 9, 2)
    share, widths = np.array(TRELLIS), (1, 2, 4, 8)
    bits, price = allocated_widths(energy, counts, float(rng.integers(0, 40)), share, widths)
    used = counts @ -(-bits.sum(axis=1, dtype=int) // 8)
    cost = float((energy * share[bits]).sum())
    every = [np.array(b) for b in itertools.product((0, *widths), repeat=3)]
    pairs = [
        (counts @ [-(-a.sum() // 8), -(-b.sum() // 8)], (energy * share[[a, b]]).sum())
        for a, b in itertools.product(every, every)
    ]
    least = min(c for s, c in pairs if s <= used)
    # Whole bytes: what is left of a row's last byte may be of use to no step on the hull.
    gap = max(float(energy.max()) * 0.05, 0.15 * cost)
    assert least <= cost + 1e-12 <= least + gap
    assert min(c + price * s for s, c in pairs) >= cost + price * used - gap
