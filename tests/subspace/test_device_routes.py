"""Whole routes on device arrays: what CuPy would refuse is refused, and the answers are the CPU's.

Here the kernels are the CPU's own (`strict_device`); tests/kernels/cuda runs the device's in the
simulator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.rows import device
from tests.strict_device import DeviceArray, strict_device, to_device, xp

RTOL = 1e-9


def data(n: int = 300, d: int = 12, seed: int = 0, dtype: str = "f8") -> Any:
    rng = np.random.default_rng(seed)
    # A gap after the ranks asked for: without one, a descent's end shows its rounding.
    scale = np.where(np.arange(d) < 4, 6.0 - np.arange(d), np.linspace(1.0, 0.3, d))
    A = rng.standard_normal((n, d)) * scale
    A[: n // 20] *= 20.0
    return A.astype(dtype)


def agree(ours: Any, theirs: Any) -> None:
    """Cost, bounds and subspace of two results."""
    assert ours.cost == pytest.approx(theirs.cost, rel=RTOL)
    assert ours.lower_bound == pytest.approx(theirs.lower_bound, rel=RTOL)
    P, Q = ours.basis @ ours.basis.T, theirs.basis @ theirs.basis.T
    np.testing.assert_allclose(P, Q, atol=RTOL)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 12.0])
@pytest.mark.parametrize("method", ["auto", "irls", "lewis", "svd"])
def test_approx_subspace(p: float, method: str) -> None:
    A = data()
    expected = lpgeom.approx_subspace(A, 4, p, method=method)
    with strict_device():
        found = lpgeom.approx_subspace(to_device(A), 4, p, method=method)
        sent = lpgeom.approx_subspace(A, 4, p, method=method, backend="cuda")
    assert found.backend == sent.backend == "cuda"
    assert type(found.basis) is np.ndarray
    for result in (found, sent):
        agree(result, expected)
        assert result.certificate is not None
        result.certificate.verify(A)


@pytest.mark.parametrize("p", [1.0, 1.5])
def test_tight(p: float) -> None:
    A = data(200, 8)
    expected = lpgeom.approx_subspace(A, 3, p, certify="tight")
    with strict_device():
        found = lpgeom.approx_subspace(to_device(A), 3, p, certify="tight")
    agree(found, expected)
    assert found.certificate is not None
    found.certificate.verify(A)


def contents(A: Any) -> dict[str, Any]:
    """The same rows in the forms in which they may come."""
    integers = np.round(8 * A).astype(np.int32)
    padded = np.zeros((A.shape[0], 2 * A.shape[1]))
    padded[:, ::2] = A
    return {
        "F": np.asfortranarray(A),
        "float32": A.astype(np.float32),
        "int": integers,
        "strided": padded[:, ::2],
        "half": A.astype(np.float16),
        "huge": A * 1e200,
        "tiny": A * 1e-200,
        "zero rows": np.where(np.arange(len(A))[:, None] % 7 == 0, 0.0, A),
        "rank 6": A[:, :6] @ np.random.default_rng(1).standard_normal((6, A.shape[1])),
        "wide": A[:8],
    }


@pytest.mark.parametrize("kind", list(contents(data(20))))
@pytest.mark.parametrize("weighted", [False, True])
def test_every_content(kind: str, weighted: bool) -> None:
    A = contents(data())[kind]
    omega = np.random.default_rng(2).random(len(A)) if weighted else None
    # The device gets rows in a row: a search may amplify the rounding of another layout.
    packed = np.ascontiguousarray(A, np.float32 if A.dtype == np.float32 else np.float64)
    expected = lpgeom.approx_subspace(A, 3, 1.0, row_weights=omega)
    expected_sent = lpgeom.approx_subspace(packed, 3, 1.0, row_weights=omega)
    with strict_device():
        found = lpgeom.approx_subspace(to_device(A), 3, 1.0, row_weights=omega)
        sent = lpgeom.approx_subspace(A, 3, 1.0, row_weights=omega, backend="cuda")
        here = lpgeom.approx_subspace(to_device(A), 3, 1.0, row_weights=omega, backend="cpu")
    assert here.backend == "cpu"
    agree(found, expected)
    agree(here, expected)
    agree(sent, expected_sent)


@pytest.mark.parametrize("free", [20_000, 200_000])
def test_what_does_not_fit_is_streamed(free: int) -> None:
    A = data(500, 10)
    expected = lpgeom.approx_subspace(A, 3, 1.5)
    with strict_device(free=150_000 + free):
        plan = device.layout(500, 10, 8, 150_000 + free, there=False)
        found = lpgeom.approx_subspace(A, 3, 1.5, backend="cuda")
    assert plan.resident == (free == 200_000)
    agree(found, expected)
    assert found.n_passes == expected.n_passes


def test_too_little_memory_says_what_would_fit() -> None:
    with (
        strict_device(free=50_000),
        pytest.raises(MemoryError, match="rows of .* columns would fit"),
    ):
        lpgeom.approx_subspace(data(500, 10), 3, backend="cuda")


@pytest.mark.parametrize("p", [1.0, 1.7, 2.0, 5.0])
def test_lewis_weights(p: float) -> None:
    A = data()
    expected = lpgeom.lewis_weights(A, p, tol=1e-10)
    with strict_device():
        found = lpgeom.lewis_weights(to_device(A), p, tol=1e-10)
    assert type(found.weights) is np.ndarray
    np.testing.assert_allclose(found.weights, expected.weights, rtol=RTOL)
    np.testing.assert_allclose(found.M, expected.M, atol=RTOL * np.abs(expected.M).max())
    assert found.kappa == pytest.approx(expected.kappa, rel=RTOL)


@pytest.mark.parametrize("level", ["fast", "tight", "all"])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 4.0])
def test_certify(p: float, level: str) -> None:
    A = data(200, 8, seed=1)
    V = np.linalg.svd(A, full_matrices=False)[2][:3].T
    expected = lpgeom.certify(A, V, p, level)
    with strict_device():
        found = lpgeom.certify(to_device(A), V, p, level)
    assert found.cost == pytest.approx(expected.cost, rel=RTOL)
    assert [b.name for b in found.bounds] == [b.name for b in expected.bounds]
    for ours, theirs in zip(found.bounds, expected.bounds, strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=RTOL)
    found.verify(A)


@pytest.mark.parametrize("method", ["lewis", "ridge", "norm", "uniform"])
@pytest.mark.parametrize("p", [1.0, 3.0])
def test_coreset(p: float, method: str) -> None:
    A = data()
    k = 3 if method == "ridge" else None
    omega = np.random.default_rng(3).random(len(A))
    expected = lpgeom.coreset(A, size=60, p=p, k=k, method=method, row_weights=omega)
    with strict_device():
        found = lpgeom.coreset(to_device(A), size=60, p=p, k=k, method=method, row_weights=omega)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=RTOL)


@pytest.mark.parametrize("objective", ["rows", "entries"])
def test_cost_and_refine(objective: str) -> None:
    A = data()
    V = np.linalg.svd(A, full_matrices=False)[2][:3].T
    better = lpgeom.refine(A, V, passes=2)
    with strict_device():
        there = to_device(A)
        assert lpgeom.cost(there, V, 1.5, objective) == pytest.approx(
            lpgeom.cost(A, V, 1.5, objective), rel=RTOL
        )
        found = lpgeom.refine(there, V, passes=2)
    np.testing.assert_allclose(found @ found.T, better @ better.T, atol=RTOL)


def test_the_large_route() -> None:
    """Samples, float32 passes, measured kappa: from 2^20 entries on."""
    rng = np.random.default_rng(4)
    A = rng.standard_normal((9000, 120)) * np.linspace(2.0, 0.5, 120)
    A[:200] *= 8.0
    for p in (1.0, 3.0):
        expected = lpgeom.approx_subspace(A, 40, p)
        with strict_device():
            found = lpgeom.approx_subspace(to_device(A), 40, p)
        assert found.method == expected.method
        # Float32 passes decide where the descent ends: what is stated is float64's.
        assert found.cost == pytest.approx(expected.cost, rel=1e-5)
        assert found.lower_bound == pytest.approx(expected.lower_bound, rel=1e-3)
        assert found.certificate is not None
        found.certificate.verify(A)


@pytest.mark.parametrize(
    ("A", "error", "message"),
    [
        (np.ones((3, 2), bool), TypeError, "boolean"),
        (np.ones((3, 2), complex), TypeError, "real numbers"),
        (np.ones(3), ValueError, "two-dimensional"),
        (np.ones((0, 2)), ValueError, "empty"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), ValueError, r"A\[0, 1\] is nan"),
        (np.array([[1.0, 1.0], [-np.inf, 1.0]]), ValueError, r"A\[1, 0\] is -inf"),
    ],
)
def test_bad_input(A: Any, error: type[Exception], message: str) -> None:
    with strict_device(), pytest.raises(error, match=message):
        lpgeom.approx_subspace(to_device(A), 1)


@pytest.mark.parametrize("few", [0, 1 << 17])
def test_infinite_p(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are brought here, more stay on the device; with John's weights by passes, too."""
    monkeypatch.setattr("lpgeom.subspace.minimax.FEW_ENTRIES", few)
    for exchange in (2e7, 0.0):
        monkeypatch.setattr("lpgeom.subspace.minimax.EXCHANGE", exchange)
        A = data(5000)
        omega = np.random.default_rng(1).integers(0, 3, len(A)).astype(float)
        theirs = lpgeom.approx_subspace(A, 3, np.inf, row_weights=omega)
        with strict_device():
            ours = lpgeom.approx_subspace(to_device(A), 3, np.inf, row_weights=omega)
            certified = lpgeom.certify(to_device(A), theirs.basis, np.inf, row_weights=omega)
            sent = lpgeom.approx_subspace(A, 3, np.inf, row_weights=omega, backend="cuda")
        assert ours.backend == "cuda"
        for found in (ours, sent):
            assert found.cost == pytest.approx(theirs.cost, rel=1e-9)
            assert found.lower_bound == pytest.approx(theirs.lower_bound, rel=1e-9)
        assert certified.cost == pytest.approx(theirs.cost, rel=1e-9)
        assert certified.lower_bound <= theirs.cost
        ours.certificate.verify(A)
        certified.verify(A)


