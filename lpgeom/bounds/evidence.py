"""What the solver already knows when the certificate begins."""

from __future__ import annotations

from dataclasses import dataclass

from lpgeom.bounds.few import Weights
from lpgeom.records.subspace import LewisWeights
from lpgeom.rows.base import Array


@dataclass(frozen=True)
class Evidence:
    """The best subspace found, in the scaled units of the rows.

    Attributes
    ----------
    V : ndarray, shape (d, k), float64
        Orthonormal basis of the subspace.
    W : ndarray, shape (d, m), float64
        Orthonormal basis of its complement, m = d - k.
    t : ndarray, shape (n,), float64
        ``||a_i W||^2``, computed in float64.
    Y2 : ndarray, shape (n,), float64
        ``||a_i||^2``, computed in float64.
    lewis : LewisWeights or None
        Lewis weights of the same rows, with measured kappa; John's at p = inf.
    N : ndarray, shape (d, d), or None
        About ``sum_i t_i^(p/2-1) a_i a_i^T``, from the last step towards V: one step old, perhaps
        summed in float32. A start for searches; nothing proved may rest on it.
    duals : tuple of Weights
        p = inf: weights under which the subspace is nearly stationary.
    """

    V: Array
    W: Array
    t: Array
    Y2: Array
    lewis: LewisWeights | None = None
    N: Array | None = None
    duals: tuple[Weights, ...] = ()
