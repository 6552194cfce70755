"""Products by cuBLAS, in the arithmetic of the arrays' type: gemm and syrk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lpgeom.kernels.cpu.blas import checked
from lpgeom.kernels.cuda.arrays import array_module, is_simulated


def matmul(a: Any, b: Any, out: Any) -> Any:
    """``out = a b``; for float32 never by TF32, see `rank_update`.

    Parameters
    ----------
    a : array of the device, shape (m, l), float32 or float64
        Its rows contiguous, any distance apart (columns of a larger array need no copy), or the
        transpose of such an array.
    b, out : arrays of the device, shapes (l, r) and (m, r), C order, dtype of a
    """
    (m, length), r = a.shape, b.shape[1]
    if b.shape != (length, r) or out.shape != (m, r) or not a.dtype == b.dtype == out.dtype:
        raise ValueError("shapes and dtypes of a, b and out must agree")
    if not (b.flags.c_contiguous and out.flags.c_contiguous) or a.dtype not in (
        np.float32,
        np.float64,
    ):
        raise ValueError("b and out must be C-contiguous float32 or float64")
    if m == 0 or r == 0:
        return out
    if length == 0:
        out[:] = 0.0
        return out
    if is_simulated():
        return array_module().matmul(a, b, out=out)
    cupy = array_module()
    cublas = cupy.cuda.cublas
    routine = cublas.dgemm if a.dtype == np.float64 else cublas.sgemm
    one, zero = np.array(1.0, dtype=a.dtype), np.array(0.0, dtype=a.dtype)
    turned, stored = _as_stored(cublas, a)
    # In Fortran order the arrays are their transposes: out^T = b^T a^T.
    with _plain_arithmetic(cublas, cupy.cuda.device.get_cublas_handle()) as handle:
        routine(
            handle, cublas.CUBLAS_OP_N, turned, r, m, length,
            one.ctypes.data, b.data.ptr, r, a.data.ptr, stored, zero.ctypes.data, out.data.ptr, r,
        )  # fmt: skip
    return out


def _as_stored(cublas: Any, a: Any) -> tuple[int, int]:
    """How cuBLAS is told of a: turned or not, and the distance of its rows (or columns)."""
    (m, length), (down, right) = a.shape, (stride // a.itemsize for stride in a.strides)
    # Of a single row or column the distance is of no account, and may be anything.
    if (length == 1 or right == 1) and (m == 1 or down >= length):
        return cublas.CUBLAS_OP_N, max(down, length)
    if (m == 1 or down == 1) and (length == 1 or right >= m):
        return cublas.CUBLAS_OP_T, max(right, m)
    raise ValueError("the rows of a, or its columns, must be contiguous, and must not overlap")


def rank_update(C: Any, alpha: float, block: Any) -> None:
    """``C += alpha block^T block`` on the upper triangle of the column-major C.

    In the arithmetic of the arrays' type: the mode that uses TF32 for float32 is turned off for
    the call, whatever the handle or ``CUPY_TF32`` says. cuBLAS gives the same bits for the same
    shapes on the same device.

    Parameters
    ----------
    C : array of the device, shape (d, d), float32 or float64, Fortran order
    alpha : float
    block : array of the device, shape (r, d), C order, dtype of C
        Read by cuBLAS as its transpose in Fortran order: nothing is copied.
    """
    r, d = checked(C, block)
    if r == 0 or d == 0:
        return
    if is_simulated():
        C += np.triu(block.dtype.type(alpha) * (block.T @ block))
        return
    _syrk(array_module(), C, alpha, block)


def _syrk(cupy: Any, C: Any, alpha: float, block: Any) -> None:
    cublas = cupy.cuda.cublas
    r, d = block.shape
    routine = cublas.dsyrk if block.dtype == np.float64 else cublas.ssyrk
    scale, one = np.array(alpha, dtype=block.dtype), np.array(1.0, dtype=block.dtype)
    with _plain_arithmetic(cublas, cupy.cuda.device.get_cublas_handle()) as handle:
        routine(
            handle, cublas.CUBLAS_FILL_MODE_UPPER, cublas.CUBLAS_OP_N, d, r,
            scale.ctypes.data, block.data.ptr, d, one.ctypes.data, C.data.ptr, d,
        )  # fmt: skip


@contextmanager
def _plain_arithmetic(cublas: Any, handle: int) -> Iterator[int]:
    """The handle without TF32, and with factors on the host, while the body runs."""
    pointers, mode = cublas.getPointerMode(handle), cublas.getMathMode(handle)
    cublas.setPointerMode(handle, cublas.CUBLAS_POINTER_MODE_HOST)
    cublas.setMathMode(handle, cublas.CUBLAS_DEFAULT_MATH)
    try:
        yield handle
    finally:
        cublas.setPointerMode(handle, pointers)
        cublas.setMathMode(handle, mode)
