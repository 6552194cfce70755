"""Lower bounds in closed form: Lewis trace, Lewis sharpened, chord, spectral (theory 3a-3c).

Each holds for the cost of every rank-k subspace and costs at most one pass over A. They depend on k
through a sum of eigenvalues only: the functions ending in ``_at`` give the bounds of several ranks
for the passes of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lpgeom.bounds.rounding import EPS, allowance, ky_fan_sums
from lpgeom.geometry.lewis import LewisWeights, gram_weights
from lpgeom.geometry.spectrum import eigen, spectrum
from lpgeom.records.subspace import Bound
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.vectors import numbers

NOUGHT = 4.0
"""Roots of forms below this many of their roundings count as 0: what a long row has left of its
length must not weigh as if it were something."""


def spectral_at(rows: Rows, ks: Sequence[int]) -> list[Bound]:
    """p = 2: the sum of the m smallest eigenvalues of ``A^T A``, which the SVD attains.

    One pass over A; a QR of it where `least_sums` needs one.
    """
    return [
        Bound("spectral", "3a", value, witness={"factored": factored}, p=2.0)
        for value, factored in least_sums(rows, None, ks)
    ]


def least_sums(rows: Rows, w: Array | None, ks: Sequence[int]) -> Iterator[tuple[float, bool]]:
    """For each k the sum of the d - k smallest eigenvalues of the Gram, from below, and how.

    Where the residual is so small beside A that squaring loses it (the allowance would exceed
    1e-10 of the bound), the singular values of a triangular factor of A are used instead; they
    are off by at most ``(sqrt(n) + d) eps ||A||_F`` each.
    """
    n, d = rows.shape
    G = rows.weighted_gram(w)
    size = float(np.trace(G))
    sums = ky_fan_sums(G, n, size)
    sigma: Any = None
    for k in ks:
        value = float(sums[d - k - 1])
        factored = allowance(n, d, size) > 1e-10 * value
        if factored:
            if sigma is None:
                sigma = np.linalg.svd(rows.triangle(w), compute_uv=False)
            value = float((np.maximum(sigma[k:] - factor_error(n, d, size), 0.0) ** 2).sum())
        yield max(value, 0.0), factored


MOST_ROOM = 100.0
"""Logarithm of what kappa is raised by at most: beyond, rounding leaves nothing of it, or p is so
near 2 that it says nothing."""


def chord_at(rows: Rows, ks: Sequence[int], p: float) -> list[Bound]:
    """3c, 1 <= p <= 2: ``t^(p/2) >= t Y^(p-2)`` on [0, Y^2], one weighted Gram.

    One pass over A.
    """
    n, d = rows.shape
    Y2 = rows.squared_norms()
    w = np.where(Y2 > 0.0, np.where(Y2 > 0.0, Y2, 1.0) ** (p / 2.0 - 1.0), 0.0)
    sums = ky_fan_sums(rows.weighted_gram(w), n, float((w * Y2).sum()))
    return [Bound("chord", "3c", max(float(sums[d - k - 1]), 0.0), p=p) for k in ks]


def lewis_bounds_at(
    rows: Rows, lewis: LewisWeights, ks: Sequence[int], p: float
) -> list[list[Bound]]:
    """3a and 3b from Lewis weights of the rows, exact or not, with their measured kappa.

    No pass over A for p < 2, full rank and a well-conditioned M; up to two otherwise.
    """
    n, d = rows.shape
    spec = spectrum(rows, gram_weights(lewis.weights, p), gram=lewis.M)
    r = spec.rank
    if p > 2.0:
        # Hölder with w = tau^(p/2), which the verifier can recompute from the metric:
        # cost >= (sum w)^(1-p/2) S^(p/2), S the m smallest eigenvalues of A^T W^(1-2/p) A.
        X = spec.whitener()
        return [[bound] for bound in holder_bounds_at("lewis_trace", "3a", rows, X, ks, p)]
    lam = np.maximum(spec.eigvals[d - r :][::-1], 0.0)
    sigma = np.sqrt(lam)
    lower = np.maximum(sigma - factor_error(n, d, float(lam.sum())), 0.0)
    # Leverages in a metric whose root has condition c carry a relative error of d eps c; where the
    # root comes from the metric itself, which is off by eps of its largest eigenvalue, d eps c^2.
    condition = float(sigma[0] / max(sigma[-1], EPS * sigma[0]))
    # By as much the metric is off from the sum that it stands for: kappa^(p/2-1) is lowered by it.
    # And it is eight times what the check takes off, here and for its sum of r terms near kappa.
    off = 32.0 * d * EPS * condition ** (2 if spec.squared else 1)
    off += allowance(n, d, r * lewis.kappa)
    room = 2.0 * math.log1p(off) / (2.0 - p)
    if room > MOST_ROOM:
        return [[] for _ in ks]
    kappa = lewis.kappa * (1.0 + off) * math.exp(room)
    # Directions that the metric does not see shorten row i by e_i: in norms the cost is off by at
    # most (sum ||e_i||^p)^(1/p).
    outside = 0.0
    if r < d:
        lost = 4.0 * EPS * math.sqrt(d) * _norm(rows.squared_norms(), p)
        outside = (_norm(rows.quadratic_form(spec.U[:, : d - r]), p) + lost) * (1.0 + off)
    R = sigma[:, None] * spec.U[:, d - r :][:, ::-1].T
    witness = {"R": R, "kappa": kappa}
    bounds = []
    for k in ks:
        if spec.squared:
            rounding = allowance(n, d, float(lam.sum()))
        else:
            rounding = float((lam[k:] - lower[k:] ** 2).sum())
        raw = (
            ("lewis_trace", "3a", max(float(lam[k:].sum()) - rounding, 0.0) ** (p / 2.0)),
            ("lewis_sharpened", "3b", sharpened(lam, k, p, rounding)),
        )
        pair = []
        for name, theorem, value in raw:
            norm = (value * kappa ** (p / 2.0 - 1.0)) ** (1.0 / p) - outside
            scaled = max(norm, 0.0) ** p * (1.0 - 64.0 * EPS)
            pair.append(Bound(name, theorem, float(scaled), witness=witness, p=p))
        bounds.append(pair)
    return bounds


def sharpened(lam: Array, k: int, p: float, rounding: float) -> float:
    """``min over mu in [lam_{k+1}, lam_1] of (mu + T) mu^(p/2-1)``, T = sum of lam_i, i >= k + 2.

    mu is the largest eigenvalue of QMQ; the others add up to at least T (Cauchy interlacing). The
    minimum lies at ``mu = clip(T (2-p)/p)``. `lam` descending; T is lowered by `rounding`, mu may
    leave the interval by it, and the minimum over a longer interval is no larger.
    """
    if k >= lam.size:
        return 0.0
    T = max(float(lam[k + 1 :].sum()) - rounding, 0.0)
    low = max(float(lam[k]) - rounding, 0.0)
    mu = min(max(T * (2.0 - p) / p, low), float(lam[0]) + rounding)
    if mu <= 0.0:
        return 0.0
    return (mu + T) * mu ** (p / 2.0 - 1.0)


def _norm(t: Array, p: float) -> float:
    """``(sum t^(p/2))^(1/p)``."""
    return float((t ** (p / 2.0)).sum() ** (1.0 / p))


def factor_error(n: int, d: int, size: float) -> float:
    """Error of one singular value of a triangular factor of rows with ``||A||_F^2 = size``."""
    return EPS * (math.sqrt(n) + d) * math.sqrt(size)


def holder_bound(name: str, theorem: str, rows: Rows, Q0: Array, k: int, p: float) -> Bound:
    """p >= 2: ``cost >= S(u)^(p/2) / (sum u^(p/(p-2)))^(p/2-1)``, ``u_i = (a_i^T Q0 a_i)^(p/2-1)``.

    S(u) is the sum of the m smallest eigenvalues of ``sum u_i a_i a_i^T``. Hölder's inequality
    makes it a bound for every u >= 0; at a minimiser Q0 of ``sum (a^T Q a)^(p/2)`` over the
    Fantope it equals that minimum. Free of scale in u. Two passes over A.

    The witness is a root B of ``Q0 = B B^T``, so the statement has to hold for the u that another
    evaluation of the forms finds. Their roots ``||a B||`` are off by ``(d + 8) eps ||B|| ||a||``
    (docs/theory/rounding.md). Below `NOUGHT` times that they count as 0; above, S is that of the
    smallest u, and the sum that of the largest.
    """
    e, U = eigen(Q0)
    held = e > len(e) * EPS * max(e[-1], 0.0)
    root = U[:, held] * np.sqrt(e[held]) if held.any() else np.zeros((len(e), 1))
    return holder_bounds_at(name, theorem, rows, root, [k], p)[0]


def holder_bounds_at(
    name: str, theorem: str, rows: Rows, root: Array, ks: Sequence[int], p: float
) -> list[Bound]:
    """`holder_bound` for several ranks, from a root of Q0, (d, r)."""
    n, d = rows.shape
    r, Y2 = np.sqrt(rows.quadratic_form(root)), rows.squared_norms()
    off = (d + 8.0) * EPS * float(np.linalg.norm(root, 2)) * np.sqrt(Y2)
    u, total = _least_weights(r, off, p)
    (size,) = numbers((u * Y2).sum())
    sums = ky_fan_sums(rows.weighted_gram(u), n, size)
    witness = {"root": root}
    return [
        Bound(name, theorem, holder_value(float(sums[d - k - 1]), total, p), witness=witness, p=p)
        for k in ks
    ]


def _told(r: Array, off: Array) -> Array:
    """Roots of forms, 0 where they are not told from it."""
    return np.where(r >= NOUGHT * off, r, 0.0)


def _least_weights(r: Array, off: Array, p: float) -> tuple[Array, float]:
    """The smallest u, and the largest ``sum u^(p/(p-2))``, for roots r that are off by `off`."""
    (top,) = numbers(_told(r - off, off).max())
    if top == 0.0:  # nothing is told apart from 0: no bound
        return np.zeros_like(r), 1.0
    low, high = _told(r - off, off) / top, _told(r + off, off) / top
    (total,) = numbers((high**p).sum())
    return low ** (p - 2.0), total


def holder_weights(t: Array, p: float) -> tuple[Array, float]:
    """``u = (t/max t)^(p/2-1)`` and ``sum u^(p/(p-2)) = sum (t/max t)^(p/2)``."""
    t = np.maximum(t, 0.0)
    top = float(t.max())
    if top == 0.0:
        return np.ones_like(t), float(t.size)
    x = t / top
    return x ** (p / 2.0 - 1.0), float((x ** (p / 2.0)).sum())


def holder_value(smallest: float, total: float, p: float) -> float:
    """``smallest^(p/2) / total^(p/2-1)`` in logarithms, less the rounding of the powers."""
    if smallest <= 0.0:
        return 0.0
    s = p / 2.0
    log = s * math.log(smallest) - (s - 1.0) * math.log(total)
    # A search may meet a smallest that is rounding beside a long row, to a high power. The weights
    # are off by about p/2 eps each, raised to the power p/2.
    return math.exp(min(log, 700.0)) * (1.0 - 16.0 * (1.0 + p * p) * EPS)
