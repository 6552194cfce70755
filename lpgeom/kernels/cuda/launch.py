"""How a kernel is launched: the number of threads, the stream, the arguments.

Every kernel of this room loops with a stride over its items, so that these sizes choose how fast it
runs, not what it computes: tests shrink them with `sizes`, and small inputs then cross the borders
of blocks and grids.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any

import numpy as np
from numba import cuda

from lpgeom.kernels.cuda.arrays import array_module, is_simulated

WARP = 32
"""Threads that execute together, and that exchange registers by shuffles."""

THREADS, BLOCKS = 256, 2048
"""Threads of a block, and the most blocks of a grid: some eight for each multiprocessor of the
largest devices, which hides the latency of memory; what is left is done by striding."""

MOST_THREADS = 512
"""Threads of a block at most: there are 128 registers for each."""

_sizes: ContextVar[tuple[int, int]] = ContextVar("sizes", default=(THREADS, BLOCKS))


@contextmanager
def sizes(threads: int = THREADS, blocks: int = BLOCKS) -> Iterator[None]:
    """Launch with other sizes in this context.

    Parameters
    ----------
    threads : int
        Threads of a block; a multiple of `WARP` up to `MOST_THREADS`.
    blocks : int
        The most blocks of a grid.
    """
    if threads % WARP or not WARP <= threads <= MOST_THREADS:
        raise ValueError(f"threads must be a multiple of {WARP} up to {MOST_THREADS}: {threads}")
    if blocks < 1:
        raise ValueError(f"blocks must be at least 1: {blocks}")
    token = _sizes.set((threads, blocks))
    try:
        yield
    finally:
        _sizes.reset(token)


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
    threads, most = _sizes.get()
    grid = min(-(-n_items * lanes // threads), most)
    if is_simulated():
        kernel[grid, threads](*map(_simulated, args))
    else:
        stream = int(array_module().cuda.get_current_stream().ptr)
        _configured(kernel, grid, threads, stream)(*map(_on_device, args))


def by_rows(lanes: int | None = None) -> Callable[[Any], Any]:
    """A kernel over the rows of its first argument, as the function that launches it.

    So many threads work on each row together; if it is not said how many, the kernel takes
    `row_lanes` of the row's width. What is made has the kernel's arguments, and the kernel as its
    `kernel`.
    """

    def launcher(function: Any) -> Any:
        kernel = cuda.jit(cache=True)(function)

        @wraps(function)
        def launched(*args: Any) -> None:
            rows = args[0].shape
            launch(kernel, rows[0], *args, lanes=lanes or lanes_for(rows[1]))

        launched.kernel = kernel  # type: ignore[attr-defined]
        return launched

    return launcher


def lanes_for(width: int) -> int:
    """Threads for a row of `width` entries: a power of two, at most a warp.

    Narrow rows share a warp, so that no lane idles; that the number depends on the width alone
    keeps the order of a row's sum the same for every launch.
    """
    lanes = 1
    while lanes < min(width, WARP):
        lanes *= 2
    return lanes


row_lanes = cuda.jit(device=True)(lanes_for)


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
