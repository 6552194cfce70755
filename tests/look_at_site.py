"""The built site, in the hands of a reader: every link followed, every page opened in Chromium.

Not collected by default: ``make site-check`` runs it on build/site. Screenshots of the main pages
go to build/screenshots. Nothing here needs a network: of links to the outside only the form is
checked.
"""

from __future__ import annotations

import html
import importlib
import re
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

from tests import browser as chromium
from tests.browser import Browser
from tests.columns import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "build" / "site"
SCREENSHOTS = ROOT / "build" / "screenshots"
PHONE, SMALL, DESK = 390, 1024, 1440
MAIN = (
    "index",
    "getting-started",
    "certificates",
    "accuracy",
    "performance",
    "theory/radial",
    "api/lpgeom",
    "api/generated/lpgeom.approx_subspace",
    "api/generated/lpgeom.SubspaceResult",
)
PAGES = sorted(SITE.rglob("*.html"))
NAMES = [str(page.relative_to(SITE).with_suffix("")) for page in PAGES]
needs_browser = pytest.mark.skipif(
    chromium.find() is None,
    reason=f"NO BROWSER: the site was not looked at; install one of {chromium.NAMES}",
)

# Elements that stick out of the window, and that no box of their own lets scroll.
CUT_OFF = """
[...document.querySelectorAll('article :is(math, table, pre, img, svg, code, a, h1, h2, dt)')]
  .filter(element => {
    if (element.getBoundingClientRect().right <= innerWidth + 1) return false
    for (let box = element; box && box.tagName != 'ARTICLE'; box = box.parentElement)
      if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX)
          && box.getBoundingClientRect().right <= innerWidth + 1) return false
    return true
  })
  .map(element => element.tagName + ' ' + element.textContent.slice(0, 60))
"""
# Formulas that were left as they are written, outside code.
RAW = r"""
(() => {
  const copy = document.querySelector('article').cloneNode(true)
  copy.querySelectorAll('pre, code, math, script, .sig').forEach(element => element.remove())
  return copy.textContent.match(/.{0,30}(\$|\\[(\[]|\\[a-z]{3,}).{0,30}/g) || []
})()
"""
EMPTY = """
[...document.querySelectorAll('math')].filter(f => !f.getBoundingClientRect().width).length
"""
# Blocks of code that need a scroll bar.
SCROLLING = """
[...document.querySelectorAll('article pre')].filter(block => block.scrollWidth > block.clientWidth)
  .map(block => block.textContent.slice(0, 200))
"""
# How many characters the narrowest block of code holds.
ROOM = """
Math.min(...[...document.querySelectorAll('article pre')].map(block => {
  const style = getComputedStyle(block), sample = document.createElement('span')
  sample.textContent = '0'.repeat(100)
  block.append(sample)
  const width = sample.getBoundingClientRect().width / 100
  sample.remove()
  const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight)
  return (block.clientWidth - padding) / width
}))
"""
MISSING = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"


def test_it_is_built() -> None:
    assert set(MAIN) <= set(NAMES), "make site builds it"


# ---------------------------------------------------------------- formulas


@pytest.fixture(scope="module")
def translator() -> Iterator[ModuleType]:
    pytest.importorskip("math_core", reason="make site installs it")
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    try:
        yield importlib.import_module("mathml")
    finally:
        sys.path.remove(str(ROOT / "docs" / "_ext"))


@pytest.mark.parametrize(
    ("latex", "pieces"),
    [
        ("a = b", 1),
        (r"a^2 + b^2 \le c^2 + d^2 + e^2 \le f", 3),
        (r"f(a + b + c + d + e = g + h)", 1),  # not inside parentheses
        (r"(a + b + c)^2 + (d + e = f)^2 + g = h", 2),
        (r"\lVert a + b + c\rVert_2 + d + e \le g", 2),
    ],
)
def test_long_formulas_may_be_broken(translator: ModuleType, latex: str, pieces: int) -> None:
    markup, _ = translator.mathml(latex, display=False)
    broken = translator.in_pieces(markup)
    assert broken.count("<math>") == broken.count("<wbr>") + 1 == pieces
    plain = re.sub("<[^>]*>", "", markup)
    assert html.unescape(re.sub("<[^>]*>", "", broken)) == html.unescape(plain)


def test_tags_stand_beside_formulas(translator: ModuleType) -> None:
    markup, tag = translator.mathml(r"a = b \tag{7}", display=True)
    assert tag == "7"
    assert "7" not in markup


def test_a_mistake_in_a_formula_is_an_error(translator: ModuleType) -> None:
    with pytest.raises(translator.LatexError):
        translator.mathml(r"\lVvert a", display=False)


# ---------------------------------------------------------------- links


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.targets.append(value)


def read(page: Path) -> _Links:
    links = _Links()
    links.feed(page.read_text())
    return links


