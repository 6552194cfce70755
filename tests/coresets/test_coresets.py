"""Coresets: sensitivities, draws and theorems hold; what is proved is what happens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from benchmarks.coresets import adversary, worst_error
from lpgeom import datasets
from lpgeom.coresets import sampling
from lpgeom.coresets.barrier import size_for
from lpgeom.coresets.record import Provenance
from lpgeom.coresets.sampling import stratified
from lpgeom.coresets.sensitivity import (
    every_subspace,
    fixed_subspace,
    lewis_sensitivities,
    ridge_sensitivities,
)
from lpgeom.geometry.grassmann import Frame
from lpgeom.rows.door import open_rows
from lpgeom.subspace.refine import _first_floor
from tests.problems import KINDS, descend, fixed, matrix, random_bases
from tests.reference import cost_rows, weighted

PS = (1.0, 1.3, 2.0, 3.0, 6.0)
SLACK = 1.0 + 1e-7


def sensitivities(A: Any, p: float, k: int | None = None) -> Any:
    rows = open_rows(A, p).rows
    return lewis_sensitivities(rows, p) if k is None else ridge_sensitivities(rows, p, k)


def bounds(s: Any) -> Any:
    """Upper bounds on the sensitivities, row by row."""
    return s.total * s.weights / s.weights.sum()


def greedy_direction(A: Any, i: int, p: float) -> Any:
    """x with a large share of row i in ``||A x||_p^p``: least squares reweighted, a_i x = 1."""
    g = np.ones(len(A))
    best, most = A[i], 0.0
    for _ in range(30):
        H = (A * g[:, None]).T @ A
        x = np.linalg.lstsq(H + 1e-12 * np.trace(H) * np.eye(len(H)), A[i], rcond=None)[0]
        r = np.abs(A @ x) ** p
        if not r.sum() > 0.0:
            break
        if r[i] / r.sum() > most:
            best, most = x, r[i] / r.sum()
        r = np.maximum(np.abs(A @ x) / np.abs(A @ x).max(), 1e-6)
        g = r ** (p - 2.0) if p <= 2.0 else np.sqrt(g * r ** (p - 2.0))
    return best


@st.composite
def inputs(draw: st.DrawFn) -> tuple[Any, float, int]:
    d = draw(st.integers(2, 6))
    n = draw(st.integers(d, 30))
    A = matrix(draw(st.sampled_from(KINDS)), n, d, draw(st.integers(0, 2**31)))
    return A, draw(st.sampled_from(PS)), draw(st.integers(0, 2**31))


# ---------------------------------------------------------------- sensitivities


@fixed
@given(inputs())
def test_no_direction_exceeds_the_lewis_bounds(problem: tuple[Any, float, int]) -> None:
    A, p, seed = problem
    upper = bounds(sensitivities(A, p))
    rng = np.random.default_rng(seed)
    directions = [greedy_direction(A, i, p) for i in range(len(A)) if A[i].any()]
    directions += [rng.standard_normal((A.shape[1], 2)) for _ in range(5)]
    for x in directions:
        share = np.linalg.norm((A @ x).reshape(len(A), -1), axis=1) ** p
        if share.sum() > 1e-9 * np.linalg.norm(A) ** p:
            assert (share / share.sum() <= upper * SLACK + 1e-12).all()


@fixed
@given(inputs(), st.integers(1, 5))
def test_no_subspace_exceeds_the_ridge_bounds(problem: tuple[Any, float, int], k: int) -> None:
    A, p, seed = problem
    d = A.shape[1]
    k = min(k, d - 1)
    upper = bounds(sensitivities(A, p, k))
    rng = np.random.default_rng(seed)
    bases = random_bases(d, k, 5, rng) + random_bases(d, 1, 2, rng)
    for i in range(len(A)):  # cheap for all rows but one: that row's share is large
        others = np.delete(A, i, axis=0)
        bases.append(descend(others, np.linalg.svd(others)[2][:k].T, p, steps=5))
    for V in bases:
        share = np.linalg.norm(A - (A @ V) @ V.T, axis=1) ** p
        if share.sum() > 1e-9 * np.linalg.norm(A) ** p:
            assert (share / share.sum() <= upper * SLACK + 1e-12).all()


def test_the_bounds_are_not_far_from_the_truth() -> None:
    """A bound of 1 for every row would pass the tests above; the totals say how good these are."""
    A = matrix("heavy", 400, 10, 0)
    for p in (1.0, 1.5, 2.0):
        s = sensitivities(A, p)
        assert s.total == pytest.approx(10.0, rel=0.02)
        assert s.total >= 10.0 - 1e-9
        for k in (1, 2, 4):
            assert sensitivities(A, p, k).total <= 2.0 * (k + 1) * 1.02
    assert sensitivities(A, 3.0).total == pytest.approx(10.0**1.5, rel=0.05)
    assert sensitivities(A, 3.0, 2).total <= 6.0**1.5 * 1.05


def test_a_lone_row_has_sensitivity_one() -> None:
    A = np.vstack([matrix("gauss", 50, 3, 0) * [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    for p in PS:
        upper = bounds(sensitivities(A, p))
        assert upper[-1] >= 1.0 - 1e-9
    assert bounds(sensitivities(A, 1.0))[-1] <= 1.03


# ---------------------------------------------------------------- draws


@pytest.mark.parametrize("weights", [(1, 2, 3, 4), (5, 0, 1, 0), (7,), (1, 1, 1, 20, 0)])
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_draws_are_unbiased_exactly(weights: tuple[int, ...], size: int) -> None:
    """Every cell of a partition on which the draws are constant is tried once.

    In units of 1/total the ends of the rows are integers, and so, times `size`, is every place:
    with uniforms at the middles of `total` equal cells the mean over the cells is the expectation.
    """
    w = np.array(weights, dtype=float)
    total = int(w.sum())
    expected = np.zeros(len(w))
    for cell in range(total):
        indices, factors = stratified(w, np.full(size, (cell + 0.5) / total))
        assert (np.diff(indices) > 0).all()
        draws = factors * w[indices] / total * size
        np.testing.assert_allclose(draws, np.round(draws), rtol=1e-12)
        expected[indices] += factors / total
    np.testing.assert_allclose(expected, (w > 0).astype(float), rtol=1e-12)


def test_draws_are_independent_of_one_another() -> None:
    """Each draw depends on its own uniform alone, and stays in its stratum."""
    rng = np.random.default_rng(0)
    w = rng.random(50)
    u = rng.random(10)
    ends = np.cumsum(w) / w.sum()
    for j in range(10):
        changed = u.copy()
        changed[j] = 1.0 - u[j]
        before, _ = stratified(w, u)
        after, _ = stratified(w, changed)
        i = int(np.searchsorted(ends, (j + u[j]) / 10, side="right"))
        i2 = int(np.searchsorted(ends, (j + changed[j]) / 10, side="right"))
        assert set(before) ^ set(after) <= {i, i2}


def test_the_last_place_may_not_leave_the_rows() -> None:
    w = np.array([0.1, 0.2, 0.3, 0.0])
    indices, factors = stratified(w, np.full(3, np.nextafter(1.0, 0.0)))
    assert indices[-1] == 2
    assert np.isfinite(factors).all()


@pytest.mark.parametrize("method", ["lewis", "ridge", "norm", "uniform"])
@pytest.mark.parametrize("row_weights", [False, True])
def test_the_cost_is_unbiased_through_the_whole_door(
    method: str, row_weights: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All draws at the same place of their stratum, over a fine grid of places."""
    A = matrix("zero rows", 12, 3, 1)
    rng = np.random.default_rng(2)
    omega = np.where(rng.random(12) < 0.2, 0.0, rng.random(12)) if row_weights else None
    V = np.linalg.qr(rng.standard_normal((3, 1)))[0]
    grid, mean = 200, 0.0
    for cell in range(grid):

        class Place:
            random = staticmethod(lambda size, cell=cell: np.full(size, (cell + 0.5) / grid))

        monkeypatch.setattr(np.random, "default_rng", lambda seed: Place)
        c = lpgeom.coreset(
            A, size=5, k=1 if method == "ridge" else None, method=method, row_weights=omega
        )
        y = np.linalg.norm(c.rows - (c.rows @ V) @ V.T, axis=1)
        mean += float(c.weights @ y) / grid
    exact = cost_rows(A if omega is None else weighted(A, omega, 1.0), V, 1.0)
    assert mean == pytest.approx(exact, rel=1e-2)


