"""The step that minimises a sum of q-th powers along a line. See `lpgeom.kernels.cpu.lines`.

A warp for each line, its lanes along the entries; expected to gain with some thousand lines.
"""

from __future__ import annotations

from numba import cuda

from lpgeom.kernels.cuda.launch import WARP, by_rows
from lpgeom.kernels.cuda.reductions import group_sum, warp_max
from lpgeom.kernels.scalar import DOUBLINGS, LINE_STEPS, line_narrow, line_newton, line_terms


@cuda.jit(device=True)
def _slope(r, along, i, q, t):  # type: ignore[no-untyped-def]
    """As on the CPU, for line i; the same in all lanes."""
    lane = cuda.threadIdx.x % WARP
    top = 0.0
    for j in range(lane, r.shape[1], WARP):
        top = max(top, abs(r[i, j] - t * along[i, j]))
    top = warp_max(top)
    if top == 0.0:
        return 0.0, 0.0
    first, second = 0.0, 0.0
    for j in range(lane, r.shape[1], WARP):
        f, s = line_terms((r[i, j] - t * along[i, j]) / top, along[i, j], q)
        first += f
        second += s
    first = group_sum(first, WARP)
    second = group_sum(second, WARP)
    return first, line_newton(top, first, second, q)


@by_rows(WARP)
def line_search(r, along, q, length):  # type: ignore[no-untyped-def]
    """length[i] = argmin over t >= 0 of ``sum_j |r_ij - t along_ij|^q_i`` (q >= 2), from below.

    From below: a step too short never raises the sum.
    """
    for i in range(cuda.grid(1) // WARP, r.shape[0], cuda.gridsize(1) // WARP):
        low, high = 0.0, 1.0
        for _ in range(DOUBLINGS):
            first, _step = _slope(r, along, i, q[i], high)
            if not first > 0.0:
                break
            low, high = high, 2.0 * high
        t = low
        for turn in range(LINE_STEPS):
            first, step = _slope(r, along, i, q[i], t)
            t, low, high, done = line_narrow(t, low, high, first, step, turn)
            if done:
                break
        if cuda.threadIdx.x % WARP == 0:
            length[i] = low
