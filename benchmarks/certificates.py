"""How tight the certificates are on a real word embedding: cost / lower bound, in cost units."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom import datasets as data

from . import machine, report

EXPONENTS = (1.0, 1.25, 1.5, 2.0)
RANKS = (96, 192, 288)
LEVELS: dict[str, bool | str] = {"fast": True, "tight": "tight"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exponents", nargs="+", type=float, default=EXPONENTS)
    parser.add_argument("--ranks", nargs="+", type=int, help="default: 96 192 288")
    parser.add_argument("--levels", nargs="+", choices=tuple(LEVELS), default=tuple(LEVELS))


def run(options: argparse.Namespace) -> dict[str, Any]:
    if options.quick:
        name, A, ranks = "seeded 2000 x 48", data.heavy_tailed(2000, 48), (12, 24, 36)
    else:
        name, A, ranks = f"{data.MODEL} {data.TENSOR}", data.minilm(np.float32), RANKS
    ranks = tuple(options.ranks or ranks)
    print(report.machine_line(machine.describe()))
    print(f"{name}: {A.shape[0]} x {A.shape[1]} {A.dtype}", flush=True)
    import lpgeom

    for level in options.levels:  # compile before timing
        lpgeom.approx_subspace(A[:300], 2, 1.5, certify=LEVELS[level])
    measured = [
        certify(A, k, p, level)
        for p in options.exponents
        for k in ranks
        for level in options.levels
    ]
    print(f"\n{bounds_table(measured)}")
    return {"matrix": name, "quick": options.quick, "results": measured}


def certify(A: NDArray, k: int, p: float, level: str) -> dict[str, Any]:
    """One call, with every bound by name."""
    import lpgeom

    result = lpgeom.approx_subspace(A, k, p, certify=LEVELS[level])
    certificate = result.certificate
    assert certificate is not None
    over = {
        bound.name: certificate.scaled_cost / bound.scaled_value if bound.scaled_value > 0 else None
        for bound in certificate.bounds
    }
    best = certificate.best
    assert best is not None
    return {
        **result.to_dict(),
        "level": level,
        "cost_over_bound": over,
        "best": best.name,
        "best_cost_over_bound": over[best.name],
        "failure_probability": best.failure_probability,
        "svd_cost_over_cost": result.svd_cost / result.cost,
    }


def bounds_table(measured: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in measured for name in row["cost_over_bound"]))
    columns = ("p", "k", "level", "best", *names, "ratio", "SVD cost/cost", "seconds", "passes")
    rows = [
        (
            f"{row['p']:g}",
            row["k"],
            row["level"],
            f"{row['best_cost_over_bound']:.5f}",
            *(row["cost_over_bound"].get(name) for name in names),
            f"{row['ratio']:.5f}",
            f"{row['svd_cost_over_cost']:.5f}",
            row["seconds"],
            row["n_passes"],
        )
        for row in measured
    ]
    return report.table(columns, rows, "best cost / lower bound (cost units), by bound")
