"""Cost against rank, a line for each method, with what is impossible shaded."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from lpgeom.io import validation
from lpgeom.io.tables import records
from lpgeom.io.validation import Array
from lpgeom.plots.style import (
    BAND,
    COLOURS,
    MARKERS,
    axes_for,
    finished,
    open_frame,
    remark,
    titled,
)
from lpgeom.records.curve import CostCurve

Spreads = dict[str, dict[int, Array]]

OURS = "lpgeom"
VALUES = {"cost": "cost", "norm_error": "norm error", "ratio": "cost / lower bound, in norms"}
CURVE_VALUES = VALUES | {"share": "share of the cost of rank 0"}
PROVED = "proved: nothing is here"


def _title(ax: Any, shape: Sequence[int], p: str) -> None:
    titled(ax, f"{shape[0]} × {shape[1]}, p = {p}")


# ---------------------------------------------------------------- comparisons


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
    bounds = {row["k"]: _bound_in_units(row, p, value) for row in rows}
    ks = sorted(bounds)
    spreads = _spreads(rows, value)
    ax = axes_for(ax, 7.0, 4.6 if len(ks) > 1 else 0.3 * len(spreads) + 1.4)
    entries = ", entries" if table.attrs.get("objective") == "entries" else ""
    _title(ax, table.attrs["shape"], f"{p:g}{entries}")
    if len(ks) == 1:
        _one_rank(ax, spreads, ks[0], bounds[ks[0]], value)
        open_frame(ax)
        return ax
    _against_rank(ax, spreads)
    _over_ranks(ax, ks, np.array([bounds[k] for k in ks]), value)
    return finished(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8)


plot_compare = compare
"""The former name."""


def _bound_in_units(row: dict[str, Any], p: float, value: str) -> float:
    """The lower bound of a row's rank in the units drawn."""
    if value == "ratio":
        return 1.0
    bound = float(row["lower_bound"])
    return bound if value == "cost" or math.isinf(p) else bound ** (1.0 / p)


def _spreads(rows: Sequence[dict[str, Any]], value: str) -> Spreads:
    """(least, median, largest) over the seeds by method and rank; the best method first."""
    excess: dict[str, list[float]] = defaultdict(list)
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        excess[row["method"]].append(row["cost_over_best"])
        values[row["method"]][row["k"]].append(row[value])
    return {
        name: {k: np.quantile(seeds, [0.0, 0.5, 1.0]) for k, seeds in sorted(values[name].items())}
        for name in sorted(excess, key=lambda name: (name != OURS, float(np.mean(excess[name]))))
    }


def _style(index: int, method: str) -> dict[str, Any]:
    if method == OURS:
        return {"color": "black", "marker": "o", "linewidth": 2.2, "zorder": 5, "markersize": 6}
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    return {"color": colour, "marker": marker, "linewidth": 1.0, "zorder": 3, "markersize": 4.5}


def _against_rank(ax: Any, spreads: Spreads) -> None:
    for index, (method, seeds) in enumerate(spreads.items()):
        low, middle, high = np.array(list(seeds.values())).T
        ax.errorbar(
            list(seeds), middle, yerr=[middle - low, high - middle], label=method, capsize=2,
            **_style(index, method),
        )  # fmt: skip


def _one_rank(ax: Any, spreads: Spreads, k: int, bound: float, value: str) -> None:
    largest = max(float(seeds[k][-1]) for seeds in spreads.values())
    for index, (method, seeds) in enumerate(spreads.items()):
        low, middle, high = seeds[k]
        ax.errorbar(
            middle, len(spreads) - 1 - index, xerr=[[middle - low], [high - middle]], capsize=2,
            **_style(index, method) | {"linewidth": 1.2},
        )  # fmt: skip
    left = bound - 0.08 * (largest - bound) if bound > 0.0 else 0.0
    if bound > 0.0:
        ax.axvspan(left, bound, color=BAND, zorder=1)
        ax.axvline(bound, color="0.4", linewidth=1.0, linestyle="--", zorder=2)
        place = {"xycoords": ("data", "axes fraction"), "color": "0.35"}
        remark(ax, "proved: nothing is left of this", (bound, 0.0), (4, 2), **place)
    ax.set_xlim(left, largest + 0.05 * (largest - left))
    ax.set_yticks(range(len(spreads)), list(spreads)[::-1], fontsize=9)
    ax.set_ylim(-0.9, len(spreads) - 0.4)
    ax.set_xlabel(f"{VALUES[value]} at rank {k}")


# ---------------------------------------------------------------- curves


