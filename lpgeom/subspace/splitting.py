"""ADMM for the entrywise objective: A - L = E, rank(L) <= k, ``||E||_p^p`` small (theory 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.spectrum import eigen
from lpgeom.kernels.cpu.proximal import split_step
from lpgeom.rows.base import Array

GROWTH = 1.05
"""Factor by which the penalty grows a step: towards feasibility, away from the start."""

WINDOW = 5
"""Steps over which the cost has to stand still before it ends."""

BLOCK = 2048
"""Rows of one block."""

Tick = Callable[[str], None]


@dataclass(frozen=True)
class Split:
    """Where the splitting method ended: the cheapest ``left @ right`` it met.

    Attributes
    ----------
    left, right : ndarray, shapes (n, k) and (k, d)
        `right` has orthonormal rows.
    cost : float
        Entrywise cost as the steps saw it, in the type of the data.
    history : tuple of float
        Cheapest cost so far after each step.
    n_iter : int
    converged : bool
        False if `max_iter` ended it.
    """

    left: NDArray[Any]
    right: NDArray[Any]
    cost: float
    history: tuple[float, ...]
    n_iter: int
    converged: bool


def split(
    A: NDArray[Any],
    V: Array,
    p: float,
    *,
    max_iter: int = 100,
    tol: float = 1e-4,
    tick: Tick | None = None,
) -> Split:
    """Descend from the projection ``A V V^T``.

    One sweep a step: ``L = M_k`` (the best rank-k approximation of M = A - E + U, by the (d, d)
    Gram), ``E = prox(A - L + U)`` with the penalty rho, ``U <- U + A - L - E``. rho starts at the
    value for which a typical residual is moved halfway, ``(p/2) median|r|^(p-2)``, and grows by
    `GROWTH` a step. The problem is not convex: nothing is promised but that the cheapest L met is
    returned, the start among them.

    Parameters
    ----------
    A : ndarray, shape (n, d), n >= d for speed
        float32 or float64; two more arrays of its size are held.
    V : ndarray, shape (d, k)
        Orthonormal.
    """
    n, d = A.shape
    k = V.shape[1]
    dtype = A.dtype
    U, M = np.zeros_like(A), np.empty_like(A)
    left, spare = np.empty((n, k), dtype), np.empty((n, k), dtype)
    L = np.empty((min(BLOCK, n), d), dtype)
    right = np.ascontiguousarray(V.T, dtype=dtype)
    best_left, best_right, best = left, right, np.inf
    # The first step has no M: its L is the start, and its residuals set the penalty.
    source, lam = A, _first_threshold(A, right, p)
    history: list[float] = []
    costs: list[float] = []
    converged = False
    while len(costs) < max_iter and not converged:
        total, G = 0.0, np.zeros((d, d))
        for lo in range(0, n, BLOCK):
            hi = min(n, lo + BLOCK)
            np.matmul(source[lo:hi], right.T, out=left[lo:hi])
            np.matmul(left[lo:hi], right, out=L[: hi - lo])
            total += split_step(A[lo:hi], L[: hi - lo], U[lo:hi], M[lo:hi], lam, p, 1.0 / GROWTH)
            G += M[lo:hi].T @ M[lo:hi]
        costs.append(total)
        if total < best:
            best, best_left, best_right = total, left, right
            left, spare = spare, left
        history.append(best)
        still = len(costs) > WINDOW and abs(costs[-1 - WINDOW] - total) <= WINDOW * tol * total
        converged = total == 0.0 or still
        if tick is not None:
            tick(f"cost {best:.6g}")
        source, lam = M, lam / GROWTH
        right = np.ascontiguousarray(eigen(G)[1][:, d - k :].T, dtype=dtype)
    return Split(best_left, best_right, best, tuple(history), len(costs), converged)


def _first_threshold(A: NDArray[Any], right: NDArray[Any], p: float) -> float:
    """1 / rho for the penalty that moves a residual of typical size m halfway.

    m is the median over some thousand rows: grossly wrong entries leave it where it is.
    """
    some = A[:: max(1, len(A) // BLOCK)]
    r = np.abs(some - (some @ right.T) @ right)
    m = float(np.median(r)) or float(r.mean())
    return 2.0 / p * m ** (2.0 - p)
