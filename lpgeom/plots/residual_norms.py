"""Which rows a subspace does not fit: distances to it, with a robust threshold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.geometry.ellipsoids.record import vector_lengths
from lpgeom.io import validation
from lpgeom.io.validation import Array
from lpgeom.plots.style import COLOURS, QUIET, axes_for, finished, remark
from lpgeom.records.base import EPS

Mask = NDArray[np.bool_]
Kinds = list[tuple[Mask, str, dict[str, Any]]]

DEVIATIONS = 4.0
"""A row this many of the inliers' standard deviations beyond the median is called outlying."""

NORMAL = 1.4826
"""The standard deviation of normal numbers over their median absolute deviation."""

_BLOCK_BYTES = 8 << 20


def residuals(
    A: ArrayLike,
    result: Any,
    ax: Any = None,
    *,
    kind: str = "sorted",
    names: Any = None,
    named: int = 5,
) -> Any:
    """Draw the distances of the rows of A to a subspace, and which of them are outlying.

    A row is called outlying if its distance is above ``median + 4 * 1.4826 * MAD`` of all
    distances, where MAD is the median of ``|distance - median|``: four standard deviations, were
    the distances of inliers normal, and moved by none of the others as long as these are fewer than
    half of the rows. What is within rounding of its own row's length is never outlying.

    Parameters
    ----------
    A : array_like, shape (n, d)
        The rows; of a dataframe the index gives their names.
    result : SubspaceResult, AffineResult, fitted LpPCA, FactorResult, or array_like of shape (d, k)
        What fits them: the distance of row i is ``||a_i - a_i V V^T||``, about the centre c of an
        affine subspace ``||(a_i - c) - (a_i - c) V V^T||``, for factors ``||a_i - left_i right||``.
        In units of A, without row weights.
    ax : matplotlib.axes.Axes, optional
        A new figure if not given.
    kind : {"sorted", "histogram"}
        Distances from the largest to the smallest, or how many there are of each size.
    names : sequence, optional
        Names of the rows. If not given: the index of a dataframe, else their numbers.
    named : int
        How many of the outlying rows to name, the farthest first.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib is missing.
    TypeError, ValueError
        An A that is not a finite real matrix, a result for another number of columns, names of
        another length.

    Examples
    --------
    >>> import lpgeom
    >>> from lpgeom import datasets, plots
    >>> A = datasets.load("contaminated", n=200, d=8, k=2).A  # 10 rows are off
    >>> ax = plots.residuals(A, lpgeom.approx_subspace(A, 2))
    >>> ax.get_legend().get_texts()[1].get_text()
    '10 outlying rows'
    """
    validation.check_choice("kind", kind, ("sorted", "histogram"))
    if isinstance(named, bool) or not isinstance(named, int) or named < 0:
        raise ValueError(f"named must be an integer >= 0, got {named!r}")
    array = validation.check_matrix(A)
    validation.largest_entries(array)
    labels = labels_of(A, names, len(array))
    r, lengths = _distances(array, result)
    limit = threshold(r)
    out = (r > limit) & (r > 64.0 * math.sqrt(array.shape[1]) * EPS * lengths)
    ax = axes_for(ax, 6.4, 4.2)
    order = np.argsort(-r, kind="stable")
    (_sorted if kind == "sorted" else _histogram)(ax, r[order], _kinds(out[order]), limit)
    _name(ax, [(labels[i], r[i]) for i in order[: min(named, int(out.sum()))]], kind)
    return finished(ax, loc="best", fontsize=9)


def threshold(r: Array) -> float:
    """``median + DEVIATIONS * NORMAL * MAD`` of distances."""
    middle = float(np.median(r))
    return middle + DEVIATIONS * NORMAL * float(np.median(np.abs(r - middle)))


def labels_of(A: Any, names: Any, n: int) -> list[str]:
    """Names of n rows: those given, the index of a dataframe, or numbers."""
    if names is None:
        index = getattr(A, "index", None)  # a list has a method of that name
        names = index if index is not None and not callable(index) else range(n)
    found = [str(name) for name in names]
    if len(found) != n:
        raise ValueError(f"names must have {n} entries, one for each row, got {len(found)}")
    return found


