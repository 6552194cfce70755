"""Makes the saved records in tests/records/files, by the public functions of the code that runs it.

The files there were made by lpgeom before its modules moved into rooms (format version 1), and are
never made again: a record that was saved once has to load for ever. To add files of a later
format: ``python -m tests.records.make_files FOLDER``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import lpgeom

FOLDER = Path(__file__).parent / "files"


def data(n: int = 24, d: int = 5) -> Any:
    """Heavy-tailed rows with a decaying spectrum, the same on every machine."""
    rng = np.random.default_rng(7)
    return rng.standard_t(2.5, (n, d)) * 0.6 ** np.arange(d)


def omega(n: int = 24) -> Any:
    """Row weights, one of them 0."""
    weights = np.linspace(0.5, 2.0, n)
    weights[3] = 0.0
    return weights


def entry_weights(n: int = 24, d: int = 5) -> Any:
    """Weights of the entries."""
    return np.random.default_rng(8).uniform(0.5, 2.0, (n, d))


def holed(n: int = 24, d: int = 5) -> Any:
    """The data with a few missing entries."""
    A = data(n, d)
    A[[1, 5, 9], [0, 3, 2]] = np.nan
    return A


def flat(n: int = 24, d: int = 5) -> Any:
    """Rows of rank 2."""
    A = np.zeros((n, d))
    A[:, 0], A[:, 3] = np.arange(1, n + 1), np.arange(n) ** 2
    return A


def records() -> dict[str, Any]:
    """Every kind of record that has a `save`, by the name of its file."""
    A = data()
    made: dict[str, Any] = {}
    for word, p in {"1": 1.0, "1.5": 1.5, "2": 2.0, "3": 3.0, "inf": np.inf}.items():
        made[f"subspace-{word}"] = lpgeom.approx_subspace(A, 2, p)
    made["subspace-bare"] = lpgeom.approx_subspace(A, 2, 1.5, certify=False)
    made["subspace-bare-inf"] = lpgeom.approx_subspace(A, 2, np.inf, certify=False)
    made["subspace-weighted"] = lpgeom.approx_subspace(A, 2, 1.25, row_weights=omega())
    made["subspace-tight"] = lpgeom.approx_subspace(data(150, 8), 2, 1.0, certify="tight")
    made["subspace-exact"] = lpgeom.approx_subspace(flat(), 3, 1.0)
    made["subspace-exact-bare"] = lpgeom.approx_subspace(flat(), 3, 1.0, certify=False)
    made["factors"] = lpgeom.approx_factors(A, 2, 1.0, max_iter=20)
    made["factors-weighted"] = lpgeom.approx_factors(
        A, 2, 1.5, row_weights=omega() + 0.1, entry_weights=entry_weights(), max_iter=20
    )
    made["factors-missing"] = lpgeom.approx_factors(holed(), 2, 1.0, missing="ignore", max_iter=20)
    made["factors-bare"] = lpgeom.approx_factors(A, 2, 3.0, certify=False, max_iter=20)
    made["curve"] = lpgeom.cost_curve(A, 1.0, [1, 2, 4])
    made["curve-bare"] = lpgeom.cost_curve(A, 3.0, [1, 3], certify=False)
    made["stream"] = lpgeom.StreamingCoreset(p=1.0, size=8, seed=1).partial_fit(A)
    return made


def figures(record: Any) -> dict[str, Any]:
    """What the record states, as JSON has it: what a later version must find in the file."""
    if isinstance(record, lpgeom.StreamingCoreset):
        coreset = record.coreset()
        return {"indices": coreset.indices.tolist(), "weights": coreset.weights.tolist()}
    stated: dict[str, Any] = record.to_dict()
    if not isinstance(record, lpgeom.CostCurve) and record.certificate is not None:
        stated["certified cost"] = record.certificate.cost
        stated["table"] = record.certificate.table()
    return stated


def main(folder: Path) -> None:
    """Write the records, and figures.json with what each states."""
    folder.mkdir(parents=True, exist_ok=True)
    stated = {}
    for name, record in records().items():
        record.save(folder / f"{name}.npz")
        stated[name] = figures(record)
    (folder / "figures.json").write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")
    np.savez(folder / "data.npz", A=data(), holed=holed(), flat=flat(), long=data(150, 8))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
