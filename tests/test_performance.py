"""The page of timings says what the results say."""

from __future__ import annotations

import pytest

from benchmarks import performance


def test_the_page_agrees_with_the_results() -> None:
    page = performance.PAGE.read_text(encoding="utf-8")
    assert performance.filled(page) == page, "python -m benchmarks.performance writes it anew"


def test_every_table_is_on_the_page() -> None:
    page = performance.PAGE.read_text(encoding="utf-8")
    assert sorted(m[2] for m in performance.MARKED.finditer(page)) == sorted(performance.TABLES)


def test_a_changed_figure_is_found() -> None:
    page = performance.PAGE.read_text(encoding="utf-8")
    row = next(line for line in performance.solve().splitlines() if line.startswith("| 1 | 96 "))
    assert row in page
    doctored = page.replace(row, row.replace("96", "97"))
    assert performance.filled(doctored) == page != doctored


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
