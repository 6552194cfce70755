"""One problem, solved for the ranks that are asked about; which rank a share of the cost, or
parallel analysis, asks for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lpgeom.affine.affine import AffineResult, approx_affine, centre_of
from lpgeom.estimator.axes import DistinctRows, scatter_weights
from lpgeom.geometry.median import median_bound
from lpgeom.rows.base import Array
from lpgeom.subspace.svd_curve import svd_cost_curve

PERMUTATIONS = 19
"""Shuffles of the columns: without structure a share exceeds all 19 with probability 1/20."""

Costs = Callable[[int], float]


@dataclass
class ComponentSearch:
    """Solutions by rank, each found once; costs are those of the scaled rows.

    Attributes
    ----------
    data : DistinctRows
    p : float
    center : str, array or None
        The centre that is asked for.
    options : dict
        Options of `approx_affine`.
    """

    data: DistinctRows
    p: float
    center: str | Array | None
    seed: int
    options: dict[str, Any]
    found: dict[int, AffineResult] = field(default_factory=dict)

    def solve(self, k: int) -> AffineResult:
        """The subspace of dimension k, without a certificate."""
        if k not in self.found:
            self.found[k] = approx_affine(
                self.data.rows, k, self.p, row_weights=self.data.weights, centre=self.center,
                certify=False, seed=self.seed, **self.options,
            )  # fmt: skip
        return self.found[k]

    def n_components(self, wanted: int | float | str | None) -> int:
        """How many components that means for these rows."""
        rows, weights = self.data.rows, self.data.weights
        most = min(rows.shape)
        if wanted is None:
            return most
        if isinstance(wanted, (int, np.integer)):
            return int(wanted)
        if most == 1 or self.total_cost == 0.0:
            return 1
        B = rows - self.centre
        if isinstance(wanted, str):
            return parallel_rank(B, weights, self.p, most, self.seed)
        estimate = svd_cost_curve(B, self.p, row_weights=weights).cost
        target = (1.0 - float(wanted)) * self.total_cost
        return smallest_rank(lambda k: self.solve(k).cost, estimate, target, most)

    @cached_property
    def centre(self) -> Array:
        """The best point alone, or the given one."""
        return centre_of(self.data.rows, self.data.weights, self.p, self.center)

    @cached_property
    def total_cost(self) -> float:
        """What the centre alone costs."""
        return median_bound(self.data.rows, self.centre, self.p, row_weights=self.data.weights)[0]


def smallest_rank(cost: Costs, estimate: Array, target: float, most: int) -> int:
    """The smallest k in [1, most] with ``cost(k) <= target``, as found by halving.

    Parameters
    ----------
    cost : callable
        Cost of the solution of a rank; it does not rise with the rank.
    estimate : ndarray, shape (most + 1,)
        Upper estimates of it: where the search starts.
    target : float
    most : int
        Taken without asking where no smaller one will do.

    Notes
    -----
    `cost` is asked at k and, unless k = 1, at k - 1: the one is at most `target`, the other is not.
    Steps down from the first rank whose estimate will do are 1, 2, 4, ...
    """
    enough = np.flatnonzero(estimate[1 : most + 1] <= target)
    good = int(enough[0]) + 1 if enough.size else most
    while good < most and cost(good) > target:  # the estimate was of another solution
        good += 1
    bad, step = good - 1, 1
    while bad > 0 and cost(bad) <= target:
        good, bad, step = bad, max(bad - 2 * step, 0), 2 * step
    return bisect_left(range(most), True, bad + 1, good, key=lambda k: cost(k) <= target)


def parallel_rank(B: Array, omega: Array | None, p: float, most: int, seed: int) -> int:
    """Components that stand out from columns without any relation: parallel analysis.

    Eigenvalues of the l_p scatter ``sum_i omega_i ||b_i||^(p-2) b_i b_i^T`` are compared with those
    after every column has been shuffled on its own, which keeps each column's values and breaks
    what columns have in common. Component j stands out if its eigenvalue's share of those from j on
    exceeds that of all 19 shuffles; the answer is the number of leading components that do, at
    least 1 and at most `most`. Shares of what is left, and not eigenvalues, because a strong first
    component raises every eigenvalue of shuffled data, and would hide the ones after it.

    Sources: J. Horn, "A rationale and test for the number of factors in factor analysis",
    Psychometrika 1965; A. Buja and N. Eyuboglu, "Remarks on parallel analysis", Multivariate
    Behavioral Research 1992.
    """
    rng = np.random.default_rng(seed)
    own = _shares(B, omega, p)
    beaten = np.zeros_like(own)
    for _ in range(PERMUTATIONS):
        beaten = np.maximum(beaten, _shares(rng.permuted(B, axis=0), omega, p))
    # A share that is rounding of zero stands out from nothing.
    stands = own[:most] > beaten[:most] * (1.0 + 1e-9)
    count = most if stands.all() else int(np.argmin(stands))
    return max(1, count)


def _shares(B: Array, omega: Array | None, p: float) -> Array:
    """Each eigenvalue's share of those from it on, the last ones (rounding) 0."""
    pull = scatter_weights(B, omega, p)
    values = np.maximum(np.linalg.eigvalsh((B * pull[:, None]).T @ B)[::-1], 0.0)
    left = np.cumsum(values[::-1])[::-1]
    tiny = len(values) * float(np.finfo(np.float64).eps) * float(values[0])
    out = np.divide(values, left, out=np.zeros_like(values), where=values > tiny)
    return np.asarray(out)
