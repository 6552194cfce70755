"""Where descents of several subspaces start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle

import numpy as np

from lpgeom.geometry.grassmann import Frame
from lpgeom.groups.base import Labels
from lpgeom.groups.lloyd import NEIGHBOURS, Points
from lpgeom.rows.array import dense
from lpgeom.rows.base import Array

MOST_ROWS = 1 << 15
"""Rows on which lines and cones are looked for."""

TURNS = 8
"""Rounds of the search for lines and cones."""


def starts(points: Points, U: Array, j: int, count: int) -> Iterator[tuple[str, Sequence[Frame]]]:
    """`count` seeded starts, or the one that costs nothing where few different rows allow it.

    U are the eigenvectors of the rows' Gram, eigenvalues ascending.
    """
    groups = _groups(points, j)
    if groups is not None:
        yield "groups", _frames(points, groups, j)
        return
    for _, kind in zip(range(count), cycle(ORDER), strict=False):
        yield kind, KINDS[kind](points, U, j)


def _frames(points: Points, labels: Labels, j: int) -> list[Frame]:
    """The leading subspace of each label's rows; one through some rows where there are none."""
    found = points.refitted(labels, j)
    whole: Frame | None = None
    frames = []
    for frame in found:
        if frame is None:
            frame = points.through(points.norms, NEIGHBOURS * points.k)
        if frame is None:
            whole = whole or points.leading(np.flatnonzero(points.norms))
            frame = whole
        frames.append(frame)
    return frames


def _rows(points: Points, U: Array, j: int) -> list[Frame]:
    return _spread_out(points, j, NEIGHBOURS * points.k)


def _few_rows(points: Points, U: Array, j: int) -> list[Frame]:
    """Hardly more rows than k."""
    return _spread_out(points, j, points.k + 1 + points.k // 5)


def _spread_out(points: Points, j: int, count: int) -> list[Frame]:
    """One subspace after the other, each through `count` rows of nearly one direction.

    The first of them is drawn in proportion to what it costs so far (as k-means++ does with
    points).
    """
    t = points.norms.copy()
    frames: list[Frame] = []
    while len(frames) < j:
        frame = points.through(t, count)
        if frame is None:  # nothing costs anything any more
            frames += [frames[-1]] * (j - len(frames))
            break
        frames.append(frame)
        t = np.minimum(t, points.scaled(points.squared_distances(frame)))
    return frames


def _directions(points: Points, U: Array, j: int, *, signed: bool) -> list[Frame]:
    """Rows grouped by direction: weighted k-means on the sphere, or on lines through 0.

    Rows weigh what they cost when approximated by 0. -1 for rows that were not looked at.
    """
    rng = points.rng
    alive = np.flatnonzero(points.norms)
    if alive.size > MOST_ROWS:
        alive = np.sort(rng.choice(alive, size=MOST_ROWS, replace=False))
    X = dense(points.rows.take(alive)).astype(points.rows.dtype)
    X /= np.linalg.norm(X, axis=1)[:, None]
    share = points.shares(points.norms[alive])
    assert share is not None  # the rank of the rows exceeds k
    centres = np.empty((j, X.shape[1]), X.dtype)
    far = np.ones(alive.size)
    for c in range(j):
        weight = share * far
        total = float(weight.sum())
        weight = weight / total if total > 0.0 else share
        centres[c] = X[rng.choice(alive.size, p=weight)]
        s = X @ centres[c]
        far = np.minimum(far, np.maximum(1.0 - (s if signed else s * s), 0.0))
    for _ in range(TURNS):
        S = X @ centres.T
        own = (S if signed else np.abs(S)).argmax(axis=1)
        for c in range(j):
            index = np.flatnonzero(own == c)
            if index.size == 0:
                continue
            weight = share[index] if signed else share[index] * np.sign(S[index, c])
            mean = weight @ X[index]
            length = float(np.linalg.norm(mean))
            if length > 0.0:
                centres[c] = mean / length
    labels = np.full(points.norms.size, -1, dtype=np.intp)
    labels[alive] = own
    return _frames(points, labels, j)


def _split(points: Points, U: Array, j: int) -> list[Frame]:
    """Grouped by the direction that a row leans to most, of the first j that the SVD leaves out."""
    n, d = points.rows.shape
    largest = np.full(n, -1.0)
    labels = np.zeros(n, dtype=np.intp)
    for c in range(min(j, d - points.k)):
        u = U[:, d - points.k - 1 - c]
        s = points.rows.quadratic_form(u[:, None])
        labels[s > largest] = c
        np.maximum(largest, s, out=largest)
    return _frames(points, labels, j)


def _random(points: Points, U: Array, j: int) -> list[Frame]:
    return _frames(points, points.rng.integers(j, size=points.norms.size), j)


KINDS: dict[str, Callable[[Points, Array, int], list[Frame]]] = {
    "rows": _rows,
    "few rows": _few_rows,
    "lines": partial(_directions, signed=False),
    "cones": partial(_directions, signed=True),
    "split": _split,
    "random": _random,
}
"""Starts by name: subspaces through rows, or of rows grouped by direction (with or without -a
counting as a), by what the SVD leaves out, or by lot. A new kind is an entry here, and in ORDER."""

ORDER = ["rows", "lines", "cones", "rows", "split", "few rows", "lines", "cones", "rows", "random"]
"""The order in which kinds of starts are tried, again and again."""


def _groups(points: Points, j: int) -> Labels | None:
    """Labels that cost nothing, if the different rows are no more than j k; else None."""
    alive = np.flatnonzero(points.norms)
    most = j * points.k
    if alive.size > most:
        # Equal rows have equal lengths: cheap to see where there are too many different ones.
        if np.unique(points.norms[alive]).size > most:
            return None
        X = dense(points.take(alive))
        different, which = np.unique(X, axis=0, return_inverse=True)
        if len(different) > most:
            return None
        which = which.ravel()
    else:
        which = np.arange(alive.size)
    labels = np.full(points.norms.size, -1, dtype=np.intp)
    labels[alive] = which // points.k
    return labels
