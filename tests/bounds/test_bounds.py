"""Closed-form bounds: against the naive reference, and never above any subspace's cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpgeom.bounds.linear import lewis_bounds_at, sharpened, spectral_at
from lpgeom.bounds.rounding import allowance, ky_fan
from lpgeom.rows.door import open_rows
from tests import reference
from tests.problems import (
    PS,
    all_bounds,
    descend,
    evidence_of,
    fixed,
    matrix,
    problems,
    random_bases,
)

SLACK = 1e-9  # relative: rounding of two different computations
NAMES = {
    1.0: {"lewis_trace", "lewis_sharpened", "chord", "relaxation"},
    2.0: {"spectral"},
    3.0: {"lewis_trace", "power"},
}


@pytest.mark.parametrize("p", [1.0, 1.3, 1.9])
@pytest.mark.parametrize("kind", ["gauss", "heavy", "zero rows", "duplicates"])
def test_closed_forms_match_the_reference(kind: str, p: float) -> None:
    A = matrix(kind, 20, 4, 3)
    w = reference.lewis_weights(A, p)
    for k in (1, 2, 3):
        bounds = all_bounds(A, k, p)
        expected = {
            "lewis_trace": reference.lewis_trace(A, w, k, p),
            "lewis_sharpened": reference.lewis_sharpened(A, w, k, p),
            "chord": reference.chord(A, k, p),
        }
        for name, value in expected.items():
            assert bounds[name].value == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("p", [3.0, 6.0])
def test_lewis_trace_above_two_matches_the_reference(p: float) -> None:
    A = matrix("gauss", 20, 4, 5)
    w = reference.lewis_weights(A, p)
    for k in (1, 2, 3):
        expected = reference.lewis_trace(A, w, k, p)
        assert all_bounds(A, k, p)["lewis_trace"].value == pytest.approx(expected, rel=1e-5)


@fixed
@given(problems(), st.integers(0, 1000))
def test_no_subspace_costs_less_than_any_bound(problem, seed) -> None:
    A, k, p = problem
    rng = np.random.default_rng(seed)
    bounds = all_bounds(A, k, p)
    starts = [np.linalg.svd(A)[2][:k].T, *random_bases(A.shape[1], k, 4, rng)]
    bases = starts + [descend(A, V, p) for V in starts]
    least = min(reference.cost_rows(A, V, p) for V in bases)
    # What rounding of the data itself can change: a residual is known to eps ||a||.
    noise = sum((1e-14 * reference.norm(a)) ** p for a in A)
    for bound in bounds.values():
        assert bound.value <= least * (1.0 + SLACK) + noise, bound


@pytest.mark.parametrize("p", sorted(NAMES))
def test_which_bounds_apply(p: float) -> None:
    assert set(all_bounds(matrix("gauss", 20, 4, 0), 2, p)) == NAMES[p]


@pytest.mark.parametrize("kind", ["gauss", "heavy", "rank deficient", "wide", "zero rows"])
def test_spectral_is_the_tail_of_the_singular_values(kind: str) -> None:
    A = matrix(kind, 30, 6, 1)
    for k in range(1, min(np.linalg.matrix_rank(A), 5)):
        tail = float((np.linalg.svd(A, compute_uv=False)[k:] ** 2).sum())
        value = all_bounds(A, k, 2.0)["spectral"].value
        assert tail * (1.0 - 2e-9) <= value <= tail * (1.0 + 1e-13)


def test_spectral_keeps_a_tail_that_squaring_would_lose() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 8))
    A += 1e-7 * rng.standard_normal((400, 8))
    problem = open_rows(A, 2.0)
    bound = spectral_at(problem.rows, [3])[0]
    tail = float((np.linalg.svd(A, compute_uv=False)[3:] ** 2).sum()) / problem.unit**2
    assert bound.witness["factored"]
    assert tail * (1.0 - 1e-5) <= bound.scaled_value <= tail


def test_lewis_bounds_survive_nearly_exact_rows() -> None:
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 8))
    A = exact + 1e-9 * rng.standard_normal((400, 8))
    V = np.linalg.svd(A)[2][:3].T
    cost = reference.cost_rows(A, V, 1.0)
    bounds = all_bounds(A, 3, 1.0)
    assert cost / 4.0 <= bounds["lewis_sharpened"].value <= cost


@fixed
@given(st.floats(1.0, 2.0), st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=6))
def test_sharpened_is_the_minimum_over_mu(p: float, lam) -> None:
    lam = np.sort(np.array(lam))[::-1]
    for k in range(lam.size):
        T = lam[k + 1 :].sum()
        grid = np.exp(np.linspace(np.log(lam[k]), np.log(lam[0]), 2001))
        least = float(((grid + T) * grid ** (p / 2.0 - 1.0)).min())
        value = sharpened(lam, k, p, 0.0)
        assert value <= least * (1.0 + 1e-12)
        assert value >= least * (1.0 - 1e-4)  # the grid's own error


@pytest.mark.parametrize("p", PS)
def test_bounds_scale_rotate_permute(p: float) -> None:
    rng = np.random.default_rng(7)
    A = matrix("heavy", 25, 5, 11)
    k = 2
    base = all_bounds(A, k, p)
    rotation = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    others = {
        "scaled": (all_bounds(3.7 * A, k, p), 3.7**p),
        "rotated": (all_bounds(A @ rotation, k, p), 1.0),
        "permuted": (all_bounds(A[rng.permutation(25)], k, p), 1.0),
        "signs": (all_bounds(A * rng.choice([-1.0, 1.0], 25)[:, None], k, p), 1.0),
        "zero rows added": (all_bounds(np.concatenate([A, 0 * A]), k, p), 1.0),
        "twice, by weight": (all_bounds(2.0 ** (1.0 / p) * A, k, p), 2.0),
        "twice, by duplication": (all_bounds(np.concatenate([A, A]), k, p), 2.0),
    }
    for what, (bounds, factor) in others.items():
        assert set(bounds) == set(base)
        for name, bound in bounds.items():
            # Two runs of a search meet within its stopping gap; the closed forms exactly.
            tolerance = 2e-4 if name in ("relaxation", "tangent", "power") else 1e-6
            expected = factor * base[name].value
            assert bound.value == pytest.approx(expected, rel=tolerance), (what, name)


def test_kappa_is_measured_for_unfinished_weights() -> None:
    from dataclasses import replace

    A = matrix("heavy", 30, 4, 2)
    problem, evidence = evidence_of(A, 2, 1.0)
    lewis = evidence.lewis
    assert lewis is not None
    w = lewis.weights * np.random.default_rng(0).uniform(0.5, 2.0, 30)
    X = A / problem.unit
    rough = replace(
        lewis, weights=w, M=(X * (w**-1.0)[:, None]).T @ X, kappa=reference.kappa(X, w, 1.0)
    )
    assert rough.kappa > 1.2
    least = min(
        reference.cost_rows(X, descend(X, V, 1.0), 1.0)
        for V in random_bases(4, 2, 10, np.random.default_rng(1))
    )
    rough_bounds = lewis_bounds_at(problem.rows, rough, [2], 1.0)[0]
    sharp_bounds = lewis_bounds_at(problem.rows, lewis, [2], 1.0)[0]
    for loose, sharp in zip(rough_bounds, sharp_bounds, strict=True):
        assert loose.scaled_value <= least
        assert 0.2 * sharp.scaled_value <= loose.scaled_value
        assert loose.witness["kappa"] >= rough.kappa


def test_rounding_allowance_covers_the_rounding() -> None:
    """Against sums in extended precision, on rows of very different lengths."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3000, 20)) * np.exp(rng.uniform(-8.0, 8.0, (3000, 1)))
    G = A.T @ A
    X = A.astype(np.longdouble)
    exact = (X.T @ X).astype(np.float64)
    size = float(np.trace(G))
    for m in (1, 5, 19):
        assert ky_fan(G, m, 3000, size) <= float(np.linalg.eigvalsh(exact)[:m].sum())
    assert allowance(30522, 384, 1.0) < 1e-12
