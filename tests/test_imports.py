"""Imports run downward only, and importing lpgeom loads and compiles nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lpgeom

PACKAGE = Path(__file__).resolve().parents[1] / "lpgeom"

# From the top of the road to its bottom; a module may import its own layer and those below.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"nn"},
    {"estimator", "warm"},
    {"plots"},
    {"datasets"},
    {"comparison"},
    {"heuristics"},
    {"affine"},
    {"approx"},
    {"curve"},
    {"quantized"},
    {"groups"},
    {"entries"},
    {"subspace"},
    {"coresets"},
    {"bounds"},
    {"geometry"},
    {"rows"},
    {"records"},
    {"kernels"},
    {"io"},
    {"_version", "progress", "threads"},
]
# The rooms within nn, from its top to its bottom; beside them lie the files that use them all.
WITHIN_NN = ["stored", "plan", "model", "modules", "factors", "report"]
# Where each optional library may be imported at all.
ONLY_IN = {
    "torch": {"nn"},
    "transformers": {"nn"},
    "tokenizers": {"nn"},
    "wordfreq": {"nn"},
    "dask": {"rows"},
    "zarr": {"io"},
    "h5py": {"io"},
    "pyarrow": {"io"},
    "cupy": {"rows", "kernels"},
    "jinja2": {"nn"},
    "matplotlib": {"plots"},
    "sklearn": {"affine", "datasets", "estimator", "heuristics"},
    "pandas": {"io"},
    "cvxpy": {"heuristics"},
}
HEAVY = [
    "torch",
    "transformers",
    "tokenizers",
    "wordfreq",
    "dask",
    "zarr",
    "h5py",
    "pyarrow",
    "cupy",
    "jinja2",
    "matplotlib",
    "cvxpy",
    "sklearn",
    "pandas",
    "numba.cuda",
]


def layer(name: str) -> int | None:
    """Index in LAYERS of a top-level module of lpgeom; None for lpgeom itself."""
    if name == "":
        return None
    for index, names in enumerate(LAYERS):
        if name in names:
            return index
    raise AssertionError(f"lpgeom.{name} has no layer: add it to LAYERS")


def imported(tree: ast.Module, package: str) -> Iterator[tuple[str, int, bool]]:
    """(absolute module, line, whether inside a function) of every import in a module."""
    inside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            if module == "lpgeom":  # from lpgeom import rows: the names may be modules
                for alias in node.names:
                    yield f"{module}.{alias.name}", node.lineno, id(node) in inside
            else:
                yield module, node.lineno, id(node) in inside


def room(dotted: str) -> str:
    """'lpgeom.rows.array' -> 'rows'; 'lpgeom' -> ''."""
    return [*dotted.split("."), ""][1]


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Upward imports, and optional libraries out of their rooms, in one module's source."""
    found = []
    package = module if is_package else module.rpartition(".")[0]
    here = room(module)
    own = layer(here)
    for name, line, _ in imported(ast.parse(source), package):
        top = name.split(".")[0]
        if top in ONLY_IN and here not in ONLY_IN[top]:
            found.append(f"{module}:{line} imports {name}")
        if top != "lpgeom" or own is None:  # lpgeom/__init__ gathers the public names
            continue
        there = room(name)
        if there and not _is_module(there):
            there = ""  # from lpgeom import approx_subspace: a public name
        target = layer(there)
        # The public names sit above everything but the command line and the adapters.
        allowed = own <= 1 if target is None else target >= own
        if not allowed:
            found.append(f"{module}:{line} imports {name} upward")
        if target == own and there != here and own > 1:
            found.append(f"{module}:{line} imports {name} sideways")
    return found


def _is_module(name: str) -> bool:
    known = set().union(*LAYERS)
    return name in known or (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    module = ".".join(parts[:-1] if is_package else parts)
    assert violations(path.read_text(), module, is_package=is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lpgeom.rows.array", "from lpgeom.geometry.lewis import lewis_iteration"),
        ("lpgeom.rows.array", "import lpgeom.bounds.linear"),
        ("lpgeom.rows.array", "from ..geometry import lewis"),
        ("lpgeom.rows.array", "from lpgeom import geometry"),
        ("lpgeom.rows.array", "def f():\n    from lpgeom.geometry import lewis"),
        ("lpgeom.geometry.lewis", "from lpgeom import approx_subspace"),
        ("lpgeom.kernels.cpu.rowwise", "import lpgeom.rows"),
        ("lpgeom.records.subspace", "from lpgeom.bounds.table import lower_bounds"),
        ("lpgeom.records.subspace", "def f():\n    from lpgeom.rows import array"),
        ("lpgeom.io.validation", "from lpgeom.kernels import cpu"),
        ("lpgeom.io.validation", "from lpgeom.records import load"),
        ("lpgeom.subspace.approx", "import torch"),
        ("lpgeom.cli", "def f():\n    import matplotlib.pyplot"),
        ("lpgeom.subspace.approx", "from lpgeom.cli import main"),
        ("lpgeom.subspace.approx", "from lpgeom.entries.factors import approx_factors"),
    ],
)
def test_the_checker_finds_a_violation(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lpgeom.subspace.approx", "from lpgeom.bounds.table import lower_bounds"),
        ("lpgeom.subspace.approx", "from . import irls\nfrom .irls import descend"),
        ("lpgeom.rows.dask", "import dask.array"),
        ("lpgeom.cli", "def f():\n    from lpgeom import approx_subspace"),
        ("lpgeom.records.subspace", "def f():\n    from lpgeom.records.files import read_record"),
        ("lpgeom.geometry.lewis", "from lpgeom.records.subspace import Bound"),
    ],
)
def test_the_checker_lets_downward_imports_be(module: str, source: str) -> None:
    assert violations(source, module) == []


