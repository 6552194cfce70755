"""Codes of a trellis: the path of least error through a row's components, and back to values.

A row's components t = 1, ..., r take b_t bits each, most significant first, one after the other.
The value of a component is the entry of the codebook of its width at the byte that ends with its
last bit: its own bits, and as many of those before as the byte has room for (at the row's start:
zeros). At 8 bits that is a scalar quantiser with a codebook of 256; below, the bits of the
components before choose among 2^(8 - b) quantisers of 2^b values, and the choice is part of the
search (trellis-coded quantisation: Marcellin and Fischer, IEEE Trans. Commun. 38(1), 1990).
"""

from typing import Any

import numpy as np
from numba import njit

from lpgeom.kernels.cpu.lanes import lanes_for, position

__all__ = ["STATES", "decode_rows", "encode_rows"]

STATES = 256
"""States of the trellis: the values of the byte that is looked up."""

SIDE = 64
"""Rows that are searched side by side, so that inner loops are long."""


@njit(cache=True, nogil=True)
def _least(cost, span, choices, best, which):  # type: ignore[no-untyped-def]
    """``best[v] = min_h cost[h span + v]`` over h < choices, and the first h where it is met."""
    for v in range(span):
        best[v] = cost[v]
        which[v] = 0
    for h in range(1, choices):
        other = cost[h * span : (h + 1) * span]
        mark = np.uint8(h)
        for v in range(span):
            less = other[v] < best[v]
            best[v] = other[v] if less else best[v]
            which[v] = mark if less else which[v]


@njit(cache=True, nogil=True)
def _grown(best, x, book, weight, choices, side, cost):  # type: ignore[no-untyped-def]
    """``cost[s] = best[s // choices] + weight (x - book[s])^2``, for each of the rows."""
    for s in range(STATES):
        u = s // choices
        before = best[u * side : (u + 1) * side]
        value = book[s]
        out = cost[s * side : (s + 1) * side]
        for i in range(side):
            off = x[i] - value
            out[i] = before[i] + weight * off * off


@njit(cache=True, nogil=True)
def _put(code, end, b, state):  # type: ignore[no-untyped-def]
    """The last b bits of `state` or-ed into a row's codes, so that they end before bit `end`."""
    byte = (end - 1) >> 3
    new = (state & ((1 << b) - 1)) << (7 - ((end - 1) & 7))
    code[byte] |= np.uint8(new & 255)
    if new > 255:
        code[byte - 1] |= np.uint8(new >> 8)


@njit(cache=True, nogil=True)
def encode_rows(x, widths, weights, books, codes, row_weights, sums, counts):  # type: ignore[no-untyped-def]
    """Codes that minimise ``sum_t weights[t] (x[i, t] - value_t)^2`` for every row i: Viterbi.

    The state after component t is the byte s that ends there. One with b bits comes to s from the
    2^b states whose last 8 - b bits are the first of s, ``(s >> b) + h 2^(8-b)``: the least of
    them does not depend on the bits that are new. So a step is 256 comparisons and 256 additions,
    whatever b is. Bits are or-ed into `codes` (m, stride), zero before. `sums` and `counts` (9,
    256) gain ``weights[t] row_weights[i]`` times x, and times 1, where a value is used: their
    quotient is the centroid of Lloyd's iteration.
    """
    m, r = x.shape
    side = SIDE
    steps = 0
    bits = 0
    for t in range(r):
        b: Any = np.int64(widths[t])
        steps += STATES >> b
        bits += b
    back = np.empty(steps * side, dtype=np.uint8)
    cost = np.empty(STATES * side, dtype=np.float32)
    after = np.empty(STATES * side, dtype=np.float32)
    best = np.empty(STATES * side, dtype=np.float32)
    column = np.empty(side, dtype=np.float32)
    states = np.empty(side, dtype=np.int64)
    for first in range(0, m, side):
        last = min(side, m - first) - 1
        cost[:] = np.float32(np.inf)
        cost[:side] = np.float32(0.0)
        at = 0
        for t in range(r):
            b = np.int64(widths[t])
            choices = 1 << b
            span = (STATES >> b) * side
            for i in range(side):
                column[i] = x[first + min(i, last), t]
            _least(cost, span, choices, best, back[at : at + span])
            _grown(best, column, books[b], np.float32(weights[t]), choices, side, after)
            cost, after = after, cost
            at += span
        states[:] = 0
        for s in range(1, STATES):
            for i in range(last + 1):
                if cost[s * side + i] < cost[states[i] * side + i]:
                    states[i] = s
        # Component by component: the rows' ways back lie near each other.
        end = bits
        for t in range(r - 1, -1, -1):
            b = np.int64(widths[t])
            at -= (STATES >> b) * side
            for i in range(last + 1):
                state = states[i]
                row = first + i
                gain = weights[t] * row_weights[row]
                sums[b, state] += gain * x[row, t]
                counts[b, state] += gain
                _put(codes[row], end, b, state)
                old = state >> b
                states[i] = old | (np.int64(back[at + old * side + i]) << (8 - b))
            end -= b


@njit(cache=True, nogil=True)
def decode_rows(out, codes, address, labels, byte, shift, mask, widths, books, sizes, means):  # type: ignore[no-untyped-def]
    """``out[i, j] = means[c, j] + sizes[c, j] books[widths[c, j], s]`` with ``c = labels[i]``.

    s are the bits under ``mask[c, j]`` of the two bytes that end at ``address[i] + byte[c, j]``,
    moved down by ``shift[c, j]``. Components of width 0 are their mean.
    """
    m, r = out.shape
    lanes = lanes_for(r)
    row, rows, lane = position(lanes)
    for i in range(row, m, rows):
        c = labels[i]
        for j in range(lane, r, lanes):
            value = means[c, j]
            b = widths[c, j]
            if b > 0:
                at = address[i] + byte[c, j]
                pair = np.int64(codes[at])
                if at > 0:
                    pair |= np.int64(codes[at - 1]) << 8
                value += sizes[c, j] * books[b, (pair >> shift[c, j]) & mask[c, j]]
            out[i, j] = value
