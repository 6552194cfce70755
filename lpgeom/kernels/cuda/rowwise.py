"""One sweep over rows: norms, dot products, scalings. See `lpgeom.kernels.cpu.rowwise`.

A warp for each row, its lanes along the columns, so that a warp reads whole lines of memory; rows
narrower than a warp share one. Sums run in float64 whatever the data's type, and their order
depends on the width alone. No fastmath: these numbers end up in certificates.
"""

import math

import numpy as np

from lpgeom.kernels.cpu import rowwise as text
from lpgeom.kernels.cuda.arrays import array_module
from lpgeom.kernels.cuda.lanes import added_by, filled, lanes_for, position, told
from lpgeom.kernels.cuda.launch import by_rows


@by_rows()
def add_row_squares(block, out):  # type: ignore[no-untyped-def]
    """``out[i] += sum_j block[i, j]^2``."""
    n, d = block.shape
    lanes = lanes_for(d)
    row, rows, lane = position(lanes)
    for i in range(row, filled(n, lanes), rows):
        total = 0.0
        if i < n:
            for j in range(lane, d, lanes):
                x = np.float64(block[i, j])
                total += x * x
        total = added_by(total, lanes)
        if i < n and lane == 0:
            out[i] += total


@by_rows()
def add_row_dots(left, right, first, out):  # type: ignore[no-untyped-def]
    """``out[i] += sum_j left[i, j] right[i, first + j]``."""
    n, d = left.shape
    lanes = lanes_for(d)
    row, rows, lane = position(lanes)
    for i in range(row, filled(n, lanes), rows):
        total = 0.0
        if i < n:
            for j in range(lane, d, lanes):
                total += np.float64(left[i, j]) * np.float64(right[i, first + j])
        total = added_by(total, lanes)
        if i < n and lane == 0:
            out[i] += total


scale_rows = by_rows()(told(text.scale_rows))


@by_rows()
def _pack_rows(block, w, top, sign, place, out):  # type: ignore[no-untyped-def]
    n, d = block.shape
    lanes = lanes_for(d)
    row, rows, lane = position(lanes)
    for i in range(row, n, rows):
        if sign * w[i] > 0.0:
            f = out.dtype.type(math.sqrt(sign * w[i] / top))
            there = place[i] - 1
            for j in range(lane, d, lanes):
                out[there, j] = f * block[i, j]


def pack_rows(block, w, top, sign, out):  # type: ignore[no-untyped-def]
    """Rows whose weight has the given sign, times ``sqrt(|w_i| / top)``; returns how many.

    The rows keep their order: the place of each is the number of chosen ones up to it (a prefix
    sum). Where `out` is the block itself and some rows are left out, those that move are copied
    first, since no order of the threads would keep one row from another. Waits for the device.
    """
    xp = array_module()
    n, d = block.shape
    if n == 0:
        return 0
    place = xp.cumsum(sign * w > 0.0, dtype=np.int64)
    count = int(place[-1])
    if count == 0 or d == 0:
        return count
    if count < n and xp.may_share_memory(block, out):
        block = block.copy()
    _pack_rows(block, w, top, sign, place, out)
    return count
