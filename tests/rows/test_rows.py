"""Passes over the data against plain NumPy: every layout, dtype, scale, and number of workers."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpgeom import threads
from lpgeom.rows import door
from lpgeom.rows.array import ArrayRows
from lpgeom.rows.door import Kind, open_anywhere, open_rows
from tests.problems import fixed

DTYPES = ("f8", "f4", "f2", ">f8", "i4", "u1")


def layouts(A: Any, tmp_path: Path) -> dict[str, Any]:
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=A.dtype, shape=A.shape)
    mapped[:] = A
    padded = np.zeros((A.shape[0], 2 * A.shape[1]), dtype=A.dtype)
    padded[:, ::2] = A
    return {
        "C": A,
        "F": np.asfortranarray(A),
        "strided": padded[:, ::2],
        "reversed": A[::-1, ::-1][::-1, ::-1],
        "memmap": mapped,
    }


def close(a: Any, b: Any, rtol: float) -> None:
    np.testing.assert_allclose(a, b, rtol=0.0, atol=rtol * np.abs(b).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_pass_in_every_layout(dtype: str, weighted: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, d, r = 131, 7, 3
    A = (8.0 * np.abs(rng.standard_normal((n, d)))).astype(dtype)
    f = rng.random(n) if weighted else None
    B = A.astype(np.float64) * (0.25 if f is None else 0.25 * f[:, None])
    X = rng.standard_normal((d, r))
    M = rng.standard_normal((d, d))
    M = M + M.T
    w = rng.standard_normal(n)
    for array in layouts(A, tmp_path).values():
        for view, tol in (
            (ArrayRows(array, f, 0.25, block_bytes=1024), 1e-13),
            (ArrayRows(array, f, 0.25, block_bytes=1024).single(), 1e-5),
        ):
            close(view.squared_norms(), (B * B).sum(1), tol)
            close(view.quadratic_form(X), ((B @ X) ** 2).sum(1), tol)
            close(view.bilinear_form(M), ((B @ M) * B).sum(1), tol)
            close(view.weighted_gram(), B.T @ B, tol)
            close(view.weighted_gram(w), (B.T * w) @ B, tol)
            seen = []

            def rule(t: Any, lo: int, hi: int, seen: list[Any] = seen) -> Any:
                seen.append((lo, hi))
                return w[lo:hi] * t

            t, G = view.reweighted_gram(X, rule)
            close(t, ((B @ X) ** 2).sum(1), tol)
            close(G, (B.T * (w * t)) @ B, 10 * tol)
            assert sorted(seen)[0][0] == 0
            assert sorted(seen)[-1][1] == n
            R = view.triangle(w * w)
            close(R.T @ R, (B.T * (w * w)) @ B, tol)
            assert np.allclose(R, np.triu(R))
            part = view.take(np.array([5, 130, 5]), np.array([1.0, 2.0, 0.5]))
            close(
                part.quadratic_form(np.eye(d)),
                (B[[5, 130, 5]] ** 2).sum(1) * [1.0, 4.0, 0.25],
                tol,
            )


@pytest.mark.parametrize(("d", "r"), [(200, 200), (240, 190), (300, 301 - 1), (192, 10)])
def test_triangular_panels(d: int, r: int) -> None:
    rng = np.random.default_rng(1)
    A = rng.standard_normal((8 * d + 3, d))
    X = rng.standard_normal((d, r))
    M = rng.standard_normal((d, d))
    M = M + M.T
    rows = ArrayRows(A)
    np.testing.assert_allclose(rows.quadratic_form(X), ((A @ X) ** 2).sum(1), rtol=1e-11)
    close(rows.bilinear_form(M), ((A @ M) * A).sum(1), 1e-13)


def test_workers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    A = rng.standard_normal((997, 11))
    w = rng.standard_normal(997)
    results = []
    for workers in (1, 2, 5):
        monkeypatch.setattr(threads, "SERIAL_SIZE", 0.0)
        monkeypatch.setattr(threads, "blas_threads", lambda workers=workers: workers)
        rows = ArrayRows(A, block_bytes=2048)
        results.append((rows.weighted_gram(w), rows.quadratic_form(A[:11].T)))
        again = ArrayRows(A, block_bytes=2048).weighted_gram(w)
        assert np.array_equal(again, results[-1][0]), "not reproducible at one thread count"
    for G, t in results[1:]:
        close(G, results[0][0], 1e-13)
        close(t, results[0][1], 1e-13)


def test_an_error_in_a_worker_stops_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SERIAL_SIZE", 0.0)
    monkeypatch.setattr(threads, "blas_threads", lambda: 3)
    before = threading.active_count()

    def rule(t: Any, lo: int, hi: int) -> Any:
        if lo > 0:
            raise KeyboardInterrupt
        return t

    rows = ArrayRows(np.ones((999, 4)), block_bytes=512)
    with pytest.raises(KeyboardInterrupt):
        rows.reweighted_gram(np.eye(4), rule)
    assert threading.active_count() == before


def test_blas_limits_come_back() -> None:
    before = threads.blas_threads()
    with threads.serial_blas():
        assert threads.blas_threads() == 1
        with threads.serial_blas():
            assert threads.blas_threads() == 1
        assert threads.blas_threads() == 1
    assert threads.blas_threads() == before


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_thread_variable(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, text)
    with pytest.raises(ValueError, match="LPGEOM_NUM_THREADS must be a positive integer"):
        threads.requested_threads()


def test_thread_variable_is_read_when_work_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, "1")
    with threads.limited():
        assert threads.blas_threads() == 1
    monkeypatch.delenv(threads.VARIABLE)
    assert threads.requested_threads() is None


def test_passes_are_counted_in_full_data() -> None:
    rows = ArrayRows(np.ones((40, 3)))
    rows.weighted_gram()
    rows.single().quadratic_form(np.eye(3))
    assert rows.n_passes == 2.0
    half = rows.take(np.arange(20))
    half.weighted_gram()
    half.take(np.arange(10)).weighted_gram()
    assert rows.n_passes == pytest.approx(2.0 + 0.5 + 0.5 + 0.25 + 0.25)


def test_weights_of_any_size_in_single_precision() -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((600, 5))
    for w in (np.full(600, 1e30), np.full(600, 1e-40), np.logspace(-40, 30, 600)):
        close(ArrayRows(A).single().weighted_gram(w), (A.T * w) @ A, 1e-5)
    assert not ArrayRows(A).weighted_gram(np.zeros(600)).any()


@fixed
@given(st.integers(-1074, 1023), st.booleans())
def test_door_scales_by_a_power_of_two(e: int, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    A = np.ldexp(rng.uniform(-1.0, 1.0, (9, 3)), e)
    if not A.any():
        return
    omega = rng.uniform(0.0, 5.0, 9) if weighted else None
    problem = open_rows(A, 1.5, omega)
    factors = np.ones(9) if problem.factors is None else problem.factors
    assert factors.max() == 1.0
    scaled = A * problem.scale * factors[:, None]
    top = np.abs(A * problem.scale).max()
    assert top < (1.0 if e < 1000 else 16.0)
    assert top >= 0.5 or e < -1020
    np.testing.assert_allclose(problem.rows.squared_norms(), (scaled**2).sum(1), rtol=1e-14)
    # unit takes scaled norms back: omega^(1/p) ||a|| = unit ||scaled row||.
    if -900 < e < 1000:
        want = np.array([math.hypot(*a) for a in A]) * (
            1.0 if omega is None else omega ** (1.0 / 1.5)
        )
        have = np.sqrt(problem.rows.squared_norms()) * problem.unit
        np.testing.assert_allclose(have, want, rtol=1e-13)


def test_a_new_kind_of_rows_is_one_entry() -> None:
    class Column:
        """A matrix of one column repeated, kept once."""

        def __init__(self, x: Any) -> None:
            self.x = x

    def opened(A: Column, p: Any, row_weights: Any, infinite: bool) -> Any:
        return open_rows(np.repeat(A.x[:, None], 3, axis=1), p, row_weights, infinite=infinite)

    A = Column(np.arange(1.0, 9.0))
    with pytest.raises(TypeError):
        open_anywhere(A, 1.0)
    kind = Kind(lambda A: isinstance(A, Column), opened, lambda: ArrayRows)
    door.KINDS.insert(0, kind)
    try:
        assert open_anywhere(A, 1.0).rows.shape == (8, 3)
        assert open_anywhere(np.ones((4, 2)), 1.0).rows.shape == (4, 2)
    finally:
        door.KINDS.remove(kind)
