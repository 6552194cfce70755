"""Factors of one weight: what they cost as stored, what is proved, hard matrices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from models import generator
from torch import Tensor

import lpgeom.nn.factors.factor as solvers
from lpgeom import approx_subspace
from lpgeom.bounds.relaxation import GAP
from lpgeom.nn.factors.factor import curve_of, factorise
from lpgeom.nn.factors.factored import Metric, Spec
from lpgeom.nn.plan.calibration import RIDGE

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def weight(n: int = 30, d: int = 8, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Heavy rows on falling scales."""
    g = generator(seed)
    W = torch.randn(n, d, generator=g, dtype=torch.float64)
    W *= torch.exp(torch.randn(n, 1, generator=g, dtype=torch.float64))
    return (W * torch.linspace(1.0, 0.2, d, dtype=torch.float64)).to(dtype)


def metric_of(d: int, seed: int = 0) -> Metric:
    X = np.random.default_rng(seed).standard_normal((4 * d, d)) * np.linspace(0.1, 3.0, d)
    values, U = np.linalg.eigh(X.T @ X / len(X))
    roots = np.sqrt(values + RIDGE * values.mean())
    return Metric((U * roots) @ U.T, (U / roots) @ U.T)


def stored(found: Any) -> np.ndarray:
    """The product of the factors as they are stored, row by row in float64."""
    factors = found.factors
    pairs = [(left.double().numpy(), right.double().numpy()) for left, right in zip(
        factors.lefts, factors.rights, strict=True)]  # fmt: skip
    products = [left if len(right) < left.shape[1] else left @ right for left, right in pairs]
    if factors.labels is None:
        return np.asarray(products[0])
    index = zip(factors.labels.tolist(), factors.places.tolist(), strict=True)
    return np.stack([products[c][at] for c, at in index])


def left_rows(found: Any) -> Tensor:
    """The rows of the left factors in the order of the weight's."""
    factors = found.factors
    if factors.labels is None:
        return factors.lefts[0]  # type: ignore[no-any-return]
    index = zip(factors.labels.tolist(), factors.places.tolist(), strict=True)
    return torch.stack([factors.lefts[c][at] for c, at in index])


def naive_cost(
    W: Tensor, B: Any, spec: Spec, omega: Any = None, metric: Metric | None = None
) -> float:
    residual = W.double().numpy() - B
    if metric is not None:
        residual = residual @ metric.root
    if spec.objective == "entries":
        rows = (np.abs(residual) ** spec.p).sum(axis=1)
    else:
        rows = np.sqrt((residual**2).sum(axis=1)) ** spec.p
    return float(np.sum(rows if omega is None else rows * omega))


def check(W: Tensor, k: int, spec: Spec, omega: Any = None, metric: Metric | None = None) -> Any:
    """Factorise, and compare all that is said of the factors with plain loops."""
    found = factorise(W, k, replace(spec, row_weights=omega, metric=metric))
    n, d = W.shape
    j = spec.subspaces
    factors = found.factors
    assert factors.shape == (n, d)
    assert factors.ranks == (k,) * j
    assert [right.shape for right in factors.rights] == [(k if j == 1 or k < d else 0, d)] * j
    for factor in (*factors.lefts, *factors.rights):
        assert factor.dtype == W.dtype
        assert factor.is_contiguous()
    assert (factors.labels is None) == (j == 1)
    B = stored(found)
    size = naive_cost(W, 0.0, spec, omega, metric)
    np.testing.assert_allclose(found.size, size, rtol=1e-9)
    np.testing.assert_allclose(
        found.cost, naive_cost(W, B, spec, omega, metric), rtol=1e-9, atol=1e-12 * size
    )
    assert found.cost <= size * (1.0 + 1e-9)
    if spec.certify:
        assert found.lower_bound is not None
        assert 0.0 <= found.lower_bound <= found.cost * (1.0 + 1e-9) + 1e-13 * size
    else:
        assert found.lower_bound is None
    assert 0.0 <= found.failure_probability < 1e-3
    assert len(found.spectrum) == min(n, d)
    seen = W.double().numpy() if metric is None else W.double().numpy() @ metric.root
    if omega is not None:
        seen = seen * np.asarray(omega)[:, None] ** (1.0 / spec.p)
    s = np.linalg.svd(seen, compute_uv=False)
    np.testing.assert_allclose(found.spectrum, s, rtol=1e-6, atol=1e-9 * s[0])
    return found