def cost_curve(
    curve: CostCurve, ax: Any = None, *, value: str = "cost", svd: bool = True, log: bool = False
) -> Any:
    """Draw a cost curve: costs over the rank, and below the lower bound what no subspace can.

    Parameters
    ----------
    curve : CostCurve
        From `lpgeom.cost_curve`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if not given.
    value : {"cost", "norm_error", "ratio", "share"}
        Costs (p-th powers), their p-th roots, the certified ratio of norms, or costs over the cost
        of rank 0.
    svd : bool
        Whether to draw the truncated SVD too.
    log : bool
        A logarithmic axis. Zeros are left out there.

    Returns
    -------
    matplotlib.axes.Axes
        The shaded region ends in steps: between two ranks of the curve the bound of the larger one
        is what is proved.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        Another `value`; "ratio" without a certificate; costs beyond the range of floats, for which
        "norm_error" still has numbers.

    Examples
    --------
    >>> import lpgeom
    >>> from lpgeom import datasets, plots
    >>> A = datasets.load("contaminated", n=200, d=8, k=2).A
    >>> ax = plots.cost_curve(lpgeom.cost_curve(A, p=1.0, ks=range(1, 8)))
    >>> ax.get_xlabel(), [line.get_label() for line in ax.lines][:2]
    ('rank k', ['lpgeom', 'SVD'])
    """
    validation.check_choice("value", value, tuple(CURVE_VALUES))
    if value == "ratio" and not np.isfinite(curve.ratio).all():
        raise ValueError("the curve has no finite ratio at every rank: draw its cost")
    ours, theirs, bound = _in_units(curve, value)
    if not np.isfinite(ours).all():
        raise ValueError('costs leave the range of floats: draw value="norm_error"')
    ax = axes_for(ax, 6.4, 4.2)
    if log:
        ax.set_yscale("log")
    ks = curve.ks
    ax.plot(ks, _drawn(ours, log), label=OURS, **_style(0, OURS))
    if svd:
        ax.plot(ks, _drawn(theirs, log), label="SVD", **_style(1, "SVD"))
    ax.margins(y=0.05)
    _over_ranks(ax, ks, bound, value, log)
    _title(ax, curve.shape, "∞" if math.isinf(curve.p) else f"{curve.p:g}")
    return finished(ax, loc="best", fontsize=9)


def _in_units(curve: CostCurve, value: str) -> tuple[Array, Array, Array]:
    """Costs found, costs of the SVD, and lower bounds, in the units drawn."""
    root = 1.0 if math.isinf(curve.p) else 1.0 / curve.p
    if value == "norm_error":
        with np.errstate(over="ignore"):
            return curve.norm_error, curve.svd_cost**root, curve.lower_bound**root
    if value != "ratio":
        total = 1.0 if value == "cost" else curve.total or 1.0
        return curve.cost / total, curve.svd_cost / total, curve.lower_bound / total
    over = np.divide(curve.svd_cost, curve.cost, out=np.ones(len(curve)), where=curve.cost > 0.0)
    return curve.ratio, curve.ratio * over**root, np.ones(len(curve))


# ---------------------------------------------------------------- what they share


def _over_ranks(ax: Any, ks: Any, bound: Array, value: str, log: bool = False) -> None:
    """Axes over ranks, on which lines are drawn already; what cannot be is shaded."""
    if bound.max() > 0.0:
        _shade(ax, ks, bound, value, log)
    if not log and value != "ratio":
        ax.set_ylim(bottom=0.0)
    ax.set(xlabel="rank k", ylabel=CURVE_VALUES[value])
    if len(ks) <= 12:
        ax.set_xticks(ks)


def _shade(ax: Any, ks: Any, bound: Array, value: str, log: bool) -> None:
    low, high = ax.get_ylim()
    if log:
        floor = min(low, 0.8 * float(bound[bound > 0.0].min()))
    else:
        floor = 1.0 - 0.12 * max(high - 1.0, 0.01) if value == "ratio" else 0.0
    # Half a rank to the left of the first, so that one rank alone has a region too.
    x = np.concatenate([[ks[0] - 0.4], ks]).astype(float)
    y = np.concatenate([[bound[0]], bound])
    ax.fill_between(
        x, np.maximum(y, floor) if log else y, floor, step="pre", color=BAND, linewidth=0.0,
        zorder=1, label=PROVED,
    )  # fmt: skip
    ax.step(x, _drawn(y, log), where="pre", color="0.4", linewidth=0.9, linestyle="--", zorder=2)
    if log or value == "ratio":
        ax.set_ylim(floor, high)


def _drawn(values: Array, log: bool) -> Array:
    """Zeros have no place on a logarithmic axis."""
    return np.where(values > 0.0, values, np.nan) if log else values
