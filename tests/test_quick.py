"""What `make quick` leaves out is there to be left out, and what it runs needs the core alone."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CASES, LEFT_OUT, TESTS, few, is_left_out

HAS = {
    "benchmarks", "hypothesis", "lpgeom", "numba", "numpy", "pytest", "safetensors", "scipy",
    "tests", "threadpoolctl",
} | sys.stdlib_module_names  # fmt: skip
"""What a test that `make quick` runs may import."""


def left_out(path: Path) -> bool:
    return any(is_left_out(whole) for whole in (path, *path.parents) if TESTS in whole.parents)


def needed(source: str) -> set[str]:
    """Libraries beyond the core that a module imports as it is imported itself."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names - HAS


def test_every_pattern_leaves_something_out() -> None:
    paths = [path for path in TESTS.rglob("*") if path.is_dir() or path.name.startswith("test_")]
    for pattern in LEFT_OUT:
        assert any(path.relative_to(TESTS).match(pattern) for path in paths), pattern


def test_what_is_run_needs_the_core_alone() -> None:
    run = [path for path in TESTS.rglob("test_*.py") if not left_out(path)]
    assert {path.parent.name for path in run} >= {"bounds", "geometry", "records", "subspace"}
    beside = {path.stem for path in TESTS.rglob("*.py")}  # tests that import each other
    for path in run:
        assert needed(path.read_text()) <= beside, path
    assert needed("import torch.nn\nfrom dask import array\nimport numpy as np") == {
        "torch",
        "dask",
    }


def test_of_many_cases_a_few_are_run() -> None:
    cases: Any = list(range(20))
    chosen = few(cases)
    assert (len(chosen), chosen[0], chosen[-1]) == (CASES, 0, 19)
    assert few(cases[:2]) == cases[:2]


@pytest.mark.needs("nothing: this test is left out by --quick for its marker alone")
def test_marked_tests_are_left_out(request: pytest.FixtureRequest) -> None:
    assert not request.config.getoption("quick")
