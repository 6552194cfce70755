"""What the device can do at best: bytes moved by a large copy, products of large matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lpgeom.rows import device
from lpgeom.rows.place import device_place

from .clock import seconds

COLUMNS = ("ceiling", "measured", "unit")


@dataclass(frozen=True)
class Ceilings:
    """Measured on this device in this run.

    Attributes
    ----------
    bandwidth : float
        Bytes a second, read and written.
    flops : dict
        Floating-point operations a second of a product, by the name of its dtype.
    """

    bandwidth: float
    flops: dict[str, float]

    def floor(self, flops: float, size: float, dtype: Any) -> float:
        """Seconds that no version of the work can beat."""
        return max(flops / self.flops[np.dtype(dtype).name], size / self.bandwidth)

    def rows(self) -> list[tuple[Any, ...]]:
        products = [(f"product, {k}", v / 1e12, "TFLOP/s") for k, v in self.flops.items()]
        return [("copy", self.bandwidth / 1e9, "GB/s"), *products]

    def record(self) -> dict[str, Any]:
        return {"bandwidth_bytes_per_s": self.bandwidth, "flops_per_s": self.flops}


def measure(*, small: bool) -> Ceilings:
    """A copy of 4 GiB and products of 8192 x 8192 (tiny ones where `small`)."""
    xp = device.array_module()
    matmul = device_place().kernels.matmul
    count, size = (1 << 20, 256) if small else (1 << 29, 8192)
    bandwidth = 2.0 * 8 * count / _copying(xp, count)
    flops = {}
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        a = xp.asarray(rng.standard_normal((size, size)).astype(dtype))
        b, out = a.copy(), xp.empty((size, size), dtype)
        took = seconds(lambda a=a, b=b, out=out: matmul(a, b, out=out), 5)  # type: ignore[misc]
        flops[np.dtype(dtype).name] = 2.0 * size**3 / took
    return Ceilings(bandwidth, flops)


def _copying(xp: Any, count: int) -> float:
    """Seconds to copy so many float64."""
    source, target = xp.ones(count), xp.empty(count)

    def copy() -> None:
        target[:] = source

    return seconds(copy, 5)
