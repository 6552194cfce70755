"""The words of `lpgeom.kernels.cpu.lanes` on a device, and the kernels told anew in them."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from numba import cuda

from lpgeom.kernels.cpu import lanes as words
from lpgeom.kernels.cuda.launch import WARP, row_lanes
from lpgeom.kernels.cuda.reductions import group_sum, warp_max, warp_min

LANES, lanes_for, least, most, added_by = WARP, row_lanes, warp_min, warp_max, group_sum


@cuda.jit(device=True)
def position(lanes):  # type: ignore[no-untyped-def]
    """As on the CPU."""
    thread = cuda.grid(1)
    return thread // lanes, cuda.gridsize(1) // lanes, thread % lanes


@cuda.jit(device=True)
def filled(n, lanes):  # type: ignore[no-untyped-def]
    """As on the CPU."""
    share = WARP // lanes
    return (n + share - 1) // share * share


@cuda.jit(device=True)
def added(x):  # type: ignore[no-untyped-def]
    """As on the CPU."""
    return group_sum(x, WARP)


@cuda.jit(device=True)
def sync():  # type: ignore[no-untyped-def]
    """As on the CPU."""
    cuda.syncwarp()


def told(kernel: Any, **more: Any) -> Any:
    """The text of a kernel for the CPU as a function in the words of a device.

    `more` are further names that it calls. A name of its own keeps numba's two caches apart, which
    lie with the text.
    """
    text = getattr(kernel, "py_func", kernel)  # itself where numba is switched off
    here = {word: globals()[word] for word in words.__all__}
    function = FunctionType(text.__code__, text.__globals__ | here | more, text.__name__)
    function.__doc__, function.__qualname__ = text.__doc__, f"{text.__name__}_on_device"
    return function
