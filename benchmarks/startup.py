"""What importing costs, and whether a second process finds the compiled kernels."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_IMPORT = """
import json, sys, time
import numpy, scipy, scipy.linalg
begin = time.perf_counter()
import lpgeom
names = time.perf_counter() - begin
lpgeom.approx_subspace
print(json.dumps({"import": names, "first_use": time.perf_counter() - begin}))
"""

_CALL = """
import json, sys, time
import numpy as np
import lpgeom
A = np.random.default_rng(0).standard_normal((400, 16))
begin = time.perf_counter()
for dtype in (np.float64, np.float32):
    for p in (1.0, 1.5, 3.0):
        lpgeom.approx_subspace(A.astype(dtype), 5, p)
seconds = time.perf_counter() - begin
from numba.core.dispatcher import Dispatcher
kernels = {}
for name, module in list(sys.modules.items()):
    if name.startswith("lpgeom"):
        for value in vars(module).values():
            if isinstance(value, Dispatcher) and value.__module__.startswith("lpgeom"):
                kernels[id(value)] = value
stats = [kernel.stats for kernel in kernels.values()]
print(json.dumps({
    "seconds": seconds,
    "kernels": sum(bool(kernel.signatures) for kernel in kernels.values()),
    "loaded": sum(sum(s.cache_hits.values()) for s in stats),
    "compiled": sum(sum(s.cache_misses.values()) for s in stats),
}))
"""


def _run(code: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
        cwd=Path(__file__).resolve().parents[1],
    )
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def measure(repeats: int = 7) -> dict[str, Any]:
    """Median import seconds over numpy + scipy, and kernel compilation in two processes."""
    imports = [_run(_IMPORT) for _ in range(repeats)]
    with tempfile.TemporaryDirectory() as cache:
        first = _run(_CALL, NUMBA_CACHE_DIR=cache)
        second = _run(_CALL, NUMBA_CACHE_DIR=cache)
    return {
        "import_seconds": statistics.median(run["import"] for run in imports),
        "import_and_load_seconds": statistics.median(run["first_use"] for run in imports),
        "first_process": first,
        "second_process": second,
    }