@pytest.mark.parametrize(
    ("p", "dtype"),
    [
        *((p, torch.float32) for p in (1.0, 1.5, 2.0, 3.0)),
        *((2.0, dtype) for dtype in DTYPES if dtype != torch.float32), (1.0, torch.bfloat16),
    ],
)  # fmt: skip
def test_rows(p: float, dtype: torch.dtype) -> None:
    W = weight(dtype=dtype)
    found = check(W, 4, Spec(p=p))
    exact = approx_subspace(W.double().numpy(), 4, p)
    V = exact.basis
    B = W.double().numpy() @ V @ V.T
    scale = {torch.float64: 1e-9, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
    np.testing.assert_allclose(stored(found), B, atol=scale[dtype] * np.abs(B).max())
    # Rounding is all that lies between the stored factors and the certified ones.
    slack = {torch.float64: 1e-9, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 0.02}
    assert found.cost <= exact.cost * (1.0 + slack[dtype])
    np.testing.assert_allclose(found.svd_cost, exact.svd_cost, rtol=1e-6)
    curve = curve_of(W, Spec(p=p))
    np.testing.assert_allclose(found.svd_cost, curve.cost[4], rtol=1e-6)
    if p == 2.0:
        assert found.lower_bound == pytest.approx(found.svd_cost, rel=1e-9)


@pytest.mark.parametrize(
    ("p", "dtype"), [(1.0, torch.float32), (2.0, torch.float32), (1.0, torch.bfloat16)]
)
def test_entries(p: float, dtype: torch.dtype) -> None:
    W = weight(14, 5, dtype)
    found = check(W, 2, Spec(p=p, objective="entries"))
    assert found.cost <= found.svd_cost * (1.0 + (1e-6 if dtype == torch.float32 else 0.02))


@pytest.mark.parametrize(
    ("p", "dtype"), [(1.0, torch.float32), (2.0, torch.float32), (2.0, torch.float16)]
)
def test_several_subspaces(p: float, dtype: torch.dtype) -> None:
    W = weight(20, 6, dtype)
    found = check(W, 2, Spec(p=p, subspaces=2))
    assert found.factors.labels.dtype == torch.uint8
    one = check(W, 2, Spec(p=p))
    assert found.cost < one.cost


@pytest.mark.parametrize(("p", "j"), [(1.0, 1), (2.0, 1), (2.0, 2)])
def test_row_weights_and_metric(p: float, j: int) -> None:
    W, omega = weight(dtype=torch.float32), 1.0 / np.arange(1.0, 31.0)
    spec = Spec(p=p, subspaces=j)
    weighted = check(W, 4, spec, omega)
    plain = check(W, 4, spec)
    assert weighted.cost <= naive_cost(W, stored(plain), spec, omega) * (1.0 + 1e-6)
    metric = metric_of(8)
    whitened = check(W, 4, spec, None, metric)
    assert whitened.cost <= naive_cost(W, stored(plain), spec, None, metric) * (1.0 + 1e-6)
    check(W, 4, spec, omega, metric)


def test_no_certificate() -> None:
    check(weight(), 3, Spec(certify=False))
    check(weight(), 3, Spec(p=2.0, certify=False, subspaces=2))
    check(weight(16, 5), 2, Spec(certify=False, objective="entries"))


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales(p: float, scale: float) -> None:
    W = weight(dtype=torch.float32)
    found, scaled = check(W, 4, Spec(p=p)), check(W * scale, 4, Spec(p=p))
    assert scaled.cost / scaled.size == pytest.approx(found.cost / found.size, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-35, 1e35])
def test_powers_beyond_float64_are_an_error_not_an_error_of_zero(scale: float) -> None:
    W = weight(dtype=torch.float32) * scale
    for found in (lambda: factorise(W, 4, Spec(p=10.0)), lambda: curve_of(W, Spec(p=10.0))):
        with pytest.raises(ValueError, match="leave the range of float64 at p = 10"):
            found()
    zero = factorise(torch.zeros(9, 4), 2, Spec(p=10.0))
    assert zero.cost == zero.size == 0.0


def test_the_default_device_does_not_matter() -> None:
    W = weight(20, 6, torch.float32)
    expected = factorise(W, 2, Spec(p=2.0))
    with torch.device("meta"):
        found = factorise(W, 2, Spec(p=2.0))
    assert torch.equal(found.factors.lefts[0], expected.factors.lefts[0])
    assert found.cost == expected.cost


SPECS = (Spec(p=1.0), Spec(p=2.0), Spec(p=1.0, objective="entries"), Spec(p=2.0, subspaces=2))


