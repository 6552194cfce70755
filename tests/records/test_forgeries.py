"""Witnesses made to deceive: what they state lies above a known cost, and is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.records.subspace import Bound, Certificate, CertificateError
from tests.fuzz import forgeries
from tests.problems import matrix

A = np.random.default_rng(0).standard_normal((60, 6)) * np.r_[10.0, 10.0, np.ones(4)]
V = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 2)))[0]


def refused(certificate: Any, data: Any, match: str) -> None:
    with pytest.raises(CertificateError, match=match):
        certificate.verify(data)


def forged(certificate: Certificate, name: str, value: float, **witness: Any) -> Certificate:
    """The certificate with one bound alone, of this value and witness."""
    bound = Bound(name, "3d", value, 0.0, witness, certificate.unit, certificate.p)
    return replace(certificate, bounds=(bound,), guarantee=np.inf)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-3, 1e12, 1e30])
@pytest.mark.parametrize("floor", [1e-20, 1e-9, 1.0])
@pytest.mark.parametrize(("name", "p"), [("relaxation", 1.0), ("relaxation", 2.0), ("mixed", 1.5)])
def test_the_size_of_a_witness_buys_nothing(
    name: str, p: float, scale: float, floor: float
) -> None:
    """The cost of a bad subspace, stated as a bound, is above what the good one costs."""
    bad, good = lpgeom.certify(A, V, p), lpgeom.approx_subspace(A, 2, p)
    assert bad.cost > 1.5 * good.cost
    for Q0 in (np.eye(6), np.eye(6) - good.basis @ good.basis.T):
        wrong = forged(bad, name, bad.scaled_cost, Q0=scale * Q0, floor=floor)
        refused(wrong, A, "proves no more")


@pytest.mark.parametrize("length", [1e4, 1e8, 1e12, 1e16])
@pytest.mark.parametrize(("name", "p"), [("power", 3.0), ("chord", 1.5), ("spectral", 2.0)])
def test_a_long_row_buys_nothing(name: str, p: float, length: float) -> None:
    """Rounding of the long row's terms is as large as the cost: it proves nothing of that size."""
    M = np.vstack([[length, 0, 0], np.eye(3)[1:], [[0, 1, 1.0]]])
    c = lpgeom.certify(M, np.eye(3)[:, 1:2], p)
    wrong = forged(c, name, 400.0 * c.unit**-p, root=np.eye(3))
    refused(wrong, M, "proves no more")


@pytest.mark.parametrize("tiny", [1e-4, 1e-8, 1e-12, 1e-15])
def test_a_metric_near_rank_deficiency_buys_nothing(tiny: float) -> None:
    bad, good = lpgeom.certify(A, V, 1.0), lpgeom.approx_subspace(A, 2, 1.0)
    R = np.diag([1.0, 1.0, 1.0, 1.0, 1.0, tiny])
    for name in ("lewis_trace", "lewis_sharpened"):
        wrong = forged(bad, name, 1.01 * good.cost / bad.unit, R=R, kappa=1e-30)
        refused(wrong, A, "kappa|proves no more")


def test_a_guarantee_needs_a_bound() -> None:
    refused(replace(lpgeom.certify(A, V), bounds=(), guarantee=1.0), A, "no bound")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"p": "1"}, "p is '1'"),
        ({"p": True}, "p is"),
        ({"scaled_cost": 10**400}, "scaled_cost is"),
        ({"scaled_cost": None}, "scaled_cost is"),
        ({"unit": [1.0]}, "unit is"),
        ({"guarantee": "1"}, "guarantee is"),
        ({"k": 2.0}, "k = 2.0"),
        ({"basis": np.ma.masked_array(V, V > 0.5)}, "basis is not a plain array"),
        ({"basis": V.tolist()}, "basis is not a plain array"),
        ({"row_weights": np.ma.masked_array(np.ones(60))}, "row weights is not a plain array"),
        ({"row_weights": np.full(60, "1")}, "row weights is not a plain array"),
    ],
)
def test_fields_of_other_types(change: dict[str, Any], match: str) -> None:
    refused(replace(lpgeom.certify(A, V), **change), A, match)


@pytest.mark.parametrize(
    "change",
    [{"scaled_value": "1"}, {"scaled_value": 10**400}, {"failure_probability": "0"}, {"p": "1"}],
)
def test_fields_of_a_bound_of_other_types(change: dict[str, Any]) -> None:
    c = lpgeom.certify(A, V)
    refused(replace(c, bounds=(replace(c.bounds[0], **change),)), A, "is no number|which is no")


@pytest.mark.parametrize("witness", [{}, {"Q0": "1"}, {"Q0": np.eye(6), "floor": 10**400}, None])
def test_broken_witnesses(witness: Any) -> None:
    c = lpgeom.certify(A, V)
    bound = Bound("relaxation", "3d", 1e-3, 0.0, witness, c.unit, 1.0)
    refused(replace(c, bounds=(bound,), guarantee=np.inf), A, "witness")


