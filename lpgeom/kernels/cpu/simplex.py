"""A quadratic over the simplex, by pairwise steps."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def pairwise_descent(H, b, w, tolerance, max_steps):  # type: ignore[no-untyped-def]
    """Minimise ``w^T H w - b^T w`` over w >= 0, sum w = 1, H positive semidefinite; w in place.

    The gradient is ``g = 2 H w - b``. Moving s from j (w_j > 0, g_j largest) to i (g_i least)
    changes the value by ``-s (g_j - g_i) + s^2 (H_ii + H_jj - 2 H_ij)``: exact line search, cut at
    s = w_j. The gap ``sum w g - min g`` bounds what is left (convexity); O(n) a step.

    Returns the gap.
    """
    n = len(w)
    g = 2.0 * (H @ w) - b
    gap = np.inf
    for _ in range(max_steps):
        i = 0
        j = -1
        mean = 0.0
        for a in range(n):
            if g[a] < g[i]:
                i = a
            if w[a] > 0.0:
                mean += w[a] * g[a]
                if j < 0 or g[a] > g[j]:
                    j = a
        gap = mean - g[i]
        if gap <= tolerance or j == i:
            break
        slope = g[j] - g[i]
        bend = H[i, i] + H[j, j] - 2.0 * H[i, j]
        s = w[j]
        whole = True
        if bend > 0.0 and slope < 2.0 * bend * s:
            s = slope / (2.0 * bend)
            whole = False
        w[i] += s
        w[j] = 0.0 if whole else w[j] - s
        for a in range(n):
            g[a] += 2.0 * s * (H[a, i] - H[a, j])
    return gap
