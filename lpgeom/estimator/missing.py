"""Rows with missing entries: completed from a subspace, which is fitted to the completed rows.

What a row with missing entries costs is its least distance over all that may stand there:
``min_z ||x_o - c_o - V_o z||`` over its entries o that are there. Completed by ``c + V z`` with
that z, the row has this distance from the subspace, and no smaller one by any completion; so
neither completing the rows nor fitting to them ever raises the cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.affine.affine import approx_affine
from lpgeom.affine.result import AffineResult
from lpgeom.estimator.attributes import attributes
from lpgeom.estimator.axes import distinct_rows
from lpgeom.estimator.search import ComponentSearch
from lpgeom.records.subspace import norm_ratio
from lpgeom.rows.base import Array

ROUNDS, TOL = 50, 1e-5
"""Rounds of completing and fitting, at most; they end when one brings less than this share."""


def fit_missing(pca: Any, X: Array, omega: Array | None) -> None:
    """Fit `LpPCA` to completed rows: the cost of all, the bounds of those that miss nothing."""
    if pca.support_fraction is not None:
        raise ValueError("X has missing entries; support_fraction needs rows without any")
    seed, start = pca._seed(), filled(X)
    complete: NDArray[np.bool_] = np.asarray(~np.isnan(X).any(axis=1))
    options: dict[str, Any] = {"refine": pca.refine, "method": "irls"}
    distinct = distinct_rows(start, omega)
    k = ComponentSearch(distinct, pca.p, pca.center, seed, options).n_components(pca.n_components)

    def solve(rows: Array) -> AffineResult:
        return approx_affine(
            rows, max(1, k), pca.p, centre=pca.center, row_weights=omega, certify=False,
            seed=seed, **options,
        )  # fmt: skip

    rows = fitted(X, start, solve)
    pca.__dict__.update(attributes(pca, rows, omega, seed, None, k, complete))
    costs = -pca.score_samples(X)
    pca.cost_ = float(costs.sum() if omega is None else omega @ costs)
    pca.explained_cost_ = 1.0 - pca.cost_ / pca.total_cost_ if pca.total_cost_ else 1.0
    through = pca.linear_certificate_.lower_bound if pca.linear_certificate_ else 0.0
    proved = max(pca.lower_bound_, through)
    pca.certified_ratio_ = norm_ratio(pca.cost_, pca.lower_bound_, pca.p)
    pca.linear_ratio_ = pca.centre_ratio_ = norm_ratio(pca.cost_, proved, pca.p)
    pca.guarantee_, pca.pca_cost_ = math.inf, math.nan
    pca.n_samples_seen_ = len(X)
    pca.certified_for_ = (
        f"all {len(X)} rows, bounds by the {complete.sum()} of them that miss nothing"
    )


def completed(X: Array, centre: Array, components: Array) -> Array:
    """X with each NaN as the subspace has it that fits the rest of the row best.

    With fewer entries than components in a row the shortest z; its scores are that z, its distance
    from the subspace that of the entries which are there. O(d k^2) for each pattern of NaN.
    """
    gone = np.isnan(X)
    rows = np.flatnonzero(gone.any(axis=1))
    out = np.array(X)
    if not rows.size:
        return out
    patterns, which = np.unique(gone[rows], axis=0, return_inverse=True)
    for j, pattern in enumerate(patterns):
        here = rows[which.ravel() == j]
        there = ~pattern
        B = np.asarray(X[here][:, there], dtype=np.float64) - centre[there]
        Z = B @ np.linalg.pinv(components[:, there]) if there.any() else np.zeros((len(B), 1))
        V = components[:, pattern] if there.any() else np.zeros((1, int(pattern.sum())))
        out[np.ix_(here, np.flatnonzero(pattern))] = Z @ V + centre[pattern]
    return out


def filled(X: Array) -> Array:
    """Each NaN as the median of its column: where completing begins.

    Raises
    ------
    ValueError
        A column without any entry.
    """
    gone = np.isnan(X)
    if gone.all(axis=0).any():
        j = int(np.argmax(gone.all(axis=0)))
        raise ValueError(f"column {j} of X has no entry: drop it")
    return np.where(gone, np.nanmedian(X, axis=0), X)


def fitted(X: Array, rows: Array, solve: Callable[[Array], AffineResult]) -> Array:
    """X as the last of a series of fits completes it, which begins with `rows`."""
    before = np.inf
    for _ in range(ROUNDS):
        found = solve(rows)
        if not found.cost < (1.0 - TOL) * before:
            break
        rows, before = completed(X, found.centre, found.basis.T), found.cost
    return rows
