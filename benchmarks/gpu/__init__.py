"""The CUDA device: checked against float64 on the CPU, then timed by its own events.

One run does everything: parity of every pass and of whole routes, the device's own ceilings (a
large copy, large products), each pass as a share of its roofline, whole routes cold and warm from a
host and from a device array, and the SVD of CuPy and torch on the same device beside our CPU route.
Without a device it says so and ends. In Numba's simulator, where the tests run it on tiny input, it
shows that the harness works, and times nothing.
"""

from __future__ import annotations

import argparse
from typing import Any

from lpgeom.datasets import MissingData

from ..report import table

SIZES = ((30522, 384), (30522, 768), (50265, 768), (250000, 1024), (2000000, 512))
QUICK = ((4000, 128), (9000, 256))
SIMULATED = ((70, 12),)

HEADLINE = (50265, 768)
"""The size of the goals: 0.5 s from a host array, 0.25 s from a device array, at k = d / 2."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-cpu", action="store_true", help="leave out our CPU route")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument(
        "--size", action="append", metavar="NxD", help="instead of the list; may be repeated"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, printed as it comes."""
    from lpgeom.rows import device

    try:
        device.require()
    except (ImportError, RuntimeError) as error:
        raise MissingData(str(error)) from error
    from . import ceilings, checks, passes, routes
    from .clock import describe, has_events

    simulated = not has_events()
    sizes = _sizes(options, simulated)
    about = describe()
    print(f"{about['name']}: {about}")
    checked = checks.run(small=simulated)
    print("\n" + table(checks.COLUMNS, [c.row() for c in checked], "Against float64 on the CPU"))
    if not all(c.good for c in checked):
        raise SystemExit("benchmarks gpu: the device's numbers are wrong; nothing was timed")
    limits = ceilings.measure(small=simulated or options.quick)
    print("\n" + table(ceilings.COLUMNS, limits.rows(), "Ceilings of this device"))
    timed_passes, timed_routes = [], []
    for n, d in sizes:
        found = passes.measure(n, d, limits, options.repeats)
        print("\n" + table(passes.COLUMNS, [p.row() for p in found], f"Passes over {n} x {d}"))
        timed_passes += [p.record() for p in found]
        whole = routes.measure(
            n, d, options.repeats, cpu=not options.no_cpu and n * d <= HEADLINE[0] * HEADLINE[1]
        )
        print("\n" + table(routes.COLUMNS, [r.row() for r in whole], f"p = 1, k = {d // 2}"))
        timed_routes += [r.record() for r in whole]
    return {
        "device": about,
        "simulated": simulated,
        "checks": [c.record() for c in checked],
        "ceilings": limits.record(),
        "passes": timed_passes,
        "routes": timed_routes,
    }


def _sizes(options: argparse.Namespace, simulated: bool) -> tuple[tuple[int, int], ...]:
    if options.size:
        parsed = (size.lower().split("x") for size in options.size)
        return tuple((int(n), int(d)) for n, d in parsed)
    return SIMULATED if simulated else QUICK if options.quick else SIZES