def test_without_a_device_the_error_says_so() -> None:
    pytest.importorskip("numba_cuda")
    try:
        device.require()
    except (ImportError, RuntimeError):
        with pytest.raises((ImportError, RuntimeError), match="cuda"):
            lpgeom.approx_subspace(data(), 3, backend="cuda")


def test_the_host_fetches_what_it_needs() -> None:
    """Weights, bases, what a checker reads, and rows of functions that work on the host."""
    A = data()
    omega = np.random.default_rng(5).random(len(A))
    expected = lpgeom.approx_subspace(A, 3, 1.5, row_weights=omega)
    with strict_device():
        there = to_device(A)
        found = lpgeom.approx_subspace(there, 3, 1.5, row_weights=to_device(omega))
        agree(found, expected)
        assert found.certificate is not None
        found.certificate.verify(there)
        at = lpgeom.cost(there, to_device(found.basis), 1.5, row_weights=to_device(omega))
        ball = lpgeom.min_volume_ellipsoid(there, backend="cpu")
    assert at == pytest.approx(found.cost, rel=RTOL)
    assert type(ball.center) is np.ndarray


def test_inputs_are_not_changed() -> None:
    A = data(dtype="f4")
    with strict_device():
        there = to_device(A)
        lpgeom.approx_subspace(there, 3, 1.5, row_weights=np.ones(len(A)))
        np.testing.assert_array_equal(there.get(), A)


