"""Singular values of the layers of a compression, with the ranks kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lpgeom.plots.layers import Row, abbreviate
from lpgeom.plots.style import BAND, COLOURS, QUIET, axes_width, open_frame, say

if TYPE_CHECKING:
    from lpgeom.records.subspace import Array

NAMED = 2 * len(COLOURS)  # rows that colours and dashes tell apart; more are drawn alike
_POINTS = 160  # of a drawn spectrum


def draw_spectra(ax: Any, rows: list[Row]) -> None:
    ax.set_title("Singular values", loc="left", fontsize=10)
    if not rows:
        say(ax, "no singular values were recorded")
        return
    named = len(rows) <= NAMED
    handles: list[Any] = []
    floor = 1.0
    for index, row in enumerate(rows):
        colour = COLOURS[index % len(COLOURS)] if named else QUIET
        least, middle, largest = _envelope(row)
        at = np.unique(np.linspace(0, len(middle) - 1, _POINTS).astype(int))
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
    ax.yaxis.set_major_locator(_log_locator(decades_only=floor < 1e-3))
    ax.yaxis.set_minor_locator(_no_locator())
    ax.yaxis.set_major_formatter(lambda value, _: f"{100.0 * value:.10g}%")
    ax.set_xlabel("number (dot: the rank kept)", fontsize=8.5)
    ax.set_ylabel("share of the largest", fontsize=8.5)
    ax.tick_params(labelsize=8)
    ax.grid(axis="y", color=BAND, linewidth=0.7)
    ax.set_axisbelow(True)
    open_frame(ax)
    if named:
        _name_below(ax, handles, [row.label for row in rows])


def _envelope(row: Row) -> tuple[Array, Array, Array]:
    """Least, median and largest over the row's layers of each singular value."""
    spectra = [normalised(layer) for layer in row.layers]
    values = np.full((len(spectra), max(len(s) for s in spectra if s is not None)), np.nan)
    for line, spectrum in zip(values, spectra, strict=True):
        assert spectrum is not None
        line[: len(spectrum)] = spectrum
    return np.nanmin(values, axis=0), np.nanmedian(values, axis=0), np.nanmax(values, axis=0)


def _name_below(ax: Any, handles: list[Any], names: list[str]) -> None:
    """A legend below, whose names may hold anything: no mathematics, no hidden names."""
    from matplotlib.transforms import offset_copy

    below = offset_copy(ax.transAxes, ax.get_figure(), y=-36.0, units="points")
    legend = ax.legend(
        handles, [str(i) for i in range(len(names))], loc="upper left", frameon=False, fontsize=8,
        bbox_to_anchor=(0.0, 0.0), bbox_transform=below, borderaxespad=0.0, borderpad=0.0,
    )  # fmt: skip
    width = int((axes_width(ax) * 72.0 - 25.0) / 5.2)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(abbreviate(name, width))


def _log_locator(*, decades_only: bool) -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0,) if decades_only else (1.0, 2.0, 5.0))


def _no_locator() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def normalised(layer: Any) -> Array | None:
    """Positive singular values over the largest; None if there are none."""
    values = np.asarray(layer.spectrum, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0 or values[0] <= 0.0:
        return None
    values = values / values[0]
    return values[values > 0.0]
