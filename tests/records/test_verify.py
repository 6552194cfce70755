"""The check of certificates: genuine ones pass, every kind of doctored one fails."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import lpgeom
from lpgeom.records.check import data as verify_data
from lpgeom.records.check import verify
from lpgeom.records.subspace import Bound, Certificate, CertificateError
from tests.problems import KINDS, PS, fixed, matrix, problems

K = 2
NAMES = {
    1.0: ["lewis_trace", "lewis_sharpened", "chord", "relaxation"],
    1.5: ["lewis_trace", "lewis_sharpened", "chord", "relaxation", "tangent"],
    2.0: ["spectral"],
    4.0: ["lewis_trace", "power"],
}
CASES = [(p, name) for p, names in NAMES.items() for name in names]


def certificate_for(p: float, **options: Any) -> tuple[Any, Certificate]:
    A = matrix("heavy", 60, 5, 8)
    certificate = lpgeom.approx_subspace(A, K, p, **options).certificate
    assert certificate is not None
    return A, certificate


def named(certificate: Certificate, name: str) -> Bound:
    return next(b for b in certificate.bounds if b.name == name)


def doctored(certificate: Certificate, name: str, **changes: Any) -> Certificate:
    """The certificate with one bound changed."""
    bounds = tuple(replace(b, **changes) if b.name == name else b for b in certificate.bounds)
    return replace(certificate, bounds=bounds)


def with_witness(certificate: Certificate, name: str, **changes: Any) -> Certificate:
    witness = dict(named(certificate, name).witness) | changes
    return doctored(certificate, name, witness=witness)


@pytest.mark.parametrize("p", sorted(NAMES))
def test_every_bound_is_there_and_verifies(p: float) -> None:
    A, certificate = certificate_for(p)
    assert {b.name for b in certificate.bounds} == set(NAMES[p])
    certificate.verify(A)
    certificate.verify(np.asfortranarray(A), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", PS)
def test_genuine_certificates_pass(kind: str, p: float) -> None:
    A = matrix(kind, 30, 5, 1)
    for k in (1, 3):
        certificate = lpgeom.approx_subspace(A, k, p).certificate
        assert certificate is not None
        certificate.verify(A)


@pytest.mark.slow
@fixed
@given(problems())
def test_genuine_certificates_pass_at_random(problem: Any) -> None:
    A, k, p = problem
    certificate = lpgeom.approx_subspace(A, k, p).certificate
    assert certificate is not None
    certificate.verify(A)


@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1e150])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 4.0])
def test_genuine_certificates_pass_at_every_scale(scale: float, p: float) -> None:
    A = scale * matrix("heavy", 40, 5, 8)
    omega = np.random.default_rng(0).uniform(0.0, 3.0, 40)
    certificate = lpgeom.approx_subspace(A, K, p, row_weights=omega).certificate
    assert certificate is not None
    certificate.verify(A)
    with pytest.raises(CertificateError, match="cost"):
        replace(certificate, row_weights=np.ones(40)).verify(A)
    with pytest.raises(CertificateError, match="row weights"):
        replace(certificate, row_weights=-omega).verify(A)


def test_memory_maps_and_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    A, certificate = certificate_for(1.5)
    np.save(tmp_path / "A.npy", A)
    monkeypatch.setattr(verify_data, "BLOCK_BYTES", 7 * 8 * A.shape[1])
    certificate.verify(np.load(tmp_path / "A.npy", mmap_mode="r"))


def test_exact_rows_and_integer_data() -> None:
    A = np.outer(np.arange(1, 9), [1, 2, 3]) + np.eye(8, 3, dtype=int)[:, [0, 0, 0]]
    for p in (1.0, 3.0):
        certificate = lpgeom.approx_subspace(A, 2, p).certificate
        assert certificate is not None
        certificate.verify(A)


# What can be wrong with a bound.


@pytest.mark.parametrize(("p", "name"), CASES)
def test_inflated_value_fails(p: float, name: str) -> None:
    A, certificate = certificate_for(p)
    bound = named(certificate, name)
    for factor in (1.0 + 1e-6, 1.02, 1.5):
        with pytest.raises(CertificateError, match=f"{name}.*proves no more"):
            doctored(certificate, name, scaled_value=bound.scaled_value * factor).verify(A)


@pytest.mark.parametrize(("p", "name"), CASES)
def test_value_that_is_no_bound_fails(p: float, name: str) -> None:
    A, certificate = certificate_for(p)
    for value in (np.nan, np.inf, -1.0):
        with pytest.raises(CertificateError, match=f"{name}.*number"):
            doctored(certificate, name, scaled_value=value).verify(A)


@pytest.mark.parametrize(("p", "name"), CASES)
def test_changed_failure_probability_fails(p: float, name: str) -> None:
    A, certificate = certificate_for(p)
    with pytest.raises(CertificateError, match=f"{name}.*failure probability"):
        doctored(certificate, name, failure_probability=1e-3).verify(A)


@pytest.mark.parametrize(("p", "name"), CASES)
def test_other_data_fails(p: float, name: str) -> None:
    A, certificate = certificate_for(p)
    only = replace(certificate, bounds=(named(certificate, name),))
    with pytest.raises(CertificateError, match="cost is stated"):
        only.verify(0.9 * A)
    # The cost doctored to suit: then the bound does not follow.
    B = 0.9 * A
    cost = float((np.linalg.norm(B - B @ only.basis @ only.basis.T, axis=1) ** p).sum())
    with pytest.raises(CertificateError, match=name):
        replace(only, scaled_cost=cost / only.unit**p).verify(B)


@pytest.mark.parametrize(
    ("p", "name"), [(1.0, "relaxation"), (1.5, "relaxation"), (1.5, "tangent")]
)
def test_changed_reference_matrix_fails(p: float, name: str) -> None:
    A, certificate = certificate_for(p)
    Q0 = named(certificate, name).witness["Q0"]
    noise = np.random.default_rng(0).standard_normal(Q0.shape)
    outside = Q0 + 3.0 * np.eye(5)  # eigenvalues up to 4: not in the Fantope
    for wrong in (Q0 + noise + noise.T, np.eye(5), np.eye(5) - Q0, outside, np.zeros((5, 5))):
        with pytest.raises(CertificateError, match=f"{name}.*proves no more"):
            with_witness(certificate, name, Q0=wrong).verify(A)


def test_changed_root_of_the_power_bound_fails() -> None:
    A, certificate = certificate_for(4.0)
    root = named(certificate, "power").witness["root"]
    rng = np.random.default_rng(0)
    for wrong in (root + rng.standard_normal(root.shape), np.eye(5), np.zeros((5, 5)), root[:, :1]):
        with pytest.raises(CertificateError, match="power.*proves no more"):
            with_witness(certificate, "power", root=wrong).verify(A)
    for wrong in (root[:4], root * np.nan, "root", None, root.ravel()):
        with pytest.raises(CertificateError, match=r"witness"):
            with_witness(certificate, "power", root=wrong).verify(A)
    with pytest.raises(CertificateError, match="broken witness"):
        doctored(certificate, "power", witness={}).verify(A)


def test_certificates_that_hold_the_reference_matrix_itself_are_read() -> None:
    A, certificate = certificate_for(4.0)
    bound = named(certificate, "power")
    Q0 = bound.witness["root"] @ bound.witness["root"].T
    old = doctored(certificate, "power", witness={"Q0": Q0})
    old.verify(A)
    with pytest.raises(CertificateError, match="proves no more"):
        with_witness(old, "power", Q0=np.eye(5)).verify(A)


@pytest.mark.parametrize(
    ("p", "name"), [(1.0, "relaxation"), (1.5, "relaxation"), (1.5, "tangent")]
)
def test_broken_reference_matrix_fails(p: float, name: str) -> None:
    A, certificate = certificate_for(p)
    Q0 = named(certificate, name).witness["Q0"]
    for wrong in (Q0[:4, :4], Q0 * np.nan, "Q0", None):
        with pytest.raises(CertificateError, match=r"witness"):
            with_witness(certificate, name, Q0=wrong).verify(A)
    with pytest.raises(CertificateError, match="broken witness"):
        doctored(certificate, name, witness={}).verify(A)


@pytest.mark.parametrize(("p", "name"), [(1.0, "relaxation"), (1.5, "tangent")])
@pytest.mark.parametrize("floor", [0.0, -1.0, 2.0, np.nan])
def test_wrong_floor_fails(p: float, name: str, floor: float) -> None:
    A, certificate = certificate_for(p)
    with pytest.raises(CertificateError, match="floor"):
        with_witness(certificate, name, floor=floor).verify(A)


@pytest.mark.parametrize("p", [1.0, 1.5])
@pytest.mark.parametrize("name", ["lewis_trace", "lewis_sharpened"])
def test_lowered_kappa_fails(p: float, name: str) -> None:
    A, certificate = certificate_for(p)
    bound = named(certificate, name)
    lower = 0.9 * bound.witness["kappa"]
    # With the value that would follow from it, and with the genuine value.
    inflated = bound.scaled_value * 0.9 ** (p / 2.0 - 1.0)
    witness = dict(bound.witness) | {"kappa": lower}
    with pytest.raises(CertificateError, match="kappa"):
        doctored(certificate, name, witness=witness, scaled_value=inflated).verify(A)
    with pytest.raises(CertificateError, match="kappa"):
        with_witness(certificate, name, kappa=lower).verify(A)
    for wrong in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(CertificateError, match=name):
            with_witness(certificate, name, kappa=wrong).verify(A)


@pytest.mark.parametrize("name", ["lewis_trace", "lewis_sharpened"])
def test_changed_metric_fails(name: str) -> None:
    A, certificate = certificate_for(1.0)
    R = named(certificate, name).witness["R"]
    for wrong in (2.0 * R, R * np.nan, R[:, :3], R[:3], np.zeros_like(R), np.eye(5)):
        with pytest.raises(CertificateError, match=name):
            with_witness(certificate, name, R=wrong).verify(A)


# What can be wrong with the rest.


@pytest.mark.parametrize("p", sorted(NAMES))
def test_changed_basis_fails(p: float) -> None:
    A, certificate = certificate_for(p)
    V = certificate.basis
    rng = np.random.default_rng(0)
    with pytest.raises(CertificateError, match="not orthonormal"):
        replace(certificate, basis=1.001 * V).verify(A)
    with pytest.raises(CertificateError, match="not orthonormal"):
        replace(certificate, basis=V * np.nan).verify(A)
    other = np.linalg.qr(V + 0.1 * rng.standard_normal(V.shape))[0]
    with pytest.raises(CertificateError, match="cost"):
        replace(certificate, basis=other).verify(A)
    # Another basis of the same subspace is as good.
    turn = np.linalg.qr(rng.standard_normal((K, K)))[0]
    replace(certificate, basis=V @ turn).verify(A)


@pytest.mark.parametrize("p", sorted(NAMES))
def test_changed_cost_fails(p: float) -> None:
    A, certificate = certificate_for(p)
    for factor in (0.999999, 1.000001, np.nan):
        with pytest.raises(CertificateError, match="cost"):
            replace(certificate, scaled_cost=certificate.scaled_cost * factor).verify(A)


@pytest.mark.parametrize("p", [1.0, 3.0])
def test_what_differs_is_said_in_the_users_units(p: float) -> None:
    A = 64.0 * matrix("gauss", 30, 4, 0)
    certificate = lpgeom.approx_subspace(A, 2, p).certificate
    assert certificate is not None
    half = replace(certificate, scaled_cost=0.5 * certificate.scaled_cost)
    with pytest.raises(CertificateError) as refused:
        half.verify(A)
    said = [float(x) for x in re.findall(r"[0-9][-+.e0-9]*", str(refused.value))]
    assert said == pytest.approx([half.cost, certificate.cost])
    best = certificate.bounds[0]
    doubled = replace(best, scaled_value=2.0 * best.scaled_value)
    with pytest.raises(CertificateError, match=re.escape(repr(doubled.value))):
        replace(certificate, bounds=(doubled,), guarantee=np.inf).verify(A)


@pytest.mark.parametrize("p", sorted(NAMES))
def test_changed_exponent_fails(p: float) -> None:
    A, certificate = certificate_for(p)
    with pytest.raises(CertificateError, match="is for p"):
        replace(certificate, p=p + 0.1).verify(A)
    bounds = tuple(replace(b, p=p + 0.1) for b in certificate.bounds)
    with pytest.raises(CertificateError, match="cost"):
        replace(certificate, p=p + 0.1, bounds=bounds).verify(A)
    for wrong in (0.5, np.nan, np.inf):
        with pytest.raises(CertificateError, match="p ="):
            replace(certificate, p=wrong).verify(A)


@pytest.mark.parametrize("p", sorted(NAMES))
def test_changed_rank_fails(p: float) -> None:
    A, certificate = certificate_for(p)
    for k in (K - 1, K + 1):
        with pytest.raises(CertificateError, match="basis has shape"):
            replace(certificate, k=k).verify(A)
    # A larger k with a basis and a cost to suit: the bounds were for a smaller one.
    V = np.linalg.svd(A)[2][: K + 1].T
    cost = float((np.linalg.norm(A - A @ V @ V.T, axis=1) ** p).sum()) / certificate.unit**p
    for bound in certificate.bounds:
        wider = replace(certificate, k=K + 1, basis=V, scaled_cost=cost, bounds=(bound,))
        with pytest.raises(CertificateError, match=bound.name):
            wider.verify(A)


def test_changed_unit_fails() -> None:
    A, certificate = certificate_for(1.0)
    with pytest.raises(CertificateError, match="unit"):
        replace(certificate, unit=2.0 * certificate.unit).verify(A)
    bounds = tuple(replace(b, unit=2.0 * b.unit) for b in certificate.bounds)
    with pytest.raises(CertificateError, match="cost"):
        replace(certificate, unit=2.0 * certificate.unit, bounds=bounds).verify(A)
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(CertificateError, match="unit"):
            replace(certificate, unit=wrong).verify(A)


@pytest.mark.parametrize("noise", [1e-6, 1e-8, 1e-10])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 8.0])
def test_nearly_low_rank_data_verify(p: float, noise: float) -> None:
    """Rounding may take most of a bound, or all of it: what is left still stands."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 8))
        A += noise * rng.standard_normal(A.shape)
        result = lpgeom.approx_subspace(A, 2, p)
        assert result.certificate is not None
        result.certificate.verify(A)
        assert result.guarantee == result.certificate.guarantee
        if result.lower_bound == 0.0:
            assert result.guarantee == np.inf  # nothing is promised that no bound stands for