# ---------------------------------------------------------------- the public function


@fixed
@given(inputs(), st.sampled_from(["lewis", "ridge", "norm", "uniform"]), st.integers(1, 20))
def test_a_coreset_is_made_of_rows(problem: tuple[Any, float, int], method: str, size: int) -> None:
    A, p, seed = problem
    k = 1 if method == "ridge" else None
    c = lpgeom.coreset(A, size=size, p=p, k=k, seed=seed, method=method)
    assert 1 <= len(c) <= max(size, len(A))
    assert (np.diff(c.indices) > 0).all()
    np.testing.assert_array_equal(c.rows, A[c.indices])
    assert (c.weights > 0.0).all()
    if method in ("lewis", "ridge", "norm") and size < len(A):
        assert A[c.indices].any(axis=1).all()  # zero rows are no use
    again = lpgeom.coreset(A, size=size, p=p, k=k, seed=seed, method=method)
    np.testing.assert_array_equal(again.weights, c.weights)


@pytest.mark.parametrize("method", ["lewis", "deterministic", "norm", "uniform"])
def test_enough_rows_are_all_rows(method: str) -> None:
    A = matrix("gauss", 20, 4, 0)
    for size in (20, 1000):
        c = lpgeom.coreset(A, size=size, method=method)
        np.testing.assert_array_equal(c.indices, np.arange(20))
        np.testing.assert_array_equal(c.weights, np.ones(20))
        assert (c.provenance.eps, c.provenance.theorem) == (0.0, "exact")
    omega = np.arange(20.0)
    c = lpgeom.coreset(A, size=20, row_weights=omega, method=method)
    np.testing.assert_array_equal(c.weights, omega[1:])
    c = lpgeom.coreset(A, eps=0.1, p=2.0) if method == "lewis" else c
    assert c.provenance.eps == 0.0


