"""What a release is made of: versions that agree, files that are what they should be."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import lpgeom

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import release  # noqa: E402

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# What version 1.2.0 of the Citation File Format asks for, and the rest of what is used here.
NEEDED = {"cff-version", "message", "title", "authors"}
ALLOWED = NEEDED | {"abstract", "type", "version", "license", "keywords", "references"}


def project() -> dict[str, Any]:
    with open(ROOT / "pyproject.toml", "rb") as file:
        return dict(tomllib.load(file)["project"])


def test_the_citation_names_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert set(cited) >= NEEDED
    assert set(cited) <= ALLOWED
    assert cited["cff-version"] == "1.2.0"
    assert str(cited["version"]) == lpgeom.__version__
    assert cited["license"] == project()["license"]
    assert cited["title"].startswith(project()["name"])
    for reference in cited["references"]:
        assert {"type", "title", "authors"} <= set(reference)


def test_the_version_is_semantic() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", lpgeom.__version__)
    assert release.version() == lpgeom.__version__


def test_no_page_gives_a_persons_address() -> None:
    for name in ("SECURITY.md", "CONTRIBUTING.md", "CITATION.cff", "README.md"):
        assert not re.search(r"[\w.]+@[\w-]+\.\w+", (ROOT / name).read_text()), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_continuous_integration_runs(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert {"run": ".ci/run"} in steps
    for step in steps:
        assert ("uses" in step) != ("run" in step)
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"])
    assert "secrets." not in path.read_text()
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: 3."
    classified = [c.removeprefix(prefix) for c in project()["classifiers"] if c.startswith(prefix)]
    assert versions == [f"3.{minor}" for minor in classified]
    assert project()["requires-python"] == f">={versions[0]}"


def test_there_is_a_workflow() -> None:
    assert WORKFLOWS


# ---------------------------------------------------------------- tools/release.py

INFO = f"lpgeom-{lpgeom.__version__}.dist-info"
SOURCES = {"lpgeom/__init__.py", "lpgeom/py.typed", "lpgeom/nn/report/report.html.jinja"}
WHEEL = SOURCES | {
    f"{INFO}/{name}"
    for name in (
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
        "top_level.txt",
    )
}
METADATA = f"Name: lpgeom\nVersion: {lpgeom.__version__}\nLicense-Expression: BSD-3-Clause\n"


def test_a_good_wheel() -> None:
    assert release.faults_of_wheel(WHEEL, METADATA, SOURCES) == []


@pytest.mark.parametrize(
    ("names", "metadata"),
    [
        (WHEEL | {"tests/test_a.py"}, METADATA),
        (WHEEL | {"lpgeom/__pycache__/a.nbi"}, METADATA),
        (WHEEL - {"lpgeom/py.typed"}, METADATA),
        (WHEEL - {"lpgeom/nn/report/report.html.jinja"}, METADATA),
        (WHEEL - {f"{INFO}/licenses/LICENSE"}, METADATA),
        (WHEEL, METADATA.replace(lpgeom.__version__, "9.9.9")),
        (WHEEL, METADATA.replace("License-Expression", "Licence")),
    ],
)
def test_a_bad_wheel(names: set[str], metadata: str) -> None:
    assert len(release.faults_of_wheel(names, metadata, SOURCES)) == 1


def test_an_sdist() -> None:
    good = SOURCES | release.AROUND | release.ADDED | {"lpgeom.egg-info/PKG-INFO"}
    assert release.faults_of_sdist(good, SOURCES) == []
    assert release.faults_of_sdist(good | {"notes.txt"}, SOURCES) == ["stray: notes.txt"]
    assert release.faults_of_sdist(good - {"LICENSE"}, SOURCES) == ["missing: LICENSE"]


def test_the_sources_are_the_package() -> None:
    known = release.sources()
    assert {"lpgeom/py.typed", "lpgeom/__init__.py", "lpgeom/nn/report/report.html.jinja"} <= known
    assert all(name.startswith("lpgeom/") for name in known)
    assert not [name for name in known if "__pycache__" in name]
