"""Sums and extremes over the lanes of a warp, and the sum of a vector.

A butterfly of shuffles leaves the same bits in every lane (addition commutes), so that lanes can
take the same branch on a result. Sums are of fixed order: no atomics. Every lane of the
warp must call these together, idle ones with a neutral value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from lpgeom.kernels.cuda.arrays import array_module
from lpgeom.kernels.cuda.launch import WARP, launch

_ALL = 0xFFFFFFFF
"""The mask of a whole warp."""


@cuda.jit(device=True)
def group_sum(x, lanes):  # type: ignore[no-untyped-def]
    """The sum over each aligned group of `lanes` lanes (a power of two, at most a warp)."""
    step = lanes // 2
    while step > 0:
        x += cuda.shfl_xor_sync(_ALL, x, step)
        step //= 2
    return x


@cuda.jit(device=True)
def warp_max(x):  # type: ignore[no-untyped-def]
    step = WARP // 2
    while step > 0:
        x = max(x, cuda.shfl_xor_sync(_ALL, x, step))
        step //= 2
    return x


@cuda.jit(device=True)
def warp_min(x):  # type: ignore[no-untyped-def]
    step = WARP // 2
    while step > 0:
        x = min(x, cuda.shfl_xor_sync(_ALL, x, step))
        step //= 2
    return x


CHUNK = 1024
"""Entries of a vector that one warp sums."""


@cuda.jit(cache=True)
def _chunk_sums(x, out):  # type: ignore[no-untyped-def]
    """out[c] = sum of chunk c of x."""
    lane = cuda.threadIdx.x % WARP
    for c in range(cuda.grid(1) // WARP, out.size, cuda.gridsize(1) // WARP):
        sum_ = 0.0
        for i in range(c * CHUNK + lane, min((c + 1) * CHUNK, x.size), WARP):
            sum_ += x[i]
        sum_ = group_sum(sum_, WARP)
        if lane == 0:
            out[c] = sum_


def total(x: Any) -> float:
    """The sum of a float64 vector of the device, as a number; waits for it.

    By chunks of fixed size, and their sums again: the same bits for every launch.
    """
    xp = array_module()
    while x.size > 1:
        chunks = -(-x.size // CHUNK)
        out = xp.empty(chunks, dtype=np.float64)
        launch(_chunk_sums, chunks, x, out, lanes=WARP)
        x = out
    return float(x[0]) if x.size else 0.0
