"""Steps of the ascent of `lpgeom.kernels.cpu.mvee` on the device; see there for the formulas.

No fastmath: the variances decide which points are dropped for good.

A step reads all points once, n q numbers, and every decision of it is taken on the device. Up to
`FEW` numbers one block makes all steps in one launch; for more, a step is two launches, a block
that decides and a grid that updates the points, and the host asks every `ROUND` steps whether it
is over. Expected to gain from some 10^6 numbers on: it takes 0.2 ms to queue a step's launches.
"""

from __future__ import annotations

import numpy as np
from numba import cuda

from lpgeom.kernels.cuda.arrays import array_module
from lpgeom.kernels.cuda.launch import (
    WARP,
    block_threads,
    launch,
    launch_alone,
    most_blocks,
    resident,
)
from lpgeom.kernels.cuda.reductions import block_first_max, group_sum
from lpgeom.kernels.scalar import exchange_factors, exchange_length

FEW = 1 << 20
"""Numbers that one multiprocessor reads from the cache in the time of two launches."""

ROUND = 64


@cuda.jit(device=True)
def _decide(far, far_at, near, near_at, u, q, tolerance):  # type: ignore[no-untyped-def]
    """Whether to go on, the point, its omega, the step and the least step."""
    above = far / q - 1.0
    below = 1.0 - near / q
    towards = above >= below
    j = far_at if towards else near_at
    w = far if towards else near
    if above <= tolerance and below <= tolerance:
        return False, j, w, 0.0, 0.0
    s, lowest = exchange_length(w, u[j], towards, q)
    # Else a single point is left: nothing to exchange.
    return -np.inf < s < 1.0, j, w, s, lowest


