"""What `LpPCA` is given: parameters and weights, checked."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from lpgeom.affine.affine import CENTRES, check_support_fraction
from lpgeom.estimator.search import RULES
from lpgeom.io import validation
from lpgeom.rows.base import Array
from lpgeom.subspace.solve import METHODS


def check_parameters(pca: Any) -> None:
    """All of them but n_components."""
    validation.check_p(pca.p)
    validation.check_choice("center", pca.center, CENTRES)
    validation.check_choice("refine", pca.refine, (False, True))
    validation.check_choice("whiten", pca.whiten, (False, True))
    validation.check_choice("missing", pca.missing, ("raise", "ignore"))
    validation.check_choice("certify", pca.certify, (False, True, "tight"))
    validation.check_choice("method", pca.method, tuple(METHODS))
    check_support_fraction(pca.support_fraction)
    validation.check_positive_int("coreset_size", pca.coreset_size)


def check_components(k: Any, n: int, d: int) -> None:
    """Whether n rows of d columns can have them."""
    if k is None or (isinstance(k, str) and k in RULES):
        return
    if isinstance(k, numbers.Integral) and not isinstance(k, bool):
        if not 1 <= int(k) <= min(n, d):
            raise ValueError(
                f"n_components={k} must be between 1 and min(n_samples, n_features)="
                f"{min(n, d)} (n_samples={n}, n_features={d})"
            )
    elif not isinstance(k, numbers.Real) or isinstance(k, bool) or not 0.0 < float(k) < 1.0:
        raise ValueError(
            "n_components must be an int >= 1, a float in (0, 1), None, or one of "
            f"{', '.join(map(repr, RULES))}; got {k!r}"
        )


def sample_weights(sample_weight: Any, X: Any) -> Array | None:
    """Weights as float64, or an error that calls them by their name here."""
    if sample_weight is None:
        return None
    weights = np.asarray(_check_sample_weight(sample_weight, X, dtype=np.float64))
    if (weights < 0.0).any():
        raise ValueError("sample_weight has negative entries; weights must be >= 0")
    if not weights.any():
        raise ValueError("sample_weight is all zero; some row must count")
    return weights
