"""Scalar maths of the kernels: one source for both targets.

Numba compiles these functions for the CPU; where a CUDA kernel calls one, numba-cuda compiles it
for the device. So: numbers in, numbers out, no arrays, and nothing that only one target has.

The compiled kernels that call them are cached by their own files: after a change here, remove
``lpgeom/kernels/cpu/__pycache__`` (``make clean`` does).
"""

from __future__ import annotations

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


# ---- the step along a line

DOUBLINGS, LINE_STEPS = 60, 80

CLOSE = 1e-6
"""The minimum along a line is found to this share of the step."""


@njit(cache=True, nogil=True, error_model="numpy")
def line_terms(z, along, q):  # type: ignore[no-untyped-def]
    """An entry's part in the slope and in the curvature of ``sum |r - t along|^q / q``."""
    if z == 0.0:
        return 0.0, 0.0
    power = abs(z) ** (q - 2.0)
    return power * z * along, power * along * along


@njit(cache=True, nogil=True, error_model="numpy")
def line_newton(top, first, second, q):  # type: ignore[no-untyped-def]
    """Newton's step from the sums of `line_terms` over residuals divided by `top`."""
    return top * first / ((q - 1.0) * second) if second > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def line_narrow(t, low, high, first, step, turn):  # type: ignore[no-untyped-def]
    """The next t, the bracket, and whether it is narrow enough; `first` > 0 is a descent at t."""
    if first > 0.0:
        low = t
        if step <= CLOSE * t:
            return t, low, high, True
    else:
        high = t
    if high - low <= CLOSE * high:
        return t, low, high, True
    # Newton's step is slow far from the root of a high power: every other one a bisection.
    t += step
    if turn % 2 == 1 or not low < t < high:
        t = 0.5 * (low + high)
    return t, low, high, False


# ---- an entry of an interior-point step, in the notation of kernels/cpu/regression.py

BACK_LINEAR, BACK = 0.9999, 0.995
"""Share of the step to the border that is taken, at p = 1 and otherwise."""

TINY_PIVOT = 1e-30
"""A pivot below this share of the largest belongs to a direction that no entry sees."""


@njit(cache=True, nogil=True, error_model="numpy")
def slopes(t, p):  # type: ignore[no-untyped-def]
    """f'(t) and f''(t) of f(t) = t^p."""
    if p == 1.0:
        return 1.0, 0.0
    power = t ** (p - 2.0)
    return p * power * t, p * (p - 1.0) * power


@njit(cache=True, nogil=True, error_model="numpy")
def newton_terms(u, v, zu, zv, y, w, p):  # type: ignore[no-untyped-def]
    """Du, Dv, gu, gv of the step to mu = 0."""
    fu, ffu = slopes(u, p)
    fv, ffv = slopes(v, p)
    return w * ffu + zu / u, w * ffv + zv / v, y - w * fu, -y - w * fv


@njit(cache=True, nogil=True, error_model="numpy")
def right_side(Du, Dv, gu, gv):  # type: ignore[no-untyped-def]
    """``W h``, with W the `normal_weight`."""
    return (gu * Dv - gv * Du) / (Du + Dv)


@njit(cache=True, nogil=True, error_model="numpy")
def normal_weight(Du, Dv):  # type: ignore[no-untyped-def]
    """``1 / (1/Du + 1/Dv)``."""
    return Du / (Du + Dv) * Dv


@njit(cache=True, nogil=True, error_model="numpy")
def relative_steps(u, v, Du, Dv, gu, gv, dy):  # type: ignore[no-untyped-def]
    """``du / u`` and ``dv / v``; the relative steps of zu and zv are -1 less these."""
    return (gu + dy) / Du / u, (gv - dy) / Dv / v


@njit(cache=True, nogil=True, error_model="numpy")
def aimed_product(now, then, count):  # type: ignore[no-untyped-def]
    """mu by Mehrotra's rule, from the sums of `count` products now and after the first step."""
    return now / count * (then / now) ** 3 if count > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def second_order(mu, u, zu, ru):  # type: ignore[no-untyped-def]
    """What Mehrotra's corrector adds to g: the aimed product, and the product of the steps."""
    return mu / u + zu * ru * (1.0 + ru)


@njit(cache=True, nogil=True, error_model="numpy")
def dual_steps(u, v, zu, zv, y, w, p, du, dv, dy):  # type: ignore[no-untyped-def]
    """The steps of zu and zv that belong to those of u, v and y."""
    fu, ffu = slopes(u, p)
    fv, ffv = slopes(v, p)
    return w * (fu + ffu * du) - y - zu - dy, w * (fv + ffv * dv) + y - zv + dy


@njit(cache=True, nogil=True, error_model="numpy")
def shorten(share, x, dx):  # type: ignore[no-untyped-def]
    """`share`, or less where ``x + share dx`` would be negative."""
    return -x / dx if -dx * share > x else share


@njit(cache=True, nogil=True, error_model="numpy")
def defects(u, v, zu, zv, y, w, p):  # type: ignore[no-untyped-def]
    """What is missing in the first two equations, times u and v: in units of cost."""
    missing_u = abs(w * slopes(u, p)[0] - y - zu) * u
    missing_v = abs(w * slopes(v, p)[0] + y - zv) * v
    return missing_u, missing_v


# ---- ellipsoids


@njit(cache=True, nogil=True)
def cut_size(d, gamma):  # type: ignore[no-untyped-def]
    """(c, b) of the step ``L' = c L (I - b z z^T)``, see `shallow_cuts`; d >= 2."""
    c = math.sqrt(d * (1.0 - gamma * gamma) / (d - 1.0))
    return c, 1.0 - gamma * math.sqrt(d) / c


@njit(cache=True, nogil=True)
def dual_entry(u, norm, p):  # type: ignore[no-untyped-def]
    """``sign(u) (|u| / norm)^(p-1)``, p finite."""
    size = 1.0 if p == 1.0 else (abs(u) / norm) ** (p - 1.0)
    return size if u > 0.0 else (-size if u < 0.0 else 0.0)


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


# ---- a quadratic over the simplex


@njit(cache=True, nogil=True)
def pair_gain(slope, bend):  # type: ignore[no-untyped-def]
    """Four times what the best step along a pair gains."""
    return slope * slope / max(bend, 1e-300)


@njit(cache=True, nogil=True)
def pair_step(slope, bend, w):  # type: ignore[no-untyped-def]
    """The best step along a pair, cut at w, and whether it was cut."""
    if bend > 0.0 and slope < 2.0 * bend * w:
        return slope / (2.0 * bend), False
    return w, True