@pytest.mark.parametrize("method", ["lewis", "deterministic"])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_zero_data_is_one_row(method: str, p: float) -> None:
    c = lpgeom.coreset(np.zeros((30, 4)), size=5, p=p, method=method)
    assert len(c) == 1
    assert c.provenance.theorem == "exact"
    assert lpgeom.approx_subspace(c, 2, p).cost == 0.0
    omega = np.r_[0.0, np.ones(29)]
    c = lpgeom.coreset(np.zeros((30, 4)), p=2.0, eps=0.5, row_weights=omega, method=method)
    assert c.weights[0] == 1.0


@pytest.mark.parametrize("method", ["norm", "uniform"])
def test_sampling_zero_data_for_comparison(method: str) -> None:
    c = lpgeom.coreset(np.zeros((30, 4)), size=5, method=method)
    assert 1 <= len(c) <= 5
    assert (c.weights > 0.0).all()


@pytest.mark.parametrize("method", ["lewis", "ridge", "deterministic", "norm"])
def test_scale_and_weights_in_common_change_nothing(method: str) -> None:
    A = matrix("heavy", 200, 4, 3)
    k = 2 if method == "ridge" else None
    plain = lpgeom.coreset(A, size=30, k=k, method=method)
    for factor in (2.0**-900, 2.0**900):
        c = lpgeom.coreset(A * factor, size=30, k=k, method=method)
        np.testing.assert_array_equal(c.indices, plain.indices)
        np.testing.assert_array_equal(c.weights, plain.weights)
    c = lpgeom.coreset(A, size=30, k=k, method=method, row_weights=np.full(200, 8.0))
    np.testing.assert_allclose(c.weights, 8.0 * plain.weights, rtol=1e-12)


def test_a_weighted_row_is_as_many_rows() -> None:
    A = matrix("heavy", 60, 4, 5)
    counts = np.random.default_rng(0).integers(1, 5, 60)
    once = sensitivities_of_weighted(A, counts.astype(float))
    split = np.repeat(A, counts, axis=0)
    s = sensitivities(split, 1.0)
    share = np.add.reduceat(s.weights, np.r_[0, np.cumsum(counts)[:-1]]) / s.weights.sum()
    np.testing.assert_allclose(once.weights / once.weights.sum(), share, rtol=0.03)


