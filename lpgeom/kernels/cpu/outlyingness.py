"""How far each point lies off the middle of all, in the worst of many directions."""

from numba import njit


@njit(cache=True, nogil=True)
def quantile(x, w, mass):  # type: ignore[no-untyped-def]
    """The least x_j with ``sum of w_i over x_i <= x_j`` at least `mass`; both are put in disorder.

    Hoare's selection with parts below, at and above a pivot: O(n) on average, equal numbers
    included.
    """
    low, high = 0, len(x)
    below = 0.0
    pivot = x[0]
    while low < high:
        a, b, c = x[low], x[(low + high) // 2], x[high - 1]
        pivot = max(min(a, b), min(max(a, b), c))
        less, i, more = low, low, high
        under = at = 0.0
        while i < more:
            if x[i] < pivot:
                x[i], x[less] = x[less], x[i]
                w[i], w[less] = w[less], w[i]
                under += w[less]
                less += 1
                i += 1
            elif x[i] > pivot:
                more -= 1
                x[i], x[more] = x[more], x[i]
                w[i], w[more] = w[more], w[i]
            else:
                at += w[i]
                i += 1
        if below + under >= mass and less > low:
            high = less
        elif below + under + at >= mass:
            return pivot
        else:
            below += under + at
            low = more
    return pivot


@njit(cache=True, nogil=True)
def farthest_off(P, w, mass, slack, floor, centred, out, x, masses):  # type: ignore[no-untyped-def]
    """``out[i] = max(out[i], max_j (|P_ji - m_j| - slack_i)_+ / max(s_j, floor))``.

    Row j has the points' projections on a direction; m_j is their weighted median (0 unless
    `centred`), s_j the weighted median of ``|P_ji - m_j|``: both the least number that half of the
    weight, `mass`, does not exceed. `slack` is what rounding may have put between points, and
    `floor` keeps off zero where half of them lie in a hyperplane. x and masses (n,) are room.
    """
    m, n = P.shape
    for j in range(m):
        middle = 0.0
        if centred:
            x[:] = P[j]
            masses[:] = w
            middle = quantile(x, masses, mass)
        for i in range(n):
            x[i] = abs(P[j, i] - middle)
        masses[:] = w
        scale = max(quantile(x, masses, mass), floor)
        for i in range(n):
            off = (abs(P[j, i] - middle) - slack[i]) / scale
            if off > out[i]:
                out[i] = off