@cuda.jit(device=True)
def _exchange(XT, inverse, j, c, grow, z):  # type: ignore[no-untyped-def]
    """``z = M^-1 x_j`` and the new M^-1, by one block."""
    q = XT.shape[0]
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    for a in range(thread // WARP, q, threads // WARP):
        dot = 0.0
        for b in range(thread % WARP, q, WARP):
            dot += inverse[a, b] * XT[b, j]
        dot = group_sum(dot, WARP)
        if thread % WARP == 0:
            z[a] = dot
    cuda.syncthreads()
    for a in range(thread // WARP, q, threads // WARP):
        for b in range(thread % WARP, q, WARP):
            inverse[a, b] = grow * (inverse[a, b] - c * z[a] * z[b])


@cuda.jit(device=True)
def _move(XT, u, omega, z, j, s, lowest, c, grow, first, step):  # type: ignore[no-untyped-def]
    """The new u and omega of the points first, first + step, ..."""
    q, n = XT.shape
    for i in range(first, n, step):
        dot = 0.0
        for b in range(q):
            dot += XT[b, i] * z[b]
        omega[i] = grow * (omega[i] - c * dot * dot)
        weight = u[i] * (1.0 - s)
        if i == j:
            weight = 0.0 if s <= lowest else max(weight + s, 0.0)
        u[i] = weight


@cuda.jit(device=True)
def _extremes(u, omega, first, step):  # type: ignore[no-untyped-def]
    """The largest omega of those points, minus the least on the support, and where; by one block.

    Of equal ones the first, for any number of threads and blocks.
    """
    n = u.size
    far, far_at = -np.inf, n
    near, near_at = -np.inf, n
    for i in range(first, n, step):
        if omega[i] > far:
            far, far_at = omega[i], i
        if u[i] > 0.0 and -omega[i] > near:
            near, near_at = -omega[i], i
    far, far_at = block_first_max(far, far_at)
    near, near_at = block_first_max(near, near_at)
    return far, far_at, near, near_at


@cuda.jit(cache=True)
def _all_steps(XT, u, inverse, omega, tolerance, max_steps, z, state):  # type: ignore[no-untyped-def]
    q = XT.shape[0]
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    steps = 0
    while steps < max_steps:
        far, far_at, near, near_at = _extremes(u, omega, thread, threads)
        go, j, w, s, lowest = _decide(far, far_at, -near, near_at, u, q, tolerance)
        if not go:
            break
        c, grow = exchange_factors(s, w)
        _exchange(XT, inverse, j, c, grow, z)
        cuda.syncthreads()  # all threads have read u[j], and z is there
        _move(XT, u, omega, z, j, s, lowest, c, grow, thread, threads)
        cuda.syncthreads()
        steps += 1
    if thread == 0:
        state[0] = steps


@cuda.jit(cache=True)
def _find_extremes(u, omega, values, places):  # type: ignore[no-untyped-def]
    far, far_at, near, near_at = _extremes(u, omega, cuda.grid(1), cuda.gridsize(1))
    if cuda.threadIdx.x == 0:
        block = cuda.blockIdx.x
        values[block, 0] = far
        values[block, 1] = near
        places[block, 0] = far_at
        places[block, 1] = near_at


@cuda.jit(cache=True)
def _one_step(XT, u, inverse, tolerance, values, places, z, state, step):  # type: ignore[no-untyped-def]
    """By one block: choose among what the blocks found, and exchange. state: steps, point."""
    q = XT.shape[0]
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    far, far_at = -np.inf, u.size
    near, near_at = -np.inf, u.size
    # A thread's blocks are not in the order of their points: of equal ones the first, again.
    for block in range(thread, values.shape[0], threads):
        if values[block, 0] > far or (values[block, 0] == far and places[block, 0] < far_at):
            far, far_at = values[block, 0], places[block, 0]
        if values[block, 1] > near or (values[block, 1] == near and places[block, 1] < near_at):
            near, near_at = values[block, 1], places[block, 1]
    far, far_at = block_first_max(far, far_at)
    near, near_at = block_first_max(near, near_at)
    go, j, w, s, lowest = _decide(far, far_at, -near, near_at, u, q, tolerance)
    go = go and state[1] >= 0
    cuda.syncthreads()  # all threads have read the state
    if not go:
        if thread == 0:
            state[1] = -1
        return
    c, grow = exchange_factors(s, w)
    _exchange(XT, inverse, j, c, grow, z)
    if thread == 0:
        state[0] += 1
        state[1] = j
        step[0] = s
        step[1] = lowest
        step[2] = c
        step[3] = grow


@cuda.jit(cache=True)
def _update(XT, u, omega, z, state, step, values, places):  # type: ignore[no-untyped-def]
    """The points after a step, and each block's extremes of its own."""
    j = state[1]
    if j < 0:  # over: what has been found stays
        return
    first, stride = cuda.grid(1), cuda.gridsize(1)
    _move(XT, u, omega, z, j, step[0], step[1], step[2], step[3], first, stride)
    # Each thread reads back only what it wrote.
    far, far_at, near, near_at = _extremes(u, omega, first, stride)
    if cuda.threadIdx.x == 0:
        block = cuda.blockIdx.x
        values[block, 0] = far
        values[block, 1] = near
        places[block, 0] = far_at
        places[block, 1] = near_at


def exchange_steps(XT, u, inverse, omega, tolerance, max_steps):  # type: ignore[no-untyped-def]
    """Steps towards the farthest point, or away from the nearest support point, in place.

    Stops once ``omega <= q (1 + tolerance)`` everywhere and ``omega >= q (1 - tolerance)`` on the
    support, or after `max_steps`. Returns the number of steps, for which it waits.
    """
    xp = array_module()
    q, n = XT.shape
    z = xp.empty(q, dtype=np.float64)
    state = xp.zeros(2, dtype=np.int64)
    if n * q <= FEW:
        launch_alone(_all_steps, XT, u, inverse, omega, tolerance, max_steps, z, state)
        return int(state[0])
    blocks = min(-(-n // block_threads()), most_blocks())
    values = xp.empty((blocks, 2), dtype=np.float64)
    places = xp.empty((blocks, 2), dtype=np.int64)
    step = xp.empty(4, dtype=np.float64)
    points = resident(XT, u, omega)
    found = resident(values, places)
    now = resident(z, state, step)
    M = resident(inverse)[0]
    launch(_find_extremes, n, *points[1:], *found)
    for turn in range(1, max_steps + 1):
        launch_alone(_one_step, *points[:2], M, tolerance, *found, *now)
        launch(_update, n, *points, *now, *found)
        if turn % ROUND == 0 and int(state[1]) < 0:
            break
    return int(state[0])