def sensitivities_of_weighted(A: Any, omega: Any) -> Any:
    return lewis_sensitivities(open_rows(A, 1.0, omega).rows, 1.0)


def test_float32_and_memory_maps(tmp_path: Path) -> None:
    A = matrix("gauss", 300, 5, 0).astype(np.float32)
    np.save(tmp_path / "A.npy", A)
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
    c, from_file = lpgeom.coreset(A, size=40), lpgeom.coreset(mapped, size=40)
    assert c.rows.dtype == np.float32
    assert type(from_file.rows) is np.ndarray
    np.testing.assert_array_equal(from_file.rows, c.rows)
    assert lpgeom.coreset(A.astype(int), size=40, method="uniform").rows.dtype == np.float64


BAD: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ValueError, "either size or eps", {}),
    (ValueError, "not both", {"size": 3, "eps": 0.5}),
    (ValueError, "size must be >= 1", {"size": 0}),
    (TypeError, "size must be an integer", {"size": 2.5}),
    (ValueError, "eps must lie", {"eps": 1.0}),
    (ValueError, "eps must lie", {"eps": 0.0}),
    (ValueError, "eps must lie", {"eps": math.nan}),
    (ValueError, "p must be", {"size": 3, "p": 0.5}),
    (ValueError, "p must be", {"size": 3, "p": math.inf}),
    (ValueError, "k must lie", {"size": 3, "k": 4}),
    (ValueError, "k must lie", {"size": 3, "k": 0}),
    (ValueError, "give k", {"size": 3, "method": "ridge"}),
    (ValueError, "method must be", {"size": 3, "method": "svd"}),
    (ValueError, "proves no eps", {"eps": 0.5, "method": "uniform"}),
    (ValueError, "p = 2 only", {"eps": 0.5, "method": "deterministic"}),
    (ValueError, "above the rank", {"size": 4, "method": "deterministic"}),
    (ValueError, "seed must be", {"size": 3, "seed": -1}),
    (ValueError, "failure_probability", {"size": 3, "failure_probability": 0.0}),
    (ValueError, "all zero", {"size": 3, "row_weights": np.zeros(30)}),
]


@pytest.mark.parametrize(("error", "message", "options"), BAD)
def test_bad_options(error: type[Exception], message: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        lpgeom.coreset(matrix("gauss", 30, 4, 0), **options)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_entries(bad: float) -> None:
    A = matrix("gauss", 30, 4, 0)
    A[3, 2] = bad
    with pytest.raises(ValueError, match=r"A\[3, 2\]"):
        lpgeom.coreset(A, size=5)


# ---------------------------------------------------------------- what is proved


@pytest.mark.parametrize("p", [1.0, 1.2, 1.5, 2.0, 3.0])
def test_size_and_eps_are_inverse(p: float) -> None:
    s = sensitivities(matrix("heavy", 300, 4, 0), p)
    for theorem in [fixed_subspace(s, 0.01), *every_subspace(s, 0.01)]:
        sizes = [theorem.size(eps) for eps in (0.05, 0.2, 0.5, 0.9)]
        assert sizes == sorted(sizes, reverse=True)
        for eps, size in zip((0.05, 0.2, 0.5, 0.9), sizes, strict=True):
            assert theorem.eps(int(size)) <= eps * (1.0 + 1e-8)
            assert theorem.eps(int(size) - 1) > eps * (1.0 - 1e-8)
    assert all(t.eps(1) == math.inf or t.eps(1) > 1.0 for t in every_subspace(s, 0.01))


def test_the_sizes_are_those_of_the_page() -> None:
    s = sensitivities(matrix("gauss", 500, 4, 0), 1.0)
    D = s.dimension
    named = {t.name: t for t in every_subspace(s, 0.02)}
    assert named["C4"].needed(0.3) == pytest.approx(
        8 * D / 0.09 * (1 + 0.05) * math.log(4 * 500 / 0.02)
    )
    assert fixed_subspace(s, 0.02).needed(0.3) == pytest.approx(
        2 * D / 0.09 * 1.1 * math.log(2 / 0.02)
    )
    s = sensitivities(matrix("gauss", 500, 4, 0), 2.0)
    named = {t.name: t for t in every_subspace(s, 0.02)}
    assert named["C5"].needed(0.3) == pytest.approx(2 * 4 / 0.09 * 1.1 * math.log(8 / 0.02))


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("kind", ["heavy", "scales"])
def test_strong_coreset(kind: str, p: float) -> None:
    """Within the eps asked for, at random, optimal and adversarial subspaces (Show 1)."""
    eps = 0.5
    A = matrix(kind, 12_000, 3, 7)
    best = [descend(A, np.eye(3)[:, :k], p, steps=5) for k in (1, 2)]
    for seed in range(3):
        c = lpgeom.coreset(A, eps=eps, p=p, seed=seed)
        assert c.size < len(A) / 2
        assert c.provenance.eps <= eps * (1.0 + 1e-8)
        starts = [*best, *random_bases(3, 1, 2, np.random.default_rng(seed))]
        assert worst_error(A, c, iter(starts), steps=3) <= eps


def test_the_adversary_finds_what_a_bad_coreset_misses() -> None:
    """A coreset that leaves out a direction: from a random start, an error near 1."""
    A = np.vstack([matrix("gauss", 500, 4, 0) * [1.0, 1.0, 1.0, 0.0], 300.0 * np.eye(4)[3:]])
    c = lpgeom.coreset(A, size=60, method="uniform")
    assert 500 not in c.indices
    V = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 2)))[0]
    assert adversary(A, c, V, -1.0, steps=40) < -0.4
    good = lpgeom.coreset(A, size=60)
    assert 500 in good.indices
    assert abs(adversary(A, good, V, -1.0, steps=40)) < 0.35


