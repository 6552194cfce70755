"""The public road: what `approx_subspace`, `certify` and `cost` promise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpgeom
from lpgeom import threads
from lpgeom.geometry import spectrum
from lpgeom.geometry.grassmann import largest_sine
from lpgeom.subspace import approx, solve
from tests import reference
from tests.problems import KINDS, fixed, matrix, problems, random_bases

ALL_P = (1.0, 1.25, 1.5, 1.9, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 30.0)


def svd_basis(A: Any, k: int) -> Any:
    return np.linalg.svd(A)[2][:k].T


def contaminated(n: int, d: int, k: int, factor: float, noise: float, seed: int) -> tuple[Any, Any]:
    """Inliers on a k-subspace plus noise, 5% of the rows longer and in random directions."""
    rng = np.random.default_rng(seed)
    B = np.linalg.qr(rng.standard_normal((d, k)))[0]
    A = rng.standard_normal((n, k)) @ B.T + noise * rng.standard_normal((n, d))
    outliers = rng.choice(n, n // 20, replace=False)
    Z = rng.standard_normal((len(outliers), d))
    A[outliers] = factor * math.sqrt(k) * Z / np.linalg.norm(Z, axis=1)[:, None]
    return A, B


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples, float32 passes and threads on tiny input."""
    for module in (approx, solve, spectrum):
        monkeypatch.setattr(module, "LARGE", 1)
    monkeypatch.setattr(threads, "SERIAL_SIZE", 0.0)
    monkeypatch.setattr(threads, "SMALL_PROBLEM", 0)


@pytest.mark.slow
@fixed
@given(problems(ALL_P), st.booleans(), st.integers(0, 1000))
def test_promises(problem: tuple[Any, int, float], weighted: bool, seed: int) -> None:
    A, k, p = problem
    rng = np.random.default_rng(seed)
    omega = rng.uniform(0.1, 3.0, len(A)) if weighted else None
    result = lpgeom.approx_subspace(A, k, p, row_weights=omega, seed=seed)
    B = A if omega is None else reference.weighted(A, omega, p)
    d = A.shape[1]
    V = result.basis
    assert V.shape == (d, k)
    np.testing.assert_allclose(V.T @ V, np.eye(k), atol=1e-12)
    size = reference.cost_rows(B, svd_basis(B, k), 2.0) ** 0.5
    # Norms agree to rounding in units of A, whatever cancels in the residual.
    rounding = 1e-13 * np.linalg.norm(B) * len(B)
    assert result.norm_error == pytest.approx(
        reference.cost_rows(B, V, p) ** (1 / p), rel=1e-9, abs=rounding
    )
    assert result.cost <= result.svd_cost * (1.0 + 1e-12)
    assert result.svd_cost ** (1 / p) == pytest.approx(
        reference.cost_rows(B, svd_basis(B, k), p) ** (1 / p), rel=1e-6, abs=rounding + 1e-6 * size
    )
    assert result.lower_bound <= result.cost
    assert result.ratio >= 1.0
    if k < np.linalg.matrix_rank(B):
        rank = np.linalg.matrix_rank(B)
        assert result.guarantee <= (1.1 * rank) ** abs(1 / p - 0.5)
        for U in random_bases(d, k, 5, rng):
            other = reference.cost_rows(B, U, p)
            assert result.lower_bound <= other * (1.0 + 1e-12) + rounding**p
            assert result.norm_error <= result.guarantee * other ** (1 / p) + rounding
    assert all(b <= a for a, b in zip(result.history, result.history[1:], strict=False))
    assert result.history[-1] == pytest.approx(result.cost, rel=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 10.0])