def test_rounding_beside_a_long_row_may_leave_float64() -> None:
    """At p = 100 what rounding could prove is far above any float; the bound claims nothing."""
    A = np.array([[3.01e-288, -8.32e-288], [-4.13e-301, -2.44e-300]])
    result = lpgeom.approx_subspace(A, 1, 100.0)
    assert result.certificate is not None
    result.certificate.verify(A)


def test_lowered_guarantee_fails() -> None:
    A, certificate = certificate_for(1.0)
    with pytest.raises(CertificateError, match="guarantee"):
        replace(certificate, guarantee=0.5).verify(A)
    with pytest.raises(CertificateError, match="guarantee"):
        replace(certificate, guarantee=1.0 + 0.5 * (certificate.ratio - 1.0)).verify(A)
    with pytest.raises(CertificateError, match="guarantee"):
        replace(certificate, guarantee=np.nan).verify(A)


@pytest.mark.parametrize(
    "change",
    [
        lambda A: A[:-1],
        lambda A: A[:, :-1],
        lambda A: A.ravel(),
        lambda A: A.astype(object),
        lambda A: A + 0j,
    ],
)
def test_wrong_kind_of_data_fails(change: Callable[[Any], Any]) -> None:
    A, certificate = certificate_for(1.0)
    with pytest.raises(CertificateError):
        certificate.verify(change(A))


