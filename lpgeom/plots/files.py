"""Pictures as files, and as SVG to put into a page."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lpgeom.io.atomic import write_atomically
from lpgeom.plots.style import drawing

SUFFIXES = (".png", ".svg", ".pdf")

_XLINK = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"#([\w-]+)")


def save(ax: Any, path: str | os.PathLike[str], *, dpi: int = 110) -> None:
    """Write the figure that is or holds `ax` to .png, .svg or .pdf, complete or not at all.

    Parameters
    ----------
    ax : matplotlib Axes or Figure
        What a function of this module returned.
    path : path-like
        The suffix says the format.
    dpi : int
        Dots per inch of a .png.

    Raises
    ------
    ValueError
        Another suffix.

    Examples
    --------
    >>> import os, tempfile
    >>> from lpgeom import plots
    >>> ax = plots.plot_ball([[1.0, 0.0], [0.0, 2.0]], p=1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plots.save(ax, os.path.join(folder, "ball.png"))
    ...     os.listdir(folder)
    ['ball.png']
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: the name must end in {', '.join(SUFFIXES)}")
    figure, look = ax.get_figure(), {"format": suffix[1:], "dpi": dpi, "bbox_inches": "tight"}
    write_atomically(path, lambda file: figure.savefig(file, **look))


def svg(draw: Callable[[], Any], *, name: str, colours: Mapping[str, str] | None = None) -> str:
    """Return a figure as an SVG element for a page: no references outside, no text as outlines.

    Drawn under matplotlib's default style whatever the user's is, with the page's font, and the
    same for the same figure.

    Parameters
    ----------
    draw : callable
        Makes the figure.
    name : str
        Prefix of the ids inside, so that several pictures can stand in one page.
    colours : mapping, optional
        What to write for a colour ("#rrggbb", lower case): a CSS variable, say, that a dark page
        sets otherwise. Black is what axes and their labels are drawn in.

    Returns
    -------
    str
        An element, with ids that begin with `name`.

    Examples
    --------
    >>> from lpgeom import plots
    >>> text = plots.svg(
    ...     lambda: plots.plot_ball([[1.0, 0.0], [0.0, 2.0]], p=1.0).figure,
    ...     name="ball",
    ...     colours={"#000000": "var(--ink)"},
    ... )
    >>> text[:4], "var(--ink)" in text, "http" in text
    ('<svg', True, False)
    """
    picture = io.BytesIO()
    options = {"svg.fonttype": "none", "svg.hashsalt": name}
    with drawing().style.context(["default", options]), warnings.catch_warnings():
        # The reader's fonts draw the text; matplotlib's lack many a script.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = draw()
        figure.savefig(
            picture, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.03,
            metadata={"Date": None},
        )  # fmt: skip
    root = ElementTree.fromstring(picture.getvalue())
    _make_inline(root, name)
    for element in root.iter():
        style = element.get("style")
        for colour, other in (colours or {}).items():
            style = style and style.replace(colour, other)
        if style:
            element.set("style", style)
    return ElementTree.tostring(root, encoding="unicode")


def _make_inline(root: ElementTree.Element, name: str) -> None:
    """Strip what only a file needs; size and font are the page's; ids are few and prefixed."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    used = {
        found
        for element in root.iter()
        for key, value in element.attrib.items()
        if key != "id"
        for found in _REFERENCE.findall(value)
    }
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # the page's parser knows the namespace
        own = element.attrib.pop("id", None)
        for key, value in list(element.attrib.items()):
            if key == _XLINK:
                del element.attrib[key]
                element.set("href", f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
            elif key == "style" and element.tag == "text":
                element.set(key, re.sub(r"(font: [^']*?)'.*?(?=;|$)", r"\1var(--font)", value))
        if own in used:
            element.set("id", f"{name}-{own}")
