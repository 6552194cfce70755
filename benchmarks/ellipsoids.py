"""Ellipsoids around the l_p ball of a matrix: seconds, proved and measured rounding factor."""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import machine, report, timing

ROWS = 1000
DIMENSIONS = (5, 10, 20, 50, 100)
METHODS = ("lewis", "shallow-cut", "john")
SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dimensions", nargs="+", type=int, default=DIMENSIONS)
    parser.add_argument("--powers", nargs="+", type=float, default=(1.0, 3.0, float("inf")))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--starts", type=int, default=64, help="random starts of the measurement")


def matrices(n: int, d: int, seed: int) -> dict[str, NDArray]:
    """Gaussian rows, and rows with Cauchy entries: a few of them count for all."""
    rng = np.random.default_rng(seed)
    return {"gaussian": rng.standard_normal((n, d)), "cauchy": rng.standard_cauchy((n, d))}


def run(options: argparse.Namespace) -> dict[str, Any]:
    n, dimensions = (200, (5, 10)) if options.quick else (ROWS, options.dimensions)
    print(report.machine_line(machine.describe()), flush=True)
    measured = []
    for p in options.powers:
        found = [
            row
            for d in dimensions
            for name, A in matrices(n, d, SEED).items()
            for row in compare(name, A, p, options.repeats, options.starts)
        ]
        print(f"\n{ellipsoid_table(found, p)}", flush=True)
        measured += found
    return {"quick": options.quick, "seed": SEED, "starts": options.starts, "results": measured}


def compare(name: str, A: NDArray, p: float, repeats: int, starts: int) -> list[dict[str, Any]]:
    """The three methods on one matrix, timed in turn; then each measured (not timed)."""
    import lpgeom

    ways = {method: partial(lpgeom.loewner_ellipsoid, A, p, method) for method in METHODS}
    for way in ways.values():
        way()  # compiled and imported before the clock runs
    seconds, made = timing.interleaved(ways, repeats)
    rows = []
    for method, E in made.items():
        found = E.verify(A, starts=starts)
        rows.append(
            {
                "matrix": name,
                "shape": list(A.shape),
                "p": "inf" if np.isinf(p) else p,
                "method": method,
                "seconds": seconds[method],
                "median_seconds": statistics.median(seconds[method]),
                "steps": E.n_iter,
                "converged": E.converged,
                "alpha": E.alpha,
                "a_priori": A.shape[1] ** abs((0.0 if np.isinf(p) else 1.0 / p) - 0.5),
                "lowest": found.lowest,
                "highest": found.highest,
                "measured_rounding": found.rounding,
            }
        )
    return rows


def ellipsoid_table(rows: list[dict[str, Any]], p: float) -> str:
    columns = ("rows", "n x d", "method", "median s", "steps", "proved", "measured", "d^|1/p-1/2|")
    cells = [
        (
            row["matrix"],
            "{} x {}".format(*row["shape"]),
            row["method"],
            row["median_seconds"],
            row["steps"],
            row["alpha"],
            row["measured_rounding"],
            row["a_priori"],
        )
        for row in rows
    ]
    return report.table(columns, cells, f"p = {p:g}: rounding factor, proved and measured")
