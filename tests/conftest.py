"""`pytest --quick`, which `make quick` runs: tests that need the core alone, a few cases of each.

What is left out is said here, once, so that the same tests run whatever happens to be installed.
Without the option every test runs.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests import last_places

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


NOT_NUMERICAL = (
    "*/test_device_*.py",
    "benchmarks",
    "cli",
    "datasets",
    "io",
    "kernels/cuda",
    "kernels/test_cuda_compile.py",
    "kernels/test_cuda.py",
    "nn/test_[!fr]*.py",
    "nn/test_families.py",
    "nn/test_report*.py",
    "plots",
    "test_docs.py",
    "test_docstrings.py",
    "test_imports.py",
    "test_layout.py",
    "test_quick.py",
    "test_release.py",
    "test_road.py",
    "test_site.py",
    "test_theory.py",
    "test_threads_and_processes.py",
)
"""What --last-places leaves out: texts and files, other processes, compiled CUDA, whole models; and
what is compared with a device digit by digit, which has the noise of one side alone."""

SEEDS = 3
"""How many seeds of --last-places share the tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="no tests that are slow or need more than the core, and a few cases of each",
    )
    parser.addoption(
        "--last-places",
        type=int,
        metavar="SEED",
        help="every product and factorization comes out changed in its last places",
    )


def pytest_configure(config: pytest.Config) -> None:
    if (seed := config.getoption("last_places")) is not None:
        last_places.install(seed)


def is_left_out(path: Path, patterns: Iterable[str] = LEFT_OUT) -> bool:
    """Whether a file or folder below tests/ is one that --quick, or a table of its kind, leaves
    out."""
    return any(path.relative_to(TESTS).match(pattern) for pattern in patterns)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    quick, seed = config.getoption("quick"), config.getoption("last_places")
    out = LEFT_OUT if quick else NOT_NUMERICAL if seed is not None else ()
    below = collection_path.is_relative_to(TESTS) and collection_path != TESTS
    return True if below and is_left_out(collection_path, out) else None


def few(cases: Sequence[pytest.Item]) -> Sequence[pytest.Item]:
    """The first case, the last, and some between them if more are wanted."""
    if len(cases) <= CASES:
        return cases
    return [cases[i * (len(cases) - 1) // (CASES - 1)] for i in range(CASES)]


def turn(cases: Sequence[pytest.Item], seed: int) -> Sequence[pytest.Item]:
    """One case of each test under each seed, another each time; what is single or slow has its turn
    under one seed."""
    number = zlib.crc32(cases[0].nodeid.encode())
    if len(cases) > 1 and not cases[0].get_closest_marker("slow"):
        return [cases[(number + seed * len(cases) // SEEDS) % len(cases)]]
    return cases[number % len(cases) :][:1] if number % SEEDS == seed % SEEDS else []


def by_test(items: Sequence[pytest.Item]) -> dict[tuple[Path, str], list[pytest.Item]]:
    """The cases of each test, by file and name."""
    tests = defaultdict(list)
    for item in items:
        tests[item.path, item.nodeid.partition("[")[0]].append(item)
    return tests


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("last_places")
    if config.getoption("quick"):
        light = [i for i in items if not any(map(i.get_closest_marker, ("slow", "needs")))]
        chosen = [
            cases if path.parent == TESTS else few(cases)
            for (path, _), cases in by_test(light).items()
        ]
    elif seed is not None:
        alone = [i for i in items if not i.get_closest_marker("unchanged")]
        chosen = [turn(cases, seed) for cases in by_test(alone).values()]
    else:
        return
    kept = {item for cases in chosen for item in cases}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]
