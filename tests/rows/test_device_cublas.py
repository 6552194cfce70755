"""What cuBLAS is asked for, answered by its definitions on host memory: column-major, by address.

``gemm``: ``C = alpha op(A) op(B) + beta C``. ``syrk``: a triangle of ``C = alpha A A^T + beta C``.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from lpgeom.kernels.cuda import blas

DTYPES = [np.float32, np.float64]


def columns(address: int, rows: int, count: int, lead: int, dtype: Any) -> Any:
    """The matrix (rows, count) whose columns begin `lead` entries apart, in place."""
    assert lead >= max(1, rows), "cuBLAS refuses such a leading dimension"
    size = (lead * (count - 1) + rows) * np.dtype(dtype).itemsize if count else 0
    flat = np.frombuffer((ctypes.c_char * size).from_address(address), dtype)
    strides = (flat.itemsize, lead * flat.itemsize)
    return np.lib.stride_tricks.as_strided(flat, (rows, count), strides)


class Cublas:
    """Arguments in the order of cupy_backends.cuda.libs.cublas (CuPy 13 to 15)."""

    CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
    CUBLAS_FILL_MODE_LOWER, CUBLAS_FILL_MODE_UPPER = 0, 1
    CUBLAS_POINTER_MODE_HOST, CUBLAS_POINTER_MODE_DEVICE = 0, 1
    CUBLAS_DEFAULT_MATH, CUBLAS_TF32 = 0, 3

    def __init__(self) -> None:
        self.pointers, self.math = self.CUBLAS_POINTER_MODE_DEVICE, self.CUBLAS_TF32

    def getPointerMode(self, handle: int) -> int:
        return self.pointers

    def setPointerMode(self, handle: int, mode: int) -> None:
        self.pointers = mode

    def getMathMode(self, handle: int) -> int:
        return self.math

    def setMathMode(self, handle: int, mode: int) -> None:
        self.math = mode

    def dgemm(self, *args: int) -> None:
        self._gemm(np.float64, *args)

    def sgemm(self, *args: int) -> None:
        self._gemm(np.float32, *args)

    def dsyrk(self, *args: int) -> None:
        self._syrk(np.float64, *args)

    def ssyrk(self, *args: int) -> None:
        self._syrk(np.float32, *args)

    def _checked(self, handle: int, sizes: tuple[int, ...]) -> None:
        assert handle == 7
        assert (self.pointers, self.math) == (0, 0)
        assert all(type(size) is int and 0 <= size < 2**31 for size in sizes)

    def _gemm(self, dtype: Any, handle: int, turned_a: int, turned_b: int, *rest: int) -> None:
        m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = rest
        self._checked(handle, (m, n, k, lda, ldb, ldc))
        A = columns(a, k, m, lda, dtype).T if turned_a else columns(a, m, k, lda, dtype)
        B = columns(b, n, k, ldb, dtype).T if turned_b else columns(b, k, n, ldb, dtype)
        C = columns(c, m, n, ldc, dtype)
        old = number(beta, dtype)
        C[...] = number(alpha, dtype) * (A @ B) + (old * C if old else 0.0)

    def _syrk(self, dtype: Any, handle: int, triangle: int, turned: int, *rest: int) -> None:
        n, k, alpha, a, lda, beta, c, ldc = rest
        self._checked(handle, (n, k, lda, ldc))
        A = columns(a, k, n, lda, dtype).T if turned else columns(a, n, k, lda, dtype)
        C = columns(c, n, n, ldc, dtype)
        kept = np.triu if triangle == self.CUBLAS_FILL_MODE_UPPER else np.tril
        mask = kept(np.ones((n, n), bool))
        C[mask] = (number(alpha, dtype) * (A @ A.T) + number(beta, dtype) * C)[mask]


def number(address: int, dtype: Any) -> Any:
    return columns(address, 1, 1, 1, dtype)[0, 0]


class OnDevice:
    """An array with the attributes of CuPy's that are read."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape, self.strides, self.dtype = array.shape, array.strides, array.dtype
        self.itemsize, self.flags = array.itemsize, array.flags
        self.data = SimpleNamespace(ptr=array.ctypes.data)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array[key] = value


