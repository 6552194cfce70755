"""Steps of the ellipsoid method with shallow cuts. See `lpgeom.kernels.cpu.shallow_cut`.

No fastmath: the ellipsoid that comes out is claimed to contain the ball.

A step is four products of a matrix and a vector, left to cuBLAS, and some sweeps over M; all of
its decisions are taken on the device, and the host asks every `ROUND` steps whether it is over.
Expected to gain where M has more than some 10^6 entries: it takes 1 ms to queue a step's launches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from lpgeom.kernels.cuda.arrays import array_module
from lpgeom.kernels.cuda.launch import WARP, lanes_for, launch, launch_alone, resident
from lpgeom.kernels.cuda.reductions import block_first_max, block_sum, group_sum, warp_max
from lpgeom.kernels.scalar import cut_size, dual_entry

__all__ = ["column_norms", "cut_size", "dual_vector", "shallow_cuts"]

ROUND = 16

_ROWS, _CHUNKS = 64, 1024
"""Rows that a thread reads of its column at least, and chunks of rows at most."""


@cuda.jit(cache=True)
def _chunk_tops(M, rows, part):  # type: ignore[no-untyped-def]
    """part[c, j] = the largest entry in size of column j in chunk c."""
    n, d = M.shape
    for item in range(cuda.grid(1), part.size, cuda.gridsize(1)):
        c, j = item // d, item % d
        top = 0.0
        for i in range(c * rows, min((c + 1) * rows, n)):
            top = max(top, abs(M[i, j]))
        part[c, j] = top


@cuda.jit(cache=True)
def _chunk_powers(M, rows, p, top, part):  # type: ignore[no-untyped-def]
    """part[c, j] = the sum over chunk c of ``(|M_ij| / top_j)^p``, at p = 1 of ``|M_ij|``."""
    n, d = M.shape
    for item in range(cuda.grid(1), part.size, cuda.gridsize(1)):
        c, j = item // d, item % d
        inverse = 0.0
        if p != 1.0 and top[j] > 0.0:
            inverse = 1.0 / top[j]
        total = 0.0
        for i in range(c * rows, min((c + 1) * rows, n)):
            total += abs(M[i, j]) if p == 1.0 else (abs(M[i, j]) * inverse) ** p
        part[c, j] = total


@cuda.jit(cache=True)
def _fold_tops(part, out):  # type: ignore[no-untyped-def]
    lane = cuda.threadIdx.x % WARP
    for j in range(cuda.grid(1) // WARP, out.size, cuda.gridsize(1) // WARP):
        top = 0.0
        for c in range(lane, part.shape[0], WARP):
            top = max(top, part[c, j])
        top = warp_max(top)
        if lane == 0:
            out[j] = top


@cuda.jit(cache=True)
def _fold_powers(part, p, out):  # type: ignore[no-untyped-def]
    lane = cuda.threadIdx.x % WARP
    for j in range(cuda.grid(1) // WARP, out.size, cuda.gridsize(1) // WARP):
        total = 0.0
        for c in range(lane, part.shape[0], WARP):
            total += part[c, j]
        total = group_sum(total, WARP)
        if lane == 0:
            out[j] = total if p == 1.0 else out[j] * total ** (1.0 / p)


@cuda.jit(cache=True)
def _dual_vector(M, state, norm, p, v):  # type: ignore[no-untyped-def]
    j = state[0]
    for i in range(cuda.grid(1), v.size, cuda.gridsize(1)):
        v[i] = dual_entry(M[i, j], norm[0], p)


@cuda.jit(cache=True)
def _unit_dual(M, state, v):  # type: ignore[no-untyped-def]
    """At p = inf, by one block."""
    j = state[0]
    most, at = -1.0, v.size
    for i in range(cuda.threadIdx.x, v.size, cuda.blockDim.x):
        v[i] = 0.0
        if abs(M[i, j]) > most:
            most, at = abs(M[i, j]), i
    most, at = block_first_max(most, at)
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        v[at] = 1.0 if M[at, j] > 0.0 else -1.0


@cuda.jit(cache=True)
def _longest(norms, stop, state, norm):  # type: ignore[no-untyped-def]
    """By one block. state: the longest column, steps made, 1 while one is longer than `stop`."""
    most, at = -1.0, norms.size
    for q in range(cuda.threadIdx.x, norms.size, cuda.blockDim.x):
        if norms[q] > most:
            most, at = norms[q], q
    most, at = block_first_max(most, at)
    if cuda.threadIdx.x == 0:
        state[0] = at
        norm[0] = most
        if most > stop and state[2] > 0:
            state[1] += 1
        else:  # once over, always over
            state[2] = 0


@cuda.jit(cache=True)
def _direction(z, state, cut):  # type: ignore[no-untyped-def]
    """z / ||z||, and c and b of the cut, while it is not over; by one block."""
    if state[2] == 0:
        return
    total = 0.0
    for q in range(cuda.threadIdx.x, z.size, cuda.blockDim.x):
        total += z[q] * z[q]
    length = math.sqrt(block_sum(total))
    for q in range(cuda.threadIdx.x, z.size, cuda.blockDim.x):
        z[q] /= length
    if cuda.threadIdx.x == 0:
        c, b = cut_size(z.size, 1.0 / length)
        cut[0] = c
        cut[1] = b


@cuda.jit(cache=True)
def _cut_rows(X, along, z, cut, state, lanes):  # type: ignore[no-untyped-def]
    """``X <- c X (I - b z z^T)`` with ``along = X z``, while it is not over."""
    if state[2] == 0:
        return
    n, d = X.shape
    thread = cuda.grid(1)
    for i in range(thread // lanes, n, cuda.gridsize(1) // lanes):
        t = cut[1] * along[i]
        for q in range(thread % lanes, d, lanes):
            X[i, q] = cut[0] * (X[i, q] - t * z[q])


def column_norms(M, p, out):  # type: ignore[no-untyped-def]
    """``out[j] = ||M e_j||_p``, p = inf included; scaled, so that no power leaves the range."""
    if M.size == 0:
        out[:] = 0.0
        return
    columns, part, lengths = resident(M, _parts(M), out)
    _norms(M.shape, columns, part, lengths, p)


def _parts(M: Any) -> Any:
    """Room for what the chunks of rows add up to; their number depends on the shape alone."""
    n, d = M.shape
    rows = max(_ROWS, -(-n // _CHUNKS))
    return array_module().empty((-(-n // rows), d), dtype=np.float64)


def _norms(shape: tuple[int, int], M: Any, part: Any, out: Any, p: float) -> None:
    n, d = shape
    chunks = int(part.shape[0])
    rows = -(-n // chunks)
    if p != 1.0:
        launch(_chunk_tops, chunks * d, M, rows, part)
        launch(_fold_tops, d, part, out, lanes=WARP)
    if p != np.inf:
        launch(_chunk_powers, chunks * d, M, rows, p, out, part)
        launch(_fold_powers, d, part, p, out, lanes=WARP)


def dual_vector(M, j, norm, p, v):  # type: ignore[no-untyped-def]
    """v with ``||v||_q = 1`` and ``<v, u> = norm``, for ``u = M e_j`` and ``norm = ||u||_p``.

    ``v_i = sign(u_i) (|u_i| / norm)^(p-1)``; at p = inf a signed unit vector at the largest entry.
    """
    xp = array_module()
    state, size = xp.full(1, j, dtype=np.int64), xp.full(1, norm, dtype=np.float64)
    _dual(M.shape[0], M, state, size, p, v)


def _dual(n: int, M: Any, state: Any, norm: Any, p: float, v: Any) -> None:
    if p == np.inf:
        launch_alone(_unit_dual, M, state, v)
    else:
        launch(_dual_vector, n, M, state, norm, p, v)


def shallow_cuts(B, M, L, norms, p, max_steps):  # type: ignore[no-untyped-def]
    """Cut at the longest column of ``M = B L`` until all are at most ``sqrt(d + 1)``; in place.

    Returns the number of steps made, for which it waits.
    """
    xp = array_module()
    n, d = M.shape
    stop = math.sqrt(d + 1.0)
    lanes = lanes_for(d)
    part = _parts(M)
    v, norm = xp.empty(n, dtype=np.float64), xp.empty(1, dtype=np.float64)
    cut, state = xp.empty(2, dtype=np.float64), xp.array([0, 0, 1], dtype=np.int64)
    columns, factor, lengths, parts = resident(M, L, norms, part)
    now, size, numbers, dual = resident(state, norm, cut, v)
    for turn in range(max_steps):
        launch_alone(_longest, lengths, stop, now, size)
        if turn % ROUND == 0 and int(state[2]) == 0:
            break
        _dual(n, columns, now, size, p, dual)
        # From B, not from the updated M: what is proved does not rest on M's accumulated rounding.
        z = (v @ B) @ L
        launch_alone(_direction, z, now, numbers)
        launch(_cut_rows, d, factor, L @ z, z, numbers, now, lanes, lanes=lanes)
        launch(_cut_rows, n, columns, M @ z, z, numbers, now, lanes, lanes=lanes)
        _norms((n, d), columns, parts, lengths, p)
    return int(state[1])
