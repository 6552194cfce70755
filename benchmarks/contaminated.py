"""Inliers on a subspace, long outliers in random directions: who finds the subspace?"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom import datasets as data

from . import machine, report

SHAPES = ((2000, 50, 5), (3000, 100, 20), (500, 80, 10), (20000, 64, 30))
FACTORS = (10.0, 20.0, 100.0)
SEEDS = (0, 1, 2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--factors", nargs="+", type=float, default=FACTORS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--certify", choices=("fast", "tight"), default="fast")


def run(options: argparse.Namespace) -> dict[str, Any]:
    shapes = SHAPES[2:3] if options.quick else SHAPES
    print(report.machine_line(machine.describe()), flush=True)
    measured = [
        one(n, d, k, factor, seed, options.certify)
        for factor in options.factors
        for n, d, k in shapes
        for seed in options.seeds
    ]
    print(f"\n{contaminated_table(measured)}")
    return {"quick": options.quick, "certify": options.certify, "p": 1.0, "results": measured}


def sine(U: NDArray, V: NDArray) -> float:
    """Sine of the largest principal angle between the spans of two orthonormal bases."""
    return min(1.0, float(np.linalg.norm(V - U @ (U.T @ V), ord=2)))


def one(n: int, d: int, k: int, factor: float, seed: int, level: str) -> dict[str, Any]:
    """One seeded matrix: angles of ours and of the SVD's subspace, and our certificate."""
    import lpgeom

    A, U = data.contaminated(n, d, k, factor, seed)
    svd = np.linalg.svd(A, full_matrices=False)[2][:k].T
    begin = time.perf_counter()
    result = lpgeom.approx_subspace(A, k, 1.0, certify="tight" if level == "tight" else True)
    return {
        "shape": [n, d],
        "k": k,
        "factor": factor,
        "seed": seed,
        "sine": sine(U, result.basis),
        "svd_sine": sine(U, svd),
        "ratio": result.ratio,
        "cost_over_svd": result.cost / result.svd_cost,
        "cost_over_truth": result.cost / lpgeom.cost(A, U, 1.0),
        "method": result.method,
        "seconds": time.perf_counter() - begin,
    }


def contaminated_table(measured: list[dict[str, Any]]) -> str:
    columns = (
        "longer", "n x d, k", "worst sine", "SVD's smallest sine", "worst ratio",
        "cost/SVD's", "cost/true subspace's", "median s",
    )  # fmt: skip
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in measured:
        key = (row["factor"], f"{row['shape'][0]} x {row['shape'][1]}, {row['k']}")
        groups.setdefault(key, []).append(row)
    rows = [
        (
            f"{factor:g}x",
            shape,
            max(row["sine"] for row in group),
            min(row["svd_sine"] for row in group),
            f"{max(row['ratio'] for row in group):.6f}",
            max(row["cost_over_svd"] for row in group),
            max(row["cost_over_truth"] for row in group),
            float(np.median([row["seconds"] for row in group])),
        )
        for (factor, shape), group in groups.items()
    ]
    seeds = len({row["seed"] for row in measured})
    return report.table(columns, rows, f"5% outliers, p = 1, {seeds} seeds each")
