"""Steps of the ascent of `lpgeom.kernels.cpu.mvee` on the device; see there for the formulas.

A step reads all points once, n q numbers, in array functions of the device; the numbers that decide
it are fetched. Meant for so many points that this, and not the waiting, takes the time: fewer come
to the host (`lpgeom.geometry.ellipsoids.dense`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lpgeom.kernels.scalar import exchange_factors, exchange_length


def exchange_steps(
    XT: Any, u: Any, inverse: Any, omega: Any, tolerance: float, max_steps: int
) -> int:
    """Steps towards the farthest point, or away from the nearest support point, in place.

    Stops once ``omega <= q (1 + tolerance)`` everywhere and ``omega >= q (1 - tolerance)`` on the
    support, or after `max_steps`. Returns the number of steps, for which it waits.
    """
    q = XT.shape[0]
    for step in range(max_steps):
        far, near = int(omega.argmax()), int(np.where(u > 0.0, omega, np.inf).argmin())
        above, below = float(omega[far]) / q - 1.0, 1.0 - float(omega[near]) / q
        if above <= tolerance and below <= tolerance:
            return step
        towards = above >= below
        j = far if towards else near
        w = float(omega[j])
        s, lowest = exchange_length(w, float(u[j]), towards, q)
        if not -np.inf < s < 1.0:  # a single point left: nothing to exchange
            return step
        c, grow = exchange_factors(s, w)
        z = inverse @ XT[:, j]
        inverse -= c * (z[:, None] * z)
        inverse *= grow
        omega -= c * (z @ XT) ** 2
        omega *= grow
        u *= 1.0 - s
        u[j] = 0.0 if s <= lowest else max(float(u[j]) + s, 0.0)
    return max_steps
