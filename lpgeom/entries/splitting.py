"""ADMM for the entrywise objective: A - L = E, rank(L) <= k, ``sum W |E|^p`` small (theory 5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.entries.run import FactorsRun
from lpgeom.geometry.spectrum import leading
from lpgeom.rows.place import Place, place_of

GROWTH = 1.02
"""Factor by which the penalty grows a step. Slower growth ends lower: on word embeddings 1.1, 1.05,
1.02 and 1.01 end at 73.0, 72.1, 71.4 and 71.3% of the SVD's cost, in 70, 110, 200 and 300 steps."""

WINDOW = 5
"""Steps over which the cost has to stand still before it ends."""

TYPICAL_ROWS = 2048
"""Rows that show the size of a typical residual."""


def split(
    A: NDArray[Any],
    left: NDArray[Any],
    right: NDArray[Any],
    p: float,
    W: NDArray[Any] | None = None,
    *,
    max_iter: int = 200,
    tol: float = 1e-4,
    tick: Callable[[str], None] | None = None,
) -> FactorsRun:
    """Descend from the product ``left @ right``.

    One sweep a step: ``L = M_k`` (the best rank-k approximation of M = A - E + U, by the (d, d)
    Gram), ``E = prox(A - L + U)`` with the penalty rho, ``U <- U + A - L - E``. rho starts at the
    value for which a typical residual is moved halfway, ``(p/2) median|r|^(p-2)``, and grows by
    `GROWTH` a step. The problem is not convex: nothing is promised but that the cheapest L met is
    returned, the start among them. On a CUDA device if A is there.

    Parameters
    ----------
    A : ndarray, shape (n, d)
        float32 or float64; two more arrays of its size are held, for n < d three.
    left, right : ndarray, shapes (n, k) and (k, d)
    W : ndarray, shape (n, d), optional
        Weights, at most about 1; where they are 0 the entry of A must be finite but does not count.
    """
    n, d = A.shape
    place = place_of(A)
    xp = place.xp
    if n < d:  # the Gram is then the smaller one
        turned = None if W is None else place.array(W.T)
        found = split(
            place.array(A.T), right.T, left.T, p, turned,
            max_iter=max_iter, tol=tol, tick=tick,
        )  # fmt: skip
        return replace(found, left=found.right.T, right=found.left.T)
    k = right.shape[0]
    dtype = A.dtype
    U, M = np.zeros_like(A), np.empty_like(A)
    step = place.sweep_rows(d)
    L = xp.empty((min(step, n), d), dtype)
    left = left.astype(dtype, order="C" if place.on_device else "K")  # a copy: it is written to
    right = place.array(right, dtype)
    spare = np.empty_like(left)
    best_left, best_right, best = left, right, np.inf
    lam = _first_threshold(A, left, right, p, W)
    history: list[float] = []
    costs: list[float] = []
    converged = False
    while len(costs) < max_iter and not converged:
        total, G = 0.0, xp.zeros((d, d))
        for lo in range(0, n, step):
            hi = min(n, lo + step)
            if costs:  # the first L is the start
                place.matmul(M[lo:hi], right.T, out=left[lo:hi])
            place.matmul(left[lo:hi], right, out=L[: hi - lo])
            w = None if W is None else W[lo:hi]
            total += place.kernels.split_step(
                A[lo:hi], L[: hi - lo], U[lo:hi], M[lo:hi], w, lam, p, 1.0 / GROWTH
            )
            _add_gram(place, M[lo:hi], G)
        costs.append(total)
        if total < best:
            best, best_left, best_right = total, left, right
            left, spare = spare, left
        history.append(best)
        still = len(costs) > WINDOW and abs(costs[-1 - WINDOW] - total) <= WINDOW * tol * total
        converged = total == 0.0 or still
        if tick is not None:
            tick(f"cost {best:.6g}")
        lam /= GROWTH
        right = place.array(leading(G, k).T, dtype)
    return FactorsRun(best_left, best_right, best, tuple(history), len(costs), converged)


def _add_gram(place: Place, M: NDArray[Any], G: Any) -> None:
    """``G += M^T M``, M of either type, G float64; its lower triangle at least."""
    if not place.on_device:
        G += M.T @ M
        return
    # Column-major, the upper triangle: one half of the work. G is in C order: its lower one.
    block = G if M.dtype == G.dtype else place.xp.zeros(G.shape, dtype=M.dtype)
    place.kernels.rank_update(block.T, 1.0, M)
    if block is not G:
        G += block


def _first_threshold(
    A: NDArray[Any], left: NDArray[Any], right: NDArray[Any], p: float, W: NDArray[Any] | None
) -> float:
    """1 / rho for the penalty that moves a residual of typical size m halfway.

    m is the median over some thousand rows, which grossly wrong entries leave where it is; for
    p > 2, where the largest residuals are the cost, the largest.
    """
    some = slice(None, None, max(1, len(A) // TYPICAL_ROWS))
    place = place_of(A)
    A = A[some]
    r = np.abs(A - place.matmul(left[some], right, out=place.xp.empty(A.shape, A.dtype)))
    if W is not None:
        r = r[W[some] > 0.0]
    if not r.any():
        return 1.0
    middle = float(np.median(r)) or float(r.mean()) if p <= 2.0 else 0.0
    m = middle or float(r.max())  # the mean of numbers near 5e-324 may be 0
    return 2.0 / p * math.exp(min((2.0 - p) * math.log(m), 600.0))
