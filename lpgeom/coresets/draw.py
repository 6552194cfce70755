"""Independent draws, one from each of `size` strata of equal probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows.base import Array
from lpgeom.rows.vectors import entries, passed


def stratified(weights: Array, uniforms: Array) -> tuple[NDArray[np.int64], Array]:
    """Rows drawn in proportion to `weights`, ascending, and ``draws / (size * prob)`` of each.

    The rows lie on [0, 1) one after another, each as long as its probability; draw j falls
    uniformly, by ``uniforms[j]``, into the j-th of `size` equal parts. Row i is expected
    ``size * prob_i`` times, so that its factor is 1 on average; and the sum over independent draws
    varies no more than that of as many draws from the whole.
    """
    size = len(uniforms)
    found, total = passed(weights, (np.arange(size) + uniforms) / size)
    indices, draws = np.unique(found, return_counts=True)
    return indices.astype(np.int64), draws * (total / entries(weights, indices)) / size
