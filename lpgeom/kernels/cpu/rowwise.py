"""One sweep over a block of rows: norms, scalings, dot products, largest entry.

Every kernel is a double loop over a block that fits into cache; sums run in float64 whatever
the data's type. No fastmath: these numbers end up in certificates.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def absolute_maximum(block):  # type: ignore[no-untyped-def]
    """Largest |entry|, or NaN / inf as soon as a row holds one.

    The running sum ``s += x - x`` stays 0 exactly as long as every x is finite.
    """
    n, d = block.shape
    largest = 0.0
    for i in range(n):
        s = 0.0
        top = 0.0
        for j in range(d):
            x = block[i, j]
            s += x - x
            top = max(top, abs(x))
        if s != 0.0:
            return np.nan
        largest = max(largest, top)
    return largest


@njit(cache=True, nogil=True)
def row_squares(block, out):  # type: ignore[no-untyped-def]
    """``out[i] = sum_j block[i, j]^2``."""
    n, d = block.shape
    for i in range(n):
        s = 0.0
        for j in range(d):
            x = np.float64(block[i, j])
            s += x * x
        out[i] = s


@njit(cache=True, nogil=True)
def row_dots(left, right, out):  # type: ignore[no-untyped-def]
    """``out[i] = sum_j left[i, j] right[i, j]``."""
    n, d = left.shape
    for i in range(n):
        s = 0.0
        for j in range(d):
            s += np.float64(left[i, j]) * np.float64(right[i, j])
        out[i] = s


@njit(cache=True, nogil=True)
def scale_rows(block, factors, out):  # type: ignore[no-untyped-def]
    """``out[i, j] = factors[i] block[i, j]``, converted to out's type after the product."""
    n, d = block.shape
    for i in range(n):
        f = factors[i]
        for j in range(d):
            out[i, j] = f * block[i, j]


@njit(cache=True, nogil=True)
def count_invalid_weights(omega):  # type: ignore[no-untyped-def]
    """How many entries are negative, infinite or NaN."""
    bad = 0
    for i in range(omega.shape[0]):
        if not (omega[i] >= 0.0 and omega[i] < math.inf):
            bad += 1
    return bad
