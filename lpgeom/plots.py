"""Pictures: cost against rank with what is impossible shaded, and l_p balls with ellipsoids.

Nothing is shown on a screen and nothing global is changed: each function draws into the axes given,
or into a figure of its own, and returns the axes. `save` writes them.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lpgeom import validation
from lpgeom.atomic import write_atomically
from lpgeom.ellipsoids import Ellipsoid
from lpgeom.geometry.loewner import loewner_ellipsoid
from lpgeom.tables import records

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lpgeom.results import Array

SUFFIXES = (".png", ".svg", ".pdf")
OURS = "lpgeom"
VALUES = {"cost": "cost", "norm_error": "norm error", "ratio": "cost / lower bound, in norms"}

# Okabe and Ito's palette, which people with any colour vision tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5C5C5C", "#8B6D00")
_MARKERS = "osD^vP*X<>phd8"
_BAND = "#E8E8E8"


def plot_compare(table: Any, ax: Any = None, *, value: str = "cost") -> Any:
    """Draw a comparison: a line for each method, and below the lower bound what no subspace can.

    Parameters
    ----------
    table : pandas.DataFrame or lpgeom.tables.Table
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
    >>> ax = plots.plot_compare(table)
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
        ax = _axes(width=7.0, height=4.6 if len(ks) > 1 else 0.3 * len(_methods(rows)) + 1.4)
    if len(ks) > 1:
        _against_rank(ax, rows, ks, bounds, value)
    else:
        _one_rank(ax, rows, ks[0], bounds[0], value)
    n, d = table.attrs["shape"]
    entries = ", entries" if table.attrs.get("objective") == "entries" else ""
    ax.set_title(f"{n} × {d}, p = {p:g}{entries}", loc="left", fontsize=10)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


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
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
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
        ax.fill_between(ks, bounds, low_end, color=_BAND, zorder=1, label="proved: nothing is here")
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
        ax.axvspan(left, bound, color=_BAND, zorder=1)
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


# ---------------------------------------------------------------- balls


def plot_ball(A: ArrayLike, p: float, ax: Any = None) -> Any:
    """Draw the ball ``{x : ||A x||_p <= 1}`` with its Löwner and Lewis ellipsoids, d = 2 or 3.

    Parameters
    ----------
    A : array_like, shape (n, 2) or (n, 3)
        Of full column rank.
    p : float
        >= 1, or inf.
    ax : matplotlib.axes.Axes, optional
        For d = 3 axes with a 3-D projection. A new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
        Each ellipsoid around the ball; for d = 2 also, dashed, shrunk by its proved alpha, inside.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        A has another number of columns, or a lower rank.

    Examples
    --------
    >>> from lpgeom import plots
    >>> ax = plots.plot_ball([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]], p=1.0)
    >>> [text.get_text()[:6] for text in ax.get_legend().get_texts()]
    ['l1 bal', 'shallo', 'Lewis,']
    """
    A = np.asarray(validation.check_matrix(A), dtype=np.float64)
    p = validation.check_p(p, infinite=True)
    d = A.shape[1]
    if d not in (2, 3):
        raise ValueError(f"a ball can be drawn for 2 or 3 columns, A has {d}")
    if not np.isfinite(A).all():
        raise ValueError("A has entries that are not finite (NaN or infinite)")
    if np.linalg.matrix_rank(A) < d:
        raise ValueError(f"A has a rank below {d}: its ball is unbounded")
    ellipsoids = {
        "shallow cuts": loewner_ellipsoid(A, p, "shallow-cut"),
        "Lewis": loewner_ellipsoid(A, p, "lewis"),
    }
    if ax is None:
        ax = _axes(5.2, 5.2, three=d == 3)
    (_ball2d if d == 2 else _ball3d)(ax, A, p, ellipsoids)
    return ax


