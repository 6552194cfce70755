"""The tables of a compression report's page: what was compressed, what was left alone."""

from __future__ import annotations

from lpgeom.nn.report.report import CompressionReport, LayerReport
from lpgeom.nn.report.text import count_of, escaped, name_of, number_of, seconds_of
from lpgeom.plots.layers import ratio_text

ROW_WEIGHTS = {
    "tokens": "rows weighted by how often their tokens occur",
    "given": "rows weighted as the call says",
}


def layers_table(report: CompressionReport) -> str:
    """The compressed layers, a row each; its columns are those that say something."""
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
            f'<td class="n" data-label="{title}" data-v="{escaped(line[title][0])}">'
            f"{escaped(line[title][1])}</td>"
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
    before, after = count_of(layer.parameters_before), count_of(layer.parameters_after)
    failing = layer.failure_probability
    ratio = layer.ratio
    return {
        "Shape": (n * d, f"{n:,} × {d:,}"),
        "Rank": (layer.rank, layer.rank_text.replace(" x ", " × ")),
        "Parameters": (layer.parameters_before, f"{before} → {after}"),
        "Saved": (saved, f"{saved:.1%}".replace("-", "−")),
        "Error": number_of(layer.error),
        "Least possible": number_of(layer.error_bound),
        "SVD’s error": number_of(layer.svd_error),
        "Ratio": ("", "–") if ratio is None else (ratio, ratio_text(ratio)),
        "Certainty": (failing, "always" if failing == 0.0 else f"1 − {failing:.2g}"),
        "Seconds": (layer.seconds, seconds_of(layer.seconds) if layer.seconds else "–"),
    }


def _name_cell(layer: LayerReport) -> str:
    about = [layer.kind]
    if layer.metric != "weights":
        about.append(f"metric: {layer.metric}")
    if layer.weights in ROW_WEIGHTS:
        about.append(ROW_WEIGHTS[layer.weights])
    if layer.tied:
        about.append(f"shared with {', '.join(layer.tied)}")
    if layer.method:
        about.append(layer.method)
    if layer.note:
        about.append(layer.note)
    return (
        f'<th scope="row" data-v="{escaped(layer.name)}">{name_of(layer.name)}'
        f'<span class="sub">{escaped("; ".join(about))}</span></th>'
    )


def left_alone(report: CompressionReport) -> str:
    """The layers that are as they were, and why."""
    alone = report.left_alone
    if not alone:
        return ""
    lines = "\n".join(
        f'<tr><th scope="row">{name_of(layer.name)}'
        f'<span class="sub">{escaped(layer.kind)}</span></th>'
        f'<td class="n" data-label="Shape">{layer.shape[0]:,} × {layer.shape[1]:,}</td>'
        f'<td class="n" data-label="Parameters">{count_of(layer.parameters_before)}</td>'
        f'<td class="why" data-label="Why">{escaped(layer.note or "no reason recorded")}</td></tr>'
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
