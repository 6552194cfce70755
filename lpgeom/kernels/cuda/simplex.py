"""A quadratic over the simplex, by pairwise steps. See `lpgeom.kernels.cpu.simplex`.

A step is O(n) and the next one depends on it, so that one block makes all of them, with nothing to
wait for in between. Expected to gain where H is on the device anyway, from some thousand points on.
"""

from __future__ import annotations

import numpy as np
from numba import cuda

from lpgeom.kernels.cuda.arrays import array_module
from lpgeom.kernels.cuda.launch import WARP, launch_alone
from lpgeom.kernels.cuda.reductions import block_first_max, block_sum, group_sum
from lpgeom.kernels.scalar import pair_gain, pair_step


@cuda.jit(cache=True)
def _pairwise_descent(H, b, w, tolerance, share, max_steps, g, out):  # type: ignore[no-untyped-def]
    n = w.size
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    for a in range(thread // WARP, n, threads // WARP):
        dot = 0.0
        for c in range(thread % WARP, n, WARP):
            dot += H[a, c] * w[c]
        dot = group_sum(dot, WARP)
        if thread % WARP == 0:
            g[a] = 2.0 * dot - b[a]
    cuda.syncthreads()
    gap = np.inf
    for _ in range(max_steps):
        most, i = -np.inf, n
        mean, linear = 0.0, 0.0
        for a in range(thread, n, threads):
            if -g[a] > most:
                most, i = -g[a], a
            mean += w[a] * g[a]
            linear += w[a] * b[a]
        most, i = block_first_max(most, i)
        mean = block_sum(mean)
        linear = block_sum(linear)
        gap = mean + most
        # w^T H w = (mean + linear) / 2.
        if gap <= tolerance or gap <= share * (1.0 - 0.5 * (linear - mean)):
            break
        least = g[i]
        most, j = 0.0, n
        for a in range(thread, n, threads):
            slope = g[a] - least
            if w[a] > 0.0 and slope > 0.0:
                gain = pair_gain(slope, H[i, i] + H[a, a] - 2.0 * H[i, a])
                if gain > most:
                    most, j = gain, a
        most, j = block_first_max(most, j)
        if not most > 0.0:
            break
        s, whole = pair_step(g[j] - least, H[i, i] + H[j, j] - 2.0 * H[i, j], w[j])
        cuda.syncthreads()  # all threads have read w and g
        if thread == 0:
            w[i] += s
            w[j] = 0.0 if whole else w[j] - s
        for a in range(thread, n, threads):
            g[a] += 2.0 * s * (H[i, a] - H[j, a])
        cuda.syncthreads()
    if thread == 0:
        out[0] = gap


def pairwise_descent(H, b, w, tolerance, share, max_steps):  # type: ignore[no-untyped-def]
    """Minimise ``w^T H w - b^T w`` over w >= 0, sum w = 1, H positive semidefinite; w in place.

    Stops at a gap of `tolerance`, or of `share` times ``1 - (b^T w - w^T H w)``. Returns the gap,
    for which it waits.
    """
    xp = array_module()
    g, out = xp.empty_like(w), xp.empty(1, dtype=np.float64)
    launch_alone(_pairwise_descent, H, b, w, tolerance, share, max_steps, g, out)
    return float(out[0])
