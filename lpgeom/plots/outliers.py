"""The outlier map: distance from a subspace against distance within it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.affine.robust.distances import KINDS
from lpgeom.affine.robust.distances import outlier_map as distances
from lpgeom.plots.residual_norms import labels_of
from lpgeom.plots.style import COLOURS, axes_for, finished, remark

MARKERS = (".", "^", "s", "o")


def outlier_map(
    A: ArrayLike,
    result: Any,
    ax: Any = None,
    *,
    names: Any = None,
    named: int = 10,
    **options: Any,
) -> Any:
    """Draw orthogonal against score distances, with their cut-offs, and name what lies beyond.

    Left and below both lines are regular rows; right of one only, good leverage points; above one
    only, orthogonal outliers; beyond both, bad leverage points, which turn a fit.

    Parameters
    ----------
    A : array_like, shape (n, d)
        The rows; of a dataframe the index gives their names.
    result : AffineResult or fitted LpPCA
    ax : matplotlib.axes.Axes, optional
        A new figure if not given.
    names : sequence, optional
        Names of the rows. If not given: the index of a dataframe, else their numbers.
    named : int
        How many of the flagged rows to name, those farthest beyond a cut-off first.
    **options
        Options of `lpgeom.outlier_map`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib or scikit-learn is missing.
    TypeError, ValueError
        Those of `lpgeom.outlier_map`; names of another length.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> from lpgeom import plots
    >>> A = np.random.default_rng(0).standard_normal((60, 4))
    >>> A *= [5.0, 3.0, 0.1, 0.1]
    >>> A[:3] += [60.0, 0.0, 9.0, 0.0]
    >>> ax = plots.outlier_map(A, lpgeom.approx_affine(A, 2, support_fraction=0.5))
    >>> ax.get_legend().get_texts()[-1].get_text()
    '3 bad leverage'
    """
    if isinstance(named, bool) or not isinstance(named, int) or named < 0:
        raise ValueError(f"named must be an integer >= 0, got {named!r}")
    found = distances(A, result, **options)
    names = labels_of(A, names, len(found.score))
    ax = axes_for(ax, 6.4, 4.6)
    finite = found.score[np.isfinite(found.score)]
    edge = 1.1 * max(float(finite.max(initial=0.0)), found.score_cutoff)
    x, y = np.minimum(found.score, edge), found.orthogonal
    for kind, marker, colour in zip(KINDS, MARKERS, COLOURS, strict=False):
        there = found.kinds == kind
        if there.any():
            ax.plot(
                x[there], y[there], marker, color=colour, markersize=5.0, linestyle="none",
                label=f"{int(there.sum())} {kind}", zorder=3,
            )  # fmt: skip
    line = {"color": "0.3", "linewidth": 1.0, "linestyle": "--", "zorder": 2}
    ax.axvline(found.score_cutoff, **line)
    ax.axhline(found.orthogonal_cutoff, **line)
    beyond = np.maximum(
        x / found.score_cutoff, y / (found.orthogonal_cutoff or float(y.max(initial=0.0)) or 1.0)
    )
    flagged = np.flatnonzero(found.flagged)
    for i in flagged[np.argsort(-beyond[flagged], kind="stable")][:named]:
        text = names[i] if len(names[i]) <= 24 else names[i][:23] + "…"
        remark(
            ax, text, (x[i], y[i]), (4.0, 2.0), xycoords="data", zorder=6, parse_math=False,
            annotation_clip=False,
        )  # fmt: skip
    ax.set_xlim(left=0.0)
    ax.set_ylim(bottom=0.0)
    ax.set(xlabel="score distance", ylabel="orthogonal distance")
    return finished(ax, loc="best", fontsize=9)
