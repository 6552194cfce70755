"""Proximal maps of ``lam |x|^p``, and the step of an entrywise splitting method, in one sweep.

``prox(v) = argmin_x lam |x|^p + (x - v)^2 / 2`` is odd, and for v > 0 the root in [0, v] of
``x + lam p x^(p-1) = v``. At p = 1 it is max(v - lam, 0), at p = 2 v / (1 + 2 lam), at p = 3/2 or
3 the root of a quadratic, written so that nothing cancels. Else the left side is convex: for
p > 2 in x, for p < 2 in ``y = x^(p-1)``, where it is ``y^q + lam p y``, q = 1 / (p - 1). Newton's
method from a point above the root comes down to it and cannot overshoot.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_STEPS = 200

_HUGE = 1e150
"""Squares of numbers below this are in range."""


@njit(cache=True, nogil=True)
def _root(e, c, v, x):  # type: ignore[no-untyped-def]
    """Root of ``x^e + c x - v`` (e >= 1, c, v > 0), from x above it."""
    for _ in range(_STEPS):
        power = x ** (e - 1.0)
        step = (power * x + c * x - v) / (e * power + c)
        if not step > 0.0:
            break
        lower = x - step
        if lower >= x:
            break
        x = lower
    return x


@njit(cache=True, nogil=True)
def prox(v, lam, p):  # type: ignore[no-untyped-def]
    """``argmin_x lam |x|^p + (x - v)^2 / 2`` for p >= 1, lam >= 0."""
    size = abs(v)
    if lam == 0.0 or size == 0.0:
        return v
    if p == 1.0:
        x = max(size - lam, 0.0)
    elif p == 2.0:
        x = size / (1.0 + 2.0 * lam)
    elif p == 1.5 and lam < _HUGE:
        b = 0.75 * lam  # x + 2 b sqrt(x) = v
        y = size / (b + math.sqrt(b * b + size))
        x = y * y
    elif p == 3.0 and lam * size < _HUGE:
        x = 2.0 * size / (1.0 + math.sqrt(1.0 + 12.0 * lam * size))
    else:
        c = lam * p
        if p > 2.0:
            # x + c x^(p-1) = v, divided by c.
            x = _root(p - 1.0, 1.0 / c, size / c, min(size, (size / c) ** (1.0 / (p - 1.0))))
        else:
            q = 1.0 / (p - 1.0)
            x = _root(q, c, size, min(size ** (p - 1.0), size / c)) ** q
    return x if v > 0.0 else -x


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
            size = abs(r)
            if p == 1.0:
                power = size
            elif p == 2.0:
                power = size * size
            elif p == 1.5:
                power = size * math.sqrt(size)
            elif p == 3.0:
                power = size * size * size
            else:
                power = size**p
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
