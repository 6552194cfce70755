"""Classic tables: which known outliers LpPCA and R's rrcov flag, and which other rows."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import machine, report, rrcov
from .classic import TABLES, Classic, load

OURS: dict[str, dict[str, Any]] = {
    "LpPCA(k)": {},
    'LpPCA(k, support_fraction="auto")': {"support_fraction": "auto"},
    "LpPCA(k, support_fraction=0.5)": {"support_fraction": 0.5},
}
THEIRS = ("PcaHubert", "PcaGrid", "PcaCov")
CLEAN = ((20, 4, 2), (47, 2, 1), (86, 8, 2), (200, 8, 2))
"""n, d, k of normal rows without any outlier: whatever is flagged there is flagged wrongly."""
STRICT = 0.995
"""A level for few rows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=20, help="of clean data, of each shape")
    parser.add_argument("--only", nargs="+", choices=tuple(TABLES), default=tuple(TABLES))


def run(options: argparse.Namespace) -> dict[str, Any]:
    print(report.machine_line(machine.describe()), flush=True)
    found = rrcov.version()
    stored = {} if found else report.stored("outliers")
    theirs = {line["data"]: line["rrcov"] for line in stored.get("results", ())}
    measured = []
    for name in ("hbk",) if options.quick else options.only:
        table = load(name)
        line = one(table, scaled(table.rows))
        line["rrcov"] = flags_of(table) if found else theirs.get(name, {})
        measured.append({"data": name, **line})
    kept = {tuple(line["shape"]): line["rrcov"] for line in stored.get("clean", ())}
    clean = [
        flagged_of_clean(shape, 1 if options.quick else options.seeds, kept.get(shape, {}), found)
        for shape in (CLEAN[:1] if options.quick else CLEAN)
    ]
    print(f"\n{outliers_table(measured)}\n\n{clean_table(clean)}")
    version = found or stored.get("rrcov_version")
    return {
        "quick": options.quick, "rrcov_version": version, "results": measured, "clean": clean,
    }  # fmt: skip


def scaled(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns less their medians, over their median absolute deviations: the same for all."""
    B = X - np.median(X, axis=0)
    return np.asarray(B / (1.4826 * np.median(np.abs(B), axis=0)))


def one(table: Classic, X: NDArray[np.float64]) -> dict[str, Any]:
    """What each of our fits flags: the kinds of the flagged rows by their names."""
    from lpgeom import LpPCA

    ours = {}
    for name, given in OURS.items():
        pca = LpPCA(table.k, random_state=0, **given).fit(X)
        kinds = pca.outlier_map(X).kinds
        ours[name] = {
            "flagged": {
                n: str(k) for n, k in zip(table.names, kinds, strict=True) if k != "regular"
            },
            "certified_ratio": float(pca.certified_ratio_),
        }
    return {
        "shape": list(X.shape),
        "k": table.k,
        "known": list(table.known),
        "source": table.source,
        "lpgeom": ours,
    }


def flags_of(table: Classic) -> dict[str, Any]:
    """The names of the rows that rrcov's methods flag."""
    found = rrcov.run(scaled(table.rows), table.k, THEIRS)
    return {
        method: [n for n, out in zip(table.names, line["flagged"], strict=True) if out]
        for method, line in found.items()
    }


def flagged_of_clean(
    shape: tuple[int, int, int], seeds: int, theirs: dict[str, float], found: str | None
) -> dict[str, Any]:
    """Shares of rows that are flagged where none is an outlier."""
    from lpgeom import LpPCA

    n, d, k = shape
    flags: dict[str, list[float]] = {}
    for seed in range(seeds):
        X = np.random.default_rng([*shape, seed]).standard_normal((n, d))
        X *= np.r_[np.linspace(5.0, 2.5, k), np.full(d - k, 0.5)]
        for name, given in OURS.items():
            pca = LpPCA(k, random_state=0, certify=False, **given).fit(X)
            flags.setdefault(name, []).append(float(pca.outlier_map(X).flagged.mean()))
            if not given:
                strict = pca.outlier_map(X, level=STRICT)
                flags.setdefault("strict", []).append(float(strict.flagged.mean()))
        for name, line in (rrcov.run(X, k, THEIRS) if found else {}).items():
            flags.setdefault(name, []).append(float(line["flagged"].mean()))
    means = {name: float(np.mean(shares)) for name, shares in flags.items()}
    lpgeom = {name: means.pop(name) for name in ("strict", *OURS)}
    return {"shape": list(shape), "seeds": seeds, "lpgeom": lpgeom, "rrcov": means or theirs}


def clean_rows(clean: list[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for line in clean:
        n, d, k = line["shape"]
        shares = [line["lpgeom"][name] for name in ("strict", *OURS)]
        shares += [line["rrcov"].get(name) for name in THEIRS]
        texts = ["" if share is None else f"{100 * share:.0f}%" for share in shares]
        rows.append([f"{n} x {d}, k = {k}", *texts])
    return rows


def clean_table(clean: list[dict[str, Any]]) -> str:
    heads = ("normal rows", "strict", *OURS, *THEIRS)
    return report.table(heads, clean_rows(clean), f"flagged; strict: LpPCA(k), level={STRICT}")


def cells(line: dict[str, Any]) -> list[str]:
    """Known outliers flagged and other rows flagged, "13 + 2", for each method in order."""
    flagged = [set(line["lpgeom"][name]["flagged"]) for name in OURS]
    flagged += [set(line["rrcov"].get(name, ())) for name in THEIRS]
    known = set(line["known"])
    return [f"{len(rows & known)} + {len(rows - known)}" for rows in flagged]


def outliers_table(measured: list[dict[str, Any]]) -> str:
    rows = [(line["data"], len(line["known"]), *cells(line)) for line in measured]
    columns = ("data", "known", *OURS, *THEIRS)
    return report.table(columns, rows, "known outliers flagged + other rows flagged")


def clean_page_table() -> str:
    names = (f"LpPCA(k), level={STRICT}", *OURS)
    heads = ["normal rows", *(f"`{name}`" for name in names), *THEIRS]
    return report.markdown(heads, clean_rows(report.stored("outliers")["clean"]))


def page_table() -> str:
    lines = report.stored("outliers")["results"]
    rows = [[line["data"], str(len(line["known"])), *cells(line)] for line in lines]
    heads = [*(f"`{name}`" for name in OURS), *THEIRS]
    return report.markdown(["table", "known", *heads], rows)