def test_non_finite_data_fails() -> None:
    A, certificate = certificate_for(1.0)
    A[3, 1] = np.nan
    with pytest.raises(CertificateError):
        certificate.verify(A)


def test_bounds_out_of_their_range_of_p_fail() -> None:
    A, at_one = certificate_for(1.0)
    _, at_four = certificate_for(4.0)
    _, at_two = certificate_for(2.0)
    relabelled = replace(named(at_four, "power"), p=1.0, unit=at_one.unit)
    with pytest.raises(CertificateError, match="does not apply"):
        replace(at_one, bounds=(relabelled,)).verify(A)
    for name in ("chord", "relaxation"):
        relabelled = replace(named(at_one, name), p=4.0, unit=at_four.unit)
        with pytest.raises(CertificateError, match="does not apply"):
            replace(at_four, bounds=(relabelled,)).verify(A)
    relabelled = replace(named(at_two, "spectral"), p=1.0, unit=at_one.unit)
    with pytest.raises(CertificateError, match="does not apply"):
        replace(at_one, bounds=(relabelled,)).verify(A)


def test_unknown_bound_fails() -> None:
    A, certificate = certificate_for(1.0)
    with pytest.raises(CertificateError, match="unknown"):
        replace(certificate, bounds=(Bound("wishful", "3z", 1.0, unit=certificate.unit),)).verify(A)


