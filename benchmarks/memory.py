"""Peak memory of one call, in a fresh process, over what the input itself takes.

Run as ``python -m benchmarks.memory METHOD INPUT.npy K`` it is that process: it imports and warms
up, loads the input, notes its resident memory, resets the peak where the system lets it, calls, and
prints JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import methods


def growth(method: str, path: Path, k: int) -> dict[str, Any]:
    """Peak memory growth of `method` on the matrix in `path`, measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", method, str(path), str(k)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[1],
    )
    if done.returncode:
        raise RuntimeError(f"{method}: {done.stderr.strip()[-2000:]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def status(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def _reset_peak() -> bool:
    """Make VmHWM start again from now; False where the system does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return status("VmHWM") <= 1.05 * status("VmRSS")


def main(name: str, path: str, k: int) -> None:
    method = methods.available()[name]
    A = np.load(path)
    methods.warm_up(method, A.dtype)
    reset = _reset_peak()
    before, before_peak = status("VmRSS"), status("VmHWM")
    method(A, k)
    peak = max(
        status("VmHWM"), 0 if reset else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    print(
        json.dumps(
            {
                "growth_bytes": peak - before,
                "input_bytes": A.nbytes,
                "growth_over_input": (peak - before) / A.nbytes,
                "baseline_bytes": before,
                # Above the baseline only where the peak could not be reset: then a smaller
                # growth than this difference would not be seen.
                "blind_bytes": max(0, before_peak - before),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
