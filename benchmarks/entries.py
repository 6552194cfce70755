"""Entrywise factors: real weights, gross errors, and 30,000 l_p regressions."""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np

import lpgeom
from lpgeom import datasets
from lpgeom.datasets import MissingData
from lpgeom.io import tables

from . import machine, report

LAYERS = {"minilm": (273,), "minilm-ffn": (64,), "mpnet-ffn": (128,)}
"""Data set -> ranks."""

EXPONENTS = (1.0, 1.5)
GENERATED = {"contaminated": (5,), "heavy-tailed": (10,), "digits": (10,), "breast-cancer": (5,)}
COLUMNS = ("method", "cost_over_svd", "cost_over_best", "ratio", "seconds", "note")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=("layers", "errors", "regressions", "small"))


def run(options: argparse.Namespace) -> dict[str, Any]:
    parts = options.only or ["layers", "small", "errors", "regressions"]
    print(report.machine_line(machine.describe()), flush=True)
    lpgeom.warmup()
    body: dict[str, Any] = {"quick": options.quick}
    if "layers" in parts and not options.quick:
        body["layers"] = layers(LAYERS)
    if "small" in parts:
        body["small"] = layers({"breast-cancer": (5,)} if options.quick else GENERATED)
    if "errors" in parts:
        body["errors"] = errors(options.quick)
    if "regressions" in parts:
        body["regressions"] = regressions(options.quick)
    return body


def layers(ranks: Mapping[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    """Every entrywise method that is not too slow, on real matrices."""
    measured = []
    for name, ks in ranks.items():
        try:
            A = datasets.load(name).A
        except MissingData as error:
            print(f"{name}: left out ({error})")
            continue
        size = np.abs(np.asarray(A, dtype=np.float64)).sum()
        for p in EXPONENTS:
            table = lpgeom.compare(A, list(ks), p, objective="entries")
            rows = tables.records(table)
            for row in rows:
                row |= {"data": name, "p": p, "shape": list(A.shape)}
                row["bound"] = table.attrs["bounds"].get(row["k"], {}).get("name")
                if p == 1.0:
                    row["relative"] = row["cost"] / size
            title = f"\n{name} {A.shape[0]} x {A.shape[1]}, k = {ks}, p = {p:g}"
            if p == 1.0:
                title += f"; least relative l1 error {rows[0]['relative']:.5f}"
            print(report.table(COLUMNS, [[row[c] for c in COLUMNS] for row in rows], title))
            if table.attrs["left_out"]:
                print(f"too slow here: {', '.join(table.attrs['left_out'])}", flush=True)
            measured += rows
    return measured


def errors(quick: bool) -> list[dict[str, Any]]:
    """Low rank, and a tenth of the entries wrong by `size` times as much: is it recovered?

    ``cost_over_truth`` below 1 says that the low-rank part is not where the cost is least.
    """
    measured = []
    for shape, k in (((200, 40), 3),) if quick else (((200, 40), 3), ((500, 200), 5)):
        for size in (10.0, 100.0):
            for seed in range(2 if quick else 5):
                rng = np.random.default_rng(seed)
                B = rng.standard_normal((shape[0], k)) @ rng.standard_normal((k, shape[1]))
                wrong = rng.random(shape) < 0.1
                A = B + size * B.std() * rng.standard_normal(shape) * wrong
                start = time.perf_counter()
                found = lpgeom.approx_factors(A, k, 1.0, seed=seed)
                seconds = time.perf_counter() - start
                V = np.linalg.svd(A, full_matrices=False)[2][:k].T
                norm = np.linalg.norm(B)
                truth = np.abs(A - B).sum()
                measured.append(
                    {
                        "shape": list(shape),
                        "k": k,
                        "size": size,
                        "seed": seed,
                        "error": float(np.linalg.norm(found.left @ found.right - B) / norm),
                        "svd_error": float(np.linalg.norm(A @ V @ V.T - B) / norm),
                        "cost_over_truth": float(found.cost / truth),
                        "method": found.method,
                        "seconds": seconds,
                    }
                )
    columns = (
        "shape",
        "k",
        "size",
        "seed",
        "error",
        "svd_error",
        "cost_over_truth",
        "seconds",
        "method",
    )
    cells = [[str(row["shape"]), *(row[c] for c in columns[1:])] for row in measured]
    print(report.table(columns, cells, "\na tenth of the entries wrong, p = 1"), flush=True)
    return measured


def regressions(quick: bool) -> list[dict[str, Any]]:
    """Many regressions of 384 x 64 with one matrix: MiniLM's rows, and heavy-tailed ones."""
    n, d, k = (500, 48, 8) if quick else (30_000, 384, 64)
    rng = np.random.default_rng(0)
    right = {"t(1.5)": rng.standard_t(1.5, size=(n, d))}
    V = np.linalg.qr(rng.standard_normal((d, k)))[0]
    if not quick:
        right["minilm rows"] = np.asarray(datasets.load("minilm").A[:n], dtype=np.float64)
    measured = []
    for name, B in right.items():
        for p in (1.0, 1.5, 3.0):
            tracemalloc.start()
            start = time.perf_counter()
            fit = lpgeom.lp_regression(V, B, p)
            seconds = time.perf_counter() - start
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            own = fit.X.nbytes + 5 * fit.cost.nbytes
            measured.append(
                {
                    "data": name,
                    "problems": n,
                    "d": d,
                    "k": k,
                    "p": p,
                    "largest_gap": float(fit.gap.max()),
                    "converged": int(fit.converged.sum()),
                    "seconds": seconds,
                    "extra_MiB": (peak - own) / 2**20,
                }
            )
    columns = tuple(measured[0])
    print(report.table(columns, [list(row.values()) for row in measured], "\nlp_regression"))
    return measured
