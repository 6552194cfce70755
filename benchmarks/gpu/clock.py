"""Device time: events around what is queued, medians of repeats."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lpgeom.rows import device

Work = Callable[[], Any]


def has_events() -> bool:
    """Whether there is a device that times itself (not in the simulator)."""
    return hasattr(device.array_module(), "cuda")


def synchronize() -> None:
    if has_events():
        device.array_module().cuda.Device().synchronize()


def seconds(work: Work, repeats: int, *, warm: bool = True) -> float:
    """Median device time of `work`, from an event before it to one after all that it queued."""
    if warm:
        work()
    found = []
    for _ in range(repeats):
        synchronize()
        if has_events():
            cuda = device.array_module().cuda
            start, stop = cuda.Event(), cuda.Event()
            start.record()
            work()
            stop.record()
            stop.synchronize()
            found.append(cuda.get_elapsed_time(start, stop) / 1e3)
        else:
            begin = time.perf_counter()
            work()
            found.append(time.perf_counter() - begin)
    return statistics.median(found)


def wall_seconds(work: Work, repeats: int) -> list[float]:
    """Wall-clock times of `work`, each to the end of what it queued; none is left out."""
    found = []
    for _ in range(repeats):
        synchronize()
        begin = time.perf_counter()
        work()
        synchronize()
        found.append(time.perf_counter() - begin)
    return found


def rows(n: int, d: int, seed: int = 0) -> Any:
    """A float32 device array: a decaying spectrum, and two rows in a hundred ten times as long."""
    xp = device.array_module()
    scale = xp.asarray(np.linspace(2.0, 0.2, d).astype(np.float32))
    if not has_events():
        A = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
        A = xp.asarray(A) * scale
    else:
        A = xp.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)
        A *= scale
    A[::50] *= 10.0
    return A


def describe() -> dict[str, Any]:
    """The device and the libraries that drive it."""
    about: dict[str, Any] = {"name": device.name()}
    if has_events():
        import cupy

        runtime = cupy.cuda.runtime
        properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
        about |= {
            "memory_GiB": round(properties["totalGlobalMem"] / 2**30, 1),
            "multiprocessors": properties["multiProcessorCount"],
            "driver": runtime.driverGetVersion(),
            "runtime": runtime.runtimeGetVersion(),
            "cupy": cupy.__version__,
        }
    import numba_cuda

    return {**about, "numba_cuda": numba_cuda.__version__}