def test_uniform_sampling_fails_on_contaminated_rows() -> None:
    A, _ = datasets.contaminated(4000, 8, 2, factor=1000.0, seed=0, fraction=1e-3)
    V = np.linalg.svd(A)[2][:2].T
    errors = {}
    for method in ("lewis", "uniform"):
        errors[method] = max(
            worst_error(A, lpgeom.coreset(A, size=200, seed=seed, method=method), iter([V]), 4)
            for seed in range(5)
        )
    assert errors["lewis"] < 0.25
    assert errors["uniform"] > 0.8


@pytest.mark.parametrize("orders", [0, 4, 8, 11, 12, 13, 14, 16, 30])
@pytest.mark.parametrize("method", ["lewis", "ridge", "deterministic", "stream"])
@pytest.mark.parametrize("turned", [False, True])
def test_eps_is_true_at_any_condition(orders: int, method: str, turned: bool) -> None:
    """Half of the rows are all there is in two directions, and nothing beside the others."""
    rng = np.random.default_rng(orders)
    n, far = 600, 10.0**orders
    A = np.zeros((n, 4))
    A[: n // 2, :2] = far * rng.standard_normal((n // 2, 2))
    A[n // 2 :, 2:] = rng.standard_normal((n // 2, 2))
    T = np.linalg.qr(rng.standard_normal((4, 4)))[0] if turned else np.eye(4)
    for p in (1.0, 2.0, 3.0):
        if method == "stream":
            c = lpgeom.StreamingCoreset(p, 200, k=2).partial_fit(A @ T.T).coreset()
        else:
            k = 2 if method == "ridge" else None
            try:
                c = lpgeom.coreset(A @ T.T, size=400, p=p, k=k, method=method)
            except ValueError as error:  # a potential needs every direction of the metric
                hard = method == "deterministic" and turned and orders >= 8
                if not (hard and "too ill-conditioned for float64" in str(error)):
                    raise
                continue
        # What the subspace leaves, without the rounding of A T^T.
        left = np.linalg.norm(A[:, 2:], axis=1) ** p
        ratio = float((c.weights * left[c.indices]).sum() / left.sum())
        assert abs(ratio - 1.0) <= c.provenance.eps_fixed
        assert ratio <= c.provenance.distortion
        if (not turned and method == "lewis") or orders < 8:
            assert c.provenance.eps_fixed < 1.0 or p != 2.0


def test_a_rank_that_is_low_but_for_rounding_proves_nothing() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 5))
    for method in ("lewis", "deterministic"):
        assert lpgeom.coreset(A, size=100, p=2.0, method=method).provenance.eps == math.inf
    assert len(lpgeom.coreset(A, eps=0.5, p=2.0)) == 300  # all of them
    for exact in (np.c_[A[:, :3], A[:, :1], np.zeros(300)], np.round(A[:100] * 0) + np.eye(100, 5)):
        assert lpgeom.coreset(exact, size=90, p=2.0).provenance.eps < math.inf


