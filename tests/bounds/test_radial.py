"""Radial bounds: the row minorants, the cover of E2, the bound, and its doctored certificates."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from lpgeom.bounds.radial.bound import (
    PARAMETER,
    Cut,
    loss,
    lowest_value,
    top_ritz_value,
    uniform_start,
)
from lpgeom.bounds.radial.form import FAMILIES, RadialForm
from lpgeom.records.check.data import Data
from lpgeom.records.check.radial import check_radial
from lpgeom.records.subspace import Bound, Certificate, CertificateError
from lpgeom.rows.door import open_rows
from tests.problems import KINDS, fixed, matrix, problems

RADIAL_PS = (1.0, 1.1, 1.25, 1.5, 1.9, 1.999)


# --- row minorants ------------------------------------------------------------------------------


def excess(p: float, S: float, beta: float, gamma: float, C: float) -> float:
    """Largest relative excess of the minorant over eta^p on a dense grid of |rho| <= eta <= S."""
    eta = np.concatenate([np.linspace(0.0, S, 400), np.linspace(0.0, min(S, 4.0), 400)])[:, None]
    rho = eta * np.linspace(-1.0, 1.0, 401)[None, :]
    value = 1.0 + (p - 2.0 * beta) * (rho - 1.0) - gamma * (rho - 1.0) ** 2
    value = value + beta * (eta**2 - 1.0) - C * (eta**2 - 1.0) ** 2
    return float(((value - eta**p) / (1.0 + eta**p)).max())


@fixed
@given(
    st.floats(1.0, 1.999),
    st.floats(0.0, 9.0),
    st.sampled_from(sorted(FAMILIES)),
    st.floats(0.0, 1.0),
)
def test_minorants_stay_below(p: float, log_S: float, name: str, share: float) -> None:
    S = math.exp(log_S)
    parameter = {"radial": 1.0, "radial_two": 1.0 + 5.0 * share, "radial_quartic": 0.3 * share}
    beta, gamma, C = FAMILIES[name](np.array([S]), p, max(parameter[name], 1e-3))
    assert excess(p, S, float(beta[0]), float(gamma[0]), float(C[0])) <= 1e-12


@pytest.mark.parametrize(("p", "factor"), [(1.0, 1.1), (1.5, 1.3)])
def test_grid_notices_a_larger_beta(p: float, factor: float) -> None:
    """The negative test of `excess`: a little more slope and the minorant crosses eta^p."""
    beta, gamma, C = (float(x[0]) for x in FAMILIES["radial_quartic"](np.array([30.0]), p, 0.03))
    assert excess(p, 30.0, beta, gamma, C) <= 1e-12
    more = factor * beta
    assert excess(p, 30.0, more, gamma + more - beta, C) > 1e-6


def test_quartic_family_contains_the_others_and_reaches_further() -> None:
    S = np.geomspace(1.5, 20.0, 30)
    beta_3h, _, _ = FAMILIES["radial_two"](S, 1.0, 1.5)
    beta_3i, _, _ = FAMILIES["radial_quartic"](S, 1.0, PARAMETER["radial_quartic"])
    assert np.all(beta_3i > beta_3h)
    beta_3g, gamma_3g, C = FAMILIES["radial"](S, 1.0, 1.0)
    np.testing.assert_allclose(beta_3g, 0.5 / S, rtol=1e-8)
    np.testing.assert_allclose(gamma_3g, 0.5 / S, rtol=1e-8)
    assert not C.any()


# --- Lanczos --------------------------------------------------------------------------------------


def test_loss_inverts_the_theorem() -> None:
    e = loss(20, 60, 1e-6)
    assert 1.648 * math.sqrt(210) * math.exp(-math.sqrt(e) * 119) == pytest.approx(1e-6)


def test_ritz_value_reaches_the_top_in_full_dimension() -> None:
    rng = np.random.default_rng(0)
    A = [a + a.T for a in rng.standard_normal((40, 4, 4))]

    def operator(X: Any) -> Any:
        return sum(float((a * X).sum()) * a for a in A)

    basis = []
    for i, j in itertools.combinations_with_replacement(range(4), 2):
        X = np.zeros((4, 4))
        X[i, j] = X[j, i] = 1.0 if i == j else math.sqrt(0.5)
        basis.append(X)
    full = np.array([[float((x * operator(y)).sum()) for y in basis] for x in basis])
    top = np.linalg.eigvalsh(full)[-1]
    start = uniform_start(4, 1)
    assert np.linalg.norm(start) == pytest.approx(1.0)
    assert np.array_equal(start, start.T)
    assert top_ritz_value(operator, start, 10) == pytest.approx(top, rel=1e-10)
    estimates = [top_ritz_value(operator, start, q) for q in range(1, 10)]
    assert all(a <= b * (1 + 1e-12) for a, b in itertools.pairwise(estimates))
    assert estimates[-1] <= top * (1 + 1e-12)


# --- the form ---------------------------------------------------------------------------------


@pytest.mark.parametrize("p", RADIAL_PS)
@pytest.mark.parametrize("kind", KINDS)
def test_value_is_below_the_cost_of_every_projection(kind: str, p: float) -> None:
    A = matrix(kind, 40, 5, 3)
    rows = open_rows(A, p, None).rows
    rng = np.random.default_rng(1)
    d = rows.shape[1]
    Q0 = projection(rng, d, 3) * 0.8 + 0.1 * np.eye(d)
    scaled = np.sqrt(rows.squared_norms())
    for name in FAMILIES:
        form = RadialForm(rows, Q0, p, name, PARAMETER[name])
        for m in (1, 3, 4):
            Q = projection(rng, d, m)
            r, t = form.features(rows, Q)
            cost = float((np.maximum(t, 0.0) ** (p / 2.0)).sum())
            assert form.value(r, t) <= cost + 1e-9 * (scaled**p).sum()


def test_gradient_and_image_match_differences() -> None:
    A = matrix("heavy", 30, 4, 2)
    rows = open_rows(A, 1.25, None).rows
    rng = np.random.default_rng(5)
    form = RadialForm(rows, projection(rng, 4, 2), 1.25, "radial_quartic", 0.045)
    Q, X = projection(rng, 4, 2), projection(rng, 4, 1) - 0.3 * np.eye(4)
    G = form.gradient(rows, *form.features(rows, Q))
    h = 1e-5
    ahead = form.value(*form.features(rows, Q + h * X))
    behind = form.value(*form.features(rows, Q - h * X))
    assert float((G * X).sum()) == pytest.approx((ahead - behind) / (2 * h), rel=1e-5)
    E = form.square(*form.features(rows, X))
    assert float((form.apply(rows, X) * X).sum()) == pytest.approx(E, rel=1e-10)
    view = rows.single()
    kept = RadialForm(rows, form.Q0, 1.25, "radial_quartic", 0.045, view)
    np.testing.assert_allclose(kept.apply(view, X), form.apply(rows, X), rtol=1e-4, atol=1e-4 * E)


def projection(rng: np.random.Generator, d: int, m: int) -> Any:
    V = np.linalg.qr(rng.standard_normal((d, m)))[0]
    return V @ V.T


def test_lowest_over_s_is_the_minimum_of_a_fine_grid() -> None:
    rng = np.random.default_rng(2)
    N = np.diag([0.5, 1.0, 2.0, 3.0])
    cut = Cut(np.eye(4), 0.0, np.eye(4))
    cut.slopes, cut.lines = list(rng.uniform(0.2, 2.0, 6)), list(rng.uniform(-1.0, 1.0, 6))
    s = np.linspace(1.5, 5.0, 200001)  # m = 2: from 0.5 + 1 to 2 + 3
    height = np.max([line + mu * s for mu, line in zip(cut.slopes, cut.lines, strict=True)], axis=0)
    assert lowest_value([cut], N, 4.0, 2) == pytest.approx(
        float((height - s * s / 4.0).min()), abs=1e-8
    )


# --- the bound ------------------------------------------------------------------------------------


def certificate(A: Any, k: int, p: float, level: str = "all") -> Certificate:
    V = lpgeom.approx_subspace(A, k, p, certify=False).basis
    return lpgeom.certify(A, V, p, level)


def radial(c: Certificate) -> list[Bound]:
    return [b for b in c.bounds if b.name in FAMILIES]


@pytest.mark.slow
@fixed
@given(problems(RADIAL_PS))
def test_no_subspace_costs_less(problem: Any) -> None:
    A, k, p = problem
    c = certificate(A, k, p)
    assert len(radial(c)) == 3 or c.cost == 0.0
    rng = np.random.default_rng(0)
    d = A.shape[1]
    costs = [lpgeom.cost(A, np.linalg.qr(rng.standard_normal((d, k)))[0], p) for _ in range(60)]
    costs += [c.cost, lpgeom.approx_subspace(A, k, p, method="irls", certify=False, seed=1).cost]
    for b in radial(c):
        assert math.isfinite(b.value)
        assert b.value <= min(costs) * (1.0 + 1e-9)
    c.verify(A)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("d", [2, 3])
def test_never_above_the_exact_optimum(d: int, seed: int) -> None:
    """p = 1, k = d - 1: some best hyperplane goes through d - 1 of the rows."""
    A = np.random.default_rng(seed).standard_t(2.0, (9, d))
    best = math.inf
    for chosen in itertools.combinations(range(9), d - 1):
        normal = np.linalg.svd(A[list(chosen)])[2][-1]
        best = min(best, float(np.abs(A @ normal).sum()))
    for b in radial(certificate(A, d - 1, 1.0)):
        assert b.value <= best * (1.0 + 1e-9)


@pytest.mark.parametrize("p", RADIAL_PS)
@pytest.mark.parametrize("kind", KINDS)
def test_independent_check_agrees(kind: str, p: float) -> None:
    A = matrix(kind, 40, 6, 4)
    c = certificate(A, 2, p)
    for b in radial(c):
        if "Q0" in b.witness:
            data, span = Data(A, c), b.witness.get("span")
            data = data if span is None else data.within(span)[0]
            assert check_radial(data, b).value == pytest.approx(b.scaled_value, rel=1e-6)
    c.verify(A)


def test_tight_beats_the_relaxation_on_plain_data() -> None:
    A = np.random.default_rng(0).standard_normal((400, 8)) * np.linspace(0.5, 3.0, 8)
    by_name = {b.name: b for b in certificate(A, 3, 1.0).bounds}
    assert by_name["radial_quartic"].value > by_name["radial_two"].value
    assert by_name["radial_two"].value > by_name["relaxation"].value
    assert not by_name["radial_quartic"].always


def test_same_seed_same_bound() -> None:
    A = matrix("gauss", 60, 6, 0)
    V = lpgeom.approx_subspace(A, 2, 1.0, certify=False).basis
    a, b, c = (lpgeom.certify(A, V, 1.0, "tight", seed=s).lower_bound for s in (3, 3, 4))
    assert a == b
    assert a == pytest.approx(c, rel=0.05)


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((20, 3)) + np.eye(20, 3) * 1e-9,
        np.vstack([np.eye(4), 1e6 * np.ones((1, 4))]),
        np.vstack([np.random.default_rng(0).standard_normal((30, 4)), 1e-12 * np.eye(4)]),
        np.random.default_rng(1).standard_normal((5, 2)),
    ],
)
@pytest.mark.parametrize("p", [1.0, 1.0 + 1e-9, 1.5])
def test_strange_rows(rows: Any, p: float) -> None:
    result = lpgeom.approx_subspace(rows, 1, p, certify="tight")
    assert result.lower_bound <= result.cost
    assert result.certificate is not None
    result.certificate.verify(rows)


# --- doctored certificates ------------------------------------------------------------------------


def tampered(c: Certificate, **changes: Any) -> Certificate:
    b = c.bounds[0]
    witness = changes.pop("witness", {})
    changed = replace(b, witness={**b.witness, **witness}, **changes)
    return replace(c, bounds=(changed, *c.bounds[1:]))


def test_doctored_certificates_fail() -> None:
    A = np.random.default_rng(7).standard_normal((300, 7)) * np.linspace(0.5, 2.0, 7)
    c = certificate(A, 3, 1.0, "tight")
    b = c.bounds[0]
    assert b.name == "radial_quartic"
    c.verify(A)
    assert c.failure_probability == b.failure_probability > 0.0
    every = certificate(A, 3, 1.0, "all")
    assert every.best is not None
    assert not every.best.always
    assert every.failure_probability == pytest.approx(3.0 * b.failure_probability, rel=1e-6)
    w = b.witness
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((7, 7)))[0]
    for bad in (
        {"scaled_value": 1.001 * b.scaled_value},
        {"failure_probability": 1e-12},
        {"failure_probability": 0.0},
        {"witness": {"Q0": turned @ w["Q0"] @ turned.T}},
        {"witness": {"L": 0.3 * w["L"]}},
        {"witness": {"L": 1.5 * w["L"]}},
        {"witness": {"points": turned @ w["points"] @ turned.T}},
        {"witness": {"slopes": 1.3 * w["slopes"]}},
        {"witness": {"parameter": 0.2}},
        {"witness": {"parameter": -1.0}},
        {"witness": {"steps": w["steps"] + 5}},
        {"witness": {"ritz": 0.5 * w["ritz"]}},
        {"witness": {"owners": w["owners"] + 100}},
    ):
        with pytest.raises(CertificateError):
            tampered(c, **bad).verify(A)


def tight(d: int) -> tuple[Any, Certificate]:
    """Rows in R^d, and a certificate whose largest bound is radial: up to d = 16 the check knows
    E2 whole, beyond it estimates from a start of its own."""
    A = np.random.default_rng(d).standard_normal((60, d)) * np.linspace(0.5, 2.0, d)
    V = np.linalg.svd(A)[2][:3].T
    c = lpgeom.certify(A, V, 1.0, "tight")
    assert c.bounds[0].name == "radial_quartic"
    c.verify(A)
    return A, replace(c, bounds=c.bounds[:1], guarantee=math.inf)


def reached(c: Certificate, A: Any, monkeypatch: pytest.MonkeyPatch) -> float:
    """What a witness would prove if its L covered E2."""
    with monkeypatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr("lpgeom.records.check.radial._check_cover", lambda *given: None)
        return check_radial(Data(A, c), c.bounds[0]).value


@pytest.mark.parametrize("d", [7, 20])
def test_steps_buy_no_probability(d: int) -> None:
    A, c = tight(d)
    for steps in (10**9, 10**4, 10**400):
        for chance in (0.0, 1e-300, c.bounds[0].failure_probability):
            with pytest.raises(CertificateError, match="steps|witness"):
                tampered(c, failure_probability=chance, witness={"steps": steps}).verify(A)
    with pytest.raises(CertificateError):
        tampered(c, failure_probability=math.nan).verify(A)


@pytest.mark.parametrize("factor", [0.9, 0.5, 0.1])
@pytest.mark.parametrize("d", [7, 20])
def test_a_smaller_L_is_refused_whatever_is_said_of_it(
    d: int, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less of L states more; nor do a seed, an estimate or a probability buy it."""
    A, c = tight(d)
    w = c.bounds[0].witness
    for more in ({}, {"ritz": w["ritz"] * 0.9}, {"theta": w["theta"] * 1.1}):
        for seed in range(3):
            change = {"L": factor * w["L"], "seed": seed, **more}
            e = 1.0 - (ritz := (w | more)["ritz"] / (w | more)["theta"]) * 1.001
            chance = (
                1.648 * math.sqrt(d * (d + 1) / 2) * math.exp(-math.sqrt(e) * (2 * w["steps"] - 1))
            )
            assert 0.0 < ritz < 1.0
            wrong = tampered(c, failure_probability=min(chance, 1.0), witness=change)
            value = reached(wrong, A, monkeypatch)
            assert value > c.bounds[0].scaled_value
            with pytest.raises(CertificateError, match="cover"):
                tampered(
                    c, failure_probability=min(chance, 1.0), witness=change, scaled_value=value
                ).verify(A)


@pytest.mark.parametrize("size", [1e4, 1e8, 1e12, 1e100])
def test_large_points_buy_no_slack(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    A, c = tight(7)
    w = c.bounds[0].witness
    wrong = tampered(c, witness={"points": size * w["points"]})
    value = max(reached(wrong, A, monkeypatch), 1.01 * c.bounds[0].scaled_value)
    with pytest.raises(CertificateError, match="proves no more"):
        replace(wrong, bounds=(replace(wrong.bounds[0], scaled_value=value),)).verify(A)


def test_the_file_chooses_no_start() -> None:
    """Whatever stands for the seed, a genuine bound is accepted: the check does not read it."""
    A, c = tight(20)
    for seed in (0, 1, -5, 2**40):
        tampered(c, witness={"seed": seed}).verify(A)


@pytest.mark.slow
@pytest.mark.parametrize("d", [17, 30, 60])
def test_the_start_of_the_check_finds_what_covers(d: int) -> None:
    for n in (d // 2, 4 * d):
        A = np.random.default_rng(n).standard_t(3.0, (n, d))
        V = np.linalg.svd(A)[2][: d // 4].T
        for p in (1.0, 1.5):
            lpgeom.certify(A, V, p, "all").verify(A)