@pytest.mark.parametrize("kind", ["gauss", "heavy", "duplicates", "zero rows", "scales", "exact"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_road_for_large_data(p: float, kind: str, dtype: str) -> None:
    """Samples and float32 search, float64 answers: the same promises, near the same cost."""
    A = matrix(kind, 600, 9, 11).astype(dtype)
    k = 4
    result = lpgeom.approx_subspace(A, k, p)
    exact = A.astype(np.float64)
    assert result.cost == pytest.approx(reference.cost_rows(exact, result.basis, p), rel=1e-9)
    assert result.cost <= reference.cost_rows(exact, svd_basis(exact, k), p) * (1.0 + 1e-9)
    assert result.lower_bound <= result.cost
    assert result.guarantee <= (2.5 * 9) ** abs(1 / p - 0.5)
    careful = lpgeom.approx_subspace(A, k, p, method="irls", tol=1e-9, max_iter=1000)
    assert result.cost <= careful.cost * (1.03 if p <= 3 else 1.3)
    assert all(b <= a for a, b in zip(result.history, result.history[1:], strict=False))
    tight = lpgeom.approx_subspace(A, k, p, tol=1e-9)
    assert tight.cost <= result.cost * (1.0 + 1e-12)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("noise", [1e-3, 0.0])
@pytest.mark.parametrize("factor", [10.0, 20.0])
def test_samples_find_the_inliers(noise: float, factor: float) -> None:
    A, B = contaminated(2000, 30, 10, factor, noise, 3)
    result = lpgeom.approx_subspace(A, 10, 1.0)
    assert largest_sine(B, result.basis) < 1e-2
    assert largest_sine(B, svd_basis(A, 10)) > 0.3


@pytest.mark.parametrize(
    ("n", "d", "k"), [(2000, 50, 5), (3000, 100, 20), (500, 80, 10), (20000, 64, 30)]
)
@pytest.mark.parametrize("factor", [10.0, 20.0])
def test_contaminated(n: int, d: int, k: int, factor: float) -> None:
    A, B = contaminated(n, d, k, factor, 1e-3, n + d)
    result = lpgeom.approx_subspace(A, k, 1.0)
    assert largest_sine(B, result.basis) < 1e-2
    assert result.ratio < 1.01
    assert result.cost < 0.8 * result.svd_cost


def test_exact_recovery() -> None:
    A, B = contaminated(500, 40, 6, 10.0, 0.0, 0)
    result = lpgeom.approx_subspace(A, 6, 1.0)
    assert largest_sine(B, result.basis) < 1e-8


@pytest.mark.parametrize("kind", ["gauss", "heavy", "scales", "duplicates"])
@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (300, 12)])
def test_p_two_is_the_svd(kind: str, shape: tuple[int, int]) -> None:
    A = matrix(kind, *shape, 5)
    sigma = np.linalg.svd(A, compute_uv=False)
    k = 3
    result = lpgeom.approx_subspace(A, k, 2.0)
    assert result.cost == pytest.approx((sigma[k:] ** 2).sum(), rel=1e-10)
    assert result.ratio - 1.0 <= 1e-9
    assert result.guarantee == 1.0
    assert result.certificate is not None
    assert result.certificate.best is not None
    assert result.certificate.best.name in ("spectral", "rank")


@pytest.mark.parametrize("condition", [1e4, 1e7, 1e10])
def test_p_two_survives_squaring(condition: float) -> None:
    """Where the Gram has lost the residual, the QR road has not."""
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.standard_normal((200, 10)))[0]
    V = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    sigma = np.geomspace(1.0, 1.0 / condition, 10)
    A = U * sigma @ V.T
    result = lpgeom.approx_subspace(A, 7, 2.0)
    rounding = 1e-14 / sigma[7]
    assert result.norm_error == pytest.approx(np.linalg.norm(sigma[7:]), rel=1e-9 + rounding)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 10.0])
@pytest.mark.parametrize("k", [3, 4, 6])
def test_rank_reached(p: float, k: int) -> None:
    rng = np.random.default_rng(1)
    A = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 7))
    for data in (A, A * 1e-150, A * 1e150, A[:, ::-1]):
        result = lpgeom.approx_subspace(data, k, p)
        assert (result.cost, result.ratio, result.method) == (0.0, 1.0, "rank")
        np.testing.assert_allclose(
            data @ result.basis @ result.basis.T, data, atol=1e-12 * np.abs(data).max()
        )
        assert result.certificate is not None
        result.certificate.verify(data)
    below = lpgeom.approx_subspace(A, 2, p)
    assert below.cost > 0.0
    assert below.method != "rank"


