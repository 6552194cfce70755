"""The report's page, as text: what it says, that it is safe, that it needs nothing."""

from __future__ import annotations

import builtins
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lpgeom.nn import CompressionReport
from lpgeom.nn.report.page import page, write_html
from lpgeom.plots.layers import count
from tests.reports import EVERY, bert, entries, layer, minilm, nasty, report, several, untouched

VOID = {"meta", "wbr"}


class Elements(HTMLParser):
    """Tags and attributes, and whether every element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


@pytest.mark.parametrize("name", EVERY)
def test_every_page_is_whole_and_refers_to_nothing_else(name: str) -> None:
    text = page(EVERY[name]())
    seen = Elements(text)
    assert len(seen.ids) == len(set(seen.ids))
    assert [tag for tag, _ in seen.tags].count("svg") == 3
    assert [tag for tag, _ in seen.tags].count("script") == 1
    for tag, attributes in seen.tags:
        assert tag not in ("img", "link", "iframe", "object", "embed", "base", "form")
        for key, value in attributes.items():
            assert not key.startswith("on")
            assert key != "src"
            if key == "href":
                assert value is not None
                assert value[1:] in seen.ids
                assert value.startswith("#")
    assert "http:" not in text
    assert "https:" not in text
    text.encode("utf-8")  # no lone surrogates


def test_the_same_report_gives_the_same_page() -> None:
    assert page(several()) == page(several())


def test_the_headline_numbers() -> None:
    whole = bert()
    text = Elements(page(whole)).text
    assert f"{whole.parameters_before:,} parameters are now {whole.parameters_after:,}" in text
    assert f"{whole.saved:.1%} less" in text
    assert f"was {count(whole.parameters_before)}" in text
    assert "The bounds hold always" in text
    for one in whole.layers:
        assert one.name in text
    assert "break-even rank 1" in text
    assert "shared with cls.predictions.decoder" in text


@pytest.mark.parametrize(
    ("weights", "words"),
    [("tokens", "how often their tokens occur"), ("given", "as the call says"), ("none", ""),
     (None, "")],
)  # fmt: skip
def test_whether_rows_are_weighted_is_said(weights: str | None, words: str) -> None:
    text = Elements(page(report(layer("w", weights=weights)))).text
    assert ("rows weighted" in text) == bool(words)
    assert words in text


def test_a_ratio_is_never_rounded_down() -> None:
    text = Elements(page(minilm())).text  # 1.0071
    assert "1.008" in text
    assert "1.007 " not in text


def test_certainty_is_said() -> None:
    text = Elements(page(several())).text
    assert "probability at least 1 − 0.001" in text
    assert "Certainty" in text
    assert "metric: activations" in text
    assert "8 × 64" in text
    assert "n × k + j × k × d" in text
    assert "2 of 3 layers are certified" in text
    assert "are certified" not in Elements(page(minilm())).text


def test_plans_and_the_untouched_say_so() -> None:
    text = Elements(page(minilm(dry_run=True))).text
    assert "would become" in text
    assert "This is a plan" in text
    assert "nothing was solved" in text
    assert "Least possible" not in text
    assert "No selected weight was compressed" in Elements(page(untouched())).text
    assert "No weight was selected" in Elements(page(report(rest=10))).text


def test_entries_are_explained() -> None:
    text = Elements(page(entries())).text
    assert "powers of the entries’ differences" in text
    assert "each row’s distance" not in text


def test_more_parameters_than_before_are_not_called_less() -> None:
    grown = report(layer("w", shape=(100, 100), rank=90))
    assert f"{-grown.saved:.1%} more" in Elements(page(grown)).text


def test_hostile_names_stay_text() -> None:
    text = page(nasty())
    assert "<script>document" not in text
    assert "<img" not in text
    assert "</style><script>" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
    assert "<script>document.title='owned'</script>" in Elements(text).text


def test_infinite_ratios_and_odd_numbers() -> None:
    odd = report(layer("w", lower_bound=0.0), layer("v", cost=0.0, lower_bound=0.0, svd_cost=0.0))
    assert "∞" in Elements(page(odd)).text


def test_colours_are_the_page_s_own(tmp_path: Path) -> None:
    """No colour in a picture is fixed: a dark page would keep it."""
    for name in ("bert", "several", "nasty"):
        for picture in re.findall(r"<svg.*?</svg>", page(EVERY[name]()), re.DOTALL):
            assert re.search(r"(?:fill|stroke): ?#[0-9a-f]{6}", picture) is None


def test_the_reader_s_style_of_matplotlib_does_not_matter() -> None:
    import matplotlib

    plain = page(minilm())
    with matplotlib.rc_context(
        {"axes.edgecolor": "red", "font.size": 30.0, "svg.fonttype": "path"}
    ):
        assert page(minilm()) == plain
        assert matplotlib.rcParams["font.size"] == 30.0


@pytest.mark.parametrize(("missing", "extra"), [("matplotlib", "plot"), ("jinja2", "torch")])
def test_without_a_library_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, extra: str
) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name.split(".")[0] == missing:
            raise ImportError(name)
        return original(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=rf"pip install 'lpgeom\[{extra}\]'"):
        minilm().save(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
    minilm().save(tmp_path / "report.json")


def test_a_report_read_back_gives_the_same_page() -> None:
    assert page(CompressionReport.from_dict(bert().to_dict())) == page(bert())


def test_what_a_report_says_is_never_a_template() -> None:
    text = page(report(layer("{{ 7 * 6 }}", note="{% include 'x' %}")))
    assert "{{ 7 * 6 }}" in Elements(text).text
    assert "{% include 'x' %}" in Elements(text).text


def test_writing_is_a_function_too(tmp_path: Path) -> None:
    write_html(minilm(), tmp_path / "a.html")
    minilm().save(tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page(minilm())
