"""Cost against rank, a line for each method, with what is impossible shaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lpgeom.io import validation
from lpgeom.io.tables import records
from lpgeom.plots.style import BAND, COLOURS, MARKERS, new_axes, open_frame

if TYPE_CHECKING:
    from lpgeom.records.subspace import Array

OURS = "lpgeom"
VALUES = {"cost": "cost", "norm_error": "norm error", "ratio": "cost / lower bound, in norms"}


def compare(table: Any, ax: Any = None, *, value: str = "cost") -> Any:
    """Draw a comparison: a line for each method, and below the lower bound what no subspace can.

    Parameters
    ----------
    table : pandas.DataFrame or lpgeom.io.tables.Table
        From `lpgeom.compare`. Rows of NaN (methods that failed) are left out.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if not given.
    value : {"cost", "norm_error", "ratio"}
        What to draw: cost (p-th powers), its p-th root, or the certified ratio of norms. With
        several seeds it is the median, with a bar from least to largest.

    Returns
    -------
    matplotlib.axes.Axes
        Against rank; a dot for each method, ordered, if there is one rank only.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        No row to draw, or another `value`.

    Examples
    --------
    >>> import lpgeom
    >>> from lpgeom import datasets, plots
    >>> A = datasets.load("contaminated", n=200, d=8, k=2).A
    >>> table = lpgeom.compare(A, [1, 2, 3], methods=["lpgeom", "svd"])
    >>> ax = plots.compare(table)
    >>> ax.get_xlabel()
    'rank k'
    """
    validation.check_choice("value", value, tuple(VALUES))
    rows = [row for row in records(table) if math.isfinite(row[value])]
    if not rows:
        raise ValueError(f"the table has no finite {value} to draw")
    p = float(table.attrs["p"])
    ks = sorted({row["k"] for row in rows})
    bounds = [_bound_in_units(rows, k, p, value) for k in ks]
    if ax is None:
        ax = new_axes(width=7.0, height=4.6 if len(ks) > 1 else 0.3 * len(_methods(rows)) + 1.4)
    if len(ks) > 1:
        _against_rank(ax, rows, ks, bounds, value)
    else:
        _one_rank(ax, rows, ks[0], bounds[0], value)
    n, d = table.attrs["shape"]
    entries = ", entries" if table.attrs.get("objective") == "entries" else ""
    ax.set_title(f"{n} × {d}, p = {p:g}{entries}", loc="left", fontsize=10)
    open_frame(ax)
    return ax


plot_compare = compare
"""The former name."""


def _methods(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Methods in the order of their mean cost over the best."""
    names = dict.fromkeys(row["method"] for row in rows)

    def excess(name: str) -> float:
        return float(np.mean([row["cost_over_best"] for row in rows if row["method"] == name]))

    return sorted(names, key=lambda name: (name != OURS, excess(name)))


def _bound_in_units(rows: Sequence[dict[str, Any]], k: int, p: float, value: str) -> float:
    """The lower bound of rank k in the units drawn."""
    if value == "ratio":
        return 1.0
    bound = float(next(row["lower_bound"] for row in rows if row["k"] == k))
    return bound if value == "cost" or math.isinf(p) else bound ** (1.0 / p)


def _spread(rows: Sequence[dict[str, Any]], method: str, k: int, value: str) -> Array | None:
    """(least, median, largest) over the seeds."""
    values = [row[value] for row in rows if row["method"] == method and row["k"] == k]
    return np.quantile(values, [0.0, 0.5, 1.0]) if values else None


def _style(index: int, method: str) -> dict[str, Any]:
    if method == OURS:
        return {"color": "black", "marker": "o", "linewidth": 2.2, "zorder": 5, "markersize": 6}
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linewidth": 1.0,
        "zorder": 3,
        "markersize": 4.5,
    }


def _against_rank(
    ax: Any, rows: Sequence[dict[str, Any]], ks: list[int], bounds: list[float], value: str
) -> None:
    for index, method in enumerate(_methods(rows)):
        spreads = [(k, _spread(rows, method, k, value)) for k in ks]
        known = [(k, s) for k, s in spreads if s is not None]
        x = [k for k, _ in known]
        low, middle, high = np.array([s for _, s in known]).T
        ax.errorbar(
            x, middle, yerr=[middle - low, high - middle], label=method, capsize=2,
            **_style(index, method),
        )  # fmt: skip
    if any(bound > 0.0 for bound in bounds):
        low_end = 0.0 if value != "ratio" else 1.0 - 0.06 * (max(r[value] for r in rows) - 1.0)
        ax.fill_between(ks, bounds, low_end, color=BAND, zorder=1, label="proved: nothing is here")
        ax.plot(ks, bounds, color="0.4", linewidth=1.0, linestyle="--", zorder=2)
    ax.set_xlabel("rank k")
    ax.set_ylabel(VALUES[value])
    ax.set_xticks(ks)
    if value != "ratio":
        ax.set_ylim(bottom=0.0)
    else:
        ax.set_ylim(bottom=low_end if any(bound > 0.0 for bound in bounds) else None)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8)


def _one_rank(ax: Any, rows: Sequence[dict[str, Any]], k: int, bound: float, value: str) -> None:
    methods = _methods(rows)[::-1]
    for place, method in enumerate(methods):
        spread = _spread(rows, method, k, value)
        assert spread is not None
        low, middle, high = spread
        style = _style(len(methods) - 1 - place, method)
        ax.errorbar(
            middle, place, xerr=[[middle - low], [high - middle]], capsize=2,
            **{**style, "linewidth": 1.2},
        )  # fmt: skip
    largest = max(row[value] for row in rows)
    left = bound - 0.08 * (largest - bound) if bound > 0.0 else 0.0
    if bound > 0.0:
        ax.axvspan(left, bound, color=BAND, zorder=1)
        ax.axvline(bound, color="0.4", linewidth=1.0, linestyle="--", zorder=2)
        ax.annotate(
            "proved: nothing is left of this", (bound, 0.0), xytext=(4, 2),
            xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8,
            color="0.35",
        )  # fmt: skip
    ax.set_xlim(left, largest + 0.05 * (largest - left))
    ax.set_yticks(range(len(methods)), methods, fontsize=9)
    ax.set_ylim(-0.9, len(methods) - 0.4)
    ax.set_xlabel(f"{VALUES[value]} at rank {k}")
