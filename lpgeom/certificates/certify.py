"""Every lower bound that applies, for a subspace already found."""

from __future__ import annotations

from lpgeom.certificates.bounds import chord, lewis_bounds, spectral
from lpgeom.certificates.evidence import Evidence
from lpgeom.certificates.power import power
from lpgeom.certificates.radial import radial_bounds
from lpgeom.certificates.relaxation import mixed, relaxation
from lpgeom.results import Bound
from lpgeom.rows.base import Rows

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
    level : {"fast", "tight"}
        "fast" leaves out what it knows to be dominated, if A is large: the chord bound (at p = 1
        its relaxation is weaker than 3d row by row), and for 1 < p < 2 the plain relaxation
        (weaker than 3e row by row). "tight" has them all, solves the relaxations to the end, and
        adds the radial bounds for p < 2.
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
    everything = level == "tight" or n * d <= SMALL
    bounds = []
    if evidence.lewis is not None and (p < 2.0 or everything):
        bounds += lewis_bounds(rows, evidence.lewis, k, p)
    if p > 2.0:
        bounds.append(power(rows, evidence, k, p, level))
    else:
        if p > 1.0:
            relaxed = mixed(rows, evidence, k, p, level)
        else:
            relaxed = relaxation(rows, evidence, k, p, level)
        bounds.append(relaxed)
        if p > 1.0 and everything:
            bounds.append(relaxation(rows, evidence, k, p, level))
        if everything:
            bounds.append(chord(rows, k, p))
        if level == "tight":
            bounds += radial_bounds(rows, relaxed, k, p, seed=seed, progress=progress)
    return sorted(bounds, key=lambda b: -b.scaled_value)
