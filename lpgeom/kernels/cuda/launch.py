"""How a kernel is launched: the number of threads, the stream, the arguments.

Every kernel of this room loops with a stride over its items, so that these sizes choose how fast it
runs, not what it computes: tests shrink them with `sizes`, and small inputs then cross the borders
of blocks and grids.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda

from lpgeom.kernels.cuda.arrays import array_module, is_simulated

WARP = 32
"""Threads that execute together, and that exchange registers by shuffles."""

THREADS, BLOCKS = 256, 2048
"""Threads of a block, and the most blocks of a grid: some eight for each multiprocessor of the
largest devices, which hides the latency of memory; what is left is done by striding."""

ALONE = 512
"""Threads of a block that works alone: more loads under way, and still 128 registers for each."""

_sizes: ContextVar[tuple[int, int, int]] = ContextVar("sizes", default=(THREADS, BLOCKS, ALONE))


@contextmanager
def sizes(threads: int = THREADS, blocks: int = BLOCKS) -> Iterator[None]:
    """Launch with other sizes in this context.

    Parameters
    ----------
    threads : int
        Threads of a block, also of one that works alone; a multiple of `WARP` up to `ALONE`.
    blocks : int
        The most blocks of a grid.
    """
    if threads % WARP or not WARP <= threads <= ALONE:
        raise ValueError(f"threads must be a multiple of {WARP} up to {ALONE}: {threads}")
    if blocks < 1:
        raise ValueError(f"blocks must be at least 1: {blocks}")
    token = _sizes.set((threads, blocks, threads))
    try:
        yield
    finally:
        _sizes.reset(token)


def block_threads() -> int:
    """Threads of a block: the `lanes` of a kernel that gives every item a block of its own."""
    return _sizes.get()[0]


def most_blocks() -> int:
    """The most blocks that `launch` starts."""
    return _sizes.get()[1]


def launch(kernel: Any, n_items: int, *args: Any, lanes: int = 1) -> None:
    """Queue a kernel on CuPy's current stream; returns at once.

    Parameters
    ----------
    kernel : numba.cuda dispatcher
    n_items : int
        How many items there are; with none, nothing is launched.
    *args
        Arrays of the device (CuPy's; NumPy's in the simulator) and numbers.
    lanes : int
        Threads that work on one item together.

    Raises
    ------
    TypeError
        For a NumPy array where there is a device: numba would copy it there and back unasked.
    """
    if n_items <= 0:
        return
    threads, most, _ = _sizes.get()
    _start(kernel, min(-(-n_items * lanes // threads), most), threads, args)


def launch_alone(kernel: Any, *args: Any) -> None:
    """Queue a kernel of one block, as `launch` does: for steps too short to pay for two launches.

    The block keeps to one multiprocessor, which draws some 2% of the device's bandwidth.
    """
    _start(kernel, 1, _sizes.get()[2], args)


def resident(*arrays: Any) -> tuple[Any, ...]:
    """The arrays as numba takes them, for kernels that are launched again and again.

    What numba needs to know of an array takes longer to find out than a launch.
    """
    return tuple(_simulated(a) if is_simulated() else _on_device(a) for a in arrays)


def _start(kernel: Any, grid: int, threads: int, args: tuple[Any, ...]) -> None:
    if is_simulated():
        kernel[grid, threads](*resident(*args))
    else:
        stream = int(array_module().cuda.get_current_stream().ptr)
        _configured(kernel, grid, threads, stream)(*resident(*args))


def lanes_for(width: int) -> int:
    """Threads for a row of `width` entries: a power of two, at most a warp.

    Narrow rows share a warp, so that no lane idles; that the number depends on the width alone
    keeps the order of a row's sum the same for every launch.
    """
    lanes = 1
    while lanes < min(width, WARP):
        lanes *= 2
    return lanes


@lru_cache(maxsize=1024)
def _configured(kernel: Any, grid: int, threads: int, stream: int) -> Any:
    # 0 and 1 both name the legacy default stream, 2 that of the thread.
    queue = cuda.legacy_default_stream() if stream in (0, 1) else cuda.external_stream(stream)
    return _quietly(kernel, grid, threads, queue)


def _quietly(kernel: Any, grid: int, threads: int, queue: Any) -> Any:
    """The configured kernel, without numba's warning of few blocks: where one starts, one is meant.

    By its words, since the class of the warning is not the same in all versions.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*low occupancy")
        return kernel[grid, threads, queue]


def _on_device(argument: Any) -> Any:
    """The array for numba, without the wait for its stream: the kernel is queued on that stream."""
    if isinstance(argument, np.ndarray):
        raise TypeError("expected an array on the device, got a NumPy array")
    known = hasattr(argument, "__cuda_ndarray__")
    if not known and hasattr(argument, "__cuda_array_interface__"):
        return cuda.as_cuda_array(argument, sync=False)
    return argument


def _simulated(argument: Any) -> Any:
    """The array itself: numba would run the kernel on a copy, and only of a contiguous one."""
    if isinstance(argument, np.ndarray):
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        return FakeCUDAArray(argument)
    return argument
