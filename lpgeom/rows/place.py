"""Where blocks of rows lie, and what works on them there: one pass is written for every place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpgeom.kernels.cpu import rowwise
from lpgeom.kernels.cpu.rank_update import rank_update
from lpgeom.rows.base import Array


@dataclass(frozen=True)
class Place:
    """Array functions and kernels of one memory.

    Attributes
    ----------
    xp : module
        NumPy, or CuPy.
    rowwise : module
        ``kernels.cpu.rowwise`` or its twin.
    matmul : callable
        ``matmul(a, b, out)``, in the arithmetic of the type.
    rank_update : callable
        ``kernels.cpu.rank_update.rank_update`` or its twin.
    host : callable
        An array of this place as NumPy's; itself if it is.
    panel : int or None
        Columns of one panel of a triangular product: wide enough for BLAS, narrow enough to skip
        most of the zero triangle. None: whole products.
    flush : int
        Blocks summed in float32 before they are added to a float64 sum.
    triangular : bool
        Whether a wide X is made triangular before ``||a X||^2``: a QR of a (d, d) matrix on the
        host, for half of the product. On a device the QR would take longer than the product.
    """

    xp: Any
    rowwise: Any
    matmul: Callable[..., Any]
    rank_update: Callable[[Any, float, Any], None]
    host: Callable[[Any], Array]
    panel: int | None
    flush: int
    triangular: bool = False


HOST = Place(np, rowwise, np.matmul, rank_update, np.asarray, panel=96, flush=32, triangular=True)
