"""Rows to the nearest of a few levels: scales, codes, errors fed back, and a descent over codes.

A weight is ``w ~ s L[c]`` with a scale s, ascending levels L, the cuts half way between them, and a
code c. A row's lanes share its columns; sums run in float64.
"""

import numpy as np
from numba import njit

from lpgeom.kernels.cpu.lanes import LANES, added, most, position, sync

SMALL = 1e-300
"""Rows whose largest entry, over the largest level, is at most this are taken for zeros."""

WHOLE = np.float32(1.5 * 2**23)
"""Added and taken away again, it leaves the nearest whole number; devices know no `numpy.rint`."""


@njit(cache=True, nogil=True)
def _nearest(x, cuts):  # type: ignore[no-untyped-def]
    """How many of the cuts, which ascend and are 2^b - 1, lie at x or below.

    With cuts half way between 2^b levels that is the nearest of these. Halving without a branch:
    the code is known bit by bit, the highest first.
    """
    code, step = 0, (cuts.size + 1) // 2
    while step > 0:
        code += step * (x >= cuts[code + step - 1])
        step //= 2
    return code


@njit(cache=True, nogil=True)
def fit_scales(W, H, levels, cuts, shrinks, steps, scales):  # type: ignore[no-untyped-def]
    """Scales of small error ``sum_j h_j (w_j - s L[c_j])^2``, codes being nearest.

    Row i has the weights of row ``i mod len(H)`` of H. For given codes the error is least at ``s =
    sum h w L[c] / sum h L[c]^2``, where it is ``sum h w^2`` less ``(sum h w L[c])^2 / sum h
    L[c]^2``; nearest codes at that s have no more. Of the starts ``t max|w| / max|L|``, one for
    each shrink t (t < 1 clips), the one of the least error takes so many steps of this kind. Rows
    of zeros have the scale 0.
    """
    n, d = W.shape
    reach = max(abs(levels[0]), abs(levels[levels.size - 1]))
    row, rows, lane = position(LANES)
    for i in range(row, n, rows):
        h = i % H.shape[0]
        top = 0.0
        for j in range(lane, d, LANES):
            top = max(top, abs(np.float64(W[i, j])))
        top = most(top) / reach
        best, most_gained = 0.0, 0.0
        tries = shrinks.size + steps if top > SMALL else 0
        for t in range(tries):
            s = shrinks[t] * top if t < shrinks.size else best
            if not s > 0.0:
                continue
            inverse = 1.0 / s
            above = below = 0.0
            for j in range(lane, d, LANES):
                w = np.float64(W[i, j])
                level = levels[_nearest(w * inverse, cuts)]
                above += H[h, j] * w * level
                below += H[h, j] * level * level
            above, below = added(above), added(below)
            if above > 0.0 and below > 0.0:
                gained = above * above / below
                if gained >= most_gained:
                    best, most_gained = above / below, gained
        if lane == 0:
            scales[i] = best


@njit(cache=True, nogil=True)
def nearest_codes(W, scales, group, cuts, codes):  # type: ignore[no-untyped-def]
    """``codes[i, j] = argmin_c |w_ij - s L[c]|`` with s the scale of column j's group in row i.

    At scale 0 that is every code, and the one of the level nearest to 0 is taken.
    """
    n, d = W.shape
    row, rows, lane = position(LANES)
    for i in range(row, n, rows):
        for j in range(lane, d, LANES):
            s = scales[i, group[j]]
            codes[i, j] = _nearest(np.float64(W[i, j]) / s if s > 0.0 else 0.0, cuts)


@njit(cache=True, nogil=True)
def feed_back(W, R, scales, group, levels, cuts, codes, errors):  # type: ignore[no-untyped-def]
    """Columns to nearest levels in turn, the error of each taken to those after it, in place.

    ``e_j = w_j - s L[c_j]`` and ``w_k -= e_j R[j, k]`` for k > j, R being upper triangular with 1
    on its diagonal; `errors` are the e_j, for columns of other blocks.
    """
    n, d = W.shape
    row, rows, lane = position(LANES)
    for i in range(row, n, rows):
        for j in range(d):
            w, s = W[i, j], scales[i, group[j]]
            code = _nearest(w / s if s > 0.0 else 0.0, cuts)
            error = w - s * levels[code]
            sync()
            for k in range(j + 1 + lane, d, LANES):
                W[i, k] -= error * R[j, k]
            if lane == 0:
                codes[i, j] = code
                errors[i, j] = error
            sync()


@njit(cache=True, nogil=True)
def descend_codes(G, H, scales, group, levels, cuts, codes, changed):  # type: ignore[no-untyped-def]
    """A sweep of coordinate descent on ``(w - q) H (w - q)^T`` over the codes of each row.

    With ``G = (W - Q) H``, kept up to date, the error is least in q_j alone at ``q_j + G_j /
    H_jj``, whose nearest level is taken. `changed` counts the codes of each row that are others
    than before.
    """
    n, d = codes.shape
    row, rows, lane = position(LANES)
    for i in range(row, n, rows):
        count = 0
        for j in range(d):
            s = scales[i, group[j]]
            old = codes[i, j]
            new = old
            if s > 0.0 and H[j, j] > 0.0:
                new = _nearest(levels[old] + G[i, j] / (H[j, j] * s), cuts)
            sync()
            if new != old:
                step = s * (levels[new] - levels[old])
                for k in range(lane, d, LANES):
                    G[i, k] -= step * H[j, k]
                if lane == 0:
                    codes[i, j] = new
                count += 1
            sync()
        if lane == 0:
            changed[i] = count


@njit(cache=True, nogil=True)
def add_cast_squares(block, scales, top, group, out):  # type: ignore[no-untyped-def]
    """``out[i] += sum_j (x - s rint(min(max(x / s, -top), top)))^2``, s the scale of x's group."""
    n, d = block.shape
    row, rows, lane = position(LANES)
    for i in range(row, n, rows):
        total = 0.0
        for g in range(scales.shape[1]):
            s = np.float32(scales[i, g])
            inverse = np.float32(1.0) / s if s > 0.0 else np.float32(0.0)
            for j in range(g * group + lane, min(d, (g + 1) * group), LANES):
                x = np.float32(block[i, j])
                step = min(max(x * inverse, np.float32(-top)), np.float32(top)) + WHOLE - WHOLE
                off = x - step * s
                total += np.float64(off * off)
        total = added(total)
        if lane == 0:
            out[i] += total
