"""LpPCA with a support: which rows count, in whatever order and with whatever weights they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from lpgeom import LpPCA
from tests.affine.test_support import contaminated, sine


def robust(**options: Any) -> LpPCA:
    return LpPCA(**{"n_components": 2, "support_fraction": 0.5, "random_state": 0, **options})


def test_it_stands_and_says_for_which_rows() -> None:
    X, U = contaminated("cluster", 0.3, 200, 10, 2)
    pca = robust().fit(X)
    assert sine(U, pca.components_.T) < 0.06
    assert not pca.support_[:60].any()
    count = int(pca.support_.sum())
    assert pca.certified_for_ == f"the {count} rows of support_, of 200"
    kept = X[pca.support_]
    assert pca.cost_ == pytest.approx(-pca.score_samples(kept).sum())
    assert pca.explained_cost_ == pytest.approx(1.0 - pca.cost_ / pca.total_cost_)
    assert pca.explained_cost_ratio_.sum() == pytest.approx(pca.explained_cost_, rel=0.05)
    assert np.allclose(pca.score_norms_, np.abs(pca.transform(kept)).sum(axis=0))
    pca.certificate_.verify(pca.certified_rows(X))
    pca.verify(X)
    plain = robust(support_fraction=None).fit(X)
    assert plain.support_.all()
    assert sine(U, plain.components_.T) > 0.9


def test_weights_are_repeated_rows_in_any_order() -> None:
    rng = np.random.default_rng(0)
    X, _ = contaminated("leverage", 0.3, 60, 5, 2)
    w = rng.integers(0, 3, 60)
    weighted = robust(certify=False).fit(X, sample_weight=w)
    order = rng.permutation(int(w.sum()))
    repeated = robust(certify=False).fit(X.repeat(w, axis=0)[order])
    assert np.array_equal(weighted.components_, repeated.components_)
    assert np.array_equal(weighted.mean_, repeated.mean_)
    assert np.array_equal(weighted.support_.repeat(w)[order], repeated.support_)
    assert not weighted.support_[w == 0].any()


@pytest.mark.parametrize("wanted", ["auto", 0.7])
def test_the_number_of_components_is_that_of_the_rows_that_agree(wanted: Any) -> None:
    X, U = contaminated("cluster", 0.3, 300, 8, 2)
    pca = robust(n_components=wanted, certify=False).fit(X)
    assert pca.n_components_ == 2
    assert sine(U, pca.components_.T) < 0.06
    assert robust(n_components=None, certify=False).fit(X).n_components_ == 8


def test_streams_keep_the_rows_of_a_coreset() -> None:
    X, U = contaminated("cluster", 0.3, 400, 6, 2)
    X = X[np.random.default_rng(0).permutation(400)]
    stream = robust(coreset_size=150, method="irls")
    for block in np.array_split(X, 4):
        stream.partial_fit(block)
    assert len(stream.support_) == len(stream.coreset_) <= 150
    assert 0.4 < stream.support_.mean() < 0.9
    assert stream.data_ratio_ == np.inf
    assert "support_" in stream.certified_for_
    assert sine(U, stream.components_.T) < 0.2


@pytest.mark.parametrize("given", [0.2, 2, "best", True])
def test_what_is_no_share_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="support_fraction must be"):
        clone(robust(support_fraction=given)).fit(np.eye(5))
