"""The entrywise route on device arrays: the CPU's answers, and nothing that CuPy would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest

import lpgeom
from lpgeom.entries import portfolio, starts
from lpgeom.entries.alternating import alternate
from lpgeom.entries.regression import block_entries
from lpgeom.entries.regression_basis import Basis
from lpgeom.entries.regression_block import Block
from lpgeom.entries.reweighted import reweight
from lpgeom.entries.splitting import split
from lpgeom.rows import device, place
from lpgeom.rows.place import device_place
from lpgeom.subspace import solve
from tests.strict_device import DeviceArray, strict_device, to_device, xp

RTOL = 1e-9
POWERS = (1.0, 1.5, 2.0, 3.0)
CONTENTS = ("plain", "rows weighted", "entries weighted", "missing", "wide", "float32", "rank 2")


def matrix(n: int = 26, d: int = 8, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, 3)) @ rng.standard_normal((3, d))
    A += 0.2 * rng.standard_normal((n, d))
    return A + 10.0 * rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.05)


def problem(content: str) -> tuple[Any, dict[str, Any]]:
    """(A, what else to pass)."""
    rng = np.random.default_rng(1)
    A = matrix()
    if content == "rows weighted":
        omega = rng.random(len(A))
        omega[:3] = 0.0
        return A, {"row_weights": omega}
    if content == "entries weighted":
        return A, {"entry_weights": rng.random(A.shape) * (rng.random(A.shape) < 0.9)}
    if content == "missing":
        A[rng.random(A.shape) < 0.1] = np.nan
        return A, {"missing": "ignore", "row_weights": 0.5 + rng.random(len(A))}
    if content == "wide":
        return np.ascontiguousarray(A[:22].T), {}
    if content == "float32":
        return A.astype(np.float32), {}
    if content == "rank 2":
        return A[:, :2] @ rng.standard_normal((2, A.shape[1])), {}
    return A, {}


@pytest.fixture
def in_short() -> Iterator[None]:
    """A portfolio of few starts, short descents, and no search of the rows objective."""
    with (
        mock.patch.multiple(portfolio, RESTARTS=1, FOLLOWED=1, ROUGH_STEPS=30, SMOOTH_STEPS=8),
        mock.patch.object(starts, "EXHAUSTIVE", 1),
        mock.patch.object(solve, "affordable", return_value=0),
    ):
        yield


@pytest.mark.usefixtures("in_short")
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("p", POWERS)
def test_factors(p: float, content: str) -> None:
    A, options = problem(content)
    expected = lpgeom.approx_factors(A, 3, p, max_iter=4, **options)
    with strict_device():
        found = lpgeom.approx_factors(to_device(A), 3, p, max_iter=4, **options)
    assert (expected.backend, found.backend) == ("cpu", "cuda")
    assert type(found.left) is type(found.right) is np.ndarray
    assert found.method == expected.method
    size = float((np.nan_to_num(np.abs(A)).astype(float) ** p).sum())
    assert found.cost == pytest.approx(expected.cost, rel=RTOL, abs=1e-12 * size)
    assert found.lower_bound == pytest.approx(expected.lower_bound, rel=RTOL)
    np.testing.assert_allclose(
        found.left @ found.right, expected.left @ expected.right, atol=1e-6 * np.nanmax(np.abs(A))
    )
    assert found.certificate is not None
    assert expected.certificate is not None
    assert [b.name for b in found.certificate.bounds] == [
        b.name for b in expected.certificate.bounds
    ]
    for ours, theirs in zip(found.certificate.bounds, expected.certificate.bounds, strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=RTOL)
    found.certificate.verify(A)


@pytest.mark.usefixtures("in_short")
def test_every_way_to_the_device_is_the_same() -> None:
    A = matrix()
    weights = np.random.default_rng(2).random(A.shape)
    with strict_device():
        there = to_device(A)
        options = {"certify": False, "max_iter": 4}
        first = lpgeom.approx_factors(there, 2, 1.5, entry_weights=weights, **options)
        sent = lpgeom.approx_factors(
            A, 2, 1.5, entry_weights=to_device(weights), backend="cuda", **options
        )
        fortran = lpgeom.approx_factors(
            to_device(np.asfortranarray(A)), 2, 1.5, entry_weights=weights, **options
        )
        here = lpgeom.approx_factors(there, 2, 1.5, entry_weights=weights, backend="cpu", **options)
        entries = lpgeom.approx_subspace(there, 2, 1.0, objective="entries", certify=False)
        np.testing.assert_array_equal(there.get(), A)
    assert (first.backend, sent.backend, here.backend) == ("cuda", "cuda", "cpu")
    assert entries.backend == "cuda"
    for other in (sent, fortran, here):
        assert other.cost == pytest.approx(first.cost, rel=RTOL)
        np.testing.assert_allclose(other.left @ other.right, first.left @ first.right, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(70, 12), (12, 70)])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_splitting_in_blocks(dtype: str, shape: tuple[int, int], weighted: bool) -> None:
    A = matrix(*shape).astype(dtype)
    W = np.random.default_rng(3).random(A.shape).astype(dtype) if weighted else None
    V = np.linalg.svd(A)[2][:2].T
    expected = split(A, A @ V, V.T, 1.5, W, max_iter=30)
    with (
        strict_device(),
        mock.patch.multiple(place, LEAST_ROWS=16, SWEEP_BYTES=1),
    ):
        places = (to_device(v) for v in (A, A @ V, np.ascontiguousarray(V.T)))
        there = None if W is None else to_device(W)
        found = split(*places, 1.5, there, max_iter=30)
        assert type(found.left) is type(found.right) is DeviceArray
        product = device.host(found.left) @ device.host(found.right)
    rtol = RTOL if dtype == "f8" else 1e-4
    np.testing.assert_allclose(found.history, expected.history, rtol=rtol)
    size = np.abs(A).max()
    np.testing.assert_allclose(product, expected.left @ expected.right, atol=10 * rtol * size)


@pytest.mark.parametrize("p", [1.0, 3.0])
@pytest.mark.parametrize("descent", [reweight, alternate])
def test_descents_in_blocks(descent: Any, p: float) -> None:
    A = matrix(60, 9, seed=4)
    W = np.random.default_rng(5).random(A.shape) * (A.max() > A)
    V = np.linalg.svd(A)[2][:2].T
    start = A @ V, np.ascontiguousarray(V.T)
    expected = descent(A, *start, p, W, max_iter=6, tol=1e-9)
    with (
        strict_device(),
        mock.patch.multiple(place, LEAST_ROWS=16, SWEEP_BYTES=1),
    ):
        found = descent(to_device(A), *map(to_device, start), p, to_device(W), max_iter=6, tol=1e-9)
        assert type(found.left) is type(found.right) is DeviceArray
    assert found.cost == pytest.approx(expected.cost, rel=RTOL)
    np.testing.assert_allclose(found.history, expected.history, rtol=1e-8)


def regressions(seed: int = 0, dtype: str = "f8") -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((30, 4)), rng.standard_t(1.5, (25, 30)).astype(dtype)


@pytest.mark.parametrize("weighting", ["none", "columns", "entries", "mask"])
@pytest.mark.parametrize("p", [1.0, 1.2, 2.0, 3.0, 20.0])
def test_regression(p: float, weighting: str) -> None:
    V, B = regressions()
    rng = np.random.default_rng(1)
    w = {
        "none": None,
        "columns": rng.random(30),
        "entries": rng.random(B.shape),
        "mask": rng.random(B.shape) < 0.7,
    }[weighting]
    expected = lpgeom.lp_regression(V, B, p, weights=w)
    with strict_device():
        found = lpgeom.lp_regression(to_device(V), to_device(B), p, weights=w)
        sent = lpgeom.lp_regression(V, B, p, weights=w, backend="cuda")
        here = lpgeom.lp_regression(V, to_device(B), p, weights=w, backend="cpu")
    np.testing.assert_array_equal(here.X, expected.X)
    for fit in (found, sent):
        assert all(
            type(v) is np.ndarray
            for v in (fit.X, fit.cost, fit.lower_bound, fit.gap, fit.n_iter, fit.converged)
        )
        np.testing.assert_allclose(fit.cost, expected.cost, rtol=RTOL)
        np.testing.assert_allclose(fit.lower_bound, expected.lower_bound, rtol=1e-8)
        assert fit.converged.all()


@pytest.mark.parametrize("kind", ["F", "float32", "float16", "int", "vector", "many blocks"])
def test_contents_of_regressions(kind: str) -> None:
    V, B = regressions()
    B = {
        "F": np.asfortranarray(B),
        "float32": B.astype(np.float32),
        "float16": np.clip(B, -1e4, 1e4).astype(np.float16),
        "int": np.round(8 * B).astype(np.int32),
        "vector": B[0],
        "many blocks": B,
    }[kind]
    expected = lpgeom.lp_regression(V, B)
    free = 120_000 if kind == "many blocks" else 8 << 30
    with strict_device(free=free):
        found = lpgeom.lp_regression(V, to_device(B))
        assert (block_entries(device_place(), 30, 4) < 25 * 30) == (free < 1 << 20)
    np.testing.assert_allclose(found.cost, expected.cost, rtol=RTOL)
    assert found.X.shape == expected.X.shape


@pytest.mark.parametrize("weighted", [False, True])
def test_what_the_device_leaves_is_ended_on_the_host(weighted: bool) -> None:
    rng = np.random.default_rng(6)
    V, B = rng.standard_normal((90, 12)), rng.standard_t(1.2, (8, 90))
    w = rng.random(B.shape) * (rng.random(B.shape) < 0.7) if weighted else None
    with strict_device():
        fit = lpgeom.lp_regression(V, to_device(B), weights=w, tol=1e-14)
    assert fit.gap.max() <= 1e-11


@pytest.mark.parametrize("p", [1.0, 3.0])
def test_without_a_table_of_products(p: float) -> None:
    V, B = regressions()
    w = np.random.default_rng(1).random(B.shape)
    expected = lpgeom.lp_regression(V, B, p, weights=w)
    with strict_device():
        place = device_place()
        plain = Basis.of(V).at(place)
        block = Block(Basis(plain.Q, plain.back, plain.forth, None), to_device(B), to_device(w), p)
        block.solve(1e-9, 100)
        cost = block.certified()[0]
    np.testing.assert_allclose(cost, expected.cost, rtol=RTOL)


def test_few_entries_seen_go_to_a_qr_on_the_host() -> None:
    """Columns that are dependent where they are seen: bounds hold, and are as good as the CPU's."""
    V, B = regressions()
    w = np.ones(B.shape)
    w[::2, 3:] = 0.0  # three entries for four coefficients
    V[:5, 0] = V[:5, 1]
    w[1, 5:] = 0.0
    for p in (1.0, 1.5, 3.0):
        expected = lpgeom.lp_regression(V, B, p, weights=w)
        with strict_device():
            place = device_place()
            block = Block(Basis.of(V).at(place), to_device(B), to_device(w), p)
            seen = to_device(w > 0.0)
            sure = block._orthogonal_by_normal_matrices(to_device(w * B), seen)[2]
            found = lpgeom.lp_regression(V, to_device(B), p, weights=w)
        assert not sure.view(np.ndarray)[::2].any()
        assert sure.view(np.ndarray)[3::2].all()
        size = (w * np.abs(B) ** p).sum(axis=1)
        assert (np.abs(found.cost - expected.cost) <= RTOL * expected.cost + 1e-12 * size).all()
        assert (found.lower_bound <= expected.cost + 1e-12 * size).all()


