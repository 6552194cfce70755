"""LpPCA: scikit-learn's own checks, pipelines, and what weights and streams mean."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

import lpgeom
from lpgeom import LpPCA, MadScaler
from lpgeom.estimator.axes import distinct_rows, ordered_axes
from lpgeom.estimator.search import (
    broken_stick_rank,
    parallel_rank,
    profile_rank,
    scatter_values,
    smallest_rank,
)
from tests.problems import fixed

quick: dict[str, Any] = {"method": "irls", "random_state": 0}


def rows(n: int = 60, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((n, 5)) * [5.0, 3.0, 1.0, 1.0, 1.0] + 2.0


def planted(rank: int, strength: float, seed: int) -> Any:
    """200 rows of 12 columns: noise 1, and that many components of that standard deviation."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((12, 12)))[0][:rank]
    return strength * rng.standard_normal((200, rank)) @ axes + rng.standard_normal((200, 12))


def sine(V: Any, W: Any) -> float:
    return float(np.linalg.norm(V - V @ W.T @ W, 2))


# scikit-learn skips check_array_api_input itself unless SCIPY_ARRAY_API was set before SciPy was
# imported; test_with_the_array_api_on runs it.
@parametrize_with_checks([LpPCA(), LpPCA(1, p=2.0), LpPCA(1, method="irls")])
def test_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@parametrize_with_checks([MadScaler()])
def test_scikit_learn_on_the_scaler(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        LpPCA(0.5, center="mean", method="irls"),
        LpPCA("auto", center=None, method="irls"),
        LpPCA(1, p=1.5, method="irls", refine=False),
        LpPCA(1, p=3.0, method="irls", certify="tight"),
        LpPCA(1, method="irls", missing="ignore", whiten=True),
        LpPCA(1, support_fraction=0.5),
        LpPCA("auto", support_fraction="auto", method="irls"),
    ]
)
def test_scikit_learn_otherwise(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
def test_with_the_array_api_on() -> None:
    code = """
import os
os.environ["SCIPY_ARRAY_API"] = "1"
import sklearn
from sklearn.utils.estimator_checks import estimator_checks_generator
from lpgeom import LpPCA
ran = 0
for estimator, check in estimator_checks_generator(LpPCA(1, p=2.0)):
    if "array_api" in check.func.__name__:
        check(estimator)
        ran += 1
# Older versions check only estimators that announce that they take other arrays than NumPy's.
assert ran >= 1 or tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9), ran
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_without_scikit_learn_an_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["sklearn"] = None
import lpgeom
from lpgeom import *
try:
    lpgeom.LpPCA
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("lpgeom.LpPCA and MadScaler need scikit-learn: pip install")


@pytest.mark.parametrize("k", [1, 3, 5])
def test_at_two_it_is_pca(k: int) -> None:
    X = rows()
    theirs, ours = PCA(k).fit(X), LpPCA(k, p=2.0).fit(X)
    signs = np.sign((theirs.components_ * ours.components_).sum(axis=1))
    assert np.allclose(ours.components_, signs[:, None] * theirs.components_)
    assert np.allclose(ours.mean_, theirs.mean_)
    assert np.allclose(ours.transform(X), signs * theirs.transform(X))
    assert np.allclose(ours.explained_cost_ratio_, theirs.explained_variance_ratio_)
    assert np.allclose(ours.score_norms_, theirs.singular_values_)
    assert ours.explained_cost_ == pytest.approx(theirs.explained_variance_ratio_.sum())
    assert ours.certified_ratio_ < 1.0 + 1e-9
    assert ours.cost_ == pytest.approx(ours.pca_cost_, abs=1e-9)


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("center", ["median", "mean", None])
def test_what_the_attributes_say(p: float, center: str | None) -> None:
    X = rows()
    e = LpPCA(2, p=p, center=center, **quick).fit(X)
    distances = np.linalg.norm(X - e.inverse_transform(e.transform(X)), axis=1)
    assert e.cost_ == pytest.approx(float((distances**p).sum()))
    assert np.allclose(e.score_samples(X), -(distances**p))
    assert e.score(X) == pytest.approx(-e.cost_ / len(X))
    assert np.allclose(e.components_ @ e.components_.T, np.eye(2), atol=1e-12)
    assert np.array_equal(e.mean_, np.zeros(5)) == (center is None)
    assert e.certified_ratio_ == pytest.approx((e.cost_ / e.lower_bound_) ** (1.0 / p))
    assert 1.0 <= e.linear_ratio_ <= e.certified_ratio_
    assert e.centre_ratio_ >= 1.0
    assert e.certified_ratio_ <= e.guarantee_ * 1.01
    e.certificate_.verify(e.certified_rows(X))
    e.linear_certificate_.verify(X - e.mean_)
    around = np.linalg.norm(X - e.mean_, axis=1)
    nested = [float((around**p).sum())]
    for j in (1, 2):
        V = e.components_[:j]
        rest = X - e.mean_
        rest = rest - rest @ V.T @ V
        nested.append(float((np.linalg.norm(rest, axis=1) ** p).sum()))
    assert np.allclose(e.explained_cost_ratio_, -np.diff(nested) / nested[0])
    scores = e.transform(X)
    assert np.allclose(e.score_norms_, (np.abs(scores) ** p).sum(axis=0) ** (1.0 / p))
    assert e.explained_cost_ == pytest.approx(1.0 - e.cost_ / e.total_cost_)
    # The first axis is a leading one of the l_p scatter within the subspace.
    S = ((X - e.mean_) * (around ** (p - 2.0))[:, None]).T @ (X - e.mean_)
    inner = e.components_ @ S @ e.components_.T
    assert np.allclose(inner, np.diag(np.diag(inner)), atol=1e-9 * np.trace(S))
    assert inner[0, 0] >= inner[1, 1]


@settings(fixed, max_examples=8)
@given(st.integers(0, 2**31), st.sampled_from([1.0, 1.5, 2.0, 3.0]), st.booleans())
def test_weights_are_repeated_rows_to_the_last_bit(seed: int, p: float, centred: bool) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((12, 4)) + 1.0
    w = rng.integers(0, 4, 12)
    w[:5] += 1
    options = {**quick, "p": p, "center": "median" if centred else None, "certify": False}
    weighted = LpPCA(2, **options).fit(X, sample_weight=w)
    order = rng.permutation(int(w.sum()))
    repeated = LpPCA(2, **options).fit(X.repeat(w, axis=0)[order])
    assert np.array_equal(weighted.components_, repeated.components_)
    assert np.array_equal(weighted.mean_, repeated.mean_)
    assert weighted.cost_ == pytest.approx(repeated.cost_)
    assert weighted.total_cost_ == pytest.approx(repeated.total_cost_)
    assert np.allclose(weighted.score_norms_, repeated.score_norms_)
    X[w == 0] = 1e6  # rows without weight are not there
    assert np.array_equal(LpPCA(2, **options).fit(X, sample_weight=w).mean_, weighted.mean_)


def test_weights_scale_costs_and_nothing_else() -> None:
    X = rows()
    once = LpPCA(2, **quick).fit(X)
    twice = LpPCA(2, **quick).fit(X, sample_weight=np.full(60, 2.0))
    assert np.array_equal(once.components_, twice.components_)
    for name in ("cost_", "lower_bound_", "total_cost_", "pca_cost_"):
        assert getattr(twice, name) == pytest.approx(2.0 * getattr(once, name), rel=1e-6)
    assert twice.score(X, sample_weight=np.full(60, 2.0)) == pytest.approx(once.score(X))
    half = np.r_[np.ones(30), np.zeros(30)]
    assert once.score(X, sample_weight=half) == pytest.approx(once.score(X[:30]))


def test_the_certificate_fails_for_other_rows() -> None:
    X = rows()
    e = LpPCA(2, **quick).fit(X)
    changed = X.copy()
    changed[0] += 1.0
    with pytest.raises(lpgeom.CertificateError):
        e.certificate_.verify(e.certified_rows(changed))
    with pytest.raises(lpgeom.CertificateError):
        e.linear_certificate_.verify(X)


def test_outliers_turn_pca_and_not_this() -> None:
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.standard_normal((10, 2)))[0].T
    X = 5.0 + rng.standard_normal((200, 2)) @ U + 0.01 * rng.standard_normal((200, 10))
    X[:15] = 5.0 + 6.0 * rng.standard_normal((15, 10))
    e = LpPCA(2, **quick).fit(X)
    assert sine(U, e.components_) < 0.01
    assert sine(U, PCA(2).fit(X).components_) > 0.9
    assert e.cost_ < 0.9 * e.pca_cost_
    # The rows farthest off are the ones put in.
    assert set(np.argsort(e.score_samples(X))[:15]) == set(range(15))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9, 0.99])
def test_a_share_of_the_cost(share: float) -> None:
    X = rows()
    e = LpPCA(share, certify=False, **quick).fit(X)
    assert e.cost_ <= (1.0 - share) * e.total_cost_
    assert e.explained_cost_ >= share
    k = e.n_components_
    if k > 1:
        assert LpPCA(k - 1, certify=False, **quick).fit(X).cost_ > (1.0 - share) * e.total_cost_


@settings(fixed, max_examples=100)
@given(st.lists(st.floats(0.0, 10.0), min_size=2, max_size=12), st.floats(0.0, 10.0), st.data())
def test_the_smallest_rank_is_found(costs: list[float], target: float, data: Any) -> None:
    """Whatever the estimate: the rank does, the one before does not."""
    real = sorted(costs, reverse=True)
    most = len(real) - 1
    estimate = np.array([data.draw(st.floats(0.0, 10.0)) for _ in real])
    k = smallest_rank(lambda j: real[j], estimate, target, most)
    assert 1 <= k <= most
    assert real[k] <= target or k == most
    assert k == 1 or real[k - 1] > target


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_auto_finds_what_was_planted(p: float) -> None:
    rng = np.random.default_rng(0)
    planted = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 10)) * 2.0
    X = planted + 0.5 * rng.standard_normal((300, 10)) + 3.0
    assert LpPCA("auto", p=p, certify=False, **quick).fit(X).n_components_ == 3
    noise = rng.standard_normal((300, 10)) * np.arange(1, 11)
    e = LpPCA("auto", p=p, certify=False, **quick).fit(noise)
    assert (e.n_components_, e.n_supported_) == (1, 0)


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("rank", range(7))
def test_auto_finds_planted_ranks(rank: int, p: float) -> None:
    """As `python -m benchmarks components` does, which has more of them and weaker ones."""
    right = 0
    for seed in range(10):
        B = planted(rank, 3.0, seed)
        right += parallel_rank(B - np.median(B, axis=0), None, p, 12, seed) == rank
    assert right >= 8


def test_auto_on_data_that_people_know() -> None:
    """What parallel analysis of their correlations says, at p = 2 to the number."""
    for load, p2, p1 in ((load_wine, 3, 3), (load_breast_cancer, 5, 6), (load_diabetes, 3, 4)):
        X = scale(load().data)
        for p, want in ((2.0, p2), (1.0, p1)):
            B = X - lpgeom.lp_median(X, p).point
            assert parallel_rank(B, None, p, X.shape[1], 0) == want


def test_the_other_rules() -> None:
    B = planted(3, 4.0, 0)
    values = scatter_values(B, None, 2.0)
    assert np.allclose(values, np.linalg.svd(B, compute_uv=False) ** 2)
    wide = scatter_values(B[:9], None, 1.0)
    assert np.allclose(wide, np.linalg.eigvalsh(_scatter(B[:9]))[::-1][:9])
    assert profile_rank(B, None, 2.0, 12, 0) == 3
    # The likelihood itself, with one variance for both groups.
    likelihood = []
    for q in range(1, 12):
        first, second = values[:q], values[q:]
        spread = q * first.var() + (12 - q) * second.var()
        likelihood.append(-np.log(spread))
    assert 1 + int(np.argmax(likelihood)) == 3
    assert broken_stick_rank(planted(1, 4.0, 0), None, 2.0, 12, 0) == 1
    assert broken_stick_rank(np.eye(6), None, 2.0, 6, 0) == 0  # pieces of one length
    for rule in ("profile", "broken-stick"):
        e = LpPCA(rule, certify=False, **quick).fit(planted(1, 4.0, 0))
        assert e.n_components_ == e.n_supported_ == 1
    with pytest.raises(ValueError, match="'auto', 'profile', 'broken-stick'"):
        LpPCA("kaiser").fit(B)


def _scatter(B: Any) -> Any:
    lengths = np.linalg.norm(B, axis=1)
    return (B / lengths[:, None]).T @ B * lengths.max()


def test_auto_is_rarely_wrong_about_noise() -> None:
    """One time in twenty at most, by construction: columns that are independent are exchangeable
    with shuffled ones."""
    rng = np.random.default_rng(1)
    wrong = [
        parallel_rank(rng.standard_t(3.0, (40, 6)), None, 1.0, 6, seed) > 0 for seed in range(60)
    ]
    assert sum(wrong) <= 7


@pytest.mark.parametrize("n_components", [0, -1, 6, 2.0, 0.0, 1.0, 1.5, "mle", True, [2]])
def test_wrong_numbers_of_components(n_components: Any) -> None:
    with pytest.raises(ValueError, match="n_components"):
        LpPCA(n_components).fit(rows())


def test_how_many_none_means() -> None:
    X = rows()
    assert LpPCA(**quick).fit(X).n_components_ == 5
    assert LpPCA(**quick).fit(X[:3]).n_components_ == 3
    assert LpPCA(**quick).fit(X[[0, 0, 1, 1]]).n_components_ == 2
    with pytest.raises(ValueError, match="n_samples=3"):
        LpPCA(4).fit(X[:3])


@pytest.mark.parametrize(
    "parameters",
    [
        {"p": 0.5},
        {"p": float("inf")},
        {"center": "middle"},
        {"certify": "all"},
        {"method": "fast"},
        {"refine": 1},
        {"whiten": 1},
        {"missing": "drop"},
        {"coreset_size": 0},
        {"random_state": "seed"},
    ],
)
def test_wrong_parameters(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each names its parameter
        LpPCA(2, **parameters).fit(rows())


@pytest.mark.parametrize("weights", [np.zeros(60), -np.ones(60), np.ones(3), np.full(60, np.nan)])
def test_wrong_weights(weights: Any) -> None:
    with pytest.raises(ValueError, match="[sS]ample.weight"):
        LpPCA(2).fit(rows(), sample_weight=weights)


@pytest.mark.parametrize("center", ["median", "mean", None])
@pytest.mark.parametrize("n_components", [1, 2, None, 0.5, "auto"])
def test_small_and_degenerate_data(center: str | None, n_components: Any) -> None:
    constant = np.full((6, 3), 7.0)
    for X in (constant, np.zeros((4, 2)), rows(2), rows(60)[:, :2]):
        e = LpPCA(n_components, center=center, **quick).fit(X)
        assert 1.0 <= e.certified_ratio_ < np.inf
        assert e.cost_ <= e.total_cost_ * (1.0 + 1e-9)
        assert np.isfinite(e.transform(X)).all()
        assert np.allclose(e.components_ @ e.components_.T, np.eye(e.n_components_), atol=1e-9)
    if n_components != 2:
        for X in (rows(1), rows(9)[:, :1]):
            e = LpPCA(n_components, center=center, **quick).fit(X)
            assert (e.n_components_, e.cost_, e.certified_ratio_) == (1, 0.0, 1.0)


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e290])
@pytest.mark.parametrize("p", [1.0, 3.0])
def test_scales(scale: float, p: float) -> None:
    X = rows(30)
    plain, scaled = LpPCA(2, p=p, **quick).fit(X), LpPCA(2, p=p, **quick).fit(X * scale)
    assert scaled.explained_cost_ == pytest.approx(plain.explained_cost_)
    assert scaled.certified_ratio_ == pytest.approx(plain.certified_ratio_, rel=1e-3)
    assert sine(plain.components_, scaled.components_) < 1e-6
    assert np.allclose(scaled.transform(X * scale) / scale, plain.transform(X))
    scaled.certificate_.verify(scaled.certified_rows(X * scale))
    assert scaled.score(X * scale) <= 0.0


def test_entries_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match="divide"):
        LpPCA(2, **quick).fit(rows(30) / 20.0 * 1e308)


def test_float32_stays_float32() -> None:
    X = rows().astype(np.float32)
    e = LpPCA(2, **quick).fit(X)
    assert e.transform(X).dtype == np.float32
    assert e.inverse_transform(e.transform(X)).dtype == np.float32
    assert e.components_.dtype == np.float64
    exact = LpPCA(2, **quick).fit(X.astype(np.float64))
    assert np.array_equal(e.components_, exact.components_)


def test_names_and_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows(), columns=list("abcde"))
    e = LpPCA(2, **quick).set_output(transform="pandas")
    out = e.fit_transform(frame)
    assert out.columns.tolist() == ["lppca0", "lppca1"] == e.get_feature_names_out().tolist()
    assert e.feature_names_in_.tolist() == list("abcde")
    with pytest.raises(ValueError, match="feature names"):
        e.transform(frame[list("edcba")])


def test_pipelines_searches_and_columns() -> None:
    rng = np.random.default_rng(0)
    X = rows(80)
    y = (X[:, 0] + 0.3 * rng.standard_normal(80) > 2.0).astype(int)
    model = Pipeline(
        [("scale", StandardScaler()), ("reduce", LpPCA(**quick)), ("fit", LogisticRegression())]
    )
    grid = {"reduce__n_components": [1, 3], "reduce__p": [1.0, 2.0]}
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.7
    columns = ColumnTransformer([("low", LpPCA(2, **quick), [0, 1, 2])], remainder="passthrough")
    assert columns.fit_transform(X).shape == (80, 4)
    assert columns.get_feature_names_out().tolist() == [
        "low__lppca0", "low__lppca1", "remainder__x3", "remainder__x4",
    ]  # fmt: skip
    # Its own score: cross-validated distances, which fall with every component.
    scores = [cross_val_score(LpPCA(k, certify=False, **quick), X, cv=3).mean() for k in (1, 3)]
    assert scores[0] < scores[1] < 0.0


def test_metadata_is_routed() -> None:
    X, w = rows(), np.arange(60) % 3
    with config_context(enable_metadata_routing=True):
        reduce = LpPCA(2, certify=False, **quick).set_fit_request(sample_weight=True)
        model = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), reduce)
        model.fit(X, sample_weight=w)
    Z = StandardScaler().fit_transform(X)
    weighted = LpPCA(2, certify=False, **quick).fit(Z, sample_weight=w)
    assert np.array_equal(model[-1].components_, weighted.components_)
    direct = LpPCA(2, certify=False, **quick)
    assert np.array_equal(direct.fit_transform(Z, sample_weight=w), weighted.transform(Z))


def test_clones_and_pickles() -> None:
    X = rows()
    e = LpPCA(2, p=1.5, center="mean", **quick).fit(X)
    copy = clone(e)
    assert copy.get_params() == e.get_params()
    with pytest.raises(NotFittedError):
        copy.transform(X)
    back = pickle.loads(pickle.dumps(e))
    assert np.array_equal(back.transform(X), e.transform(X))
    back.certificate_.verify(back.certified_rows(X))
    streamed = pickle.loads(pickle.dumps(LpPCA(2, **quick).partial_fit(X[:30])))
    assert streamed.partial_fit(X[30:]).n_samples_seen_ == 60


def test_random_states() -> None:
    X = rows()
    a, b = (LpPCA(2, random_state=s, method="irls").fit(X) for s in (7, np.random.RandomState(7)))
    assert np.array_equal(a.components_, b.components_)
    assert LpPCA(2, method="irls").fit(X).cost_ == pytest.approx(a.cost_, rel=1e-6)


@pytest.mark.parametrize("center", ["median", "mean", None])
def test_a_short_stream_is_a_fit(center: str | None) -> None:
    X, w = rows(), np.arange(60) % 3 + 1.0
    whole = LpPCA(2, center=center, **quick).fit(X, sample_weight=w)
    parts = LpPCA(2, center=center, **quick)
    for lo in range(0, 60, 20):
        parts.partial_fit(X[lo : lo + 20], sample_weight=w[lo : lo + 20])
    assert parts.n_samples_seen_ == 60
    assert parts.cost_ == pytest.approx(whole.cost_, rel=1e-6)
    assert np.allclose(parts.mean_, whole.mean_, atol=1e-4)
    assert sine(whole.components_, parts.components_) < 1e-4
    assert parts.data_ratio_ == parts.certified_ratio_
    parts.certificate_.verify(parts.certified_rows(parts.coreset_.rows))
    assert not hasattr(parts.fit(X), "coreset_")


def test_a_long_stream_is_certified_with_its_eps() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6000, 3)) * [4.0, 1.0, 1.0] + 30.0
    e = LpPCA(1, coreset_size=3000, **quick)
    for lo in range(0, 6000, 1500):
        e.partial_fit(X[lo : lo + 1500])
    assert len(e.coreset_) < 3000
    eps = e.coreset_.provenance.eps
    assert 0.0 < eps < 1.0
    assert e.data_ratio_ == pytest.approx(e.certified_ratio_ * (1.0 + eps) / (1.0 - eps))
    on_data = lpgeom.cost(X - e.mean_, e.components_.T)
    assert abs(on_data - e.cost_) <= eps * on_data
    whole = LpPCA(1, certify=False, **quick).fit(X)
    assert on_data <= whole.cost_ * 1.02
    assert np.allclose(
        LpPCA(1, center="mean", coreset_size=100, **quick).partial_fit(X).mean_, X.mean(axis=0)
    )


def test_a_first_block_of_few_rows_is_kept() -> None:
    X = rows()
    e = LpPCA(3, **quick).partial_fit(X[:1])
    with pytest.raises(NotFittedError):
        e.transform(X)
    e.partial_fit(X[1:2]).partial_fit(X[2:])
    assert e.n_samples_seen_ == 60
    assert e.cost_ == pytest.approx(LpPCA(3, **quick).fit(X).cost_, rel=1e-6)
    # A fit before it is gone, too.
    with pytest.raises(NotFittedError):
        LpPCA(3, **quick).fit(X).partial_fit(X[:2]).transform(X)


@pytest.mark.parametrize("k", [1, 3, None])
def test_a_small_coreset_claims_nothing_of_what_it_does_not_hold(k: int | None) -> None:
    e = LpPCA(k, coreset_size=1, **quick)
    for seed in range(4):
        e.partial_fit(np.random.default_rng(seed).standard_normal((40, 5)))
    assert len(e.coreset_) > e.n_components_
    assert e.certified_for_ == f"the {len(e.coreset_)} weighted rows of coreset_, of 160 rows"
    assert e.data_ratio_ == np.inf or k is None  # all of the space costs nothing, for any rows
    assert (e.cost_ > 0.0) == (k is not None)
    assert LpPCA(2, **quick).fit(rows()).certified_for_ == "all 60 rows"
    assert LpPCA(2, **quick).partial_fit(rows()).certified_for_ == "all 60 rows"


def test_a_coreset_within_the_subspace_says_nothing_of_the_cost() -> None:
    e = LpPCA(0.999, coreset_size=1, **quick)  # asks for as many components as there are
    with pytest.warns(RuntimeWarning, match="choose a coreset_size above 1"):
        e.partial_fit(np.random.default_rng(0).standard_normal((400, 8)))
    assert np.isnan(e.cost_)
    assert e.certified_ratio_ == e.data_ratio_ == np.inf


def test_a_stream_refuses_what_would_not_fit_to_it() -> None:
    X = rows()
    e = LpPCA(2, **quick).partial_fit(X)
    with pytest.raises(ValueError, match="features"):
        e.partial_fit(X[:, :3])
    with pytest.raises(ValueError, match="cannot change"):
        e.set_params(p=2.0).partial_fit(X)
    with pytest.raises(ValueError, match="n_features=5"):
        LpPCA(6, **quick).partial_fit(X)
    # What failed left the stream as it was.
    assert e.set_params(p=1.0).partial_fit(X).n_samples_seen_ == 120


def test_distinct_rows_are_in_one_order() -> None:
    X = np.array([[1.0, 2.0], [0.0, 5.0], [1.0, 2.0], [-0.0, 5.0], [3.0, 3.0]])
    one = distinct_rows(X, None)
    other = distinct_rows(X[[4, 1, 0]], np.array([1.0, 2.0, 2.0]))
    assert np.array_equal(one.rows, other.rows)
    assert one.weights is not None
    assert other.weights is not None
    assert np.array_equal(one.weights, other.weights)
    assert (one.unit, one.weight) == (other.unit, other.weight) == (8.0, 2.0)
    assert distinct_rows(X, np.array([1.0, 2.0, 1.0, 0.0, 2.0])).weights is None


def test_axes_point_one_way() -> None:
    B = rows() - 2.0
    V = np.eye(5)[:, :2]
    components = ordered_axes(B, None, V, 1.0)[0]
    turned = ordered_axes(B, None, V @ np.array([[0.6, -0.8], [0.8, 0.6]]), 1.0)[0]
    assert np.allclose(components, turned)
    largest = np.abs(components).argmax(axis=1)
    assert (components[[0, 1], largest] > 0.0).all()


def test_a_fit_verifies_itself() -> None:
    X = rows()
    e = LpPCA(2, **quick).fit(X, sample_weight=np.arange(60) % 3)
    e.verify(X)
    changed = X.copy()
    changed[1] += 1.0
    with pytest.raises(lpgeom.CertificateError):
        e.verify(changed)
    with pytest.raises(lpgeom.CertificateError, match="certify=False"):
        LpPCA(2, certify=False, **quick).fit(X).verify(X)
    with pytest.raises(NotFittedError):
        LpPCA(2).verify(X)
    stream = LpPCA(2, coreset_size=20, **quick).partial_fit(X)
    stream.verify(stream.coreset_.rows)


def test_scaling_stands_half_of_the_rows_and_keeps_names() -> None:
    pandas = pytest.importorskip("pandas")
    X = rows(100)
    plain = MadScaler().fit(X)
    assert np.array_equal(plain.center_, np.median(X, axis=0))
    assert np.allclose(plain.scale_, 1.4826 * np.median(np.abs(X - plain.center_), axis=0))
    assert np.allclose(plain.inverse_transform(plain.transform(X)), X)
    bad = X.copy()
    bad[:45] += 1e6
    ratio = MadScaler().fit(bad).scale_ / plain.scale_
    assert ratio.max() < 10.0 < 1e4 < (RobustScaler().fit(bad).scale_ / plain.scale_).min()
    frame = pandas.DataFrame(X, columns=list("abcde"))
    frame.iloc[0, 0] = np.nan
    model = MadScaler().set_output(transform="pandas").fit(frame)
    assert model.transform(frame).columns.tolist() == list("abcde")
    assert np.isfinite(model.scale_).all()
    # Mostly equal values have no MAD: the interquartile range.
    flat = np.zeros((10, 2))
    flat[:4, 0] = 1.349
    scale = MadScaler().fit(flat).scale_
    assert scale[0] == pytest.approx(1.0, rel=1e-3)
    assert scale[1] > 0.0
    piped = make_pipeline(MadScaler(), LpPCA(2, **quick)).set_output(transform="pandas")
    assert piped.fit_transform(frame.dropna()).columns.tolist() == ["lppca0", "lppca1"]


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_whitened_scores_have_one_scale(p: float) -> None:
    X, w = rows(), np.arange(60) % 3
    e = LpPCA(2, p=p, whiten=True, **quick).fit(X, sample_weight=w)
    Z = e.transform(X)
    assert np.average(np.abs(Z) ** p, axis=0, weights=w) == pytest.approx([1.0, 1.0])
    plain = LpPCA(2, p=p, **quick).fit(X, sample_weight=w)
    assert np.allclose(Z * e.score_scales_, plain.transform(X))
    assert np.allclose(e.inverse_transform(Z), plain.inverse_transform(plain.transform(X)))
    if p == 2.0:
        theirs = PCA(2, whiten=True).fit_transform(X) * np.sqrt(60 / 59)
        ours = LpPCA(2, p=p, whiten=True, **quick).fit_transform(X)
        assert np.allclose(np.abs(ours), np.abs(theirs))
    constant = LpPCA(1, p=p, whiten=True, **quick).fit(np.full((4, 3), 7.0))
    assert np.isfinite(constant.transform(np.full((4, 3), 8.0))).all()


def test_signs_are_those_of_scikit_learn_and_stay() -> None:
    X = rows()
    assert np.allclose(LpPCA(3, p=2.0).fit(X).components_, PCA(3).fit(X).components_)
    e, again = (LpPCA(3, **quick).fit(X[order]) for order in (slice(None), slice(None, None, -1)))
    assert np.array_equal(e.components_, again.components_)
    # Entries of one size: the first is positive, whatever their last digits.
    t = np.linspace(-1.0, 1.0, 9)[:, None]
    for tilt in (1.0 + 1e-12, 1.0 - 1e-12):
        components = ordered_axes(t * [1.0, -tilt], None, np.array([[1.0], [-tilt]]) / 2**0.5, 1.0)
        assert components[0][0, 0] > 0.0


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_points_of_the_subspace_keep_their_names(library: str) -> None:
    frames = pytest.importorskip(library)
    X = rows()
    kwargs = {"columns": list("abcde")} if library == "pandas" else {"schema": list("abcde")}
    frame = frames.DataFrame(X, **kwargs)
    if library == "pandas":
        frame.index = [f"r{i}" for i in range(60)]
    e = LpPCA(2, **quick).set_output(transform=library).fit(frame)
    scores = e.transform(frame)
    back = e.inverse_transform(scores)
    assert isinstance(back, frames.DataFrame)
    assert list(back.columns) == list("abcde")
    if library == "pandas":
        assert list(scores.index) == list(back.index) == list(frame.index)
    plain = LpPCA(2, **quick).fit(X)
    assert np.allclose(np.asarray(back), plain.inverse_transform(plain.transform(X)))
    assert list(plain.inverse_transform(scores).columns) == ["x0", "x1", "x2", "x3", "x4"]
