"""`pytest --quick`, which `make quick` runs: tests that need the core alone, a few cases of each.

What is left out is said here, once, so that the same tests run whatever happens to be installed.
Without the option every test runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

LEFT_OUT = {
    "benchmarks": "torch, and minutes",
    "cli/test_cli_compare.py": "scikit-learn, matplotlib",
    "comparison": "scikit-learn, pandas",
    "datasets": "scikit-learn, and weights of models",
    "estimator": "scikit-learn",
    "heuristics": "scikit-learn, cvxpy",
    "kernels/cuda": "numba-cuda",
    "kernels/test_cuda.py": "numba-cuda",
    "kernels/test_cuda_compile.py": "numba-cuda",
    "nn": "torch",
    "plots": "matplotlib",
    "*/test_device_*.py": "a stand-in for CuPy, and minutes",
    "entries/test_regression.py": "cvxpy",
    "io/test_interchange.py": "pandas",
    "io/test_sources.py": "h5py, pyarrow, zarr",
    "io/test_tables.py": "pandas",
    "rows/test_dask.py": "Dask",
    "test_docs.py": "what the examples use",
    "test_release.py": "PyYAML",
    "test_robustness.py": "torch, matplotlib, h5py",
    "test_threads_and_processes.py": "minutes",
}
"""Patterns of folders and files that --quick leaves out: what they need."""

CASES = 2
"""How many cases of a parametrised test --quick runs; those of files beside the rooms run whole."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="no tests that are slow or need more than the core, and a few cases of each",
    )


def is_left_out(path: Path) -> bool:
    """Whether a file or folder below tests/ is one that --quick leaves out."""
    return any(path.relative_to(TESTS).match(pattern) for pattern in LEFT_OUT)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    quick = config.getoption("quick") and collection_path.is_relative_to(TESTS)
    return True if quick and collection_path != TESTS and is_left_out(collection_path) else None


def few(cases: Sequence[pytest.Item]) -> Sequence[pytest.Item]:
    """The first case, the last, and some between them if more are wanted."""
    if len(cases) <= CASES:
        return cases
    return [cases[i * (len(cases) - 1) // (CASES - 1)] for i in range(CASES)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("quick"):
        return
    tests = defaultdict(list)
    for item in items:
        if not item.get_closest_marker("slow") and not item.get_closest_marker("needs"):
            tests[item.path, item.nodeid.partition("[")[0]].append(item)
    kept = {
        item
        for (path, _), cases in tests.items()
        for item in (cases if path.parent == TESTS else few(cases))
    }
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]