def test_the_norm_of_what_is_left_is_not_understated() -> None:
    """`_orthogonal_by_normal_matrices` against a QR, for columns near dependent and far."""
    rng = np.random.default_rng(7)
    V, B = regressions(3)
    V[:, 1] = V[:, 0] + 1e-2 * V[:, 1]
    w = (rng.random(B.shape) < 0.6).astype(float)
    with strict_device():
        block = Block(Basis.of(V).at(device_place()), to_device(B), to_device(w), 1.0)
        y, off, sure = block._orthogonal_by_normal_matrices(to_device(w * B), to_device(w > 0.0))
        Q = device.host(block.basis.Q)
    y, off = (v.view(np.ndarray) for v in (y, off))
    assert sure.view(np.ndarray).any()
    for i in np.flatnonzero(sure.view(np.ndarray)):
        N = np.linalg.qr(Q[w[i] > 0.0])[0]
        assert np.linalg.norm(N.T @ y[i, w[i] > 0.0]) <= off[i] + 1e-15 * np.linalg.norm(B[i])
        assert off[i] <= 1e-10 * np.linalg.norm(B[i])
        assert not y[i, w[i] == 0.0].any()


def test_nothing_to_fit() -> None:
    _, B = regressions()
    with strict_device():
        fit = lpgeom.lp_regression(np.zeros((30, 2)), to_device(B))
    np.testing.assert_allclose(fit.cost, np.abs(B).sum(axis=1))


