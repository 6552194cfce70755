"""Pictures: costs with what is impossible shaded, outliers, ellipsoids, compressions of a model.

May import every room below it; begin with `costs` (`compare`, `cost_curve`). Nothing is shown on a
screen and nothing global is changed: each function draws into the axes given, or into a figure of
its own, and returns what it drew on. `save` writes it.
"""

from __future__ import annotations

from lpgeom.plots.compression import compression_picture, plot_compression
from lpgeom.plots.costs import OURS, VALUES, compare, cost_curve, plot_compare
from lpgeom.plots.ellipsoids import ellipsoid, plot_ball
from lpgeom.plots.files import SUFFIXES, save, svg
from lpgeom.plots.outliers import outlier_map
from lpgeom.plots.residual_norms import residuals

__all__ = [
    "OURS",
    "SUFFIXES",
    "VALUES",
    "compare",
    "compression_picture",
    "cost_curve",
    "ellipsoid",
    "outlier_map",
    "plot_ball",
    "plot_compare",
    "plot_compression",
    "residuals",
    "save",
    "svg",
]