def test_all_zero() -> None:
    result = lpgeom.approx_subspace(np.zeros((5, 4)), 2)
    assert (result.cost, result.lower_bound, result.ratio, result.method) == (0.0, 0.0, 1.0, "rank")


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, 1.5, 3.0, 10.0])
def test_invariances(p: float) -> None:
    A = matrix("gauss", 40, 5, 9)
    rng = np.random.default_rng(0)
    want = lpgeom.approx_subspace(A, 2, p, max_iter=2000, tol=1e-10)
    turned = A @ np.linalg.qr(rng.standard_normal((5, 5)))[0]
    cases = {
        "scaled": (A * 2.0**40, None, 2.0 ** (40 * p)),
        "rotated": (turned, None, 1.0),
        "permuted": (A[rng.permutation(40)], None, 1.0),
        "rows twice": (np.repeat(A, 2, axis=0), None, 2.0),
        "weight 2": (A, np.full(40, 2.0), 2.0),
        "a row of weight 0": (np.r_[A, 99.0 * A[:1] + 1.0], np.r_[np.ones(40), 0.0], 1.0),
        "a zero row": (np.r_[A, np.zeros((1, 5))], None, 1.0),
    }
    for name, (B, omega, factor) in cases.items():
        got = lpgeom.approx_subspace(B, 2, p, row_weights=omega, max_iter=2000, tol=1e-10)
        assert got.cost / factor == pytest.approx(want.cost, rel=1e-4), name
        assert got.ratio == pytest.approx(want.ratio, rel=1e-3), name


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e-20, 1e20, 1e150, 1e300])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 10.0])
def test_scales(scale: float, p: float) -> None:
    A = matrix("heavy", 30, 5, 2)
    A = A / np.abs(A).max()
    want = lpgeom.approx_subspace(A, 2, p)
    got = lpgeom.approx_subspace(A * scale, 2, p)
    # The entries are rounded anew, and descents end where they promise little, not at one point.
    assert got.norm_error == pytest.approx(want.norm_error * scale, rel=1e-4)
    assert got.ratio == pytest.approx(want.ratio, rel=3e-3)
    binary = lpgeom.approx_subspace(np.ldexp(A, -900), 2, p)
    assert binary.norm_error == math.ldexp(want.norm_error, -900)
    assert binary.ratio == want.ratio
    assert np.array_equal(binary.basis, want.basis)
    # The p-th power may leave the range, and then says so rather than wrong.
    exponent = math.log10(want.cost) + p * math.log10(scale)
    if exponent > 309:
        assert got.cost == math.inf
    elif exponent < -325:
        assert got.cost == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_dtypes_and_layouts(p: float, tmp_path: Path) -> None:
    A = np.round(20.0 * matrix("gauss", 60, 6, 4))
    want = lpgeom.approx_subspace(A, 2, p)
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype="f4", shape=A.shape)
    mapped[:] = A
    padded = np.zeros((60, 12))
    padded[:, ::2] = A
    for same in (
        A.astype("f4"),
        A.astype("f2"),
        A.astype("i2"),
        A.astype("i8"),
        A.astype(">f8"),
        A.astype(np.longdouble),
        np.asfortranarray(A),
        padded[:, ::2],
        A.tolist(),
        mapped,
        np.lib.format.open_memmap(tmp_path / "a.npy", mode="r"),
    ):
        assert lpgeom.approx_subspace(same, 2, p).cost == pytest.approx(want.cost, rel=1e-9)


def test_input_is_left_alone() -> None:
    A = matrix("gauss", 50, 5, 0)
    omega = np.ones(50)
    copies = A.copy(), omega.copy()
    A.flags.writeable = omega.flags.writeable = False
    lpgeom.approx_subspace(A, 2, 1.0, row_weights=omega)
    assert np.array_equal(A, copies[0])
    assert np.array_equal(omega, copies[1])


@pytest.mark.usefixtures("small_is_large")
def test_seeds_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    A, _ = contaminated(1500, 20, 6, 10.0, 1e-3, 0)
    one = lpgeom.approx_subspace(A, 6, 1.0, seed=1)
    again = lpgeom.approx_subspace(A, 6, 1.0, seed=1)
    assert np.array_equal(one.basis, again.basis)
    assert (one.cost, one.history) == (again.cost, again.history)
    assert lpgeom.approx_subspace(A, 6, 1.0, seed=2).cost == pytest.approx(one.cost, rel=1e-4)
    for count in ("1", "3"):
        monkeypatch.setenv("LPGEOM_NUM_THREADS", count)
        assert lpgeom.approx_subspace(A, 6, 1.0, seed=1).cost == pytest.approx(one.cost, rel=1e-6)


@pytest.mark.parametrize("p", [1.0, 3.0])
def test_methods(p: float) -> None:
    A = matrix("heavy", 60, 6, 3)
    results = {m: lpgeom.approx_subspace(A, 2, p, method=m) for m in approx.METHODS}
    assert results["svd"].method == "svd"
    assert results["svd"].cost == pytest.approx(reference.cost_rows(A, svd_basis(A, 2), p))
    assert results["lewis"].method == "lewis"
    w = lpgeom.lewis_weights(A, p, tol=1e-2)
    assert largest_sine(np.linalg.eigh(w.M)[1][:, 4:], results["lewis"].basis) < 0.05
    assert math.isfinite(results["lewis"].guarantee)
    for name in ("auto", "irls"):
        assert results[name].cost <= min(results["svd"].cost, results["lewis"].cost)
        assert " from " in results[name].method


def test_certify_false_and_max_iter() -> None:
    A = matrix("gauss", 60, 8, 1)
    result = lpgeom.approx_subspace(A, 3, 1.0, certify=False, max_iter=1, tol=1e-12)
    assert result.certificate is None
    assert (result.lower_bound, result.ratio) == (0.0, math.inf)
    assert not result.converged
    assert result.n_iter == 1
    assert "none computed" in result.summary()


