"""Whole routes with their certificate, cold and warm, beside the SVD on the same device."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lpgeom
from lpgeom.rows import device

from . import clock

COLUMNS = ("way", "cold s", "warm s", "cost", "ratio")

Work = Callable[[], Any]

SLOW = 10.0
"""Seconds: what took longer at first is repeated once."""


@dataclass(frozen=True)
class Way:
    """One way to a subspace: seconds of the first call, and of the later ones (wall clock)."""

    name: str
    shape: tuple[int, int]
    cold: float | None
    warm: list[float]
    cost: float | None = None
    ratio: float | None = None
    error: str | None = None

    def row(self) -> tuple[Any, ...]:
        if self.error is not None:
            return self.name, self.error[:40], None, None, None
        return self.name, self.cold, statistics.median(self.warm), self.cost, self.ratio

    def record(self) -> dict[str, Any]:
        return {
            "way": self.name,
            "shape": list(self.shape),
            "cold_seconds": self.cold,
            "warm_seconds": self.warm,
            "cost": self.cost,
            "ratio": self.ratio,
            "error": self.error,
        }


def ways(n: int, d: int, *, svd: bool = True) -> dict[str, Work]:
    """p = 1, k = d / 2, by name; the goals' first."""
    k = d // 2
    there = clock.rows(n, d)
    here = device.host(there)
    found: dict[str, Work] = {
        "lpgeom, device array": lambda: lpgeom.approx_subspace(there, k, 1.0),
        "lpgeom, host array": lambda: lpgeom.approx_subspace(here, k, 1.0, backend="cuda"),
        "lpgeom, no certificate": lambda: lpgeom.approx_subspace(there, k, 1.0, certify=False),
        "lpgeom, coreset": lambda: lpgeom.coreset(there, size=min(n, 8 * d), p=1.0),
        "lpgeom, Lewis weights": lambda: lpgeom.lewis_weights(there, 1.0, tol=1e-2),
    }
    return found | (_svds(there) if svd else {})


def cpu(n: int, d: int) -> dict[str, Work]:
    """Our route on the host, on the same rows."""
    here = device.host(clock.rows(n, d))
    return {"lpgeom, CPU": lambda: lpgeom.approx_subspace(here, d // 2, 1.0)}


def _svds(there: Any) -> dict[str, Work]:
    xp = device.array_module()
    ways: dict[str, Work] = {
        f"{xp.__name__}.linalg.svd": lambda: xp.linalg.svd(there, full_matrices=False)
    }
    try:
        import torch
    except ImportError:
        return ways
    if torch.cuda.is_available():
        tensor = torch.from_dlpack(there)
        ways["torch.linalg.svd"] = lambda: torch.linalg.svd(tensor, full_matrices=False)
    return ways


def timed(name: str, work: Work, shape: tuple[int, int], repeats: int) -> Way:
    """A way that fails says why, and the others go on."""
    try:
        (cold,) = clock.wall_seconds(work, 1)
        last: list[Any] = [None]

        def kept() -> None:
            last[0] = None  # its memory back before the next run
            last[0] = work()

        warm = clock.wall_seconds(kept, repeats if cold < SLOW else 1)
    except Exception as error:  # out of memory, most likely: the other ways are worth having
        return Way(name, shape, None, [], error=f"{type(error).__name__}: {error}")
    result = last[0]
    cost, ratio = getattr(result, "cost", None), getattr(result, "ratio", None)
    return Way(name, shape, cold, warm, cost, ratio)
