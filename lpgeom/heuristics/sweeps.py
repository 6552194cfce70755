"""Sweeps over an array in memory, block by block, on the threads that `spread` allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from lpgeom.rows.base import Array
from lpgeom.threads import spread

T = TypeVar("T")

BLOCK_ENTRIES = 1 << 18
"""Entries of one block (2 MiB): what is computed from it meets it in cache."""


def sweep(A: Array, work: Callable[[Iterator[slice]], T]) -> list[T]:
    """``work(slices)`` on every worker, each with its own slices of the rows of A; the results."""
    n, d = A.shape
    step = max(1, BLOCK_ENTRIES // d)

    def run(i: int, workers: int, stopped: Callable[[], bool]) -> T:
        def slices() -> Iterator[slice]:
            for lo in range(i * step, n, workers * step):
                if stopped():
                    return
                yield slice(lo, min(lo + step, n))

        return work(slices())

    return spread(run, float(n) * d)
