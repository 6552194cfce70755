"""Codes of a trellis, by a warp for each row. See `lpgeom.kernels.cpu.trellis`.

A row's 256 costs lie in shared memory, eight for each lane. Codes are the CPU's, bit for bit: costs
are the same float32 numbers, since no product is fused with the addition after it, and of equal
costs the first is chosen. Decoded values may differ by the rounding of one product, which a device
fuses with its addition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda, float32

from lpgeom.kernels.cpu import trellis as text
from lpgeom.kernels.cuda.arrays import array_module
from lpgeom.kernels.cuda.lanes import position, told
from lpgeom.kernels.cuda.launch import MOST_THREADS, WARP, by_rows
from lpgeom.kernels.cuda.reductions import _ALL

__all__ = ["STATES", "decode_rows", "encode_rows"]

STATES = text.STATES

WARPS = MOST_THREADS // WARP
"""Warps of a block at most."""

SCRATCH = 1 << 28
"""Bytes for the paths of rows that are searched at a time; b bits of a code take 2^(8 - b)."""

PARTS = 8
"""Parts of the rows whose values are summed apart, so that there are threads for a device."""

decode_rows = by_rows()(told(text.decode_rows))
_put = cuda.jit(device=True)(getattr(text._put, "py_func", text._put))


@cuda.jit(device=True)
def _least(cost, span, v, part, parts):  # type: ignore[no-untyped-def]
    """``min_h cost[h span + v]`` and the first h where it is met, for all lanes of that v.

    Lanes ``v % (WARP / parts) + part (WARP / parts)`` share the h; with one part, each is alone.
    """
    least, which = cost[part * span + v], part
    for h in range(part + parts, STATES // span, parts):
        if cost[h * span + v] < least:
            least, which = cost[h * span + v], h
    step = WARP // 2
    while step * parts >= WARP:
        other, there = cuda.shfl_xor_sync(_ALL, least, step), cuda.shfl_xor_sync(_ALL, which, step)
        if other < least or (other == least and there < which):
            least, which = other, there
        step //= 2
    return least, which


@by_rows(WARP)
def _search(x, widths, weights, books, codes, back):  # type: ignore[no-untyped-def]
    """The codes of `encode_rows`; `back` (m, steps) holds the choices on the way to each state."""
    m, r = x.shape
    row, rows, lane = position(WARP)
    costs = cuda.shared.array((WARPS, STATES), float32)
    bests = cuda.shared.array((WARPS, STATES), float32)
    cost, best = costs[cuda.threadIdx.x // WARP], bests[cuda.threadIdx.x // WARP]
    for i in range(row, m, rows):
        for s in range(lane, STATES, WARP):
            cost[s] = np.float32(0.0) if s == 0 else np.float32(np.inf)
        at = 0
        end = 0
        for t in range(r):
            cuda.syncwarp()
            b: Any = np.int64(widths[t])
            span = STATES >> b
            width = min(span, WARP)
            for v in range(lane % width, span, width):
                least, which = _least(cost, span, v, lane // width, WARP // width)
                if lane < width:
                    best[v] = least
                    back[i, at + v] = which
            cuda.syncwarp()
            value, weight = np.float32(x[i, t]), np.float32(weights[t])
            for s in range(lane, STATES, WARP):
                off = value - books[b, s]
                # The compiler fuses a product with the addition after it, but not this one.
                cost[s] = best[s >> b] + cuda.fma(weight * off, off, np.float32(0.0))
            at += span
            end += b
        cuda.syncwarp()
        _, state = _least(cost, 1, 0, lane, WARP)
        if lane == 0:
            for t in range(r - 1, -1, -1):
                b = np.int64(widths[t])
                _put(codes[i], end, b, state)
                at -= STATES >> b
                old = state >> b
                state = old | (np.int64(back[i, at + old]) << (8 - b))
                end -= b


@by_rows(1)
def _tally(tables, x, weights, ends, codes, row_weights):  # type: ignore[no-untyped-def]
    """``tables[k]`` (2, 256) gain what `encode_rows` says, of component k % r in part k // r."""
    m, r = x.shape
    first, stride, _ = position(1)
    for k in range(first, len(tables), stride):
        t = k % r
        byte = (ends[t] - 1) >> 3
        for i in range(k // r, m, len(tables) // r):
            pair = np.int64(codes[i, byte])
            if byte > 0:
                pair |= np.int64(codes[i, byte - 1]) << 8
            state = (pair >> (7 - ((ends[t] - 1) & 7))) & (STATES - 1)
            gain = weights[t] * row_weights[i]
            tables[k, 0, state] += gain * x[i, t]
            tables[k, 1, state] += gain


def encode_rows(
    x: Any, widths: Any, weights: Any, books: Any, codes: Any, row_weights: Any, sums: Any,
    counts: Any,
) -> None:  # fmt: skip
    """As on the CPU: the same codes, and sums and counts up to rounding.

    Rows are searched so many at a time that their paths fit into `SCRATCH` bytes. Sums run over
    the rows of a part in order, component by component. Waits for the device once, to ask how
    long a path is.
    """
    m, r = x.shape
    if m == 0 or r == 0:
        return
    xp = array_module()
    wide = widths.astype(np.int64)
    steps = int((STATES >> wide).sum())
    piece = max(1, min(m, SCRATCH // steps))
    back = xp.empty((piece, steps), dtype=np.uint8)
    for i in range(0, m, piece):
        _search(x[i : i + piece], widths, weights, books, codes[i : i + piece], back)
    tables = xp.zeros((PARTS * r, 2, STATES), dtype=np.float64)
    _tally(tables, x, weights, xp.cumsum(wide), codes, row_weights)
    own = (wide == xp.arange(len(sums))[:, None]).astype(np.float64)
    by_component = tables.reshape(PARTS, r, 2, STATES).sum(axis=0)
    sums += own @ by_component[:, 0]
    counts += own @ by_component[:, 1]
