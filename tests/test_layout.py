"""The house stays in order: no module is long, no folder full, no block of code in two modules, and
what a single caller needs lies with its caller. Exceptions are listed with their reason."""

from __future__ import annotations

import ast
import io
import keyword
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

import pytest

import lpgeom
import lpgeom.nn
from tests.test_imports import imports_of, room

ROOT = Path(__file__).resolve().parents[1]

LIMITS = {"lpgeom": 600, "benchmarks": 400, "tests": 700}
"""Lines of a module."""

WINDOW = 8
"""Lines of code, as `code` counts them, that no two modules of lpgeom may share."""

AT_ROOT = 8
"""Files beside the folders of lpgeom."""

IN_A_FOLDER = 16
"""Python files of a folder of lpgeom."""

FULL = {"lpgeom/heuristics": "one file a method, all of one signature"}
"""Folders of more files, and why they have them."""

LONG: dict[str, str] = {}
"""Longer modules, and why they are."""

SHARED: dict[frozenset[str], str] = {}
"""Modules that share a block, and why it is written twice."""


def modules(folder: str) -> dict[str, str]:
    """Source of every module below a folder of the checkout, by its path there."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def sources_of_lpgeom() -> tuple[dict[str, str], set[str]]:
    """Source of every module of lpgeom by its dotted name, and which of these are packages."""
    sources, packages = {}, set()
    for path, text in modules("lpgeom").items():
        name = path.removesuffix(".py").replace("/", ".")
        if name.endswith(".__init__"):
            name = name.removesuffix(".__init__")
            packages.add(name)
        sources[name] = text
    return sources, packages


def public_modules() -> set[str]:
    """Modules that the tables of public names of lpgeom and lpgeom.nn lead to."""
    return {*lpgeom._LAZY.values(), *lpgeom.nn._LAZY.values()}


# ---------------------------------------------------------------- the checkers


def crowded(paths: Iterable[str], limit: int) -> dict[str, int]:
    """Folders that hold more of these files than that, not counting folders in them."""
    counts = Counter(path.rpartition("/")[0] for path in paths)
    return {folder: count for folder, count in counts.items() if count > limit}


def astray(graph: Mapping[str, set[str]], packages: set[str], public: set[str]) -> dict[str, str]:
    """Modules that a single one imports, which lies in another room, and that one.

    The package that offers a public name counts as an importer of the module that has it; packages
    and files beside the rooms are not looked at, and lpgeom itself imports nothing of its own.
    """
    importers: dict[str, set[str]] = defaultdict(set)
    for module, names in graph.items():
        for name in names if module != "lpgeom" else ():
            importers[name].add(module)
    for name in public:
        importers[name].add("lpgeom")
    return {
        name: next(iter(by))
        for name, by in sorted(importers.items())
        if len(by) == 1 and name.count(".") > 1 and name not in packages
        and room(next(iter(by))) not in ("", room(name))
    }  # fmt: skip


def too_long(sources: Mapping[str, str], limit: int) -> dict[str, int]:
    """Modules of more lines than that, and how many they have."""
    counts = {name: len(text.splitlines()) for name, text in sources.items()}
    return {name: count for name, count in counts.items() if count > limit}


def code(source: str) -> list[tuple[int, str]]:
    """(number, text) of each line that does something, however it is wrapped in white space.

    Comments, strings on lines of their own, imports and lone brackets do not count; names and
    numbers do: blocks of the same shape with other names may well be two concepts.
    """
    lines: list[tuple[int, str]] = []
    tokens: list[str] = []
    start = 0
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in skip:
            continue
        if token.type != tokenize.NEWLINE:
            start = start if tokens else token.start[0]
            tokens.append(token.string)
            continue
        bare = len(tokens) == 1 and tokens[0].lstrip("rbfRBF")[:1] in ("'", '"')
        if not bare and tokens[0] not in ("import", "from"):
            lines += _statement(start, tokens)
        tokens = []
    return lines


def _statement(start: int, tokens: list[str]) -> Iterable[tuple[int, str]]:
    """A statement as a line, or as several where it is long: a formatter's choice counts not."""
    text, width = "", 0
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        if token == "," and after in (")", "]", "}"):
            continue
        glue = " " if text and (token.isidentifier() or keyword.iskeyword(token)) else ""
        text += glue + token
        width += len(glue + token)
        if width >= 88 and token in (",", "and", "or", "+"):
            yield start, text
            text, width = "", 0
    if text:
        yield start, text