def test_rank_bound_proves_nothing_but_zero() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20, 2)) @ rng.standard_normal((2, 5))
    certificate = lpgeom.approx_subspace(A, 3, 1.0).certificate
    assert certificate is not None
    assert certificate.ratio == 1.0
    certificate.verify(A)
    with pytest.raises(CertificateError, match="rank"):
        doctored(certificate, "rank", scaled_value=1e-3).verify(A)


def test_verification_imports_no_solver_code() -> None:
    """NumPy, results, what reads dataframes, and the other files of the check."""
    allowed = ("lpgeom.records", "lpgeom.io.interchange")
    for path in Path(verify.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith(("scipy", "numba"))
                if (node.module or "").startswith("lpgeom"):
                    assert node.module.startswith(allowed)
            if isinstance(node, ast.Import):
                assert not any(a.name.startswith(("lpgeom", "scipy", "numba")) for a in node.names)


def test_a_metric_that_squares_a_bad_condition() -> None:
    """Rows of condition 7000: their Gram tells the least direction to 1e-9, and kappa says so."""
    rng = np.random.default_rng(0)
    B = rng.standard_normal((26, 3)) @ rng.standard_normal((3, 7))
    B += 0.2 * rng.standard_normal(B.shape)
    B += 10.0 * rng.standard_normal(B.shape) * (rng.random(B.shape) < 0.05)
    A = B.astype(np.float32)[:7].T
    result = lpgeom.approx_subspace(A, 3, 1.0, method="irls")
    assert result.certificate is not None
    result.certificate.verify(A)
