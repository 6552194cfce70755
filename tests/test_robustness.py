"""Inputs at the ends of what float64 holds: an answer whose statements hold, or a clear error."""

from __future__ import annotations

import numpy as np
import pytest

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
    assert (lewis.weights > 0.0).all()
