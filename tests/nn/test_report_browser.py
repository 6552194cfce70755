"""The report's page in a real browser: what a reader sees, not what the source promises."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import browser as chromium
from tests.browser import Browser
from tests.reports import EVERY

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.skipif(
    chromium.find() is None,
    reason=f"NO BROWSER: the report's page was not looked at; install one of {chromium.NAMES}",
)

PHONE, DESK = 400, 1200
OUTSIDE = re.compile(r"""(?:src|href|url\()\s*=?\s*["']?\s*(?:https?:)?//""", re.IGNORECASE)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as it:
        yield it


class Pages:
    """The pages of `reports.EVERY`, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self.folder / f"{name}.html"
        if not path.exists():
            EVERY[name]().save(path)
        return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    return Pages(tmp_path_factory.mktemp("pages"))


def boxes(browser: Browser, selector: str) -> list[list[float]]:
    """x, y, width, height on the page of each element."""
    found = browser.evaluate(
        f"JSON.stringify([...document.querySelectorAll({selector!r})].map(e => {{"
        "const b = e.getBoundingClientRect();"
        "return [b.x + scrollX, b.y + scrollY, b.width, b.height]}))"
    )
    return [list(map(float, box)) for box in json.loads(found)]


def luminance(pixels: np.ndarray) -> np.ndarray:
    return pixels @ np.array([0.2126, 0.7152, 0.0722])


def faults(browser: Browser, path: Path, *, width: int, dark: bool = False) -> list[str]:
    """What is wrong with a page as it is shown."""
    browser.show(path, width=width, dark=dark)
    found = []
    if (wide := browser.evaluate("document.documentElement.scrollWidth")) > width:
        found.append(f"overflows: {wide} > {width}")
    if (asked := browser.requests()) != [path.as_uri()]:
        found.append(f"requests {asked}")
    found += [f"complains: {text}" for text in browser.complaints()]
    corner = luminance(browser.screenshot((0, 0, 20, 20)))
    if not (corner.max() < 60.0 if dark else corner.min() > 200.0):
        found.append(f"page is {corner.mean():.0f} bright")
    pictures = boxes(browser, "figure svg")
    if len(pictures) != 3:
        found.append(f"{len(pictures)} pictures")
    for index, (x, y, w, h) in enumerate(pictures):
        if x < 0 or x + w > width or w < 0.25 * width or h < 20:
            found.append(f"picture {index} at {x, y, w, h}")
            continue
        light = luminance(browser.screenshot((x, y, w, min(h, 2000.0))))
        paper = np.median(light)  # a card is mostly card, or mostly band: both far from ink
        ink = np.abs(light - paper) > 90.0
        if not 0.002 < ink.mean() < 0.6:
            found.append(f"picture {index} has {ink.mean():.2%} ink")
    return found


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        ("minilm", PHONE, False),
        ("minilm", PHONE, True),
        ("minilm", 800, False),
        ("minilm", DESK, False),
        ("minilm", DESK, True),
        ("bert", PHONE, True),
        ("bert", DESK, False),
        ("bert", DESK, True),
        ("nasty", PHONE, False),
        ("nasty", DESK, True),
        ("several", PHONE, True),
        ("entries", DESK, False),
        ("untouched", PHONE, True),
        ("dry", DESK, False),
        ("empty", PHONE, False),
    ],
)
def test_pages_look_right(
    browser: Browser, pages: Pages, name: str, width: int, dark: bool
) -> None:
    assert faults(browser, pages[name], width=width, dark=dark) == []


@pytest.mark.parametrize("name", ["bert", "nasty", "several"])
def test_nothing_in_the_source_points_outside(pages: Pages, name: str) -> None:
    assert OUTSIDE.search(pages[name].read_text()) is None
    assert OUTSIDE.search('<img src="https://example.org/x.png">') is not None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda text: re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL), "0 pictures"),
        (lambda text: re.sub(r"(<svg[^>]*>).*?(</svg>)", r"\1\2", text, flags=re.DOTALL), "ink"),
        (lambda text: text.replace("<main>", "<main><p style='width:1500px'>x"), "overflows"),
        (lambda text: text.replace("-scheme:dark)", "-scheme:light)"), "bright"),
        (lambda text: text.replace("<main>", "<main><img src='http://127.0.0.1:9/'>"), "complains"),
        (lambda text: text.replace("<main>", "<main><script>throw 1</script>"), "complains"),
        (
            lambda text: re.sub("<meta http-equiv[^>]*>", "", text).replace(
                "<main>", "<main><img src='http://127.0.0.1:9/'>"
            ),
            "requests",
        ),
    ],
    ids=["no pictures", "blank", "wide", "not dark", "image", "script", "image, no policy"],
)
def test_the_check_finds_faults(
    browser: Browser, pages: Pages, tmp_path: Path, change: object, fault: str
) -> None:
    text = pages["minilm"].read_text()
    changed = change(text)  # type: ignore[operator]
    assert changed != text
    path = tmp_path / "changed.html"
    path.write_text(changed)
    assert fault in "; ".join(faults(browser, path, width=DESK, dark=True))


def test_names_are_text(browser: Browser, pages: Pages) -> None:
    browser.show(pages["nasty"], width=DESK)
    assert browser.evaluate("document.title") == "Net<script>: compression report"
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.querySelectorAll('main b, main i, img').length") == 0
    assert browser.evaluate("document.querySelectorAll('[onmouseover], [onerror]').length") == 0
    shown = browser.evaluate("document.querySelector('main').innerText")
    for name in ("<script>document.title='owned'</script>", "x" * 119 + "1", "层.注意力.输出.权重"):
        assert name in shown
    drawn = browser.evaluate("document.querySelector('#errors').textContent")
    assert "_hidden.$x^2_1$.cost" in drawn


def test_the_table_sorts(browser: Browser, pages: Pages) -> None:
    browser.show(pages["bert"], width=DESK)
    titles = browser.evaluate(
        "[...document.querySelectorAll('.layers th button')].map(b => b.innerText)"
    )
    column = titles.index("Error")
    rows = "[...document.querySelector('.layers').tBodies[0].rows]"
    read = f"{rows}.map(row => +row.cells[{column}].innerText)"
    click = f"document.querySelectorAll('.layers th button')[{column}].click()"
    start = browser.evaluate(read)
    browser.evaluate(click)
    assert browser.evaluate(read) == sorted(start) != start
    browser.evaluate(click)
    assert browser.evaluate(read) == sorted(start, reverse=True)
    browser.evaluate("document.querySelectorAll('.layers th button')[0].click()")
    names = browser.evaluate(
        "[...document.querySelectorAll('.layers tbody th')].map(h => h.dataset.v)"
    )
    assert names.index("encoder.layer.2.output.dense") < names.index(
        "encoder.layer.10.output.dense"
    )


def test_without_script_everything_is_there(browser: Browser, pages: Pages) -> None:
    browser.show(pages["several"], width=DESK, script=False)
    assert boxes(browser, "th button") == []
    assert len(boxes(browser, ".layers tbody tr")) == 3
    assert len(boxes(browser, "figure svg")) == 3


def test_it_prints_on_white(browser: Browser, pages: Pages) -> None:
    browser.show(pages["minilm"], width=DESK, dark=True)
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser("Emulation.setEmulatedMedia", media="print", features=[dark])
    assert np.median(luminance(browser.screenshot((0, 0, DESK, 200)))) == pytest.approx(255.0)
    assert (
        browser.evaluate("getComputedStyle(document.querySelector('h1')).color")
        == "rgb(29, 35, 41)"
    )