def test_too_little_memory_says_what_would_fit() -> None:
    A = matrix(400, 50)
    with strict_device(free=400_000):
        for options in ({}, {"missing": "ignore"}, {"backend": "cuda"}):
            rows = A if options == {"backend": "cuda"} else to_device(A)
            with pytest.raises(MemoryError, match=r"MiB are free; \d+ rows of 50 columns would"):
                lpgeom.approx_factors(rows, 3, **options)
    with strict_device(free=1000), pytest.raises(MemoryError, match="entries would fit"):
        lpgeom.lp_regression(np.ones((30, 2)), to_device(np.ones((2, 30))))


@pytest.mark.parametrize(
    ("A", "options", "error", "message"),
    [
        (np.ones((3, 2), bool), {}, TypeError, "boolean"),
        (np.ones(3), {}, ValueError, "two-dimensional"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), {}, ValueError, r"A\[0, 1\] is nan"),
        (np.full((3, 2), np.nan), {"missing": "ignore"}, ValueError, "no entry counts"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), {"missing": "ignore"}, ValueError, "is inf"),
        (np.ones((3, 2)), {"entry_weights": np.ones((2, 3))}, ValueError, "entry_weights"),
        (np.ones((3, 2)), {"backend": "tpu"}, ValueError, "backend"),
    ],
)
def test_bad_input(A: Any, options: Any, error: type[Exception], message: str) -> None:
    with strict_device(), pytest.raises(error, match=message):
        lpgeom.approx_factors(to_device(A), 1, **options)


