"""Formulas as MathML, made when the site is built: a page needs no script and no network for them.

A formula that can't be translated is a warning, hence an error of the build.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mathfont
from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging

TAG = re.compile(r"\\tag\{([^{}]*)\}")
ENTITY = re.compile(r"&(?!lt;|gt;|amp;|quot;|#)\w+;")  # XML knows only these
RELATIONS = set("=≤≥<>≠≈∈→≔⪯⪰") | {",", ";"}
LONG = 9  # elements of an inline formula that stay together
_LOG = logging.getLogger(__name__)
_TRANSLATE = LatexToMathML(fancy_error=False)


def mathml(latex: str, *, display: bool) -> tuple[str, str | None]:
    r"""MathML of a formula, and the text of its ``\tag``, which MathML has no element for."""
    found = TAG.search(latex)
    markup = _TRANSLATE.convert_with_local_state(TAG.sub("", latex), displaystyle=display)
    return markup, found.group(1) if found else None


def in_pieces(markup: str) -> str:
    """A long inline formula as several, since browsers break lines only between formulas.

    They break as TeX does: after a relation or a comma, outside parentheses.
    """
    whole = ElementTree.fromstring(ENTITY.sub(lambda found: unescape(found[0]), markup))
    if len(whole) <= LONG:
        return markup
    pieces: list[list[ElementTree.Element]] = [[]]
    depth = 0
    for element in whole:
        sign = element[0] if element.tag in {"msub", "msup", "msubsup"} else element  # (...)^2
        text = (sign.text or "").strip() if sign.tag == "mo" else ""
        form = sign.get("form")
        opens = text in {"(", "[", "{"} or form == "prefix"
        closes = text in {")", "]", "}"} or form == "postfix"
        depth += opens - closes
        pieces[-1].append(element)
        if text in RELATIONS and depth == 0:
            element.set("form", "infix")  # spaced as between its two sides
            pieces.append([])
    return "<wbr>".join(
        "<math>"
        + "".join(
            ElementTree.tostring(e, encoding="unicode", short_empty_elements=False) for e in p
        )
        + "</math>"
        for p in pieces
        if p
    )


def _markup(node: nodes.Element, *, display: bool) -> tuple[str, str | None]:
    latex = node.astext()
    try:
        return mathml(latex, display=display)
    except LatexError as error:
        _LOG.warning("%s in the formula %s", error, latex, location=node)
        return f"<code>{latex}</code>", None


def inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(in_pieces(_markup(node, display=False)[0]))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.Element) -> None:
    markup, tag = _markup(node, display=True)
    if "nowrap" in node and node.get("number"):
        tag = str(node["number"])
    number = f'<span class="formula-number">({tag})</span>' if tag else ""
    # tabindex: what scrolls sideways must be reachable by keyboard.
    translator.body.append(
        translator.starttag(node, "div", CLASS="formula", tabindex="0")
        + markup
        + number
        + "</div>\n"
    )
    raise nodes.SkipNode


def add_font(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        mathfont.write(Path(app.outdir) / "_static")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("build-finished", add_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
