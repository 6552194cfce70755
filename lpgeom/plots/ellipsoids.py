"""Ellipsoids on a plane of two coordinates, and around the balls of l_p norms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.geometry.ellipsoids.loewner import loewner_ellipsoid
from lpgeom.geometry.ellipsoids.record import Ellipsoid
from lpgeom.io import validation
from lpgeom.io.validation import Array
from lpgeom.plots.style import BAND, COLOURS, axes_for, finished, legend_below, open_frame

TOUCHING = 1e-3
"""A point is on the boundary if its gauge is that close to 1."""

VIEWS = {"shadow": "shadow of the ellipsoid", "cut": "cut through the centre"}

_STEPS = 361


def ellipsoid(
    E: Ellipsoid,
    A: ArrayLike | None = None,
    ax: Any = None,
    *,
    dims: tuple[int, int] = (0, 1),
    view: str = "shadow",
) -> Any:
    """Draw an ellipsoid, with points, on the plane of two coordinates.

    Parameters
    ----------
    E : Ellipsoid
        It has any dimension d >= 2; for d = 2 it is drawn as it is.
    A : array_like, shape (n, d), optional
        Points in the ellipsoid's space (of `lpgeom.min_volume_ellipsoid` those it is about).
        Those on its boundary, and those outside, are marked by their gauge in d dimensions.
    ax : matplotlib.axes.Axes, optional
        A new figure if not given.
    dims : tuple of int
        The two coordinates, different ones; the first is drawn to the right.
    view : {"shadow", "cut"}
        The shadow ``{(x_i, x_j) : x in E}``, which contains the shadows of all points in E, or the
        cut by the plane through the centre, in which all other coordinates are the centre's.

    Returns
    -------
    matplotlib.axes.Axes
        With equal units on both axes.

    Raises
    ------
    ImportError
        matplotlib is missing.
    TypeError, ValueError
        One dimension only; dims out of range or equal; points of another dimension; an ellipsoid
        that is unbounded on that plane; a cut of a flat ellipsoid.

    Notes
    -----
    With the semi-axes as columns of B the shadow is ``center + P B u`` over ``||u|| <= 1``, P the
    projection: an ellipse whose semi-axes come from an SVD of the 2 x d matrix P B. The cut has
    the form of the 2 x 2 block of `shape`.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> from lpgeom import plots
    >>> points = np.random.default_rng(0).standard_normal((50, 4))
    >>> E = lpgeom.min_volume_ellipsoid(points)
    >>> ax = plots.ellipsoid(E, points, dims=(0, 2))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('x[0]', 'x[2]')
    """
    if not isinstance(E, Ellipsoid):
        raise TypeError(f"E must be an lpgeom.Ellipsoid, got {type(E).__name__}")
    validation.check_choice("view", view, tuple(VIEWS))
    d = E.center.size
    i, j = _dims(dims, d)
    pair = [i, j]
    B = _shadow(E, pair) if view == "shadow" else _cut(E, pair)
    points = None
    if A is not None:
        points = np.asarray(validation.check_matrix(A), dtype=np.float64)
        validation.largest_entries(points)
        if points.shape[1] != d:
            raise ValueError(f"A has {points.shape[1]} columns, the ellipsoid {d} dimensions")
    ax = axes_for(ax, 5.2, 5.2)
    angle = np.linspace(0.0, 2.0 * np.pi, _STEPS)
    outline = E.center[pair, None] + B @ _circle(angle)
    label = "ellipsoid" if d == 2 else VIEWS[view]
    ax.fill(*outline, color=BAND, zorder=1)
    ax.plot(*outline, color=COLOURS[0], linewidth=1.6, zorder=3, label=label)
    ax.plot(*E.center[pair], "+", color=COLOURS[0], markersize=9, zorder=5, label="centre")
    if points is not None:
        _points(ax, E, points, pair)
    ax.set(xlabel=f"x[{i}]", ylabel=f"x[{j}]")
    ax.set_aspect("equal", adjustable="box")
    legend_below(ax, 38.0, 0.5, loc="upper center", fontsize=9, ncol=2)
    open_frame(ax)
    return ax


def _dims(dims: Any, d: int) -> tuple[int, int]:
    if d < 2:
        raise ValueError("an ellipsoid of one dimension has no plane to be drawn on")
    try:
        i, j = (int(x) for x in dims)
    except (TypeError, ValueError) as error:
        raise ValueError(f"dims must be two coordinates, got {dims!r}") from error
    if not (0 <= i < d and 0 <= j < d):
        raise ValueError(f"dims must lie between 0 and {d - 1}, got {dims!r}")
    if i == j:
        raise ValueError(f"dims must be two different coordinates, got {dims!r}")
    return i, j


def _shadow(E: Ellipsoid, pair: list[int]) -> Array:
    """(2, 2) image of the unit circle."""
    directions, lengths = E.axes[pair], E.lengths
    endless = ~np.isfinite(lengths)
    if np.abs(directions[:, endless]).max(initial=0.0) > 1e-9:
        raise ValueError(
            f"the ellipsoid is unbounded on the plane of dims = {tuple(pair)}: draw a cut, or "
            "other coordinates"
        )
    U, s, _ = np.linalg.svd(directions[:, ~endless] * lengths[~endless])
    s = np.concatenate([s, np.zeros(2 - s.size)])
    return np.asarray(U * s)


def _cut(E: Ellipsoid, pair: list[int]) -> Array:
    if E.basis is not None:
        raise ValueError("a flat ellipsoid has no cut by a plane of coordinates: draw its shadow")
    root = E.root
    if root is None:
        lam, U = np.linalg.eigh(E.shape)
        root = np.sqrt(np.maximum(lam, 0.0))[:, None] * U.T
    _, s, Vt = np.linalg.svd(root[:, pair])
    if s.size < 2 or s[1] <= 1e-12 * s[0]:
        raise ValueError(f"the ellipsoid is unbounded on the plane of dims = {tuple(pair)}")
    return np.asarray(Vt.T / s)


def _points(ax: Any, E: Ellipsoid, points: Array, pair: list[int]) -> None:
    gauge = E.gauge(points)
    outside = gauge > 1.0 + TOUCHING
    touching = ~outside & (gauge >= 1.0 - TOUCHING)
    for chosen, colour, marker, size, word in (
        (~outside & ~touching, COLOURS[6], ".", 4.0, "inside"),
        (touching, COLOURS[2], "o", 5.0, "on the boundary"),
        (outside, COLOURS[1], "X", 6.0, "outside"),
    ):
        if chosen.any():
            ax.plot(
                *points[chosen][:, pair].T, marker, color=colour, markersize=size, zorder=4,
                label=f"{int(chosen.sum())} {word}",
            )  # fmt: skip


def _circle(angle: Array) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)])


# ---------------------------------------------------------------- balls


def plot_ball(A: ArrayLike, p: float, ax: Any = None) -> Any:
    """Draw the ball ``{x : ||A x||_p <= 1}`` with its Löwner and Lewis ellipsoids, d = 2 or 3.

    Parameters
    ----------
    A : array_like, shape (n, 2) or (n, 3)
        A matrix of full column rank.
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
    validation.largest_entries(A)
    if np.linalg.matrix_rank(A) < d:
        raise ValueError(f"A has a rank below {d}: its ball is unbounded")
    around = {
        "shallow cuts": (COLOURS[0], loewner_ellipsoid(A, p, "shallow-cut")),
        "Lewis": (COLOURS[1], loewner_ellipsoid(A, p, "lewis")),
    }
    ax = axes_for(ax, 5.2, 5.2, three=d == 3)
    (_ball2d if d == 2 else _ball3d)(ax, A, p, around)
    return ax


