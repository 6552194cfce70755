"""Every lower bound that applies, for a subspace already found."""

from __future__ import annotations

import math

from lpgeom.bounds.evidence import Evidence
from lpgeom.bounds.linear import chord, lewis_bounds, spectral
from lpgeom.bounds.minimax import minimax_bounds
from lpgeom.bounds.power import power
from lpgeom.bounds.radial.bound import radial_bounds
from lpgeom.bounds.relaxation import mixed, relaxation
from lpgeom.records.subspace import Bound
from lpgeom.rows.base import Rows

RADIAL = ("radial_quartic", "radial", "radial_two")

SMALL = 1 << 22
"""Up to this many entries of A, "fast" computes the dominated bounds too."""


def lower_bounds(
    rows: Rows,
    evidence: Evidence,
    k: int,
    p: float,
    level: str,
    seed: int,
    progress: bool = False,
) -> list[Bound]:
    """Lower bounds on the cost of every rank-k subspace, in the scaled units of the rows.

    Parameters
    ----------
    rows : Rows
    evidence : Evidence
        The subspace found, its residuals, and the Lewis weights if they are known.
    k : int
        1 <= k < rank of the rows.
    p : float
        p >= 1.
    level : {"fast", "tight", "all"}
        "fast" leaves out what it knows to be dominated, if A is large: the chord bound (at p = 1
        its relaxation is weaker than 3d row by row), and for 1 < p < 2 the plain relaxation
        (weaker than 3e row by row). "tight" adds, for p < 2, the radial bound 3i, whose family of
        row minorants contains those of 3g and 3h and reaches further; for p > 2 it solves the
        relaxation to the end, and for p = inf takes more steps. "all" leaves out nothing, and
        lists 3g and 3h by themselves.
    seed : int
        For the random starts of the radial bounds.
    progress : bool

    Returns
    -------
    list of Bound
        Largest first. Passes over A: p = 1 about 3 (one in float64); 1 < p < 2 about 3 a step of
        the search; p = 2 one; p > 2 two a step.
    """
    n, d = rows.shape
    if p == 2.0:
        return [spectral(rows, k)]
    if math.isinf(p):
        return sorted(minimax_bounds(rows, evidence, k, level), key=lambda b: -b.scaled_value)
    large = n * d > SMALL
    everything = level == "all" or not large
    # A relaxation that the radial bound will pass need not be solved to its last digits.
    effort = "fast" if level == "fast" or (level == "tight" and large and p < 2.0) else "tight"
    bounds = []
    if evidence.lewis is not None and (p < 2.0 or everything):
        bounds += lewis_bounds(rows, evidence.lewis, k, p)
    if p > 2.0:
        bounds.append(power(rows, evidence, k, p, effort))
    else:
        if p > 1.0:
            relaxed = mixed(rows, evidence, k, p, effort)
        else:
            relaxed = relaxation(rows, evidence, k, p, effort)
        bounds.append(relaxed)
        if p > 1.0 and everything:
            bounds.append(relaxation(rows, evidence, k, p, effort))
        if everything:
            bounds.append(chord(rows, k, p))
        if level != "fast":
            names = RADIAL if level == "all" else RADIAL[:1]
            bounds += radial_bounds(rows, relaxed, k, p, seed=seed, progress=progress, names=names)
    return sorted(bounds, key=lambda b: -b.scaled_value)
