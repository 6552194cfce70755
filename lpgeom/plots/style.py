"""What the pictures share: colours, figures that nothing global keeps, frames."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's palette, which people with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5C5C5C", "#8B6D00")
MARKERS = "osD^vP*X<>phd8"
BAND = "#E8E8E8"  # what is proved impossible
QUIET = "#707070"  # remarks beside the picture


def drawing() -> Any:
    """matplotlib, of which nothing is loaded before.

    Raises
    ------
    ImportError
        It is missing.
    """
    try:
        import matplotlib.figure
        import matplotlib.style
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'lpgeom[plot]'") from error
    return matplotlib


def new_figure(width: float, height: float, **options: Any) -> Any:
    """A figure that no global list keeps alive; sizes in inches."""
    return drawing().figure.Figure(figsize=(width, height), **options)


def axes_for(ax: Any, width: float, height: float, *, three: bool = False) -> Any:
    """The axes that were given, or those of a new figure."""
    if ax is not None:
        return ax
    figure = new_figure(width, height)
    if three:
        return figure.add_subplot(projection="3d", proj_type="ortho")
    return figure.add_subplot()


def titled(ax: Any, text: str, **options: Any) -> None:
    """A title on the left."""
    ax.set_title(text, loc="left", fontsize=10, **options)


def remark(ax: Any, text: str, at: Any, shift: tuple[float, float], **look: Any) -> None:
    """A few quiet words, so many points from a place of the axes."""
    usual = {"xycoords": "axes fraction", "fontsize": 8, "color": QUIET}
    ax.annotate(text, at, xytext=shift, textcoords="offset points", **usual | look)


def finished(ax: Any, **legend: Any) -> Any:
    """The axes with a legend and an open frame."""
    ax.legend(frameon=False, **legend)
    open_frame(ax)
    return ax


def open_frame(ax: Any) -> None:
    """Keep the axes' left and bottom lines only."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def legend_below(ax: Any, points: float, at: float, *entries: Any, **options: Any) -> Any:
    """A legend so far below the axes, however flat the picture is."""
    from matplotlib.transforms import offset_copy

    below = offset_copy(ax.transAxes, ax.get_figure(), y=-points, units="points")
    return ax.legend(
        *entries, bbox_to_anchor=(at, 0.0), bbox_transform=below, borderaxespad=0.0, frameon=False,
        **options,
    )  # fmt: skip
