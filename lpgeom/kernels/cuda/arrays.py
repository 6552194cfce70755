"""Which arrays live on the device: CuPy's, or NumPy's where numba simulates the device."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import config


def is_simulated() -> bool:
    """True where numba runs kernels in its simulator (``NUMBA_ENABLE_CUDASIM=1``)."""
    return bool(config.ENABLE_CUDASIM)


@cache
def array_module() -> Any:
    """CuPy; NumPy in the simulator.

    Raises
    ------
    ImportError
        If CuPy is needed and not installed.
    """
    if is_simulated():
        return np
    try:
        import cupy  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError(
            "arrays on a CUDA device need CuPy, which is not installed: pip install 'lpgeom[cuda]'"
        ) from error
    return cupy
