"""Rank-k factors without a proof, for the entrywise objective ``sum_ij |A - left @ right|_ij^p``.

One signature: ``method(A, k, p=1.0, *, seed=0, max_iter=None, tol=None) -> HeuristicFactors``. All
but "svd" minimise that objective, each in its own way and from the SVD or from columns of A;
`approx_factors` is a portfolio that has most of them in it. ``ENTRYWISE`` maps names to methods.
"""

from __future__ import annotations

from collections.abc import Callable

from lpgeom.heuristics.entrywise._admm import admm
from lpgeom.heuristics.entrywise._alternating import alternating
from lpgeom.heuristics.entrywise._columns import column_selection
from lpgeom.heuristics.entrywise._irls import irls
from lpgeom.heuristics.entrywise._rows import rows
from lpgeom.heuristics.entrywise._svd import svd
from lpgeom.heuristics.entrywise.base import HeuristicFactors

ENTRYWISE: dict[str, Callable[..., HeuristicFactors]] = {
    "svd": svd,
    "rows": rows,
    "alternating": alternating,
    "admm": admm,
    "irls": irls,
    "column_selection": column_selection,
}

SEEDED = ("column_selection", "rows")
"""Methods whose answer depends on the seed."""

CUBIC = ("alternating", "irls", "column_selection")
"""Methods of n d k^2 operations a step and more."""

__all__ = ["CUBIC", "ENTRYWISE", "SEEDED", "HeuristicFactors", *ENTRYWISE]
