"""Pages with tables of results say what the results say."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import performance

pages = pytest.mark.parametrize("path", performance.PAGES, ids=lambda path: path.stem)


@pages
def test_the_page_agrees_with_the_results(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    filled = performance.filled(page, performance.PAGES[path])
    assert filled == page, "python -m benchmarks.performance writes it anew"


@pages
def test_every_table_is_on_the_page(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    found = sorted(m[2] for m in performance.MARKED.finditer(page))
    assert found == sorted(performance.PAGES[path])


def test_a_changed_figure_is_found() -> None:
    page = performance.PAGE.read_text(encoding="utf-8")
    row = next(line for line in performance.solve().splitlines() if line.startswith("| 1 | 96 "))
    assert row in page
    doctored = page.replace(row, row.replace("96", "97"))
    assert performance.filled(doctored) == page != doctored


def test_a_changed_accuracy_is_found() -> None:
    (path,) = (path for path in performance.PAGES if path.name == "scikit-learn.md")
    page, tables = path.read_text(encoding="utf-8"), performance.PAGES[path]
    row = performance.against_pca().splitlines()[2]
    assert row.startswith("| wine, k = 2 | none | ")
    assert row in page
    doctored = page.replace(row, row.replace("| none |", "| some |"))
    assert performance.filled(doctored, tables) == page != doctored


@pytest.mark.parametrize(
    ("pair", "shown"),
    [
        (("97.6", "97.3"), ("**97.6**", "97.3")),
        (("-1.006", "0.173"), ("-1.006", "**0.173**")),
        (("0.524", "0.524"), ("0.524", "0.524")),
    ],
)
def test_the_larger_figure_is_bold(pair: tuple[str, str], shown: tuple[str, str]) -> None:
    assert performance.larger(*pair) == shown


def test_a_layer_that_got_slower_is_marked() -> None:
    lines = performance.factored_layers().splitlines()[2:]
    shown = [cell for line in lines for cell in line.strip("| ").split(" | ")[1:]]
    for cell, line in zip(shown, performance.results("nn")["layers"], strict=True):
        assert cell.endswith("(slower)") == (line["slower"] == "yes")


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no table 'none'"):
        performance.filled("<!-- table: none -->\n<!-- end -->\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00129, "0.0013"),
        (0.994, "0.99"),
        (0.996, "1.0"),
        (9.94, "9.9"),
        (9.96, "10"),
        (50.2, "50"),
    ],
)
def test_seconds_have_two_digits(value: float, text: str) -> None:
    assert performance.seconds(value) == text
