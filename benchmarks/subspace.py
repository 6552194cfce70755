"""Speed, memory and start-up of approx_subspace beside the SVDs people use."""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom import datasets as data

from . import machine, memmap, memory, methods, report, startup, timing

# name -> (how to make it, ranks it is run at)
MATRICES: dict[str, tuple[Callable[[], NDArray], int]] = {
    "minilm-f4": (lambda: data.minilm(np.float32), 192),
    "minilm-f8": (lambda: data.minilm(np.float64), 192),
    "wide-f4": (lambda: data.heavy_tailed(30522, 768, np.float32), 384),
    "wide-f8": (lambda: data.heavy_tailed(30522, 768, np.float64), 384),
}
QUICK: dict[str, tuple[Callable[[], NDArray], int]] = {
    "quick-f4": (lambda: data.heavy_tailed(4000, 96, np.float32), 48),
    "quick-f8": (lambda: data.heavy_tailed(4000, 96, np.float64), 48),
}
TALL = (10_000, 30_000, 100_000, 300_000, 1_000_000)
QUICK_TALL = (3_000, 10_000, 30_000)
TALL_COLUMNS, TALL_RANK = 64, 32
PARTS = ("tall", "memmap", "startup")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    choices = [*MATRICES, *PARTS]
    parser.add_argument("--sizes", nargs="+", choices=choices, help="run only these")
    parser.add_argument("--repeats", type=int, default=3, help="at least 3 (default: 3)")
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")


def run(options: argparse.Namespace) -> dict[str, Any]:
    matrices = QUICK if options.quick else MATRICES
    wanted = options.sizes or [*matrices, *PARTS]
    body: dict[str, Any] = {"quick": options.quick, "p": 1.0, "matrices": {}}
    repeats = max(3, options.repeats)
    print(report.machine_line(machine.describe()), flush=True)
    for name in matrices:
        if name in wanted:
            make, k = matrices[name]
            measured = compare(make(), k, repeats, with_memory=not options.no_memory)
            body["matrices"][name] = measured
            print(f"\n{comparison_table(name, measured)}", flush=True)
    if "tall" in wanted:
        sizes = QUICK_TALL if options.quick else TALL
        body["tall"] = tall(sizes, repeats, with_memory=not options.no_memory)
        print(f"\n{tall_table(body['tall'])}", flush=True)
    if "memmap" in wanted and not options.quick:
        body["memmap"] = memmap.measure()
        print(f"\nmemory map under a limit: {_said(body['memmap'])}", flush=True)
    if "startup" in wanted:
        body["startup"] = startup.measure(3 if options.quick else 7)
        print(f"\nstart-up: {_said(body['startup'])}", flush=True)
    return body


def _said(values: dict[str, Any]) -> str:
    def said(value: Any) -> str:
        if isinstance(value, dict):
            return f"({_said(value)})"
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{key} {said(value)}" for key, value in values.items())


def compare(A: NDArray, k: int, repeats: int, *, with_memory: bool) -> dict[str, Any]:
    """Every method on one matrix: seconds in turn, quality at p = 1, peak memory."""
    import lpgeom

    ways = methods.available()
    for method in ways.values():
        methods.warm_up(method, A.dtype)
    seconds, results = timing.interleaved(
        {name: partial(method, A, k) for name, method in ways.items()}, repeats
    )
    certified = results["lpgeom (certified)"]
    costs = {
        name: lpgeom.cost(A, methods.basis_of(result), 1.0) for name, result in results.items()
    }
    over = timing.ratios(seconds, methods.BASE)
    rows = {
        name: {
            "seconds": seconds[name],
            "median_seconds": statistics.median(seconds[name]),
            "over_numpy_svd": over[name],
            "cost": costs[name],
            "cost_over_bound": costs[name] / certified.lower_bound,
        }
        for name in ways
    }
    if with_memory:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "A.npy"
            np.save(path, A)
            for name in ways:
                rows[name]["memory"] = memory.growth(name, path, k)
    return {
        "shape": list(A.shape),
        "dtype": str(A.dtype),
        "k": k,
        "repeats": repeats,
        "passes": certified.n_passes,
        "ratio": certified.ratio,
        "methods": rows,
    }


def comparison_table(name: str, measured: dict[str, Any]) -> str:
    n, d = measured["shape"]
    title = f"{name}: {n} x {d} {measured['dtype']}, k = {measured['k']}, p = 1"
    columns = ("method", "median s", "/ numpy svd", "cost/bound", "peak growth / input")
    rows = [
        (
            method,
            row["median_seconds"],
            row["over_numpy_svd"],
            row["cost_over_bound"],
            row["memory"]["growth_over_input"] if "memory" in row else None,
        )
        for method, row in measured["methods"].items()
    ]
    return report.table(columns, rows, title)


def tall(sizes: Sequence[int], repeats: int, *, with_memory: bool) -> dict[str, Any]:
    """Time against the number of rows, at d = 64, and the fitted slope of log time in log n."""
    per_size = {}
    for n in sizes:
        A = data.heavy_tailed(n, TALL_COLUMNS, np.float64)
        per_size[str(n)] = compare(A, TALL_RANK, repeats, with_memory=with_memory)
        del A
    names = per_size[str(sizes[0])]["methods"]
    slopes = {
        name: slope(sizes, [per_size[str(n)]["methods"][name]["median_seconds"] for n in sizes])
        for name in names
    }
    return {"columns": TALL_COLUMNS, "k": TALL_RANK, "sizes": per_size, "slopes": slopes}


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Least-squares slope of log seconds in log size: 1 is linear time."""
    x = [math.log(n) for n in sizes]
    y = [math.log(s) for s in seconds]
    return statistics.linear_regression(x, y).slope


def tall_table(measured: dict[str, Any]) -> str:
    sizes = measured["sizes"]
    columns = ("method", *(f"n = {int(n):.0e}" for n in sizes), "slope", "peak growth at last n")
    rows = []
    for name, fitted in measured["slopes"].items():
        per_size = [sizes[n]["methods"][name] for n in sizes]
        grown = per_size[-1].get("memory", {}).get("growth_over_input")
        rows.append((name, *(row["median_seconds"] for row in per_size), fitted, grown))
    title = f"tall: n x {measured['columns']} float64, k = {measured['k']}, p = 1; median seconds"
    return report.table(columns, rows, title)
