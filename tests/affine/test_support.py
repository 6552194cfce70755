"""Fits that stand when up to half of the rows lie anywhere, and what is said of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from lpgeom.affine.affine import approx_affine
from lpgeom.affine.robust.cloud import Cloud
from lpgeom.affine.robust.clusters import _widest_gap, far_clusters
from lpgeom.affine.robust.cutoffs import orthogonal_cutoff, score_cutoff, univariate_mcd
from lpgeom.affine.robust.directions import DIRECTIONS
from lpgeom.kernels.cpu.outlyingness import farthest_off, quantile
from tests import reference
from tests.problems import fixed

KINDS = ("orthogonal", "leverage", "cluster")


def contaminated(kind: str, share: float, n: int, d: int, k: int, seed: int = 0) -> tuple[Any, Any]:
    """Rows (n, d) and the basis (d, k) of the subspace that all but the first of them lie near."""
    rng = np.random.default_rng([KINDS.index(kind), int(100 * share), d, seed])
    U = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = rng.standard_normal((n, d)) * np.r_[np.linspace(5.0, 2.5, k), np.full(d - k, 0.25)]
    m = int(share * n)
    if kind == "orthogonal":
        X[:m, k:] += 3.0 * rng.standard_normal((m, d - k))
    elif kind == "leverage":
        X[:m] = 0.5 * rng.standard_normal((m, d))
        X[:m, [0, k]] += 15.0
    else:
        X[:m] = 0.1 * rng.standard_normal((m, d))
        X[:m, k] += 12.0
    return X @ U.T + 7.0, U[:, :k]


def sine(U: Any, V: Any) -> float:
    return float(np.linalg.norm(V - U @ (U.T @ V), 2))


# ---------------------------------------------------------------- the kernel, and what it rests on


@fixed
@given(st.integers(0, 2**31), st.integers(1, 30), st.booleans(), st.booleans())
def test_the_kernel_is_the_reference(seed: int, n: int, centred: bool, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    P = rng.integers(-4, 5, (5, n)) + (0.0 if whole else rng.standard_normal((5, n)))
    w = rng.integers(1, 4, n).astype(float)
    medians = [reference.weighted_median(row.tolist(), w.tolist()) for row in P]
    off = np.abs(P - (np.array(medians)[:, None] if centred else 0.0))
    scales = [reference.weighted_median(row.tolist(), w.tolist()) for row in off]
    P = P[np.array(scales) > 0.0]
    out = np.zeros(n)
    given = P.copy(), w.copy()
    farthest_off(P, w, w.sum() / 2.0, np.zeros(n), 1e-12, centred, out, np.empty(n), np.empty(n))
    assert out == pytest.approx(reference.outlyingness(P, w.tolist(), centred), rel=1e-12)
    assert np.array_equal(P, given[0])
    assert np.array_equal(w, given[1])


@fixed
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.floats(0.01, 1.0))
def test_quantiles_with_equal_numbers(values: list[int], share: float) -> None:
    x = np.array(values, dtype=float)
    found = quantile(x.copy(), np.ones(len(x)), share * len(x))
    assert found == np.sort(x)[int(np.ceil(share * len(x) - 1e-12)) - 1]


def test_half_of_the_points_in_a_hyperplane() -> None:
    """A scale of 0: those in it lie 0 off, to rounding, and the others very far."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 4))
    A[:24] = A[:24] @ np.diag([1.0, 1.0, 1.0, 0.0])
    out = Cloud.of(A, np.ones(40), None).outlyingness(3, 0)
    assert out[:24].max() < 100.0 < 1e6 < out[24:].min()


def test_the_univariate_mcd() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(20000)
    location, scale = univariate_mcd(x, None, 0.5)
    assert abs(location) < 0.1
    assert scale == pytest.approx(1.0, rel=0.05)
    x[:8000] = 50.0  # two fifths of them
    location, scale = univariate_mcd(x, None, 0.5)
    assert abs(location) < 0.1
    assert scale == pytest.approx(1.0, rel=0.3)
    # Weights are repeated numbers.
    w = rng.integers(1, 4, 50).astype(float)
    once, often = univariate_mcd(x[-50:], w, 0.6), np.repeat(x[-50:], w.astype(int))
    assert once == pytest.approx(univariate_mcd(often, None, 0.6), rel=0.05)
    assert univariate_mcd(np.r_[np.full(30, 2.0), x[:10]], None, 0.5) == (2.0, 0.0)


def test_cut_offs_let_regular_rows_pass() -> None:
    rng = np.random.default_rng(0)
    r = np.linalg.norm(rng.standard_normal((20000, 6)), axis=1)
    assert (r > orthogonal_cutoff(r, None, 0.5)).mean() == pytest.approx(0.025, abs=0.007)
    assert (r > score_cutoff(6)).mean() == pytest.approx(0.025, abs=0.004)


