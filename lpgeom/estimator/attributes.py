"""What a fit says: the attributes of `LpPCA` by their names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.affine.affine import rejudged
from lpgeom.estimator.axes import distinct_rows, ordered_axes
from lpgeom.estimator.search import ComponentSearch
from lpgeom.records.subspace import to_cost_units
from lpgeom.rows.base import Array


def attributes(
    pca: Any,
    X: Array,
    omega: Array | None,
    seed: int,
    mean: Array | None = None,
    k: int | None = None,
    complete: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Solved on distinct rows, judged on the rows as they are, or on those that are complete.

    Parameters
    ----------
    pca : LpPCA
        Its parameters say what to solve.
    X, omega : ndarray, shapes (n, d) and (n,)
    seed : int
    mean : ndarray, shape (d,), optional
        In place of the rows' own, where they stand for others.
    k : int, optional
        In place of n_components.
    complete : ndarray, shape (n,), bool, optional
        The rows that are judged; all.

    Returns
    -------
    dict
        Attributes of `LpPCA` and their values.
    """
    distinct = distinct_rows(X, omega)
    unit = distinct.unit
    search = ComponentSearch(
        distinct, pca.p, pca.center if mean is None else mean / unit, seed,
        {
            "refine": pca.refine,
            "method": pca.method,
            "support_fraction": pca.support_fraction,
        },
    )  # fmt: skip
    n_supported = search.n_components(pca.n_components) if k is None else k
    k = max(1, n_supported)
    found = search.solve(k)
    support: NDArray[np.bool_] = np.asarray(distinct.place >= 0)
    if found.support is not None:
        support &= found.support[distinct.place]
        omega = np.where(support, 1.0 if omega is None else omega, 0.0)
        distinct = distinct.of(found.support)
        search = replace(search, data=distinct)
    certify = pca.certify
    if complete is not None:
        omega = np.where(complete, 1.0 if omega is None else omega, 0.0)
        if not omega.any():
            omega, certify = None, False
    components, shares, norms = ordered_axes(
        distinct.rows - found.centre, distinct.weights, found.basis, found.p
    )
    result = rejudged(
        replace(found, centre=found.centre * unit, basis=components.T.copy()),
        X,
        row_weights=omega,
        certify=certify,
    )
    result = replace(result, support=None if found.support is None else support)
    norm = unit * distinct.weight ** (1.0 / found.p)
    total = search.total_cost
    count = len(distinct.rows) if distinct.weights is None else distinct.weights.sum()
    scales = norms / count ** (1.0 / found.p) * unit
    return {
        "n_supported_": n_supported,
        "components_": components,
        "mean_": result.centre,
        "n_components_": k,
        "cost_": result.cost,
        "lower_bound_": result.lower_bound,
        "certified_ratio_": result.ratio,
        "linear_ratio_": result.linear_ratio,
        "centre_ratio_": result.centre_ratio,
        "guarantee_": result.guarantee,
        "pca_cost_": result.pca_cost,
        "total_cost_": to_cost_units(total, norm, found.p),
        "explained_cost_": 1.0 - found.cost / total if total > 0.0 else 1.0,
        "explained_cost_ratio_": shares,
        "score_norms_": norms * norm,
        "score_scales_": np.where(scales > 0.0, scales, 1.0),
        "certificate_": result.certificate,
        "linear_certificate_": result.linear_certificate,
        "support_": support,
        "result_": result,
    }