def _ball2d(ax: Any, A: Array, p: float, ellipsoids: dict[str, Ellipsoid]) -> None:
    # The corners of the ball are where a row vanishes: drawn exactly.
    corners = np.arctan2(-A[:, 0], A[:, 1])
    angle = np.concatenate([np.linspace(0.0, 2.0 * np.pi, 720), corners, corners + np.pi])
    angle = np.sort(angle % (2.0 * np.pi))
    angle = np.append(angle, angle[0])
    circle = np.stack([np.cos(angle), np.sin(angle)])
    ball = circle / _norm(A @ circle, p)
    ax.fill(*ball, color=_BAND, zorder=1, label=f"l{p:g} ball of {len(A)} rows")
    ax.plot(*ball, color="black", linewidth=1.6, zorder=4)
    for colour, (name, E) in zip(_COLOURS, ellipsoids.items(), strict=False):
        curve = _surface(E, circle)
        ax.plot(*curve, color=colour, linewidth=1.6, zorder=3, label=_label(name, E))
        ax.plot(*(curve / E.alpha), color=colour, linewidth=1.1, linestyle="--", zorder=3)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False, fontsize=9)
    ax.set_aspect("equal")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _ball3d(ax: Any, A: Array, p: float, ellipsoids: dict[str, Ellipsoid]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    polar, turn = np.meshgrid(np.linspace(0, np.pi, 91), np.linspace(0, 2 * np.pi, 181))
    sphere = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)])
    flat = sphere.reshape(3, -1)
    ball = (flat / _norm(A @ flat, p)).reshape(sphere.shape)
    ax.plot_surface(
        *ball, color="0.85", linewidth=0, antialiased=False, shade=True, rstride=1, cstride=1,
        zorder=1,
    )  # fmt: skip
    # Its edges are where a row vanishes.
    turn = np.linspace(0.0, 2.0 * np.pi, 361)
    for row in A[np.any(A != 0.0, axis=1)]:
        across = np.linalg.svd(row[None, :])[2][1:]
        edge = across.T @ np.stack([np.cos(turn), np.sin(turn)])
        ax.plot(*(1.005 * edge / _norm(A @ edge, p)), color="black", linewidth=0.8, zorder=2)
    handles: list[Any] = [Patch(color="0.75", label=f"l{p:g} ball of {len(A)} rows")]
    for colour, (name, E) in zip(_COLOURS, ellipsoids.items(), strict=False):
        surface = _surface(E, flat).reshape(sphere.shape)
        ax.plot_wireframe(*surface, color=colour, linewidth=0.8, alpha=0.9, rstride=15, cstride=15)
        label = f"{name}, proved α = {E.alpha:.3g}"
        handles.append(Line2D([], [], color=colour, label=label))
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.02), frameon=False, fontsize=9
    )
    reach = 1.02 * max(np.abs(_surface(E, flat)).max() for E in ellipsoids.values())
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    ax.set_axis_off()
    ax.set_box_aspect((1.0, 1.0, 1.0), zoom=1.45)
    ax.view_init(elev=18.0, azim=35.0)


def _norm(Y: Array, p: float) -> Array:
    """||y||_p of each column."""
    return np.linalg.norm(Y, ord=p, axis=0)


def _surface(E: Ellipsoid, directions: Array) -> Array:
    """Points of the ellipsoid's boundary in these directions (columns)."""
    return directions / E.gauge(directions.T)


def _label(name: str, E: Ellipsoid) -> str:
    return f"{name}, and shrunk by α = {E.alpha:.3g}"


# ---------------------------------------------------------------- files


def save(ax: Any, path: str | os.PathLike[str], *, dpi: int = 110) -> None:
    """Write the figure that holds `ax` to .png, .svg or .pdf, complete or not at all.

    Raises
    ------
    ValueError
        Another suffix.

    Examples
    --------
    >>> import os, tempfile
    >>> from lpgeom import plots
    >>> ax = plots.plot_ball([[1.0, 0.0], [0.0, 2.0]], p=1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plots.save(ax, os.path.join(folder, "ball.png"))
    ...     os.listdir(folder)
    ['ball.png']
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: the name must end in {', '.join(SUFFIXES)}")
    picture = io.BytesIO()
    figure = ax.get_figure()
    figure.savefig(picture, format=suffix[1:], dpi=dpi, bbox_inches="tight")
    write_atomically(path, lambda file: file.write(picture.getvalue()))


def _axes(width: float, height: float, *, three: bool = False) -> Any:
    """Axes of a new figure, which no global list keeps alive."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'lpgeom[plot]'") from error
    figure = Figure(figsize=(width, height))
    if three:
        return figure.add_subplot(projection="3d", proj_type="ortho")
    return figure.add_subplot()