def _distances(A: Any, result: Any) -> tuple[Array, Array]:
    """Distance of every row, and the length that its rounding is relative to."""
    n, d = A.shape
    result = getattr(result, "result_", result)  # of an estimator
    if hasattr(result, "fit"):
        raise ValueError(f"this {type(result).__name__} is not fitted yet: call fit first")
    left: Any = getattr(result, "left", None)
    centre = np.zeros(d)
    V: Any = None
    if left is not None:
        right = np.asarray(result.right, dtype=np.float64)
        if (left.shape[0], right.shape[1]) != (n, d):
            raise ValueError(f"the factors are for shape {(left.shape[0], right.shape[1])}")
    elif hasattr(result, "centre"):
        centre, V = validation.check_point("centre", result.centre, d), result.basis
    else:
        V = validation.check_basis(getattr(result, "basis", result), d)
    shift = float(vector_lengths(centre))
    r, lengths = np.empty(n), np.empty(n)
    step = max(1, _BLOCK_BYTES // (8 * d))
    for lo in range(0, n, step):
        part = slice(lo, min(lo + step, n))
        block = np.asarray(A[part], dtype=np.float64) - centre
        fit = left[part] @ right if V is None else (block @ V) @ V.T
        r[part] = vector_lengths(block - fit)
        lengths[part] = vector_lengths(block) + shift
    return r, lengths


def _kinds(out: Mask) -> Kinds:
    """The rows that fit and those that do not: which they are, a marker, and how they are drawn."""
    return [
        (mask, marker, {"color": colour, "label": f"{int(mask.sum())} {word} rows", "zorder": 3})
        for mask, marker, colour, word in (
            (~out, ".", COLOURS[0], "other"),
            (out, "o", COLOURS[1], "outlying"),
        )
    ]


def _sorted(ax: Any, r: Array, kinds: Kinds, limit: float) -> None:
    place = np.arange(1.0, r.size + 1.0)
    for chosen, marker, look in kinds:
        ax.plot(place[chosen], r[chosen], marker, markersize=4.5, **look)
    ax.axhline(limit, color="0.3", linewidth=1.0, linestyle="--", zorder=2, label="threshold")
    if _wide(r):
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0.0)
    if r.size > 50:
        ax.set_xscale("log")
    ax.set(xlabel="row, from the farthest", ylabel="distance")


def _histogram(ax: Any, r: Array, kinds: Kinds, limit: float) -> None:
    positive = r[r > 0.0]
    if _wide(r):
        edges = np.geomspace(positive.min(), positive.max() * (1.0 + 1e-9), 41)
        ax.set_xscale("log")
    else:
        top = float(r.max()) or 1.0
        edges = np.linspace(0.0, top * (1.0 + 1e-9), 41)
    kept = np.clip(r, edges[0], edges[-1])
    for chosen, _, look in kinds:
        ax.hist(kept[chosen], bins=edges, **look)
    ax.set_yscale("symlog", linthresh=1.0)  # a single row is to be seen beside thousands
    ax.set_ylim(bottom=0.0)
    ax.axvline(limit, color="0.3", linewidth=1.0, linestyle="--", zorder=4, label="threshold")
    ax.set(xlabel="distance", ylabel="rows")


def _wide(r: Array) -> bool:
    """Whether distances differ so much that a linear axis would show one size only."""
    positive = r[r > 0.0]
    return positive.size > 1 and float(positive.max()) > 30.0 * float(np.median(positive))


def _name(ax: Any, farthest: list[tuple[str, float]], kind: str) -> None:
    """Names at their dots, or above all in a line where dots are in one bar."""
    shown = [(text if len(text) <= 24 else text[:23] + "…", r) for text, r in farthest]
    if kind == "histogram":
        if shown:
            ax.set_title(
                "farthest: " + ", ".join(text for text, _ in shown), loc="right", fontsize=8,
                color=QUIET, parse_math=False,
            )  # fmt: skip
        return
    for place, (text, r) in enumerate(shown, 1):
        remark(
            ax, text, (place, r), (2.0, 4.0), xycoords="data", rotation=40.0, zorder=6,
            rotation_mode="anchor", parse_math=False, annotation_clip=False,
        )  # fmt: skip
