"""Score and orthogonal distances, cut-offs, kinds: on classic data whose outliers are known."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from benchmarks.classic import load
from lpgeom.affine.robust.cutoffs import adjusted_cutoff, medcouple
from tests.affine.test_support import contaminated
from tests.problems import fixed

pytest.importorskip("sklearn")


def plain_medcouple(x: list[float]) -> float:
    m = float(np.median(x))
    h = []
    low, high = [v for v in x if v <= m], [v for v in x if v >= m]
    ties = sum(v == m for v in x)
    for (i, a), (j, b) in itertools.product(enumerate(sorted(low)), enumerate(sorted(high))):
        if a == b:
            h.append(float(np.sign((i - (len(low) - ties)) + j + 1 - ties)))
        else:
            h.append(((b - m) - (m - a)) / (b - a))
    return float(np.median(h))


@fixed
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=25))
def test_the_medcouple(values: list[int]) -> None:
    x = np.array(values, dtype=float)
    assert medcouple(x) == pytest.approx(plain_medcouple(x.tolist()))
    assert medcouple(-x) == pytest.approx(-medcouple(x))


def test_the_medcouple_of_many_and_the_adjusted_end() -> None:
    rng = np.random.default_rng(0)
    assert abs(medcouple(rng.standard_normal(50000))) < 0.02
    skew = rng.exponential(size=50000)
    assert medcouple(skew) == pytest.approx(0.33, abs=0.02)
    # Of skewed numbers fewer lie beyond it than beyond that of a plain boxplot.
    q1, q3 = np.quantile(skew, [0.25, 0.75])
    assert (skew > adjusted_cutoff(skew)).mean() < 0.02 < (skew > q3 + 1.5 * (q3 - q1)).mean()


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("share", [None, "auto", 0.5])
def test_hawkins_bradu_and_kass(k: int, share: Any) -> None:
    """The 14 lie nearest to the l_1 subspace of all rows, and are farthest out along it."""
    A = load("hbk").rows
    found = lpgeom.outlier_map(A, lpgeom.approx_affine(A, k, support_fraction=share, certify=False))
    assert found.flagged[:14].all()
    assert found.flagged[14:].sum() <= 6
    if share is None:
        assert np.isin(np.argsort(-found.score)[:14], np.arange(14)).all()
        assert not (found.kinds[:14] == "orthogonal outlier").any()


def test_distances_are_what_they_say() -> None:
    X, _ = contaminated("leverage", 0.2, 150, 6, 2)
    fit = lpgeom.approx_affine(X, 2, support_fraction=0.5, certify=False)
    found = lpgeom.outlier_map(X, fit)
    R = X - fit.centre
    off = np.linalg.norm(R - R @ fit.basis @ fit.basis.T, axis=1)
    assert found.orthogonal == pytest.approx(off)
    assert np.isin(found.kinds[:30], ["bad leverage", "orthogonal outlier"]).all()
    assert (found.kinds[:30] == "bad leverage").mean() > 0.7
    assert found.flagged[30:].mean() < 0.15
    assert np.array_equal(found.flagged, found.kinds != "regular")
    # Of the data's unit and place nothing depends.
    moved = lpgeom.approx_affine(8.0 * X, 2, support_fraction=0.5, certify=False)
    again = lpgeom.outlier_map(8.0 * X, moved)
    assert again.orthogonal == pytest.approx(8.0 * found.orthogonal)
    assert again.score == pytest.approx(found.score, rel=1e-6)
    wide = lpgeom.outlier_map(X, fit, level=0.5)
    assert wide.score_cutoff < found.score_cutoff
    assert wide.orthogonal_cutoff < found.orthogonal_cutoff
    assert lpgeom.outlier_map(X, fit, skewed=True).flagged[:30].all()


def test_the_estimator_and_its_weights() -> None:
    X, _ = contaminated("cluster", 0.2, 100, 5, 2)
    pca = lpgeom.LpPCA(2, support_fraction=0.5, random_state=0, certify=False).fit(X)
    found = pca.outlier_map(X)
    assert found.flagged[:20].all()
    assert np.array_equal(found.score, lpgeom.outlier_map(X, pca).score)
    weights = np.r_[np.zeros(20), np.ones(80)]
    plain = lpgeom.approx_affine(X, 2, row_weights=weights, certify=False)
    assert lpgeom.outlier_map(X, plain, row_weights=weights).flagged[:20].all()


def test_few_rows_and_flat_scores() -> None:
    A = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [2.0, 0.1, 1.0], [3.0, 0.0, 1.0]])
    found = lpgeom.outlier_map(A, lpgeom.approx_affine(A, 2, certify=False))
    assert np.isfinite(found.score).all()
    assert not found.flagged.any()
    A = np.zeros((30, 3))
    A[:, 0] = np.arange(30.0)
    A[0, 1] = 5.0  # 29 scores on a line, and one off it
    found = lpgeom.outlier_map(A, lpgeom.approx_affine(A, 2, certify=False))
    assert np.flatnonzero(found.flagged).tolist() == [0]
    equal = lpgeom.outlier_map(np.ones((9, 3)), lpgeom.approx_affine(np.ones((9, 3)), 1))
    assert not equal.flagged.any()


def test_bad_input_is_refused() -> None:
    X, _ = contaminated("cluster", 0.2, 60, 5, 2)
    fit = lpgeom.approx_affine(X, 2, support_fraction=0.5, certify=False)
    with pytest.raises(ValueError, match="4 columns"):
        lpgeom.outlier_map(X[:, :4], fit)
    with pytest.raises(ValueError, match="was found for 60"):
        lpgeom.outlier_map(X[:50], fit)
    with pytest.raises(ValueError, match="level"):
        lpgeom.outlier_map(X, fit, level=1.0)


def test_the_map_is_drawn_with_the_names_of_a_dataframe() -> None:
    pytest.importorskip("matplotlib")
    pandas = pytest.importorskip("pandas")
    from lpgeom import plots

    X, _ = contaminated("leverage", 0.1, 50, 5, 2)
    frame = pandas.DataFrame(X, index=[f"row {i}" for i in range(50)])
    fit = lpgeom.approx_affine(X, 2, support_fraction=0.5, certify=False)
    ax = plots.outlier_map(frame, fit, named=3)
    texts = [text.get_text() for text in ax.texts]
    assert len(texts) == 3
    assert set(texts) <= {f"row {i}" for i in range(5)}
    legend = [t.get_text() for t in ax.get_legend().get_texts()]
    assert any(text.endswith(" regular") for text in legend)
    assert any(text.endswith(" bad leverage") for text in legend)
    assert ax.get_xlabel() == "score distance"
    with pytest.raises(ValueError, match="named"):
        plots.outlier_map(frame, fit, named=-1)
