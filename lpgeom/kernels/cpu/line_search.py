"""The step that minimises a sum of q-th powers along a line, for many lines at once."""

from __future__ import annotations

from numba import njit

_DOUBLINGS, _STEPS = 60, 80

_CLOSE = 1e-6
"""The minimum is found to this share of the step."""


@njit(cache=True, nogil=True, error_model="numpy")
def _slope(r, along, q, t):  # type: ignore[no-untyped-def]
    """-1/q times the derivative of ``sum |r - t along|^q`` at t, and the Newton step from there.

    Residuals are divided by their largest, so that no power overflows; the sign is what counts.
    """
    top = 0.0
    for j in range(r.size):
        top = max(top, abs(r[j] - t * along[j]))
    if top == 0.0:
        return 0.0, 0.0
    first, second = 0.0, 0.0
    for j in range(r.size):
        z = (r[j] - t * along[j]) / top
        if z != 0.0:
            power = abs(z) ** (q - 2.0)
            first += power * z * along[j]
            second += power * along[j] * along[j]
    step = top * first / ((q - 1.0) * second) if second > 0.0 else 0.0
    return first, step


@njit(cache=True, nogil=True, error_model="numpy")
def line_search(r, along, q, length):  # type: ignore[no-untyped-def]
    """length[i] = argmin over t >= 0 of ``sum_j |r_ij - t along_ij|^q_i`` (q >= 2), from below.

    From below: a step too short never raises the sum.
    """
    for i in range(r.shape[0]):
        low, high = 0.0, 1.0
        for _ in range(_DOUBLINGS):
            first, _step = _slope(r[i], along[i], q[i], high)
            if not first > 0.0:
                break
            low, high = high, 2.0 * high
        t = low
        for turn in range(_STEPS):
            first, step = _slope(r[i], along[i], q[i], t)
            if first > 0.0:
                low = t
                if step <= _CLOSE * t:
                    break
            else:
                high = t
            if high - low <= _CLOSE * high:
                break
            # Newton's step is slow far from the root of a high power: every other one a bisection.
            t += step
            if turn % 2 == 1 or not low < t < high:
                t = 0.5 * (low + high)
        length[i] = low
