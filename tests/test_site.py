"""The site's contents, before it is built: every page is linked, every theorem cited has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text()
FILES = [*DOCS.glob("*.md"), *DOCS.glob("theory/*.md")]
PAGES = sorted(str(page.relative_to(DOCS).with_suffix("")) for page in FILES)
SECTION = re.compile(r'"(3[a-z])"')  # of docs/theory, as certificates name them


def contents(text: str = INDEX) -> list[str]:
    """Entries of the contents in docs/index.md: pages, or patterns."""
    entries = []
    for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line and not line.startswith(":"):
                entries.append(re.sub(r".*<(.*)>", r"\1", line))
    return entries


@pytest.mark.parametrize("page", [p for p in PAGES if p != "index"])
def test_every_page_is_in_the_contents(page: str) -> None:
    found = [entry for entry in contents() if re.fullmatch(entry.replace("*", ".*"), page)]
    assert len(found) == 1, f"docs/index.md has {page} {len(found)} times"


@pytest.mark.parametrize("page", [p for p in PAGES if p != "index"])
def test_the_first_page_says_what_every_page_is_about(page: str) -> None:
    outside = {"contributing", "changelog", "security"}  # shown from files beside docs/
    target = f"../{page.upper()}.md" if page in outside else f"{page}.md"
    assert f"]({target})" in INDEX


def test_every_theorem_that_is_cited_has_a_page() -> None:
    modules = (ROOT / "lpgeom" / "bounds").rglob("*.py")
    cited = {section for path in modules for section in SECTION.findall(path.read_text())}
    assert {"3a", "3d", "3f"} <= cited
    rows = dict(re.findall(r"^\| ([^|]+?) \| \[[^]]+\]\(([^)]+)\)", INDEX, re.MULTILINE))
    pages = {name.strip(): page for names, page in rows.items() for name in names.split(",")}
    for section in cited:
        assert section in pages, f"no row of docs/index.md has section {section}"
        assert "∎" in (DOCS / pages[section]).read_text(), f"{pages[section]} proves nothing"


DOORS = ["Shrink a model", "PCA with outliers", "The theory"]


def doors(text: str) -> dict[str, str]:
    """The sections of the first page, by their headings."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def faults_of_a_door(section: str, title: str) -> list[str]:
    """What a door lacks: a picture, five lines of code, its pages in the sidebar's order."""
    wrong = []
    before, *blocks = re.split(r"^```", section, flags=re.MULTILINE)[:2]
    if not re.findall(r"!\[[^]]+\]\(images/[^)]+\)", before):
        wrong.append("no picture before its code")
    code = blocks[0].splitlines() if blocks else []
    if code[:1] != ["python"] or len([line for line in code[1:] if line.strip()]) != 5:
        wrong.append("not five lines of code")
    listed = [p for p in re.findall(r"\[[^]]+\]\(([^)]+)\.md\)", section) if not p.startswith("..")]
    if contents(section) != listed:
        wrong.append("other pages in the sidebar than in the text")
    if f":caption: {title}\n" not in section:
        wrong.append("another caption in the sidebar")
    return wrong


def test_the_first_page_has_three_doors() -> None:
    assert list(doors(INDEX)) == [*DOORS, "Reference"]


@pytest.mark.parametrize("title", DOORS)
def test_every_door_has_a_picture_and_five_lines(title: str) -> None:
    assert faults_of_a_door(doors(INDEX)[title], title) == []


def test_faults_of_a_door_are_found() -> None:
    title = DOORS[0]
    section = doors(INDEX)[title]
    for old, new in (
        ("![", "["),
        ("import torch\n", ""),
        ("```python", "```text"),
        (f":caption: {title}", ":caption: More"),
        ("\ncompress\n", "\n"),
    ):
        assert old in section
        assert len(faults_of_a_door(section.replace(old, new), title)) == 1, old


@pytest.mark.parametrize("name", ["contributing", "changelog", "security"])
def test_files_beside_the_docs_are_shown(name: str) -> None:
    assert f"{{include}} ../{name.upper()}.md" in (DOCS / f"{name}.md").read_text()
