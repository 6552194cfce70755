"""Upper bounds on the sensitivities of rows: Lewis weights, and Lewis weights with a ridge.

The sensitivity of row i is its largest share of the cost of a subspace,
``sup_V ||a_i - a_i V V^T||^p / cost(V)``. All rows are nonzero; row weights are folded in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpgeom.geometry.fixed_point import SMALLEST
from lpgeom.geometry.lewis import gram_weights, lewis_iteration
from lpgeom.geometry.spectrum import Spectrum, spectrum
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.vectors import kept, numbers

TOLERANCE = 0.01
"""Any weights prove a bound, exact ones the smallest; this brings it within about 1% of that."""

MAX_ITER = 60


@dataclass(frozen=True)
class Sensitivities:
    """``sensitivity_i <= total * weights_i / sum(weights)``, in the order of the rows.

    Attributes
    ----------
    weights : ndarray, shape (n,)
        w >= 0, to which rows are drawn in proportion; 0 on zero rows.
    dimension : float
        ``D = kappa sum w``, times ``1 + 1/k`` with a ridge: what takes the place of d.
    rank : int
        Rank of the rows.
    p : float
    k : int or None
        The bounds hold for subspaces of rank k at most; None: of every rank.
    """

    weights: Array
    dimension: float
    rank: int
    p: float
    k: int | None = None

    @property
    def total(self) -> float:
        """``D`` for p <= 2, ``D^(p/2)`` above: the sum of the bounds (docs/coresets.md, C1, C2)."""
        return self.dimension ** max(1.0, self.p / 2.0)


def lewis_sensitivities(rows: Rows, p: float) -> Sensitivities:
    """C1. For any w > 0 and ``kappa = max tau_i / w_i^(2/p)``, theory 1 gives, for every matrix X,

    p <= 2: ``||a_i X||^p <= tau_i^(p/2) S_op^p`` and ``||AX||^p >= kappa^(p/2-1) S_op^p``, hence
    a share of at most ``kappa^(1-p/2) tau_i^(p/2) <= kappa w_i``;
    p >= 2: ``||AX||^p >= (sum w)^(1-p/2) S_F^p``, hence a share of at most
    ``kappa^(p/2) w_i (sum w)^(p/2-1)``.
    """
    n, d = rows.shape
    inner = rows.reduced()[0] if n < d else rows
    start = spectrum(inner)
    if start.rank == 0:
        return Sensitivities(np.zeros(n), 0.0, 0, p)
    lewis, _ = lewis_iteration(inner, p, tol=TOLERANCE, max_iter=MAX_ITER, start=start)
    total = lewis.kappa * float(lewis.weights.sum())
    return Sensitivities(lewis.weights, total, start.rank, p)


def ridge_sensitivities(rows: Rows, p: float, k: int) -> Sensitivities:
    """C2: ridge Lewis weights, for subspaces of rank k at most; their total is at most 2 (k + 1).

    ``M = A^T W^(1-2/p) A``, ``lambda = (sum of its d - k smallest eigenvalues) / k`` and
    ``tau_i = a_i^T (M + lambda)^-1 a_i``. For the projection Q of a subspace of rank k at most,
    ``lambda <= tr(Q M Q) / k = S_F^2 / k`` (Ky Fan), so that
    ``||a_i Q||^2 <= tau_i ||Q (M + lambda) Q||_op <= (1 + 1/k) tau_i S_F^2``.
    With ``kappa = max tau_i / w_i^(2/p)`` this is ``s_i^2 <= (1 + 1/k) kappa S_F^2`` for
    ``s_i = ||a_i Q|| / w_i^(1/p)``, and the proof of theory 1 goes on as before: kappa becomes
    ``(1 + 1/k) kappa``. The step ``w <- tau^(p/2)`` contracts like Lewis's own, because lambda
    grows with M as M does; at its fixed point ``sum w = tr(M (M + lambda)^-1) <= 2 k``.
    """
    n, d = rows.shape
    inner = rows.reduced()[0] if n < d else rows
    start = spectrum(inner)
    if start.rank <= k:  # some cost is 0: nothing to gain over every rank
        return lewis_sensitivities(rows, p)
    alive = kept(rows.squared_norms() > 0.0)
    # The damping of geometry.fixed_point: the plain step need not converge for p >= 4.
    step = 1.0 if p < 4.0 else 4.0 / (p + 2.0)
    w = alive.astype(np.float64)
    best = Sensitivities(w, np.inf, start.rank, p, k)
    for _ in range(MAX_ITER):
        g = gram_weights(w, p)
        # Weights and tau of any size will do, as long as they are not 0: kappa is measured.
        tau = np.maximum(inner.quadratic_form(_ridge_whitener(spectrum(inner, g), k)), SMALLEST)
        ratio = kept(np.where(alive, tau, 1.0) / np.where(alive, w, 1.0) ** (2.0 / p))
        most, total, least = numbers(
            np.where(alive, ratio, 0.0).max(), w.sum(), np.where(alive, ratio, np.inf).min()
        )
        dimension = (1.0 + 1.0 / k) * most * total
        if dimension < best.dimension:
            best = Sensitivities(w, dimension, start.rank, p, k)
        if max(abs(np.log(most)), abs(np.log(least))) <= TOLERANCE:
            break
        w = kept(np.where(alive, np.maximum(w * ratio ** (step * p / 2.0), SMALLEST), 0.0))
    return best


def _ridge_whitener(spec: Spectrum, k: int) -> Array:
    """X with ``||a X||^2 = a^T (M + lambda)^-1 a``."""
    lam = np.maximum(spec.eigvals, 0.0)
    ridge = float(lam[: lam.size - k].sum()) / k
    return spec.U / np.sqrt(np.maximum(lam + ridge, SMALLEST))
