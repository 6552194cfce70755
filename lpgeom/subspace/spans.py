"""The subspaces through k of the rows, all of them, where these are few (theory 4)."""

from __future__ import annotations

import math
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.grassmann import Frame, largest_sine
from lpgeom.rows.array import gathered
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.vectors import fetched
from lpgeom.subspace.search import SAME

ENTRIES = 1 << 12
"""Entries of A, at most, for rows to be looked at in sets."""

SETS = 1 << 12
"""Sets of rows, at most."""

WORK = 4e6
"""Products, at most, in the QRs and in the residuals of all rows: some 10 ms."""

CHUNK = 256
"""Subspaces looked at at once: their residuals stay in the cache."""

LOOKED_AT = 32
"""Of the cheapest ones, to tell different ones from each other."""


STARTS = 4
"""Of the cheapest ones, how many a descent is worth."""


def through_rows(rows: Rows, k: int, p: float, count: int = STARTS) -> list[Frame]:
    """The cheapest subspaces through k rows, best first; none where too many would have to be
    looked at.

    For p = 1 and k = d - 1 the first of them is an optimum. A set of dependent rows stands for some
    subspace that holds them. Zero rows and repeated ones are left out: they make no new subspace.

    Parameters
    ----------
    rows : Rows
        n rows in R^d.
    k : int
        1 <= k < d.
    p : float
        1 <= p < 2.
    count : int
        Subspaces to give, at most, of which no two are the same by the measure of the search.

    Returns
    -------
    list of Frame

    Notes
    -----
    One pass; C(n, k) full QRs of d x k and as many products of (n, d) with (d, d - k), within
    `SETS` and `WORK`. Nothing is drawn by lot.
    """
    n, d = rows.shape
    near = rows.local() if n * d <= ENTRIES else None
    if near is None:
        return []
    A = gathered(near, np.flatnonzero(fetched(near.squared_norms()) > 0.0))
    different = np.unique(A, axis=0)
    size = math.comb(len(different), k)
    if not 0 < size <= SETS or size * d * (len(A) * (d - k) + d * d) > WORK:
        return []
    sets = _sets(len(different), k)
    cost = np.concatenate(
        [
            _costs(A, _completed(different, sets[lo : lo + CHUNK])[:, :, k:], p)
            for lo in range(0, len(sets), CHUNK)
        ]
    )
    order = np.argsort(cost, kind="stable")[:LOOKED_AT]
    found: list[Frame] = []
    for Q in _completed(different, sets[order]):
        frame = Frame(np.ascontiguousarray(Q[:, :k]), np.ascontiguousarray(Q[:, k:]))
        if all(largest_sine(other.V, frame.V) >= SAME for other in found):
            found.append(frame)
        if len(found) == count:
            break
    return found


def _sets(n: int, k: int) -> NDArray[np.intp]:
    """All sets of k of n indices, shape (C(n, k), k), in lexicographic order."""
    flat = chain.from_iterable(combinations(range(n), k))
    return np.fromiter(flat, dtype=np.intp, count=math.comb(n, k) * k).reshape(-1, k)


def _completed(A: Array, sets: NDArray[np.intp]) -> Array:
    """Orthogonal (d, d) matrices whose first k columns hold the rows of a set."""
    return np.linalg.qr(A[sets].transpose(0, 2, 1), mode="complete")[0]


def _costs(A: Array, W: Array, p: float) -> Array:
    """``sum_i ||a_i W||^p`` for every W of shape (d, m) in a stack."""
    Y = A @ W
    t = np.einsum("sij,sij->si", Y, Y)
    cost: Array = (t ** (p / 2.0)).sum(axis=1)
    return cost
