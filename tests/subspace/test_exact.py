"""Problems whose optimum is known: every bound stays below it, the cost above."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from tests import reference
from tests.problems import all_bounds, fixed, matrix, random_bases


@st.composite
def small_matrices(draw: st.DrawFn):
    kinds = ("gauss", "heavy", "duplicates", "zero rows", "scales", "exact")
    d = draw(st.integers(2, 3))
    n = draw(st.integers(d + 1, 9))
    return matrix(draw(st.sampled_from(kinds)), n, d, draw(st.integers(0, 2**31)))


@fixed
@given(small_matrices())
def test_hyperplanes_at_p_one(A) -> None:
    """k = d - 1, p = 1: the optimum passes through d - 1 rows (`reference.optimum_hyperplane`)."""
    d = A.shape[1]
    if np.linalg.matrix_rank(A) < d:
        return
    optimum = reference.optimum_hyperplane(A)
    noise = 1e-13 * sum(reference.norm(a) for a in A)
    for bound in all_bounds(A, d - 1, 1.0).values():
        assert bound.value <= optimum * (1.0 + 1e-9) + noise
    result = lpgeom.approx_subspace(A, d - 1, 1.0)
    assert result.lower_bound <= optimum * (1.0 + 1e-9) + noise
    assert result.cost >= optimum * (1.0 - 1e-9) - noise


def test_the_enumeration_is_the_optimum() -> None:
    """The reference itself, against a fine grid of directions in the plane."""
    for seed in range(5):
        A = matrix("heavy", 9, 2, seed)
        angles = np.linspace(0.0, np.pi, 20001)
        grid = min(float(np.abs(A @ [np.cos(x), np.sin(x)]).sum()) for x in angles)
        optimum = reference.optimum_hyperplane(A)
        assert optimum <= grid <= optimum * (1.0 + 1e-3)


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0, 6.0])
def test_lines_in_the_plane(p: float) -> None:
    """d = 2, k = 1, any p: the optimum by a fine grid of angles."""
    for seed, kind in enumerate(("gauss", "heavy", "zero rows", "scales")):
        A = matrix(kind, 12, 2, seed)
        angles = np.linspace(0.0, np.pi, 20001)
        normals = np.stack([np.cos(angles), np.sin(angles)])
        optimum = float((np.abs(A @ normals) ** p).sum(0).min())
        bounds = all_bounds(A, 1, p)
        assert max(b.value for b in bounds.values()) <= optimum * (1.0 + 1e-9)
        assert max(b.value for b in bounds.values()) >= 0.4 * optimum


@pytest.mark.parametrize("p", [1.0, 1.3, 1.9, 2.0, 3.0, 10.0])
@pytest.mark.parametrize("d", [2, 4])
def test_orthogonal_rows_of_one_length(p: float, d: int) -> None:
    """Rows +-e_j: sum_j ||Q e_j||^p with sum_j ||Q e_j||^2 = m is least at m ones for p <= 2
    (each ||Q e_j|| <= 1), and by convexity at equal parts for p >= 2, if those can be had."""
    A = np.concatenate([np.eye(d), -np.eye(d)])
    k = d // 2
    optimum = 2.0 * (d - k) if p <= 2.0 else 2.0 * d * ((d - k) / d) ** (p / 2.0)
    bounds = all_bounds(A, k, p)
    best = max(b.value for b in bounds.values())
    assert best <= optimum * (1.0 + 1e-12)
    assert best >= optimum * 0.5
    if p >= 2.0:
        assert best == pytest.approx(optimum, rel=1e-9)
    for V in random_bases(d, k, 20, np.random.default_rng(0)):
        assert reference.cost_rows(A, V, p) >= optimum * (1.0 - 1e-12)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_a_subspace_and_orthogonal_outliers(p: float) -> None:
    """Many rows in span(e_1, e_2), one along each other axis: nothing beats dropping those.

    (For p > 2 a tilt would: it costs theta^p inside and saves theta^2 outside.)
    """
    rng = np.random.default_rng(1)
    A = np.zeros((63, 5))
    A[:60, :2] = 10.0 * rng.standard_normal((60, 2))
    A[60:, 2:] = np.diag([0.5, 1.0, 2.0])
    optimum = 0.5**p + 1.0 + 2.0**p
    result = lpgeom.approx_subspace(A, 2, p)
    assert result.cost == pytest.approx(optimum, rel=1e-6)
    assert result.lower_bound <= optimum * (1.0 + 1e-9)
    assert result.ratio <= 1.2
