"""Compiles every CUDA kernel to PTX, and to machine code where ptxas is there; prints JSON lines.

NVVM needs no device. What else numba-cuda asks a device or NVRTC for on the way is answered here:
the compute capability, when a kernel calls a function compiled for the CPU, and the name of the
architecture. Run by tests/kernels/test_cuda_compile.py, in a process
of its own without the simulator.
"""

from __future__ import annotations

import json
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from numba import cuda, float32, float64, int64, uint8
from numba import types as numba_types
from numba.cuda import cuda_paths, dispatcher
from numba.cuda.cudadrv import nvrtc

import lpgeom.kernels.cuda as room

UNAVAILABLE = 3
"""Exit status where there is no NVVM."""

D1, D2, D3 = float64[::1], float64[:, ::1], float64[:, :, ::1]
F1, F2 = float32[::1], float32[:, ::1]
I1, I2, B1, B2 = int64[::1], int64[:, ::1], uint8[::1], uint8[:, ::1]
NUMBER, COUNT, FLAG = float64, int64, numba_types.boolean


def signatures(real: Any) -> dict[str, list[tuple[Any, ...]]]:
    """The argument types of every kernel, for data of the given type."""
    rows, strided = real[:, ::1], real[:, :]
    double = {
        "lines.line_search": [(D2, D2, D1, D1)],
        "reductions._chunk_sums": [(D1, D1)],
        "regression.begin": [(D2, D2, NUMBER, NUMBER, *[D2] * 5)],
        "regression.predict": [(*[D2] * 6, NUMBER, *[D2] * 6)],
        "regression.correct": [(*[D2] * 12, NUMBER)],
        "regression.advance": [(*[D2] * 13, NUMBER, D2, D2, D1, D1)],
        "regression.cholesky": [(D3,)],
        "regression.unpack": [(D2, D3)],
        "regression.solve": [(D3, D2)],
        "rounding.feed_back": [(D2, D2, D2, I1, D1, D1, B2, D2)],
        "rounding.descend_codes": [(D2, D2, D2, I1, D1, D1, B2, I1)],
        "trellis.decode_rows": [(D2, B1, I1, B1, I2, *[B2] * 3, F2, D2, D2)],
        "trellis._search": [(F2, B1, F1, F2, B2, B2)],
        "trellis._tally": [(D3, F2, F1, I1, B2, D1)],
    }
    either = {
        "proximal.prox_entries": [(real[::1], NUMBER, NUMBER, real[::1])],
        "proximal.split_rows": [(*[rows] * 5, FLAG, NUMBER, NUMBER, NUMBER, D1)],
        "rounding.add_cast_squares": [(rows, F2, NUMBER, COUNT, D1)],
        "rounding.fit_scales": [(rows, D2, D1, D1, D1, COUNT, D1)],
        "rounding.nearest_codes": [(rows, D2, I1, D1, B2)],
        "rowwise.add_row_squares": [(rows, D1), (strided, D1)],
        "rowwise.add_row_dots": [(rows, rows, COUNT, D1)],
        "rowwise.scale_rows": [(rows, D1, rows)],
        "rowwise._pack_rows": [(rows, D1, NUMBER, NUMBER, I1, rows)],
    }
    return {**either, **double} if real is float64 else either


def kernels() -> dict[str, Any]:
    """Every kernel of the package by its name."""
    found = {}
    for _, name, _ in pkgutil.iter_modules(room.__path__):
        module = import_module(f"lpgeom.kernels.cuda.{name}")
        for key, value in vars(module).items():
            value = getattr(value, "kernel", value)
            if isinstance(value, dispatcher.CUDADispatcher) and not value.targetoptions["device"]:
                found[f"{name}.{key}"] = value
    return found


def compiled() -> Iterator[dict[str, Any]]:
    newest = (9, 0)
    ptxas = _ptxas()
    for real, capabilities in ((float64, [_oldest(), newest]), (float32, [newest])):
        for name, kinds in signatures(real).items():
            for arguments in kinds:
                for cc in capabilities:
                    code, _ = cuda.compile_ptx(kernels()[name].py_func, arguments, cc=cc)
                    yield {
                        "kernel": name,
                        "arguments": str(arguments),
                        "type": str(real),
                        "cc": cc,
                        "single": re.findall(r"\b(?:add|mul|fma|sub|div)\.\S*f32\b", code),
                        "atomics": re.findall(r"\b(?:atom|red)\.\S+", code),
                        "loose": re.findall(r"\b\S+\.(?:approx|ftz)\S*\.f32\b", code),
                        **_assembled(ptxas, code, cc),
                    }


def _oldest() -> tuple[int, int]:
    """(7, 0); where this NVVM no longer knows it, (7, 5)."""
    try:
        cuda.compile_ptx(lambda x: None, (D1,), cc=(7, 0))
    except Exception as error:
        if "INVALID_OPTION" not in str(error):
            raise
        return 7, 5
    return 7, 0


def _ptxas() -> str | None:
    """The assembler that came with this NVVM, else any."""
    library = Path(cuda_paths.get_cuda_paths()["nvvm"].info)
    for above in library.parents[:4]:
        if (above / "bin" / "ptxas").exists():
            return str(above / "bin" / "ptxas")
    return shutil.which("ptxas")


def _assembled(ptxas: str | None, code: str, cc: tuple[int, int]) -> dict[str, Any]:
    """What a thread takes: registers, bytes on its stack and bytes spilled to it."""
    if ptxas is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(code)
        target = f"-arch=sm_{cc[0]}{cc[1]}"
        done = subprocess.run(
            [ptxas, "-v", target, str(source), "-o", str(Path(folder, "kernel.cubin"))],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        if "is not defined for option 'gpu-name'" in done.stderr or "newer" in done.stderr:
            return {}  # another release than NVVM's
        raise RuntimeError(done.stderr)
    entry = done.stderr[done.stderr.rindex("Compiling entry function") :]
    numbers = {
        "registers": r"Used (\d+) registers",
        "stack": r"(\d+) bytes stack frame",
        "spilled": r"(\d+) bytes spill stores",
        "shared": r"(\d+) bytes smem",
    }
    found = {key: re.search(pattern, entry) for key, pattern in numbers.items()}
    return {key: int(match[1]) if match else 0 for key, match in found.items()}


class Device:
    """All that compilation asks of a device."""

    compute_capability = (9, 0)


def main() -> int:
    dispatcher.get_current_device = Device
    nvrtc.get_arch_option = lambda major, minor: f"compute_{major}{minor}"
    cuda_paths._get_nvrtc_path = lambda: None
    try:
        print(f"NVVM at {cuda_paths.get_cuda_paths()['nvvm'].info}", file=sys.stderr)
    except Exception as error:
        print(f"no NVVM: {str(error).splitlines()[0]}", file=sys.stderr)
        return UNAVAILABLE
    print(json.dumps({"kernels": sorted(kernels())}))
    for result in compiled():
        print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
