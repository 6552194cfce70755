"""Steps of the ellipsoid method with shallow cuts. See `lpgeom.kernels.cpu.shallow_cut`.

A step is four products of a matrix and a vector and some sweeps over M, in array functions of the
device; the numbers that decide it are fetched. Meant for matrices so large that this, and not the
waiting, takes the time: smaller ones come to the host (`lpgeom.geometry.ellipsoids.dense`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lpgeom.kernels.scalar import cut_size


def column_norms(M: Any, p: float, out: Any) -> None:
    """``out[j] = ||M e_j||_p``, p = inf included; scaled, so that no power leaves the range."""
    out[:] = 0.0
    if M.size == 0:
        return
    size = np.abs(M)
    if p == 1.0:
        out[:] = size.sum(axis=0)
        return
    top = size.max(axis=0)
    out[:] = top
    if p != np.inf:
        size /= np.where(top > 0.0, top, 1.0)
        size **= p
        out *= size.sum(axis=0) ** (1.0 / p)


def dual_vector(M: Any, j: int, norm: float, p: float, v: Any) -> None:
    """v with ``||v||_q = 1`` and ``<v, u> = norm``, for ``u = M e_j`` and ``norm = ||u||_p``.

    ``v_i = sign(u_i) (|u_i| / norm)^(p-1)``; at p = inf a signed unit vector at the largest entry.
    """
    u = M[:, j]
    if p == np.inf:
        top = int(np.abs(u).argmax())
        v[:] = 0.0
        v[top] = 1.0 if float(u[top]) > 0.0 else -1.0
        return
    v[:] = np.sign(u) * (np.abs(u) / norm) ** (p - 1.0)


def shallow_cuts(B: Any, M: Any, L: Any, norms: Any, p: float, max_steps: int) -> int:
    """Cut at the longest column of ``M = B L`` until all are at most ``sqrt(d + 1)``; in place.

    Returns the number of steps made, for which it waits.
    """
    d = M.shape[1]
    v = np.empty_like(M[:, 0])
    for step in range(max_steps):
        j = int(norms.argmax())
        norm = float(norms[j])
        if norm <= math.sqrt(d + 1.0):
            return step
        dual_vector(M, j, norm, p, v)
        # From B, not from the updated M: what is proved does not rest on M's accumulated rounding.
        z = (v @ B) @ L
        length = math.sqrt(float(z @ z))
        z /= length
        c, b = cut_size(d, 1.0 / length)
        for X in (L, M):
            X -= (b * (X @ z))[:, None] * z
            X *= c
        column_norms(M, p, norms)
    return max_steps