@pytest.mark.parametrize(
    ("spec", "dtype"),
    [*((spec, torch.float32) for spec in SPECS), (SPECS[0], torch.bfloat16)],
    ids=range(5),
)
def test_degenerate_weights(spec: Spec, dtype: torch.dtype) -> None:
    W = weight(12, 4, dtype)
    zero_rows = W.clone()
    zero_rows[::3] = 0.0
    found = check(zero_rows, 2, spec)
    assert not left_rows(found)[::3].any()
    duplicates = W[torch.arange(12) % 5]
    found = check(duplicates, 2, spec)
    assert torch.equal(left_rows(found)[:5], left_rows(found)[5:10])
    zero = check(torch.zeros_like(W), 2, spec)
    assert zero.cost == zero.lower_bound == 0.0
    one_row = torch.zeros_like(W)
    one_row[7] = W[7]
    exact = check(one_row, 2, spec)
    assert exact.cost / exact.size <= (1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("spec", SPECS, ids=range(4))
def test_exact_low_rank_is_recovered(spec: Spec) -> None:
    W = weight(40, 3) @ weight(3, 8, seed=1)
    found = check(W, 3, spec)
    assert found.cost <= 1e-9 * found.size
    assert np.abs(stored(found) - W.numpy()).max() <= 1e-9 * float(W.abs().max())


@pytest.mark.parametrize("spec", SPECS, ids=range(4))
@pytest.mark.parametrize("dtype", DTYPES)
def test_full_rank_is_the_weight(spec: Spec, dtype: torch.dtype) -> None:
    W = weight(24, 6, dtype)
    found = check(W, 6, spec)
    assert found.cost == found.lower_bound == 0.0
    assert np.array_equal(stored(found), W.double().numpy())
    assert found.note == "exact"


def test_full_rank_in_a_metric_is_the_weight() -> None:
    W = weight(40, 8, torch.float32)
    found = check(W, 8, Spec(), None, metric_of(8))
    assert np.array_equal(stored(found), W.double().numpy())


@pytest.mark.parametrize("spec", SPECS[:3], ids=range(3))
def test_wide_weights(spec: Spec) -> None:
    W = weight(5, 14, torch.float32)
    check(W, 2, spec)
    full = check(W, 5, spec)
    assert np.abs(stored(full) - W.double().numpy()).max() <= 1e-6 * float(W.abs().max())
    check(weight(1, 14, torch.float32), 1, spec)


def test_any_layout() -> None:
    W = weight(20, 12, torch.float32)
    plain = check(W, 3, Spec(p=2.0))
    for other in (W.T.contiguous().T, torch.stack([W, W], 2)[..., 1]):
        found = check(other, 3, Spec(p=2.0))
        assert found.cost == pytest.approx(plain.cost, rel=1e-6)
    check(W.T, 4, Spec())  # as Conv1D's are


def test_seed_decides() -> None:
    W = weight()
    for spec in (Spec(seed=3), Spec(p=2.0, seed=3, subspaces=2)):
        a, b = factorise(W, 4, spec), factorise(W, 4, spec)
        assert torch.equal(a.factors.lefts[0], b.factors.lefts[0])
        assert torch.equal(a.factors.rights[0], b.factors.rights[0])
        assert a.cost == b.cost


def test_what_has_no_factors() -> None:
    for bad in (float("nan"), float("inf")):
        for k in (2, 8):
            for spec in SPECS:
                W = weight()
                W[3, 2] = bad
                with pytest.raises(ValueError, match="finite|NaN|infinite"):
                    factorise(W, k, spec)
    W = torch.full((20, 4), 6e4, dtype=torch.float16)
    with pytest.raises(ValueError, match="beyond the range of torch.float16"):
        factorise(W, 1, Spec(p=2.0))


def test_weights_are_read_only_read() -> None:
    W = weight()
    before = W.clone()
    factorise(W, 3, Spec())
    assert torch.equal(W, before)
    factorise(W.requires_grad_(), 3, Spec(p=2.0))
    factorise(weight().share_memory_(), 3, Spec(p=2.0))


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("subspaces", [1, 2])
def test_wide_weights_are_solved_in_their_span(p: float, subspaces: int) -> None:
    """n < d: the same problem in n coordinates, with the same bounds."""
    rng = np.random.default_rng(5)
    A = rng.standard_t(2.0, (18, 60))
    omega = rng.random(18)
    spec = Spec(p=p, subspaces=subspaces)
    found = factorise(torch.from_numpy(A), 5, replace(spec, row_weights=omega))
    if subspaces == 1:
        whole = approx_subspace(A, 5, p, row_weights=omega)
        assert found.cost == pytest.approx(whole.cost, rel=1e-6)
        # Both solve the relaxation as far as the search says, by steps that rounding parts.
        assert found.lower_bound == pytest.approx(whole.lower_bound, rel=GAP["fast"])
        assert found.lower_bound <= whole.cost
    assert found.lower_bound <= found.cost <= found.svd_cost * (1.0 + 1e-12)


def test_layers_of_middling_size_take_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither bound nor cost is any less true for it."""
    A = np.random.default_rng(6).standard_t(2.0, (120, 24))
    usual = factorise(torch.from_numpy(A), 6, Spec(p=1.0))
    monkeypatch.setattr(solvers, "MANY_STEPS", (0, 1 << 20))
    brisk = factorise(torch.from_numpy(A), 6, Spec(p=1.0))
    assert brisk.method.startswith("irls")
    assert usual.cost <= brisk.cost * (1.0 + 1e-9)
    assert brisk.lower_bound <= usual.cost  # a bound for whatever is found
    assert brisk.cost <= brisk.svd_cost