def dead_links(page: Path, known: dict[Path, _Links]) -> list[str]:
    """Targets of a page that are not there, or not an address."""
    dead = []
    for target in known[page].targets:
        parts = urlsplit(target)
        if parts.scheme == "data":
            continue
        if parts.scheme or parts.netloc:
            if parts.scheme != "https" or "." not in parts.netloc or re.search(r"\s", target):
                dead.append(target)
            continue
        path = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
        if not path.is_file():
            dead.append(target)
        elif parts.fragment and path in known:
            anchor = unquote(parts.fragment)
            if anchor not in known[path].anchors | {"", "top"}:
                dead.append(target)
    return dead


def test_every_link_leads_somewhere() -> None:
    known = {page.resolve(): read(page) for page in PAGES}
    found = {str(page.relative_to(SITE)): dead_links(page, known) for page in known}
    assert {page: dead for page, dead in found.items() if dead} == {}


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = (tmp_path / "a.html").resolve()
    page.write_text(
        '<a id="x" href="#x"></a><a href="#y"></a><a href="b.html"></a><img src="c.png">'
        '<a href="https://example.org/d"></a><a href="http://example.org"></a>'
    )
    expected = ["#y", "b.html", "c.png", "http://example.org"]
    assert dead_links(page, {page: read(page)}) == expected


# ---------------------------------------------------------------- in the browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as it:
        yield it


def faults(browser: Browser) -> dict[str, object]:
    """What is wrong with the page shown: empty if nothing."""
    addresses = [a for a in browser.requests() if not a.startswith(("file:", "data:"))]
    found: dict[str, object] = {
        "console": browser.complaints(),
        "network": addresses,
        "scrolls sideways": browser.evaluate("document.documentElement.scrollWidth > innerWidth"),
        "cut off": browser.evaluate(CUT_OFF),
        "raw formulas": browser.evaluate(RAW),
        "empty formulas": browser.evaluate(EMPTY),
        "images": browser.evaluate(MISSING),
    }
    return {name: value for name, value in found.items() if value}


@needs_browser
@pytest.mark.parametrize("page", NAMES)
def test_pages_on_a_phone(page: str, browser: Browser) -> None:
    browser.show(SITE / f"{page}.html", width=PHONE)
    assert faults(browser) == {}


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", MAIN)
def test_main_pages_on_a_desk(page: str, dark: bool, browser: Browser) -> None:
    browser.show(SITE / f"{page}.html", width=DESK, dark=dark)
    assert faults(browser) == {}


@needs_browser
@pytest.mark.parametrize("page", NAMES)
def test_code_needs_no_scroll_bar_on_a_small_desk(page: str, browser: Browser) -> None:
    browser.show(SITE / f"{page}.html", width=SMALL)
    assert browser.evaluate(SCROLLING) == []


@needs_browser
def test_the_page_has_room_for_the_columns(browser: Browser) -> None:
    """A method's description is the narrowest place for an example."""
    browser.show(SITE / "api" / "generated" / "lpgeom.SubspaceResult.html", width=SMALL)
    assert browser.evaluate(ROOM) >= COLUMNS


@needs_browser
def test_wide_code_is_found(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    style = "width: 600px; overflow-x: auto"
    page.write_text(
        f"<!doctype html><body><article><pre style='{style}'>{200 * 'x'}</pre>"
        f"<pre style='{style}'>narrow</pre></article>"
    )
    browser.show(page, width=SMALL)
    assert browser.evaluate(SCROLLING) == [200 * "x"]


@needs_browser
def test_formulas_have_their_font(browser: Browser) -> None:
    browser.show(SITE / "theory" / "radial.html", width=DESK)
    assert browser.evaluate("document.querySelectorAll('math').length") > 100
    _until(browser, "document.fonts.check('16px \"lpgeom math\"') && document.fonts.size > 0")


@needs_browser
def test_search_works_without_a_network(browser: Browser) -> None:
    browser.show(SITE / "search.html", width=DESK)
    address = (SITE / "search.html").as_uri() + "?q=fantope"
    browser.evaluate(f"location.href = {address!r}")
    _until(browser, "document.querySelectorAll('#search-results li a').length > 2")
    assert browser.complaints() == []


@needs_browser
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<p>costs $x$</p>", "raw formulas"),
        ("<img src='none.png'>", "images"),
        ("<pre style='width: 900px'>long</pre>", "cut off"),
        ("<script>throw Error('no')</script>", "console"),
        ("<script src='https://example.invalid/x.js'></script>", "network"),
    ],
)
def test_faults_are_found(body: str, fault: str, browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><body><article>{body}</article>")
    browser.show(page, width=PHONE)
    assert fault in faults(browser)


@needs_browser
def test_screenshots(browser: Browser) -> None:
    """Not a check: pictures of the main pages, for people."""
    from PIL import Image

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for page in MAIN:
        for width, name in ((PHONE, "phone"), (DESK, "desk")):
            browser.show(SITE / f"{page}.html", width=width)
            height = browser("Page.getLayoutMetrics")["cssContentSize"]["height"]
            picture = browser.screenshot((0, 0, width, min(height, 1800)))
            Image.fromarray(picture).save(SCREENSHOTS / f"{page.replace('/', '-')}-{name}.png")


def _until(browser: Browser, condition: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not browser.evaluate(condition):
        assert time.monotonic() < end, f"never came true: {condition}"
        time.sleep(0.05)
