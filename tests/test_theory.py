"""Each statement of theory 1 to 3 as a property, with the rounding slack it is allowed.

Slack: both sides are computed in float64 from at most a few hundred terms with condition numbers
the strategies keep below 1e6, so RTOL = 1e-8 covers the rounding of either side.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import lpgeom
from tests import reference
from tests.problems import fixed, matrix, random_bases

RTOL = 1e-8
FULL = ("gauss", "heavy", "duplicates", "zero rows")

exponents = st.one_of(st.floats(1.0, 2.0), st.floats(2.0, 10.0))
below_two = st.floats(1.0, 2.0)
above_two = st.floats(2.0, 10.0)


@st.composite
def full_rank(draw: st.DrawFn):
    d = draw(st.integers(2, 5))
    n = draw(st.integers(2 * d, 20))
    A = matrix(draw(st.sampled_from(FULL)), n, d, draw(st.integers(0, 2**31)))
    s = np.linalg.svd(A, compute_uv=False)
    assume(s[-1] > 1e-3 * s[0])
    return A


def lewis(A, p: float):
    w = lpgeom.lewis_weights(A, p, tol=1e-10)
    assume(w.converged)
    return w


def norm_p(A, X, p: float) -> float:
    """``||AX||_{p,2}`` for a vector or a matrix X."""
    Z = (A @ X).reshape(len(A), -1)
    return float((np.linalg.norm(Z, axis=1) ** p).sum() ** (1.0 / p))


def root(M):
    lam, U = np.linalg.eigh(M)
    return (U * np.sqrt(np.maximum(lam, 0.0))) @ U.T


# Section 1


@fixed
@given(full_rank(), exponents)
def test_lewis_weights_sum_to_d_and_are_a_fixed_point(A, p: float) -> None:
    w = lewis(A, p)
    d = A.shape[1]
    assert w.weights.sum() == pytest.approx(d, rel=1e-8)
    assert w.kappa == pytest.approx(1.0, abs=1e-8)
    alive = w.weights > 0.0
    M = reference.gram(A[alive], w.weights[alive] ** (1.0 - 2.0 / p))
    np.testing.assert_allclose(w.M, M, rtol=1e-8, atol=1e-8 * np.abs(M).max())
    tau = np.array(reference.leverages(A, M))
    np.testing.assert_allclose(tau ** (p / 2.0), w.weights, rtol=1e-6, atol=1e-12)


@fixed
@given(full_rank(), exponents, st.integers(0, 10**6), st.integers(1, 5))
def test_the_ellipsoid_is_within_d_of_the_ball(A, p: float, seed: int, r: int) -> None:
    """Both inequalities, for a vector x (r = 1) and a matrix X."""
    w = lewis(A, p)
    d = A.shape[1]
    X = np.random.default_rng(seed).standard_normal((d, r))
    S = float(np.linalg.norm(root(w.M) @ X))
    N = norm_p(A, X, p)
    factor = d ** (1.0 / p - 0.5)
    low, high = (S, factor * S) if p <= 2.0 else (factor * S, S)
    assert low * (1.0 - RTOL) <= N <= high * (1.0 + RTOL)


@fixed
@given(full_rank(), exponents, st.integers(0, 10**6), st.integers(1, 5))
def test_inexact_weights_are_rigorous(A, p: float, seed: int, r: int) -> None:
    """Any w > 0 with its kappa, p <= 2; any w > 0 with its sum, p >= 2."""
    rng = np.random.default_rng(seed)
    alive = np.linalg.norm(A, axis=1) > 0.0
    A = A[alive]
    w = np.exp(rng.uniform(-2.0, 2.0, len(A)))
    M = reference.gram(A, w ** (1.0 - 2.0 / p))
    X = rng.standard_normal((A.shape[1], r))
    Z = root(M) @ X
    S_F, S_op = float(np.linalg.norm(Z)), float(np.linalg.norm(Z, 2))
    total = norm_p(A, X, p) ** p
    kappa = reference.kappa(A, w, p)
    if p <= 2.0:
        low = S_F**2 / (np.sqrt(kappa) * S_op) ** (2.0 - p)
        high = float(w.sum()) ** (1.0 - p / 2.0) * S_F**p
    else:
        low = float(w.sum()) ** (1.0 - p / 2.0) * S_F**p
        high = kappa ** (p / 2.0 - 1.0) * S_op ** (p - 2.0) * S_F**2
    assert low * (1.0 - RTOL) <= total <= high * (1.0 + RTOL)


# Section 2


@fixed
@given(full_rank(), exponents)
def test_lewis_subspace_is_within_the_a_priori_ratio(A, p: float) -> None:
    """rows: d^|1/p - 1/2|, entries: d^|2/p - 1|, against the best of many other subspaces."""
    w = lewis(A, p)
    d = A.shape[1]
    U = np.linalg.eigh(w.M)[1]
    rng = np.random.default_rng(0)
    for k in range(1, d):
        V = U[:, d - k :]
        others = [np.linalg.svd(A)[2][:k].T, *random_bases(d, k, 15, rng)]
        least = min(reference.cost_rows(A, X, p) for X in others)
        ratio = (reference.cost_rows(A, V, p) / least) ** (1.0 / p)
        assert ratio <= d ** abs(1.0 / p - 0.5) * (1.0 + RTOL)
        B = A @ V @ V.T
        least = min(reference.cost_entries(A, A @ X @ X.T, p) for X in others)
        ratio = (reference.cost_entries(A, B, p) / least) ** (1.0 / p)
        assert ratio <= d ** abs(2.0 / p - 1.0) * (1.0 + RTOL)


@fixed
@given(full_rank(), exponents)
def test_lewis_subspace_against_the_lower_bound(A, p: float) -> None:
    """The proof of section 2: cost(V_k) <= d^|1-p/2| times 3a."""
    w = lewis(A, p)
    d = A.shape[1]
    U = np.linalg.eigh(w.M)[1]
    weights = list(w.weights)
    for k in range(1, d):
        cost = reference.cost_rows(A, U[:, d - k :], p)
        bound = reference.lewis_trace(A, weights, k, p)
        assert bound * (1.0 - RTOL) <= cost
        assert cost <= d ** abs(1.0 - p / 2.0) * bound * (1.0 + 1e-6)


# Section 3: each bound, for arbitrary parameters of its own (weights, reference matrices),
# against arbitrary subspaces.


def least_cost(A, k: int, p: float, seed: int) -> float:
    rng = np.random.default_rng(seed)
    bases = [np.linalg.svd(A)[2][:k].T, *random_bases(A.shape[1], k, 10, rng)]
    return min(reference.cost_rows(A, V, p) for V in bases)


def fantope_point(d: int, m: int, rng: np.random.Generator):
    """A random mixture of rank-m projections."""
    shares = rng.dirichlet(np.ones(4))
    parts = [np.linalg.qr(rng.standard_normal((d, m)))[0] for _ in shares]
    return sum(s * W @ W.T for s, W in zip(shares, parts, strict=True))


@fixed
@given(full_rank(), exponents, st.integers(0, 10**6))
def test_3a_3b_for_any_weights(A, p: float, seed: int) -> None:
    A = A[np.linalg.norm(A, axis=1) > 0.0]
    w = np.exp(np.random.default_rng(seed).uniform(-1.0, 1.0, len(A)))
    for k in range(1, A.shape[1]):
        cost = least_cost(A, k, p, seed)
        trace = reference.lewis_trace(A, w, k, p)
        assert trace <= cost * (1.0 + RTOL)
        if p <= 2.0:
            sharp = reference.lewis_sharpened(A, w, k, p)
            assert sharp <= cost * (1.0 + RTOL)


@fixed
@given(full_rank(), below_two, st.integers(0, 10**6))
def test_3b_is_never_below_3a(A, p: float, seed: int) -> None:
    A = A[np.linalg.norm(A, axis=1) > 0.0]
    w = np.exp(np.random.default_rng(seed).uniform(-1.0, 1.0, len(A)))
    for k in range(1, A.shape[1]):
        trace = reference.lewis_trace(A, w, k, p)
        assert reference.lewis_sharpened(A, w, k, p) >= trace * (1.0 - 1e-6)


@fixed
@given(full_rank(), below_two, st.integers(0, 10**6))
def test_3c(A, p: float, seed: int) -> None:
    for k in range(1, A.shape[1]):
        assert reference.chord(A, k, p) <= least_cost(A, k, p, seed) * (1.0 + RTOL)


@fixed
@given(full_rank(), below_two, st.integers(0, 10**6))
def test_3d_at_any_reference(A, p: float, seed: int) -> None:
    d = A.shape[1]
    for k in range(1, d):
        Q0 = fantope_point(d, d - k, np.random.default_rng(seed))
        value = reference.relaxation_at(A, Q0, k, p)
        assert value <= least_cost(A, k, p, seed) * (1.0 + RTOL)
        assert value <= reference.relaxed_cost(A, Q0, p) * (1.0 + RTOL)


@fixed
@given(full_rank(), below_two, st.integers(0, 10**6))
def test_3e_at_any_reference(A, p: float, seed: int) -> None:
    """Any symmetric matrix will do, in the Fantope or not."""
    d = A.shape[1]
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((d, d))
    for k in range(1, d):
        for Q0 in (fantope_point(d, d - k, rng), Z + Z.T):
            value = reference.tangent_at(A, Q0, k, p, 1e-9)
            assert value <= least_cost(A, k, p, seed) * (1.0 + RTOL)


@fixed
@given(full_rank(), above_two, st.integers(0, 10**6))
def test_3f_at_any_reference(A, p: float, seed: int) -> None:
    assume(p > 2.01)
    d = A.shape[1]
    for k in range(1, d):
        Q0 = fantope_point(d, d - k, np.random.default_rng(seed))
        assert reference.power_at(A, Q0, k, p) <= least_cost(A, k, p, seed) * (1.0 + RTOL)


@fixed
@given(full_rank(), st.integers(0, 10**6))
def test_ky_fan(A, seed: int) -> None:
    """The least <G, Q> over the Fantope is the sum of the m smallest eigenvalues."""
    G = A.T @ A - np.eye(A.shape[1]) * float((A * A).sum()) / 3.0
    d = G.shape[0]
    lam, U = np.linalg.eigh(G)
    for m in range(1, d):
        least = reference.smallest_sum(G, m)
        Q = fantope_point(d, m, np.random.default_rng(seed))
        assert least <= float((G * Q).sum()) + 1e-10 * np.abs(lam).sum()
        W = U[:, :m]
        assert float((G * (W @ W.T)).sum()) == pytest.approx(least, abs=1e-9 * np.abs(lam).sum())


@fixed
@given(full_rank(), exponents)
def test_entries_bound_from_rows(A, p: float) -> None:
    """cost_entries(A V V^T) >= min(1, d^(1-p/2)) cost_rows(V)."""
    d = A.shape[1]
    for V in random_bases(d, 1, 5, np.random.default_rng(0)):
        entries = reference.cost_entries(A, A @ V @ V.T, p)
        rows = reference.cost_rows(A, V, p)
        assert entries >= min(1.0, d ** (1.0 - p / 2.0)) * rows * (1.0 - RTOL)
