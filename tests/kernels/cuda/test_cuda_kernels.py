"""Row kernels, rank updates and proximal steps: against the CPU's and against plain NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from twins import assert_twins, both

from lpgeom.kernels.cuda import blas, launch
from lpgeom.kernels.cuda.reductions import CHUNK, total

REAL = (np.float32, np.float64)
# Rows that share a warp, fill it and pass it; more rows than a grid has warps; none and one.
SHAPES = ((1, 1), (37, 3), (5, 70), (9, 32), (0, 4), (4, 0))


def data(n: int, d: int, dtype: Any, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(dtype)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_row_squares(backend: Any, n: int, d: int, dtype: Any) -> None:
    A = data(n, d, dtype)
    out = assert_twins(backend, "rowwise", "add_row_squares", A, np.ones(n))[1]
    np.testing.assert_allclose(out, 1.0 + (A.astype(float) ** 2).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_row_dots(backend: Any, n: int, d: int, dtype: Any) -> None:
    A, B = data(n, d, dtype), data(n, d + 3, dtype, 1)
    out = assert_twins(backend, "rowwise", "add_row_dots", A, B, 2, np.ones(n), atol=1e-13)[2]
    wanted = 1.0 + (A.astype(float) * B[:, 2 : d + 2].astype(float)).sum(axis=1)
    np.testing.assert_allclose(out, wanted, rtol=1e-12, atol=1e-13)


def test_sums_run_in_double(backend: Any) -> None:
    """2^24 + 1 is no float32: a float32 sum of these squares would stay at 2^24."""
    A = np.ones((3, 65), dtype=np.float32)
    A[:, 0] = 4096.0
    out = assert_twins(backend, "rowwise", "add_row_squares", A, np.zeros(3), rtol=0.0)[1]
    assert (out == 4096.0**2 + 64.0).all()


@pytest.mark.parametrize("into", REAL)
@pytest.mark.parametrize("dtype", [*REAL, np.int16])
def test_scaled_rows(backend: Any, dtype: Any, into: Any) -> None:
    A = (8 * data(21, 35, float)).astype(dtype)
    f = np.linspace(-1.0, 2.0, 21)
    out = assert_twins(backend, "rowwise", "scale_rows", A, f, np.empty(A.shape, into), rtol=0.0)[2]
    np.testing.assert_array_equal(out, (f[:, None] * A).astype(into))


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_packed_rows(backend: Any, n: int, d: int, dtype: Any) -> None:
    A = data(n, d, dtype)
    w = np.random.default_rng(1).integers(-2, 3, n).astype(float)
    for sign in (1.0, -1.0):
        args = A, w, 2.0, sign, np.zeros_like(A)
        *_, out, count = assert_twins(backend, "rowwise", "pack_rows", *args, rtol=1e-6)
        chosen = sign * w > 0.0
        assert count == np.count_nonzero(chosen)
        f = np.sqrt(np.abs(w[chosen]) / 2.0).astype(dtype)
        np.testing.assert_allclose(out[:count], f[:, None] * A[chosen], rtol=1e-6)


@pytest.mark.parametrize("zero", [0, 20])
def test_rows_packed_in_place(backend: Any, zero: int) -> None:
    """Rows move up over others that a later thread has yet to read."""
    device, _ = backend.kernels("rowwise")
    A = data(80, 5, np.float64)
    w = np.ones(80)
    w[:zero] = 0.0
    block = backend.put(A)
    count = device.pack_rows(block, backend.put(w), 1.0, 1.0, block)
    assert count == 80 - zero
    np.testing.assert_array_equal(backend.get(block)[:count], A[zero:])


def test_strided_rows(backend: Any) -> None:
    """A panel of a wider block, as forms.py passes it."""
    device, _ = backend.kernels("rowwise")
    A = data(12, 40, np.float32)
    out = backend.put(np.zeros(12))
    device.add_row_squares(backend.put(A)[:, 7:], out)
    np.testing.assert_allclose(
        backend.get(out), (A[:, 7:].astype(float) ** 2).sum(axis=1), rtol=1e-12
    )


@pytest.mark.parametrize("width", [3, 32, 70])
def test_results_do_not_depend_on_the_launch(backend: Any, width: int) -> None:
    device, _ = backend.kernels("rowwise")
    A = data(19, width, np.float64)
    seen = []
    for threads, blocks in ((32, 1), (64, 3), (128, 1)):
        out = backend.put(np.zeros(19))
        with launch.sizes(threads=threads, blocks=blocks):
            device.add_row_squares(backend.put(A), out)
        seen.append(backend.get(out).tobytes())
    assert len(set(seen)) == 1


# ---- sums


@pytest.mark.parametrize("n", [0, 1, 33, CHUNK + 1])
def test_total(backend: Any, n: int) -> None:
    x = data(1, n, np.float64)[0]
    with launch.sizes(threads=32, blocks=2):
        got = total(backend.put(x))
    assert isinstance(got, float)
    assert got == pytest.approx(math.fsum(x), rel=1e-12, abs=1e-12)


# ---- rank updates


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize(("r", "d"), [(1, 1), (7, 5), (40, 33), (0, 4)])
def test_rank_update(backend: Any, r: int, d: int, dtype: Any) -> None:
    B = data(r, d, dtype)
    C = np.asfortranarray(data(d, d, dtype, 2))
    if r:  # BLAS is not asked for an update by nothing
        assert_twins(backend, "blas", "rank_update", C, -0.5, B, rtol=1e-5, atol=1e-5)
    there = backend.put(C)
    blas.rank_update(there, -0.5, backend.put(B))
    got, lower = backend.get(there), np.tril_indices(d, -1)
    wanted = C.astype(float) - 0.5 * B.astype(float).T @ B.astype(float)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(np.triu(got), np.triu(wanted), atol=tolerance * (r + 1))
    np.testing.assert_array_equal(got[lower], C[lower])


def test_rank_update_refuses_other_layouts(backend: Any) -> None:
    B = backend.put(data(4, 3, np.float64))
    with pytest.raises(ValueError, match="Fortran"):
        blas.rank_update(backend.put(np.zeros((3, 3))), 1.0, B)
    C = backend.put(np.zeros((3, 3), order="F"))
    with pytest.raises(ValueError, match="dtype"):
        blas.rank_update(C, 1.0, backend.put(data(4, 3, np.float32)))
    with pytest.raises(ValueError, match="C-contiguous"):
        blas.rank_update(C, 1.0, backend.put(np.asfortranarray(data(4, 3, np.float64))))


class Cublas:
    """cuBLAS as `rank_update` calls it, on addresses in this process."""

    CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_N = 1, 0
    CUBLAS_POINTER_MODE_HOST, CUBLAS_DEFAULT_MATH, CUBLAS_TF32 = 0, 0, 3

    def __init__(self) -> None:
        self.pointers, self.math = 1, self.CUBLAS_TF32
        self.used: list[tuple[int, int]] = []

    def getPointerMode(self, handle: int) -> int:
        return self.pointers

    def setPointerMode(self, handle: int, mode: int) -> None:
        self.pointers = mode

    def getMathMode(self, handle: int) -> int:
        return self.math

    def setMathMode(self, handle: int, mode: int) -> None:
        self.math = mode

    def dsyrk(self, *args: Any) -> None:
        self._syrk(np.float64, *args)

    def ssyrk(self, *args: Any) -> None:
        self._syrk(np.float32, *args)

    def _syrk(self, dtype: Any, handle: Any, uplo: int, trans: int, *rest: int) -> None:
        n, k, alpha, A, lda, beta, C, ldc = rest
        assert (uplo, trans) == (self.CUBLAS_FILL_MODE_UPPER, self.CUBLAS_OP_N)
        self.used.append((self.pointers, self.math))
        rows = self.read(A, (k, lda), dtype)[:, :n].astype(float)  # columns of A
        update = float(self.read(alpha, (1,), dtype)[0]) * (rows.T @ rows)
        out = self.read(C, (n, ldc), dtype).T[:n]
        out *= self.read(beta, (1,), dtype)[0]
        out += np.triu(update).astype(dtype)

    @staticmethod
    def read(address: int, shape: tuple[int, ...], dtype: Any) -> Any:
        import ctypes

        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


class OnDevice:
    """An array with the attributes of CuPy's that `rank_update` reads."""

    def __init__(self, array: Any) -> None:
        self.array, self.dtype, self.shape = array, array.dtype, array.shape
        self.data = type("Data", (), {"ptr": array.ctypes.data})


