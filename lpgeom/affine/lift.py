"""Lifted rows: affine subspaces as sections of linear ones, and their certificate.

The rows ``(a_i - c0, s)`` in R^(d+1) have linear subspaces of dimension k + 1, and each that is not
parallel to the hyperplane they lie in cuts an affine k-dimensional subspace out of it. For every c0
and s > 0 the best linear cost is at most the best affine one, and tends to it as s grows (A2, A3 of
docs/theory/affine.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import block_diag

from lpgeom.affine.joint import mean_norm, power_of_two
from lpgeom.geometry.grassmann import complement
from lpgeom.geometry.spectrum import LARGE
from lpgeom.records.subspace import Certificate
from lpgeom.rows.base import Array
from lpgeom.subspace.certify import certify

UPRIGHT = 1e-6
"""Least ``1 - |w|^2`` of a lifted subspace whose section is taken."""


def lifted(A: ArrayLike, centre: ArrayLike, lift: float) -> Array:
    """The rows ``(a_i - centre, lift)``, shape (n, d + 1), float64."""
    rows = np.asarray(A, dtype=np.float64)
    out = np.empty((len(rows), rows.shape[1] + 1))
    np.subtract(rows, np.asarray(centre, dtype=np.float64), out=out[:, :-1])
    out[:, -1] = lift
    return out


def section(L: Array, lift: float) -> tuple[Array, Array, float] | None:
    """Where the span of an orthonormal L (d + 1, k + 1) meets the hyperplane of the lifted rows.

    Returns ``(h, V, u)``: the affine subspace ``h + span V`` with V of shape (d, k), and
    ``u = 1 - |w|^2``, by which A3 bounds what the section costs more; None where L is parallel to
    the hyperplane, or almost.
    """
    W = complement(L)
    W1, w = W[:-1], W[-1]
    upright = 1.0 - float(w @ w)
    if upright < UPRIGHT:
        return None
    values, U = np.linalg.eigh(W1.T @ W1)
    normal = W1 @ (U / np.sqrt(values))
    # normal' h = -(W1' W1)^(-1/2) w s, the least h that does it
    h = -lift * normal @ ((U.T @ w) / np.sqrt(values))
    return h, complement(normal), upright


def certify_affine(
    A: ArrayLike,
    centre: ArrayLike,
    basis: Array,
    p: float = 1.0,
    level: str = "fast",
    *,
    row_weights: ArrayLike | None = None,
    seed: int = 0,
) -> tuple[Certificate, float]:
    """Lower bounds on the cost of every affine subspace of that dimension, whatever its centre.

    Parameters
    ----------
    A : array_like, shape (n, d)
        In memory; copied.
    centre : array_like, shape (d,)
    basis : ndarray, shape (d, k)
        Orthonormal, k <= d - 1: the subspace ``centre + span basis``, from anywhere.
    p : float
        1 <= p <= 100.
    level, row_weights, seed
        See `certify`.

    Returns
    -------
    tuple
        The best certificate over a few values of s, and its s. Its cost is that of the affine
        subspace, its lower bound holds for all of that dimension, and it speaks of the rows
        ``lifted(A, centre, s)``: `Certificate.verify` checks it on those. Its `k` is one more.

    Raises
    ------
    TypeError, ValueError
        Those of `certify`.

    Examples
    --------
    >>> import numpy as np
    >>> from lpgeom.affine.lift import certify_affine, lifted
    >>> A = 3.0 + np.random.default_rng(0).standard_normal((200, 4)) * [5.0, 1.0, 1.0, 1.0]
    >>> c, s = certify_affine(A, A.mean(axis=0), np.eye(4)[:, :1])
    >>> 0.0 < c.lower_bound <= c.cost
    True
    >>> c.verify(lifted(A, A.mean(axis=0), s))
    """
    B = lifted(A, centre, 0.0)
    unit = power_of_two(B) or 1.0
    norms = np.sqrt(np.einsum("ij,ij->i", B / unit, B / unit))
    mean = mean_norm(norms, None if row_weights is None else np.asarray(row_weights), p) * unit
    L = block_diag(basis, 1.0)

    def at(lift: float, level: str) -> Certificate:
        B[:, -1] = lift
        return certify(B, L, p, level, row_weights=row_weights, seed=seed)

    factors = lifts(p, B.size >= LARGE)
    found = [(at(lift, "fast"), lift) for lift in (f * (mean or 1.0) for f in factors)]
    best, lift = min(found, key=lambda pair: pair[0].ratio)
    return (best, lift) if level == "fast" else (at(lift, level), lift)


def lifts(p: float, large: bool) -> tuple[float, ...]:
    """Values of s to certify with, in mean distances of the rows from the centre.

    At p = 1 and p > 2 the bounds used grow with s until rounding stops them; for 1 < p < 2 they
    know the length of a lifted row, which should be small; at p = 2 the mean distance is enough for
    the exact optimum.
    """
    if p == 1.0:
        return (8.0, 64.0) if large else (4.0, 32.0, 256.0)
    if p == 2.0:
        return (1.0,)
    if p < 2.0:
        return (0.5, 2.0) if large else (0.25, 0.5, 1.0, 2.0)
    return (4.0,) if large else (1.0, 4.0, 16.0)