def test_rows_that_float64_does_not_see_are_no_crash() -> None:
    A = np.random.default_rng(0).standard_normal((8, 2)) * 1e50
    A[1] *= 1e13
    A[2:] = A[0]
    A[3:] *= 1e-40
    refused = 0
    for size in (3, 4, 6):
        for p in (2.0, 3.0, 20.0):
            try:
                lpgeom.coreset(A, size=size, p=p, method="deterministic")
            except ValueError:
                refused += 1
    assert 0 < refused < 9


def test_one_subspace_stays_within_its_eps() -> None:
    """C3 for the ridge: failures over 300 seeds are no more than a few times their probability."""
    A = matrix("heavy", 3000, 6, 2)
    V = descend(A, np.eye(6)[:, :1], 1.0)
    rows = open_rows(A, 1.0).rows
    s = ridge_sensitivities(rows, 1.0, 1)
    y = np.linalg.norm(A - (A @ V) @ V.T, axis=1)
    eps = fixed_subspace(s, 0.1).eps(100)
    failed = 0
    for seed in range(300):
        chosen, factors = stratified(s.weights, np.random.default_rng(seed).random(100))
        failed += abs(float(factors @ y[chosen]) / y.sum() - 1.0) > eps
    assert failed <= 30
    assert eps < 0.7


# ---------------------------------------------------------------- without chance


@pytest.mark.parametrize("kind", ["gauss", "heavy", "duplicates", "rank deficient"])
def test_barriers_prove_their_eps_at_p_2(kind: str) -> None:
    A = matrix(kind, 120, 4, 0)
    r = int(np.linalg.matrix_rank(A))
    for eps in (0.6, 0.9):
        c = lpgeom.coreset(A, eps=eps, p=2.0, method="deterministic")
        assert len(c) <= c.size == size_for(eps, r)
        U = np.linalg.svd(A, full_matrices=False)[2][:r].T
        G, H = (A @ U).T @ (A @ U), ((c.rows @ U) * c.weights[:, None]).T @ (c.rows @ U)
        lam = np.linalg.eigvals(np.linalg.solve(G, H)).real
        assert abs(lam - 1.0).max() <= c.provenance.eps * (1.0 + 1e-6)
        # Of the directions in which a product of matrices leaves its rounding nothing is proved.
        assert c.provenance.eps <= eps or (kind, c.provenance.eps) == ("rank deficient", math.inf)
        assert c.provenance.failure_probability == 0.0


@fixed
@given(inputs())
def test_barriers_prove_their_distortion(problem: tuple[Any, float, int]) -> None:
    A, p, seed = problem
    n, d = A.shape
    size = int(np.linalg.matrix_rank(A)) + 3
    if size >= n:
        return
    c = lpgeom.coreset(A, size=size, p=p, method="deterministic")
    again = lpgeom.coreset(A, size=size, p=p, method="deterministic", seed=seed)
    np.testing.assert_array_equal(again.weights, c.weights)
    assert len(c) <= size
    for V in random_bases(d, 1, 10, np.random.default_rng(seed)):
        ratio = lpgeom.cost(c.rows, V, p, row_weights=c.weights) / lpgeom.cost(A, V, p)
        assert 1.0 / c.provenance.distortion <= ratio * SLACK
        assert ratio <= c.provenance.distortion * SLACK


# ---------------------------------------------------------------- solving on a coreset


