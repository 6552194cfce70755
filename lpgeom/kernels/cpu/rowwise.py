"""One sweep over a block of rows: norms, dot products, scalings.

Every kernel is a double loop over a block that fits into cache; sums run in float64 whatever
the data's type. No fastmath: these numbers end up in certificates.
"""

import math

import numpy as np
from numba import njit

from lpgeom.kernels.cpu.lanes import lanes_for, position


@njit(cache=True, nogil=True)
def add_row_squares(block, out):  # type: ignore[no-untyped-def]
    """``out[i] += sum_j block[i, j]^2``, in four running sums.

    One running sum would wait for each addition; four let the processor overlap them.
    """
    n, d = block.shape
    for i in range(n):
        s0 = s1 = s2 = s3 = 0.0
        whole = d - d % 4
        for j in range(0, whole, 4):
            x0 = np.float64(block[i, j])
            x1 = np.float64(block[i, j + 1])
            x2 = np.float64(block[i, j + 2])
            x3 = np.float64(block[i, j + 3])
            s0 += x0 * x0
            s1 += x1 * x1
            s2 += x2 * x2
            s3 += x3 * x3
        for j in range(whole, d):
            x0 = np.float64(block[i, j])
            s0 += x0 * x0
        out[i] += (s0 + s1) + (s2 + s3)


@njit(cache=True, nogil=True)
def add_row_dots(left, right, first, out):  # type: ignore[no-untyped-def]
    """``out[i] += sum_j left[i, j] right[i, first + j]``."""
    n, d = left.shape
    for i in range(n):
        s0 = s1 = 0.0
        whole = d - d % 2
        for j in range(0, whole, 2):
            s0 += np.float64(left[i, j]) * np.float64(right[i, first + j])
            s1 += np.float64(left[i, j + 1]) * np.float64(right[i, first + j + 1])
        if whole < d:
            s0 += np.float64(left[i, whole]) * np.float64(right[i, first + whole])
        out[i] += s0 + s1


@njit(cache=True, nogil=True)
def scale_rows(block, factors, out):  # type: ignore[no-untyped-def]
    """``out[i, j] = factors[i] block[i, j]``, converted to out's type after the product."""
    n, d = block.shape
    lanes = lanes_for(d)
    row, rows, lane = position(lanes)
    for i in range(row, n, rows):
        f = factors[i]
        for j in range(lane, d, lanes):
            out[i, j] = f * block[i, j]


@njit(cache=True, nogil=True)
def pack_rows(block, w, top, sign, out):  # type: ignore[no-untyped-def]
    """Rows whose weight has the given sign, times ``sqrt(|w_i| / top)``; returns how many.

    ``sum_i w_i b_i b_i^T = top (P^T P - N^T N)`` with P the rows packed for sign +1 and N those for
    sign -1: each a symmetric rank update, together no more work than one.
    """
    n, d = block.shape
    count = 0
    for i in range(n):
        if sign * w[i] > 0.0:
            f = out.dtype.type(math.sqrt(sign * w[i] / top))
            for j in range(d):
                out[count, j] = f * block[i, j]
            count += 1
    return count
