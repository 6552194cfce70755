"""Rows to the nearest of a few levels. See `lpgeom.kernels.cpu.rounding`.

A warp for each row: in the kernels that go from column to column it shares each column's update,
which takes d / 32 steps.
"""

from typing import Any

from numba import cuda

from lpgeom.kernels.cpu import rounding as text
from lpgeom.kernels.cuda.lanes import told
from lpgeom.kernels.cuda.launch import WARP, by_rows

_nearest = cuda.jit(device=True)(getattr(text._nearest, "py_func", text._nearest))


def _by_warps(kernel: Any) -> Any:
    return by_rows(WARP)(told(kernel, _nearest=_nearest))


fit_scales, nearest_codes = _by_warps(text.fit_scales), _by_warps(text.nearest_codes)
feed_back, descend_codes = _by_warps(text.feed_back), _by_warps(text.descend_codes)
add_cast_squares = _by_warps(text.add_cast_squares)
