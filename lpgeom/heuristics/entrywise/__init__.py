"""Rank-k factors without a proof, for the entrywise objective ``sum_ij |A - left @ right|_ij^p``.

One signature: ``method(A, k, p=1.0, *, seed=0, max_iter=None, tol=None) -> HeuristicFactors``. All
but "svd" minimise that objective, each in its own way and from the SVD or from columns of A;
`approx_factors` is a portfolio that has most of them in it. ``ENTRYWISE`` maps names to methods.

Imports what `lpgeom.heuristics` may. Begin with `base`, then `_svd`.
"""

from __future__ import annotations

from lpgeom.heuristics.base import Heuristic
from lpgeom.heuristics.entrywise._admm import admm
from lpgeom.heuristics.entrywise._alternating import alternating
from lpgeom.heuristics.entrywise._columns import column_selection
from lpgeom.heuristics.entrywise._irls import irls
from lpgeom.heuristics.entrywise._rows import rows
from lpgeom.heuristics.entrywise._svd import svd
from lpgeom.heuristics.entrywise.base import HeuristicFactors

MUCH = 1e10
"""The n d k^2 from which the slower methods run only if named."""

ENTRYWISE: dict[str, Heuristic[HeuristicFactors]] = {
    "svd": Heuristic(svd),
    "rows": Heuristic(rows, seeded=True),
    "alternating": Heuristic(alternating, slow_from=MUCH),
    "admm": Heuristic(admm),
    "irls": Heuristic(irls, slow_from=MUCH),
    "column_selection": Heuristic(column_selection, seeded=True, slow_from=MUCH),
}

SEEDED = tuple(sorted(name for name, h in ENTRYWISE.items() if h.seeded))
"""Methods whose answer depends on the seed."""

CUBIC = tuple(name for name, h in ENTRYWISE.items() if h.slow)
"""Methods of n d k^2 operations a step and more."""

__all__ = ["CUBIC", "ENTRYWISE", "SEEDED", "HeuristicFactors", *ENTRYWISE]
