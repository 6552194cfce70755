"""One problem, solved for the ranks that are asked about."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lpgeom.affine.affine import AffineResult, approx_affine
from lpgeom.estimator.axes import Rows
from lpgeom.estimator.rank import parallel_rank, smallest_rank
from lpgeom.geometry.median import lp_median, median_bound
from lpgeom.rows.base import Array
from lpgeom.subspace.svd_curve import svd_cost_curve


@dataclass
class Search:
    """Solutions by rank, each found once; costs are those of the scaled rows."""

    data: Rows
    p: float
    center: str | None
    refine: bool
    method: str
    seed: int
    mean: Array | None = None
    found: dict[int, AffineResult] = field(default_factory=dict)

    def solve(self, k: int) -> AffineResult:
        """The subspace of dimension k, without a certificate."""
        if k not in self.found:
            self.found[k] = approx_affine(
                self.data.rows,
                k,
                self.p,
                centre=self.center if self.mean is None else self.mean,
                refine=self.refine,
                method=self.method,
                row_weights=self.data.weights,
                certify=False,
                seed=self.seed,
            )
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
        rows, weights = self.data.rows, self.data.weights
        if self.mean is not None:
            return self.mean
        if self.center is None:
            return np.zeros(rows.shape[1])
        if self.center == "mean":
            return np.asarray(np.average(rows, axis=0, weights=weights))
        return lp_median(rows, self.p, row_weights=weights).point

    @cached_property
    def total_cost(self) -> float:
        """What the centre alone costs."""
        return median_bound(self.data.rows, self.centre, self.p, row_weights=self.data.weights)[0]
