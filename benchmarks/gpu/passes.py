"""Each pass over rows on the device, and its share of the roofline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpgeom.rows.cuda import CudaRows

from . import clock
from .ceilings import Ceilings

COLUMNS = ("pass", "dtype", "ms", "TFLOP/s", "GB/s", "of roofline")


@dataclass(frozen=True)
class Pass:
    """One pass, timed. `flops` and `size` (bytes) are what it cannot do without."""

    name: str
    shape: tuple[int, int]
    dtype: str
    seconds: float
    flops: float
    size: float
    share: float

    def row(self) -> tuple[Any, ...]:
        rate, moved = self.flops / self.seconds / 1e12, self.size / self.seconds / 1e9
        return self.name, self.dtype, 1e3 * self.seconds, rate, moved, f"{self.share:.0%}"

    def record(self) -> dict[str, Any]:
        return {
            "pass": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "seconds": self.seconds,
            "flops": self.flops,
            "bytes": self.size,
            "roofline_share": self.share,
        }


def measure(n: int, d: int, limits: Ceilings, repeats: int) -> list[Pass]:
    """Every pass in float32 and in float64 over rows that are stored in float32."""
    rows = CudaRows(clock.rows(n, d))
    k = d // 2
    rng = np.random.default_rng(0)
    X, M = rng.standard_normal((d, d - k)), rng.standard_normal((d, d))
    M = M + M.T
    xp = rows.place.xp
    w = xp.asarray(rng.random(n))

    def rule(t: Any, lo: int, hi: int) -> Any:
        return np.maximum(t, 1e-3) ** -0.5

    # Products at their least: a Gram is half of one, and so is a form with a symmetric matrix.
    passes: dict[str, tuple[Callable[[Any], Any], float]] = {
        "squared_norms": (lambda view: view.scaled(1.0).squared_norms(), 2.0 * n * d),
        "quadratic_form": (lambda view: view.quadratic_form(X), 2.0 * n * d * (d - k)),
        "bilinear_form": (lambda view: view.bilinear_form(M), 1.0 * n * d * d),
        "weighted_gram": (lambda view: view.weighted_gram(w), 1.0 * n * d * d),
        "reweighted_gram": (
            lambda view: view.reweighted_gram(X, rule),
            2.0 * n * d * (d - k) + 1.0 * n * d * d,
        ),
    }
    found = []
    for view in (rows.single(), rows):
        for name, (work, flops) in passes.items():
            size = 4.0 * n * d + 8.0 * n
            took = clock.seconds(lambda work=work, view=view: work(view), repeats)  # type: ignore[misc]
            floor = limits.floor(flops, size, view.dtype)
            found.append(Pass(name, (n, d), view.dtype.name, took, flops, size, floor / took))
    return found
