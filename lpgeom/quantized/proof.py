"""What ranks alone cost under the labels of a code, and what no subspaces of them cost less than.

The rows of a group lie in the span of the components that have bits there, and of the mean of the
others: a subspace whose certificate (docs/certificates.md) is about these rows whatever took its
place, so about the codes as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.quantized.measure import blocks, lengths, weighted_norm
from lpgeom.records.base import LARGEST, Array, p_norm, to_cost_units
from lpgeom.subspace.certify import certify, cost

if TYPE_CHECKING:
    from lpgeom.quantized.record import QuantizedResult

SLACK = 1e-6
"""What is stated lies below what was found by this share: the search for a bound ends elsewhere in
the last places on another machine, and what it finds there must be no less."""


def span(found: QuantizedResult, c: int) -> Array:
    """An orthonormal basis of a subspace of dimension ``found.ranks[c]`` that holds group c.

    Of that dimension even where columns are dependent: what is proved of fewer dimensions would be
    more than what is stated.
    """
    own = found.bits[c] > 0
    basis = found.basis.astype(np.float64)
    rest = basis @ np.where(own, 0.0, found.means[c].astype(np.float64))
    columns = np.column_stack([basis[:, own], rest]) if rest.any() else basis[:, own]
    if not columns.shape[1]:
        return columns
    if columns.shape[1] >= columns.shape[0]:
        return np.eye(columns.shape[0])
    return np.ascontiguousarray(np.linalg.svd(columns, full_matrices=False)[0])


def proved(
    found: QuantizedResult,
    read: Callable[[NDArray[np.intp]], NDArray[Any]],
    omega: Array | None,
    bounds: bool,
) -> tuple[float, float, float]:
    """(norm of what ranks alone cost, lower bound, its failure probability), over all groups.

    `read` gives rows; without bounds a block at a time.
    """
    norms, total, chance = [], 0.0, 0.0
    for c in range(found.groups):
        index = np.flatnonzero(found.labels == c)
        weights = None if omega is None else omega[index]
        if not index.size or (weights is not None and not weights.any()):
            continue
        V = span(found, c)
        if V.shape[1] >= V.shape[0]:
            continue
        if not bounds:
            for here in blocks(index.size, V.shape[0]):
                own = None if weights is None else weights[here]
                norms.append(_norm_error(read(index[here]), V, found.p, own))
            continue
        rows = read(index)
        if not rows.any():
            continue
        if not V.shape[1]:
            norm = weighted_norm(lengths(rows), weights, found.p)
            norms.append(norm)
            total += to_cost_units(1.0, norm, found.p)
        else:
            certificate = certify(rows, V, found.p, row_weights=weights, seed=found.seed)
            norms.append(certificate.norm_error)
            total += certificate.lower_bound
            chance += certificate.failure_probability
    return p_norm(norms, found.p), min(total, LARGEST) if bounds else 0.0, min(chance, 1.0)


def _norm_error(rows: NDArray[Any], V: Array, p: float, omega: Array | None) -> float:
    """``cost(rows, V, p, row_weights=omega)^(1/p)``, which is finite even where the cost is not."""
    if not rows.any() or (omega is not None and not omega.any()):
        return 0.0
    if not V.shape[1]:
        return weighted_norm(lengths(rows), omega, p)
    e = int(np.frexp(np.abs(rows).max())[1])
    top = 1.0 if omega is None else float(omega.max())
    scaled = cost(np.ldexp(rows, -e), V, p, row_weights=None if omega is None else omega / top)
    return math.ldexp(float((scaled * top) ** (1.0 / p)), e)
