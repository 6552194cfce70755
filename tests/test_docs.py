"""What the README, the docs and the docstrings show is run."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest

import lpgeom
from tests.columns import COLUMNS, code_of, too_wide
from tests.test_imports import LAYERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


FILE = re.compile(r"(?<![\w./-])((?:\w+/)*\w+\.py)\b")
FOLDER = re.compile(r"(?<![\w./-])((?:lpgeom|tests)/[\w/]*)(?![\w.*])")
TEST = re.compile(r"`(test_\w+)`")
CODE = re.compile(r"\*\*Code\.\*\*(.*?)(?:\*\*|\n\n|\Z)", re.DOTALL)
NAME = re.compile(r"`([A-Za-z_]\w*)`")
FOLDERS = ("lpgeom", "tests", "benchmarks", "tools")


def blocks(page: Path, language: str) -> list[str]:
    return [body for lang, body in FENCE.findall(page.read_text()) if lang == language]


def module_names() -> list[str]:
    found = pkgutil.walk_packages(lpgeom.__path__, "lpgeom.")
    return ["lpgeom", *(m.name for m in found if not m.name.endswith("__main__"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run in order, in one namespace, in an empty directory.

    A block with prompts (>>>) is a doctest: its output is compared.
    """
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__example__"}
    for number, block in enumerate(blocks(page, "python"), 1):
        name = f"{page.name} block {number}"
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, namespace, name, str(page), 0)
            outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
                test, clear_globs=False
            )
            assert outcome.failed == 0, name
            namespace.update(test.globs)
        else:
            exec(compile(block, name, "exec"), namespace)


@pytest.mark.parametrize("name", module_names())
def test_docstring_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0


def test_examples_of_functions_that_a_decorator_made_are_run() -> None:
    module = importlib.import_module("lpgeom.heuristics._fms")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).attempted == 3


def test_public_functions_have_examples() -> None:
    for name in lpgeom.__all__:
        value = getattr(lpgeom, name)
        if callable(value) and not isinstance(value, type):
            assert ">>>" in (value.__doc__ or ""), f"lpgeom.{name} has no example"


def test_the_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_shown_are_commands(page: Path) -> None:
    """Every `lpgeom ...` line in a shell block parses; its files are the reader's."""
    from lpgeom.cli import _parser

    shown = [*blocks(page, "bash"), *blocks(page, "sh")]
    for block in blocks(page, "console"):  # what has no prompt is output
        lines = block.replace("\\\n", " ").splitlines()
        shown.append("\n".join(line[2:] for line in lines if line.startswith("$ ")))
        assert shown[-1], f"{page.name}: no command in {block!r}"
    for block in shown:
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["lpgeom"] and "--help" not in words and "--version" not in words:
                _parser().parse_args(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_needs_no_scroll_bar(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"\{include\} (\S+)", text):
        text += (page.parent / name).read_text()
    assert too_wide([line for _, line in code_of(text)]) == []


@pytest.mark.parametrize(
    "page",
    [
        "```python\n{}\n```\n",
        "```console\n$ ls\n{}\n```\n",
        "Text:\n\n    {}\n",
        "- a list\n\n  ```text\n{}\n  ```\n",
    ],
)
def test_wide_code_is_found(page: str) -> None:
    wide = (COLUMNS + 1) * "x"
    assert too_wide([line for _, line in code_of(page.format(wide))]) == [wide]
    assert too_wide([line for _, line in code_of(page.format(wide[1:]))]) == []


def test_wide_prose_is_let_be() -> None:
    wide = 30 * "word "
    text = f"{wide}\n- {wide}\n  {wide}\n\n    {wide}\n| {wide} |\n"
    assert code_of(text) == []


def test_the_version_is_stated_once() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)
    assert "version" not in project["project"]
    assert lpgeom.__version__ == importlib.import_module("lpgeom._version").__version__
    assert f"## {lpgeom.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_what_pyproject_asks_for() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[name.lower()] = version
    optional = project["optional-dependencies"]
    wanted = project["dependencies"] + [r for e in ("test", "bench", "plot") for r in optional[e]]
    for requirement in wanted:
        name = re.split(r"[\[><=;]", requirement)[0].lower()
        assert name in pins, f"{name} is not pinned in constraints.txt"


# ---------------------------------------------------------------- what the pages name


def defined(folder: str) -> set[str]:
    """Names of functions, classes and constants of the modules below a folder of the checkout."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found


@cache
def house() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Paths of the Python files of the checkout, names that lpgeom defines, names of tests."""
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    return frozenset(files), frozenset(defined("lpgeom")), frozenset(defined("tests"))


def astray(text: str) -> set[str]:
    """What a page names and the checkout has not: files, folders, tests, and what "Code" names.

    A path that begins with a folder of the checkout is meant as it is; of another one the beginning
    is left out, as in ``rows/door.py`` or ``door.py``.
    """
    files, names, tests = house()
    missing = {
        path
        for path in FILE.findall(text)
        if path not in files
        and (
            path.startswith(tuple(f"{folder}/" for folder in FOLDERS))
            or not any(f.endswith(f"/{path}") for f in files)
        )
    }
    missing |= {path for path in FOLDER.findall(text) if not (ROOT / path).is_dir()}
    missing |= set(TEST.findall(text)) - tests
    for paragraph in CODE.findall(text):
        missing |= set(NAME.findall(paragraph)) - names
    return missing


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "lpgeom"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_what_a_page_names_is_there(page: Path) -> None:
    texts = [page] if page.is_file() else page.rglob("*.py")  # docstrings name files, too
    assert {str(text): found for text in texts if (found := astray(text.read_text()))} == {}


def test_each_line_on_security_names_a_test() -> None:
    """That the tests are there is seen to above."""
    table = (ROOT / "SECURITY.md").read_text().split("|---|---|---|\n")[1].split("\n\n")[0]
    assert len(lines := table.splitlines()) >= 13
    assert [line for line in lines if not TEST.search(line.split("|")[3])] == []


def test_what_is_not_there_is_found() -> None:
    assert astray("See `lpgeom/rows/door.py`, `rows/door.py`, door.py and lpgeom/rows/.") == set()
    assert (
        astray("**Code.** `smallest_sum`. **Tests.** `test_3c` in `tests/test_theory.py`.") == set()
    )
    for text in (
        "`lpgeom/door.py`",
        "`kernels/door.py`",
        "the file nowhere.py",
        "the room lpgeom/certificates/",
        "`lpgeom/certificates`",
        "`test_that_is_none`",
        "**Code.** `no_such_function`.",
    ):
        assert len(astray(text)) == 1, text


def listed(page: str) -> list[str]:
    """Rooms in the first column of the table under "Rooms", without the suffix of a file."""
    table = page.split("\n## Rooms\n")[1].split("\n\n`records`")[0]
    return [
        name.removesuffix(".py")
        for line in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
        for name in re.findall(r"`([\w.]+)`", line)
    ]


def test_the_rooms_are_listed_in_the_order_of_their_layers() -> None:
    rooms = listed((ROOT / "docs" / "architecture.md").read_text())
    layers = [names - {"__main__", "_version"} for names in reversed(LAYERS)]
    assert sorted(rooms) == sorted(set().union(*layers))
    depth = [next(i for i, names in enumerate(layers) if room in names) for room in rooms]
    assert depth == sorted(depth)