def test_the_stand_in_refuses_what_cupy_refuses() -> None:
    v, single = to_device(np.arange(4.0)), to_device(np.ones((2, 2), np.float32))
    assert isinstance(v.sum(), DeviceArray)
    assert isinstance(xp.zeros(3), DeviceArray)
    for forbidden in (
        lambda: v + np.arange(4.0),
        lambda: np.where(np.arange(4) > 1, v, 0.0),
        lambda: np.linalg.lstsq(v[:, None], np.arange(4.0)),
        lambda: v.max(initial=0.0),
        lambda: v[np.array([0, 1])],
        lambda: np.unique(v),
        lambda: xp.ascontiguousarray(np.arange(4.0)),
        lambda: np.arange(4.0)[v.argmax()],
        lambda: range(v.astype(int).max()),
        lambda: 1.0 in v,
        lambda: np.einsum("i,i->", v, v),
    ):
        with pytest.raises(TypeError):
            forbidden()
    for forbidden in (lambda: single @ single, lambda: np.dot(single, single)):
        with pytest.raises(AssertionError, match="TF32"):
            forbidden()
    with pytest.raises(RuntimeError, match="non-contiguous"):
        v[::2].set(np.zeros(2))
    with strict_device(), pytest.raises(TypeError, match="Implicit"):
        np.asarray(v)