def silent(sources: Mapping[str, str]) -> dict[str, str]:
    """Rooms whose docstring does not say what they are for and what they import or where to begin:
    their name and what is missing."""
    found = {}
    for name, source in sources.items():
        text = ast.get_docstring(ast.parse(source)) or ""
        if len(re.findall(r"[.!?](?=\s|$)", text)) < 2:
            found[name] = "fewer than two sentences"
        elif not re.search(r"\b([Ii]mports?|[Bb]egin)\b", text):
            found[name] = "neither what it imports nor where to begin"
    return found


def repeated(sources: Mapping[str, str], window: int) -> dict[frozenset[str], tuple[str, str]]:
    """Pairs of modules that share that many lines of code one after another, and one such place.

    The windows of every module are put in a table, so that it takes time in proportion to what is
    read.
    """
    seen: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for name, source in sources.items():
        lines = code(source)
        for at in range(len(lines) - window + 1):
            block = tuple(text for _, text in lines[at : at + window])
            seen[block].setdefault(name, lines[at][0])
    found: dict[frozenset[str], tuple[str, str]] = {}
    for places in seen.values():
        for (a, i), (b, j) in combinations(sorted(places.items()), 2):
            found.setdefault(frozenset((a, b)), (f"{a}:{i}", f"{b}:{j}"))
    return found


# ---------------------------------------------------------------- the tree


@pytest.mark.parametrize("folder", LIMITS)
def test_no_module_is_long_without_a_reason(folder: str) -> None:
    found = too_long(modules(folder), LIMITS[folder])
    assert {name: n for name, n in found.items() if name not in LONG} == {}


def test_few_files_lie_beside_the_rooms() -> None:
    files = [path for path in (ROOT / "lpgeom").iterdir() if path.is_file()]
    assert len(files) <= AT_ROOT, sorted(path.name for path in files)


def test_no_folder_is_full_without_a_reason() -> None:
    found = crowded(modules("lpgeom"), IN_A_FOLDER)
    assert {folder: n for folder, n in found.items() if folder not in FULL} == {}
    assert set(FULL) - set(found) == set()


def test_what_one_module_needs_lies_in_its_room() -> None:
    sources, packages = sources_of_lpgeom()
    assert public_modules() <= sources.keys()
    assert astray(imports_of(sources, packages), packages, public_modules()) == {}


def test_every_room_says_what_it_is_for() -> None:
    """And what it may import, or where to begin."""
    sources, packages = sources_of_lpgeom()
    assert silent({name: sources[name] for name in packages}) == {}


def test_no_two_modules_share_a_block_without_a_reason() -> None:
    found = repeated(modules("lpgeom"), WINDOW)
    assert [places for pair, places in found.items() if pair not in SHARED] == []


def test_every_exception_is_still_one() -> None:
    sources = {folder: modules(folder) for folder in LIMITS}
    long = {name for folder, limit in LIMITS.items() for name in too_long(sources[folder], limit)}
    assert set(LONG) - long == set()
    assert set(SHARED) - set(repeated(sources["lpgeom"], WINDOW)) == set()


# ---------------------------------------------------------------- the checkers find what is wrong


def test_a_long_module_is_found() -> None:
    sources = {"a.py": "x = 1\n" * 10, "b.py": "x = 1\n" * 11}
    assert too_long(sources, 10) == {"b.py": 11}


