"""How many components LpPCA's rules find: planted ranks 0 to 6, and data that people know."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import machine, report

RANKS = tuple(range(7))
N, D = 200, 12
KINDS: dict[str, tuple[float, str]] = {
    "normal, 1": (1.0, "normal"),
    "normal, 2": (2.0, "normal"),
    "normal, 3": (3.0, "normal"),
    "t3 rows, 3": (3.0, "t3"),
    "outliers, 3": (3.0, "outliers"),
}
"""Standard deviation of each component over that of the noise, and what the noise is."""
QUICK = ("normal, 3",)
KNOWN = ("wine", "breast_cancer", "diabetes")
SHUFFLES, LEVEL = 39, 0.95


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=tuple(KINDS), default=tuple(KINDS))
    parser.add_argument("--runs", type=int, default=200, help="of each kind, over all ranks")


def run(options: argparse.Namespace) -> dict[str, Any]:
    kinds, runs = (QUICK, 14) if options.quick else (options.only, options.runs)
    print(report.machine_line(machine.describe()), flush=True)
    planted = []
    for kind in kinds:
        found = [
            {"rank": seed % len(RANKS), **estimates(data(kind, seed % len(RANKS), seed), seed)}
            for seed in range(runs)
        ]
        right = {m: sum(line[m] == line["rank"] for line in found) for m in METHODS}
        # Of each method and rank, how often which number was found.
        counts = {
            m: [Counter(str(f[m]) for f in found if f["rank"] == rank) for rank in RANKS]
            for m in METHODS
        }
        planted.append({"kind": kind, "runs": runs, "right": right, "found": counts})
        print(f"{kind}: {runs} runs", flush=True)
    known = [{"data": name, **estimates(standardised(name), 0)} for name in KNOWN]
    print(f"\n{planted_table(planted)}\n\n{known_table(known)}")
    return {"quick": options.quick, "n": N, "d": D, "planted": planted, "known": known}


def data(kind: str, rank: int, seed: int) -> NDArray:
    """Rows around a subspace of that rank, of random directions; a twentieth of outliers."""
    strength, noise = KINDS[kind]
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((D, D)))[0][:rank]
    X = rng.standard_normal((N, D))
    if noise == "t3":  # as multivariate t has it: rows of different length
        X *= 1.0 / np.sqrt(rng.chisquare(3.0, N) / 3.0)[:, None]
    if noise == "outliers":
        X[: N // 20] *= 10.0
    return np.asarray(5.0 + strength * rng.standard_normal((N, rank)) @ axes + X)


def standardised(name: str) -> NDArray:
    from sklearn import datasets
    from sklearn.preprocessing import scale

    return np.asarray(scale(getattr(datasets, f"load_{name}")().data))


def estimates(X: NDArray, seed: int) -> dict[str, int]:
    """What every method finds."""
    return {name: method(X, seed) for name, method in METHODS.items()}


def ours(rule: str, p: float) -> Callable[[NDArray, int], int]:
    """The rule as `LpPCA` applies it, before one component is kept at least."""

    def method(X: NDArray, seed: int) -> int:
        from lpgeom.estimator.axes import distinct_rows  # these need scikit-learn
        from lpgeom.estimator.search import ComponentSearch

        return ComponentSearch(distinct_rows(X, None), p, "median", seed, {}).n_components(rule)

    return method


def horn(X: NDArray, seed: int) -> int:
    """Horn's analysis of correlations against normal numbers, at the 95th percentile."""
    rng = np.random.default_rng(seed)
    own = np.linalg.eigvalsh(np.corrcoef(X.T))[::-1]
    theirs = [
        np.linalg.eigvalsh(np.corrcoef(rng.standard_normal(X.shape).T))[::-1]
        for _ in range(SHUFFLES)
    ]
    above = own > np.quantile(theirs, LEVEL, axis=0)
    return len(above) if above.all() else int(np.argmin(above))


METHODS: dict[str, Callable[[NDArray, int], int]] = {
    "Horn": horn,
    "auto, p = 2": ours("auto", 2.0),
    "auto, p = 1": ours("auto", 1.0),
    "profile, p = 1": ours("profile", 1.0),
    "broken stick, p = 1": ours("broken-stick", 1.0),
}


def planted_table(planted: list[dict[str, Any]]) -> str:
    rows = [[line["kind"], line["runs"], *line["right"].values()] for line in planted]
    return report.table(["noise, strength", "runs", *METHODS], rows, "right")


def known_table(known: list[dict[str, Any]]) -> str:
    rows = [list(line.values()) for line in known]
    return report.table(["data", *METHODS], rows, "components found")


def planted_ranks() -> str:
    rows = [
        [line["kind"], *(f"{100 * right / line['runs']:.0f}%" for right in line["right"].values())]
        for line in report.stored("components")["planted"]
    ]
    return report.markdown(["noise, strength", *METHODS], rows)


def known_ranks() -> str:
    lines = report.stored("components")["known"]
    rows = [[line["data"], *(str(line[name]) for name in METHODS)] for line in lines]
    return report.markdown(["data", *METHODS], rows)
