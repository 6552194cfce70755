"""The entrywise route through the device's kernels, against the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest

import lpgeom
from lpgeom.entries import portfolio
from lpgeom.entries.reweighted import reweight
from lpgeom.entries.splitting import split
from lpgeom.rows import place


@contextmanager
def on_the_device(backend: Any) -> Iterator[None]:
    """The simulator's memory is NumPy's: there every array counts as one of the device."""
    if backend.name != "simulator":
        yield
        return
    with mock.patch.object(place, "HOST", place.device_place()):
        yield


def matrix(n: int = 14, d: int = 5) -> Any:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, 1)) @ rng.standard_normal((1, d))
    A += 0.1 * rng.standard_normal((n, d))
    A[::7, 2] = 5.0
    return A


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_split(backend: Any, dtype: str, weighted: bool) -> None:
    A = matrix().astype(dtype)
    W = np.random.default_rng(1).random(A.shape).astype(dtype) if weighted else None
    V = np.linalg.svd(A)[2][:1].T
    for C, D, left, right in (
        (A, W, A @ V, V.T),
        (A.T.copy(), None if W is None else W.T.copy(), V, (A @ V).T),
    ):
        expected = split(C, left, right, 1.5, D, max_iter=6)
        with on_the_device(backend):
            found = split(
                *backend.put(C, left, right), 1.5, backend.put(D), max_iter=6
            )  # fmt: skip
        rtol = 1e-9 if dtype == "f8" else 1e-4
        np.testing.assert_allclose(found.history, expected.history, rtol=rtol)
        product = np.matmul(*backend.get(found.left, found.right))
        np.testing.assert_allclose(product, expected.left @ expected.right, atol=10 * rtol)


@pytest.mark.parametrize("p", [1.0, 3.0])
def test_reweight(backend: Any, p: float) -> None:
    A = matrix()
    V = np.linalg.svd(A)[2][:1].T
    expected = reweight(A, A @ V, V.T, p, max_iter=5, tol=1e-9)
    with on_the_device(backend):
        found = reweight(*backend.put(A, A @ V, V.T), p, max_iter=5, tol=1e-9)
    np.testing.assert_allclose(found.history, expected.history, rtol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_regression(backend: Any, p: float, masked: bool) -> None:
    rng = np.random.default_rng(2)
    V, B = rng.standard_normal((9, 2)), rng.standard_normal((3, 9))
    w = (rng.random(B.shape) < 0.8) * rng.random(B.shape) if masked else None
    expected = lpgeom.lp_regression(V, B, p, weights=w, tol=1e-7)
    with on_the_device(backend):
        found = lpgeom.lp_regression(
            V, backend.put(B), p, weights=w, tol=1e-7, backend="cuda"
        )  # fmt: skip
    assert found.converged.all()
    np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-7)
    assert (found.lower_bound <= expected.cost * (1.0 + 1e-12)).all()


def test_approx_factors(backend: Any) -> None:
    A = matrix(9, 4)
    A[3, 1] = np.nan
    options: Any = {"max_iter": 2, "tol": 1e-3, "missing": "ignore", "certify": False}
    with mock.patch.multiple(portfolio, RESTARTS=0, SMOOTH_STEPS=3, FOLLOWED=1, ROUGH_STEPS=3):
        expected = lpgeom.approx_factors(A, 1, 1.5, **options)
        with on_the_device(backend):
            found = lpgeom.approx_factors(backend.put(A), 1, 1.5, backend="cuda", **options)
    assert found.backend == "cuda"
    assert type(found.left) is type(found.right) is np.ndarray
    # Rounds of regressions, each solved to 1e-8.
    assert found.cost == pytest.approx(expected.cost, rel=1e-7)


def test_certified(backend: Any) -> None:
    """The rows solves that bounds come from; at p = 2 there is nothing else."""
    A = matrix(10, 4)
    expected = lpgeom.approx_factors(A, 1, 2.0)
    with on_the_device(backend):
        found = lpgeom.approx_factors(backend.put(A), 1, 2.0, backend="cuda")
    assert (found.method, found.backend) == (expected.method, "cuda")
    assert found.cost == pytest.approx(expected.cost, rel=1e-9)
    assert found.lower_bound == pytest.approx(expected.lower_bound, rel=1e-9)
    assert found.certificate is not None
    found.certificate.verify(A)
