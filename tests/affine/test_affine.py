"""Affine subspaces: the bound against every one that can be found, optima by enumeration."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag

import lpgeom
from lpgeom.affine.affine import approx_affine, rejudged
from lpgeom.affine.joint import joint_descent
from lpgeom.affine.lift import certify_affine, lifted, section
from lpgeom.geometry.median import lp_median
from lpgeom.records.subspace import CertificateError
from tests.problems import PS, fixed, matrix, problems, random_bases

fewer = settings(fixed, max_examples=20)


def plain_cost(A: Any, c: Any, V: Any, p: float, omega: Any = None) -> float:
    R = A - c
    R = R - (R @ V) @ V.T
    w = np.ones(len(A)) if omega is None else omega
    return float(w @ np.linalg.norm(R, axis=1) ** p)


def best_hyperplane(A: Any, omega: Any = None) -> float:
    """The least cost at p = 1 for k = d - 1: a best hyperplane contains d of the rows.

    For a fixed set of rows on each side the cost is concave in the normal on each cone where signs
    do not change, and piecewise linear in the offset: minima lie where d rows are met.
    """
    n, d = A.shape
    w = np.ones(n) if omega is None else omega
    least = math.inf
    for chosen in itertools.combinations(range(n), d):
        P = A[list(chosen)]
        normals = np.linalg.svd(P[1:] - P[0])[2][d - 1 :]
        least = min(least, float(w @ np.abs((A - P[0]) @ normals[0])))
    return least


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize(("kind", "seed"), [("gauss", 0), ("heavy", 1), ("duplicates", 2)])
def test_hyperplanes_against_enumeration(kind: str, seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    A = matrix(kind, 12 if d == 2 else 9, d, seed) + 3.0 * rng.standard_normal(d)
    omega = rng.integers(1, 4, len(A)).astype(float) if seed % 2 else None
    least = best_hyperplane(A, omega)
    found = approx_affine(A, d - 1, row_weights=omega)
    assert found.lower_bound <= least * (1.0 + 1e-9) + 1e-12
    assert least <= found.cost * (1.0 + 1e-9) + 1e-12
    assert found.cost <= least * (1.0 + 1e-9) + 1e-12


def test_a_line_through_two_of_the_points() -> None:
    """Around many starts lie other local minima: the best line goes through points 5 and 14."""
    calls = [4.4, 4.7, 4.7, 5.9, 6.6, 7.3, 8.1, 8.8, 10.6, 12.0, 13.5, 14.9, 16.1, 21.2, 119.0,
             124.0, 142.0, 159.0, 182.0, 212.0, 43.0, 24.0, 27.0, 29.0]  # fmt: skip
    A = np.c_[np.arange(50.0, 74.0), np.array(calls) / 10.0]
    least = best_hyperplane(A)
    found = approx_affine(A, 1)
    assert found.lower_bound <= least <= found.cost * (1.0 + 1e-12)
    assert found.cost <= least * (1.0 + 1e-9)
    # Far from the origin, with weights, and with some points there twice.
    omega = np.linspace(0.5, 2.0, len(A))
    moved = np.concatenate([A, A[::3]]) * 1e-3 + [70.0, -40.0]
    both = np.concatenate([omega, omega[::3]])
    found = approx_affine(moved, 1, row_weights=both)
    assert found.cost <= best_hyperplane(moved, both) * (1.0 + 1e-8)


@fewer
@given(st.integers(0, 2**31), st.sampled_from((1.0, 1.4)), st.integers(1, 2))
def test_never_dearer_than_a_span_of_points(seed: int, p: float, k: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.standard_t(2, (8, 4)) + 5.0 * rng.standard_normal(4)
    found = approx_affine(A, k, p, certify=False)
    for chosen in itertools.combinations(range(8), k + 1):
        P = A[list(chosen)]
        V = np.linalg.qr((P[1:] - P[0]).T)[0]
        assert found.cost <= plain_cost(A, P[0], V, p) * (1.0 + 1e-9)
    for method in ("svd", "lewis"):  # which do not search
        assert "k rows" not in approx_affine(A, k, p, method=method, certify=False).method


@pytest.mark.slow
@fewer
@given(problems(PS), st.booleans(), st.sampled_from(["median", "mean"]), st.integers(0, 2**31))
def test_no_affine_subspace_is_better_than_the_bound_says(
    problem: Any, weighted: bool, centre: str, seed: int
) -> None:
    A, k, p = problem
    rng = np.random.default_rng(seed)
    A = A + 2.0 * rng.standard_normal(A.shape[1])
    omega = rng.integers(0, 4, len(A)) + 0.25 if weighted else None
    found = approx_affine(A, k, p, centre=centre, row_weights=omega, method="irls")
    cost = plain_cost(A, found.centre, found.basis, p, omega)
    if found.cost == 0.0:  # up to rounding
        assert cost < 1e-9
        return
    assert found.cost == pytest.approx(cost, rel=1e-7)
    assert found.lower_bound <= found.cost * (1.0 + 1e-12)
    assert found.centre_ratio <= found.ratio * (1.0 + 1e-5)
    assert found.linear_ratio <= found.ratio
    assert found.guarantee >= 1.0
    if centre == "median":
        assert found.cost <= found.pca_cost * (1.0 + 1e-9)
    found.certificate.verify(lifted(A, found.centre, found.lift))
    found.linear_certificate.verify(A - found.centre)
    # Subspaces of all kinds, and what descent makes of them.
    for V in [found.basis, *random_bases(A.shape[1], k, 2, rng)]:
        for c in (A.mean(axis=0), A[int(rng.integers(len(A)))], 3.0 * rng.standard_normal(len(V))):
            assert found.lower_bound <= plain_cost(A, c, V, p, omega) * (1.0 + 1e-12)
            scale = float(np.abs(A - c).max())
            h, U, _ = joint_descent(
                (A - c) / scale, np.zeros(len(V)), V, omega, p, tol=1e-10, max_iter=20
            )
            assert found.lower_bound <= plain_cost(A, c + scale * h, U, p, omega) * (1.0 + 1e-12)


@fixed
@given(problems(PS), st.floats(0.0, 50.0), st.integers(0, 2**31))
def test_a_lift_is_never_dearer(problem: Any, lift: float, seed: int) -> None:
    """A2 for one subspace: about any point, with any s."""
    A, k, p = problem
    rng = np.random.default_rng(seed)
    d = A.shape[1]
    c, c0 = rng.standard_normal(d), 5.0 * rng.standard_normal(d)
    V = random_bases(d, k, 1, rng)[0]
    B = lifted(A, c0, lift)
    L = np.column_stack([np.vstack([V, np.zeros(k)]), np.append(c - c0, lift)])
    L = np.linalg.qr(L)[0]
    assert plain_cost(B, np.zeros(d + 1), L, p) <= plain_cost(A, c, V, p) * (1.0 + 1e-9) + 1e-12


@fixed
@given(problems(PS), st.floats(0.1, 50.0), st.integers(0, 2**31))
def test_a_section_costs_little_more(problem: Any, lift: float, seed: int) -> None:
    """A3, for any subspace of the lifted rows that is not parallel to them."""
    A, k, p = problem
    d = A.shape[1]
    rng = np.random.default_rng(seed)
    L = random_bases(d + 1, k + 1, 1, rng)[0]
    cut = section(L, lift)
    if cut is None:
        return
    h, V, upright = cut
    assert np.allclose(V.T @ V, np.eye(k), atol=1e-12)
    on_lifted = plain_cost(lifted(A, np.zeros(d), lift), np.zeros(d + 1), L, p)
    cost = plain_cost(A, h, V, p)
    assert on_lifted <= cost * (1.0 + 1e-7) + 1e-12
    assert cost <= on_lifted / upright ** (p / 2.0) * (1.0 + 1e-7) + 1e-12
    # The section lies in L.
    points = np.append(h + V @ rng.standard_normal(k), lift)
    assert np.linalg.norm(points - L @ (L.T @ points)) <= 1e-7 * (np.linalg.norm(points) + 1.0)


def test_a_subspace_parallel_to_the_rows_has_no_section() -> None:
    assert section(np.eye(4)[:, :2], 1.0) is None
    h, V, upright = section(block_diag(np.eye(3)[:, :1], 1.0), 7.0)
    assert np.allclose(h, 0.0)
    assert abs(V[0, 0]) == 1.0
    assert upright == 1.0


@fixed
@given(problems(PS), st.integers(0, 2**31))
def test_the_mean_costs_a_factor_of_two_at_most(problem: Any, seed: int) -> None:
    """A4: the same directions through the mean."""
    A, k, p = problem
    rng = np.random.default_rng(seed)
    omega = rng.integers(0, 4, len(A)) + 0.25
    V = random_bases(A.shape[1], k, 1, rng)[0]
    mean = np.average(A, axis=0, weights=omega)
    through = plain_cost(A, mean, V, p, omega) ** (1.0 / p)
    for c in (A[0], rng.standard_normal(A.shape[1])):
        best = plain_cost(A, c, V, p, omega) ** (1.0 / p)
        assert through <= 2.0 ** abs(1.0 - 2.0 / p) * best * (1.0 + 1e-9) + 1e-12


def far_rows(N: int = 20, r: int = 4, L: float = 1000.0) -> Any:
    """A5: many rows far out on the x-axis, a few above its middle."""
    return np.array([[L, 0.0]] * N + [[-L, 0.0]] * N + [[0.0, 1.0]] * r)


def test_through_the_median_is_arbitrarily_worse() -> None:
    A = far_rows()
    assert np.allclose(lp_median(A).point, [0.0, 1.0])
    fixed_centre = approx_affine(A, 1, method="irls", refine=False)
    free = approx_affine(A, 1, method="irls")
    assert free.cost == pytest.approx(4.0)
    assert fixed_centre.cost == pytest.approx(40.0 / math.sqrt(1.0 + 1e-6))
    # Among lines through the median it is the best, which proves nothing about others.
    assert fixed_centre.linear_ratio < 1.01
    assert fixed_centre.ratio > 9.0
    assert fixed_centre.guarantee == math.inf
    assert free.guarantee < 2.0
    assert free.ratio < 1.01


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_at_two_it_is_pca_and_elsewhere_never_dearer(p: float) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((80, 6)) * [5.0, 4.0, 3.0, 1.0, 1.0, 1.0] + 7.0
    A[:8] *= 10.0
    found = approx_affine(A, 2, p, method="irls")
    assert found.cost <= found.pca_cost * (1.0 + 1e-12)
    if p == 2.0:
        B = A - A.mean(axis=0)
        tail = float((np.linalg.svd(B, compute_uv=False)[2:] ** 2).sum())
        assert found.cost == pytest.approx(tail)
        assert found.ratio < 1.0 + 1e-9
        assert np.allclose(found.centre, A.mean(axis=0))
    else:
        assert found.cost < 0.999 * found.pca_cost


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_moving_the_centre_too_lowers_the_cost(p: float) -> None:
    rng = np.random.default_rng(1)
    A = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 8)) + 0.1
    A += 0.1 * rng.standard_normal(A.shape)
    A[:30, 0] += 30.0
    free = approx_affine(A, 3, p, method="irls")
    through = approx_affine(A, 3, p, method="irls", refine=False)
    assert free.cost < through.cost  # never more, by construction
    assert free.centre_ratio < 1.0 + 1e-6
    assert through.centre_ratio > 1.0 + 1e-5


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_a_centre_is_judged_by_the_best_one(p: float) -> None:
    """However poor it is: the ratio is that of the costs, not that of a poor bound."""
    A = far_rows() + 0.01 * np.random.default_rng(0).standard_normal((44, 2))
    V = np.array([[1.0], [0.0]])
    found = replace(approx_affine(A, 1, p, method="irls", certify=False), basis=V)
    best = lp_median(A[:, 1:], p).cost
    for y in (-0.3, 0.7):
        judged = rejudged(replace(found, centre=np.array([0.0, y])), A, certify=False)
        assert judged.centre_ratio == pytest.approx((judged.cost / best) ** (1.0 / p), rel=1e-5)


def test_a_wrong_certificate_fails() -> None:
    rng = np.random.default_rng(2)
    A = rng.standard_normal((60, 5)) + 4.0
    found = approx_affine(A, 2, method="irls")
    B = lifted(A, found.centre, found.lift)
    found.certificate.verify(B)
    with pytest.raises(CertificateError):
        found.certificate.verify(lifted(A, found.centre + 0.01, found.lift))
    with pytest.raises(CertificateError):
        found.certificate.verify(lifted(A, found.centre, 2.0 * found.lift))
    best = found.certificate.best
    raised = replace(best, scaled_value=best.scaled_value * 1.001)
    others = tuple(b for b in found.certificate.bounds if b is not best)
    with pytest.raises(CertificateError):
        replace(found.certificate, bounds=(raised, *others)).verify(B)
    cheaper = replace(found.certificate, scaled_cost=found.certificate.scaled_cost * 0.999)
    with pytest.raises(CertificateError):
        cheaper.verify(B)


@pytest.mark.parametrize("centre", ["median", "mean", None])
@pytest.mark.parametrize("certify", [True, "tight"])
def test_a_result_verifies_and_a_forged_one_does_not(centre: Any, certify: Any) -> None:
    A = 3.0 + np.random.default_rng(0).standard_normal((40, 4)) * [5.0, 2.0, 1.0, 1.0]
    found = approx_affine(A, 2, centre=centre, certify=certify, row_weights=np.arange(40) % 3)
    found.verify(A)
    held = approx_affine(A @ np.diag([1.0, 1.0, 0.0, 0.0]), 2, centre=centre)
    assert (held.cost, held.ratio) == (0.0, 1.0)
    held.verify(A @ np.diag([1.0, 1.0, 0.0, 0.0]))
    approx_affine(A, 4).verify(A)
    with pytest.raises(CertificateError):
        held.verify(A)
    for change in (
        {"cost": 0.0, "ratio": 1.0, "linear_ratio": 1.0},
        {"cost": 0.9 * found.cost},
        {"lower_bound": 1.1 * found.lower_bound},
        {"ratio": 1.0},
        {"centre": found.centre + 1.0},
        {"basis": np.eye(4)[:, :2]},
        {"certificate": None},
    ):
        with pytest.raises(CertificateError):
            replace(found, **change).verify(A)
    with pytest.raises(CertificateError, match="shape"):
        found.verify(A[:-1])


def test_the_tight_bound_is_no_worse() -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((100, 5)) + 4.0
    fast = approx_affine(A, 3, method="irls")
    tight = approx_affine(A, 3, method="irls", certify="tight")
    assert tight.ratio <= fast.ratio
    assert tight.certificate.failure_probability <= 1e-9
    tight.certificate.verify(lifted(A, tight.centre, tight.lift))


def test_without_a_certificate() -> None:
    A = np.random.default_rng(4).standard_normal((40, 4))
    found = approx_affine(A, 2, method="irls", certify=False)
    assert (found.lower_bound, found.ratio, found.certificate) == (0.0, math.inf, None)
    judged = rejudged(found, A)
    assert judged.ratio < 1.5
    assert judged.cost == pytest.approx(found.cost)


@pytest.mark.parametrize("centre", ["median", "mean", None])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_rows_within_an_affine_subspace_cost_nothing(centre: str | None, p: float) -> None:
    rng = np.random.default_rng(5)
    flat = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 5))
    A = flat + 3.0 if centre is not None else flat
    for k in (2, 3, 5):
        found = approx_affine(A, k, p, centre=centre)
        assert (found.cost, found.ratio, found.guarantee) == (0.0, 1.0, 1.0)
        assert plain_cost(A, found.centre, found.basis, p) < 1e-10
    constant = approx_affine(np.ones((4, 3)), 1, p, centre=centre)
    assert (constant.cost, constant.ratio) == (0.0, 1.0)


def test_a_given_centre_and_none() -> None:
    rng = np.random.default_rng(6)
    A = rng.standard_normal((50, 4)) + 1.0
    origin = approx_affine(A, 2, centre=None, method="irls")
    plain = lpgeom.approx_subspace(A, 2, method="irls")
    assert origin.cost == pytest.approx(plain.cost)
    assert origin.lower_bound == pytest.approx(plain.lower_bound, rel=1e-3)
    assert origin.ratio == origin.linear_ratio
    given_one = approx_affine(A, 2, centre=np.full(4, 1.0), method="irls")
    assert np.array_equal(given_one.centre, np.full(4, 1.0))
    for same in ([1.0] * 4, (1, 1, 1, 1), np.ones(4, dtype=int)):
        listed = approx_affine(A, 2, centre=same, method="irls", refine=np.True_)
        assert listed.centre.dtype == np.float64
        assert (listed.cost, listed.lower_bound) == (given_one.cost, given_one.lower_bound)


@pytest.mark.parametrize("scale", [1e-250, 1e-100, 1e100, 1e250])
def test_scale_changes_nothing(scale: float) -> None:
    A = np.random.default_rng(7).standard_normal((40, 4)) + 2.0
    found = approx_affine(A, 2, method="irls")
    scaled = approx_affine(A * scale, 2, method="irls")
    assert scaled.ratio == pytest.approx(found.ratio, rel=1e-4)
    assert scaled.cost / scale == pytest.approx(found.cost, rel=1e-6)
    scaled.certificate.verify(lifted(A * scale, scaled.centre, scaled.lift))


def test_a_certificate_for_a_subspace_from_anywhere() -> None:
    rng = np.random.default_rng(8)
    A = rng.standard_normal((60, 5)) * [4.0, 2.0, 1.0, 1.0, 1.0]
    V = np.eye(5)[:, :2]
    certificate, lift = certify_affine(A, np.zeros(5), V, 1.0)
    assert certificate.cost == pytest.approx(plain_cost(A, np.zeros(5), V, 1.0))
    assert 1.0 <= certificate.ratio < 1.5
    certificate.verify(lifted(A, np.zeros(5), lift))
    # Twice the weights, twice the numbers.
    double, _ = certify_affine(A, np.zeros(5), V, 1.0, row_weights=np.full(60, 2.0))
    assert double.lower_bound == pytest.approx(2.0 * certificate.lower_bound, rel=1e-3)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_a_coreset_of_lifted_rows_serves_affine_subspaces(p: float) -> None:
    """A7: within the eps it states, for subspaces chosen with the coreset in hand too."""
    rng = np.random.default_rng(9)
    A = rng.standard_normal((20000, 3)) * [3.0, 1.0, 1.0] + 50.0
    B = lifted(A, np.full(3, 45.0), 2.0)
    stream = lpgeom.StreamingCoreset(p=p, size=6000, seed=1)
    c = stream.partial_fit(B).coreset()
    eps = c.provenance.eps
    assert eps < 1.0
    rows = c.rows[:, :3] + 45.0
    own = approx_affine(rows, 1, p, row_weights=c.weights, certify=False, method="irls")
    subspaces = [(own.centre, own.basis)]
    subspaces += [(50.0 + 3.0 * rng.standard_normal(3), V) for V in random_bases(3, 1, 5, rng)]
    for centre, V in subspaces:
        on_data = plain_cost(A, centre, V, p)
        assert abs(plain_cost(rows, centre, V, p, c.weights) - on_data) <= eps * on_data


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ValueError, "k must lie", {"k": 5}),
        (ValueError, "k must lie", {"k": 0}),
        (ValueError, "p must be", {"p": math.inf}),
        (ValueError, "centre must be", {"centre": "middle"}),
        (ValueError, "certify must be", {"certify": "yes"}),
        (TypeError, "refine must be True or False, got 'no'", {"refine": "no"}),
        (TypeError, "refine must be True or False, got 1", {"refine": 1}),
        (TypeError, "centre must hold real numbers", {"centre": ["a", "b", "c", "d"]}),
        (TypeError, "centre must hold real numbers", {"centre": [True] * 4}),
        (TypeError, "centre is a Coreset", {"centre": lpgeom.coreset(np.eye(4), size=3)}),
        (ValueError, "row_weights", {"row_weights": -np.ones(10)}),
        (ValueError, "divide A", {"A": np.full((10, 4), 1e305)}),
    ],
)
def test_bad_input_is_refused(
    error: type[Exception], match: str, arguments: dict[str, Any]
) -> None:
    A = np.random.default_rng(0).standard_normal((10, 4))
    with pytest.raises(error, match=match):
        approx_affine(**{"A": A, "k": 2, **arguments})


@pytest.mark.parametrize(
    "centre",
    [np.zeros(3), [0.0] * 3, np.zeros((5, 4)), np.array(1.0), 1.0, np.full(4, np.nan)],
    ids=str,
)
def test_a_centre_that_is_no_point_is_refused(centre: Any) -> None:
    A = np.random.default_rng(0).standard_normal((5, 4))
    with pytest.raises(ValueError, match="centre must hold 4 finite numbers"):
        lpgeom.approx_affine(A, 1, centre=centre)


def test_the_centre_given_is_copied_and_the_columns_are_those_of_A() -> None:
    A = np.random.default_rng(0).standard_normal((5, 4))
    centre = np.zeros(4)
    found = lpgeom.approx_affine(A, 1, centre=centre)
    centre[:] = 9.0
    assert not found.centre.any()
    assert lpgeom.approx_affine(A, 4).method == "full"
    with pytest.raises(ValueError, match="4 columns"):
        lpgeom.approx_affine(A, 5)
