"""Lower bounds for the entrywise objective, from the rows objective on parts of the matrix.

For a set J of columns, ``sum_ij omega_ij |r_ij|^p`` over J is at least ``c sum_i w_i ||r_iJ||_2^p``
with ``w_i = min over J of omega_ij`` and ``c = min(1, |J|^(1 - p/2))``; and the rows of a rank-k
matrix, cut to J, lie in a k-dimensional subspace. So c times any lower bound for the rows objective
on A[:, J] is one for these entries, and bounds of disjoint sets add up. The same holds for sets of
rows, with the columns as points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.entries.problem import Entries
from lpgeom.records.factors import EntriesBlock, EntriesBound
from lpgeom.records.subspace import SubspaceResult
from lpgeom.rows.base import Array
from lpgeom.rows.vectors import beside
from lpgeom.subspace.approx import approx_rows

MANY = 16
"""Groups that an orientation is cut into, at most."""

HOPELESS = 8
"""From this many groups on the bound from the whole is left out: it takes long and says little."""

BROAD = 1024
"""Largest number of coordinates of a group."""

WIDE = 4096
"""Largest number of coordinates of one block: its certificate holds matrices of that size."""


def entry_bounds(
    entries: Entries,
    rows: EntriesBlock | None,
    certify: bool | str,
    seed: int,
    tick: Callable[[str], None],
) -> tuple[EntriesBound, ...]:
    """Both orientations, whole and in groups of about 2k, largest bound first.

    `rows` is the whole matrix's certificate for rows, if there is one already.
    """
    n, d = entries.shape
    if min(n, d) <= entries.k:  # a k-dimensional subspace can hold all points
        return ()
    found = []
    for axis, width in (("rows", d), ("columns", n)):
        groups = _groups(width, entries.k)
        counts = [1] if whole_is_worth_it(width, entries.k) else []
        if groups > 1 and width <= groups * BROAD:
            counts.append(groups)
        for count in counts:
            name = axis if count == 1 else f"{axis}, {count} groups"
            tick(f"bound from {name}")
            blocks = []
            for J in np.array_split(np.arange(width), count):
                if axis == "rows" and count == 1 and rows is not None:
                    blocks.append(rows)
                elif (block := _block(entries, axis, J, certify, seed)) is not None:
                    blocks.append(block)
            if blocks:
                found.append(EntriesBound(name, axis, tuple(blocks), entries.p, entries.unit))
    return tuple(sorted(found, key=lambda bound: -bound.scaled_value))


def whole_is_worth_it(width: int, k: int) -> bool:
    """Whether a bound from the whole may be the best, and can be had in reasonable time."""
    return width <= WIDE and _groups(width, k) < HOPELESS


def _groups(width: int, k: int) -> int:
    """Groups of 2k or more: where residuals spread evenly that size gives most."""
    return min(MANY, max(1, width // (2 * k)))


def _block(
    entries: Entries, axis: str, J: NDArray[np.intp], certify: bool | str, seed: int
) -> EntriesBlock | None:
    """The rows objective on the columns J (or for axis "columns" on the rows J)."""
    weights = entries.least_weights(J, axis)
    if weights is not None and not weights.any():
        return None
    index = beside(entries.A, J)
    try:
        points = entries.A[:, index] if axis == "rows" else entries.A[index].T
        # The bound needs a good subspace, not the best.
        result = solved(entries, points, seed, weights, method="irls", certify=certify)
    except OverflowError:  # weights so small that no bound from them is a float
        return None
    if result.certificate is None or result.lower_bound == 0.0:
        return None
    return EntriesBlock(J, result.certificate)


def solved(
    entries: Entries, points: Any, seed: int, weights: Array | None = None, **options: Any
) -> SubspaceResult:
    """`approx_subspace` of other points, with what else is given."""
    place, k, p = entries.place, entries.k, entries.p
    return approx_rows(
        points, k, p, row_weights=weights, backend=place.backend, seed=seed, **options
    )
