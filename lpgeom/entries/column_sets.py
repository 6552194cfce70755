"""Sets of k columns of a matrix whose span may be a good subspace for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from lpgeom.rows.base import Array
from lpgeom.rows.place import place_of

EXHAUSTIVE = 200
"""Up to this many sets all are tried."""


def is_exhaustive(d: int, k: int) -> bool:
    """Whether `column_sets` gives all sets of k of d columns."""
    return math.comb(d, k) <= EXHAUSTIVE


def column_sets(B: Array, k: int, p: float, count: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """All sets of k columns, if they are few; or `count` of them.

    Of the latter the first are the pivots of a QR decomposition, the others are drawn with
    probability in proportion to the columns' ``sum |b|^p``. Some k columns span a subspace within
    a factor k + 1 of the best one in norm (Chierichetti, Gollapudi, Kumar, Lattanzi, Panigrahy,
    Woodruff, "Algorithms for l_p low-rank approximation", ICML 2017). Where errors are heavy
    tailed, columns as they are can be as good as anything: they have no error themselves.
    """
    d = B.shape[1]
    if is_exhaustive(d, k):
        yield from (np.array(J) for J in combinations(range(d), k))
        return
    host = place_of(B).host  # what is no longer than a row is chosen from there
    triangle = host(np.linalg.qr(B, mode="r"))
    yield scipy.linalg.qr(triangle, mode="r", pivoting=True)[1][:k]
    top = float(np.abs(B).max()) or 1.0
    weight = host(((np.abs(B) / top) ** p).sum(axis=0))
    share = weight / weight.sum()
    if np.count_nonzero(share) <= k:
        return  # the pivots are all the columns that are not zero
    rng = np.random.default_rng(seed)
    for _ in range(count - 1):
        yield rng.choice(d, size=k, replace=False, p=share)
