"""One problem, solved for the ranks that are asked about; which rank a share of the cost, or a rule
such as parallel analysis, asks for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.affine.affine import approx_affine, centre_of, check_support_fraction
from lpgeom.affine.result import AffineResult
from lpgeom.affine.robust.cloud import Cloud
from lpgeom.affine.robust.support import trusted
from lpgeom.estimator.axes import DistinctRows, scatter_weights
from lpgeom.geometry.median import median_bound
from lpgeom.rows.base import Array
from lpgeom.subspace.svd_curve import svd_cost_curve

LEVEL = 20
"""Without structure a value is in the largest twentieth of its own and those of all shuffles with
that probability."""

ENTRIES = 1 << 22
"""Shuffled in all, about: columns 399 times, from 10,000 entries on less often, 39 at least."""

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
        """How many components that means for these rows; a rule may say 0."""
        rows, weights = self.data.rows, self.data.weights
        most = min(rows.shape)
        if wanted is None:
            return most
        if isinstance(wanted, (int, np.integer)):
            return int(wanted)
        share = check_support_fraction(self.options.get("support_fraction"))
        if share is not None:  # rows in a far cluster would be given components of their own
            point = None if isinstance(self.center, str) else self.centre
            masses = np.ones(len(rows)) if weights is None else weights
            agreed = trusted(Cloud.of(rows, masses, point), most, share, self.seed)
            options = {**self.options, "support_fraction": None}
            rest = replace(self, data=self.data.of(agreed), options=options, found={})
            return min(rest.n_components(wanted), most)
        if most == 1 or self.total_cost == 0.0:
            return 1
        B = rows - self.centre
        if isinstance(wanted, str):
            return RULES[wanted](B, weights, self.p, most, self.seed)
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

    Eigenvalues of the l_p scatter ``sum_i omega_i ||b_i||^(p-2) b_i b_i^T`` are compared, largest
    with largest and so on, with those after every column has been shuffled on its own, which keeps
    each column's values and breaks what columns have in common. The answer is the number of leading
    ones that are in the largest twentieth of their counterparts. Independent columns are
    exchangeable with shuffled ones: one is found where there is none with probability 1/20 at most.
    Beside a strong component a weak one may stay below what shuffles of both reach: the rule errs
    towards fewer.

    Sources: J. Horn, "A rationale and test for the number of factors in factor analysis",
    Psychometrika 1965; A. Buja and N. Eyuboglu, "Remarks on parallel analysis", Multivariate
    Behavioral Research 1992.
    """
    rng = np.random.default_rng(seed)
    own = scatter_values(B, omega, p)
    place = min(max(ENTRIES // (LEVEL * B.size), 2), 20)
    shuffled = [
        scatter_values(rng.permuted(B, axis=0), omega, p)[:most] for _ in range(LEVEL * place - 1)
    ]
    beaten = np.sort(shuffled, axis=0)[-place]
    # What is not above them by more than rounding does not stand out.
    return _leading(own[:most] > beaten * (1.0 + 1e-9))


def profile_rank(B: Array, omega: Array | None, p: float, most: int, seed: int) -> int:
    """Where eigenvalues of the l_p scatter fall into two groups best: profile likelihood.

    Each group is normal about its mean, with one variance for both; the answer is the size of the
    first group, at least 1, that makes the values likeliest. Source: M. Zhu and A. Ghodsi,
    "Automatic dimensionality selection from the scree plot via the use of profile likelihood",
    Computational Statistics and Data Analysis 2006.
    """
    values = scatter_values(B, omega, p)[:most]
    spread = [
        float(((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum())
        for x, y in (np.split(values, [q]) for q in range(1, len(values)))
    ]
    return int(np.argmin(spread)) + 1


def broken_stick_rank(B: Array, omega: Array | None, p: float, most: int, seed: int) -> int:
    """Eigenvalues of the l_p scatter above those of a stick broken at random, the leading ones.

    The j-th longest of d pieces is expected to be ``(1/j + ... + 1/d) / d`` of the stick. Source:
    D. Jackson, "Stopping rules in principal components analysis", Ecology 1993.
    """
    values = scatter_values(B, omega, p)
    d = len(values)
    pieces = np.cumsum(1.0 / np.arange(d, 0.0, -1.0))[::-1] / d
    return _leading(values[:most] > pieces[:most] * values.sum())


RULES: dict[str, Callable[[Array, Array | None, float, int, int], int]] = {
    "auto": parallel_rank,
    "profile": profile_rank,
    "broken-stick": broken_stick_rank,
}
"""How many components, by name: a function of centred rows, weights, p, most and a seed."""


def _leading(stands: NDArray[np.bool_]) -> int:
    """How many there are before the first that does not."""
    return len(stands) if stands.all() else int(np.argmin(stands))


def scatter_values(B: Array, omega: Array | None, p: float) -> Array:
    """The min(n, d) eigenvalues of the l_p scatter that may not be 0, falling."""
    Z = B * np.sqrt(scatter_weights(B, omega, p))[:, None]
    gram = Z.T @ Z if len(Z) >= Z.shape[1] else Z @ Z.T
    return np.asarray(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0))
