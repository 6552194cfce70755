"""No order of the threads, and no size of a launch, changes a bit of what a kernel computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from simulator import ORDERS, schedule

from lpgeom.kernels.cuda import launch, proximal, regression, rounding, rowwise, trellis

RNG = np.random.default_rng(0)
X = RNG.standard_normal((70, 3))
W = RNG.integers(-1, 2, 70).astype(float)
S = RNG.standard_normal((3, 5, 8))


def squares() -> list[Any]:
    out = np.zeros(70)
    rowwise.add_row_squares(X, out)
    return [out]


def packed() -> list[Any]:
    out = np.zeros_like(X)
    return [rowwise.pack_rows(X, W, 1.0, -1.0, out), out]


def packed_in_place() -> list[Any]:
    out = X.copy()
    return [rowwise.pack_rows(out, W, 1.0, -1.0, out), out]


def split() -> list[Any]:
    U, M = np.ones_like(X), np.empty_like(X)
    return [proximal.split_step(X, 0.5 * X, U, M, None, 0.2, 1.3, 0.9), U, M]


def factors() -> list[Any]:
    U, x = S @ S.transpose(0, 2, 1), np.ones((3, 5))
    regression.cholesky(U)
    regression.solve(U, x)
    return [np.triu(U), x]


def codes() -> list[Any]:
    levels, group = np.linspace(-1.0, 1.0, 4), np.zeros(3, np.int64)
    cuts = 0.5 * (levels[1:] + levels[:-1])
    H, scales, changed = X.T @ X, np.empty(70), np.empty(70, np.int64)
    found, errors, rows = np.empty(X.shape, np.uint8), np.empty_like(X), X.copy()
    rounding.fit_scales(X, np.ones((1, 3)), levels, cuts, np.array([1.0, 0.7]), 1, scales)
    scales = scales[:, None]
    rounding.feed_back(rows, np.triu(H / np.diag(H)), scales, group, levels, cuts, found, errors)
    G = (X - scales * levels[found]) @ H
    rounding.descend_codes(G, H, scales, group, levels, cuts, found, changed)
    return [scales, rows, errors, G, found, changed]


def paths() -> list[Any]:
    books = np.random.default_rng(1).standard_normal((9, 256)).astype(np.float32)
    widths, found = np.array([7, 3, 2], np.uint8), np.zeros((9, 2), np.uint8)
    sums, counts = np.zeros((2, 9, 256))
    weights = np.ones(3, np.float32)
    trellis.encode_rows(
        X[:9].astype(np.float32), widths, weights, books, found, np.ones(9), sums, counts
    )
    return [found, sums, counts]


ALL = [squares, packed, packed_in_place, split, factors, codes, paths]


@pytest.mark.parametrize("computed", ALL, ids=lambda f: f.__name__)
def test_no_order_of_the_threads_changes_a_bit(backend: Any, computed: Callable[[], Any]) -> None:
    if backend.name != "simulator":
        pytest.skip("a device has its own order")
    seen = set()
    for order in ORDERS:
        with schedule(order):
            seen.add(b"".join(np.asarray(a).tobytes() for a in computed()))
    assert len(seen) == 1


@pytest.mark.parametrize("computed", ALL, ids=lambda f: f.__name__)
def test_no_size_of_a_launch_changes_a_bit(backend: Any, computed: Callable[[], Any]) -> None:
    if backend.name != "simulator":
        pytest.skip("the arrays here are NumPy's")
    results = []
    for threads, blocks in ((32, 1), (96, 3)):
        with launch.sizes(threads=threads, blocks=blocks):
            results.append(computed())
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
