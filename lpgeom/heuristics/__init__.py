"""What one would otherwise use: subspace methods without a proof, for comparison.

One signature: ``method(A, k, p=1.0, *, seed=0, max_iter=None, tol=None) -> HeuristicResult``.
Each minimises its own objective, which its docstring states beside its source; p matters only
where that objective has one, and only there p = inf is refused. ``HEURISTICS`` maps names to
methods, with what a comparison has to know of each. Libraries beyond NumPy and SciPy (scikit-learn,
cvxpy) are imported by the methods that use them, when they are called.

The room may import the solvers (`subspace`, `entries`) and what lies below them. Begin with
`base`, which has the road that all of them share, then `_svd`. A new method is a file here and an
entry of ``HEURISTICS``; users add an entry of their own.
"""

from __future__ import annotations

from lpgeom.heuristics._alternating import alternating_l1
from lpgeom.heuristics._cvxpy import cvxpy_reaper
from lpgeom.heuristics._filter import outlier_filter_svd
from lpgeom.heuristics._fms import fms
from lpgeom.heuristics._grassmann import grassmann_descent
from lpgeom.heuristics._l1_greedy import l1_pca
from lpgeom.heuristics._l1_nongreedy import l1_pca_nongreedy
from lpgeom.heuristics._pursuit import outlier_pursuit
from lpgeom.heuristics._r1 import r1_pca
from lpgeom.heuristics._randomized import randomized_svd
from lpgeom.heuristics._reaper import reaper
from lpgeom.heuristics._spherical import spherical_pca
from lpgeom.heuristics._svd import svd
from lpgeom.heuristics._tyler import tyler
from lpgeom.heuristics.base import Heuristic, HeuristicResult

MANY = 1 << 20
"""Entries of A from which the slower methods run only if named."""

HEURISTICS: dict[str, Heuristic[HeuristicResult]] = {
    "svd": Heuristic(svd),
    "randomized_svd": Heuristic(randomized_svd, seeded=True),
    "spherical_pca": Heuristic(spherical_pca),
    "tyler": Heuristic(tyler),
    "outlier_filter_svd": Heuristic(outlier_filter_svd),
    "outlier_pursuit": Heuristic(outlier_pursuit, slow_from=MANY),
    "r1_pca": Heuristic(r1_pca),
    "l1_pca": Heuristic(l1_pca, seeded=True, slow_from=MANY),
    "l1_pca_nongreedy": Heuristic(l1_pca_nongreedy, slow_from=MANY),
    "fms": Heuristic(fms),
    "reaper": Heuristic(reaper),
    "cvxpy_reaper": Heuristic(cvxpy_reaper, slow_from=0),
    "grassmann_descent": Heuristic(grassmann_descent, slow_from=MANY),
    "alternating_l1": Heuristic(alternating_l1, slow_from=MANY),
}

SEEDED = tuple(name for name, h in HEURISTICS.items() if h.seeded)
"""Methods whose answer depends on the seed."""

SLOW = tuple(name for name, h in HEURISTICS.items() if h.slow)
"""Methods that take minutes on ten million entries."""

__all__ = ["HEURISTICS", "SEEDED", "SLOW", "Heuristic", "HeuristicResult", *HEURISTICS]
