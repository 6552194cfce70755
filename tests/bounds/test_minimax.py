"""p = inf: exact optima, both bounds, their check and how it fails, records, command line."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lpgeom
from lpgeom.bounds.minimax import Weights, dual_weights, fermi, weighted_bound
from lpgeom.cli import main
from lpgeom.geometry.ellipsoids.john import john_weights
from lpgeom.geometry.grassmann import Frame
from lpgeom.kernels.cpu.simplex import pairwise_descent
from lpgeom.records.subspace import Bound, Certificate, CertificateError
from lpgeom.rows.array import ArrayRows
from lpgeom.subspace.minimax import descend
from tests import reference
from tests.problems import KINDS, fixed, matrix, random_bases

few = settings(fixed, max_examples=12)
INF = math.inf


def solved(A: Any, k: int, **options: Any) -> Any:
    return lpgeom.approx_subspace(A, k, INF, **options)


# Exact optima.


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "d"), [("gauss", 2), ("heavy", 2), ("gauss", 3), ("heavy", 3)])
def test_hyperplanes_are_optimal(kind: str, d: int) -> None:
    for seed in range(3):
        A = matrix(kind, 9, d, seed)
        best = reference.minimax_hyperplane(A)
        result = solved(A, d - 1)
        assert result.cost == pytest.approx(best, rel=1e-6)
        assert result.lower_bound <= best * (1.0 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gauss", "heavy", "duplicates"])
@pytest.mark.parametrize("d", [2, 3])
def test_lines_against_a_fine_grid(kind: str, d: int) -> None:
    A = matrix(kind, 15, d, 4)
    grid = reference.minimax_line(A)
    result = solved(A, 1)
    assert result.cost <= grid * (1.0 + 1e-9)
    assert result.cost >= grid * (1.0 - 0.02)  # the grid's own error
    assert result.lower_bound <= grid


@pytest.mark.needs("cvxpy")
def test_the_relaxation_is_solved() -> None:
    """The best minimax bound is the optimum over the Fantope, which a conic solver finds."""
    import cvxpy as cp

    A = matrix("gauss", 25, 4, 3)
    for k in (1, 2, 3):
        Q, t = cp.Variable((4, 4), PSD=True), cp.Variable()
        inside = [np.eye(4) - Q >> 0, cp.trace(Q) == 4 - k]
        inside += [cp.sum(cp.multiply(np.outer(a, a), Q)) <= t for a in A]
        cp.Problem(cp.Minimize(t), inside).solve(solver="CLARABEL")
        bound = lpgeom.approx_subspace(A, k, INF, certify="tight").lower_bound
        assert bound <= math.sqrt(t.value) * (1.0 + 1e-6)
        assert bound >= math.sqrt(t.value) * (1.0 - 2e-3)


def test_points_at_the_corners_of_a_square() -> None:
    """Every line through 0 leaves a corner at distance 1 or more; the axes leave exactly 1."""
    A = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    result = solved(A, 1)
    assert result.cost == pytest.approx(1.0, abs=1e-6)
    assert result.ratio == pytest.approx(1.0, abs=1e-6)


# The promise and the bounds.


@pytest.mark.slow
@few
@given(st.sampled_from(KINDS), st.integers(2, 5), st.integers(0, 2**31))
def test_bounds_and_guarantee_against_many_subspaces(kind: str, d: int, seed: int) -> None:
    A = matrix(kind, 18, d, seed)
    r = int(np.linalg.matrix_rank(A))
    rng = np.random.default_rng(seed)
    for k in {1, max(1, r - 1)}:
        if k >= min(r, d):
            continue
        result = solved(A, k)
        assert result.cost == pytest.approx(reference.largest_distance(A, result.basis), rel=1e-7)
        assert result.cost == result.norm_error
        assert result.cost <= result.svd_cost * (1.0 + 1e-12)
        bases = random_bases(d, k, 30, rng)
        least = min(reference.largest_distance(A, V) for V in bases)
        for bound in result.certificate.bounds:
            assert bound.value <= min(least, result.cost) * (1.0 + 1e-9)
        assert result.guarantee <= math.sqrt(r) * (1.0 + 1e-3)
        assert result.ratio == pytest.approx(result.cost / result.lower_bound, rel=1e-12)
        assert result.ratio <= result.guarantee * (1.0 + 1e-6)
        assert list(result.history) == sorted(result.history, reverse=True)
        result.certificate.verify(A)


@few
@given(st.sampled_from(KINDS), st.integers(2, 5), st.integers(0, 2**31), st.integers(0, 100))
def test_johns_subspace_keeps_the_promise(kind: str, d: int, seed: int, other: int) -> None:
    """Any subspace of rank k is at most sqrt(kappa sum w) better than John's."""
    A = matrix(kind, 18, d, seed)
    r = int(np.linalg.matrix_rank(A))
    if r < 2:
        return
    result = solved(A, 1, method="lewis")
    assert result.method == "lewis"
    start = random_bases(d, 1, 1, np.random.default_rng(other))[0]
    rows = ArrayRows(A)
    frame = Frame.of(start)
    end = descend(rows, frame, rows.quadratic_form(frame.W), max_iter=50, tol=1e-6)
    assert result.cost <= result.guarantee * end.cost * (1.0 + 1e-9)


