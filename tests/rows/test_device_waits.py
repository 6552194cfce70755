"""What keeps a device waiting: factors on the host, matrices fetched twice, a call for each row."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest

from lpgeom.entries import reweighted
from lpgeom.rows import device
from lpgeom.rows.door import open_anywhere
from tests import strict_device
from tests.strict_device import DeviceArray, to_device

RNG = np.random.default_rng(0)
A = RNG.standard_normal((90, 8))


@pytest.fixture
def rows() -> Any:
    with mock.patch.object(device, "PANEL", 2), strict_device.strict_device():
        yield open_anywhere(to_device(A), 1.0).rows


def test_no_factors_on_the_host_before_a_product(rows: Any) -> None:
    """A (d, d) QR there takes longer than the product that it halves."""
    X = RNG.standard_normal((8, 8))
    here = open_anywhere(A, 1.0, backend="cpu").rows
    expected = here.quadratic_form(X), here.bilinear_form(X + X.T)
    with mock.patch.object(np.linalg, "qr", side_effect=AssertionError("a QR on the host")):
        t, b = rows.quadratic_form(X), rows.bilinear_form(X + X.T)
    np.testing.assert_allclose(t.get(), expected[0], rtol=1e-12)
    np.testing.assert_allclose(b.get(), expected[1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("single", [False, True])
def test_a_gram_is_fetched_once_and_whole(rows: Any, single: bool) -> None:
    view = rows.single() if single else rows
    w = strict_device.xp.asarray(RNG.standard_normal(90))
    with mock.patch.object(DeviceArray, "get", autospec=True, side_effect=DeviceArray.get) as get:
        G = view.weighted_gram(w)
    assert get.call_count == 1
    assert type(G) is np.ndarray
    assert G.flags.c_contiguous
    assert (G == G.T).all()
    scaled = rows._scale * A
    expected = scaled.T @ (w.get()[:, None] * scaled)
    np.testing.assert_allclose(G, expected, atol=1e-5 if single else 1e-12)


def test_eigenvectors_come_in_rows() -> None:
    """cuSOLVER's are column-major: they are turned where that is quick."""
    M = A.T @ A
    with strict_device.strict_device():
        lam, U = device.eigh(M)
    assert type(U) is np.ndarray
    assert U.flags.c_contiguous
    np.testing.assert_allclose(M @ U, U * lam, atol=1e-10)


@pytest.mark.parametrize("p", [1.0, 3.0])
def test_large_systems_are_not_solved_one_by_one(p: float) -> None:
    """CuPy calls LAPACK for each one of a stack, where they are larger than some size."""
    left, right = RNG.standard_normal((90, 4)), RNG.standard_normal((4, 8))
    expected = reweighted.reweight(A, left, right, p, max_iter=3, tol=0.0)
    small = mock.patch.object(strict_device, "BATCHED", 3)
    with strict_device.strict_device(), small:
        there = [to_device(v) for v in (A, left, right)]
        with pytest.raises(AssertionError, match="one by one"):
            reweighted.reweight(*there, p, max_iter=3, tol=0.0)
        with mock.patch.object(reweighted, "BATCHED", 3):
            found = reweighted.reweight(*there, p, max_iter=3, tol=0.0)
    np.testing.assert_allclose(found.history, expected.history, rtol=1e-9)
