"""A compression report as one page: text, pictures and tables in a single HTML file.

Nothing is fetched: styles and pictures are inside, a policy in the head forbids the rest, and the
one script (it sorts the table) is named there by its hash. Whatever comes from the model is
escaped.
"""

from __future__ import annotations

import base64
import hashlib
from functools import partial

from lpgeom import plots
from lpgeom._version import __version__
from lpgeom.nn.report.reading import how_to_read
from lpgeom.nn.report.report import CompressionReport
from lpgeom.nn.report.style import SCRIPT, STYLE, VARIABLES
from lpgeom.nn.report.tables import layers_table, left_alone
from lpgeom.nn.report.text import bytes_of, escaped, plain, seconds_of
from lpgeom.plots.layers import MANY, count, ratio_text


def page(report: CompressionReport) -> str:
    """Write a report as one self-contained HTML page.

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
        matplotlib, which draws the pictures, is missing.

    Examples
    --------
    >>> from lpgeom.nn import CompressionReport, LayerReport
    >>> from lpgeom.nn.report.page import page
    >>> layer = LayerReport("embed", "embedding", (1000, 64), 20, 64000, 21280, 256000, 85120)
    >>> text = page(CompressionReport("Net", (layer,), 70000, 27280, 280000, 109120))
    >>> text[:15], text.count("<svg")
    ('<!DOCTYPE html>', 3)
    """
    sections = [
        _header(report),
        _tiles(report),
        _pictures(report),
        how_to_read(report),
        _options(report),
        layers_table(report),
        left_alone(report),
        f"<footer>Written by lpgeom {escaped(__version__)}.</footer>",
    ]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escaped(report.model)}: compression report</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{chr(10).join(filter(None, sections))}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


# ---------------------------------------------------------------- totals


def _header(report: CompressionReport) -> str:
    verb = "would become" if report.dry_run else "are now"
    lead = (
        f"{report.parameters_before:,} parameters {verb} "
        f"{report.parameters_after:,}: <strong>{_less(report.saved)}</strong>."
    )
    done, selected = len(report.compressed), len(report.layers)
    if not selected:
        lead = "No weight was selected: the model is as it was."
    elif not done:
        lead = "No selected weight was compressed: the model is as it was."
    plan = (
        '<p class="plan">This is a plan (a dry run). Nothing was solved, the model is as it was, '
        "and there are no errors to report yet.</p>"
        if report.dry_run
        else ""
    )
    return f"""<header>
<p class="eyebrow">Compression report</p>
<h1>{escaped(report.model)}</h1>
<p class="lead">{lead}</p>
{plan}
</header>"""


def _less(saved: float) -> str:
    return f"{saved:.1%} less" if saved >= 0.0 else f"{-saved:.1%} more"


def _tiles(report: CompressionReport) -> str:
    was = "now" if report.dry_run else "was"
    tiles = [
        ("Parameters", count(report.parameters_after), f"{was} {count(report.parameters_before)}"),
        ("Size on disk", bytes_of(report.bytes_after), f"{was} {bytes_of(report.bytes_before)}"),
        ("Layers compressed", f"{len(report.compressed)}", f"of {len(report.layers)} selected"),
    ]
    ratios = [layer.ratio for layer in report.compressed if layer.ratio is not None]
    if ratios:
        worst = f"≤ {ratio_text(max(ratios))} ×"
        best = "the least possible at that rank"
        if len(ratios) < len(report.compressed):
            best += f"; {len(ratios)} of {len(report.compressed)} layers are certified"
        tiles.append(("Error, certified", worst, best))
    if not report.dry_run:
        tiles.append(("Time", seconds_of(report.seconds), "in all"))
    body = "\n".join(
        f'<div><dt>{name}</dt><dd>{value}<span class="sub">{sub}</span></dd></div>'
        for name, value, sub in tiles
    )
    return f'<dl class="tiles">\n{body}\n</dl>'


# ---------------------------------------------------------------- pictures


CAPTIONS = {
    "errors": (
        "Each layer’s error against what is possible. Grey is proved impossible at that rank, for "
        "any factors however found; the best possible lies on the line between the grey and the "
        "dot."
    ),
    "parameters": "What each layer takes of the model, before and after.",
    "spectra": (
        "How fast the singular values of each weight fall: the faster, the better it compresses. "
        "What lies right of the dot is beyond the rank kept."
    ),
}


def _pictures(report: CompressionReport) -> str:
    figures = []
    shown = {
        "errors": any(layer.error is not None for layer in report.compressed),
        "parameters": True,
        "spectra": any(layer.spectrum for layer in report.compressed),
    }
    for name, caption in CAPTIONS.items():
        draw = partial(plots.compression_picture, report, name)
        drawing = plots.svg(draw, name=name, colours=VARIABLES)
        drawing = drawing.replace("<svg", f'<svg role="img" aria-label="{escaped(caption)}"', 1)
        below = f"<figcaption>{caption}</figcaption>" if shown[name] else ""
        figures.append(f'<figure id="{name}">{drawing}{below}</figure>')
    shared = ""
    if len(report.layers) > MANY:
        shared = (
            '<p class="hint">Layers whose names differ in numbers only share a row; a * stands '
            "for the number. The table has each of them.</p>"
        )
    return f'<section class="pictures">{"".join(figures)}</section>\n{shared}'


def _options(report: CompressionReport) -> str:
    if not report.options:
        return ""
    items = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(plain(value))}</dd></div>"
        for name, value in report.options.items()
    )
    return f'<section>\n<h2>Options of the call</h2>\n<dl class="options">{items}</dl>\n</section>'
