"""Provable low-rank approximation and geometry of l_p subspace problems.

The public names are listed in ``__all__``. What is heavy to import (numba) is imported when one
of them is first used; nothing is compiled before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lpgeom._version import __version__
from lpgeom.clustering import ClusterResult
from lpgeom.curves import CostCurve
from lpgeom.ellipsoids import Ellipsoid, Rounding
from lpgeom.factorization import FactorResult
from lpgeom.mixture import MixedResult
from lpgeom.results import Bound, Certificate, CertificateError, LewisWeights, SubspaceResult

if TYPE_CHECKING:
    from lpgeom.comparison import compare
    from lpgeom.coresets.record import Coreset
    from lpgeom.coresets.sampling import coreset
    from lpgeom.coresets.streaming import StreamingCoreset
    from lpgeom.estimator import LpPCA as LpPCA
    from lpgeom.geometry.john import john_ellipsoid
    from lpgeom.geometry.lewis import lewis_weights
    from lpgeom.geometry.loewner import loewner_ellipsoid
    from lpgeom.geometry.lp_svd import LpSVD, lp_svd
    from lpgeom.geometry.median import Median, lp_median
    from lpgeom.geometry.mvee import min_volume_ellipsoid
    from lpgeom.subspace.affine import AffineResult, approx_affine
    from lpgeom.subspace.approx import approx_subspace
    from lpgeom.subspace.clusters import approx_subspaces
    from lpgeom.subspace.factors import approx_factors
    from lpgeom.subspace.given import certify, cost
    from lpgeom.subspace.mixed import approx_mixed
    from lpgeom.subspace.ranks_curve import cost_curve
    from lpgeom.subspace.refine import refine
    from lpgeom.subspace.regression import Regression, lp_regression
    from lpgeom.warm import warmup


__all__ = [
    "AffineResult",
    "Bound",
    "Certificate",
    "CertificateError",
    "ClusterResult",
    "Coreset",
    "CostCurve",
    "Ellipsoid",
    "FactorResult",
    "LewisWeights",
    "LpSVD",
    "Median",
    "MixedResult",
    "Regression",
    "Rounding",
    "StreamingCoreset",
    "SubspaceResult",
    "__version__",
    "approx_affine",
    "approx_factors",
    "approx_mixed",
    "approx_subspace",
    "approx_subspaces",
    "certify",
    "compare",
    "coreset",
    "cost",
    "cost_curve",
    "john_ellipsoid",
    "lewis_weights",
    "loewner_ellipsoid",
    "lp_median",
    "lp_regression",
    "lp_svd",
    "min_volume_ellipsoid",
    "refine",
    "warmup",
]

# LpPCA is not in __all__: ``from lpgeom import *`` must not need scikit-learn.
_LAZY = {
    "LpPCA": "lpgeom.estimator",
    "AffineResult": "lpgeom.subspace.affine",
    "approx_affine": "lpgeom.subspace.affine",
    "Median": "lpgeom.geometry.median",
    "lp_median": "lpgeom.geometry.median",
    "approx_factors": "lpgeom.subspace.factors",
    "approx_mixed": "lpgeom.subspace.mixed",
    "approx_subspace": "lpgeom.subspace.approx",
    "approx_subspaces": "lpgeom.subspace.clusters",
    "certify": "lpgeom.subspace.given",
    "compare": "lpgeom.comparison",
    "Coreset": "lpgeom.coresets.record",
    "coreset": "lpgeom.coresets.sampling",
    "StreamingCoreset": "lpgeom.coresets.streaming",
    "cost": "lpgeom.subspace.given",
    "cost_curve": "lpgeom.subspace.ranks_curve",
    "john_ellipsoid": "lpgeom.geometry.john",
    "lewis_weights": "lpgeom.geometry.lewis",
    "loewner_ellipsoid": "lpgeom.geometry.loewner",
    "Regression": "lpgeom.subspace.regression",
    "lp_regression": "lpgeom.subspace.regression",
    "lp_svd": "lpgeom.geometry.lp_svd",
    "LpSVD": "lpgeom.geometry.lp_svd",
    "min_volume_ellipsoid": "lpgeom.geometry.mvee",
    "refine": "lpgeom.subspace.refine",
    "warmup": "lpgeom.warm",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'lpgeom' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY})
