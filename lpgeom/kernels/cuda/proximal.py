"""The step of an entrywise splitting method in one sweep. See `lpgeom.kernels.cpu.proximal`.

The step reads and writes every entry once, a warp along a row: it runs at the speed of memory, but
for the p whose `prox` has no closed form, where it is bound by pow.
"""

from __future__ import annotations

import numpy as np
from numba import cuda

from lpgeom.kernels.cuda.arrays import array_module
from lpgeom.kernels.cuda.launch import WARP, by_rows, row_lanes
from lpgeom.kernels.cuda.reductions import group_sum, total
from lpgeom.kernels.scalar import lp_power, prox

__all__ = ["prox", "prox_entries", "split_step"]


@by_rows(1)
def prox_entries(v, lam, p, out):  # type: ignore[no-untyped-def]
    """`prox` of every entry of a vector."""
    for i in range(cuda.grid(1), v.size, cuda.gridsize(1)):
        out[i] = prox(v[i], lam, p)


@by_rows()
def _split_step(A, L, U, M, W, weighted, lam, p, shrink, costs):  # type: ignore[no-untyped-def]
    n, d = A.shape
    thread, lanes = cuda.grid(1), row_lanes(d)
    step = cuda.gridsize(1) // lanes
    i = thread // lanes
    first = (thread - thread % WARP) // lanes
    while first < n:
        cost = 0.0
        if i < n:
            for j in range(thread % lanes, d, lanes):
                a = np.float64(A[i, j])
                r = a - np.float64(L[i, j])
                z = r + np.float64(U[i, j])
                w = np.float64(W[i, j]) if weighted else 1.0
                cost += w * lp_power(abs(r), p)
                e = prox(z, lam * w, p)
                u = shrink * (z - e)
                U[i, j] = u
                M[i, j] = a - e + u
        cost = group_sum(cost, lanes)
        if i < n and thread % lanes == 0:
            costs[i] = cost
        i += step
        first += step


def split_step(A, L, U, M, W, lam, p, shrink):  # type: ignore[no-untyped-def]
    """One step of ADMM on ``min sum W |E|^p, A - L = E`` over a block, in place; returns the cost.

    The rows' costs are summed apart, in chunks of fixed size: the cost is the same for every
    launch. Waits for the device.
    """
    n, d = A.shape
    if n == 0 or d == 0:
        return 0.0
    costs = array_module().empty(n, dtype=np.float64)
    weighted = W is not None
    _split_step(A, L, U, M, W if weighted else A, weighted, lam, p, shrink, costs)
    return total(costs)
