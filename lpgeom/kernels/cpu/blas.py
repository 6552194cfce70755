"""Symmetric rank updates ``C += alpha B^T B`` by BLAS syrk, without holding the GIL.

NumPy has the product but not the accumulation (it would fill both triangles and add a temporary
for every block); SciPy's ``blas.dsyrk`` accumulates but holds the GIL. So the same routine is
called through the C interface that SciPy publishes for this (``scipy.linalg.cython_blas``).
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@cache
def _routine(name: str) -> Any:
    """syrk as a foreign function; ctypes releases the GIL around the call."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__[name]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = get_name(capsule)
    if signature.count(b"int *") != 4:
        raise RuntimeError(f"scipy's {name} has an interface this version does not know")
    address = get_pointer(capsule, signature)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 10)(address)


def rank_update(C: NDArray[Any], alpha: float, block: NDArray[Any]) -> None:
    """``C += alpha block^T block`` on the upper triangle of the column-major C.

    Parameters
    ----------
    C : ndarray, shape (d, d), float32 or float64, Fortran order
    alpha : float
    block : ndarray, shape (r, d), C order, dtype of C
        Read by BLAS as its transpose in Fortran order: nothing is copied.
    """
    r, d = checked(C, block)
    double = block.dtype == np.float64
    real = ctypes.c_double if double else ctypes.c_float
    size, count = ctypes.c_int(d), ctypes.c_int(r)
    scale, one = real(alpha), real(1.0)
    by = ctypes.byref
    _routine("dsyrk" if double else "ssyrk")(
        b"U", b"N", by(size), by(count),
        by(scale), block.ctypes.data, by(size), by(one), C.ctypes.data, by(size),
    )  # fmt: skip


def checked(C: Any, block: Any) -> tuple[int, int]:
    """The shape of a block that `rank_update` takes, here or on a device."""
    r, d = block.shape
    if C.shape != (d, d) or C.dtype != block.dtype or not C.flags.f_contiguous:
        raise ValueError("C must be (d, d), Fortran-contiguous, of the block's dtype")
    if not block.flags.c_contiguous or block.dtype not in (np.float32, np.float64):
        raise ValueError("block must be C-contiguous float32 or float64")
    return r, d
