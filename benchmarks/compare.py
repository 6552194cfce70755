"""Every method on eight data sets at p = 1, certified by one bound: who finds the least cost?"""

from __future__ import annotations

import argparse
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from lpgeom import datasets
from lpgeom.comparison.compare import OURS, compare
from lpgeom.io import tables
from lpgeom.io.atomic import write_atomically

from . import machine, report

PAGE = Path(__file__).resolve().parents[1] / "docs" / "compare.md"
SEEDS = (0, 1, 2)
RANKS = {
    "contaminated": (2, 5, 10),
    "heavy-tailed": (5, 10, 25),
    "power-law": (5, 10, 25),
    "digits": (5, 10, 30),
    "breast-cancer": (1, 2, 5),
    "breast-cancer-standardised": (2, 5, 10),
    "minilm-ffn": (64, 192),
    "wordllama": (64, 128),
    "minilm": (96, 192, 288),
}
RANDOM = ("contaminated", "heavy-tailed", "power-law")
QUICK = {"contaminated": (5,), "breast-cancer": (2,)}
WORSE = 1e-6
"""approx_subspace should not cost more than a heuristic by this share."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", nargs="+", choices=tuple(RANKS), help="some data sets only")
    parser.add_argument("--certify", choices=("fast", "tight"), default="fast")


def run(options: argparse.Namespace) -> dict[str, Any]:
    ranks = QUICK if options.quick else RANKS
    if options.data:
        ranks = {name: RANKS[name] for name in options.data}
    print(report.machine_line(machine.describe()), flush=True)
    certify = "tight" if options.certify == "tight" else True
    measured: list[dict[str, Any]] = []
    for name, ks in ranks.items():
        began = time.perf_counter()
        for seed in SEEDS if name in RANDOM else SEEDS[:1]:
            data = datasets.load(name, seed=seed)
            seeds = (seed,) if name in RANDOM else SEEDS if data.A.size < 1 << 20 else SEEDS[:1]
            table = compare(data.A, list(ks), 1.0, seeds=seeds, truth=data.truth, certify=certify)
            measured += [{"data": name, **row} for row in tables.records(table)]
        rows = [row for row in measured if row["data"] == name]
        print(f"\n{name} ({time.perf_counter() - began:.0f} s)\n{markdown(rows)}", flush=True)
    worse = violations(measured)
    print(f"\n{violations_text(measured, worse)}")
    if not (options.quick or options.data or options.certify == "tight") and PAGE.exists():
        write_page(measured, worse)
    return {
        "quick": options.quick,
        "p": 1.0,
        "results": [{k: _plain(v) for k, v in row.items()} for row in measured],
        "violations": worse,
    }


def violations(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cases in which a heuristic costs less than approx_subspace by more than `WORSE`."""
    found = []
    for ours in measured:
        if ours["method"] != OURS:
            continue
        rivals = [
            row
            for row in measured
            if (row["data"], row["k"]) == (ours["data"], ours["k"])
            and row["method"] != OURS
            and (row["seed"] == ours["seed"] or row["data"] not in RANDOM)
            and row["cost"] * (1.0 + WORSE) < ours["cost"]
        ]
        if rivals:
            best = min(rivals, key=lambda row: row["cost"])
            found.append(
                {
                    "data": ours["data"],
                    "k": ours["k"],
                    "seed": ours["seed"],
                    "method": best["method"],
                    "excess": ours["cost"] / best["cost"] - 1.0,
                }
            )
    return found


def violations_text(measured: list[dict[str, Any]], worse: list[dict[str, Any]]) -> str:
    cases = sum(row["method"] == OURS for row in measured)
    if not worse:
        return (
            f"In none of {cases} runs does a heuristic cost less than `approx_subspace` by more "
            f"than {WORSE:g} of the cost."
        )
    lines = [
        f"- {case['data']}, k = {case['k']}, seed {case['seed']}: {case['method']} costs less by "
        f"{case['excess']:.1e}"
        for case in worse
    ]
    return "\n".join([f"A heuristic costs less in {len(worse)} of {cases} runs:", "", *lines])


def markdown(rows: list[dict[str, Any]]) -> str:
    """One data set: for each method and rank the worst cost over the best, and its ratio.

    Worst over the seeds, each seed's cost over the best of all methods on the same matrix.
    """
    ks = sorted({row["k"] for row in rows})
    methods = sorted(
        {row["method"] for row in rows}, key=lambda m: (_mean_excess(rows, m), m != OURS)
    )
    angles = any(not math.isnan(row["angle_deg"]) for row in rows)
    heads = [f"k = {k}: cost/best" if i == 0 else f"k = {k}" for i, k in enumerate(ks)]
    lines = [
        "| method | " + " | ".join(heads) + (" | angle" if angles else "") + " | seconds | passes |"
    ]
    lines.append("|---" * (len(ks) + 3 + angles) + "|")
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        cells = []
        for k in ks:
            some = [row for row in own if row["k"] == k and not math.isnan(row["cost"])]
            if not some:
                cells.append("failed")
                continue
            over = max(row["cost_over_best"] for row in some)
            ratio = max(row["ratio"] for row in some)
            cells.append(f"{over:.6f} (≤ {ratio:.4f})")
        if angles:
            known = [row["angle_deg"] for row in own if row["k"] == ks[len(ks) // 2]]
            cells.append(f"{max(known):.3g}°")
        seconds = float(np.median([row["seconds"] for row in own]))
        passes = float(np.median([row["passes"] for row in own]))
        name = f"**{method}**" if method == OURS else method
        lines.append(f"| {name} | {' | '.join(cells)} | {seconds:.2g} | {passes:.0f} |")
    return "\n".join(lines)


def _mean_excess(rows: list[dict[str, Any]], method: str) -> float:
    costs = [row["cost_over_best"] for row in rows if row["method"] == method]
    return math.inf if any(map(math.isnan, costs)) else round(float(np.mean(costs)), 7)


def write_page(measured: list[dict[str, Any]], worse: list[dict[str, Any]]) -> None:
    """Put the tables between the markers of docs/compare.md; the prose there is left alone."""
    text = PAGE.read_text()
    parts = {
        name: markdown([r for r in measured if r["data"] == name])
        for name in {row["data"] for row in measured}
    }
    parts["machine"] = report.machine_line(machine.describe())
    parts["violations"] = violations_text(measured, worse)
    for name, body in parts.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if pattern.search(text):
            text = pattern.sub(lambda m, body=body: m[1] + body + "\n" + m[2], text)  # type: ignore[misc]
    write_atomically(PAGE, lambda file: file.write(text.encode()))
    print(f"\ntables written to {PAGE}")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