def test_any_weights_give_the_stated_bound() -> None:
    rng = np.random.default_rng(0)
    A = matrix("gauss", 20, 4, 1)
    for _ in range(10):
        w = rng.exponential(size=20) * (rng.random(20) < 0.6)
        for k in (1, 2, 3):
            bound = weighted_bound("minimax", "3k", ArrayRows(A), Weights.of(w), k)
            assert bound.scaled_value == pytest.approx(reference.largest_weighted(A, w, k))
            assert bound.scaled_value <= reference.largest_weighted(A, w, k)


def test_johns_bound_is_that_of_his_weights() -> None:
    A = matrix("heavy", 30, 4, 6)
    w = john_weights(A, tol=1e-4)[0]
    result = solved(A, 2)
    (john,) = [b for b in result.certificate.bounds if b.name == "john"]
    assert john.value == pytest.approx(reference.largest_weighted(A, w, 2), rel=1e-6)


def test_a_bound_that_squaring_would_lose() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 5))
    A += 1e-8 * rng.standard_normal((60, 5))
    result = solved(A, 2)
    assert result.certificate.best.witness["factored"]
    assert 1.0 <= result.ratio <= 1.3
    result.certificate.verify(A)


def test_duals_start_anywhere() -> None:
    A = matrix("gauss", 40, 4, 9)
    rows = ArrayRows(A)
    t = rows.quadratic_form(np.eye(4)[:, 2:])
    bounds = []
    for start in (np.eye(40)[0], np.full(40, 1.0 / 40)):
        best, G = dual_weights(rows, [Weights.of(start)], 2, t, "tight")
        full = np.zeros(40)
        full[best.index] = best.values
        np.testing.assert_allclose(G, reference.gram(A, full), atol=1e-9)
        bounds.append(reference.largest_weighted(A, full, 2))
    assert bounds[0] == pytest.approx(bounds[1], rel=2e-3)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_rows_join_as_many_do(n: int) -> None:
    A = np.eye(5)[:n] * np.arange(1.0, n + 1.0)[:, None]
    start = Weights(np.arange(1), np.ones(1))
    weights, G = dual_weights(ArrayRows(A), [start], 1, np.zeros(n), "tight")
    assert weights.index.size > 1
    w = weights.at(np.arange(n))
    np.testing.assert_allclose(G, (A * w[:, None]).T @ A, atol=1e-14)


# The pieces.


@fixed
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**31))
def test_pairwise_descent_meets_its_gap(n: int, r: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, r))
    H, b = X @ X.T, rng.standard_normal(n)
    w = np.full(n, 1.0 / n)
    gap = pairwise_descent(H, b, w, 1e-9, 0.0, 20000)
    assert w.min() >= 0.0
    assert w.sum() == pytest.approx(1.0)
    g = 2.0 * H @ w - b
    assert gap == pytest.approx(w @ g - g.min(), abs=1e-9)
    assert gap <= 1e-8
    value = w @ H @ w - b @ w
    for v in rng.dirichlet(np.ones(n), 20):
        assert v @ H @ v - b @ v >= value - 1e-8


