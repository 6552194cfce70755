"""Proximal maps of ``lam |x|^p``, and the step of an entrywise splitting method, in one sweep."""

from __future__ import annotations

import numpy as np
from numba import njit

from lpgeom.kernels.scalar import lp_power, prox

__all__ = ["prox", "prox_entries", "split_step"]


@njit(cache=True, nogil=True)
def prox_entries(v, lam, p, out):  # type: ignore[no-untyped-def]
    """`prox` of every entry of a vector."""
    for i in range(v.size):
        out[i] = prox(v[i], lam, p)


@njit(cache=True, nogil=True)
def split_step(A, L, U, M, W, lam, p, shrink):  # type: ignore[no-untyped-def]
    """One step of ADMM on ``min sum W |E|^p, A - L = E`` over a block, in place; returns the cost.

    With R = A - L: ``Z = R + U``, ``E = prox(Z)``, ``U <- shrink (Z - E)`` (the scaled dual, for
    the next penalty), ``M <- A - E + U``, what the next L is to be nearest to. The cost is that of
    R, in float64. W is None for weights 1; where it is 0, E takes all of Z and M is L.
    """
    total = 0.0
    n, d = A.shape
    for i in range(n):
        for j in range(d):
            a = np.float64(A[i, j])
            r = a - np.float64(L[i, j])
            power = lp_power(abs(r), p)
            z = r + np.float64(U[i, j])
            if W is None:
                total += power
                e = prox(z, lam, p)
            else:
                w = np.float64(W[i, j])
                total += w * power
                e = prox(z, lam * w, p)
            u = shrink * (z - e)
            U[i, j] = u
            M[i, j] = a - e + u
    return total