def test_directions_have_length_one_and_an_entry_adds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    B = rng.standard_normal((30, 5))
    w = np.ones(30)
    for directions in DIRECTIONS:
        D = directions(B, w, 2, lambda shape: B[rng.integers(0, 30, shape)], rng)
        assert D.shape[1] == 5
        assert np.linalg.norm(D, axis=1) == pytest.approx(1.0)
    asked = []

    def mine(B: Any, w: Any, k: int, draw: Any, rng: Any) -> Any:
        asked.append((B.shape, k, draw((3, 2)).shape))
        return np.eye(B.shape[1])[:1]

    monkeypatch.setattr("lpgeom.affine.robust.directions.DIRECTIONS", DIRECTIONS)
    DIRECTIONS.append(mine)
    try:
        approx_affine(B, 2, support_fraction=0.5, certify=False)
    finally:
        DIRECTIONS.remove(mine)
    assert asked == [((30, 5), 2, (3, 2, 5))]


@fixed
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 4)), min_size=2, max_size=12))
def test_the_widest_gap_is_the_reference(pairs: list[tuple[int, int]]) -> None:
    x, w = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    gap, beyond = _widest_gap(x, w, 0.15, 0.45)
    widest = reference.widest_gap(x.tolist(), w.tolist(), 0.15, 0.45)
    assert (gap > 0.0) == (widest > 0.0) == beyond.any()
    if beyond.any():
        few, many = x[beyond], x[~beyond]
        between = max(few.min() - many.max(), many.min() - few.max())
        middle = reference.weighted_median(many.tolist(), w[~beyond].tolist())
        off = [abs(y - middle) for y in many]
        scale = reference.weighted_median(off, w[~beyond].tolist())
        assert between == widest
        assert 0.15 <= w[beyond].sum() / w.sum() <= 0.45 + 1e-9
        assert gap == pytest.approx(between / max(scale, 1e-12 * np.abs(x).max()))


@pytest.mark.parametrize("noise", ["normal", "t3", "lognormal", "uniform"])
def test_rows_of_one_kind_have_no_far_cluster(noise: str) -> None:
    rng = np.random.default_rng(0)
    draws = {
        "normal": rng.standard_normal,
        "t3": lambda shape: rng.standard_t(3.0, shape),
        "lognormal": lambda shape: np.exp(rng.standard_normal(shape)),
        "uniform": rng.random,
    }
    for n, d, k in [(8, 3, 1), (40, 5, 2), (40, 80, 3), (200, 10, 5)]:
        cloud = Cloud.of(draws[noise]((n, d)), np.ones(n), None)
        assert not far_clusters(cloud, k, 0.4, 0).any()


def test_far_clusters_are_set_aside_one_after_the_other() -> None:
    X, _ = contaminated("cluster", 0.4, 200, 10, 2)
    rng = np.random.default_rng(1)
    X[:40] += 30.0 * rng.standard_normal(10)
    far = far_clusters(Cloud.of(X, np.ones(200), None), 2, 0.5, 0)
    assert np.flatnonzero(far).tolist() == list(range(80))
    # Of both together there are too many to be left out; the farther one may still be.
    some = far_clusters(Cloud.of(X, np.ones(200), None), 2, 0.25, 0)
    assert some.sum() == 40
    assert some[:40].all() or some[40:80].all()


# ---------------------------------------------------------------- fits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.4, 0.49])
def test_it_stands(kind: str, share: float) -> None:
    X, U = contaminated(kind, share, 200, 10, 2)
    found = approx_affine(X, 2, support_fraction=0.5)
    m = int(share * 200)
    assert sine(U, found.basis) < 0.06
    assert not found.support[:m].any()
    assert found.support[m:].mean() > 0.9
    # What is stated is about the rows kept, and proved for them.
    kept = X[found.support]
    R = kept - found.centre
    distances = np.linalg.norm(R - R @ found.basis @ found.basis.T, axis=1)
    assert found.cost == pytest.approx(distances.sum())
    assert found.lower_bound <= lpgeom.approx_affine(kept, 2).cost <= found.cost * (1.0 + 1e-6)
    assert found.ratio < 1.05
    found.verify(X)


def test_a_fifth_in_one_cluster_turns_the_fit_of_all_rows() -> None:
    X, U = contaminated("cluster", 0.2, 200, 10, 2)
    assert sine(U, approx_affine(X, 2, certify=False).basis) > 0.9
    assert sine(U, approx_affine(X, 2, support_fraction="auto", certify=False).basis) < 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_rows_than_columns(kind: str) -> None:
    X, U = contaminated(kind, 0.4, 40, 200, 3)
    found = approx_affine(X, 3, support_fraction=0.5, certify=False)
    assert not found.support[:16].any()
    # 24 rows in 200 dimensions, with noise of length 3.5: nearly as good as without the others.
    assert sine(U, found.basis) < 1.8 * sine(U, approx_affine(X[16:], 3, certify=False).basis)


