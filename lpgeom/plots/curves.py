"""Cost over the rank: what was found, what the SVD costs, and what is proved impossible."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lpgeom.io import validation
from lpgeom.plots.style import BAND, COLOURS, new_axes, open_frame

if TYPE_CHECKING:
    from lpgeom.records.curve import CostCurve
    from lpgeom.records.subspace import Array

VALUES = {
    "cost": "cost",
    "norm_error": "norm error",
    "share": "share of the cost of rank 0",
    "ratio": "cost / lower bound, in norms",
}


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
    value : {"cost", "norm_error", "share", "ratio"}
        Costs (p-th powers), their p-th roots, costs over the cost of rank 0, or the certified ratio
        of norms.
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
    validation.check_choice("value", value, tuple(VALUES))
    if value == "ratio" and not np.isfinite(curve.ratio).all():
        raise ValueError("the curve has no finite ratio at every rank: draw its cost")
    ours, theirs, bound = _in_units(curve, value)
    if not np.isfinite(ours).all():
        raise ValueError('costs leave the range of floats: draw value="norm_error"')
    if ax is None:
        ax = new_axes(6.4, 4.2)
    if log:
        ax.set_yscale("log")
    ks = curve.ks
    ax.plot(
        ks, _drawn(ours, log), color="black", marker="o", markersize=4.5, linewidth=1.8, zorder=5,
        label="lpgeom",
    )  # fmt: skip
    if svd:
        ax.plot(
            ks, _drawn(theirs, log), color=COLOURS[1], marker="s", markersize=3.5, linewidth=1.0,
            zorder=4, label="SVD",
        )  # fmt: skip
    ax.margins(y=0.05)
    if curve.certified and bound.max() > 0.0:
        _shade(ax, ks, bound, log, value)
    if not log:
        ax.set_ylim(bottom=0.0 if value != "ratio" else None)
    ax.set_xlabel("rank k")
    ax.set_ylabel(VALUES[value])
    if len(ks) <= 12:
        ax.set_xticks(ks)
    n, d = curve.shape
    p = "∞" if math.isinf(curve.p) else f"{curve.p:g}"
    ax.set_title(f"{n} × {d}, p = {p}", loc="left", fontsize=10)
    ax.legend(loc="best", frameon=False, fontsize=9)
    open_frame(ax)
    return ax


def _shade(ax: Any, ks: Any, bound: Array, log: bool, value: str) -> None:
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
        zorder=1, label="proved: nothing is here",
    )  # fmt: skip
    ax.step(x, _drawn(y, log), where="pre", color="0.4", linewidth=0.9, linestyle="--", zorder=2)
    if log or value == "ratio":
        ax.set_ylim(floor, high)


def _in_units(curve: CostCurve, value: str) -> tuple[Array, Array, Array]:
    """Costs found, costs of the SVD, and lower bounds, in the units drawn."""
    root = 1.0 if math.isinf(curve.p) else 1.0 / curve.p
    if value == "cost":
        return curve.cost, curve.svd_cost, curve.lower_bound
    if value == "norm_error":
        with np.errstate(over="ignore"):
            return curve.norm_error, curve.svd_cost**root, curve.lower_bound**root
    if value == "share":
        total = curve.total or 1.0
        return curve.cost / total, curve.svd_cost / total, curve.lower_bound / total
    over = np.divide(curve.svd_cost, curve.cost, out=np.ones(len(curve)), where=curve.cost > 0.0)
    return curve.ratio, curve.ratio * over**root, np.ones(len(curve))


def _drawn(values: Array, log: bool) -> Array:
    """Zeros have no place on a logarithmic axis."""
    return np.where(values > 0.0, values, np.nan) if log else values
