"""What a compression did to a model: errors, parameters, singular values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lpgeom.io import validation
from lpgeom.io.validation import Array
from lpgeom.plots.layers import Row, abbreviate, count, places, ratio_text, rows_of
from lpgeom.plots.style import (
    BAND,
    COLOURS,
    QUIET,
    legend_below,
    new_figure,
    open_frame,
    remark,
    titled,
)

PICTURES = ("errors", "parameters", "spectra")

OURS, SVD = COLOURS[0], COLOURS[1]
BEFORE = "#CCD2D6"

NAMED = 2 * len(COLOURS)  # spectra that colours and dashes tell apart; more are drawn alike
POINTS = 160  # of a drawn spectrum


def plot_compression(report: Any, axes: Sequence[Any] | None = None) -> Any:
    """Draw a compression: each layer's error, its parameters, its singular values.

    Errors are relative norm errors; grey is what the lower bound proves impossible at that rank,
    and the line from it to the dot is where the optimum is. Layers of a large model whose names
    differ in numbers only share a row.

    Parameters
    ----------
    report : lpgeom.nn.CompressionReport
        From `lpgeom.nn.compress`; a dry run too, which has parameters but no errors.
    axes : sequence of three matplotlib.axes.Axes, optional
        Where to draw. If not given: a new figure, whose height grows with the layers.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of the first axes.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        Not three axes.

    Examples
    --------
    >>> from lpgeom import plots
    >>> from lpgeom.nn import CompressionReport, LayerReport
    >>> layer = LayerReport(
    ...     "embed", "embedding", (1000, 64), 20, 64000, 21280, 256000, 85120,
    ...     size=900.0, cost=310.0, lower_bound=300.0, svd_cost=330.0,
    ...     spectrum=tuple(1.0 / i for i in range(1, 65)),
    ... )
    >>> report = CompressionReport("Net", (layer,), 70000, 27280, 0, 0)
    >>> figure = plots.plot_compression(report)
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['Relative norm error, p = 1', 'Parameters', 'Singular values']
    """
    if axes is None:
        heights = [height for _, height in _panels(report)]
        figure = new_figure(7.5, sum(heights), layout="constrained")
        figure.get_layout_engine().set(hspace=0.02, h_pad=0.12)
        axes = list(figure.subplots(3, 1, height_ratios=heights))
    axes = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(axes) != 3:
        raise ValueError(f"axes must be three, got {len(axes)}")
    for ax, (draw, _) in zip(axes, _panels(report), strict=True):
        draw(ax)
    return axes[0].get_figure()


def compression_picture(report: Any, which: str, *, width: float = 4.3) -> Any:
    """Draw one of the three pictures of `plot_compression` as a figure of its own.

    Parameters
    ----------
    report : lpgeom.nn.CompressionReport
    which : {"errors", "parameters", "spectra"}
    width : float
        In inches; the height follows from the layers.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from lpgeom import plots
    >>> from lpgeom.nn import CompressionReport
    >>> report = CompressionReport("Net", (), 70000, 70000, 0, 0)
    >>> figure = plots.compression_picture(report, "parameters")
    >>> figure.axes[0].get_title(loc="left")
    'Parameters'
    """
    validation.check_choice("which", which, PICTURES)
    draw, height = _panels(report)[PICTURES.index(which)]
    figure = new_figure(width, height, layout="constrained")
    draw(figure.subplots())
    return figure


def _panels(report: Any) -> list[tuple[Any, float]]:
    """(how to draw it, height in inches) of each picture."""
    measured = rows_of([x for x in report.layers if x.compressed and _known(x.error)])
    selected = rows_of(report.layers)
    spectra = rows_of([x for x in report.layers if x.compressed and _normalised(x).size])
    named = len(spectra) if len(spectra) <= NAMED else 0
    sums = [Row("", (None,))] * 2
    return [
        (
            lambda ax: _errors(ax, measured, report),
            (1.1 if measured else 0.5) + places(measured)[2],
        ),
        (lambda ax: _parameters(ax, selected, report), 1.0 + _bars([*sums, *selected])[2]),
        (lambda ax: _spectra(ax, spectra), 3.0 + 0.16 * (named + 1) if spectra else 0.7),
    ]


# ---------------------------------------------------------------- errors


def _errors(ax: Any, rows: list[Row], report: Any) -> None:
    norms = sorted({layer.p for row in rows for layer in row.layers})
    norm = f", p = {', '.join(f'{p:g}' for p in norms)}" if norms else ""
    if any(layer.objective == "entries" for row in rows for layer in row.layers):
        norm += ", entries"
    titled(ax, f"Relative norm error{norm}", pad=20 if rows else None)
    if not rows:
        why = "no errors were recorded" if report.compressed else "no layer was compressed"
        dry = "a dry run: nothing was solved, so there are no errors yet"
        _say(ax, dry if report.dry_run else why)
        return
    labels, lines, height = places(rows)
    y = np.concatenate(lines)
    half = np.concatenate([np.full(len(row.layers), row.pitch / 2) for row in rows])
    layers = [layer for row in rows for layer in row.layers]
    ours = _values(layer.error for layer in layers)
    svd = _values(layer.svd_error for layer in layers)
    bound = _values(layer.error_bound for layer in layers)
    ax.set_xlim(*_limits(np.concatenate([ours, svd, bound])))
    ax.set_ylim(height, 0.0)

    has = np.isfinite(bound)
    ax.barh(
        y[has], bound[has], height=2.0 * half[has] + 0.005, color=BAND, linewidth=0, zorder=1,
        label="proved impossible",
    )  # fmt: skip
    ax.vlines(bound[has], (y - half)[has], (y + half)[has], color=QUIET, linewidth=0.9, zorder=2)
    ax.hlines(y[has], bound[has], ours[has], color=OURS, linewidth=1.6, alpha=0.45, zorder=2)
    # Sparse rows get full-size marks; those of shared rows must not touch.
    size = 5.5 if not any(row.numbers for row in rows) else 3.6
    options = {"linestyle": "none", "markersize": size, "clip_on": False}
    ax.plot(
        svd, y, marker="D", markerfacecolor="none", markeredgecolor=SVD, label="SVD", zorder=4,
        **options,
    )  # fmt: skip
    ax.plot(ours, y, marker="o", color=OURS, label="these factors", zorder=5, **options)
    remark(ax, "ratio", (1.0, 1.0), (0.0, 3.0), ha="right")
    for row, at in zip(rows, labels, strict=True):
        _label(ax, at, row.label, _ratios(row))
    _number_lines(ax, rows, lines)
    handles, names = ax.get_legend_handles_labels()
    _framed(ax, handles[::-1], names[::-1])  # ours, the SVD, the band


def _ratios(row: Row) -> str:
    """Least and largest certified ratio of the row."""
    ratios = [layer.ratio for layer in row.layers if layer.ratio is not None]
    if not ratios:
        return "not certified"
    texts = (ratio_text(least) for least in (min(ratios), max(ratios)))
    return "–".join(dict.fromkeys(texts))


def _limits(values: Array) -> tuple[float, float]:
    """Around what is drawn, not from 0: dots a few percent apart stay apart."""
    values = values[np.isfinite(values)]
    least, largest = float(values.min()), float(values.max())
    if largest <= 0.0:
        return 0.0, 1.0
    span = max(largest - least, 0.05 * largest)
    return max(0.0, least - 0.15 * span), largest + 0.06 * span


def _number_lines(ax: Any, rows: list[Row], lines: list[Array]) -> None:
    """The numbers that tell the layers of a shared row apart, as many as fit."""
    at: list[float] = []
    names: list[str] = []
    for row, where in zip(rows, lines, strict=True):
        step = max(1, math.ceil(0.16 / row.pitch))
        at += list(where[: len(row.numbers) : step])
        names += list(row.numbers[::step])
    ax.set_yticks(at, names, fontsize=6.5, color=QUIET)
    ax.tick_params(axis="y", length=0, pad=2)


# ---------------------------------------------------------------- parameters


def _bars(rows: list[Row]) -> tuple[list[float], list[float], float]:
    """Where the labels and the bars are: here a shared row has one bar."""
    labels, lines, height = places([Row(row.label, row.layers[:1]) for row in rows])
    return labels, [float(line[0]) for line in lines], height


def _parameters(ax: Any, selected: list[Row], report: Any) -> None:
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    unit = "bytes" if getattr(report, "by_bytes", False) else "parameters"
    titled(
        ax, f"{unit.capitalize()}, if it were done" if report.dry_run else unit.capitalize(), pad=20
    )
    both = f"{unit}_before", f"{unit}_after"
    counts = [("whole model", *(getattr(report, name) for name in both))]
    for row in selected:
        counts.append((row.label, *(row.total(name) for name in both)))
    rest = getattr(report, both[0]) - sum(before for _, before, _ in counts[1:])
    if rest > 0:
        counts.append(("not selected", rest, rest))
    labels, y, height = _bars([Row(label, (None,)) for label, _, _ in counts])
    for (label, before, after), at, bar in zip(counts, labels, y, strict=True):
        ax.barh(bar, before, height=0.13, color=BEFORE, linewidth=0, zorder=2 + (after > before))
        if after != before:
            ax.barh(bar, after, height=0.13, color=OURS, linewidth=0, zorder=2.5)
        _label(ax, at, label, _change(before, after))
    ax.set_ylim(height, 0.0)
    largest = max(max(before, after) for _, before, after in counts)
    ax.set_xlim(0.0, max(1, largest))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.xaxis.set_major_formatter(lambda value, _: count(value))
    ax.set_yticks([])
    colours = [Patch(color=colour, linewidth=0) for colour in (BEFORE, OURS)]
    _framed(ax, colours, ["before", "after"])


def _change(before: int, after: int) -> str:
    if after == before:
        return f"{count(before)}, as before"
    share = (after - before) / max(1, before)
    return f"{count(after)}, {share:+.1%}".replace("-", "−")


# ---------------------------------------------------------------- singular values


def _spectra(ax: Any, rows: list[Row]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    titled(ax, "Singular values")
    if not rows:
        _say(ax, "no singular values were recorded")
        return
    named = len(rows) <= NAMED
    handles: list[Any] = []
    floor = 1.0
    for index, row in enumerate(rows):
        colour = COLOURS[index % len(COLOURS)] if named else QUIET
        least, middle, largest = _envelope(row)
        at = np.unique(np.linspace(0, len(middle) - 1, POINTS).astype(int))
        if len(row.layers) > 1:
            ax.fill_between(at + 1, least[at], largest[at], color=colour, alpha=0.15, linewidth=0)
        (line,) = ax.plot(
            at + 1, middle[at], color=colour, linewidth=1.4 if named else 0.7,
            linestyle="--" if named and index >= len(COLOURS) else "-",
        )  # fmt: skip
        ranks = np.unique([layer.rank for layer in row.layers])
        ranks = ranks[ranks <= len(middle)]
        ax.plot(
            ranks, middle[ranks - 1], "o", color=colour, markersize=5.5, markeredgecolor="white",
            markeredgewidth=0.9, zorder=4,
        )  # fmt: skip
        handles.append(line)
        floor = min(floor, float(least.min()))
    ax.set_yscale("log")
    ax.set_ylim(0.8 * max(floor, 1e-6), 1.25)
    ax.set_xlim(left=0)
    steps = (1.0,) if floor < 1e-3 else (1.0, 2.0, 5.0)
    ax.yaxis.set_major_locator(LogLocator(subs=steps))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(lambda value, _: f"{100.0 * value:.10g}%")
    ax.set_xlabel("number (dot: the rank kept)", fontsize=8.5)
    ax.set_ylabel("share of the largest", fontsize=8.5)
    ax.tick_params(labelsize=8)
    _grid(ax, "y")
    if named:
        _name_below(ax, handles, [row.label for row in rows])


def _envelope(row: Row) -> tuple[Array, Array, Array]:
    """Least, median and largest over the row's layers of each singular value."""
    spectra = [_normalised(layer) for layer in row.layers]
    values = np.full((len(spectra), max(map(len, spectra))), np.nan)
    for line, spectrum in zip(values, spectra, strict=True):
        line[: len(spectrum)] = spectrum
    return np.nanmin(values, axis=0), np.nanmedian(values, axis=0), np.nanmax(values, axis=0)