def test_a_subspace_of_a_coreset() -> None:
    A = matrix("heavy", 2000, 6, 0)
    c = lpgeom.coreset(A, size=300, p=1.5)
    result = lpgeom.approx_subspace(c, 2)
    assert result.p == 1.5
    assert result.shape == (len(c), 6)
    assert result.method.endswith(f" on a coreset of {len(c)} of 2000 rows")
    direct = lpgeom.approx_subspace(c.rows, 2, 1.5, row_weights=c.weights)
    np.testing.assert_array_equal(result.basis, direct.basis)
    assert result.certificate is not None
    result.certificate.verify(c.rows)
    assert result.lower_bound <= lpgeom.cost(
        c.rows, descend(A, result.basis, 1.5), 1.5, row_weights=c.weights
    )
    certificate = lpgeom.certify(A, result.basis, 1.5)
    certificate.verify(A)
    assert certificate.lower_bound <= certificate.cost < 1.2 * certificate.lower_bound
    assert lpgeom.approx_subspace(c, 2, 1.5).cost == result.cost
    exact = lpgeom.approx_subspace(lpgeom.coreset(np.outer(np.arange(50.0), [1, 2, 3]), 9), 2)
    assert exact.method.startswith("rank on a coreset of")


def test_cost_and_certify_of_a_coreset() -> None:
    A = matrix("heavy", 400, 5, 0)
    c = lpgeom.coreset(A, size=60)
    V = np.linalg.svd(A, full_matrices=False)[2][:2].T
    assert lpgeom.cost(c, V) == lpgeom.cost(c.rows, V, row_weights=c.weights)
    ours = lpgeom.certify(c, V)
    direct = lpgeom.certify(c.rows, V, row_weights=c.weights)
    assert (ours.cost, ours.lower_bound) == (direct.cost, direct.lower_bound)
    assert ours.shape == c.rows.shape
    ours.verify(c.rows)
    for call in (lpgeom.cost, lpgeom.certify):
        with pytest.raises(ValueError, match=r"made for p = 1, not for p = 2\.0"):
            call(c, V, 2.0)
        with pytest.raises(ValueError, match="weights of its own"):
            call(c, V, row_weights=np.ones(len(c)))
        with pytest.raises(ValueError, match=r"made for p = 1\.5, not for p = 1\.0"):
            call(lpgeom.coreset(A, size=60, p=1.5), V)
        with pytest.raises(ValueError, match="ranks up to 1, not for k = 2"):
            call(lpgeom.coreset(A, size=60, k=1), V)
    with pytest.raises(ValueError, match="rows objective"):
        lpgeom.cost(c, V, objective="entries")
    inf = lpgeom.coreset(A, size=400)  # every row, and still of p = 1
    with pytest.raises(ValueError, match="not for p = inf"):
        lpgeom.cost(inf, V, np.inf)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: lpgeom.approx_affine(c, 2),
        lambda c: lpgeom.approx_factors(c, 2),
        lambda c: lpgeom.approx_mixed(c, 40),
        lambda c: lpgeom.approx_clusters(c, 1, subspaces=2),
        lambda c: lpgeom.compare(c, 2),
        lambda c: lpgeom.coreset(c, 5),
        lambda c: lpgeom.john_ellipsoid(c),
        lambda c: lpgeom.lewis_weights(c, 1.0),
        lambda c: lpgeom.loewner_ellipsoid(c, 1.0),
        lambda c: lpgeom.lp_median(c, 1.0),
        lambda c: lpgeom.lp_regression(c, np.ones(len(c)), 1.0),
        lambda c: lpgeom.lp_svd(c, 1.0),
        lambda c: lpgeom.refine(c, np.eye(4)[:, :2]),
        lambda c: lpgeom.approx_subspace(c, 2).certificate.verify(c),
        lambda c: lpgeom.StreamingCoreset(1.0, 9).partial_fit(c),
    ],
)
def test_other_functions_say_what_to_pass_instead(call: Any) -> None:
    c = lpgeom.coreset(matrix("gauss", 60, 4, 0), size=20)
    with pytest.raises(TypeError, match=r"is a Coreset: pass its rows, coreset\.rows, .*_weights="):
        call(c)
    stream = lpgeom.StreamingCoreset(1.0, 9)
    for other in (lpgeom.cost, lpgeom.certify):
        with pytest.raises(TypeError, match=r"is a StreamingCoreset: pass what its coreset\(\)"):
            other(stream, np.eye(4)[:, :2])  # type: ignore[operator]


