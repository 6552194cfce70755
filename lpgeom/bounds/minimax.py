"""Lower bounds at p = inf: the largest distance is at least any weighted mean of them.

For w >= 0 with sum 1 and any projection Q of rank m, ``max_i ||Q a_i||^2 >= sum_i w_i a_i^T Q a_i
>= sigma_m(sum_i w_i a_i a_i^T)``, the sum of the m smallest eigenvalues (Ky Fan). The largest of
these bounds is the minimum of ``max_i a_i^T Q a_i`` over the Fantope (docs/theory/minimax.md).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, xlogy

from lpgeom.bounds.evidence import Evidence, Weights
from lpgeom.bounds.linear import least_sums
from lpgeom.bounds.rounding import EPS
from lpgeom.geometry.spectrum import eigen
from lpgeom.records.subspace import Bound
from lpgeom.rows.array import ArrayRows, gathered
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.vectors import entries, largest, numbers

STEPS = {"fast": (40, 40, 40), "tight": (80, 80, 120, 120)}
"""Quasi-Newton steps at each temperature."""

COOLING = {"fast": (0.2, 0.04, 0.008), "tight": (0.2, 0.04, 0.008, 0.001)}
"""Temperatures, as shares of the bound per direction left out."""

ROUNDS = {"fast": 3, "tight": 6}
"""How often rows that the weights left out are looked at."""

ENOUGH = {"fast": 1e-3, "tight": 1e-5}
"""A round that raises the square of the bound by less than this share is the last."""

MOST_ROWS = 1500
"""Rows that carry weight at most, the farthest first; 4d where that is more."""


def minimax_bounds(rows: Rows, evidence: Evidence, k: int, level: str) -> list[Bound]:
    """ "john" (3j) from John's weights if they are known, and "minimax" (3k), p = inf.

    Passes over the rows: about one a round of `dual_weights`.
    """
    candidates = list(evidence.duals)
    bounds = []
    if evidence.lewis is not None:
        john = Weights.of(evidence.lewis.weights)
        bounds.append(weighted_bound("john", "3j", rows, john, k))
        candidates.append(john)
    effort = "fast" if level == "fast" else "tight"
    best, _ = dual_weights(rows, candidates, k, evidence.t, effort)
    bounds.append(weighted_bound("minimax", "3k", rows, best, k))
    return bounds


def weighted_bound(name: str, theorem: str, rows: Rows, weights: Weights, k: int) -> Bound:
    """The bound of those weights; the rows that have weight are fetched.

    ``sigma_m`` comes from the Gram or, where squaring would lose it, from a triangular factor: its
    singular values are off by at most ``(sqrt(n) + d) eps`` times the Frobenius norm.
    """
    part = ArrayRows(gathered(rows, weights.index))
    n = part.shape[0]
    w = weights.values / weights.values.max()
    total = float(w.sum()) * (1.0 + n * EPS)
    ((value, factored),) = least_sums(part, w, [k])
    scaled = math.sqrt(value / total) * (1.0 - 16.0 * EPS)
    witness = {"index": weights.index.astype(np.int64), "weights": w, "factored": factored}
    return Bound(name, theorem, scaled, witness=witness, p=math.inf)


def dual_weights(
    rows: Rows, candidates: list[Weights], k: int, t: Array, level: str
) -> tuple[Weights, Array]:
    """Weights with a large bound, and the (d, d) matrix ``sum w a a^T`` they end with.

    Parameters
    ----------
    rows : Rows
    candidates : list of Weights
        Where to begin: the best of them, mixed with a little of the others.
    k : int
    t : ndarray, shape (n,)
        Squared distances from a good subspace: the farthest rows join from the start.
    level : {"fast", "tight"}

    Notes
    -----
    The concave function ``sigma_m(sum w a a^T)`` has kinks where eigenvalues m and m + 1 meet, as
    they do at the maximum. It is smoothed: ``min <G, Q> - T S(Q)`` over the Fantope, S the sum of
    binary entropies of Q's eigenvalues, attained at ``q_j = 1 / (1 + exp((lam_j - theta) / T))``.
    Its gradient by w_i is ``a_i^T Q a_i``. With ``w = x^2 / ||x||^2`` it is maximised over x by
    L-BFGS as T falls; between rounds rows that are farther than the mean under Q are brought in.
    Every iterate gives a bound, and the one with the best is kept. A step costs O(s d^2 + d^3) for
    s rows with weight, a round one pass over all rows.
    """
    n, d = rows.shape
    m = d - k
    room = min(n, max(MOST_ROWS, 4 * d))
    farthest = largest(t, min(n, room // 2))[0]
    index = np.unique(np.concatenate([farthest, *(c.index for c in candidates)]))
    if index.size > room:
        (top,) = numbers(t.max())
        score = entries(t, index) / max(top, 1e-300)
        for c in candidates:
            score[np.searchsorted(index, c.index)] += 1.0 + c.values / c.values.max()
        index = index[largest(score, room)[0]]
    B = gathered(rows, index)
    starts = [w / w.sum() for w in (c.at(index) for c in candidates) if w.any()]
    best_value, best = -math.inf, np.full(index.size, 1.0 / index.size)
    for w in starts:
        value = float(eigen((B * w[:, None]).T @ B)[0][:m].sum())
        if value > best_value:
            best_value, best = value, w
    w = 0.8 * best + 0.2 * sum(starts, np.zeros(index.size)) / max(len(starts), 1)
    best = best.copy()
    for _ in range(ROUNDS[level]):
        before = best_value
        for share, most in zip(COOLING[level], STEPS[level], strict=True):
            steps = max(10, min(most, int(most * (100.0 / d) ** 1.5)))  # each takes O(d^3)
            w = np.maximum(w, 1e-6 / index.size)
            w, Q, best_value, best = _ascend(B, w / w.sum(), m, share, steps, best_value, best)
        # What the rows without weight say of the bound: none is farther, or they join.
        far = rows.bilinear_form(Q)
        level_now = max(float(w @ entries(far, index)), 1e-300)
        # Enough of the farthest that those without weight are among them.
        joins, t_far = largest(far, index.size + room // 4)
        new = (t_far > 1.001 * level_now) & ~np.isin(joins, index, assume_unique=True)
        joins, t_far = joins[new], t_far[new]
        if joins.size == 0 and best_value <= before * (1.0 + ENOUGH[level]):
            break
        if joins.size:
            joins = joins[largest(t_far, max(1, room // 4))[0]]
            heavy = w > 1e-5 / index.size
            now, then = Weights(index[heavy], w[heavy]), Weights(index, best)
            index = np.unique(np.concatenate([now.index, joins, index[best > 0.0]]))
            B = gathered(rows, index)
            w, best = now.at(index), then.at(index)
            w[np.searchsorted(index, joins)] = 0.1 / joins.size
        w = 0.5 * (w / w.sum() + best)
    return Weights.of(best).among(index), (B * best[:, None]).T @ B


def _ascend(
    B: Array, w: Array, m: int, share: float, steps: int, best_value: float, best: Array
) -> tuple[Array, Array, float, Array]:
    """L-BFGS at one temperature; the last weights and Q, and the best bound seen with its w."""
    lam = eigen((B * w[:, None]).T @ B)[0]
    unit = max(float(lam[:m].sum()), 1e-12 * float(lam.sum()), 1e-300)
    T = share * unit / m
    kept: list[tuple[float, Array]] = [(best_value, best)]
    last = [np.zeros((B.shape[1],) * 2)]

    def negative(x: Array) -> tuple[float, Array]:
        square = float(x @ x)
        w = x * x / square
        lam, U = eigen((B * w[:, None]).T @ B)
        value = float(lam[:m].sum())
        if value > kept[0][0]:
            kept[0] = (value, w)
        q, entropy = fermi(lam, m, T)
        last[0] = (U * q) @ U.T
        t = np.einsum("ij,ij->i", B @ last[0], B)
        mean = float(w @ t)
        return -(mean - T * entropy) / unit, -2.0 * x / square * (t - mean) / unit

    found = minimize(
        negative,
        np.sqrt(w),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": steps + 20, "ftol": 1e-10, "gtol": 1e-9, "maxcor": 20},
    )
    x = found.x
    negative(x)
    return x * x / float(x @ x), last[0], *kept[0]


def fermi(lam: Array, m: int, T: float) -> tuple[Array, float]:
    """``q = 1 / (1 + exp((lam - theta) / T))`` with sum m, and its entropy ``-sum q log q + ...``.

    The sum grows with theta, from 0 to d. q minimises ``<lam, q> - T entropy`` over 0 <= q <= 1,
    sum q = m.
    """
    x = lam / T
    low, high = float(x[0]) - 40.0, float(x[-1]) + 40.0
    theta = brentq(lambda at: float(expit(at - x).sum()) - m, low, high, disp=False)
    q, rest = expit(theta - x), expit(x - theta)
    return q, -float((xlogy(q, q) + xlogy(rest, rest)).sum())