def within_nn(source: str, room: str) -> list[str]:
    """What a module of one of nn's rooms imports from a later one, or from beside the rooms."""
    allowed = WITHIN_NN[WITHIN_NN.index(room) :]
    return [
        name
        for name, _, _ in imported(ast.parse(source), f"lpgeom.nn.{room}")
        if name.startswith("lpgeom.nn") and [*name.split("."), "", ""][2] not in allowed
    ]


def test_imports_run_downward_within_nn() -> None:
    rooms = {path.parent.name for path in (PACKAGE / "nn").glob("*/*.py")}
    assert rooms == set(WITHIN_NN)
    for room in WITHIN_NN:
        for path in (PACKAGE / "nn" / room).glob("*.py"):
            assert within_nn(path.read_text(), room) == [], path
    for source in (
        "from lpgeom.nn.model.sites import Site",
        "def f():\n    from lpgeom.nn.compression import compress",
        "import lpgeom.nn",
    ):
        assert within_nn(source, "modules")
    assert not within_nn("from lpgeom.nn.factors import factor", "modules")


def imports_of(sources: dict[str, str], packages: set[str]) -> dict[str, set[str]]:
    """Modules of lpgeom that each module imports, also inside functions, but not for types alone.

    `sources` has the text of every module by its dotted name; `packages` names those that are an
    ``__init__``.
    """
    found: dict[str, set[str]] = {}
    for module, source in sources.items():
        tree = ast.parse(source)
        for node in ast.walk(tree):  # what only a type checker imports cannot go round in a circle
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                node.body = []
        package = module if module in packages else module.rpartition(".")[0]
        names: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                parts = package.split(".")
                base = parts[: len(parts) - node.level + 1] if node.level else []
                whole = ".".join([*base, *filter(None, [node.module])])
                below = {f"{whole}.{alias.name}" for alias in node.names}
                names |= below & sources.keys() or {whole}
        found[module] = (names & sources.keys()) - {module}
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules, of two or more, that import each other (in the end) in a circle."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            new = graph[ahead.pop()] - seen
            seen |= new
            ahead += new
        reached[start] = seen
    rings = {
        frozenset(other for other in seen if start in reached[other])
        for start, seen in reached.items()
    }
    return [set(ring) for ring in rings if ring]


def test_no_circle() -> None:
    sources, packages = {}, set()
    for path in modules():
        parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
            packages.add(".".join(parts))
        sources[".".join(parts)] = path.read_text()
    del sources["lpgeom"]  # it gathers the public names, each when it is first used
    assert circles(imports_of(sources, packages)) == []


def test_the_checker_finds_a_circle() -> None:
    sources = {
        "lpgeom.a": "from lpgeom.b import x",
        "lpgeom.b": "def f():\n    from lpgeom import c",
        "lpgeom.c": "from . import a",
        "lpgeom.d": "import lpgeom.a",
    }
    assert circles(imports_of(sources, set())) == [{"lpgeom.a", "lpgeom.b", "lpgeom.c"}]
    sources["lpgeom.c"] = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lpgeom import a"
    )
    assert circles(imports_of(sources, set())) == []


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module", ["lpgeom", "lpgeom.cli", "lpgeom.records.subspace", "lpgeom.io.readers", "lpgeom.nn"]
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert run(code) == "[]"


def test_importing_compiles_nothing() -> None:
    code = """
import sys
import lpgeom
compiled = []
if "numba" in sys.modules:
    import gc
    from numba.core.dispatcher import Dispatcher
    for name, module in list(sys.modules.items()):
        if name.startswith("lpgeom"):
            for key, value in vars(module).items():
                if isinstance(value, Dispatcher) and value.signatures:
                    compiled.append(f"{name}.{key}")
print(sorted(compiled))
"""
    assert run(code) == "[]"


def test_every_public_name_is_there() -> None:
    code = "import lpgeom; print([n for n in lpgeom.__all__ if not hasattr(lpgeom, n)])"
    assert run(code) == "[]"


def test_renamed_names_warn_and_are_their_successors() -> None:
    for name, successor in lpgeom._RENAMED.items():
        with pytest.warns(DeprecationWarning, match=f"lpgeom.{name} is lpgeom.{successor} now"):
            assert getattr(lpgeom, name) is getattr(lpgeom, successor)
