"""What the simulator is taught: shuffles as a device does them, and errors where it would hang."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import cuda
from simulator import ORDERS, schedule

from lpgeom.kernels.cuda import launch, reductions

MASK = 0xFFFFFFFF


@cuda.jit
def shuffles(out):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    out[i, 0] = cuda.shfl_xor_sync(MASK, i, 5)
    out[i, 1] = cuda.shfl_down_sync(MASK, i, 30)
    out[i, 2] = cuda.shfl_sync(MASK, i, 3)


def test_shuffles(backend: Any) -> None:
    out = backend.put(np.zeros((64, 3), dtype=np.int64))
    launch.launch(shuffles, 64, out)
    i = np.arange(64)
    lane, first = i % 32, i - i % 32
    np.testing.assert_array_equal(backend.get(out)[:, 0], first + (lane ^ 5))
    down = np.where(lane + 30 < 32, lane + 30, lane)
    np.testing.assert_array_equal(backend.get(out)[:, 1], first + down)
    np.testing.assert_array_equal(backend.get(out)[:, 2], first + 3)


@cuda.jit
def reduce(x, out):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    out[i, 0] = reductions.group_sum(x[i], 4)
    out[i, 1] = reductions.warp_max(x[i])
    out[i, 2] = reductions.warp_min(x[i])


@pytest.mark.parametrize("ties", [False, True])
def test_reductions(backend: Any, ties: bool) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(-2, 3, 64).astype(float) if ties else rng.standard_normal(64)
    there = backend.put(np.zeros((64, 3)))
    launch.launch(reduce, 64, backend.put(x), there)
    out = backend.get(there)
    np.testing.assert_allclose(out[:, 0], np.repeat(x.reshape(16, 4).sum(axis=1), 4), rtol=1e-12)
    np.testing.assert_array_equal(out[:, 1], np.repeat(x.reshape(2, 32).max(axis=1), 32))
    np.testing.assert_array_equal(out[:, 2], np.repeat(x.reshape(2, 32).min(axis=1), 32))


@cuda.jit
def half_a_warp(out):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i % 32 < 16:
        out[i] = cuda.shfl_xor_sync(MASK, i, 1)


@cuda.jit
def some_lanes_more(out):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    for _ in range(1 + i % 2):
        out[i] = cuda.shfl_xor_sync(MASK, i, 1)


@cuda.jit
def one_thread_fails(out):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i == 40:
        out[out.size] = 1  # beyond the end
    cuda.syncthreads()


@cuda.jit
def a_warp_less(out):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i < 32:
        out[i] = cuda.shfl_xor_sync(MASK, i, 1)


@cuda.jit
def a_race(out):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    out[i] = out[(i + 1) % out.size] + 1  # which another thread writes


def test_a_warp_needs_no_other(backend: Any) -> None:
    out = backend.put(np.full(64, -1))
    launch.launch(a_warp_less, 64, out)
    np.testing.assert_array_equal(backend.get(out)[:32], np.arange(32) ^ 1)


def test_a_race_shows(backend: Any) -> None:
    if backend.name != "simulator":
        pytest.skip("undefined on a device")
    seen = set()
    for order in ORDERS:
        out = np.full(64, -1)
        with schedule(order):
            launch.launch(a_race, 64, out)
        seen.add(out.tobytes())
    assert len(seen) > 1


@pytest.mark.parametrize("kernel", [half_a_warp, some_lanes_more])
def test_a_shuffle_without_some_lanes_is_an_error(backend: Any, kernel: Any) -> None:
    if backend.name != "simulator":
        pytest.skip("undefined on a device")
    with pytest.raises(RuntimeError, match="lane"):
        launch.launch(kernel, 64, np.zeros(64, dtype=np.int64))


def test_an_error_in_one_thread_ends_the_others(backend: Any) -> None:
    if backend.name != "simulator":
        pytest.skip("undefined on a device")
    with pytest.raises(IndexError, match="tid=\\[40, 0, 0\\]"):
        launch.launch(one_thread_fails, 64, np.zeros(64, dtype=np.int64))


# ---- launches


@cuda.jit
def count(out):  # type: ignore[no-untyped-def]
    if cuda.grid(1) == 0:
        out[0] = cuda.blockDim.x
        out[1] = cuda.gridDim.x


@pytest.mark.parametrize(
    ("n", "lanes", "wanted"),
    [(1, 1, (32, 1)), (33, 1, (32, 2)), (2, 32, (32, 2)), (9, 32, (32, 3))],
)
def test_the_size_of_a_launch(backend: Any, n: int, lanes: int, wanted: Any) -> None:
    out = backend.put(np.zeros(2, dtype=np.int64))
    with launch.sizes(threads=32, blocks=3):
        launch.launch(count, n, out, lanes=lanes)
    assert tuple(backend.get(out)) == wanted


def test_nothing_is_launched_for_nothing(backend: Any) -> None:
    out = backend.put(np.zeros(2, dtype=np.int64))
    launch.launch(count, 0, out)
    assert not backend.get(out).any()


def test_sizes_are_checked_and_restored() -> None:
    before = launch._sizes.get()
    for bad in ({"threads": 48}, {"threads": 0}, {"threads": 1024}, {"blocks": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))), launch.sizes(**bad):
            pass
    with pytest.raises(KeyError), launch.sizes(threads=32):
        raise KeyError
    assert launch._sizes.get() == before


def test_a_numpy_array_is_not_sent_to_a_device() -> None:
    with pytest.raises(TypeError, match="on the device"):
        launch._on_device(np.zeros(3))


@pytest.mark.parametrize(("width", "lanes"), [(0, 1), (1, 1), (3, 4), (32, 32), (1000, 32)])
def test_lanes_for_a_row(width: int, lanes: int) -> None:
    assert launch.lanes_for(width) == lanes
