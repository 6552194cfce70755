"""Contaminated data of three kinds: angle to the true subspace, ours and R's rrcov."""

from __future__ import annotations

import argparse
import time
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
THEIR_SHARES = (0.1, 0.2, 0.3, 0.4)
"""R runs these."""
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
                        line["rrcov"] = kept.get(key(line), {})
                        if found and share in THEIR_SHARES:
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


def breakdown_table(measured: list[dict[str, Any]]) -> str:
    columns = [*(("lpgeom", name) for name in OURS), *(("rrcov", name) for name in THEIRS)]
    rows = []
    for kind in KINDS:
        for share in SHARES:
            angles = [cell(measured, kind, share, *column, "angle") for column in columns]
            rows.append(
                (f"{kind}, {share:.0%}", *(float(np.median(a)) if a else None for a in angles))
            )
    heads = ("outliers", *(name for _, name in columns))
    return report.table(heads, rows, "median maxsub angle over shapes and seeds")


def angles() -> str:
    lines = report.stored("breakdown")["results"]
    columns = [*(("lpgeom", name) for name in OURS)]
    columns += [("rrcov", name) for name in THEIRS]
    rows = []
    for kind in KINDS:
        for share in SHARES:
            found = [cell(lines, kind, share, *c, "angle") for c in columns]
            medians = [f"{np.median(a):.3f}" if a else "" for a in found]
            rows.append(["" if share else kind, f"{share:.0%}", *medians])
    return report.markdown(["outliers", "share", *(name for _, name in columns)], rows)


def further_shapes() -> str:
    rows = []
    for line in report.stored("breakdown")["results"]:
        d, _, n = line["shape"]
        if tuple(line["shape"]) in FURTHER:
            cells = [line["lpgeom"][name] for name in OURS]
            texts = [f"{c['angle']:.3f}, {report.seconds(c['seconds'])}" for c in cells]
            rows.append([line["kind"], f"{n} x {d}", f"{line['share']:.0%}", *texts])
    return report.markdown(["outliers", "n x d", "share", *OURS], rows)
