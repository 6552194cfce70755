"""How many ranks a layer gets: from a ratio, from an error, or out of one budget for all. No torch.

A weight (n, d) in factors of rank k over j subspaces has ``n k + j d k`` parameters; its break-even
rank is where these reach n d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lpgeom.groups.allocation import Point, spent
from lpgeom.records.subspace import Array


@dataclass(frozen=True)
class Size:
    """A weight (n, d) to be split among `subspaces`."""

    n: int
    d: int
    subspaces: int = 1

    @property
    def dense(self) -> int:
        """Parameters as it is."""
        return self.n * self.d

    @property
    def per_rank(self) -> int:
        """Parameters that one more rank costs."""
        return self.n + self.subspaces * self.d

    @property
    def full(self) -> int:
        """The rank that loses nothing."""
        return min(self.n, self.d)

    @property
    def break_even(self) -> float:
        """The rank at which factors are as large as the weight."""
        return self.dense / self.per_rank

    def parameters(self, k: int) -> int:
        """Of factors of rank k."""
        return k * self.per_rank

    def worthwhile(self, k: int) -> bool:
        """Whether factors of rank k are smaller than the weight."""
        return self.parameters(k) < self.dense

    def for_ratio(self, ratio: float) -> int:
        """The largest rank that removes at least a share `ratio` of the parameters; may be 0."""
        return min(self.full, self.left_by(ratio, self.per_rank))

    def left_by(self, ratio: float, price: int = 1) -> int:
        """How many things of that many parameters remain where a share `ratio` is removed."""
        # A share written as a decimal, .28, is not one in binary: do not lose a rank to that.
        return math.floor((1.0 - ratio) * self.dense / price + 1e-9)


def for_error(curve: Array, p: float, error: float) -> int:
    """The smallest rank at which the truncated SVD's relative norm error is at most `error`.

    `curve[k]` is the SVD's cost at rank k (a p-th power), k = 0..d. The solver's subspace of that
    rank costs no more, so it meets `error` too.
    """
    if curve[0] == 0.0:
        return 1
    # Relative before the root: p-th powers may be beyond float64 where the ratio is not.
    within = (curve / curve[0]) ** (1.0 / p) <= error
    return max(1, int(within.argmax())) if within.any() else len(curve) - 1


def share_budget(curves: Sequence[Array], sizes: Sequence[Size], budget: float) -> list[int | None]:
    """Ranks for all layers whose parameters add up to at most `budget`; None: left as it is.

    Minimises the sum over layers of ``curve[k] / curve[0]``, the share of each layer's p-th power
    cost that is lost, by giving the next parameters to the layer where they take off most. On the
    lower convex hulls of the curves, the dense weight (no loss, n d parameters) being their end,
    this greedy choice is optimal for every budget at which it uses a hull up. What is left where
    no hull's next corner fits goes, again, where it takes off most.

    Raises
    ------
    ValueError
        If not even rank 1 everywhere fits.
    """
    choices = [_choices(curve, size) for curve, size in zip(curves, sizes, strict=True)]
    least = sum(points[0][0] for points in choices)
    if least > budget:
        raise ValueError(
            f"rank 1 everywhere takes {least:.0f} parameters, more than the {int(budget)} allowed"
        )
    at = (points[i][0] for points, i in zip(choices, spent(choices, budget), strict=True))
    return [
        None if parameters >= size.dense else round(parameters / size.per_rank)
        for parameters, size in zip(at, sizes, strict=True)
    ]


def _choices(curve: Array, size: Size) -> list[Point]:
    """(parameters, share of the cost lost) of factors smaller than the weight, and of itself."""
    total = float(curve[0]) or 1.0
    ranks = range(1, min(size.full, len(curve) - 1) + 1)
    points = [
        (float(size.parameters(k)), float(curve[k]) / total) for k in ranks if size.worthwhile(k)
    ]
    return [*points, (float(size.dense), 0.0)]
