"""Proximal maps of ``lam |x|^p``, and the step of an entrywise splitting method, in one sweep."""

import numpy as np
from numba import njit

from lpgeom.kernels.cpu.lanes import added_by, filled, lanes_for, position
from lpgeom.kernels.scalar import lp_power, prox

__all__ = ["prox", "prox_entries", "split_rows", "split_step"]


@njit(cache=True, nogil=True)
def prox_entries(v, lam, p, out):  # type: ignore[no-untyped-def]
    """`prox` of every entry of a vector."""
    first, step, _ = position(1)
    for i in range(first, v.size, step):
        out[i] = prox(v[i], lam, p)


@njit(cache=True, nogil=True)
def split_rows(A, L, U, M, W, weighted, lam, p, shrink, costs):  # type: ignore[no-untyped-def]
    """`split_step`, and the cost of every row; W is read if `weighted`."""
    n, d = A.shape
    lanes = lanes_for(d)
    row, rows, lane = position(lanes)
    for i in range(row, filled(n, lanes), rows):
        cost = 0.0
        if i < n:
            for j in range(lane, d, lanes):
                a = np.float64(A[i, j])
                r = a - np.float64(L[i, j])
                z = r + np.float64(U[i, j])
                w = np.float64(W[i, j]) if weighted else 1.0
                cost += w * lp_power(abs(r), p)
                e = prox(z, lam * w, p)
                u = shrink * (z - e)
                U[i, j] = u
                M[i, j] = a - e + u
        cost = added_by(cost, lanes)
        if i < n and lane == 0:
            costs[i] = cost


def split_step(A, L, U, M, W, lam, p, shrink):  # type: ignore[no-untyped-def]
    """One step of ADMM on ``min sum W |E|^p, A - L = E`` over a block, in place; returns the cost.

    With R = A - L: ``Z = R + U``, ``E = prox(Z)``, ``U <- shrink (Z - E)`` (the scaled dual, for
    the next penalty), ``M <- A - E + U``, what the next L is to be nearest to. The cost is that of
    R, in float64. W is None for weights 1; where it is 0, E takes all of Z and M is L.
    """
    costs, weighted = np.empty(len(A)), W is not None
    split_rows(A, L, U, M, W if weighted else A, weighted, lam, p, shrink, costs)
    return float(costs.sum())
