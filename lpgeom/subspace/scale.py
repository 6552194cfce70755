"""The scale in which a problem is solved, for high p."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lpgeom.geometry.spectrum import Spectrum
from lpgeom.rows.door import Problem


def centred(problem: Problem, pca: Spectrum, k: int) -> tuple[Problem, Spectrum]:
    """For p > 2, rescale so that the SVD's root mean squared residual is near 1.

    High powers of residuals far from 1 would leave the range of float64. A power of two again, so
    nothing is rounded.
    """
    if problem.p <= 2.0:
        return problem, pca
    m = pca.eigvals.size - k
    mean = float(np.maximum(pca.eigvals[:m], 0.0).sum()) / problem.rows.shape[0]
    if mean <= 0.0:
        return problem, pca
    # 2^480 keeps squared norms of the rows inside float64.
    e = min(max(-round(0.5 * math.log2(mean)), -480), 480, exponents_left(problem.scale))
    factor = math.ldexp(1.0, e)
    return rescaled(problem, problem.unit / factor), replace(pca, eigvals=pca.eigvals * factor**2)


def exponents_left(scale: float) -> int:
    """How often the scale of the rows can be doubled."""
    return 1020 - math.frexp(scale)[1]


def rescaled(problem: Problem, unit: float) -> Problem:
    """The same problem with another unit (a power of two away)."""
    factor = problem.unit / unit
    if factor == 1.0:
        return problem
    rows = problem.rows.scaled(factor)
    return replace(problem, rows=rows, scale=problem.scale * factor, unit=unit)


def check_cost(cost: float, p: float) -> None:
    """For k < rank(A), where no subspace costs 0.

    Raises
    ------
    OverflowError
        It is 0 all the same: `centred` could not enlarge rows near the end of float64 enough.
    """
    if cost == 0.0:
        raise OverflowError(
            f"A is so near the smallest float that residuals to the power p = {p:g} come to "
            "0; multiply A by a power of ten"
        )
