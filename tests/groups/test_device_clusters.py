"""Several subspaces, mixed ranks and cost curves on device arrays (`strict_device`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.subspace.svd_curve import svd_cost_curve
from tests.strict_device import strict_device, to_device

RTOL = 1e-9


def clustered(dtype: str = "f8") -> Any:
    rng = np.random.default_rng(0)
    planes = rng.standard_normal((3, 2, 9))
    X = rng.standard_normal((240, 2))
    A = np.einsum("ij,ijk->ik", X, planes[np.arange(240) % 3])
    return (A + 0.02 * rng.standard_normal(A.shape)).astype(dtype)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_approx_subspaces(p: float, weighted: bool) -> None:
    A = clustered()
    omega = np.random.default_rng(1).random(len(A)) if weighted else None
    options: Any = {"subspaces": 3, "row_weights": omega}
    expected = lpgeom.approx_clusters(A, 2, p, **options)
    with strict_device():
        found = lpgeom.approx_clusters(to_device(A), 2, p, **options)
        sent = lpgeom.approx_clusters(A, 2, p, backend="cuda", **options)
    for result in (found, sent):
        np.testing.assert_array_equal(result.labels, expected.labels)
        assert result.cost == pytest.approx(expected.cost, rel=RTOL)
        assert result.lower_bound == pytest.approx(expected.lower_bound, rel=RTOL)
        assert type(result.bases) is np.ndarray
        assert all(r is None or r.backend == "cuda" for r in result.results)


@pytest.mark.parametrize("p", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_approx_mixed(p: float, weighted: bool) -> None:
    A = clustered("f4")
    omega = np.arange(1.0, len(A) + 1.0) ** -0.5 if weighted else None
    expected = lpgeom.approx_mixed(A, 900, p, row_weights=omega)
    with strict_device():
        found = lpgeom.approx_mixed(to_device(A), 900, p, row_weights=omega)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.ranks == expected.ranks
    assert found.cost == pytest.approx(expected.cost, rel=RTOL)
    assert found.lower_bound == pytest.approx(expected.lower_bound, rel=RTOL)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 7.0])
def test_curve(p: float) -> None:
    A = clustered()
    expected = svd_cost_curve(A, p)
    with strict_device():
        found = svd_cost_curve(to_device(A), p)
    np.testing.assert_allclose(found.cost, expected.cost, rtol=RTOL)
    np.testing.assert_allclose(found.singular_values, expected.singular_values, rtol=RTOL)


@pytest.mark.parametrize("p", [1.0, 3.0, np.inf])
def test_cost_curve(p: float) -> None:
    A = clustered()
    A[::12] *= 30.0  # robust starts matter
    expected = lpgeom.cost_curve(A, p, [2, 4, 6])
    assert {r.backend for r in expected.results} == {"cpu"}
    with strict_device():
        found = lpgeom.cost_curve(to_device(A), p, [2, 4, 6])
        sent = lpgeom.cost_curve(A, p, [2, 4, 6], backend="cuda")
        here = lpgeom.cost_curve(to_device(A), p, [2, 4, 6], backend="cpu")
    for curve, backend in ((found, "cuda"), (sent, "cuda"), (here, "cpu")):
        assert type(curve.cost) is np.ndarray
        np.testing.assert_allclose(curve.cost, expected.cost, rtol=RTOL)
        np.testing.assert_allclose(curve.lower_bound, expected.lower_bound, rtol=RTOL)
        assert {r.backend for r in curve.results} == {backend}
        curve.verify(A)


@pytest.mark.parametrize("p", [1.0, np.inf])
def test_cost_curve_states_the_backend_of_ranks_that_cost_nothing(p: float) -> None:
    A = np.outer(np.arange(1.0, 21.0), [1.0, 2.0, 3.0, 4.0])
    A[:, 1] += np.arange(20) % 3
    with strict_device():
        curve = lpgeom.cost_curve(A, p, [1, 2, 3], backend="cuda")
        with pytest.raises(ValueError, match="backend must be one of"):
            lpgeom.cost_curve(A, p, [1], backend="gpu")
    assert [r.method.startswith("rank") for r in curve.results] == [False, True, True]
    assert {r.backend for r in curve.results} == {"cuda"}


def test_the_large_route() -> None:
    """From 2^20 entries on: float32 passes, starts on samples."""
    rng = np.random.default_rng(2)
    planes = rng.standard_normal((4, 3, 64))
    X = rng.standard_normal((18000, 3)).astype("f4")
    A = np.einsum("ij,ijk->ik", X, planes[np.arange(18000) % 4].astype("f4"))
    A += 0.05 * rng.standard_normal(A.shape).astype("f4")
    expected = lpgeom.approx_clusters(A, 3, 1.0, subspaces=4)
    mixed = lpgeom.approx_mixed(A, 60000, 1.0)
    with strict_device():
        found = lpgeom.approx_clusters(to_device(A), 3, 1.0, subspaces=4)
        mixed_there = lpgeom.approx_mixed(to_device(A), 60000, 1.0)
    assert found.cost == pytest.approx(expected.cost, rel=1e-4)
    assert mixed_there.cost == pytest.approx(mixed.cost, rel=1e-2)
