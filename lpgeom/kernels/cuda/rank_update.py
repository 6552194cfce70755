"""Symmetric rank updates ``C += alpha B^T B`` by cuBLAS syrk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lpgeom.kernels.cuda.arrays import array_module, is_simulated


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
    r, d = block.shape
    if C.shape != (d, d) or C.dtype != block.dtype or not C.flags.f_contiguous:
        raise ValueError("C must be (d, d), Fortran-contiguous, of the block's dtype")
    if not block.flags.c_contiguous or block.dtype not in (np.float32, np.float64):
        raise ValueError("block must be C-contiguous float32 or float64")
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
    with plain_arithmetic(cublas, cupy.cuda.device.get_cublas_handle()) as handle:
        routine(
            handle,
            cublas.CUBLAS_FILL_MODE_UPPER,
            cublas.CUBLAS_OP_N,
            d,
            r,
            scale.ctypes.data,
            block.data.ptr,
            d,
            one.ctypes.data,
            C.data.ptr,
            d,
        )


@contextmanager
def plain_arithmetic(cublas: Any, handle: int) -> Iterator[int]:
    """The handle without TF32, and with factors on the host, while the body runs."""
    pointers, mode = cublas.getPointerMode(handle), cublas.getMathMode(handle)
    cublas.setPointerMode(handle, cublas.CUBLAS_POINTER_MODE_HOST)
    cublas.setMathMode(handle, cublas.CUBLAS_DEFAULT_MATH)
    try:
        yield handle
    finally:
        cublas.setPointerMode(handle, pointers)
        cublas.setMathMode(handle, mode)
