"""Several ways to do the same thing, timed turn by turn in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def interleaved(
    ways: Mapping[str, Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of each way, `repeats` times in turn, and what each returned last.

    Turns, and a start that moves on by one each round, keep slow drifts of the machine from
    favouring one way. Each way is to be warm (compiled, imported) before. With
    `clock=time.process_time` they are processor seconds: of all threads, other programs left out.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    names = list(ways)
    for turn in range(repeats):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            results.pop(name, None)  # its memory back before the next run
            begin = clock()
            results[name] = ways[name]()
            seconds[name].append(clock() - begin)
    return seconds, results


def ratios(seconds: Mapping[str, list[float]], base: str) -> dict[str, float]:
    """Each way's median over the median of `base`."""
    reference = statistics.median(seconds[base])
    return {name: statistics.median(values) / reference for name, values in seconds.items()}
