"""Kernels on a CUDA device, or in numba's simulator.

``NUMBA_ENABLE_CUDASIM=1 pytest tests/kernels/cuda`` takes the simulator. Without either these tests
are not collected; ``tests/kernels/test_cuda.py`` runs them in the simulator, in processes of their
own, and says so where there is no device.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import config

sys.path.insert(1, str(Path(__file__).resolve().parents[3]))  # tests.problems, tests.reference


def device_found() -> bool:
    """True if numba and CuPy are there and find a device."""
    try:
        import cupy
        from numba import cuda
    except ImportError:
        return False
    return bool(cuda.is_available() and cupy.cuda.is_available())


SIMULATED = bool(config.ENABLE_CUDASIM)

collect_ignore_glob = [] if SIMULATED or device_found() else ["test_*.py"]

if SIMULATED:
    import simulator

    simulator.install()


@dataclass(frozen=True)
class Backend:
    """Where kernels run in these tests.

    Attributes
    ----------
    name : {"simulator", "hardware"}
    xp : module
        Whose arrays live there: CuPy, or NumPy in the simulator.
    """

    name: str
    xp: Any

    def put(self, *arrays: Any) -> Any:
        """Copies on the device, in the order (C or Fortran) of what is given; None stays None."""
        done = [None if a is None else self.xp.array(a, order="K") for a in arrays]
        return done[0] if len(done) == 1 else done

    def get(self, *arrays: Any) -> Any:
        """Copies in NumPy."""
        done = [np.array(a) if isinstance(a, np.ndarray) else a.get() for a in arrays]
        return done[0] if len(done) == 1 else done

    def kernels(self, name: str) -> tuple[Any, Any]:
        """The module of that name among the CUDA kernels, and its twin for the CPU."""
        return tuple(import_module(f"lpgeom.kernels.{target}.{name}") for target in ("cuda", "cpu"))


@pytest.fixture(scope="session")
def backend() -> Backend:
    from lpgeom.kernels.cuda.arrays import array_module, is_simulated

    return Backend("simulator" if is_simulated() else "hardware", array_module())


@pytest.fixture(autouse=True)
def small_launches() -> Iterator[None]:
    """Two warps a block and two blocks: small inputs cross the borders of both."""
    from lpgeom.kernels.cuda import launch

    with launch.sizes(threads=64, blocks=2):
        yield