@pytest.mark.parametrize(
    ("V", "B", "message"),
    [
        (np.ones((3, 1)), np.ones((2, 4)), r"B must have shape \(n, 3\)"),
        (np.ones((3, 1)), np.array([[1.0, 1.0, 1.0], [1.0, np.inf, 1.0]]), r"B\[1, 1\] is inf"),
        (np.array([[1.0], [np.nan], [1.0]]), np.ones((2, 3)), r"V\[1, 0\] is nan"),
        (np.ones((3, 1)), np.ones((2, 3, 1)), "B must be two-dimensional"),
        (np.ones((3, 1)), np.ones((0, 3)), "B is empty"),
    ],
)
def test_bad_regressions(V: Any, B: Any, message: str) -> None:
    with strict_device(), pytest.raises(ValueError, match=message):
        lpgeom.lp_regression(to_device(V), to_device(B))


def test_the_stand_in_refuses_half_precision() -> None:
    with pytest.raises(TypeError, match="half precision"):
        np.ldexp(1.0, to_device(np.arange(3, dtype=np.int32)))
    assert isinstance(xp.ldexp(to_device(np.ones(3)), xp.arange(3)), DeviceArray)


def test_without_a_device_the_error_says_so() -> None:
    try:
        device.require()
    except (ImportError, RuntimeError):
        with pytest.raises((ImportError, RuntimeError), match="cuda"):
            lpgeom.approx_factors(matrix(), 2, backend="cuda")
        with pytest.raises((ImportError, RuntimeError), match="cuda"):
            lpgeom.lp_regression(*regressions(), backend="cuda")
