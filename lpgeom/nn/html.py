"""A compression report as one page: text, pictures and tables in a single HTML file.

Nothing is fetched: styles and pictures are inside, a policy in the head forbids the rest, and the
one script (it sorts the table) is named there by its hash. Whatever comes from the model is
escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Iterable
from functools import partial
from typing import Any

from lpgeom import plots
from lpgeom._version import __version__
from lpgeom.nn.html_style import SCRIPT, STYLE, VARIABLES
from lpgeom.nn.report import CompressionReport, LayerReport
from lpgeom.plots.layers import MANY, count, printable, ratio_text


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
    >>> from lpgeom.nn.html import page
    >>> layer = LayerReport("embed", "embedding", (1000, 64), 20, 64000, 21280, 256000, 85120)
    >>> text = page(CompressionReport("Net", (layer,), 70000, 27280, 280000, 109120))
    >>> text[:15], text.count("<svg")
    ('<!DOCTYPE html>', 3)
    """
    sections = [
        _header(report),
        _tiles(report),
        _pictures(report),
        _how_to_read(report),
        _options(report),
        _layers(report),
        _left_alone(report),
        f"<footer>Written by lpgeom {_text(__version__)}.</footer>",
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
<title>{_text(report.model)}: compression report</title>
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


def _text(value: object) -> str:
    """Text of anything, safe in an element and in a quoted attribute."""
    return html.escape(printable(str(value)), quote=True)


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
<h1>{_text(report.model)}</h1>
<p class="lead">{lead}</p>
{plan}
</header>"""


def _less(saved: float) -> str:
    return f"{saved:.1%} less" if saved >= 0.0 else f"{-saved:.1%} more"


def _tiles(report: CompressionReport) -> str:
    was = "now" if report.dry_run else "was"
    tiles = [
        ("Parameters", count(report.parameters_after), f"{was} {count(report.parameters_before)}"),
        ("Size on disk", _bytes(report.bytes_after), f"{was} {_bytes(report.bytes_before)}"),
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
        tiles.append(("Time", _seconds(report.seconds), "in all"))
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
        drawing = drawing.replace("<svg", f'<svg role="img" aria-label="{_text(caption)}"', 1)
        below = f"<figcaption>{caption}</figcaption>" if shown[name] else ""
        figures.append(f'<figure id="{name}">{drawing}{below}</figure>')
    shared = ""
    if len(report.layers) > MANY:
        shared = (
            '<p class="hint">Layers whose names differ in numbers only share a row; a * stands '
            "for the number. The table has each of them.</p>"
        )
    return f'<section class="pictures">{"".join(figures)}</section>\n{shared}'


def _how_to_read(report: CompressionReport) -> str:
    done = report.compressed
    if not done:
        return ""
    items = [
        "<dt>Rank</dt><dd>Each weight, a matrix of n rows and d columns, is replaced by two thin "
        "factors of rank k: n × d numbers become n × k + k × d"
        + (
            ", with j subspaces n × k + j × k × d"
            if any(x.subspaces > 1 and x.ranks is None for x in done)
            else ""
        )
        + "."
        + (
            " Where several ranks stand, each group of rows has factors of its own rank; of a rank "
            "as large as d the rows are kept as they are, of rank 0 they become zero."
            if any(x.ranks is not None for x in done)
            else ""
        )
        + "</dd>",
    ]
    if any(layer.error is not None for layer in done):
        items.append(
            f"<dt>Error</dt><dd>{_error_words(done)} 0 is exact; 1 is what keeping nothing would "
            "give.</dd>"
        )
    if any(layer.error_bound is not None for layer in done):
        items.append(
            "<dt>Least possible</dt><dd>A lower bound, proved by the computation and not "
            "estimated: no factors of that rank have a smaller error, whatever method finds "
            "them.</dd>"
        )
    ratios = [r for layer in done if (r := layer.ratio) is not None]
    if ratios and math.isfinite(max(ratios)):
        worst = max(ratios)
        items.append(
            "<dt>Ratio</dt><dd>The error over the least possible, both norms. "
            f"{ratio_text(worst)} says: at most {ratio_text(worst)} times the error of the best "
            "factors of that rank. 1 is optimal.</dd>"
        )
    if ratios:
        items.append(f"<dt>Certainty</dt><dd>{_certainty_words(done)}</dd>")
    return f"""<section>
<h2>How to read it</h2>
<dl class="reading">{"".join(items)}</dl>
</section>"""


def _error_words(layers: Iterable[LayerReport]) -> str:
    layers = tuple(layers)
    norms = ", ".join(f"{p:g}" for p in sorted({layer.p for layer in layers}))
    words = []
    if any(layer.objective == "rows" for layer in layers):
        words.append(
            "each row’s distance from its approximation is raised to the power p, these are "
            "summed, and the p-th root taken"
        )
    if any(layer.objective == "entries" for layer in layers):
        words.append(
            "for the entries objective, the p-th powers of the entries’ differences are summed, "
            "and the p-th root taken"
        )
    text = (
        f"The distance between weight and factors over the size of the weight, p = {norms}: "
        f"{'; '.join(words)}."
    )
    if any(layer.metric == "activations" for layer in layers):
        text += (
            " Where the metric is activations, distances are those of the layer’s outputs on the "
            "calibration data."
        )
    if any(layer.subspaces > 1 for layer in layers):
        text += (
            " With several subspaces each row has one of them, and the bound is for every choice "
            "of subspaces under that assignment of rows."
        )
    return text


def _certainty_words(layers: Iterable[LayerReport]) -> str:
    failing = [layer.failure_probability for layer in layers if layer.ratio is not None]
    total = min(1.0, sum(failing))
    if total == 0.0:
        return "The bounds hold always: no part of their proof depends on chance."
    return (
        f"Some bounds use random numbers and hold with the probability in the table; all of them "
        f"at once with probability at least 1 − {total:.2g}. The others hold always."
    )


# ---------------------------------------------------------------- tables


def _layers(report: CompressionReport) -> str:
    done = report.compressed
    if not done:
        return ""
    cells = [_cells(layer) for layer in done]
    # A column that says nothing of any layer is left out, and so is certainty that is everywhere.
    titles = [t for t in cells[0] if any(line[t][1] not in ("–", "always") for line in cells)]
    columns = "".join(f'<th scope="col" class="n">{title}</th>' for title in titles)
    lines = []
    for layer, line in zip(done, cells, strict=True):
        values = "".join(
            f'<td class="n" data-label="{title}" data-v="{_text(line[title][0])}">'
            f"{_text(line[title][1])}</td>"
            for title in titles
        )
        lines.append(f"<tr>{_name_cell(layer)}{values}</tr>")
    return f"""<section>
<h2>Layers</h2>
<div class="wide"><table class="layers sortable">
<thead><tr><th scope="col">Layer</th>{columns}</tr></thead>
<tbody>
{chr(10).join(lines)}
</tbody>
</table></div>
</section>"""


def _cells(layer: LayerReport) -> dict[str, tuple[object, str]]:
    """(what to sort by, what to show) of each column after the name."""
    n, d = layer.shape
    saved = 1.0 - layer.parameters_after / max(1, layer.parameters_before)
    before, after = _count(layer.parameters_before), _count(layer.parameters_after)
    failing = layer.failure_probability
    ratio = layer.ratio
    return {
        "Shape": (n * d, f"{n:,} × {d:,}"),
        "Rank": (layer.rank, layer.rank_text.replace(" x ", " × ")),
        "Parameters": (layer.parameters_before, f"{before} → {after}"),
        "Saved": (saved, f"{saved:.1%}".replace("-", "−")),
        "Error": _number(layer.error),
        "Least possible": _number(layer.error_bound),
        "SVD’s error": _number(layer.svd_error),
        "Ratio": ("", "–") if ratio is None else (ratio, ratio_text(ratio)),
        "Certainty": (failing, "always" if failing == 0.0 else f"1 − {failing:.2g}"),
        "Seconds": (layer.seconds, _seconds(layer.seconds) if layer.seconds else "–"),
    }


def _name(name: str) -> str:
    """May break after a dot."""
    return _text(name).replace(".", ".<wbr>")


def _name_cell(layer: LayerReport) -> str:
    about = [layer.kind]
    if layer.metric != "weights":
        about.append(f"metric: {layer.metric}")
    if layer.tied:
        about.append(f"shared with {', '.join(layer.tied)}")
    if layer.method:
        about.append(layer.method)
    if layer.note:
        about.append(layer.note)
    return (
        f'<th scope="row" data-v="{_text(layer.name)}">{_name(layer.name)}'
        f'<span class="sub">{_text("; ".join(about))}</span></th>'
    )


def _left_alone(report: CompressionReport) -> str:
    alone = report.left_alone
    if not alone:
        return ""
    lines = "\n".join(
        f'<tr><th scope="row">{_name(layer.name)}<span class="sub">{_text(layer.kind)}</span></th>'
        f'<td class="n" data-label="Shape">{layer.shape[0]:,} × {layer.shape[1]:,}</td>'
        f'<td class="n" data-label="Parameters">{_count(layer.parameters_before)}</td>'
        f'<td class="why" data-label="Why">{_text(layer.note or "no reason recorded")}</td></tr>'
        for layer in alone
    )
    return f"""<section>
<h2>Left alone</h2>
<div class="wide"><table class="alone">
<thead><tr><th scope="col">Layer</th><th scope="col" class="n">Shape</th>
<th scope="col" class="n">Parameters</th><th scope="col">Why</th></tr></thead>
<tbody>
{lines}
</tbody>
</table></div>
</section>"""


def _options(report: CompressionReport) -> str:
    if not report.options:
        return ""
    items = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(_plain(value))}</dd></div>"
        for name, value in report.options.items()
    )
    return f'<section>\n<h2>Options of the call</h2>\n<dl class="options">{items}</dl>\n</section>'


# ---------------------------------------------------------------- numbers


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _number(value: float | None) -> tuple[object, str]:
    return ("", "–") if value is None else (value, f"{value:.4f}")


def _seconds(value: float) -> str:
    if value >= 90.0:
        return f"{value / 60.0:.1f} min"
    return f"{value:.1f} s" if value >= 1.0 else f"{value:.2f} s"


def _count(number: int) -> str:
    """Not broken before its unit."""
    return count(number).replace(" ", "\N{NO-BREAK SPACE}")


def _bytes(number: int) -> str:
    value, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024.0 and len(units) > 1:
        value /= 1024.0
        units.pop(0)
    return f"{value:.3g} {units[0]}" if value < 999.5 else f"{value:.0f} {units[0]}"
