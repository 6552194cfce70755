"""Every CUDA kernel compiled by NVVM, which needs no device: types, arithmetic, registers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "cuda" / "compile_kernels.py"
UNAVAILABLE = 3

SUMS = ("rowwise.add_row_squares", "rowwise.add_row_dots", "proximal.split_rows")
"""Kernels that read float32 and add in float64."""

EXACT = ("trellis._search",)
"""Kernels whose float32 numbers are the CPU's: what is fused there is a product and 0."""

Result = dict[str, Any]


def compiled() -> list[Result]:
    """What each kernel became, for each type of data and architecture."""
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: nothing to compile with")
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=900,
        env={
            **os.environ,
            "NUMBA_ENABLE_CUDASIM": "0",
            "NUMBA_DISABLE_JIT": "0",
            "PYTHONPATH": str(SCRIPT.parents[3]),
        },
    )
    if done.returncode == UNAVAILABLE:
        pytest.skip(f"NVVM was not found (it is in nvidia-cuda-nvcc-cu12): {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr[-8000:]
    first, *rest = [json.loads(line) for line in done.stdout.splitlines()]
    assert {r["kernel"] for r in rest} == set(first["kernels"]), "a kernel has no signature listed"
    return rest


def wrong(result: Result) -> list[str]:
    """What a compiled kernel has that it must not have."""
    found = []
    if result["kernel"] in SUMS and result["single"]:
        found.append("float32 arithmetic in a float64 sum")
    adds, fused = (sum(op.startswith(o) for op in result["single"]) for o in ("add", "fma"))
    if result["kernel"] in EXACT and adds < fused:
        found.append("a float32 product that is fused with an addition")
    if result["atomics"]:
        found.append("atomics, whose order is that of the threads")
    if result["loose"]:
        found.append("approximate or flushed arithmetic")
    if "registers" in result:
        if result["spilled"] or result["stack"]:
            found.append("registers spilled, or an array that does not fit into them")
        if result["registers"] > 255:
            found.append("too many registers for a block to start")
    return found


GOOD: Result = {"kernel": "rowwise.add_row_squares", "single": [], "atomics": [], "loose": [],
                "registers": 40, "spilled": 0, "stack": 0}  # fmt: skip


@pytest.mark.slow
def test_compiled_kernels() -> None:
    results = compiled()
    assert len({tuple(r["cc"]) for r in results}) == 2
    assert {r["type"] for r in results} == {"float32", "float64"}
    assert {r["kernel"]: wrong(r) for r in results if wrong(r)} == {}
    # Rows are packed in their own type: if no float32 were found here, none would be anywhere.
    packed = [r for r in results if r["kernel"] == "rowwise._pack_rows"]
    assert all(bool(r["single"]) == (r["type"] == "float32") for r in packed)
    assert {*SUMS, *EXACT} <= {r["kernel"] for r in results}
    assert all(r["single"] for r in results if r["kernel"] in EXACT)


@pytest.mark.parametrize(
    "change",
    [
        {"single": ["fma.rn.f32"]},
        {"kernel": EXACT[0], "single": ["mul.f32", "fma.rn.f32"]},
        {"atomics": ["atom.global.add.f64"]},
        {"loose": ["rsqrt.approx.ftz.f32"]},
        {"spilled": 8},
        {"stack": 64},
        {"registers": 256},
    ],
)
def test_the_check_of_a_compiled_kernel_finds_faults(change: Result) -> None:
    assert wrong(GOOD) == []
    assert len(wrong({**GOOD, **change})) == 1