def test_a_full_folder_is_found() -> None:
    paths = ["a/x.py", "a/y.py", "a/b/x.py", "a/b/y.py", "a/b/z.py", "z.py"]
    assert crowded(paths, 2) == {"a/b": 3}
    assert crowded(paths, 1) == {"a": 2, "a/b": 3}


def test_what_lies_away_from_its_only_caller_is_found() -> None:
    sources = {
        "lpgeom": "from lpgeom.rows.shown import f",
        "lpgeom.rows": "from lpgeom.rows.lonely import f",
        "lpgeom.rows.lonely": "",
        "lpgeom.rows.shared": "",
        "lpgeom.rows.shown": "",
        "lpgeom.rows.strayed": "",
        "lpgeom.bounds.a": "from lpgeom.rows import shared\ndef f():\n    import lpgeom.rows.shown",
        "lpgeom.bounds.b": "from lpgeom.rows import shared\nfrom lpgeom.rows.strayed import f",
    }
    graph, packages = imports_of(sources, {"lpgeom", "lpgeom.rows"}), {"lpgeom", "lpgeom.rows"}
    strayed = {"lpgeom.rows.strayed": "lpgeom.bounds.b"}
    assert astray(graph, packages, {"lpgeom.rows.shown"}) == strayed
    assert astray(graph, packages, set()) == {**strayed, "lpgeom.rows.shown": "lpgeom.bounds.a"}


def test_a_room_that_says_too_little_is_found() -> None:
    sources = {
        "nothing": "X = 1",
        "fragment": '"""Kernels."""',
        "numbers": '"""Since 0.1 for p = 1.5, begin with `f.py`."""',
        "lost": '"""Kernels for arrays. They are fast."""',
        "good": '"""Kernels for arrays.\n\nBegin with `f`."""',
    }
    few = "fewer than two sentences"
    assert silent(sources) == {
        "nothing": few,
        "fragment": few,
        "numbers": few,
        "lost": "neither what it imports nor where to begin",
    }


BLOCK = """
def total(rows, weights):
    found = 0.0
    for row, weight in zip(rows, weights):
        if weight == 0.0:
            continue
        found += weight * abs(row)
    return found
"""


@pytest.mark.parametrize(
    "other",
    [
        BLOCK,
        BLOCK.replace("\n    ", "\n\n    # why\n    "),
        BLOCK.replace("weights):\n", 'weights):\n    """Words of its own."""\n'),
        BLOCK.replace("zip(rows, weights)", "zip(\n        rows,\n        weights,\n    )"),
        "import math\n\nY = 1\n" + BLOCK + "Z = 2\n",
        "class A:\n" + BLOCK.replace("\n", "\n    "),
    ],
    ids=["same", "comments", "docstring", "wrapped", "among others", "indented"],
)
def test_a_repeated_block_is_found(other: str) -> None:
    found = repeated({"a.py": "X = 1\n" + BLOCK, "b.py": other}, 7)
    assert list(found) == [frozenset(("a.py", "b.py"))]
    assert found[frozenset(("a.py", "b.py"))][0] == "a.py:3"


@pytest.mark.parametrize(
    "other",
    [
        BLOCK.replace("abs(row)", "row"),
        BLOCK.replace("found", "sum"),
        BLOCK.replace("        if weight == 0.0:\n            continue\n", ""),
        "import a\n" * 20 + '"words"\n' * 20,
    ],
    ids=["another line", "other names", "shorter", "nothing"],
)
def test_what_is_not_the_same_is_none(other: str) -> None:
    assert repeated({"a.py": BLOCK, "b.py": other}, 7) == {}


def test_a_block_within_one_module_is_not_shared() -> None:
    assert repeated({"a.py": BLOCK + BLOCK}, 7) == {}
    three = dict.fromkeys(("a.py", "b.py", "c.py"), BLOCK)
    assert len(repeated(three, 7)) == 3
