"""Other orders of summation, imitated: a last place more or less in all that the kernels give.

What is stated stays true, and costs stay what they are; where a search ends may move.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest

import lpgeom
from lpgeom.kernels import cpu
from tests import strict_device
from tests.strict_device import to_device


@contextmanager
def noisy_device(seed: int) -> Iterator[None]:
    """`strict_device` with kernels that round in another way."""
    rng = np.random.default_rng(seed)

    def moved(v: Any) -> Any:
        return v * (1 + np.finfo(v.dtype).eps * rng.choice([-1, 0, 1], v.shape).astype(v.dtype))

    def gemm(a: Any, b: Any, out: Any) -> Any:
        there = out.view(np.ndarray)
        there[...] = moved(a.view(np.ndarray) @ b.view(np.ndarray))
        return out

    def update(C: Any, alpha: float, block: Any) -> None:
        D = np.zeros_like(C)
        cpu.rank_update(D, alpha, block)
        C += np.triu(moved(D))

    def adding(kernel: Any) -> Any:
        def call(*args: Any) -> None:
            *given, out = args
            total = np.zeros_like(out)
            kernel(*given, total)
            out += moved(total)

        return call

    with (
        mock.patch.object(strict_device, "gemm", gemm),
        strict_device.strict_device(
            add_row_squares=adding(cpu.add_row_squares),
            add_row_dots=adding(cpu.add_row_dots),
            rank_update=update,
        ),
    ):
        yield


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_other_orders_of_summation(p: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((80, 7)) * np.linspace(3.0, 0.2, 7)
    A[:5] *= 20.0
    expected = lpgeom.approx_subspace(A, 4, p)
    weights = lpgeom.lewis_weights(A, p, tol=1e-10).weights
    with noisy_device(seed):
        found = lpgeom.approx_subspace(to_device(A), 4, p)
        moved = lpgeom.lewis_weights(to_device(A), p, tol=1e-10).weights
    assert found.cost == pytest.approx(expected.cost, rel=1e-7)
    assert found.lower_bound == pytest.approx(expected.lower_bound, rel=1e-2)
    np.testing.assert_allclose(moved, weights, rtol=1e-8)
    assert (moved != weights).any()  # the noise is there
    assert found.certificate is not None
    found.certificate.verify(A)
    V = found.basis
    at = np.sum(np.linalg.norm(A - A @ V @ V.T, axis=1) ** p)
    assert found.lower_bound <= at * (1 + 1e-12)
    assert found.cost == pytest.approx(at, rel=1e-12)
