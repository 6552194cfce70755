"""Contaminated data of three kinds: angle to the true subspace, ours and R's rrcov."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from . import machine, report, rrcov

KINDS = ("orthogonal", "leverage", "cluster")
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.49)
SHAPES = ((10, 2, 200), (50, 5, 500), (100, 4, 300))
FURTHER = ((200, 3, 40), (50, 5, 20000))
"""Fewer rows than columns, and many: with two fifths outliers, one seed."""
OURS: dict[str, dict[str, Any]] = {
    "p = 1": {},
    "0.5": {"support_fraction": 0.5},
}
THEIRS = ("PcaHubert", "PcaHubert .5", "PcaGrid", "PcaLocantore")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1))


def run(options: argparse.Namespace) -> dict[str, Any]:
    import lpgeom

    print(report.machine_line(machine.describe()), flush=True)
    found = rrcov.version()
    stored = {} if found else report.stored("breakdown")
    kept = {key(line): line["rrcov"] for line in stored.get("results", ())}
    measured = []
    with threadpool_limits(1):
        for given in OURS.values():  # what is compiled or loaded once is no part of a fit
            lpgeom.LpPCA(1, **given).fit(data("cluster", 0.2, (4, 1, 40), 0)[0])
        for kind in KINDS:
            for shape in SHAPES[:1] if options.quick else SHAPES + FURTHER:
                further = shape in FURTHER
                for share in (0.4,) if further else SHARES:
                    for seed in options.seeds[:1] if further else options.seeds:
                        X, U = data(kind, share, shape, seed)
                        line: dict[str, Any] = {
                            "kind": kind, "share": share, "shape": list(shape), "seed": seed,
                        }  # fmt: skip
                        line["lpgeom"] = {
                            name: ours(lpgeom.LpPCA(shape[1], random_state=0, **given), X, U)
                            for name, given in OURS.items()
                        }
                        line["regular rows alone"] = regular(X, U, share)
                        line["rrcov"] = kept.get(key(line), {})
                        if found:
                            methods = THEIRS[:2] if further else THEIRS
                            line["rrcov"] = {
                                name: {"angle": maxsub(U, r["V"]), "seconds": r["seconds"]}
                                for name, r in rrcov.run(X, shape[1], methods).items()
                            }
                        measured.append(line)
                print(kind, shape, flush=True)
    print(f"\n{breakdown_table(measured)}")
    version = found or stored.get("rrcov_version")
    return {"quick": options.quick, "threads": 1, "rrcov_version": version, "results": measured}


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What the data of a line are made of."""
    return line["kind"], line["share"], tuple(line["shape"]), line["seed"]


def data(
    kind: str, share: float, shape: tuple[int, int, int], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows (n, d) and the true basis (d, k): inliers with deviations 5 to 2.5 on it and 0.25 around
    it, the first rows outliers."""
    d, k, n = shape
    rng = np.random.default_rng([KINDS.index(kind), int(100 * share), d, seed])
    U = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = rng.standard_normal((n, d)) * np.r_[np.linspace(5.0, 2.5, k), np.full(d - k, 0.25)]
    m = int(share * n)
    if kind == "orthogonal":
        X[:m, k:] += 3.0 * rng.standard_normal((m, d - k))
    elif kind == "leverage":
        X[:m] = 0.5 * rng.standard_normal((m, d))
        X[:m, [0, k]] += 15.0
    else:
        X[:m] = 0.1 * rng.standard_normal((m, d))
        X[:m, k] += 12.0
    return X @ U.T, U[:, :k]


def maxsub(U: NDArray[np.float64], V: NDArray[np.float64]) -> float:
    """Largest principal angle over pi / 2: 0 best, 1 orthogonal."""
    cosines = np.linalg.svd(U.T @ V, compute_uv=False)
    return float(np.arccos(np.clip(cosines.min(), -1.0, 1.0)) * 2.0 / np.pi)


def regular(X: NDArray[np.float64], U: NDArray[np.float64], share: float) -> float:
    """The angle of PCA of the rows that are no outliers: what nobody can be much better than."""
    rows = X[int(share * len(X)) :]
    V = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2]
    return maxsub(U, V[: U.shape[1]].T)


def ours(model: Any, X: NDArray[np.float64], U: NDArray[np.float64]) -> dict[str, float]:
    begin = time.process_time()
    model.fit(X)
    seconds = time.process_time() - begin
    return {
        "angle": maxsub(U, model.components_.T),
        "seconds": seconds,
        "kept": float(model.support_.mean()),
        "certified_ratio": float(model.certified_ratio_),
    }


def cell(
    measured: list[dict[str, Any]], kind: str, share: float, who: str, method: str, what: str
) -> list[float]:
    """What was measured of a method in one cell: over the three shapes and the seeds."""
    return [
        line[who][method][what]
        for line in measured
        if (line["kind"], line["share"]) == (kind, share)
        and tuple(line["shape"]) in SHAPES
        and method in line[who]
    ]


COLUMNS = (*(("lpgeom", name) for name in OURS), *(("rrcov", name) for name in THEIRS))


def cells(measured: list[dict[str, Any]], what: str) -> list[tuple[str, float, list[float | None]]]:
    """Of each kind and share the median of every method; None where it was not run."""
    return [
        (kind, share, [float(np.median(a)) if a else None for a in found])
        for kind in KINDS
        for share in SHARES
        for found in [[cell(measured, kind, share, *column, what) for column in COLUMNS]]
    ]


def breakdown_table(measured: list[dict[str, Any]]) -> str:
    rows = [(f"{kind}, {share:.0%}", *row) for kind, share, row in cells(measured, "angle")]
    heads = ("outliers", *(name for _, name in COLUMNS))
    return report.table(heads, rows, "median maxsub angle over shapes and seeds")


def page_table(what: str, written: Callable[[float], str]) -> str:
    rows = [
        [
            "" if share else kind,
            f"{share:.0%}",
            *("" if value is None else written(value) for value in row),
        ]
        for kind, share, row in cells(report.stored("breakdown")["results"], what)
    ]
    return report.markdown(["outliers", "share", *(name for _, name in COLUMNS)], rows)


def angles() -> str:
    return page_table("angle", "{:.3f}".format)


def times() -> str:
    return page_table("seconds", report.seconds)


def further_shapes() -> str:
    rows = []
    for line in report.stored("breakdown")["results"]:
        d, _, n = line["shape"]
        if tuple(line["shape"]) in FURTHER:
            texts = [
                f"{one['angle']:.3f}, {report.seconds(one['seconds'])}" if one else ""
                for one in (line[who].get(name) for who, name in COLUMNS[:-2])
            ]
            alone = f"{line['regular rows alone']:.3f}"
            rows.append([line["kind"], f"{n} x {d}", f"{line['share']:.0%}", alone, *texts])
    names = [name for _, name in COLUMNS[:-2]]
    return report.markdown(["outliers", "n x d", "share", "regular rows alone", *names], rows)
