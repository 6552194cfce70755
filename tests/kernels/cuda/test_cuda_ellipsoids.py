"""Whole routes to an ellipsoid through the CUDA kernels, against the CPU's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.geometry.ellipsoids import dense


def data(n: int = 24, d: int = 3) -> Any:
    A = np.random.default_rng(0).standard_normal((n, d)) * np.linspace(2.0, 0.5, d)
    A[:2] *= 8.0
    A[5] = 0.0
    return A


@pytest.fixture(autouse=True)
def everything_on_the_device(monkeypatch: Any) -> None:
    monkeypatch.setattr(dense, "NEAR", 0)


def agree(ours: lpgeom.Ellipsoid, theirs: lpgeom.Ellipsoid) -> None:
    assert type(ours.shape) is type(ours.center) is np.ndarray
    assert (ours.n_iter, ours.converged) == (theirs.n_iter, theirs.converged)
    assert ours.alpha == pytest.approx(theirs.alpha, rel=1e-9)
    top = np.abs(theirs.shape).max()
    np.testing.assert_allclose(ours.shape / top, theirs.shape / top, atol=1e-9)
    np.testing.assert_allclose(ours.center, theirs.center, atol=1e-9)


@pytest.mark.parametrize(
    ("p", "method"),
    [
        (1.0, "lewis"),
        (3.0, "lewis"),
        (1.0, "shallow-cut"),
        (math.inf, "shallow-cut"),
        (2.0, "john"),
    ],
)
def test_loewner_ellipsoid(backend: Any, p: float, method: str) -> None:
    A = data()
    omega = (np.arange(len(A)) % 5 > 0) * 1.5
    options: dict[str, Any] = {"row_weights": omega, "tol": 1e-4, "max_iter": 8}
    expected = lpgeom.loewner_ellipsoid(A, p, method, **options)
    found = lpgeom.loewner_ellipsoid(backend.put(A), p, method, **options, backend="cuda")
    agree(found, expected)
    found.verify(A, row_weights=omega, starts=4)


def test_lp_svd(backend: Any) -> None:
    A = data()
    f = lpgeom.lp_svd(backend.put(A), 1.0, backend="cuda")
    np.testing.assert_allclose(f.D, lpgeom.lp_svd(A, 1.0).D, rtol=1e-9)
    np.testing.assert_allclose(f.U * f.D @ f.V.T, A, atol=1e-9)


@pytest.mark.parametrize("centered", [False, True])
def test_min_volume_ellipsoid(backend: Any, centered: bool) -> None:
    A = data().astype(np.float32)
    options: dict[str, Any] = {"centered": centered, "eps": 1e-2, "max_iter": 8}
    expected = lpgeom.min_volume_ellipsoid(A, **options)
    found = lpgeom.min_volume_ellipsoid(backend.put(A), **options, backend="cuda")
    agree(found, expected)
    assert found.contains(A).all()


def test_john_ellipsoid(backend: Any) -> None:
    A = np.round(8.0 * data()).astype(np.int32)
    expected = lpgeom.john_ellipsoid(A, eps=1e-2)
    agree(lpgeom.john_ellipsoid(backend.put(A), eps=1e-2, backend="cuda"), expected)