@fixed
@given(st.integers(2, 8), st.floats(1e-6, 1e3), st.integers(0, 2**31))
def test_fermi_fills_to_m(d: int, T: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lam = np.sort(rng.exponential(size=d))
    for m in range(1, d):
        q, entropy = fermi(lam, m, T)
        assert q.sum() == pytest.approx(m, abs=1e-8)
        assert (np.diff(q) <= 1e-12).all()
        assert -1e-12 <= entropy <= d * math.log(2.0) * (1.0 + 1e-9)
        # It minimises <lam, q> - T entropy: no other filling does better.
        for _ in range(5):
            other = np.clip(q + 0.1 * rng.standard_normal(d), 1e-9, 1.0 - 1e-9)
            other *= m / other.sum()
            if other.max() >= 1.0:
                continue
            h = -float((other * np.log(other) + (1 - other) * np.log(1 - other)).sum())
            assert lam @ other - T * h >= lam @ q - T * entropy - 1e-8 * (1.0 + T)


@few
@given(st.sampled_from(KINDS), st.integers(3, 5), st.integers(0, 2**31))
def test_descent_never_rises(kind: str, d: int, seed: int) -> None:
    A = matrix(kind, 20, d, seed)
    rows = ArrayRows(A)
    frame = Frame.of(random_bases(d, 2, 1, np.random.default_rng(seed))[0])
    end = descend(rows, frame, rows.quadratic_form(frame.W), max_iter=30, tol=1e-6)
    assert list(end.history) == sorted(end.history, reverse=True)
    assert end.cost == pytest.approx(reference.largest_distance(A, end.frame.V), abs=1e-9)


# The check, and what it does not let pass.


def certified() -> tuple[Any, Certificate]:
    A = matrix("gauss", 60, 5, 8)
    certificate = solved(A, 2).certificate
    assert {b.name for b in certificate.bounds} == {"john", "minimax"}
    return A, certificate


def doctored(certificate: Certificate, name: str, **changes: Any) -> Certificate:
    bounds = tuple(replace(b, **changes) if b.name == name else b for b in certificate.bounds)
    return replace(certificate, bounds=bounds)


def named(certificate: Certificate, name: str) -> Bound:
    return next(b for b in certificate.bounds if b.name == name)


@pytest.mark.parametrize("name", ["john", "minimax"])
def test_inflated_values_fail(name: str) -> None:
    A, certificate = certified()
    certificate.verify(A)
    value = named(certificate, name).scaled_value
    for factor in (1.0 + 1e-6, 1.5):
        with pytest.raises(CertificateError, match=f"{name}.*proves no more"):
            doctored(certificate, name, scaled_value=value * factor).verify(A)


@pytest.mark.parametrize("name", ["john", "minimax"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {"weights": -w["weights"]}, "not finite and >= 0"),
        (lambda w: {"weights": w["weights"] * np.nan}, "not finite"),
        (lambda w: {"weights": 0.0 * w["weights"]}, "all zero"),
        (lambda w: {"weights": w["weights"][1:]}, "one weight for each"),
        (lambda w: {"index": w["index"] + 60}, "not there, or twice"),
        (lambda w: {"index": 0 * w["index"]}, "not there, or twice"),
        (lambda w: {"index": w["index"][::-1].copy()}, "not there, or twice"),
        (lambda w: {"index": w["index"].astype(float)}, "one weight for each"),
        (lambda w: {"weights": np.eye(len(w["weights"]))[0]}, "proves no more"),
    ],
)
def test_doctored_witnesses_fail(name: str, change: Any, message: str) -> None:
    A, certificate = certified()
    witness = dict(named(certificate, name).witness)
    with pytest.raises(CertificateError, match=message):
        doctored(certificate, name, witness=witness | change(witness)).verify(A)
    del witness["weights"]
    with pytest.raises(CertificateError, match="broken witness"):
        doctored(certificate, name, witness=witness).verify(A)


def test_other_data_a_lower_cost_and_a_finite_p_fail() -> None:
    A, certificate = certified()
    with pytest.raises(CertificateError):
        certificate.verify(A * 1.001)
    with pytest.raises(CertificateError, match="cost"):
        replace(certificate, scaled_cost=certificate.scaled_cost * 0.999).verify(A)
    with pytest.raises(CertificateError, match="guarantee"):
        replace(certificate, guarantee=1.0).verify(A)
    finite = tuple(replace(b, p=3.0) for b in certificate.bounds)
    with pytest.raises(CertificateError):
        replace(certificate, p=3.0, bounds=finite, scaled_cost=1.0).verify(A)
    with pytest.raises(CertificateError, match="not a number >= 1"):
        replace(certificate, p=math.nan).verify(A)


