"""LpPCA against PCA where some training rows are bad: accuracy, variance kept, cost, time."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import lpgeom

from . import machine, report

# name -> (loader in sklearn.datasets, are columns standardised, k)
DATA: dict[str, tuple[str, bool, int]] = {
    "wine": ("load_wine", True, 2),
    "breast cancer": ("load_breast_cancer", True, 3),
    "digits": ("load_digits", False, 10),
}
QUICK = ("wine",)
LENGTHS = (0.0, 5.0, 20.0, 100.0)
"""Of the bad rows, in root mean square distances from the mean; 0: there are none."""
SEEDS = (0, 1, 2, 3, 4)
BAD = 0.05
NEIGHBOURS = 5
SAME = 1e-6
"""Costs nearer than this, relatively, count as the same."""

Models = dict[str, Callable[[int], Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=tuple(DATA), default=tuple(DATA))
    parser.add_argument("--lengths", nargs="+", type=float, default=LENGTHS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)


def run(options: argparse.Namespace) -> dict[str, Any]:
    names = QUICK if options.quick else options.only
    print(report.machine_line(machine.describe()), flush=True)
    # On one thread processor seconds are those of the work: threads that wait for others count too.
    with threadpool_limits(1):
        lpgeom.warmup()
        measured = []
        for name in names:
            loader, standardised, k = DATA[name]
            X, y = load(loader, standardised)
            split(X, y, k, LENGTHS[-1], SEEDS[0])  # what is loaded and compiled at first use
            for length in options.lengths:
                for seed in options.seeds:
                    line = {"data": name, "k": k, "length": length, "seed": seed}
                    measured.append({**line, **split(X, y, k, length, seed)})
                print(f"{name}, {length:g}x: {len(options.seeds)} splits", flush=True)
    print(f"\n{estimator_table(measured)}")
    return {
        "quick": options.quick,
        "p": 1.0,
        "bad_share": BAD,
        "neighbours": NEIGHBOURS,
        "threads": 1,
        "results": measured,
    }


def models() -> Models:
    """What is compared, by name: from k to an estimator."""
    from sklearn.decomposition import PCA

    from lpgeom import LpPCA

    return {
        "pca": lambda k: PCA(k),
        "lppca": lambda k: LpPCA(k, p=1.0, random_state=0),
        "irls": lambda k: LpPCA(k, p=1.0, random_state=0, method="irls", certify=False),
    }


def load(loader: str, standardised: bool) -> tuple[NDArray, NDArray]:
    from sklearn import datasets
    from sklearn.preprocessing import StandardScaler

    X, y = getattr(datasets, loader)(return_X_y=True)
    return (StandardScaler().fit_transform(X) if standardised else X), y


def spoilt(X: NDArray, length: float, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Rows of which 5% are bad, and the indices of the others.

    Bad rows are random directions from the mean of X, `length` times as long as the root mean
    square distance from it.
    """
    if not length:
        return X, np.arange(len(X))
    X = X.copy()
    bad = rng.choice(len(X), int(BAD * len(X)), replace=False)
    mean = X.mean(axis=0)
    size = np.sqrt(((X - mean) ** 2).sum(axis=1).mean())
    far = rng.standard_normal((len(bad), X.shape[1]))
    X[bad] = mean + length * size * far / np.linalg.norm(far, axis=1, keepdims=True)
    return X, np.delete(np.arange(len(X)), bad)


def split(X: NDArray, y: NDArray, k: int, length: float, seed: int) -> dict[str, Any]:
    """One split: every model fitted to rows with bad ones, judged without them."""
    from sklearn.model_selection import train_test_split

    X, test, y, truth = train_test_split(X, y, random_state=seed, stratify=y)
    X, good = spoilt(X, length, np.random.default_rng(seed))
    methods = {}
    for name, make in models().items():
        model = make(k)
        begin = time.process_time()
        model.fit(X)
        seconds = time.process_time() - begin
        methods[name] = {**judged(model, X, y, good, test, truth), "seconds": seconds}
        if name == "lppca":
            methods[name]["certified_ratio"] = float(model.certified_ratio_)
    return {"shape": list(X.shape), "test_rows": len(test), "methods": methods}


def judged(
    model: Any, X: NDArray, y: NDArray, good: NDArray, test: NDArray, truth: NDArray
) -> dict[str, float]:
    """A fitted model: what its subspace costs all rows, and what it is good for.

    The cost is measured here, in the same way for all, instead of asking the model.
    """
    from sklearn.neighbors import KNeighborsClassifier

    nearest = KNeighborsClassifier(NEIGHBOURS).fit(model.transform(X[good]), y[good])
    lost = (residuals(model, test) ** 2).sum()
    return {
        "accuracy": float(nearest.score(model.transform(test), truth)),
        "variance_kept": float(1.0 - lost / ((test - test.mean(axis=0)) ** 2).sum()),
        "cost": float(residuals(model, X).sum()),
    }


def residuals(model: Any, X: NDArray) -> NDArray:
    """Distances of rows from a fitted model's affine subspace."""
    return np.asarray(np.linalg.norm(X - model.inverse_transform(model.transform(X)), axis=1))


# ---------------------------------------------------------------- means over the splits


def averages(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each data set and length: means over splits, the largest certified ratio."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for line in measured:
        groups.setdefault((line["data"], line["length"]), []).append(line)
    lines = []
    for (name, length), group in groups.items():
        methods = {m: [line["methods"][m] for line in group] for m in group[0]["methods"]}
        costs = {m: np.array([one["cost"] for one in ones]) for m, ones in methods.items()}
        lines.append({
            "data": name,
            "k": group[0]["k"],
            "length": length,
            "accuracy": {m: _mean(ones, "accuracy") for m, ones in methods.items()},
            "variance_kept": {m: _mean(ones, "variance_kept") for m, ones in methods.items()},
            "seconds": {m: _mean(ones, "seconds") for m, ones in methods.items()},
            "cost_ratio": float((costs["pca"] / costs["lppca"]).mean()),
            "irls_excess": float((costs["irls"] / costs["lppca"]).max() - 1.0),
            "irls_same": int((costs["irls"] <= costs["lppca"] * (1.0 + SAME)).sum()),
            "splits": len(group),
            "ratio": max(one["certified_ratio"] for one in methods["lppca"]),
        })  # fmt: skip
    return lines


def _mean(ones: list[dict[str, Any]], key: str) -> float:
    return float(np.mean([one[key] for one in ones]))


def estimator_table(measured: list[dict[str, Any]]) -> str:
    columns = (
        "data", "bad rows", "accuracy: PCA", "LpPCA", "variance kept: PCA", "LpPCA",
        "PCA's cost/LpPCA's", "largest ratio", "CPU s: PCA", "LpPCA", "irls", "irls' excess",
    )  # fmt: skip
    rows = [
        (
            f"{line['data']}, k = {line['k']}",
            f"{line['length']:g}x" if line["length"] else "none",
            *(line["accuracy"][m] for m in ("pca", "lppca")),
            *(line["variance_kept"][m] for m in ("pca", "lppca")),
            line["cost_ratio"],
            line["ratio"],
            *(line["seconds"][m] for m in ("pca", "lppca", "irls")),
            line["irls_excess"],
        )
        for line in averages(measured)
    ]
    title = f"{BAD:.0%} bad rows in training, p = 1, means of splits; irls: not certified"
    return report.table(columns, rows, title)