@pytest.mark.slow
def test_masked_data() -> None:
    c = lpgeom.approx_subspace(A, 2)
    assert c.certificate is not None
    refused(c.certificate, np.ma.masked_array(A, A > 5.0), "masked")
    f = lpgeom.approx_factors(A, 2, max_iter=3)
    assert f.certificate is not None
    refused(f.certificate, np.ma.masked_array(A, A > 5.0), "masked")


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e8, 1e12, 1e17, 1e100])
def test_factors_that_cancel(size: float) -> None:
    B = matrix("gauss", 30, 6, 0)
    c = lpgeom.approx_factors(B, 3, 1.0, max_iter=5).certificate
    assert c is not None
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((30, 1)), rng.standard_normal((1, 6))
    left = np.hstack([size * u, -size * u, c.left[:, :1]])
    right = np.vstack([v, v, c.right[:1]])
    refused(replace(c, left=left, right=right, scaled_cost=0.0, bounds=()), B, "cancel|cost")


def test_a_loose_bound_carries_no_guarantee() -> None:
    """That nothing contradicts a guarantee is no proof of it; nor is a bound that may fail."""
    c = lpgeom.certify(A, V)
    Q0 = 1e-30 * np.eye(6)
    for value, witness in ((0.0, {"Q0": Q0, "floor": 1e-20}), (0.0, {}), (1e-3, None)):
        bound = Bound("relaxation", "3d", value, 0.0, witness or {}, c.unit, 1.0)
        refused(replace(c, bounds=(bound,), guarantee=1.0), A, "guarantee|witness")
    M = np.random.default_rng(2).standard_normal((60, 10))
    tight = lpgeom.certify(M, np.eye(10)[:, :2], 1.0, "tight")
    radial = tuple(b for b in tight.bounds if b.failure_probability > 0.0)
    only = replace(tight, bounds=radial, guarantee=np.inf)
    only.verify(M)
    refused(replace(only, guarantee=only.ratio * 1.001), M, "no bound")
    for loose in c.bounds:  # each is a bound, and proves its own ratio, no less
        one = replace(c, bounds=(loose,), guarantee=np.inf)
        refused(replace(one, guarantee=1.0 + 0.999 * (one.ratio - 1.0)), A, "guarantee")
        replace(one, guarantee=one.ratio).verify(A)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
@pytest.mark.parametrize("length", [1e6, 1e12, 1e17])
def test_a_long_row_hides_no_cost(p: float, length: float) -> None:
    """It is known to its own rounding alone; the cost of the others is not in doubt."""
    M = np.vstack([[length, 0, 0], np.ones((4, 3))])
    c = lpgeom.certify(M, np.eye(3)[:, :1], p)
    c.verify(M)
    for factor in (0.0, 0.5, 0.99):
        refused(replace(c, bounds=(), guarantee=np.inf, scaled_cost=factor * c.scaled_cost), M,
                "cost")  # fmt: skip


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("exponent", [300, 520, 900])
def test_a_unit_in_which_all_underflows_buys_nothing(p: float, exponent: int) -> None:
    c = lpgeom.certify(A, V, p)
    unit = float(np.ldexp(1.0, exponent))
    bound = Bound("rank", "0", 0.0, 0.0, {"rank": 2}, unit, p)
    for cost in (0.0, 5e-324):
        wrong = replace(c, unit=unit, scaled_cost=cost, bounds=(bound,), guarantee=1.0)
        refused(wrong, A, "unit|cost|guarantee")


def test_the_total_of_a_curve() -> None:
    curve = lpgeom.cost_curve(A, 1.5, [1, 2])
    curve.verify(A)
    for factor in (0.99, 1.0 + 1e-6, np.inf):
        refused(replace(curve, total=factor * curve.total), A, "rank 0")


@pytest.mark.slow
def test_a_part_has_the_exponent_of_the_whole() -> None:
    """To a higher power a norm is a larger cost, and for rows that become zero the bound itself."""
    _, nought = next(
        x for x in map(list, map(forgeries._mixed, [np.random.default_rng(3)] * 20)) if x
    )
    record, _ = nought.build(nought.fields | {"_p": 3.0})
    refused(record, nought.A, "is for p = 3")


@pytest.mark.parametrize("turn", [0.0, 1e-9, 1e-6])
def test_a_metric_of_no_rank_proves_nothing(turn: float) -> None:
    """Rounding is more than all of its least direction: what a search found, by nu below 0."""
    M = np.random.default_rng(4).standard_normal((8, 3))
    M[0] *= 1e10
    c = lpgeom.certify(M, np.eye(3)[:, 1:2], 1.5)
    best = (lpgeom.approx_subspace(M, 1, 1.5).norm_error / c.unit) ** 1.5
    assert best < 1e-3 * c.scaled_cost
    a, b = M[0] / np.linalg.norm(M[0]), M[1] / np.linalg.norm(M[1])
    for left in np.random.default_rng(5).standard_normal((30, 3, 2)):
        R = left @ np.array([a, a + turn * b])
        for kappa in (1e-300, 1e-30, 1e-9):
            for name in ("lewis_trace", "lewis_sharpened"):
                wrong = forged(c, name, 1.0001 * best, R=R, kappa=kappa)
                refused(wrong, M, "kappa|proves no more|dependent")


@pytest.mark.slow
def test_a_search_finds_no_forgery() -> None:
    """The short form of ``python -m tests.fuzz``'s forgeries; docs/robustness.md has the long."""
    every = forgeries.run(forgeries.DEEP * len(forgeries.FAMILIES), 0)
    assert set(every) == set(forgeries.FAMILIES)
    for family, found in every.items():
        assert found["tries"] == forgeries.DEEP, family
        assert found["passed"] == 0, family
        assert found["largest"] <= 2e-9, family
