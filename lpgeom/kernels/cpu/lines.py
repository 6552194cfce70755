"""The step that minimises a sum of q-th powers along a line, for many lines at once."""

from __future__ import annotations

from numba import njit

from lpgeom.kernels.scalar import DOUBLINGS, LINE_STEPS, line_narrow, line_newton, line_terms


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
        f, s = line_terms((r[j] - t * along[j]) / top, along[j], q)
        first += f
        second += s
    return first, line_newton(top, first, second, q)


@njit(cache=True, nogil=True, error_model="numpy")
def line_search(r, along, q, length):  # type: ignore[no-untyped-def]
    """length[i] = argmin over t >= 0 of ``sum_j |r_ij - t along_ij|^q_i`` (q >= 2), from below.

    From below: a step too short never raises the sum.
    """
    for i in range(r.shape[0]):
        low, high = 0.0, 1.0
        for _ in range(DOUBLINGS):
            first, _step = _slope(r[i], along[i], q[i], high)
            if not first > 0.0:
                break
            low, high = high, 2.0 * high
        t = low
        for turn in range(LINE_STEPS):
            first, step = _slope(r[i], along[i], q[i], t)
            t, low, high, done = line_narrow(t, low, high, first, step, turn)
            if done:
                break
        length[i] = low
