"""Rows of weight 0 may hold anything that is finite: they have no say, not even in the scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.subspace.svd_curve import svd_cost_curve
from tests.strict_device import strict_device, to_device

B = np.random.default_rng(0).standard_normal((60, 6))
OMEGA = np.r_[np.ones(60), np.zeros(4)]


def beside(base: float, long: float) -> Any:
    """B, and rows of weight 0 that are much longer."""
    return np.vstack([base * B, np.full((3, 6), long), np.full((1, 6), -long)])


SIZES = [(1e-200, 1e30), (1.0, 1e30), (1.0, 1e160), (1e-200, 1.7e308), (1e100, 1.7e308)]


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
@pytest.mark.parametrize(("base", "long"), SIZES)
def test_subspaces(base: float, long: float, p: float) -> None:
    A = beside(base, long)
    ours = lpgeom.approx_subspace(A, 2, p, row_weights=OMEGA)
    theirs = lpgeom.approx_subspace(base * B, 2, p)
    assert ours.cost == pytest.approx(theirs.cost, rel=1e-6, abs=0.0)
    assert ours.lower_bound == pytest.approx(theirs.lower_bound, rel=1e-2, abs=0.0)
    ours.certificate.verify(A)
    certified = lpgeom.certify(A, theirs.basis, p, row_weights=OMEGA)
    assert certified.cost == pytest.approx(theirs.cost, rel=1e-9, abs=0.0)
    certified.verify(A)
    for objective in ("rows", "entries"):
        ours_cost = lpgeom.cost(A, theirs.basis, p, objective, row_weights=OMEGA)
        its_own = lpgeom.cost(base * B, theirs.basis, p, objective)
        assert ours_cost == pytest.approx(its_own, rel=1e-9, abs=0.0)
    if math.isfinite(p):
        lpgeom.cost_curve(A, p, [1, 2], row_weights=OMEGA).verify(A)
        np.testing.assert_allclose(
            svd_cost_curve(A, p, row_weights=OMEGA).cost,
            svd_cost_curve(base * B, p).cost, rtol=1e-6, atol=1e-10 * theirs.cost,
        )  # fmt: skip


def dask_array(A: Any) -> Any:
    da = pytest.importorskip("dask.array")
    return da.from_array(A, chunks=(25, 6))


@pytest.mark.parametrize("put", [dask_array, to_device, np.float32], ids=["Dask", "CUDA", "f4"])
@pytest.mark.parametrize("p", [1.0, 3.0])
def test_wherever_they_are(put: Callable[[Any], Any], p: float) -> None:
    A = beside(1.0, 1e30)
    theirs = lpgeom.approx_subspace(B, 2, p)
    with strict_device():
        ours = lpgeom.approx_subspace(put(A), 2, p, row_weights=OMEGA)
    assert ours.cost == pytest.approx(theirs.cost, rel=1e-5)
    ours.certificate.verify(np.float32(A) if put is np.float32 else A)


@pytest.mark.slow
@pytest.mark.parametrize(("base", "long"), SIZES)
def test_other_objectives(base: float, long: float) -> None:
    A = beside(base, long)
    solvers: list[Callable[..., Any]] = [
        lpgeom.lp_median,
        lambda M, p, **options: lpgeom.approx_affine(M, 2, p, **options),
        lambda M, p, **options: lpgeom.approx_factors(M, 2, p, **options),
    ]
    for solve in solvers:
        ours, theirs = solve(A, 1.0, row_weights=OMEGA), solve(base * B, 1.0)
        assert ours.cost == pytest.approx(theirs.cost, rel=1e-3, abs=0.0)
        assert ours.lower_bound == pytest.approx(theirs.lower_bound, rel=1e-2, abs=0.0)
    if long / base > 1e150:  # read beside the others, these would leave nothing of them
        with pytest.raises(ValueError, match="rows of weight 0 are so long"):
            lpgeom.approx_clusters(A, 2, subspaces=2, row_weights=OMEGA)
    else:
        lpgeom.approx_clusters(A, 2, subspaces=2, row_weights=OMEGA)


def test_they_have_to_be_finite() -> None:
    with pytest.raises(ValueError, match=r"A\[60, 0\] is inf"):
        lpgeom.approx_subspace(beside(1.0, math.inf), 2, row_weights=OMEGA)


def test_nothing_that_counts() -> None:
    A = np.vstack([np.zeros((60, 6)), np.full((4, 6), 1e200)])
    found = lpgeom.approx_subspace(A, 2, row_weights=OMEGA)
    assert found.cost == 0.0
    found.certificate.verify(A)
