"""A memory map larger than what the process may allocate.

Run as ``python -m benchmarks.memmap INPUT.npy K LIMIT_MIB`` it is the limited process: RLIMIT_DATA
caps everything it allocates itself (libraries' data included), while a read-only file mapping is
not counted. It shows first that the limit bites: a copy of the matrix is refused.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from lpgeom.datasets import heavy_tailed

from .memory import status
from .methods import lpgeom_certified, warm_up

LIMIT_MIB = 512
ROWS, COLUMNS, RANK = 190_000, 384, 8  # 557 MiB in float64


def write_input(path: Path, n: int = ROWS, d: int = COLUMNS) -> int:
    """A matrix on disk, made in pieces; returns its bytes."""
    A = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(n, d))
    for i, lo in enumerate(range(0, n, 10_000)):
        hi = min(n, lo + 10_000)
        A[lo:hi] = heavy_tailed(hi - lo, d, seed=i)
    A.flush()
    return A.nbytes


def measure(n: int = ROWS, d: int = COLUMNS) -> dict[str, Any]:
    """approx_subspace(k=8) on a memory map of n x d float64 under a 512 MiB limit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        size = write_input(path, n, d)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memmap", str(path), str(RANK), str(LIMIT_MIB)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).resolve().parents[1],
        )
    outcome = {"shape": [n, d], "input_MiB": size / 2**20, "limit_MiB": LIMIT_MIB, "k": RANK}
    if done.returncode:
        return {**outcome, "worked": False, "error": done.stderr.strip()[-2000:]}
    return {**outcome, "worked": True, **json.loads(done.stdout)}


def main(path: str, k: int, limit_mib: int) -> None:
    warm_up(lpgeom_certified, np.float64)
    A = np.load(path, mmap_mode="r")
    before = status("VmData")
    resource.setrlimit(resource.RLIMIT_DATA, (limit_mib << 20, limit_mib << 20))
    try:
        np.array(A)
        copy_refused = False
    except MemoryError:
        copy_refused = True
    begin = time.perf_counter()
    result = lpgeom_certified(A, k)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - begin,
                "ratio": result.ratio,
                "copy_refused": copy_refused,
                "data_before_MiB": before / 2**20,
                "data_after_MiB": status("VmData") / 2**20,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
