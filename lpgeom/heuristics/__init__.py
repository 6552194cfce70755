"""What one would otherwise use: subspace methods without a proof, for comparison.

One signature: ``method(A, k, p=1.0, *, seed=0, max_iter=None, tol=None) -> HeuristicResult``.
Each minimises its own objective, which its docstring states beside its source; p matters only
where that objective has one, and only there p = inf is refused. ``HEURISTICS`` maps names to
methods. Libraries beyond NumPy and SciPy (scikit-learn, cvxpy) are imported by the methods that use
them, when they are called.
"""

from __future__ import annotations

from collections.abc import Callable

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
from lpgeom.heuristics.result import HeuristicResult

HEURISTICS: dict[str, Callable[..., HeuristicResult]] = {
    "svd": svd,
    "randomized_svd": randomized_svd,
    "spherical_pca": spherical_pca,
    "tyler": tyler,
    "outlier_filter_svd": outlier_filter_svd,
    "outlier_pursuit": outlier_pursuit,
    "r1_pca": r1_pca,
    "l1_pca": l1_pca,
    "l1_pca_nongreedy": l1_pca_nongreedy,
    "fms": fms,
    "reaper": reaper,
    "cvxpy_reaper": cvxpy_reaper,
    "grassmann_descent": grassmann_descent,
    "alternating_l1": alternating_l1,
}

SEEDED = ("randomized_svd", "l1_pca")
"""Methods whose answer depends on the seed."""

SLOW = (
    "l1_pca",
    "l1_pca_nongreedy",
    "alternating_l1",
    "outlier_pursuit",
    "grassmann_descent",
    "cvxpy_reaper",
)
"""Methods that take minutes on ten million entries."""

__all__ = ["HEURISTICS", "SEEDED", "SLOW", "HeuristicResult", *HEURISTICS]
