"""The step that minimises a sum of q-th powers along a line, for many lines at once.

Written in the words of `lanes`, so that a device runs the same text.
"""

from numba import njit

from lpgeom.kernels.cpu.lanes import LANES, added, most, position

DOUBLINGS, LINE_STEPS = 60, 80

CLOSE = 1e-6
"""The minimum along a line is found to this share of the step."""


@njit(cache=True, nogil=True, error_model="numpy")
def _line_terms(z, along, q):  # type: ignore[no-untyped-def]
    """An entry's part in the slope and in the curvature of ``sum |r - t along|^q / q``."""
    if z == 0.0:
        return 0.0, 0.0
    power = abs(z) ** (q - 2.0)
    return power * z * along, power * along * along


@njit(cache=True, nogil=True, error_model="numpy")
def _line_newton(top, first, second, q):  # type: ignore[no-untyped-def]
    """Newton's step from the sums of `_line_terms` over residuals divided by `top`."""
    return top * first / ((q - 1.0) * second) if second > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _line_narrow(t, low, high, first, step, turn):  # type: ignore[no-untyped-def]
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


@njit(cache=True, nogil=True, error_model="numpy")
def slope(r, along, i, q, t):  # type: ignore[no-untyped-def]
    """-1/q times the derivative of ``sum_j |r_ij - t along_ij|^q`` at t, and the Newton step there.

    Residuals are divided by their largest, so that no power overflows; the sign is what counts.
    """
    lane = position(LANES)[2]
    top = 0.0
    for j in range(lane, r.shape[1], LANES):
        top = max(top, abs(r[i, j] - t * along[i, j]))
    top = most(top)
    if top == 0.0:
        return 0.0, 0.0
    first, second = 0.0, 0.0
    for j in range(lane, r.shape[1], LANES):
        f, s = _line_terms((r[i, j] - t * along[i, j]) / top, along[i, j], q)
        first += f
        second += s
    first = added(first)
    return first, _line_newton(top, first, added(second), q)


@njit(cache=True, nogil=True, error_model="numpy")
def line_search(r, along, q, length):  # type: ignore[no-untyped-def]
    """length[i] = argmin over t >= 0 of ``sum_j |r_ij - t along_ij|^q_i`` (q >= 2), from below.

    From below: a step too short never raises the sum.
    """
    row, rows, lane = position(LANES)
    for i in range(row, r.shape[0], rows):
        low, high = 0.0, 1.0
        for _ in range(DOUBLINGS):
            first, _step = slope(r, along, i, q[i], high)
            if not first > 0.0:
                break
            low, high = high, 2.0 * high
        t = low
        for turn in range(LINE_STEPS):
            first, step = slope(r, along, i, q[i], t)
            t, low, high, done = _line_narrow(t, low, high, first, step, turn)
            if done:
                break
        if lane == 0:
            length[i] = low
