"""No module is long, and no block of code is in two of them: what is, is listed with its reason."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LIMITS = {"lpgeom": 600, "benchmarks": 400, "tests": 700}
"""Lines of a module."""

WINDOW = 8
"""Lines of code, as `code` counts them, that no two modules of lpgeom may share."""

LONG: dict[str, str] = {}
"""Longer modules, and why they are."""

SHARED = {
    frozenset(("lpgeom/kernels/cpu/regression.py", "lpgeom/kernels/cuda/regression.py")): (
        "one loop, of a thread for each row and of a warp for each row; its formulas are shared"
    ),
}
"""Modules that share a block, and why it is written twice."""


def modules(folder: str) -> dict[str, str]:
    """Source of every module below a folder of the checkout, by its path there."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


# ---------------------------------------------------------------- the checkers


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
