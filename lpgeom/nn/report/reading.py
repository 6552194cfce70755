"""How to read a compression report: what its page says of errors, bounds and certainty."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lpgeom.nn.report.report import CompressionReport, LayerReport
from lpgeom.plots.layers import ratio_text


def how_to_read(report: CompressionReport) -> str:
    """The section that explains the columns this report has; empty where nothing was compressed."""
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
