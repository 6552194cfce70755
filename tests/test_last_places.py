"""The noise of `--last-places` is there, small, and the same each time."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pytest

from tests.last_places import NAME, Noise, rewritten

EPS = 2.0**-52


def run(source: str, noise: Noise) -> dict[str, Any]:
    """The names of a module after it was rewritten and run."""
    names: dict[str, Any] = {"np": np, NAME: noise}
    exec(rewritten(textwrap.dedent(source), "here", noise), names)
    return names


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_products_and_factorizations_change_in_their_last_places(seed: int) -> None:
    A = np.random.default_rng(0).standard_normal((9, 4))
    for expression, size in (
        ("A @ A.T", None),
        ("A.T @ A @ np.ones(4)", None),
        ("np.einsum('ij,ij->i', A, A)", None),
        ("np.linalg.norm(A, axis=1)", None),
        ("np.linalg.eigvalsh(A.T @ A)", 60.0),
        ("np.linalg.svd(A)[1]", 8.0),
        ("np.linalg.qr(A)[1]", None),
    ):
        noise = Noise(seed)
        moved = run("def f(A): return " + expression, noise)["f"](A)
        plain = eval(expression)
        assert noise.results > 0
        assert (moved != plain).any()
        assert (np.abs(moved - plain) <= 16.0 * EPS * (size or np.abs(A).max() ** 2 * 9)).all()


def test_the_same_call_has_the_same_noise_in_any_unit() -> None:
    noise, x = Noise(1), np.random.default_rng(1).standard_normal((5, 3))
    once = noise(x)
    np.testing.assert_array_equal(once, noise(x.copy(order="F")))
    np.testing.assert_array_equal(1024.0 * once, noise(1024.0 * x))
    assert (once != Noise(2)(x)).any()


def test_what_has_a_structure_keeps_it() -> None:
    noise, x = Noise(1), np.random.default_rng(2).standard_normal((6, 6))
    S = noise(x + x.T)
    np.testing.assert_array_equal(S, S.T)
    assert noise(np.zeros((3, 3))).tolist() == np.zeros((3, 3)).tolist()
    lam = noise.spectrum(np.array([1.0, 1.0, 2.0]))
    assert (np.diff(lam) >= 0.0).all()
    sigma = noise.spectrum((np.eye(3), np.array([2.0, 1e-20, 0.0]), np.eye(3)))[1]
    assert (np.diff(sigma) <= 0.0).all()
    assert (sigma >= 0.0).all()
    for other in (3, "text", np.arange(3), np.array([1j]), [1.0], None):
        assert noise(other) is other
    np.testing.assert_array_equal(noise(np.array([np.inf, np.nan])), [np.inf, np.nan])
    assert noise(np.empty((0, 2))).shape == (0, 2)
    assert noise(np.float32(1.5)).dtype == np.float32


def test_kernels_stay_as_they_are() -> None:
    noise = Noise(1)
    names = run(
        """
        def njit(f): return f
        @njit
        def kernel(A): return A @ A
        def other(A): return A @ A
        """,
        noise,
    )
    A = np.random.default_rng(3).standard_normal((4, 4))
    np.testing.assert_array_equal(names["kernel"](A), A @ A)
    assert noise.results == 0
    assert (names["other"](A) != A @ A).any()
