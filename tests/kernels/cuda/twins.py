"""Runs a CUDA kernel and its CPU twin on copies of the same arguments."""

from __future__ import annotations

from typing import Any

import numpy as np


def both(backend: Any, module: str, name: str, *args: Any) -> tuple[list[Any], list[Any]]:
    """(arrays and return value) of the CUDA kernel, and of the CPU's; arrays in order."""
    device, cpu = backend.kernels(module)
    there = [backend.put(a) if isinstance(a, np.ndarray) else a for a in args]
    here = [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in args]
    results = []
    for kernel, values in ((getattr(device, name), there), (getattr(cpu, name), here)):
        returned = kernel(*values)
        assert returned is None or isinstance(returned, int | float), type(returned)
        arrays = [v for v, a in zip(values, args, strict=True) if isinstance(a, np.ndarray)]
        results.append(
            [np.asarray(a.get() if hasattr(a, "get") else a) for a in arrays]
            + ([] if returned is None else [returned])
        )
    return results[0], results[1]


def assert_twins(
    backend: Any, module: str, name: str, *args: Any, rtol: float = 1e-12, atol: float = 0.0
) -> list[Any]:
    """Both agree in everything they were given and returned; what the CUDA kernel left."""
    there, here = both(backend, module, name, *args)
    assert len(there) == len(here)
    for a, b in zip(there, here, strict=True):
        # Entries that neither wrote may be anything, but the same.
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    return there
