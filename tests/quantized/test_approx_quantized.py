"""Rows in few bits: within the budget, costs as stated, and bounds below them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lpgeom
from lpgeom import CertificateError, QuantizedResult, approx_quantized
from lpgeom.quantized.proof import proved, span
from lpgeom.quantized.real import mixed_within


def falling(n: int = 900, d: int = 12, seed: int = 0) -> np.ndarray:
    """Rows whose components fall by a factor of 100."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return (rng.standard_normal((n, d)) * np.geomspace(1.0, 0.01, d)) @ Q


def cost(A: np.ndarray, found: QuantizedResult, omega: np.ndarray | None = None) -> float:
    off = np.linalg.norm(A - found.dense(), axis=1) ** found.p
    return float(off.sum() if omega is None else omega @ off)


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 300),
    d=st.integers(1, 9),
    share=st.floats(0.05, 1.5),
    p=st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    seed=st.integers(0, 99),
)
def test_never_above_the_budget_and_the_cost_is_as_stated(
    n: int, d: int, share: float, p: float, seed: int
) -> None:
    A = falling(n, d, seed)
    omega = np.random.default_rng(seed).random(n) if seed % 2 else None
    budget = 2 * n + 16 + int(share * 8 * n * d)
    found = approx_quantized(A, budget, p, row_weights=omega)
    assert found.nbytes <= budget
    assert found.cost == pytest.approx(cost(A, found, omega), rel=1e-9, abs=1e-13)
    assert found.lower_bound <= found.truncation_cost * (1 + 1e-9)
    assert found.lower_bound <= found.cost
    found.verify(A, row_weights=omega)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_the_cost_falls_as_bytes_grow(p: float) -> None:
    A = falling()
    costs = [approx_quantized(A, b, p, certify=False).cost for b in (3000, 5000, 8000, 14000)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.05 * costs[0]


def test_fewer_bytes_than_labels_and_scales_take_are_refused() -> None:
    A = falling(100)
    with pytest.raises(ValueError, match="215 bytes are fewer than 216, which labels and scales"):
        approx_quantized(A, 215)
    assert approx_quantized(A, 216).nbytes <= 216


@pytest.mark.parametrize("quantizer", ["lloyd-max", "dead-zone"])
def test_a_trellis_leaves_less_error(quantizer: str) -> None:
    A = falling(3000)
    scalar = approx_quantized(A, 16_000, quantizer=quantizer, certify=False)
    assert approx_quantized(A, 16_000, certify=False).cost < 0.9 * scalar.cost


def test_fewer_bytes_and_less_error_than_int4() -> None:
    A = falling(3000, 32)
    found = approx_quantized(A, int(3000 * 32 * 4.5 / 8), certify=False)
    assert found.cost < 0.5 * found.int4_cost


@pytest.mark.parametrize("p", [1.0, 1.5])
def test_rounds_of_majorisation_lower_the_cost(p: float) -> None:
    A = falling(2000)
    A[:40] += np.random.default_rng(1).standard_normal((40, 12))
    rounds = approx_quantized(A, 9000, p, certify=False)
    assert rounds.cost <= approx_quantized(A, 9000, p, certify=False, max_iter=1).cost
    squares = approx_quantized(A, 9000, 2.0, certify=False)
    off = np.linalg.norm(A - squares.dense(), axis=1) ** p
    assert rounds.cost < off.sum()


def test_zero_constant_and_equal_rows() -> None:
    A = np.zeros((50, 4))
    assert approx_quantized(A, 200).cost == 0.0
    assert not approx_quantized(A, 200).dense().any()
    found = approx_quantized(np.ones((50, 4)), 400)
    assert found.cost < 1e-4
    A[7] = 3.0
    assert approx_quantized(A, 400).cost < 1e-3


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_sizes_do_not_matter(size: float) -> None:
    A = falling(200)
    small, plain = approx_quantized(size * A, 1500), approx_quantized(A, 1500)
    assert small.norm_error == pytest.approx(size * plain.norm_error, rel=1e-3)
    small.verify(size * A)


def test_rows_of_weight_0_take_nothing() -> None:
    A, omega = falling(400), np.ones(400)
    omega[200:] = 0.0
    found = approx_quantized(A, 3000, row_weights=omega, groups=4)
    strides = found._layout.strides
    assert max(strides[found.labels[200:]]) <= min(strides[found.labels[:200]])
    assert found.cost < approx_quantized(A, 3000, groups=4).cost


def test_saved_and_loaded(tmp_path: Path) -> None:
    A = falling()
    found = approx_quantized(A, 4000)
    found.save(tmp_path / "q.npz")
    assert 0 <= os.path.getsize(tmp_path / "q.npz") - found.nbytes <= 4096
    again = QuantizedResult.load(tmp_path / "q.npz")
    again.verify(A)
    np.testing.assert_array_equal(again.codes, found.codes)
    np.testing.assert_allclose(again.dense(), found.dense(), rtol=1e-9, atol=1e-12)
    wanted = found.dense()[[3, 3, -1]]
    np.testing.assert_allclose(again.rows([3, 3, -1]), wanted, rtol=1e-9, atol=1e-12)
    assert again.summary() == found.summary()


@pytest.mark.parametrize(
    "change",
    [
        {"norm_error": 0.9}, {"truncation_norm": 0.9}, {"lower_bound": 1.01}, {"scale_codes": 1},
        {"codes": 1}, {"bits": 1}, {"labels": 1}, {"means": 1}, {"weights_digest": 1},
    ],
)  # fmt: skip
def test_forgeries_are_refused(change: dict[str, float]) -> None:
    A = falling()
    found = approx_quantized(A, 4000)
    ((name, by),) = change.items()
    value = getattr(found, name)
    if isinstance(value, float):
        value = value * by
    elif isinstance(value, str):
        value = "0" * 64
    else:
        value = value.copy()
        value.flat[0] += value.dtype.type(1)
    with pytest.raises((CertificateError, ValueError)):
        dataclasses.replace(found, **{name: value}).verify(A)


def test_other_rows_and_weights_are_refused() -> None:
    A = falling()
    found = approx_quantized(A, 4000)
    with pytest.raises(CertificateError, match="shape"):
        found.verify(A[1:])
    with pytest.raises(CertificateError, match="cost is stated"):
        found.verify(A + 0.01)
    with pytest.raises(CertificateError, match="other row weights"):
        found.verify(A, row_weights=np.ones(len(A)))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"nbytes": 0}, "nbytes"), ({"nbytes": 2.5}, "nbytes"), ({"p": 0.5}, "p"),
        ({"bits": ()}, "bits"), ({"bits": (9,)}, "bits"), ({"bits": "most"}, "bits"),
        ({"bits": (2, 32)}, "bits"),
        ({"groups": 0}, "groups"), ({"groups": 257}, "groups"), ({"quantizer": "x"}, "quantizer"),
        ({"row_weights": -np.ones(900)}, "weights"), ({"seed": -1}, "seed"),
    ],
)  # fmt: skip
def test_bad_options(options: dict, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        approx_quantized(falling(), **{"nbytes": 4000, **options})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_entries(bad: float) -> None:
    A = falling(40)
    A[3, 2] = bad
    with pytest.raises(ValueError, match="finite|NaN|inf"):
        approx_quantized(A, 1000)


@pytest.mark.unchanged
def test_the_input_stays_and_the_answer_repeats() -> None:
    A = falling().astype(np.float32)[:, ::-1]
    before = A.copy()
    first, second = approx_quantized(A, 4000, seed=3), approx_quantized(A, 4000, seed=3)
    np.testing.assert_array_equal(A, before)
    np.testing.assert_array_equal(first.codes, second.codes)


def test_the_bound_holds_for_other_rows_of_these_ranks() -> None:
    A = falling(600)
    found = approx_quantized(A, 2200)
    best = 0.0
    for c, k in enumerate(found.ranks):
        sigma = np.linalg.svd(A[found.labels == c], compute_uv=False)
        best += float((sigma[k:] ** 2).sum())
    assert 0.99 * best <= found.lower_bound <= best


def test_large_data_are_coded_after_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    A = falling(4000)
    whole = approx_quantized(A, 16_000, certify=False)
    monkeypatch.setattr("lpgeom.quantized.approx.LARGE", 12_000)
    monkeypatch.setattr("lpgeom.quantized.measure.BLOCK", 6_000)
    found = approx_quantized(A, 16_000, certify=False)
    assert found.nbytes <= 16_000
    assert found.cost < 1.15 * whole.cost
    assert found.cost == pytest.approx(cost(A, found), rel=1e-9)
    # Nothing of what is stated is summed in float32, where little is lost either.
    close = approx_quantized(A, 50_000, certify=False)
    assert close.cost == pytest.approx(cost(A, close), rel=1e-11)
    close.verify(A)
    assert lpgeom.approx_quantized is approx_quantized


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_widths_of_0_and_32_are_the_ranks_of_approx_mixed(p: float) -> None:
    A = falling(500)
    omega = 1.0 / np.arange(1, 501)
    found = approx_quantized(A, 9_000, p, bits=(0, 32), row_weights=omega, groups=3)
    assert found.nbytes <= 9_000
    numbers = mixed_within(A, 9_000, p, 3, omega, 0).budget
    mixed = lpgeom.approx_mixed(A, numbers, p, subspaces=3, row_weights=omega)
    assert mixed.ranks == found.ranks
    np.testing.assert_array_equal(mixed.labels, found.labels)
    assert found.cost == pytest.approx(mixed.cost, rel=1e-5)
    assert found.truncation_cost == pytest.approx(mixed.cost, rel=1e-5)
    assert found.lower_bound == pytest.approx(mixed.lower_bound, rel=0.02)
    found.verify(A, row_weights=omega)
    with pytest.raises(ValueError, match="too few for a rank"):
        approx_quantized(A, 1_017, p, bits=(0, 32))


@pytest.mark.parametrize("p", [4.0, 20.0, 100.0])
def test_large_powers_are_no_worse_than_int4(p: float) -> None:
    A = falling(300, 8)
    found = approx_quantized(A, 300 * 8 * 4, p)
    assert found.norm_error < found.int4_norm
    found.verify(A)


def test_dask_arrays_with_weights() -> None:
    da = pytest.importorskip("dask.array")
    A, omega = falling(), np.arange(900.0)
    lazy = approx_quantized(da.from_array(A, chunks=(250, 12)), 4000, row_weights=omega)
    lazy.verify(A, row_weights=omega)
    assert lazy.cost == pytest.approx(approx_quantized(A, 4000, row_weights=omega).cost, rel=1e-3)


@pytest.mark.parametrize(("size", "dtype"), [(1e-40, "f4"), (1e37, "f4"), (1e-310, "f8")])
def test_the_ends_of_a_type(size: float, dtype: str) -> None:
    A = (falling(200) * size).astype(dtype)
    found = approx_quantized(A, 1500)
    assert 0.0 < found.norm_error < 0.5 * np.linalg.norm(A.astype(np.float64) / size) * size
    found.verify(A)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_norms_stay_finite_where_costs_do_not(size: float) -> None:
    A = falling(400) * size
    with_bound, without = (approx_quantized(A, 2600, certify=certify) for certify in (True, False))
    assert max(without.ranks) < 12
    assert 0.0 < without.truncation_norm < np.inf
    assert without.truncation_norm == pytest.approx(with_bound.truncation_norm, rel=1e-9)
    without.verify(A)


def test_dependent_columns_count_in_the_rank_that_is_certified() -> None:
    """Two equal columns of the basis are one direction, and a bound for one would be too high."""
    A = falling(600)
    found = approx_quantized(A, 2200)
    basis = found.basis.copy()
    basis[:, 1] = basis[:, 0]
    twice = dataclasses.replace(found, basis=basis)
    for c, k in enumerate(found.ranks):
        V = span(twice, c)
        assert V.shape == (12, min(k, 12))
        np.testing.assert_allclose(V.T @ V, np.eye(V.shape[1]), atol=1e-12)
    _, bound, _ = proved(twice, A.__getitem__, None, True)
    best = 0.0
    for c, k in enumerate(found.ranks):
        best += float((np.linalg.svd(A[found.labels == c], compute_uv=False)[k:] ** 2).sum())
    assert bound <= best * (1.0 + 1e-9)


@pytest.mark.parametrize("name", ["int8_norm", "int4_norm"])
@pytest.mark.parametrize("by", [0.99, 1.01])
def test_forged_casts_are_refused(name: str, by: float) -> None:
    A, omega = falling(), np.linspace(0.0, 1.0, 900)
    found = approx_quantized(A, 4000, row_weights=omega)
    found.verify(A, row_weights=omega)
    forged = dataclasses.replace(found, **{name: by * getattr(found, name)})
    with pytest.raises(CertificateError, match="cost is stated"):
        forged.verify(A, row_weights=omega)


def test_a_probability_that_is_less_than_what_is_proved_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    A = falling()
    found = approx_quantized(A, 4000)
    norm, bound, _ = proved(found, A.__getitem__, None, True)
    monkeypatch.setattr("lpgeom.quantized.record.proved", lambda *_: (norm, bound, 1e-3))
    with pytest.raises(CertificateError, match="failure probability is stated as 0.0"):
        found.verify(A)
    dataclasses.replace(found, failure_probability=1e-3).verify(A)


def test_long_rows_of_weight_0() -> None:
    A, omega = falling(200) * 1e-200, np.ones(200)
    A[0], omega[0] = 1e200, 0.0
    with pytest.raises(ValueError, match="rows of weight 0 are so long"):
        approx_quantized(A, 1500, row_weights=omega)
    A[0] = 1e-100
    approx_quantized(A, 1500, row_weights=omega).verify(A, row_weights=omega)
    A = (falling(200) * 1e-40).astype(np.float32)
    A[0] = 1e38
    approx_quantized(A, 1500, row_weights=omega).verify(A, row_weights=omega)
