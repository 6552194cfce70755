"""The pictures of the documentation, made from seeded data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import lpgeom
from lpgeom import datasets, plots

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
METHODS = ("lpgeom", "svd", "reaper", "r1_pca", "spherical_pca", "tyler", "l1_pca")
PLANE = [[1.0, 0.2], [0.5, 0.9], [-0.7, 0.6], [0.1, 0.8]]
SPACE = [[1.0, 0.2, 0.1], [0.3, 0.9, -0.2], [-0.5, 0.6, 0.8], [0.1, -0.4, 0.9], [0.7, 0.6, 0.5]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=FOLDER)


def run(options: argparse.Namespace) -> dict[str, Any]:
    options.folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "ball2d.png": plots.plot_ball(PLANE, 1.0),
        "ball3d.png": plots.plot_ball(SPACE, 1.0),
    }
    points = np.random.default_rng(0).standard_normal((80, 4)) * [3.0, 1.0, 2.0, 1.0]
    drawn["ellipsoid.png"] = plots.ellipsoid(
        lpgeom.min_volume_ellipsoid(points), points, dims=(0, 2)
    )
    if not options.quick:
        A = datasets.load("contaminated").A
        drawn["cost-curve.png"] = plots.cost_curve(
            lpgeom.cost_curve(A, 1.0, [1, 2, 3, 4, 5, 6, 8, 10, 12, 15]), value="share"
        )
        cells = datasets.load("breast-cancer").A
        drawn["residuals.png"] = plots.residuals(cells, lpgeom.approx_subspace(cells, 2))
        table = lpgeom.compare(A, [1, 2, 3, 4, 5, 6, 8, 10], methods=METHODS)
        drawn["compare-contaminated.png"] = plots.compare(table)
        table = lpgeom.compare(datasets.load("digits").A, [2, 5, 10, 20, 30, 40], methods=METHODS)
        drawn["compare-digits.png"] = plots.compare(table, value="ratio")
    for name, ax in drawn.items():
        plots.save(ax, options.folder / name)
        print(f"{name}: {(options.folder / name).stat().st_size / 1000:.0f} kB")
    return {"pictures": sorted(drawn)}
