"""Balls of l_p norms with the ellipsoids that round them, in two and three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lpgeom.geometry.ellipsoids.loewner import loewner_ellipsoid
from lpgeom.geometry.ellipsoids.record import Ellipsoid
from lpgeom.io import validation
from lpgeom.plots.style import BAND, COLOURS, new_axes, open_frame

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lpgeom.records.subspace import Array


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
        ax = new_axes(5.2, 5.2, three=d == 3)
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
    ax.fill(*ball, color=BAND, zorder=1, label=f"l{p:g} ball of {len(A)} rows")
    ax.plot(*ball, color="black", linewidth=1.6, zorder=4)
    for colour, (name, E) in zip(COLOURS, ellipsoids.items(), strict=False):
        curve = _surface(E, circle)
        ax.plot(*curve, color=colour, linewidth=1.6, zorder=3, label=_label(name, E))
        ax.plot(*(curve / E.alpha), color=colour, linewidth=1.1, linestyle="--", zorder=3)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False, fontsize=9)
    ax.set_aspect("equal")
    open_frame(ax)


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
    for colour, (name, E) in zip(COLOURS, ellipsoids.items(), strict=False):
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
