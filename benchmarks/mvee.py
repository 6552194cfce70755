"""Smallest ellipsoids around points: seconds, steps and the proved gap."""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import machine, report, timing

POINTS, DIMENSION = 10_000, 10
SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--eps", type=float, default=1e-6, help="gap in log-volume")
    parser.add_argument("--repeats", type=int, default=7)


def clouds(n: int, d: int, seed: int) -> dict[str, NDArray]:
    """From points of which few matter to points that all lie on the ellipsoid."""
    rng = np.random.default_rng(seed)
    gaussian = rng.standard_normal((n, d))
    return {
        "gaussian": gaussian,
        "cauchy": rng.standard_cauchy((n, d)),
        "cube": rng.uniform(-1.0, 1.0, (n, d)),
        "corners": rng.choice([-1.0, 1.0], (n, d)),
        "sphere": gaussian / np.linalg.norm(gaussian, axis=1)[:, None],
        "graded": gaussian * np.geomspace(1.0, 1e-6, d),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    import lpgeom

    n, d = (500, 4) if options.quick else (POINTS, DIMENSION)
    print(report.machine_line(machine.describe()), flush=True)
    results = []
    for name, X in clouds(n, d, SEED).items():
        ways = {
            form: partial(
                lpgeom.min_volume_ellipsoid, X, centered=form == "centred", eps=options.eps
            )
            for form in ("general", "centred")
        }
        for way in ways.values():
            way()  # compiled and imported before the clock runs
        seconds, found = timing.interleaved(ways, options.repeats)
        for form, E in found.items():
            results.append(
                {
                    "points": name,
                    "shape": [n, d],
                    "form": form,
                    "seconds": seconds[form],
                    "median_seconds": statistics.median(seconds[form]),
                    "steps": E.n_iter,
                    "converged": E.converged,
                    "gap": E.gap,
                    "largest_gauge": float(E.gauge(X).max()),
                }
            )
    columns = ("points", "form", "median s", "steps", "gap", "1 - largest gauge")
    cells = [
        (
            row["points"],
            row["form"],
            row["median_seconds"],
            row["steps"],
            row["gap"],
            1.0 - row["largest_gauge"],
        )
        for row in results
    ]
    print(f"\n{report.table(columns, cells, f'{n} x {d}, eps = {options.eps:g}')}", flush=True)
    return {"quick": options.quick, "seed": SEED, "eps": options.eps, "results": results}
