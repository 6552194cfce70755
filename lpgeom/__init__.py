"""Provable low-rank approximation and geometry of l_p subspace problems.

The public names are listed in ``__all__``. What is heavy to import (numba) is imported when one
of them is first used; nothing is compiled before that.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lpgeom._version import __version__
from lpgeom.records import (
    Bound,
    Certificate,
    CertificateError,
    ClusterResult,
    CostCurve,
    FactorResult,
    MixedResult,
    SubspaceResult,
)

if TYPE_CHECKING:
    from lpgeom.affine.affine import AffineResult, approx_affine
    from lpgeom.approx import approx_subspace
    from lpgeom.comparison.compare import compare
    from lpgeom.coresets.record import Coreset
    from lpgeom.coresets.sampling import coreset
    from lpgeom.coresets.streaming import StreamingCoreset
    from lpgeom.curve.curve import cost_curve
    from lpgeom.entries.factors import approx_factors
    from lpgeom.entries.regression import Regression, lp_regression
    from lpgeom.estimator import LpPCA as LpPCA
    from lpgeom.geometry.ellipsoids.john import john_ellipsoid
    from lpgeom.geometry.ellipsoids.loewner import loewner_ellipsoid
    from lpgeom.geometry.ellipsoids.lp_svd import LpSVD, lp_svd
    from lpgeom.geometry.ellipsoids.measure import Rounding
    from lpgeom.geometry.ellipsoids.mvee import min_volume_ellipsoid
    from lpgeom.geometry.ellipsoids.record import Ellipsoid
    from lpgeom.geometry.lewis import LewisWeights, lewis_weights
    from lpgeom.geometry.median import Median, lp_median
    from lpgeom.groups.clusters import approx_clusters
    from lpgeom.groups.mixed import approx_mixed
    from lpgeom.subspace.certify import certify, cost
    from lpgeom.subspace.refine import refine
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
    "approx_clusters",
    "approx_factors",
    "approx_mixed",
    "approx_subspace",
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
    "AffineResult": "lpgeom.affine.affine",
    "approx_affine": "lpgeom.affine.affine",
    "Median": "lpgeom.geometry.median",
    "lp_median": "lpgeom.geometry.median",
    "approx_factors": "lpgeom.entries.factors",
    "approx_mixed": "lpgeom.groups.mixed",
    "approx_subspace": "lpgeom.approx",
    "approx_clusters": "lpgeom.groups.clusters",
    "certify": "lpgeom.subspace.certify",
    "compare": "lpgeom.comparison.compare",
    "Coreset": "lpgeom.coresets.record",
    "coreset": "lpgeom.coresets.sampling",
    "StreamingCoreset": "lpgeom.coresets.streaming",
    "cost": "lpgeom.subspace.certify",
    "cost_curve": "lpgeom.curve.curve",
    "john_ellipsoid": "lpgeom.geometry.ellipsoids.john",
    "Ellipsoid": "lpgeom.geometry.ellipsoids.record",
    "Rounding": "lpgeom.geometry.ellipsoids.measure",
    "LewisWeights": "lpgeom.geometry.lewis",
    "lewis_weights": "lpgeom.geometry.lewis",
    "loewner_ellipsoid": "lpgeom.geometry.ellipsoids.loewner",
    "Regression": "lpgeom.entries.regression",
    "lp_regression": "lpgeom.entries.regression",
    "lp_svd": "lpgeom.geometry.ellipsoids.lp_svd",
    "LpSVD": "lpgeom.geometry.ellipsoids.lp_svd",
    "min_volume_ellipsoid": "lpgeom.geometry.ellipsoids.mvee",
    "refine": "lpgeom.subspace.refine",
    "warmup": "lpgeom.warm",
}

# Former public names: each warns, and is its successor.
_RENAMED = {
    "approx_subspaces": "approx_clusters",
    "readers": "io",
}


def __getattr__(name: str) -> Any:
    successor = _RENAMED.get(name)
    if successor is not None:
        message = f"lpgeom.{name} is lpgeom.{successor} now"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[__name__], successor)
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'lpgeom' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY})
