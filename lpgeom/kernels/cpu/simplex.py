"""A quadratic over the simplex, by pairwise steps."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def pairwise_descent(H, b, w, tolerance, share, max_steps):  # type: ignore[no-untyped-def]
    """Minimise ``w^T H w - b^T w`` over w >= 0, sum w = 1, H positive semidefinite; w in place.

    The gradient is ``g = 2 H w - b``. Moving s from j to i changes the value by ``-s (g_j - g_i) +
    s^2 h``, ``h = H_ii + H_jj - 2 H_ij``: exact line search, cut at s = w_j. i has the least g, j
    of those with w_j > 0 the largest gain ``(g_j - g_i)^2 / h``. The gap ``sum w g - min g`` bounds
    what is left (convexity); O(n) a step.

    Stops at a gap of `tolerance`, or of `share` times ``1 - (b^T w - w^T H w)``. Returns the gap.
    """
    n = len(w)
    g = 2.0 * (H @ w) - b
    gap = np.inf
    for _ in range(max_steps):
        i = 0
        mean = 0.0
        linear = 0.0
        for a in range(n):
            if g[a] < g[i]:
                i = a
            mean += w[a] * g[a]
            linear += w[a] * b[a]
        gap = mean - g[i]
        # w^T H w = (mean + linear) / 2.
        if gap <= tolerance or gap <= share * (1.0 - 0.5 * (linear - mean)):
            break
        j = -1
        most = 0.0
        for a in range(n):
            slope = g[a] - g[i]
            if w[a] > 0.0 and slope > 0.0:
                # Four times what the best step along the pair gains.
                gain = slope * slope / max(H[i, i] + H[a, a] - 2.0 * H[i, a], 1e-300)
                if gain > most:
                    most = gain
                    j = a
        if j < 0:
            break
        slope = g[j] - g[i]
        bend = H[i, i] + H[j, j] - 2.0 * H[i, j]
        s = w[j]  # at most
        if bend > 0.0 and slope < 2.0 * bend * s:
            s = slope / (2.0 * bend)
        w[i] += s
        w[j] -= s
        for a in range(n):
            g[a] += 2.0 * s * (H[i, a] - H[j, a])
    return gap
