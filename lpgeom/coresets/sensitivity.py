"""Upper bounds on the sensitivities of rows, by Lewis weights, and the sizes that they ask for.

The sensitivity of row i is its largest share of the cost of a subspace,
``sup_V ||a_i - a_i V V^T||^p / cost(V)``. All rows are nonzero; row weights are folded in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lpgeom.geometry.fixed_point import SMALLEST
from lpgeom.geometry.lewis import gram_weights, lewis_iteration
from lpgeom.geometry.spectrum import EPS, Spectrum, in_like_units, most_rank, spectrum
from lpgeom.rows.array import ArrayRows
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
    n = rows.shape[0]
    inner, start, lewis, spec = lewis_metric(rows, p, tol=TOLERANCE, max_iter=MAX_ITER)
    if start.rank == 0:
        return Sensitivities(np.zeros(n), 0.0, 0, p)
    kappa = proved_kappa(inner, lewis.weights, spec, spec.whitener(), lewis.kappa, p)
    if spec.rank < rank_at_most(rows, spec.rank):  # nothing is proved of what was dropped
        kappa = math.inf
    return Sensitivities(lewis.weights, kappa * float(lewis.weights.sum()), start.rank, p)


def lewis_metric(rows: Rows, p: float, **options: Any) -> tuple[Any, Spectrum, Any, Spectrum]:
    """(rows, their spectrum, Lewis weights, the spectrum of M), in units that suit float64.

    Weights are the same in any coordinates, and so is the share of a row in ``||AX||^p``.
    """
    n, d = rows.shape
    inner = rows.reduced()[0] if n < d else rows
    if isinstance(inner, ArrayRows):
        inner = in_like_units(inner, p)[0]
    start = spectrum(inner)
    if start.rank == 0:
        return inner, start, None, start
    return inner, start, *lewis_iteration(inner, p, start=start, **options)


def rank_at_most(rows: Rows, seen: int) -> int:
    """No less than the rank of the rows as they are; `seen` is what float64 makes of it."""
    if seen == min(rows.shape) or not isinstance(rows, ArrayRows):
        return min(rows.shape)
    return most_rank(rows.dense())


def metric_error(spec: Spectrum, n: int, least: float) -> float:
    """By what share ``||x||`` in the metric of a spectrum may be off, where it is at least
    ``least^(1/2)`` of the Euclidean norm (docs/theory/rounding.md)."""
    share = float(np.maximum(spec.eigvals, 0.0).sum()) / max(least, SMALLEST)
    unit = 4.0 * EPS * (math.sqrt(n) + len(spec.U) + 64.0)
    return unit * (share if spec.squared else math.sqrt(share))


def proved_kappa(
    rows: Rows, w: Array, spec: Spectrum, X: Array, measured: float, p: float
) -> float:
    """kappa from above: `measured` with X, rounding of ``a_i X`` and of X itself allowed for.

    inf where X is too far from a whitener for float64.
    """
    n, d = rows.shape
    alive = w > 0.0
    sizes = np.where(alive, rows.squared_norms() / np.where(alive, w, 1.0) ** (2.0 / p), 0.0)
    root = math.sqrt(measured) + (d + 8.0) * EPS * float(np.linalg.norm(X)) * math.sqrt(
        numbers(kept(sizes).max())[0]
    )
    e = metric_error(spec, n, 1.0 / float((X * X).sum(axis=0).max()))
    return (root / (1.0 - e)) ** 2 if e < 0.5 else math.inf


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
    least_dimension, proof = math.inf, None
    for _ in range(MAX_ITER):
        spec = spectrum(inner, gram_weights(w, p))
        X = _ridge_whitener(spec, n, k)
        # Weights and tau of any size will do, as long as they are not 0: kappa is measured.
        tau = np.maximum(inner.quadratic_form(X), SMALLEST)
        ratio = kept(np.where(alive, tau, 1.0) / np.where(alive, w, 1.0) ** (2.0 / p))
        most, total, least = numbers(
            np.where(alive, ratio, 0.0).max(), w.sum(), np.where(alive, ratio, np.inf).min()
        )
        if proof is None or most * total < least_dimension:
            least_dimension, proof = most * total, (w, spec, X, most)
        if max(abs(np.log(most)), abs(np.log(least))) <= TOLERANCE:
            break
        w = kept(np.where(alive, np.maximum(w * ratio ** (step * p / 2.0), SMALLEST), 0.0))
    assert proof is not None
    w, *_ = proof
    kappa = (1.0 + 1.0 / k) * proved_kappa(inner, *proof, p)
    return Sensitivities(w, kappa * numbers(w.sum())[0], start.rank, p, k)


def _ridge_whitener(spec: Spectrum, n: int, k: int) -> Array:
    """X with ``||a X||^2 = a^T (M + lambda)^-1 a``, lambda no larger than it is."""
    lam = np.maximum(spec.eigvals, 0.0)
    off = metric_error(spec, n, 1.0)
    sure = lam - off if spec.squared else np.maximum(np.sqrt(lam) - off, 0.0) ** 2
    ridge = float(np.maximum(sure[: lam.size - k], 0.0).sum()) / k
    return spec.U / np.sqrt(np.maximum(lam + ridge, SMALLEST))


# ---------------------------------------------------------------- sizes
#
# How many rows a relative error takes, and what error a number of rows gives. Each function is a
# theorem of docs/coresets.md: draws are independent, one from each of `size` strata of equal
# probability, and row i has sensitivity at most ``total * prob_i``.

Needed = Callable[[float], float]
"""Draws that a relative error eps takes (decreasing in eps)."""

LARGEST_EPS = 1e6


@dataclass(frozen=True)
class Theorem:
    """A name from docs/coresets.md, and how many draws it asks for."""

    name: str
    needed: Needed

    def eps(self, size: int) -> float:
        """The smallest eps that `size` draws are enough for; inf if there is none."""
        if self.needed(LARGEST_EPS) > size:
            return math.inf
        low, high = 0.0, LARGEST_EPS
        while high - low > 1e-9 * high:  # `high` is enough throughout
            middle = math.sqrt(low * high) if low > 0.0 else high / 1e3
            if middle < 1e-9:
                break
            low, high = (low, middle) if self.needed(middle) <= size else (middle, high)
        return high

    def size(self, eps: float) -> float:
        """Draws that are enough for eps: a whole number, or inf."""
        needed = self.needed(eps)
        return math.ceil(needed) if math.isfinite(needed) else math.inf


def fixed_subspace(s: Sensitivities, delta: float) -> Theorem:
    """C3, Bernstein's inequality: ``2 S (1 + eps/3) ln(2/delta) / eps^2``."""
    S = s.total
    return Theorem("C3", lambda eps: 2.0 * S * (1.0 + eps / 3.0) * math.log(2.0 / delta) / eps**2)


