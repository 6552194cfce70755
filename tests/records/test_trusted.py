"""The trusted core stands alone: NumPy is enough to read it, and it is as long as is said."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lpgeom
from tests.records.make_files import FOLDER

ROOT = Path(lpgeom.__file__).parents[1]
CORE = ROOT / "lpgeom" / "records"
HELPERS = {f"lpgeom.io.{name}" for name in ("atomic", "checksum", "interchange", "npy")}
MOST = 3000
"""Lines of the trusted core, docstrings included."""


def outside(modules: list[str]) -> list[str]:
    """Modules that are neither Python's, NumPy's, the records', nor the file helpers they use."""
    own = {"lpgeom", "lpgeom._version", "lpgeom.io", *HELPERS}
    return [
        name
        for name in modules
        if name.split(".")[0] not in {*sys.stdlib_module_names, "numpy", "__main__"}
        and name not in own
        and not f"{name}.".startswith("lpgeom.records.")
    ]


@pytest.mark.parametrize("name", ["subspace-1.5", "subspace-inf", "factors"])
def test_a_fresh_process_verifies_with_numpy_alone(name: str) -> None:
    code = f"""
import json, sys
import numpy as np
started = set(sys.modules)  # what the interpreter's own start-up files load is not ours
from lpgeom import records
A = np.load({str(FOLDER / "data.npz")!r})["A"]
result = records.load({str(FOLDER / (name + ".npz"))!r})
result.certificate.verify(A)
try:
    result.certificate.verify(A + np.eye(*A.shape))
except records.CertificateError:
    print(json.dumps(sorted(set(sys.modules) - started)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = json.loads(done.stdout)
    assert "lpgeom.records.check.verify" in loaded
    assert outside(loaded) == []


def test_what_is_outside_is_found() -> None:
    found = outside(["json", "numpy.linalg", "lpgeom.records.base", "lpgeom.threads", "scipy"])
    assert found == ["lpgeom.threads", "scipy"]


def imported(path: Path) -> set[str]:
    """Modules that a file imports anywhere but for its types."""
    tree = ast.parse(path.read_text())
    types = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    nodes = [node for node in ast.walk(tree) if id(node) not in types]
    plain = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_no_file_of_it_imports_anything_else() -> None:
    table = {"lpgeom.io.tables"}  # for `CostCurve.to_frame` alone
    for path in CORE.rglob("*.py"):
        assert set(outside(sorted(imported(path)))) <= table, path


def test_checkers_import_no_record() -> None:
    allowed = {"base", "check"}
    for path in (CORE / "check").glob("*.py"):
        ours = {name for name in imported(path) if name.startswith("lpgeom.records.")}
        assert {name.split(".")[2] for name in ours} <= allowed, path


def lines(path: Path) -> int:
    """Physical lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def test_it_is_short() -> None:
    assert sum(map(lines, CORE.rglob("*.py"))) <= MOST


def test_the_page_counts_the_lines() -> None:
    """docs/trusting.md lists every file of the core, and how long it is, to ten lines."""
    text = (ROOT / "docs" / "trusting.md").read_text(encoding="utf-8")
    stated = {name: int(n) for name, n in re.findall(r"`([\w/]+\.py)` \| (\d+) \|", text)}
    counted = {path.relative_to(CORE).as_posix(): lines(path) for path in CORE.rglob("*.py")}
    assert stated == {name: 10 * round(n / 10) for name, n in counted.items()}
