"""A file larger than memory may be: peak memory, and speed beside reading the file alone.

The file is a float32 .npy of the shape asked for, sparse on disk: one stretch of rows in `SPARSE`
is written, the others are holes, which read as zero rows at the speed of the page cache. With
``--dense`` all of it is written. Before each measurement the file is dropped from the page cache;
speed is ``bytes of the file * passes / seconds``, the pass that checks for NaN included.

Run as ``python -m benchmarks.outofcore INPUT.npy P LIMIT_MIB STEPS`` it is the measured process:
RLIMIT_DATA caps what it allocates, while pages of the mapped file are the system's to take back.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from lpgeom import approx_subspace
from lpgeom.datasets import heavy_tailed

from .memory import status
from .methods import lpgeom_certified, warm_up
from .report import table

RANK = 8
SPARSE = 16
STRETCH = 10_000
READ_BYTES = 8 << 20


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--gigabytes", type=float, default=20.0, help="size of the file (20)")
    command.add_argument("--columns", type=int, default=512)
    command.add_argument("--power", type=float, default=1.0, help="p (1)")
    command.add_argument("--limit", type=int, default=1536, help="MiB the process may allocate")
    command.add_argument("--steps", type=int, default=2, help="of each descent, at most (2)")
    command.add_argument("--dense", action="store_true", help="no holes")
    command.add_argument("--folder", help="where to write the file (a temporary directory)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    size = 0.02 if options.quick else options.gigabytes
    d = options.columns
    n = int(size * 1e9 / 4 / d)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "rows.npy"
        written = size * 1e9 / (1 if options.dense else SPARSE)
        if written > 0.6 * shutil.disk_usage(folder).free:
            raise SystemExit(f"{folder} has no room for {written / 1e9:.1f} GB")
        write_input(path, n, d, 1 if options.dense else SPARSE)
        alone = read_alone(path)
        _forget(path)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.outofcore"),
                *(str(path), str(options.power), str(options.limit), str(options.steps)),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).resolve().parents[1],
        )
        if done.returncode:
            raise SystemExit(done.stderr.strip()[-2000:])
        measured = json.loads(done.stdout)
        body = {
            "shape": [n, d],
            "p": options.power,
            "k": RANK,
            "file_GB": path.stat().st_size / 1e9,
            "on_disk_GB": path.stat().st_blocks * 512 / 1e9,
            "limit_MiB": options.limit,
            "steps": options.steps,
            "read_alone_GB_per_s": path.stat().st_size / 1e9 / alone,
            **measured,
        }
    body["GB_per_s"] = body["file_GB"] * body["passes"] / body["seconds"]
    body["share_of_reading"] = body["GB_per_s"] / body["read_alone_GB_per_s"]
    print(table(("", ""), [(key, value) for key, value in body.items() if key != "shape"]))
    return body


def write_input(path: Path, n: int, d: int, sparse: int) -> None:
    """A matrix on disk of which one stretch of rows in `sparse` is written."""
    A = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    kinds = [heavy_tailed(STRETCH, d, seed=seed).astype(np.float32) for seed in range(4)]
    for i, lo in enumerate(range(0, n, STRETCH * sparse)):
        hi = min(n, lo + STRETCH)
        A[lo:hi] = kinds[i % len(kinds)][: hi - lo]
    A.flush()


def read_alone(path: Path) -> float:
    """Seconds to read the file into one buffer, from the disk."""
    _forget(path)
    room = bytearray(READ_BYTES)
    begin = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(room):
            pass
    return time.perf_counter() - begin


def _forget(path: Path) -> None:
    """Drop the file from the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main(path: str, p: float, limit_mib: int, steps: int) -> None:
    warm_up(lpgeom_certified, np.float32)
    A = np.load(path, mmap_mode="r")
    resource.setrlimit(resource.RLIMIT_DATA, (limit_mib << 20, limit_mib << 20))
    begin = time.perf_counter()
    result = approx_subspace(A, RANK, p, method="irls", max_iter=steps)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - begin,
                "passes": result.n_passes + 1.0,
                "ratio": result.ratio,
                "data_MiB": status("VmData") / 2**20,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
