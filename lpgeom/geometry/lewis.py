"""Lewis weights: the ellipsoid of theory 1, by fixed-point iteration."""

from __future__ import annotations

import numpy as np

from lpgeom.results import LewisWeights
from lpgeom.rows.base import Array, Rows

EPS = float(np.finfo(np.float64).eps)


def whitener(M: Array, rank: int | None = None) -> tuple[Array, int]:
    """X of shape (d, r) with ``X^T M X = I`` on the range of M, and r.

    ``||a X||^2 = a^T M^+ a`` for every a in the range.
    """
    lam, U = np.linalg.eigh(M)
    floor = M.shape[0] * EPS * max(float(lam[-1]), 0.0)
    r = int(np.count_nonzero(lam > floor)) if rank is None else rank
    return U[:, lam.size - r :] / np.sqrt(lam[lam.size - r :]), r


def lewis_iteration(
    rows: Rows,
    p: float,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
) -> LewisWeights:
    """Lewis weights of the rows to `tol` in ``max_i |log(tau_i / w_i^(2/p))|``, and kappa.

    One pass an iteration: ``tau`` in the metric of the present M, the next weights from it, the
    next M from those. For p < 4 the step is ``w <- tau^(p/2)``, a contraction of log w by the
    factor |1 - p/2| (Cohen and Peng, STOC 2015); from p = 4 on it is the geometric mean
    ``w <- sqrt(w w^(1-2/p) tau)``.
    """
    n, d = rows.shape
    Y2 = rows.squared_norms()
    alive = Y2 > 0.0
    w = np.where(alive, 1.0, 0.0)
    M = rows.weighted_gram()
    X, r = whitener(M)
    power = 1.0 - 2.0 / p
    converged = False
    kappa = np.inf
    n_iter = 0
    if p == 2.0:
        tau = rows.quadratic_form(X)
        return LewisWeights(tau, M, 1.0, r, p, 1, True)

    def gram_weights(w: Array) -> Array:
        return np.where(w > 0.0, np.where(w > 0.0, w, 1.0) ** power, 0.0)

    # The plain Gram is M for w = 1 (p aside): tau in it starts the iteration.
    tau = rows.quadratic_form(X)
    while True:
        new = tau ** (p / 2.0) if p < 4.0 else np.sqrt(w ** (2.0 - 2.0 / p) * tau)
        w = np.where(alive, np.maximum(new, 1e-300), 0.0)
        w *= r / w.sum()
        M = rows.weighted_gram(gram_weights(w))
        X, r = whitener(M, r)
        tau = rows.quadratic_form(X)
        n_iter += 1
        gap = tau[alive] / w[alive] ** (2.0 / p)
        kappa = float(gap.max())
        change = float(np.abs(np.log(np.maximum(gap, 1e-300))).max())
        if change <= tol:
            converged = True
            break
        if n_iter >= max_iter:
            break
    return LewisWeights(w, M, kappa, r, p, n_iter, converged)
