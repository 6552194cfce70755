"""A cost curve against its ranks one by one: time, and how far the values are apart."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import lpgeom
from lpgeom import datasets

from . import machine, report

MINILM = tuple(range(16, 384, 16))
DATA: dict[str, tuple[int, ...]] = {
    "minilm": MINILM,
    "contaminated": tuple(range(1, 21)),
    "heavy-tailed": tuple(range(1, 50, 2)),
}
QUICK = {"contaminated": tuple(range(1, 11))}
COLUMNS = (
    "data", "p", "ranks", "seconds", "one by one", "times", "passes", "passes one by one",
    "cost above", "cost below", "bound below", "bound above", "largest ratio",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exponents", nargs="+", type=float, default=(1.0, 1.5, 4.0))
    parser.add_argument("--only", nargs="+", choices=tuple(DATA))


def run(options: argparse.Namespace) -> dict[str, Any]:
    chosen = QUICK if options.quick else {name: DATA[name] for name in options.only or DATA}
    print(report.machine_line(machine.describe()), flush=True)
    lpgeom.warmup()
    measured = []
    for name, ks in chosen.items():
        A = datasets.load(name).A
        for p in options.exponents:
            if name == "minilm" and p != 1.0:
                continue  # some minutes each, one by one
            measured.append({"data": name, **compare(A, p, ks)})
            print({c: measured[-1][c] for c in COLUMNS[:6]}, flush=True)
    print()
    print(report.table(COLUMNS, [[row[c] for c in COLUMNS] for row in measured]))
    return {"quick": options.quick, "results": measured}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and processor seconds: of all threads, other programs left out."""
    begin = time.process_time()
    return work(), time.process_time() - begin


def compare(A: Any, p: float, ks: tuple[int, ...]) -> dict[str, Any]:
    """The curve, and `approx_subspace` at each of its ranks, in processor seconds.

    "cost above" is the worst rank's relative excess over `approx_subspace`, "cost below" how much
    lower the best one is; "bound below" and "bound above" the same for lower bounds.
    """
    curve, ours = timed(lambda: lpgeom.cost_curve(A, p, ks))
    single, theirs = timed(lambda: [lpgeom.approx_subspace(A, k, p) for k in ks])
    cost = curve.cost / np.array([r.cost for r in single]) - 1.0
    bound = curve.lower_bound / np.array([r.lower_bound for r in single]) - 1.0
    return {
        "p": p,
        "shape": list(A.shape),
        "ranks": len(ks),
        "ks": list(ks),
        "seconds": ours,
        "one by one": theirs,
        "times": theirs / ours,
        "passes": curve.n_passes,
        "passes one by one": sum(r.n_passes for r in single),
        "cost above": float(max(cost.max(), 0.0)),
        "cost below": float(max(-cost.min(), 0.0)),
        "bound below": float(max(-bound.min(), 0.0)),
        "bound above": float(max(bound.max(), 0.0)),
        "largest ratio": float(curve.ratio.max()),
        "cost_over_single": cost.tolist(),
        "bound_over_single": bound.tolist(),
    }