@pytest.fixture
def cublas() -> Any:
    found = Cublas()
    device = SimpleNamespace(get_cublas_handle=lambda: 7)
    cupy = SimpleNamespace(cuda=SimpleNamespace(cublas=found, device=device))
    simulated = {"is_simulated": lambda: False, "array_module": lambda: cupy}
    with (
        mock.patch.multiple(blas, **simulated),
    ):
        yield found
    assert (found.pointers, found.math) == (1, Cublas.CUBLAS_TF32)


def layouts(a: Any) -> dict[str, Any]:
    """The same matrix, its entries apart in every way that `matmul` takes."""
    m, length = a.shape
    wide = np.zeros((m, length + 3), a.dtype)
    wide[:, 2 : 2 + length] = a
    tall = np.zeros((length, m + 5), a.dtype)
    tall[:, 1 : 1 + m] = a.T
    return {
        "C": np.ascontiguousarray(a),
        "F": np.asfortranarray(a),
        "columns of a larger one": wide[:, 2 : 2 + length],
        "turned columns of a larger one": tall[:, 1 : 1 + m].T,
        "every other row": np.repeat(a, 2, axis=0)[::2],
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("m", "length", "r"),
    [(7, 5, 3), (5, 7, 7), (1, 5, 3), (5, 1, 3), (5, 7, 1), (1, 1, 1), (3, 1, 1), (1, 4, 1)],
)
def test_matmul(cublas: Any, m: int, length: int, r: int, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((m, length)).astype(dtype)
    b = rng.standard_normal((length, r)).astype(dtype)
    for name, stored in layouts(a).items():
        out = np.full((m, r), np.nan, dtype)
        blas.matmul(OnDevice(stored), OnDevice(b), OnDevice(out))
        np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-5, err_msg=name)


def test_nothing_to_multiply(cublas: Any) -> None:
    """Sums of no terms are 0, and cuBLAS would refuse a leading dimension of 0."""
    for m, length, r in ((3, 0, 2), (0, 3, 2), (3, 2, 0)):
        out = np.full((m, r), np.nan)
        blas.matmul(*(OnDevice(v) for v in (np.ones((m, length)), np.ones((length, r)), out)))
        assert (out == 0.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("r", "d"), [(9, 4), (2, 5), (1, 3), (4, 1), (1, 1)])
def test_rank_update(cublas: Any, r: int, d: int, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    block = rng.standard_normal((r, d)).astype(dtype)
    C = np.asfortranarray(rng.standard_normal((d, d)).astype(dtype))
    before = C.copy()
    blas.rank_update(OnDevice(C), -0.25, OnDevice(block))
    np.testing.assert_allclose(np.triu(C), np.triu(before - 0.25 * block.T @ block), rtol=1e-4)
    np.testing.assert_array_equal(np.tril(C, -1), np.tril(before, -1))


@pytest.mark.parametrize(
    ("a", "b", "out"),
    [
        (np.ones((4, 4))[::2, ::2], np.ones((2, 3)), np.ones((2, 3))),  # neither in a row
        (np.ones((2, 3)), np.ones((3, 4)).T[:3], np.ones((2, 3))),
        (np.ones((2, 3)), np.ones((3, 3)), np.ones((3, 2)).T),
        (np.ones((2, 3)), np.ones((3, 3), np.float32), np.ones((2, 3))),
        (np.ones((2, 3), int), np.ones((3, 3), int), np.ones((2, 3), int)),
    ],
)
def test_what_cublas_would_misread_is_refused(cublas: Any, a: Any, b: Any, out: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        blas.matmul(OnDevice(a), OnDevice(b), OnDevice(out))


def test_overlapping_rows_are_refused(cublas: Any) -> None:
    """A leading dimension is at least a row: rows that overlap or run backwards have none."""
    base = np.arange(10.0)
    over = np.lib.stride_tricks.as_strided(base, (4, 3), (8, 8))
    for a in (over, np.ones((4, 3))[::-1], np.broadcast_to(np.ones(3), (4, 3))):
        with pytest.raises(ValueError, match="rows"):
            blas.matmul(OnDevice(a), OnDevice(np.ones((3, 2))), OnDevice(np.empty((4, 2))))
