"""Pictures: comparisons with what is impossible shaded, l_p balls, compressions of a model.

Nothing is shown on a screen and nothing global is changed: each function draws into the axes given,
or into a figure of its own, and returns what it drew on. `save` writes it.
"""

from __future__ import annotations

from lpgeom.plots.balls import plot_ball
from lpgeom.plots.compare import OURS, VALUES, plot_compare
from lpgeom.plots.compression import compression_picture, plot_compression
from lpgeom.plots.files import SUFFIXES, save, svg

__all__ = [
    "OURS",
    "SUFFIXES",
    "VALUES",
    "compression_picture",
    "plot_ball",
    "plot_compare",
    "plot_compression",
    "save",
    "svg",
]