def test_a_coreset_is_held_to_what_it_was_made_for() -> None:
    A = matrix("gauss", 200, 6, 0)
    c = lpgeom.coreset(A, size=50, p=1.5, k=2)
    with pytest.raises(ValueError, match="made for p = 1.5"):
        lpgeom.approx_subspace(c, 2, 1.0)
    with pytest.raises(ValueError, match="ranks up to 2"):
        lpgeom.approx_subspace(c, 3)
    with pytest.raises(ValueError, match="weights of its own"):
        lpgeom.approx_subspace(c, 2, row_weights=np.ones(len(c)))
    with pytest.raises(ValueError, match="rows objective"):
        lpgeom.approx_subspace(c, 2, objective="entries")
    assert lpgeom.approx_subspace(c, 1).k == 1
    with pytest.raises(AttributeError):
        c.size = 3  # type: ignore[misc]
    assert "50 of 200" not in repr(lpgeom.coreset(A, size=200))


# ---------------------------------------------------------------- one pass over the data


def smoothed(A: Any, V: Any, p: float, e: float) -> float:
    t = np.linalg.norm(A - (A @ V) @ V.T, axis=1) ** 2
    low = p / 2.0 * e ** (p / 2.0 - 1.0) * t + (1.0 - p / 2.0) * e ** (p / 2.0)
    return float(np.where(t < e, low, t ** (p / 2.0)).sum())


@fixed
@given(inputs())
def test_a_pass_never_raises_the_smoothed_cost(problem: tuple[Any, float, int]) -> None:
    A, p, seed = problem
    p = min(p, 2.0)
    (V,) = random_bases(A.shape[1], 1, 1, np.random.default_rng(seed))
    opened = open_rows(A, p)
    e = _first_floor(opened.rows, Frame.of(V), p) * opened.unit**2
    before = smoothed(A, V, p, e)
    better = lpgeom.refine(A, V, p)
    np.testing.assert_allclose(better.T @ better, np.eye(1), atol=1e-12)
    assert smoothed(A, better, p, e) <= before * SLACK


def test_a_pass_closes_most_of_the_gap() -> None:
    A = datasets.heavy_tailed(6000, 20)
    full = lpgeom.approx_subspace(A, 4, certify=False)
    found = lpgeom.approx_subspace(lpgeom.coreset(A, size=120), 4, certify=False)
    excess = [
        lpgeom.cost(A, V) / full.cost - 1.0
        for V in (found.basis, lpgeom.refine(A, found.basis), lpgeom.refine(A, found.basis, 1, 4))
    ]
    assert excess[0] > 0.02
    assert excess[1] < 0.1 * excess[0]
    assert excess[2] < excess[1]


def test_a_pass_at_p_2_is_pca() -> None:
    A = matrix("gauss", 100, 5, 0) * np.arange(1, 6)
    V = lpgeom.refine(A, np.eye(5)[:, :2], 2.0)
    assert lpgeom.cost(A, V, 2.0) == pytest.approx(
        float((np.linalg.svd(A, compute_uv=False)[2:] ** 2).sum()), rel=1e-10
    )
    with pytest.raises(ValueError, match="p <= 2"):
        lpgeom.refine(A, V, 3.0)
    with pytest.raises(ValueError, match="passes must be >= 1"):
        lpgeom.refine(A, V, 1.0, 0)


def test_a_method_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(problem: Any, wanted: Any) -> Any:
        size = wanted.size
        factors = np.full(size, problem.rows.shape[0] / size)
        return size, (np.arange(size), factors, Provenance("none", math.inf, math.inf, 1.0))

    monkeypatch.setitem(sampling.METHODS, "first", sampling.Selection(first, proves=False))
    A = np.random.default_rng(0).standard_normal((40, 3))
    found = lpgeom.coreset(A, size=10, method="first")
    assert found.method == "first"
    assert np.array_equal(found.rows, A[:10])
    with pytest.raises(ValueError, match='"first" proves no eps'):
        lpgeom.coreset(A, eps=0.5, method="first")
