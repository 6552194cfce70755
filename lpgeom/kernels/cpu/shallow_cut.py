"""Steps of the ellipsoid method with shallow cuts for the ball of ``||B y||_p``.

No fastmath: the ellipsoid that comes out is claimed to contain the ball.
"""

import math

import numpy as np
from numba import njit

from lpgeom.kernels.scalar import cut_size

__all__ = ["column_norms", "cut_size", "dual_vector", "shallow_cuts"]


@njit(cache=True, nogil=True)
def column_norms(M, p, out):  # type: ignore[no-untyped-def]
    """``out[j] = ||M e_j||_p``, p = inf included; scaled, so that no power leaves the range."""
    n, d = M.shape
    out[:] = 0.0
    if p == 1.0:
        for i in range(n):
            for j in range(d):
                out[j] += abs(M[i, j])
        return
    for i in range(n):
        for j in range(d):
            m = abs(M[i, j])
            out[j] = m if m > out[j] else out[j]
    if p == np.inf:
        return
    sums = np.zeros(d)
    inverse = np.empty(d)
    for j in range(d):
        inverse[j] = 1.0 / out[j] if out[j] > 0.0 else 0.0
    for i in range(n):
        for j in range(d):
            sums[j] += (abs(M[i, j]) * inverse[j]) ** p
    for j in range(d):
        out[j] *= sums[j] ** (1.0 / p)


@njit(cache=True, nogil=True)
def dual_vector(M, j, norm, p, v):  # type: ignore[no-untyped-def]
    """v with ``||v||_q = 1`` and ``<v, u> = norm``, for ``u = M e_j`` and ``norm = ||u||_p``.

    ``v_i = sign(u_i) (|u_i| / norm)^(p-1)``; at p = inf a signed unit vector at the largest entry.
    """
    n = M.shape[0]
    if p == np.inf:
        top = 0
        for i in range(n):
            v[i] = 0.0
            if abs(M[i, j]) > abs(M[top, j]):
                top = i
        v[top] = 1.0 if M[top, j] > 0.0 else -1.0
        return
    for i in range(n):
        size = 1.0 if p == 1.0 else (abs(M[i, j]) / norm) ** (p - 1.0)
        v[i] = size if M[i, j] > 0.0 else (-size if M[i, j] < 0.0 else 0.0)


@njit(cache=True, nogil=True)
def shallow_cuts(B, M, L, norms, p, max_steps):  # type: ignore[no-untyped-def]
    """Cut at the longest column of ``M = B L`` until all are at most ``sqrt(d + 1)``; in place.

    ``E = {y : ||L^-1 y|| <= 1}`` contains the ball K. With v dual to ``u = M e_j`` and ``s = B^T
    v`` every y in K has ``|<s, y>| <= ||v||_q ||B y||_p <= 1``; for ``x = L^-1 y`` that is ``|<z,
    x>| <= gamma``, ``gamma = 1 / ||L^T s||``, ``z = gamma L^T s``. Here ``d gamma^2 < 1``, since
    ``||L^T s|| >= <L^T s, e_j> = <v, u> = ||u||_p > sqrt(d + 1)``. Unit ball and slab together lie
    in ``||x||^2 / c^2 + <z, x>^2 (1/(d gamma^2) - 1/c^2) <= 1``, ``c^2 = d (1 - gamma^2) / (d-1)``:
    the left side is at most ``(1 - gamma^2) / c^2 + 1/d = 1``. Its semi-axes are ``gamma sqrt(d)``
    along z and c across: ``L' = c L (I - b z z^T)``, ``b = 1 - gamma sqrt(d) / c``; M' likewise.

    Returns the number of steps made.
    """
    n, d = M.shape
    v = np.empty(n)
    stop = math.sqrt(d + 1.0)
    for step in range(max_steps):
        j = 0
        for q in range(d):
            if norms[q] > norms[j]:
                j = q
        if norms[j] <= stop:
            return step
        dual_vector(M, j, norms[j], p, v)
        # From B, not from the updated M: what is proved does not rest on M's accumulated rounding.
        z = np.dot(np.dot(v, B), L)
        length = math.sqrt(np.dot(z, z))
        z /= length
        c, b = cut_size(d, 1.0 / length)
        y = np.dot(L, z)
        for r in range(d):
            t = b * y[r]
            for q in range(d):
                L[r, q] = c * (L[r, q] - t * z[q])
        u = np.dot(M, z)
        if p == 1.0:
            norms[:] = 0.0
        for i in range(n):
            t = b * u[i]
            for q in range(d):
                m = c * (M[i, q] - t * z[q])
                M[i, q] = m
                if p == 1.0:
                    norms[q] += abs(m)
        if p != 1.0:
            column_norms(M, p, norms)
    return max_steps
