"""What one would otherwise use: subspace methods without a proof, for comparison.

One signature: ``method(A, k, p=1.0, *, seed=0, max_iter=None, tol=None) -> HeuristicResult``.
Each minimises its own objective, which its docstring states beside its source; p matters only
where that objective has one. ``HEURISTICS`` maps names to methods. Libraries beyond NumPy and
SciPy (scikit-learn, cvxpy) are imported by the methods that use them, when they are called.
"""

from __future__ import annotations

from collections.abc import Callable

from lpgeom.heuristics._r1 import r1_pca
from lpgeom.heuristics._spherical import spherical_pca
from lpgeom.heuristics._svd import svd
from lpgeom.heuristics.result import HeuristicResult

HEURISTICS: dict[str, Callable[..., HeuristicResult]] = {
    "svd": svd,
    "spherical_pca": spherical_pca,
    "r1_pca": r1_pca,
}

__all__ = ["HEURISTICS", "HeuristicResult", *HEURISTICS]