def test_factors_reproduce_the_projection() -> None:
    A = matrix("gauss", 30, 6, 1)
    result = lpgeom.approx_subspace(A, 2, 1.0)
    left, right = result.factors(A)
    assert (left.shape, right.shape) == ((30, 2), (2, 6))
    residual = reference.residuals(A, result.basis)
    np.testing.assert_allclose(np.linalg.norm(A - left @ right, axis=1), residual, rtol=1e-9)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_cost(p: float, weighted: bool) -> None:
    A = matrix("heavy", 30, 5, 0)
    omega = np.random.default_rng(0).uniform(0.0, 2.0, 30) if weighted else None
    V = random_bases(5, 2, 1, np.random.default_rng(1))[0]
    B = A if omega is None else reference.weighted(A, omega, p)
    rows = lpgeom.cost(A, V, p, row_weights=omega)
    assert rows == pytest.approx(reference.cost_rows(B, V, p), rel=1e-12)
    entries = lpgeom.cost(A, V, p, "entries", row_weights=omega)
    assert entries == pytest.approx(reference.cost_entries(B, B @ V @ V.T, p), rel=1e-12)
    assert lpgeom.cost(A * 1e-100, V, 1.0, row_weights=omega) == pytest.approx(
        1e-100 * lpgeom.cost(A, V, 1.0, row_weights=omega), rel=1e-12
    )


@pytest.mark.slow
@fixed
@given(problems(), st.integers(0, 1000))
def test_certify_any_subspace(problem: tuple[Any, int, float], seed: int) -> None:
    A, k, p = problem
    V = random_bases(A.shape[1], k, 1, np.random.default_rng(seed))[0]
    own = lpgeom.certify(A, V @ np.diag(np.arange(1.0, k + 1.0)), p)
    assert own.k == k
    assert largest_sine(V, own.basis) < 1e-9
    cost = reference.cost_rows(A, V, p)
    assert own.cost == pytest.approx(cost, rel=1e-9, abs=1e-12 * np.linalg.norm(A) ** p)
    best = lpgeom.approx_subspace(A, k, p)
    assert own.lower_bound <= best.cost * (1.0 + 1e-9) + 1e-12 * np.linalg.norm(A) ** p
    if math.isfinite(own.guarantee) and best.cost > 0.0:
        assert own.cost ** (1 / p) <= own.guarantee * best.norm_error * (1.0 + 1e-9)


def test_certify_beyond_the_rank() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20, 2)) @ rng.standard_normal((2, 5))
    span = svd_basis(A, 2)
    good = lpgeom.certify(A, span, 1.0)
    assert (good.cost, good.ratio) == (0.0, 1.0)
    bad = lpgeom.certify(A, np.eye(5)[:, :2], 1.0)
    assert bad.cost > 0.1
    assert bad.ratio == math.inf


@pytest.mark.parametrize("kind", KINDS)
def test_result_reads_well(kind: str) -> None:
    A = matrix(kind, 30, 5, 8)
    result = lpgeom.approx_subspace(A, 1, 1.0)
    text = result.summary() + repr(result)
    assert "nan" not in text
    assert result.components.shape == (1, A.shape[1])
    assert result.backend == "cpu"
    assert result.seconds > 0.0
    assert result.n_passes > 0.0


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    A = matrix("gauss", 60, 6, 0)
    lpgeom.approx_subspace(A, 2, 1.0, certify=False)
    assert capsys.readouterr() == ("", "")
    lpgeom.approx_subspace(A, 2, 1.0, certify=False, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "descent" in err


def test_interrupt_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(solve, "lewis_iteration", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lpgeom.approx_subspace(matrix("gauss", 30, 4, 0), 2, 1.0, progress=True)
    assert threads.blas_threads() >= 1


@pytest.mark.slow
def test_warmup_runs() -> None:
    lpgeom.warmup()


def test_names() -> None:
    assert set(lpgeom.__all__) <= set(dir(lpgeom))
    for name in lpgeom.__all__:
        assert getattr(lpgeom, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lpgeom.nothing


def test_a_hundred_is_not_too_large_a_power() -> None:
    """p = 100 stays finite in scaled units, and the ratio is one of norms."""
    A = matrix("heavy", 60, 6, 1)
    result = lpgeom.approx_subspace(A / np.abs(A).max(), 2, 100.0)
    assert 0.0 < result.norm_error < math.inf
    assert 1.0 <= result.ratio < 1.2
    assert result.guarantee < 2.0 * math.sqrt(6.0)
    # The norm tends to the largest residual.
    worst = max(reference.residuals(A / np.abs(A).max(), result.basis))
    assert worst <= result.norm_error <= worst * 60.0**0.01
