"""Provable low-rank approximation and geometry of l_p subspace problems.

The public names are listed in ``__all__``. What is heavy to import (numba) is imported when one
of them is first used; nothing is compiled before that. Begin with `approx_subspace` in
``approx.py``; docs/architecture.md has the rooms, and where a change belongs.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lpgeom._version import __version__ as __version__
from lpgeom.records import Bound as Bound
from lpgeom.records import Certificate as Certificate
from lpgeom.records import CertificateError as CertificateError
from lpgeom.records import ClusterResult as ClusterResult
from lpgeom.records import CostCurve as CostCurve
from lpgeom.records import FactorResult as FactorResult
from lpgeom.records import MixedResult as MixedResult
from lpgeom.records import SubspaceResult as SubspaceResult

if TYPE_CHECKING:
    from lpgeom.affine.affine import approx_affine as approx_affine
    from lpgeom.affine.result import AffineResult as AffineResult
    from lpgeom.affine.robust.distances import OutlierMap as OutlierMap
    from lpgeom.affine.robust.distances import outlier_map as outlier_map
    from lpgeom.approx import approx_subspace as approx_subspace
    from lpgeom.comparison.compare import compare as compare
    from lpgeom.coresets.record import Coreset as Coreset
    from lpgeom.coresets.sampling import coreset as coreset
    from lpgeom.coresets.streaming import StreamingCoreset as StreamingCoreset
    from lpgeom.curve.curve import cost_curve as cost_curve
    from lpgeom.entries.factors import approx_factors as approx_factors
    from lpgeom.entries.regression import Regression as Regression
    from lpgeom.entries.regression import lp_regression as lp_regression
    from lpgeom.estimator import LpPCA as LpPCA
    from lpgeom.estimator import MadScaler as MadScaler
    from lpgeom.geometry.ellipsoids.john import john_ellipsoid as john_ellipsoid
    from lpgeom.geometry.ellipsoids.loewner import loewner_ellipsoid as loewner_ellipsoid
    from lpgeom.geometry.ellipsoids.lp_svd import LpSVD as LpSVD
    from lpgeom.geometry.ellipsoids.lp_svd import lp_svd as lp_svd
    from lpgeom.geometry.ellipsoids.measure import Rounding as Rounding
    from lpgeom.geometry.ellipsoids.mvee import min_volume_ellipsoid as min_volume_ellipsoid
    from lpgeom.geometry.ellipsoids.record import Ellipsoid as Ellipsoid
    from lpgeom.geometry.lewis import LewisWeights as LewisWeights
    from lpgeom.geometry.lewis import lewis_weights as lewis_weights
    from lpgeom.geometry.median import Median as Median
    from lpgeom.geometry.median import lp_median as lp_median
    from lpgeom.groups.clusters import approx_clusters as approx_clusters
    from lpgeom.groups.mixed import approx_mixed as approx_mixed
    from lpgeom.quantized.approx import approx_quantized as approx_quantized
    from lpgeom.quantized.record import QuantizedResult as QuantizedResult
    from lpgeom.subspace.certify import certify as certify
    from lpgeom.subspace.certify import cost as cost
    from lpgeom.subspace.refine import refine as refine
    from lpgeom.warm import warmup as warmup

_PUBLIC = {
    "records": "Bound Certificate CertificateError ClusterResult CostCurve FactorResult "
    "MixedResult SubspaceResult",
    "affine.affine": "approx_affine",
    "affine.result": "AffineResult",
    "affine.robust.distances": "OutlierMap outlier_map",
    "approx": "approx_subspace",
    "comparison.compare": "compare",
    "coresets.record": "Coreset",
    "coresets.sampling": "coreset",
    "coresets.streaming": "StreamingCoreset",
    "curve.curve": "cost_curve",
    "entries.factors": "approx_factors",
    "entries.regression": "Regression lp_regression",
    "estimator": "LpPCA MadScaler",
    "geometry.ellipsoids.john": "john_ellipsoid",
    "geometry.ellipsoids.loewner": "loewner_ellipsoid",
    "geometry.ellipsoids.lp_svd": "LpSVD lp_svd",
    "geometry.ellipsoids.measure": "Rounding",
    "geometry.ellipsoids.mvee": "min_volume_ellipsoid",
    "geometry.ellipsoids.record": "Ellipsoid",
    "geometry.lewis": "LewisWeights lewis_weights",
    "geometry.median": "Median lp_median",
    "groups.clusters": "approx_clusters",
    "groups.mixed": "approx_mixed",
    "quantized.approx": "approx_quantized",
    "quantized.record": "QuantizedResult",
    "subspace.certify": "certify cost",
    "subspace.refine": "refine",
    "warm": "warmup",
}
"""Module here -> the public names that it has; each is imported when it is first used."""

_LAZY = {name: f"lpgeom.{module}" for module, names in _PUBLIC.items() for name in names.split()}

# Without the estimators: ``from lpgeom import *`` must not need scikit-learn.
__all__ = sorted({"__version__", *_LAZY} - {*_PUBLIC["estimator"].split()})

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
