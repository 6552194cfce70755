"""Products of matrices by cuBLAS gemm, in the arithmetic of the arrays' type."""

from __future__ import annotations

from typing import Any

import numpy as np

from lpgeom.kernels.cuda.arrays import array_module, is_simulated
from lpgeom.kernels.cuda.rank_update import plain_arithmetic


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
    with plain_arithmetic(cublas, cupy.cuda.device.get_cublas_handle()) as handle:
        routine(
            handle,
            cublas.CUBLAS_OP_N,
            turned,
            r,
            m,
            length,
            one.ctypes.data,
            b.data.ptr,
            r,
            a.data.ptr,
            stored,
            zero.ctypes.data,
            out.data.ptr,
            r,
        )
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
