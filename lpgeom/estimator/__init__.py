"""The scikit-learn estimator: what needs scikit-learn, and nothing else does.

May import `affine`, the solvers of one subspace and `coresets`. Begin with `pca` (`LpPCA`):
`parameters` are checked, `axes` puts rows and axes in an order, `search` finds the number of
components, `attributes` are what comes of it; `stream` takes in blocks, `missing` completes rows;
`scaler` (`MadScaler`) is a step before it.
"""

from __future__ import annotations

try:
    import sklearn
except ImportError as error:
    raise ImportError(
        "lpgeom.LpPCA and MadScaler need scikit-learn: pip install 'lpgeom[sklearn]'"
    ) from error

from lpgeom.estimator.pca import LpPCA
from lpgeom.estimator.scaler import MadScaler

__all__ = ["LpPCA", "MadScaler"]

del sklearn