def every_subspace(s: Sensitivities, delta: float) -> list[Theorem]:
    """C4, C5, C6, where they apply. Only for sensitivities over every rank."""
    if s.k is not None or s.rank == 0:
        return []
    needed = {"C6": _net}
    if s.p <= 2.0:
        needed |= {"C5": _chernoff} if s.p == 2.0 else {"C4": _contraction}
    return [Theorem(name, partial(draws, s, delta)) for name, draws in needed.items()]


def _contraction(s: Sensitivities, delta: float, eps: float) -> float:
    """C4, 1 <= p < 2: ``8 L^2 D (1 + eps / (6 L)) ln(4 n / delta) / eps^2``, ``L = p D^(1-1/p)``.

    At p = 1, ``8 D (1 + eps/6) ln(4 n / delta) / eps^2``.
    """
    D = s.dimension
    L = s.p * D ** (1.0 - 1.0 / s.p)
    n = np.count_nonzero(s.weights)
    return 8.0 * L * L * D * (1.0 + eps / (6.0 * L)) * math.log(4.0 * n / delta) / eps**2


def _chernoff(s: Sensitivities, delta: float, eps: float) -> float:
    """C5, p = 2: ``2 D (1 + eps/3) ln(2 r / delta) / eps^2``, r the rank."""
    return 2.0 * s.dimension * (1.0 + eps / 3.0) * math.log(2.0 * s.rank / delta) / eps**2


def _net(s: Sensitivities, delta: float, eps: float) -> float:
    """C6, every p: C3 with error eta on a gamma-net of the unit sphere, ``(1 + 2/gamma)^r`` points.

    Then ``((1 + eta)^(1/p) / (1 - gamma))^p <= 1 + eps`` and ``(1 - eta)^(1/p) - gamma
    (1 + eps)^(1/p) >= (1 - eps)^(1/p)``, the second for eps < 1: it is void above. The best gamma
    is looked for on a grid; each is valid.
    """
    p, S = s.p, s.total
    gamma = np.geomspace(1e-6, 0.5, 200)
    eta = (1.0 - gamma) ** p * (1.0 + eps) - 1.0
    if eps < 1.0:
        least = (1.0 - eps) ** (1.0 / p) + gamma * (1.0 + eps) ** (1.0 / p)
        eta = np.minimum(eta, 1.0 - least**p)
    good = eta > 0.0
    if not good.any():
        return math.inf
    eta, gamma = eta[good], gamma[good]
    logs = s.rank * np.log1p(2.0 / gamma) + math.log(2.0 / delta)
    return float((2.0 * S * (1.0 + eta / 3.0) / eta**2 * logs).min())