def _name_below(ax: Any, handles: list[Any], names: list[str]) -> None:
    """A legend below, whose names may hold anything: no mathematics, no hidden names."""
    numbers = [str(i) for i in range(len(names))]
    look = {"loc": "upper left", "fontsize": 8, "borderpad": 0.0}
    legend = legend_below(ax, 36.0, 0.0, handles, numbers, **look)
    width = int((_axes_width(ax) * 72.0 - 25.0) / 5.2)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(abbreviate(name, width))


def _normalised(layer: Any) -> Array:
    """Positive singular values over the largest."""
    values = np.asarray(layer.spectrum, dtype=np.float64)
    values = values[np.isfinite(values) & (values > 0.0)]
    values = values / values[:1]
    return values[values > 0.0]  # what is left after the division


# ---------------------------------------------------------------- what they share


def _say(ax: Any, text: str) -> None:
    ax.set_axis_off()
    remark(ax, text, (0.0, 1.0), (0.0, -4.0), va="top", fontsize=9)


def _axes_width(ax: Any) -> float:
    """Width in inches of the axes, before any layout engine has seen them."""
    return float(ax.get_position().width * ax.get_figure().get_size_inches()[0])


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _values(values: Any) -> Array:
    return np.array([v if _known(v) else np.nan for v in values], dtype=np.float64)


def _label(ax: Any, at: float, name: str, right: str) -> None:
    """A row's name above it, and what there is to say at its end."""
    width = int(_axes_width(ax) * 72.0 / 0.8 / 5.5) - len(right)
    options = {"transform": ax.get_yaxis_transform(), "va": "center", "clip_on": False}
    ax.text(0.0, at, abbreviate(name, max(12, width)), fontsize=8.5, parse_math=False, **options)
    ax.text(1.0, at, right, fontsize=8, ha="right", color=QUIET, **options)


def _framed(ax: Any, handles: list[Any], names: list[str]) -> None:
    """A legend above, the lower line of a frame, and lines upward from its numbers."""
    ax.legend(
        handles, names, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False,
        fontsize=8, borderaxespad=0.2, borderpad=0.0, handletextpad=0.5, columnspacing=1.4,
    )  # fmt: skip

    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="x", labelsize=8)
    _grid(ax, "x")


def _grid(ax: Any, axis: str) -> None:
    open_frame(ax)
    ax.grid(axis=axis, color=BAND, linewidth=0.7)
    ax.set_axisbelow(True)
