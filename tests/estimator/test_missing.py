"""LpPCA of rows with missing entries: the cost of what is there, and bounds that hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom import LpPCA
from tests.estimator.test_estimator import quick, sine


def gappy(seed: int = 0) -> tuple[Any, Any]:
    """Rows near a plane in R^6, a twelfth of their entries missing; and the plane."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((6, 2)))[0].T
    X = 5.0 + rng.standard_normal((80, 2)) * [4.0, 2.0] @ U + 0.05 * rng.standard_normal((80, 6))
    X[rng.random(X.shape) < 1.0 / 12.0] = np.nan
    return X, U


def observed_cost(X: Any, c: Any, V: Any, p: float) -> float:
    """The least cost over all that may stand where entries are missing, row by row."""
    total = 0.0
    for x in X:
        there = np.isfinite(x)
        b, A = x[there] - c[there], V[:, there].T
        total += float(np.linalg.norm(b - A @ np.linalg.lstsq(A, b, rcond=None)[0])) ** p
    return total


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("center", ["median", "mean", None])
def test_missing_entries(p: float, center: str | None) -> None:
    X, U = gappy()
    k = 2 if center else 3
    e = LpPCA(k, p=p, center=center, missing="ignore", **quick).fit(X)
    assert sine(U, e.components_) < 0.05
    assert e.cost_ == pytest.approx(observed_cost(X, e.mean_, e.components_, p))
    start = np.where(np.isnan(X), np.nanmedian(X, axis=0), X)
    other = LpPCA(k, p=p, center=center, certify=False, **quick).fit(start)
    bar = observed_cost(X, other.mean_, other.components_, p)
    assert e.cost_ < (1.0 if p == 1.0 else 0.5) * bar  # at p = 1 medians do little harm
    # No subspace of that dimension is below the bound, whatever stands in the gaps.
    rng = np.random.default_rng(1)
    assert 0.0 < e.lower_bound_ <= e.cost_
    for size in (0.0, 1e-3, 1.0):
        V = e.components_ + size * rng.standard_normal(e.components_.shape)
        c = e.mean_ + size * rng.standard_normal(6) * (center is not None)
        assert e.lower_bound_ <= observed_cost(X, c, np.linalg.qr(V.T)[0].T, p) * (1.0 + 1e-9)
    assert e.certified_ratio_ == pytest.approx((e.cost_ / e.lower_bound_) ** (1.0 / p))
    assert "that miss nothing" in e.certified_for_
    e.verify(X)
    changed = X.copy()
    changed[np.flatnonzero(np.isfinite(X).all(axis=1))[0]] += 1.0
    with pytest.raises(lpgeom.CertificateError):
        e.verify(changed)


def test_missing_entries_of_rows_and_columns() -> None:
    X, _ = gappy()
    whole = X[np.isfinite(X).all(axis=1)]
    plain = LpPCA(2, **quick).fit(whole)
    e = LpPCA(2, missing="ignore", **quick).fit(whole)
    assert np.array_equal(e.components_, plain.components_)
    # Scores of a row with gaps are those of the best fit to what is there.
    there = np.array([True, False, True, True, False, True])
    x = np.where(there, whole[0], np.nan)
    z = np.linalg.lstsq(e.components_[:, there].T, (x - e.mean_)[there], rcond=None)[0]
    assert np.allclose(e.transform(x[None])[0], z)
    assert np.isfinite(e.score_samples(np.vstack([x, np.full(6, np.nan)]))).all()
    with pytest.raises(ValueError, match="NaN"):
        plain.transform(x[None])
    with pytest.raises(ValueError, match="NaN"):
        LpPCA(2, missing="ignore", **quick).partial_fit(X)
    none_complete = whole.copy()
    none_complete[np.arange(len(whole)), np.arange(len(whole)) % 6] = np.nan
    e = LpPCA("auto", missing="ignore", **quick).fit(none_complete)
    assert (e.lower_bound_, e.certified_ratio_, e.certificate_) == (0.0, np.inf, None)
    X[:, 3] = np.nan
    with pytest.raises(ValueError, match="column 3 of X has no entry"):
        LpPCA(2, missing="ignore", **quick).fit(X)
    with pytest.raises(ValueError, match="support_fraction"):
        LpPCA(2, missing="ignore", support_fraction=0.5, **quick).fit(X)