# Input and records.


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind: str) -> None:
    A = matrix(kind, 30, 5, 1)
    for k in (1, 3):
        result = solved(A, k)
        assert result.cost <= result.svd_cost * (1.0 + 1e-12)
        result.certificate.verify(A)
        again = lpgeom.certify(A, result.basis, INF)
        again.verify(A)
        assert again.cost == pytest.approx(result.cost, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_scales(scale: float) -> None:
    A = matrix("heavy", 40, 4, 3)
    one, other = solved(A, 2), solved(A * scale, 2)
    assert other.cost / scale == pytest.approx(one.cost, rel=1e-6)
    other.certificate.verify(A * scale)


def test_row_weights_choose_the_rows() -> None:
    A = matrix("gauss", 30, 4, 3)
    omega = np.random.default_rng(0).uniform(0.0, 3.0, 30)
    omega[::3] = 0.0
    weighted = solved(A, 2, row_weights=omega)
    kept = solved(A[omega > 0.0], 2)
    assert weighted.cost == pytest.approx(kept.cost, rel=1e-4)
    assert weighted.cost == pytest.approx(
        reference.largest_distance(A[omega > 0.0], weighted.basis), rel=1e-9
    )
    assert weighted.cost == pytest.approx(lpgeom.cost(A, weighted.basis, INF, row_weights=omega))
    weighted.certificate.verify(A)
    with pytest.raises(CertificateError):
        replace(weighted.certificate, row_weights=None).verify(10.0 * A)


def test_rank_reached_costs_nothing() -> None:
    A = matrix("rank deficient", 20, 4, 0)
    result = solved(A, 3)
    assert (result.cost, result.ratio, result.method) == (0.0, 1.0, "rank")
    result.certificate.verify(A)


def test_many_rows_are_solved_on_the_farthest() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20_000, 6)) * np.array([3.0, 2.0, 1.0, 1.0, 0.5, 0.5])
    result = solved(A, 2)
    part = solved(A[np.linalg.norm(A[:, 2:], axis=1) > 2.0], 2)
    assert result.cost == pytest.approx(reference.largest_distance(A, result.basis), rel=1e-9)
    assert result.cost <= part.cost * (1.0 + 1e-3)
    assert result.ratio < 1.2
    assert result.method.count("from") == 1
    result.certificate.verify(A)


def test_methods_and_the_same_seed() -> None:
    A = matrix("gauss", 40, 5, 2)
    results = {m: solved(A, 2, method=m) for m in ("auto", "irls", "lewis", "svd")}
    assert results["svd"].cost == results["svd"].svd_cost
    assert results["auto"].cost <= results["irls"].cost * (1.0 + 1e-6)
    assert results["irls"].cost <= min(results["svd"].cost, results["lewis"].cost) * (1.0 + 1e-9)
    again = solved(A, 2)
    np.testing.assert_array_equal(again.basis, results["auto"].basis)
    uncertified = solved(A, 2, certify=False)
    assert (uncertified.lower_bound, uncertified.ratio) == (0.0, INF)


def test_large_finite_powers_come_near() -> None:
    """``max <= (sum y^p)^(1/p) <= n^(1/p) max`` at the optima."""
    A = matrix("gauss", 40, 4, 5)
    limit = solved(A, 2)
    finite = lpgeom.approx_subspace(A, 2, 100.0)
    assert limit.lower_bound <= finite.norm_error * (1.0 + 1e-9)
    assert finite.norm_error <= 40 ** (1 / 100) * limit.cost * 1.02


def test_costs_of_entries() -> None:
    A = matrix("gauss", 20, 4, 5)
    V = random_bases(4, 2, 1, np.random.default_rng(0))[0]
    wanted = np.abs(A - A @ V @ V.T).max()
    assert lpgeom.cost(A, V, INF, "entries") == pytest.approx(wanted)
    assert lpgeom.cost(A, V, INF) == pytest.approx(reference.largest_distance(A, V))


def test_records_survive_files_and_json(tmp_path: Path) -> None:
    A = matrix("gauss", 30, 4, 5)
    result = solved(A, 2)
    result.save(tmp_path / "r.npz")
    loaded = lpgeom.SubspaceResult.load(tmp_path / "r.npz")
    assert loaded.p == INF
    assert loaded.to_dict() == result.to_dict()
    assert loaded.certificate is not None
    loaded.certificate.verify(A)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["p"] == "inf"
    assert "p = inf" in result.summary()
    assert "minimax" in loaded.certificate.table()


@pytest.mark.slow
def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    A = matrix("gauss", 30, 4, 5)
    np.save(tmp_path / "a.npy", A)
    name, out = str(tmp_path / "a.npy"), str(tmp_path / "r.npz")
    assert main(["approx", name, "-k", "2", "-p", "inf", "--out", out]) == 0
    assert "p = inf" in capsys.readouterr().out
    assert main(["verify", out, name]) == 0
    assert "verified" in capsys.readouterr().out
    assert main(["approx", name, "-k", "1", "2", "-p", "inf", "--json"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert one["p"] == two["p"] == "inf"
    assert one["ratio"] >= 1.0
    np.save(tmp_path / "b.npy", 1.1 * A)
    assert main(["verify", out, str(tmp_path / "b.npy")]) == 1
