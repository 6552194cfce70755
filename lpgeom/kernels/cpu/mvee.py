"""Steps of the ascent on ``log det sum_i u_i x_i x_i^T`` over the simplex (minimum ellipsoids).

No fastmath: the variances decide which points are dropped for good.
"""

import numpy as np
from numba import njit

from lpgeom.kernels.scalar import exchange_factors, exchange_length


@njit(cache=True, nogil=True)
def exchange_steps(XT, u, inverse, omega, tolerance, max_steps):  # type: ignore[no-untyped-def]
    """Steps towards the farthest point, or away from the nearest support point, in place.

    With ``M = sum u x x^T`` (q, q) and ``omega_i = x_i^T M^-1 x_i``, the step ``u <- (1-s) u + s
    e_j`` multiplies ``det M`` by ``(1-s)^(q-1) (1 - s + s omega_j)``. The logarithm of that is
    stationary at ``s = (omega_j/q - 1) / (omega_j - 1)``: the exact line search, towards j if
    ``omega_j > q``, away from it (s < 0) if ``omega_j < q``; ``s >= -u_j/(1-u_j)`` keeps u_j >= 0,
    and for omega_j <= 1 the factor only grows down to there. Sherman and Morrison: ``M^-1 <- (M^-1
    - c z z^T) / (1-s)`` with ``z = M^-1 x_j`` and ``c = s / (1 - s + s omega_j)``, hence
    ``omega_i <- (omega_i - c (x_i^T z)^2) / (1-s)``: O(n q) a step. XT is (q, n), so that the
    loops over points run along memory.

    Stops once ``omega <= q (1 + tolerance)`` everywhere and ``omega >= q (1 - tolerance)`` on the
    support, or after `max_steps`. Returns the number of steps.
    """
    q, n = XT.shape
    z = np.empty(q)
    dots = np.empty(n)
    for step in range(max_steps):
        far = 0
        near = -1
        for i in range(n):
            if omega[i] > omega[far]:
                far = i
            if u[i] > 0.0 and (near < 0 or omega[i] < omega[near]):
                near = i
        above = omega[far] / q - 1.0
        below = 1.0 - omega[near] / q
        if above <= tolerance and below <= tolerance:
            return step
        towards = above >= below
        j = far if towards else near
        w = omega[j]
        s, lowest = exchange_length(w, u[j], towards, q)
        if not -np.inf < s < 1.0:  # a single point left: nothing to exchange
            return step
        for a in range(q):
            total = 0.0
            for b in range(q):
                total += inverse[a, b] * XT[b, j]
            z[a] = total
        c, grow = exchange_factors(s, w)
        for a in range(q):
            for b in range(q):
                inverse[a, b] = grow * (inverse[a, b] - c * z[a] * z[b])
        dots[:] = 0.0
        for b in range(q):
            zb = z[b]
            for i in range(n):
                dots[i] += XT[b, i] * zb
        for i in range(n):
            omega[i] = grow * (omega[i] - c * dots[i] * dots[i])
            u[i] *= 1.0 - s
        u[j] = 0.0 if s <= lowest else max(u[j] + s, 0.0)
    return max_steps