def _ball2d(ax: Any, A: Array, p: float, around: dict[str, tuple[str, Ellipsoid]]) -> None:
    # The corners of the ball are where a row vanishes: drawn exactly.
    corners = np.arctan2(-A[:, 0], A[:, 1])
    angle = np.concatenate([np.linspace(0.0, 2.0 * np.pi, 720), corners, corners + np.pi])
    angle = np.sort(angle % (2.0 * np.pi))
    angle = np.append(angle, angle[0])
    circle = _circle(angle)
    ball = circle / _norm(A @ circle, p)
    ax.fill(*ball, color=BAND, zorder=1, label=f"l{p:g} ball of {len(A)} rows")
    ax.plot(*ball, color="black", linewidth=1.6, zorder=4)
    for name, (colour, E) in around.items():
        curve = _surface(E, circle)
        label = f"{name}, and shrunk by α = {E.alpha:.3g}"
        ax.plot(*curve, color=colour, linewidth=1.6, zorder=3, label=label)
        ax.plot(*(curve / E.alpha), color=colour, linewidth=1.1, linestyle="--", zorder=3)
    ax.set_aspect("equal")
    finished(ax, loc="upper center", bbox_to_anchor=(0.5, -0.08), fontsize=9)


def _ball3d(ax: Any, A: Array, p: float, around: dict[str, tuple[str, Ellipsoid]]) -> None:
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
        edge = across.T @ _circle(turn)
        ax.plot(*(1.005 * edge / _norm(A @ edge, p)), color="black", linewidth=0.8, zorder=2)
    handles: list[Any] = [Patch(color="0.75", label=f"l{p:g} ball of {len(A)} rows")]
    for name, (colour, E) in around.items():
        surface = _surface(E, flat).reshape(sphere.shape)
        ax.plot_wireframe(*surface, color=colour, linewidth=0.8, alpha=0.9, rstride=15, cstride=15)
        label = f"{name}, proved α = {E.alpha:.3g}"
        handles.append(Line2D([], [], color=colour, label=label))
    finished(ax, handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.02), fontsize=9)
    reach = 1.02 * max(np.abs(_surface(E, flat)).max() for _, E in around.values())
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
