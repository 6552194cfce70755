"""``python -m tests.fuzz [TARGET ...] --seconds 60``: one process a target, one after the other.

With atheris (``pip install atheris``) it is guided by the coverage of lpgeom's readers and of what
they use of NumPy, zipfile and json; without, mutations are blind. Findings do not end a run: each
is stored once, by the exception and the line it came from.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = (
    "npy", "npz", "safetensors", "csv", "h5", "parquet", "zarr", "result", "factors", "stream",
    "recipe", "tensors", "directory",
)  # fmt: skip
"""Of `targets.TARGETS`, which must not be imported before the modules it uses are instrumented."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keep corpora and findings here")
    parser.add_argument("--out", type=Path, help="add the figures of the runs to this JSON file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        from .engine import run

        run(options.one, options.seconds, options.seed, options.work)
        return 0
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    with TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        done = [_separately(name, options, work) for name in options.targets or NAMES]
    if options.out:
        _add(options.out, done)
    return int(any(figures["findings"] or figures["exit"] for figures in done))


def _separately(name: str, options: Any, work: Path) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--work", str(work),
               "--seconds", str(options.seconds), "--seed", str(options.seed)]  # fmt: skip
    one = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    single = {f"{library}_NUM_THREADS": "1" for library in one}
    with open(work / f"{name}.log", "wb") as log:
        code = subprocess.run(
            command, env=os.environ | single, stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
    report = work / f"{name}.json"
    figures = json.loads(report.read_text()) if report.is_file() else {"findings": []}
    figures = {"target": name, "exit": code, **figures}
    print(json.dumps({k: v for k, v in figures.items() if k != "lines"}), flush=True)
    return figures


def _add(path: Path, done: list[dict[str, Any]]) -> None:
    from benchmarks.machine import describe

    record = json.loads(path.read_text()) if path.is_file() else {"benchmark": "fuzz", "runs": []}
    record["runs"].append({"machine": describe(), "results": done})
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
