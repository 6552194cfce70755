"""Relaxations: minorants row by row, the naive reference, and solutions by cvxpy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lpgeom.bounds.power import power
from lpgeom.bounds.relaxation import (
    FLOOR,
    beta_of,
    minorant,
    next_reference,
    relaxation_at,
    tangent_at,
    touching_point,
)
from tests import reference
from tests.problems import all_bounds, descend, evidence_of, fixed, matrix

p_between = st.floats(1.0, 2.0)


@fixed
@given(p_between, st.floats(1e-6, 1.0), st.floats(0.1, 10.0))
def test_minorant_stays_below_and_touches(p: float, share: float, Y: float) -> None:
    y0 = share * Y
    alpha, beta, c = (float(x[0]) for x in minorant(np.array([y0]), np.array([Y]), p))
    assert alpha >= 0.0
    assert beta >= 0.0
    y = np.concatenate([np.linspace(0.0, Y, 2001), [y0]])
    excess = y**p - (alpha * y + beta * y * y + c)
    assert excess.min() >= -1e-14 * Y**p
    assert abs(excess[-1]) <= 1e-13 * Y**p


@fixed
@given(st.floats(1.0, 2.0), st.floats(0.0, 1.0))
def test_beta_near_one_is_below_the_integral_remainder(p: float, e: float) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(40)
    s, w = 0.5 * (nodes + 1.0), 0.5 * weights
    exact = p * (p - 1.0) * float((w * (1.0 - s) * (1.0 + s * e) ** (p - 2.0)).sum())
    value = float(beta_of(np.array([1.0 + e]), p)[0])
    assert value <= exact * (1.0 + 1e-13) + 1e-18
    assert value >= exact - 1e-12


@fixed
@example(1.5, 0.5, 1.0)
@given(st.floats(1.01, 1.99), st.floats(0.01, 0.99), st.floats(0.0, 1.0))
def test_touching_point_is_the_best(p: float, r: float, between: float) -> None:
    """Against a grid over all touching points; r^2 <= t <= Y r, Y = 1."""
    Y, t = 1.0, r * r + between * (r - r * r)
    one = np.ones(1)
    y0 = float(touching_point(r * one, t * one, Y * one, FLOOR * one)[0])

    def value(point: float) -> float:
        alpha, beta, c = reference.minorant(point, Y, p)
        return alpha * r + beta * t + c

    assert value(y0) >= value(reference.best_touching_point(r, t, Y, p)) - 1e-9
    # And it is the two-point moment problem's value: mass at Y and at the point that is y0 where
    # that is not raised to FLOOR.
    point = max((r * Y - t) / (Y - r), 0.0)
    share = (r - point) / (Y - point)
    assert value(y0) == pytest.approx((1.0 - share) * point**p + share * Y**p, abs=1e-7)


@pytest.mark.parametrize("kind", ["gauss", "heavy", "zero rows", "rank deficient"])
@pytest.mark.parametrize("p", [1.0, 1.2, 1.5, 1.9])
def test_bounds_match_the_reference_at_their_own_witness(kind: str, p: float) -> None:
    A = matrix(kind, 18, 5, 4)
    for k in (1, 3):
        problem, evidence = evidence_of(A, k, p)
        X = A / problem.unit
        if p > 1.0:
            bound = tangent_at(problem.rows, evidence, k, p, "tight").bound(A.shape[1] - k)
            expected = reference.tangent_at(X, bound.witness["Q0"], k, p, FLOOR)
            assert bound.scaled_value == pytest.approx(expected, rel=1e-5)
        bound = relaxation_at(problem.rows, evidence, k, p, "tight").bound(A.shape[1] - k)
        # Hölder's form is the tangent's at its best scale, so never below it.
        expected = reference.relaxation_at(X, bound.witness["Q0"], k, p)
        assert bound.scaled_value >= expected * (1.0 - 1e-5)
        assert bound.scaled_value <= reference.relaxed_cost(X, bound.witness["Q0"], p) * (1 + 1e-9)


@pytest.mark.parametrize("p", [2.5, 4.0, 10.0])
def test_power_matches_the_reference_at_its_own_witness(p: float) -> None:
    A = matrix("gauss", 18, 5, 4)
    for k in (1, 3):
        problem, evidence = evidence_of(A, k, p)
        bound = power(problem.rows, evidence, k, p, "tight")
        root = bound.witness["root"]
        expected = reference.power_at(A / problem.unit, root @ root.T, k, p)
        assert bound.scaled_value == pytest.approx(expected, rel=1e-5)


def _cvxpy_minimum(A, k: int, p: float, kind: str, touching=None) -> float:
    """The relaxation solved by a general convex solver."""
    cp = pytest.importorskip("cvxpy")
    d = A.shape[1]
    Q = cp.Variable((d, d), symmetric=True)
    fantope = [Q >> 0, np.eye(d) - Q >> 0, cp.trace(Q) == d - k]
    norms = cp.norm(A @ Q, axis=1)
    forms = cp.hstack([cp.trace(np.outer(a, a) @ Q) for a in A])
    if kind == "relaxation":
        objective = cp.sum(norms) if p == 1.0 else cp.sum(cp.power(norms, p))
    elif kind == "power":
        objective = cp.sum(cp.power(forms, p / 2.0))
    else:
        Y = np.linalg.norm(A, axis=1)
        alpha, beta, c = np.array(
            [reference.minorant(y, Yi, p) for y, Yi in zip(touching, Y, strict=True)]
        ).T
        objective = alpha @ norms + beta @ forms + c.sum()
    problem = cp.Problem(cp.Minimize(objective), fantope)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver="CLARABEL")
    assert problem.status in ("optimal", "optimal_inaccurate")
    return float(problem.value)


@pytest.mark.needs("cvxpy")
@pytest.mark.parametrize(
    ("kind", "p"),
    [
        ("relaxation", 1.0),
        ("relaxation", 1.5),
        ("tangent", 1.25),
        ("tangent", 1.6),
        ("power", 3.0),
        ("power", 4.0),
    ],
)
@pytest.mark.parametrize("k", [1, 2])
def test_search_reaches_the_minimum_cvxpy_finds(kind: str, p: float, k: int) -> None:
    A = matrix("heavy" if k == 1 else "gauss", 12, 4, 21)
    A = A / np.abs(A).max()
    bound = all_bounds(A, k, p)[kind]
    touching = None
    if kind == "tangent":
        # The minimum for any fixed touching points is at most that for the best ones, which is
        # at most the relaxed cost at Q0: the two together pin it down.
        Z = A @ bound.witness["Q0"]
        r, t, Y = np.linalg.norm(Z, axis=1), (Z * A).sum(1), np.linalg.norm(A, axis=1)
        touching = touching_point(r, t, Y, FLOOR * Y)
        pieces = [reference.minorant(y, Yi, p) for y, Yi in zip(touching, Y, strict=True)]
        relaxed = sum(a * x + b * f + c for (a, b, c), x, f in zip(pieces, r, t, strict=True))
        assert bound.value >= relaxed * (1.0 - 1e-4)
    expected = _cvxpy_minimum(A, k, p, kind, touching)
    assert bound.value <= expected * (1.0 + 1e-6)
    assert bound.value >= expected * (1.0 - 1e-4)


@pytest.mark.parametrize("kind", ["gauss", "heavy", "duplicates", "exact"])
@pytest.mark.parametrize("p", [1.1, 1.5, 1.9])
def test_tangent_is_at_least_the_plain_relaxation(kind: str, p: float) -> None:
    bounds = all_bounds(matrix(kind, 40, 5, 9), 2, p)
    assert bounds["tangent"].value >= bounds["relaxation"].value * (1.0 - 1e-4)


def test_tangent_meets_its_ends() -> None:
    """p -> 1 is 3d, p -> 2 the spectrum."""
    A = matrix("gauss", 60, 6, 2)
    near_one = all_bounds(A, 2, 1.0 + 1e-9)["tangent"].value
    assert near_one == pytest.approx(all_bounds(A, 2, 1.0)["relaxation"].value, rel=1e-5)
    near_two = all_bounds(A, 2, 2.0 - 1e-9)["tangent"].value
    assert near_two == pytest.approx(all_bounds(A, 2, 2.0)["spectral"].value, rel=1e-6)


@pytest.mark.slow
def test_fast_search_stops_near_the_tight_one() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((7000, 40)) * np.linspace(1.0, 3.0, 40)  # searched in float32
    for p, name in ((1.0, "relaxation"), (1.5, "tangent"), (3.0, "power")):
        fast = all_bounds(A, 13, p, "fast")[name].value
        tight = all_bounds(A, 13, p, "tight")[name].value
        assert tight * (1.0 - 5e-3) <= fast <= tight * (1.0 + 1e-6)


def test_bounds_are_close_on_contaminated_rows() -> None:
    rng = np.random.default_rng(0)
    n, d, k = 1500, 30, 4
    U = np.linalg.qr(rng.standard_normal((d, k)))[0]
    A = rng.standard_normal((n, k)) @ U.T + 1e-3 * rng.standard_normal((n, d))
    A[:75] = 10.0 * rng.standard_normal((75, d))
    for p, name, within in ((1.0, "relaxation", 1.01), (1.3, "tangent", 1.03)):
        bound = all_bounds(A, k, p, "fast", V=U)[name].value
        cost = reference.cost_rows(A, descend(A, U, p), p)
        assert bound <= cost <= within * bound


@fixed
@given(st.integers(0, 10**6), st.booleans())
def test_next_reference_is_in_the_fantope(seed: int, with_linear: bool) -> None:
    rng = np.random.default_rng(seed)
    d = int(rng.integers(2, 9))
    m = int(rng.integers(1, d))
    X = rng.standard_normal((int(rng.integers(1, 12)), d))
    Z = rng.standard_normal((d, d))
    Q = next_reference(X.T @ X, Z @ Z.T if with_linear else None, m)
    q = np.linalg.eigvalsh(Q)
    assert q[0] >= -1e-9
    assert q[-1] <= 1.0 + 1e-9
    assert np.trace(Q) == pytest.approx(m, abs=1e-8)
