"""Independent draws, one from each of `size` strata of equal probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows.base import Array


def stratified(weights: Array, uniforms: Array) -> tuple[NDArray[np.int64], Array]:
    """Rows drawn in proportion to `weights`, ascending, and ``draws / (size * prob)`` of each.

    The rows lie on [0, 1) one after another, each as long as its probability; draw j falls
    uniformly, by ``uniforms[j]``, into the j-th of `size` equal parts. Row i is expected
    ``size * prob_i`` times, so that its factor is 1 on average; and the sum over independent draws
    varies no more than that of as many draws from the whole.
    """
    size = len(uniforms)
    ends = np.cumsum(weights)
    places = (np.arange(size) + uniforms) / size * ends[-1]
    found = np.searchsorted(ends, places, side="right")
    # A place may round up to the very end.
    found = np.minimum(found, np.flatnonzero(weights)[-1])
    indices, draws = np.unique(found, return_counts=True)
    return indices.astype(np.int64), draws * (ends[-1] / weights[indices]) / size
