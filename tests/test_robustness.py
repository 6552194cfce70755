"""Inputs at the ends of what float64 holds: an answer whose statements hold, or a clear error."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from fuzz.mutate import blind, mutated
from fuzz.seeds import seeds
from fuzz.targets import TARGETS

import lpgeom


def gauss(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


# ---------------------------------------------------------------- found and fixed


@pytest.mark.parametrize("p", [3.0, 4.0, 20.0, 100.0])
@pytest.mark.parametrize("factor", [1e-150, 1e-300, 1e4, 1e14])
def test_weights_that_underflow_divide_nothing(p: float, factor: float) -> None:
    A = gauss(30, 4)
    A[:1] *= factor
    lewis = lpgeom.lewis_weights(A, p)
    assert 1.0 <= lewis.kappa < 1.1
    assert np.isclose(lewis.weights.sum(), 4.0)
    assert (lewis.weights > 0.0).all() or factor == 1e-300  # whose squares are 0


def spread_out(seed: int, kind: str) -> tuple[np.ndarray, int, np.ndarray]:
    """Data, k and row weights over 300 decades."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(8, 60)), int(rng.integers(3, 9))
    k = int(rng.integers(1, d - 1))
    A = rng.standard_normal((n, d))
    if kind == "lengths":
        A *= np.exp(rng.uniform(-8.0, 8.0, (n, 1)))
    elif kind == "one long":
        A[0] *= 1e6
    elif kind == "twice":
        A = A[rng.integers(0, n // 2, n)]
        A[: n // 4] = 0.0
    return A, k, 10.0 ** rng.uniform(-150.0, 150.0, n)


@pytest.mark.parametrize(
    ("p", "seed", "kind"),
    [
        (3.0, 18, "one long"),
        (3.0, 24, "twice"),
        (4.0, 10, "plain"),
        (8.0, 10, "plain"),
        (8.0, 24, "twice"),
        (20.0, 6, "lengths"),
        (50.0, 18, "one long"),
    ],
)
def test_bounds_stand_for_every_evaluation_of_their_witness(p: float, seed: int, kind: str) -> None:
    A, k, omega = spread_out(seed, kind)
    result = lpgeom.approx_subspace(A, k, p, row_weights=omega)
    assert result.certificate is not None
    result.certificate.verify(A)
    assert 0.0 <= result.lower_bound <= result.cost


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 8.0, np.inf])
@pytest.mark.parametrize("weight", [5e-324, 1e-310, 1e-200])
def test_some_weights_are_subnormal(p: float, weight: float) -> None:
    A = gauss(40, 5)
    omega = np.ones(40)
    omega[:5] = weight
    result = lpgeom.approx_subspace(A, 2, p, row_weights=omega)
    assert result.certificate is not None
    result.certificate.verify(A)
    assert 0.0 < result.lower_bound <= result.cost


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1.7e308])
def test_weights_and_data_that_leave_float64_are_an_error(size: float) -> None:
    A = gauss(40, 5) * (100.0 if size > 1.0 else 0.01)
    with pytest.raises(OverflowError, match="row_weights"):
        lpgeom.approx_subspace(A, 2, 1.0, row_weights=np.full(40, size))


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_all_weights_are_subnormal(p: float) -> None:
    A = gauss(40, 5)
    result = lpgeom.approx_subspace(A, 2, p, row_weights=np.full(40, 1e-310))
    assert result.certificate is not None
    result.certificate.verify(A)
    plain = lpgeom.approx_subspace(A, 2, p)
    assert result.ratio == pytest.approx(plain.ratio, rel=1e-9)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ("tensors",)])
def test_inputs_that_were_findings_and_mutations_of_valid_ones(name: str, tmp_path: Path) -> None:
    """What ``python -m tests.fuzz`` found, and a few inputs of its kind (the same each time)."""
    folder = tmp_path / "input"
    folder.mkdir()
    pool = seeds(name)
    rng = random.Random(0)
    inputs = [*pool, *(mutated(name, rng.choice(pool), rng, blind(rng)) for _ in range(60))]
    for data in inputs:
        TARGETS[name](data, folder)


# ---------------------------------------------------------------- one row far longer than the rest


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
@pytest.mark.parametrize("length", [1e15, 1e16, 1e18, 1e200])
def test_no_cost_of_zero_that_is_not_there(p: float, length: float) -> None:
    A = gauss(40, 5)
    A[0] *= length
    result = lpgeom.approx_subspace(A, 1, p)
    assert result.certificate is not None
    result.certificate.verify(A)
    assert result.method == "longest rows"
    assert (result.lower_bound, result.ratio, result.guarantee) == (0.0, np.inf, np.inf)
    # Residuals in longer arithmetic. The others cost 60 or so each power of their number.
    B, V = A.astype(np.longdouble), result.basis.astype(np.longdouble)
    y = np.sqrt(((B - (B @ V) @ V.T) ** 2).sum(axis=1))
    off = 1e-15 * np.sqrt((B**2).sum(axis=1))
    norm = float(np.max(y) if np.isinf(p) else (y**p).sum() ** np.longdouble(1.0 / p))
    slack = float(np.max(off) if np.isinf(p) else (off**p).sum() ** np.longdouble(1.0 / p))
    assert result.norm_error > 1.0
    assert abs(result.norm_error - norm) <= 1e-9 * norm + slack
    given = lpgeom.certify(A, result.basis, p)
    assert given.cost > 0.0
    assert given.ratio == np.inf
    if not np.isinf(p):
        (point,) = lpgeom.cost_curve(A, p=p, ks=[1]).results
        assert point.cost > 0.0
        assert point.ratio == np.inf


@pytest.mark.parametrize("shape", [(40, 6), (5, 40), (3000, 8)])
@pytest.mark.parametrize("spread", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("p", [1.0, 3.0, np.inf])
def test_rows_in_a_subspace_cost_nothing_whatever_their_lengths(
    shape: tuple[int, int], spread: float, p: float
) -> None:
    rng = np.random.default_rng(1)
    A = rng.standard_normal((shape[0], 3)) @ rng.standard_normal((3, shape[1]))
    A *= np.exp(rng.uniform(-spread, spread, (shape[0], 1)))
    for k in (3, 4):
        result = lpgeom.approx_subspace(A, k, p)
        assert (result.cost, result.ratio, result.method) == (0.0, 1.0, "rank")
        assert result.certificate is not None
        result.certificate.verify(A)
        assert lpgeom.certify(A, result.basis, p).ratio == 1.0


@pytest.mark.parametrize("p", [3.0, 8.0])
@pytest.mark.parametrize("length", [1e8, 1e10])
def test_long_rows_leave_something_of_the_bound(p: float, length: float) -> None:
    A = gauss(40, 5)
    A[0] *= length
    result = lpgeom.approx_subspace(A, 1, p)
    assert result.certificate is not None
    result.certificate.verify(A)
    assert result.ratio < 1.5