@pytest.mark.parametrize("dtype", REAL)
def test_the_call_of_cublas(dtype: Any) -> None:
    """Arguments in cuBLAS's order, TF32 off during the call, the handle as it was after it."""
    cublas = Cublas()
    device = type("device", (), {"get_cublas_handle": staticmethod(lambda: 7)})
    cupy = type("cupy", (), {"cuda": type("cuda", (), {"cublas": cublas, "device": device})})
    B, C = data(6, 4, dtype), np.asfortranarray(data(4, 4, dtype, 1))
    wanted = C + np.triu(dtype(0.25) * (B.T @ B))
    blas._syrk(cupy, OnDevice(C), 0.25, OnDevice(B))
    np.testing.assert_allclose(C, wanted, rtol=1e-5)
    assert cublas.used == [(Cublas.CUBLAS_POINTER_MODE_HOST, Cublas.CUBLAS_DEFAULT_MATH)]
    assert (cublas.pointers, cublas.math) == (1, Cublas.CUBLAS_TF32)


# ---- proximal steps


@pytest.mark.parametrize("p", [1.0, 4 / 3, 1.5, 2.0, 3.0, 10.0])
def test_prox_entries(backend: Any, p: float) -> None:
    v = np.random.default_rng(0).standard_cauchy(150)
    v[3] = 0.0
    x = assert_twins(backend, "proximal", "prox_entries", v, 0.7, p, np.empty(150))[1]
    # x + lam p x^(p-1) = v, and nothing beyond.
    assert (np.abs(x) <= np.abs(v)).all()
    if p > 1.0:
        residue = np.abs(x) + 0.7 * p * np.abs(x) ** (p - 1.0) - np.abs(v)
        assert np.abs(residue[v != 0.0]).max() <= 1e-11 * np.abs(v).max()


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "d", "p"), [(9, 37, 1.0), (70, 3, 1.7), (1, 1, 1.5), (0, 5, 1.0)])
def test_split_step(backend: Any, n: int, d: int, p: float, weighted: bool, dtype: Any) -> None:
    A, L, U, M = (data(n, d, dtype, s) for s in range(4))
    W = np.random.default_rng(9).integers(0, 3, (n, d)).astype(dtype) if weighted else None
    there, here = both(backend, "proximal", "split_step", A, L, U, M, W, 0.3, p, 0.9)
    near = {"rtol": 1e-12 if dtype == np.float64 else 1e-5, "atol": 1e-6 * (dtype == np.float32)}
    for a, b in zip(there, here, strict=True):
        np.testing.assert_allclose(a, b, **near)
    R = A.astype(float) - L
    wanted = float(((1.0 if W is None else W) * np.abs(R) ** p).sum())
    assert there[-1] == pytest.approx(wanted, rel=1e-12)
    new_U, new_M = there[2].astype(float), there[3]
    np.testing.assert_allclose(new_M, A - (R + U - new_U / 0.9) + new_U, atol=1e-4)
