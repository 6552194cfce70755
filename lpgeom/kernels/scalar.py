"""Scalar maths of the kernels: one source for both targets.

Numba compiles these functions for the CPU; where a CUDA kernel calls one, numba-cuda compiles it
for the device. So: numbers in, numbers out, no arrays, and nothing that only one target has.

The compiled kernels that call them are cached by their own files: after a change here, remove
``lpgeom/kernels/cpu/__pycache__`` (``make clean`` does).
"""

import math

import numpy as np
from numba import njit

# ---- powers and proximal maps

_ROOT_STEPS = 200

_HUGE = 1e150
"""Squares of numbers below this are in range."""


@njit(cache=True, nogil=True)
def lp_power(size, p):  # type: ignore[no-untyped-def]
    """``size^p`` for size >= 0; the usual p without a call of pow."""
    if p == 1.0:
        return size
    if p == 2.0:
        return size * size
    if p == 1.5:
        return size * math.sqrt(size)
    if p == 3.0:
        return size * size * size
    return size**p


@njit(cache=True, nogil=True)
def _root(e, c, v, x):  # type: ignore[no-untyped-def]
    """Root of ``x^e + c x - v`` (e >= 1, c, v > 0), from x above it."""
    for _ in range(_ROOT_STEPS):
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
def _root_by_logs(e, c, v):  # type: ignore[no-untyped-def]
    """Root of ``x + c x^e - v`` (0 < e < 1, c, v > 0), for small e.

    There x^e says nothing of x to working precision. In ``u = log x`` it is ``exp(u) + c exp(e u)
    - v``, which is convex, too, and each term alone has a root above the sum's.
    """
    u = min(math.log(v), math.log(v / c) / e)
    for _ in range(_ROOT_STEPS):
        one, other = math.exp(u), c * math.exp(e * u)
        slope = one + e * other
        if not slope > 0.0:
            break
        lower = u - (one + other - v) / slope
        if not lower < u:
            break
        u = lower
    return min(math.exp(u), v)


@njit(cache=True, nogil=True)
def prox(v, lam, p):  # type: ignore[no-untyped-def]
    """``argmin_x lam |x|^p + (x - v)^2 / 2`` for p >= 1, lam >= 0.

    Odd, and for v > 0 the root in [0, v] of ``x + lam p x^(p-1) = v``. At p = 1 it is
    max(v - lam, 0), at p = 2 v / (1 + 2 lam), at p = 3/2 or 3 the root of a quadratic, written so
    that nothing cancels. Else the left side is convex: for p > 2 in x, for p < 2 in ``y =
    x^(p-1)``, where it is ``y^q + lam p y``, q = 1 / (p - 1), and in log x. Newton's method from a
    point above the root comes down to it and cannot overshoot.
    """
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
        elif p < 1.01:
            x = _root_by_logs(p - 1.0, c, size)
        else:
            q = 1.0 / (p - 1.0)
            x = _root(q, c, size, min(size ** (p - 1.0), size / c)) ** q
    return x if v > 0.0 else -x


# ---- ellipsoids


@njit(cache=True, nogil=True)
def cut_size(d, gamma):  # type: ignore[no-untyped-def]
    """(c, b) of the step ``L' = c L (I - b z z^T)``, see `shallow_cuts`; d >= 2."""
    c = math.sqrt(d * (1.0 - gamma * gamma) / (d - 1.0))
    return c, 1.0 - gamma * math.sqrt(d) / c


@njit(cache=True, nogil=True)
def exchange_length(w, u, towards, q):  # type: ignore[no-untyped-def]
    """The exact step s towards a point, or away from it, and the least s; see `exchange_steps`."""
    if towards:
        s = (w / q - 1.0) / (w - 1.0) if q > 1 else 1.0
        return s, -np.inf
    lowest = -u / (1.0 - u) if u < 1.0 else -np.inf
    s = max(lowest, (w / q - 1.0) / (w - 1.0)) if w > 1.0 else lowest
    return s, lowest


@njit(cache=True, nogil=True)
def exchange_factors(s, w):  # type: ignore[no-untyped-def]
    """c and 1 / (1 - s) of the update by Sherman and Morrison."""
    return s / (1.0 - s + s * w), 1.0 / (1.0 - s)
