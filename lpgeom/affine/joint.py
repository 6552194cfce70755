"""Centre and subspace moved together by reweighted steps."""

from __future__ import annotations

import math

import numpy as np

from lpgeom.rows.base import Array

STALLED = 6
"""Steps without a smaller cost after which the descent ends."""

FIRST, FALL = 1e-2, 0.4
"""Squared residuals are smoothed from this share of their p-mean, and this much less each step."""


def joint_descent(
    B: Array,
    c: Array,
    V: Array,
    omega: Array | None,
    p: float,
    *,
    tol: float,
    max_iter: int,
) -> tuple[Array, Array, int]:
    """The cheapest ``(c, V)`` of a descent from a given one, and the steps taken.

    With weights ``w_i = omega_i max(t_i, e)^(p/2-1)`` of the squared residuals t, the majoriser
    ``sum_i w_i dist(b_i, c + span V)^2`` is minimised over c and V at once by the weighted mean
    and the leading eigenvectors about it (A6 of docs/theory/affine.md): for p <= 2 no step raises
    the smoothed cost. For p > 2 weights move by their power 1 / (p - 1) only, and nothing is
    promised of a step; the cheapest subspace seen is what counts.

    Parameters
    ----------
    B : ndarray, shape (n, d)
        Scaled: the largest entry near 1.
    c, V : ndarray, shapes (d,) and (d, k)
    omega : ndarray, shape (n,), or None
    p : float
    tol : float
        Falls of the cost below this share of it are none.
    max_iter : int
        Steps at most, O(n d^2 + d^3) each.
    """
    k = V.shape[1]
    weights = np.ones(len(B)) if omega is None else omega / float(omega.max())
    damping = 1.0 if p <= 2.0 else 1.0 / (p - 1.0)
    best = (c, V)
    least = math.inf
    floor = None
    stalled = 0
    pull: Array | None = None
    step = 0
    for step in range(max_iter + 1):
        t = _squared(B, c, V)
        top = float(t.max(initial=0.0))
        if top == 0.0:
            return c, V, step
        value = mean_norm(np.sqrt(t), omega, p)
        stalled = 0 if value < least * (1.0 - tol) else stalled + 1
        if value < least:
            least, best = value, (c, V)
        if stalled >= STALLED or step == max_iter or (p == 2.0 and step > 0):
            break
        floor = FIRST * value**2 if floor is None else floor * FALL
        new = (np.maximum(t, max(floor, 1e-26)) / top) ** (p / 2.0 - 1.0)
        new /= new.max()
        pull = new if pull is None or damping == 1.0 else pull ** (1.0 - damping) * new**damping
        w = weights * pull
        if not w.any():  # powers that left the range
            break
        c = w @ B / w.sum()
        R = B - c
        V = np.linalg.eigh((R * w[:, None]).T @ R)[1][:, B.shape[1] - k :]
    return (*best, step)


def residual_cost(B: Array, c: Array, V: Array, omega: Array | None, p: float) -> float:
    """The p-th root of the cost, up to a factor that depends on omega alone: for comparison."""
    return mean_norm(np.sqrt(_squared(B, c, V)), omega, p)


def power_of_two(B: Array) -> float:
    """A power of two near the largest entry; 0.0 for zeros."""
    top = float(np.abs(B).max(initial=0.0))
    return math.ldexp(1.0, min(max(math.frexp(top)[1], -1020), 1020)) if top > 0.0 else 0.0


def _squared(B: Array, c: Array, V: Array) -> Array:
    """Squared distances from ``c + span V``: of the remainder, so that small ones keep digits."""
    R = B - c
    R -= (R @ V) @ V.T
    return np.asarray(np.einsum("ij,ij->i", R, R))


def mean_norm(norms: Array, omega: Array | None, p: float) -> float:
    """``(sum omega r^p / sum omega)^(1/p)``."""
    top = float(norms.max(initial=0.0))
    if top == 0.0:
        return 0.0
    return top * float(np.average((norms / top) ** p, weights=omega)) ** (1.0 / p)
