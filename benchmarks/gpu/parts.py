"""Where the time of a whole route goes: passes, eigenproblems, (d, d) work on the host."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

import lpgeom
from lpgeom.rows import device
from lpgeom.rows.blocks import BlockRows

from . import clock

COLUMNS = ("part", "calls", "ms", "of the whole")

PASSES = (
    "squared_norms",
    "quadratic_form",
    "bilinear_form",
    "weighted_gram",
    "reweighted_gram",
    "triangle",
)
HERE = ("eigh", "eigvalsh", "svd", "qr", "solve", "inv", "cholesky", "lstsq", "pinv")


@dataclass
class Parts:
    """Calls and seconds by name; a part that calls another does not count its time."""

    calls: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    whole: float = 0.0
    _inner: list[float] = field(default_factory=list)

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            clock.synchronize()
            begin = time.perf_counter()
            self._inner.append(0.0)
            try:
                return work(*args, **kwargs)
            finally:
                clock.synchronize()
                took = time.perf_counter() - begin
                own = took - self._inner.pop()
                if self._inner:
                    self._inner[-1] += took
                self.calls[name] = self.calls.get(name, 0) + 1
                self.seconds[name] = self.seconds.get(name, 0.0) + own

        return call

    def rows(self) -> list[tuple[Any, ...]]:
        found = sorted(self.seconds.items(), key=lambda part: -part[1])
        rest = self.whole - sum(self.seconds.values())
        return [
            (name, self.calls.get(name), 1e3 * took, f"{took / self.whole:.0%}")
            for name, took in [*found, ("all else", rest), ("the whole", self.whole)]
        ]

    def record(self) -> dict[str, Any]:
        return {"whole_seconds": self.whole, "calls": self.calls, "seconds": self.seconds}


def measure(n: int, d: int) -> Parts:
    """One warm run at p = 1, k = d / 2, with certificate, from a device array.

    The device is waited for around every part, which makes the whole some percent longer.
    """
    there = clock.rows(n, d)
    lpgeom.approx_subspace(there, d // 2, 1.0)
    parts = Parts()
    with _watched(parts):
        parts.whole = clock.wall_seconds(lambda: lpgeom.approx_subspace(there, d // 2, 1.0), 1)[0]
    return parts


@contextmanager
def _watched(parts: Parts) -> Iterator[None]:
    watched: list[tuple[Any, str, str]] = [
        (device, "eigh", "eigh, device"),
        (device, "eigvalsh", "eigvalsh, device"),
        *((np.linalg, name, f"{name}, host") for name in HERE),
        *((BlockRows, name, f"pass: {name}") for name in PASSES),
    ]
    with ExitStack() as stack:
        for owner, name, label in watched:
            timed = parts.timed(label, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, timed))
        yield
