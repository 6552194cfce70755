"""The CUDA tests in processes of their own: in numba's simulator, and on a device where one is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent / "cuda"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def kernels_pass(*files: str, **environment: str) -> None:
    """Runs files of tests/kernels/cuda, or all; fails with what it printed."""
    options = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *([str(TESTS / f) for f in files] or [TESTS]), *options],
        capture_output=True,
        text=True,
        cwd=TESTS.parents[2],
        timeout=1800,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert " passed" in done.stdout


PLAIN = ("test_cuda_ellipsoids.py", "test_cuda_geometry.py", "test_cuda_kernels.py",
         "test_cuda_simulator.py")  # fmt: skip
"""What runs without a compiler, too: the other files take minutes in plain Python."""


@pytest.mark.slow
@pytest.mark.parametrize(("without_jit", "files"), [("0", ()), ("1", PLAIN)], ids=["jit", "no-jit"])
def test_kernels_in_the_simulator(without_jit: str, files: tuple[str, ...]) -> None:
    """NUMBA_ENABLE_CUDASIM replaces numba.cuda, and is read when numba is imported."""
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: no simulator")
    kernels_pass(*files, NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT=without_jit)


def test_kernels_on_a_device() -> None:
    """The same tests; CuPy's arrays instead of NumPy's."""
    found = run(
        f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        "import conftest; print(conftest.device_found())",
        NUMBA_ENABLE_CUDASIM="0",
    )
    assert found.returncode == 0, found.stderr
    if found.stdout.strip() != "True":
        pytest.skip("no CUDA device was found by numba-cuda and CuPy: kernels not run on one")
    kernels_pass(NUMBA_ENABLE_CUDASIM="0")


MODULES = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "lpgeom" / "kernels" / "cuda").glob("*.py")
    if path.stem != "__init__"
)
IMPORTS = "\n".join(f"import lpgeom.kernels.cuda.{name}" for name in MODULES)


def test_importing_the_kernels_asks_for_no_driver() -> None:
    pytest.importorskip("numba_cuda")
    done = run(
        "from numba.cuda.cudadrv import driver\n"
        "def asked(self): raise AssertionError('the driver was asked')\n"
        "driver.Driver.ensure_initialized = asked\n"
        f"{IMPORTS}\n"
        "try: driver.driver.cuDeviceGetCount\n"
        "except AssertionError: print('seen')",
        NUMBA_ENABLE_CUDASIM="0",
    )
    assert (done.stdout.strip(), done.stderr) == ("seen", "")


def test_one_block_is_no_reason_for_a_warning() -> None:
    pytest.importorskip("numba_cuda")
    code = """
from numba.cuda.cudadrv import driver
driver._to_core_stream = lambda stream: stream  # which asks for a driver
from lpgeom.kernels.cuda import launch, rowwise
launch._quietly(rowwise.add_row_squares.kernel, 1, 64, 0)
print("quiet")
rowwise.add_row_squares.kernel[2, 64, 0]
"""
    done = run(code, NUMBA_ENABLE_CUDASIM="0")
    assert done.stdout.strip() == "quiet"
    assert "PerformanceWarning" in done.stderr


def test_without_numba_cuda_the_extra_is_named() -> None:
    done = run("import sys\nsys.modules['numba_cuda'] = None\nimport lpgeom.kernels.cuda.rowwise")
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert "pip install 'lpgeom[cuda]'" in done.stderr


def test_without_cupy_the_extra_is_named() -> None:
    pytest.importorskip("numba_cuda")
    done = run(
        "import sys\nsys.modules['cupy'] = None\n"
        "from lpgeom.kernels.cuda.arrays import array_module\narray_module()",
        NUMBA_ENABLE_CUDASIM="0",
    )
    assert "pip install 'lpgeom[cuda]'" in done.stderr


def test_a_process_without_cuda_imports_none_of_it() -> None:
    """numba-cuda hooks into the import of numba.cuda at start-up; that must stay all it does."""
    done = run(
        "import sys, lpgeom, lpgeom.kernels.cpu.rowwise, lpgeom.kernels.cpu.regression\n"
        "print([m for m in sys.modules if m.startswith(('numba.cuda', 'cupy', 'cuda.'))])"
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_every_cpu_kernel_has_a_twin() -> None:
    """Same modules, same functions, same arguments; no route has a device for the
    simplex, or for affine subspaces."""
    pytest.importorskip("numba_cuda")
    code = """
import inspect
from importlib import import_module
from pathlib import Path
import lpgeom.kernels.cpu as cpu
for path in sorted(Path(cpu.__path__[0]).glob("[a-z]*.py")):
    if path.stem in ("simplex", "outlyingness"):
        continue
    pair = [import_module(f"lpgeom.kernels.{t}.{path.stem}") for t in ("cpu", "cuda")]
    for name, function in vars(pair[0]).items():
        function = getattr(function, "py_func", function)
        if inspect.isfunction(function) and function.__module__ == pair[0].__name__:
            if not name.startswith("_"):
                twin = getattr(pair[1], name)
                ours, theirs = (list(inspect.signature(f).parameters) for f in (function, twin))
                assert ours == theirs, (path.stem, name, ours, theirs)
                print(path.stem, name)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 18


def test_both_rooms_name_the_same_kernels() -> None:
    pytest.importorskip("numba_cuda")
    done = run(
        "from lpgeom.kernels import cpu, cuda\n"
        "host = {'farthest_off', 'pairwise_descent', 'quantile'}\n"
        "print(set(cpu.__all__) - host == set(cuda.__all__))"
    )
    assert (done.stdout.strip(), done.stderr) == ("True", "")
