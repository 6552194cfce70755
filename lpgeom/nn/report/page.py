"""A compression report as one page: text, pictures and tables in a single HTML file.

The page is the template ``report.html.jinja`` beside this module, styles and script included; here
is what it is filled with. A report is whatever has the fields of one: no record is imported.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from lpgeom import plots
from lpgeom._version import __version__
from lpgeom.io.atomic import write_atomically
from lpgeom.io.tables import in_bytes
from lpgeom.plots.compression import BEFORE, PICTURES
from lpgeom.plots.layers import MANY, count, printable, ratio_text
from lpgeom.plots.style import BAND, COLOURS, QUIET

if TYPE_CHECKING:
    from lpgeom.nn.report.report import CompressionReport, LayerReport

VARIABLES = {
    drawn.lower(): f"var(--{name})"
    for drawn, name in (
        ("#000000", "ink"), (QUIET, "quiet"), ("#ffffff", "card"), (BAND, "band"),
        (BEFORE, "before"), *((colour, f"c{i}") for i, colour in enumerate(COLOURS, 1)),
    )
}  # fmt: skip
"""What the page, in light or in dark, writes for a colour that the pictures are drawn in."""

WEIGHED_BY = {
    "tokens": "rows weighted by how often their tokens occur",
    "given": "rows weighted as the call says",
}
"""What is said of where a layer's row weights are from."""


def write_html(report: CompressionReport, path: str | os.PathLike[str]) -> None:
    """Write a report as one self-contained HTML page, complete or not at all.

    Parameters
    ----------
    report : CompressionReport
    path : path-like

    Raises
    ------
    ImportError
        Jinja2, which fills the page, or matplotlib, which draws the pictures, is missing; the error
        says what to install.
    """
    text = page(report)
    write_atomically(path, lambda file: file.write(text.encode()))


def page(report: CompressionReport) -> str:
    """Return a report as one self-contained HTML page.

    Parameters
    ----------
    report : CompressionReport

    Returns
    -------
    str
        The page, in UTF-8 when encoded; the same for the same report.

    Raises
    ------
    ImportError
        Jinja2 or matplotlib is missing.

    Examples
    --------
    >>> from lpgeom.nn import CompressionReport, LayerReport
    >>> from lpgeom.nn.report.page import page
    >>> layer = LayerReport(
    ...     "embed", "embedding", (1000, 64), 20, 64000, 21280, 256000, 85120
    ... )
    >>> text = page(CompressionReport("Net", (layer,), 70000, 27280, 280000, 109120))
    >>> text[:15], text.count("<svg")
    ('<!DOCTYPE html>', 3)
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError("a report's page needs Jinja2: pip install 'lpgeom[torch]'") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, finalize=_one_line,
    )  # fmt: skip
    environment.filters |= {
        "about": _about, "bytes": in_bytes, "digest": _digest, "figures": count, "plain": _plain,
        "ratio": ratio_text, "seconds": _seconds,
    }  # fmt: skip
    template = files("lpgeom.nn.report").joinpath("report.html.jinja").read_text("utf-8")
    return environment.from_string(template).render(
        report=report, version=__version__, many=MANY,
        table=_table(report.compressed, report.by_bytes),
        pictures={
            name: plots.svg(
                partial(plots.compression_picture, report, name), name=name, colours=VARIABLES
            )
            for name in PICTURES
        },
    )  # fmt: skip


def _one_line(value: Any) -> Any:
    """Text from a report without control characters; what is markup already stays as it is."""
    return printable(value) if type(value) is str else value


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(str(script).encode()).digest()).decode()


def _plain(value: Any) -> str:
    """An option's value: a string as it is, else JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _seconds(value: float) -> str:
    """A time in seconds, or minutes where they are many."""
    if value >= 90.0:
        return f"{value / 60.0:.1f} min"
    return f"{value:.1f} s" if value >= 1.0 else f"{value:.2f} s"


def _about(layer: LayerReport) -> str:
    """What stands below a layer's name."""
    said = (
        layer.kind,
        f"metric: {layer.metric}" if layer.metric != "weights" else "",
        WEIGHED_BY.get(layer.weights or "", ""),
        f"shared with {', '.join(layer.tied)}" if layer.tied else "",
        layer.method,
        layer.note,
    )
    return "; ".join(filter(None, said))


Cell = tuple[object, str]
"""What to sort by, and what to show."""


def _table(layers: tuple[LayerReport, ...], by_bytes: bool) -> list[dict[str, Cell]]:
    """For each layer its cells after the name, by their columns' titles.

    A column that says nothing of any layer is left out, and so is certainty that is everywhere.
    """
    lines = [_cells(layer, by_bytes) for layer in layers]
    said = {t for line in lines for t, (_, shown) in line.items() if shown not in ("–", "always")}
    return [{title: cell for title, cell in line.items() if title in said} for line in lines]


def _cells(layer: LayerReport, by_bytes: bool) -> dict[str, Cell]:
    n, d = layer.shape
    before, after = layer.parameters_before, layer.parameters_after
    saved = 1.0 - after / max(1, before)
    failing, seconds = layer.failure_probability, layer.seconds
    counts = (count(number).replace(" ", "\N{NO-BREAK SPACE}") for number in (before, after))
    shape = {"Shape": (n * d, f"{n:,} × {d:,}")}
    rank = {"Rank": (layer.rank, layer.rank_text.replace(" x ", " × "))}
    errors = {
        "Error": _known(layer.error, "{:.4f}".format),
        "Least possible": _known(layer.error_bound, "{:.4f}".format),
        "SVD’s error": _known(layer.svd_error, "{:.4f}".format),
        "Ratio": _known(layer.ratio, ratio_text),
    }
    certainty = {
        "Certainty": (failing, "always" if failing == 0.0 else f"1 − {failing:.2g}"),
        "Seconds": (seconds, _seconds(seconds) if seconds else "–"),
    }
    if by_bytes:
        sizes = (in_bytes(number) for number in (layer.bytes_before, layer.bytes_after))
        rounded = {
            f"int{bits}": _known(
                error, f"{in_bytes(layer.rounded_bytes(bits))}, error {{:.4f}}".format
            )
            for bits, error in ((8, layer.int8_error), (4, layer.int4_error))
        }
        bytes_ = {
            "Bytes": (layer.bytes_after, " → ".join(sizes)),
            "Bits an entry": (layer.bits, f"{layer.bits:.3g}"),
        }
        cut = {"Without rounding": _known(layer.truncation_error, "{:.4f}".format)}
        return shape | bytes_ | errors | cut | rounded | rank | certainty
    parameters = {
        "Parameters": (before, " → ".join(counts)),
        "Saved": (saved, f"{saved:.1%}".replace("-", "−")),
    }
    return shape | rank | parameters | errors | certainty


def _known(value: float | None, text: Any) -> Cell:
    return ("", "–") if value is None else (value, text(value))


def card_of(report: CompressionReport) -> str:
    """What a model card is to say of what was done."""
    return (
        "\n\n## Made smaller\n\nBy lpgeom, without fine-tuning. `import lpgeom.nn` before the "
        f"model is loaded.\n\n```text\n{report.table()}\n```\n"
    )