def test_without_outliers_it_is_the_fit_of_all_rows() -> None:
    X, U = contaminated("cluster", 0.0, 300, 8, 2)
    plain, auto = (approx_affine(X, 2, support_fraction=s) for s in (None, "auto"))
    assert auto.support is None
    assert np.array_equal(plain.basis, auto.basis)
    half = approx_affine(X, 2, support_fraction=0.5)
    assert half.support.mean() > 0.9
    assert sine(U, half.basis) < sine(U, plain.basis) + 0.01
    assert half.guarantee >= half.ratio >= 1.0
    one = approx_affine(X, 2, support_fraction=1.0)
    assert one.support is None
    assert np.array_equal(one.basis, plain.basis)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("centre", ["median", "mean", None, "given"])
def test_every_p_and_centre(p: float, centre: str | None) -> None:
    X, U = contaminated("cluster", 0.3, 120, 6, 2)
    where = np.full(6, 7.0) if centre == "given" else centre
    X = X - 7.0 if centre is None else X
    found = approx_affine(X, 2, p, centre=where, support_fraction=0.5)
    assert not found.support[:36].any()
    assert sine(U, found.basis) < 0.1
    found.verify(X)


def test_rows_that_fit_exactly_and_half_anywhere() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 5)) + 3.0
    X[:25] = 4.0 * rng.standard_normal((25, 5))
    found = approx_affine(X, 2, support_fraction=0.5)
    assert not found.support[:25].any()
    assert found.support[25:].all()
    assert (found.cost, found.ratio) == (0.0, 1.0)
    found.verify(X)


@pytest.mark.parametrize("counts", [(30, 0), (20, 12)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rows_of_one_or_two_values(counts: tuple[int, int], value: float) -> None:
    A = np.repeat([[value] * 4, [3.0, -1.0, 2.0, 5.0]], counts, axis=0)
    found = lpgeom.approx_affine(A, 1, support_fraction=0.5)
    assert found.cost <= 1e-12
    assert np.isfinite(found.basis).all()


def test_more_than_half_of_the_rows_equal() -> None:
    rng = np.random.default_rng(0)
    X = 5.0 * rng.standard_normal((50, 4))
    X[:30] = [1.0, 2.0, 3.0, 4.0]
    found = approx_affine(X, 2, support_fraction=0.5)
    assert found.support[:30].all()
    assert found.cost == pytest.approx(0.0, abs=1e-9)
    assert np.allclose(found.basis.T @ found.basis, np.eye(2))
    all_equal = approx_affine(np.ones((10, 3)), 1, support_fraction=0.5)
    assert all_equal.support.all()
    assert all_equal.cost == 0.0


@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e20, 1e299])
def test_scales_and_constant_columns(scale: float) -> None:
    X, _ = contaminated("cluster", 0.3, 80, 5, 2)
    X = np.c_[X, np.full(80, 3.0)]
    base = approx_affine(X, 2, support_fraction=0.5, certify=False)
    found = approx_affine(X / 32.0 * scale, 2, support_fraction=0.5, certify=False)
    assert np.array_equal(found.support, base.support)
    assert not base.support[:24].any()
    assert np.abs(found.basis[5]).max() < 1e-9
    X[0] = 1e290  # one row, out of all proportion
    assert not approx_affine(X, 2, support_fraction=0.5, certify=False).support[0]


def test_rows_are_not_modified_and_seeds_repeat() -> None:
    X, _ = contaminated("leverage", 0.3, 100, 6, 2)
    before = X.copy()
    once, again = (approx_affine(X, 2, support_fraction=0.5, seed=3) for _ in range(2))
    assert np.array_equal(X, before)
    assert np.array_equal(once.basis, again.basis)
    assert np.array_equal(once.support, again.support)


def test_row_weights() -> None:
    """Weight 0: not there, and not kept. A cluster of most of the weight is the majority."""
    X, U = contaminated("cluster", 0.4, 150, 6, 2)
    omega = np.ones(150)
    omega[:10] = 0.0
    X[:10] = 1e6
    found = approx_affine(X, 2, support_fraction=0.5, row_weights=omega)
    assert not found.support[:60].any()
    assert sine(U, found.basis) < 0.1
    found.verify(X)
    omega[10:60] = 4.0
    assert approx_affine(X, 2, support_fraction=0.5, row_weights=omega).support[10:60].mean() > 0.9


@pytest.mark.parametrize("given", [0.4, 1.01, 0, 1e9, float("nan"), True, "most", [0.5], 1j])
def test_what_is_no_share_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="support_fraction must be"):
        approx_affine(np.eye(4), 1, support_fraction=given)


def test_the_whole_space_has_no_support() -> None:
    X, _ = contaminated("cluster", 0.3, 40, 3, 1)
    assert approx_affine(X, 3, support_fraction=0.5).support is None


def test_a_forged_support_is_found() -> None:
    from dataclasses import replace

    X, _ = contaminated("cluster", 0.3, 80, 5, 2)
    found = approx_affine(X, 2, support_fraction=0.5)
    forged = replace(found, support=np.ones(80, dtype=bool))
    with pytest.raises(lpgeom.CertificateError, match="rows of the support"):
        forged.verify(X)
