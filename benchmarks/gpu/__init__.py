"""The CUDA device: checked against float64 on the CPU, then timed by its own events.

One run does everything: parity of every pass and of whole routes, the device's own ceilings (a
large copy, large products), whole routes cold and warm from a host and from a device array beside
the SVD of CuPy and torch on the same device and our CPU route, what a route spends its time on, and
each pass as a share of its roofline. The size of the goals comes first. With ``--json`` the file is
written after every part, so that a run that is cut off leaves what it measured; ``--quick`` keeps
to that size and a small one, ``--budget`` begins nothing new after so many seconds. Without a
device it says so and ends. In Numba's simulator, where the tests run it on tiny input, it shows
that the harness works, and times nothing.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

from lpgeom.datasets import MissingData

from .. import report

HEADLINE = (50265, 768)
"""The size of the goals: 0.5 s from a host array, 0.25 s from a device array, at k = d / 2."""

SIZES = (HEADLINE, (30522, 384), (30522, 768), (250000, 1024), (2000000, 512))
QUICK = ((9000, 256), HEADLINE)
SIMULATED = ((70, 12),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-cpu", action="store_true", help="leave out our CPU route")
    parser.add_argument("--no-svd", action="store_true", help="leave out the SVDs of the device")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument(
        "--size", action="append", metavar="NxD", help="instead of the list; may be repeated"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="begin nothing new after that long; what is left out is named",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, printed as it comes; with ``--json`` the file is written anew after each part."""
    from lpgeom.rows import device

    try:
        device.require()
    except (ImportError, RuntimeError) as error:
        raise MissingData(str(error)) from error
    from . import ceilings, checks, parts, passes, routes
    from .clock import describe, has_events

    begin = time.monotonic()
    simulated = not has_events()
    about = describe()
    print(f"{about['name']}: {about}", flush=True)
    body: dict[str, Any] = {"device": about, "simulated": simulated, "complete": False}
    body |= {"checks": [], "passes": [], "routes": [], "parts": [], "left_out": []}

    def keep() -> None:
        report.write("gpu", body, getattr(options, "json", None))

    def begun(what: str) -> bool:
        """Whether there is time for it."""
        late = time.monotonic() - begin > options.budget
        if late:
            body["left_out"].append(what)
        return not late

    checked = checks.run(small=simulated)
    body["checks"] = [c.record() for c in checked]
    keep()
    show(checks.COLUMNS, [c.row() for c in checked], "Against float64 on the CPU")
    limits = ceilings.measure(small=simulated or options.quick)
    body["ceilings"] = limits.record()
    keep()
    show(ceilings.COLUMNS, limits.rows(), "Ceilings of this device")
    for n, d in _sizes(options, simulated):
        size = f"{n} x {d}"
        ways = routes.ways(n, d, svd=not options.no_svd)
        if not options.no_cpu and n * d <= HEADLINE[0] * HEADLINE[1]:
            ways |= routes.cpu(n, d)
        whole = []
        for name, work in ways.items():
            if begun(f"{name}, {size}"):
                whole.append(routes.timed(name, work, (n, d), options.repeats))
                body["routes"].append(whole[-1].record())
                keep()
        show(routes.COLUMNS, [w.row() for w in whole], f"{size}: p = 1, k = {d // 2}")
        if begun(f"parts, {size}"):
            found = parts.measure(n, d)
            body["parts"].append({"shape": [n, d], **found.record()})
            keep()
            show(parts.COLUMNS, found.rows(), f"{size}: where the time goes")
        if begun(f"passes, {size}"):
            timed = passes.measure(n, d, limits, options.repeats)
            body["passes"] += [p.record() for p in timed]
            keep()
            show(passes.COLUMNS, [p.row() for p in timed], f"Passes over {size}")
    body["complete"] = not body["left_out"]
    if body["left_out"]:
        print("\nleft out for lack of time: " + "; ".join(body["left_out"]))
    if not all(c.good for c in checked):  # after the timings: a device is not lent twice
        raise SystemExit("benchmarks gpu: a check failed; the timings are of wrong numbers")
    return body


def show(columns: tuple[str, ...], rows: list[tuple[Any, ...]], title: str) -> None:
    """A table, at once: whoever stops the run has what was measured."""
    print("\n" + report.table(columns, rows, title), flush=True)


def _sizes(options: argparse.Namespace, simulated: bool) -> tuple[tuple[int, int], ...]:
    if options.size:
        parsed = (size.lower().split("x") for size in options.size)
        return tuple((int(n), int(d)) for n, d in parsed)
    return SIMULATED if simulated else QUICK if options.quick else SIZES
