"""Rows in one form however they are given, and axes of a subspace in a stated order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lpgeom.affine.joint import power_of_two
from lpgeom.rows.base import Array


@dataclass(frozen=True, eq=False)
class DistinctRows:
    """Distinct rows of positive weight, in one order, scaled by a power of two.

    Attributes
    ----------
    rows : ndarray, shape (m, d), float64
        Largest entry in [0.5, 1), or all zero.
    weights : ndarray, shape (m,), or None
        Relative to the largest; None where all are equal.
    unit, weight : float
        What 1 stands for, of lengths and of weights.
    place : ndarray, shape (n,), int
        Which of them each row given is; -1 for rows of weight 0.
    """

    rows: Array = field(repr=False)
    weights: Array | None = field(repr=False)
    unit: float
    weight: float
    place: NDArray[np.intp] = field(repr=False)

    def of(self, kept: NDArray[np.bool_]) -> DistinctRows:
        """Some of them, in the same units; `place` stays that of all."""
        weights = None if self.weights is None else self.weights[kept]
        return replace(self, rows=self.rows[kept], weights=weights)


def distinct_rows(X: Array, omega: Array | None) -> DistinctRows:
    """Repeated rows and weights, and rows in any order, are the same to the last bit.

    So a fit cannot tell them apart.
    """
    rows = np.ascontiguousarray(X, dtype=np.float64) + 0.0  # no negative zeros
    alive = np.ones(len(rows), dtype=bool) if omega is None else omega > 0.0
    if omega is not None and not omega.all():
        rows, omega = rows[omega > 0.0], omega[omega > 0.0]
    keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    _, first, inverse, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    weights = counts.astype(np.float64)
    if omega is not None:
        # Added up in order of size: the sum depends on the weights alone.
        order = np.argsort(omega, kind="stable")
        sums = np.bincount(inverse.ravel()[order], weights=omega[order], minlength=len(first))
        weights = sums.astype(np.float64)
    largest = float(weights.max())
    place = np.full(len(alive), -1)
    place[alive] = inverse.ravel()
    rows = rows[first]
    unit = power_of_two(rows) or 1.0
    equal = bool((weights == largest).all())
    return DistinctRows(rows / unit, None if equal else weights / largest, unit, largest, place)


def ordered_axes(B: Array, omega: Array | None, V: Array, p: float) -> tuple[Array, Array, Array]:
    """Principal axes of the l_p scatter ``sum_i omega_i ||b_i||^(p-2) b_i b_i^T`` within span V.

    Its trace is ``sum_i omega_i ||b_i||^p``: what a row adds is its cost around the centre, in its
    own direction; at p = 2 these are the principal axes. Each axis points where its largest entry
    is positive, the first where several are equal: as scikit-learn's `svd_flip` has it for PCA.

    Returns
    -------
    components : ndarray, shape (k, d)
    shares : ndarray, shape (k,)
        Share of the cost around the centre that an axis takes away after those before it.
    norms : ndarray, shape (k,)
        ``(sum_i omega_i |z_ij|^p)^(1/p)`` of the scores z.
    """
    weights = np.ones(len(B)) if omega is None else omega
    Z = B @ V
    pull = scatter_weights(B, weights, p)
    U = np.linalg.eigh((Z * pull[:, None]).T @ Z)[1][:, ::-1]
    components = (V @ U).T
    size = np.abs(components)
    first = (size >= (1.0 - 1e-9) * size.max(axis=1, keepdims=True)).argmax(axis=1)
    largest = components[np.arange(len(components)), first]
    components *= np.where(largest < 0.0, -1.0, 1.0)[:, None]
    scores = B @ components.T
    # What is left of each row after each axis, from the end: sums of squares, no difference.
    rest = B - scores @ components
    left = np.einsum("ij,ij->i", rest, rest)[:, None] + np.concatenate(
        [np.cumsum(scores[:, ::-1] ** 2, axis=1)[:, ::-1], np.zeros((len(B), 1))], axis=1
    )
    top = float(left.max(initial=0.0)) or 1.0
    costs = weights @ (left / top) ** (p / 2.0)
    shares = np.maximum(costs[:-1] - costs[1:], 0.0) / (float(costs[0]) or 1.0)
    size = float(np.abs(scores).max(initial=0.0)) or 1.0
    norms = (weights @ np.abs(scores / size) ** p) ** (1.0 / p) * size
    return components, shares, norms


def scatter_weights(B: Array, omega: Array | None, p: float) -> Array:
    """``omega_i ||b_i||^(p-2)`` up to a factor, 0 for a row at the centre."""
    norms = np.sqrt(np.einsum("ij,ij->i", B, B))
    out = np.zeros_like(norms)
    away = norms > 0.0
    if away.any():
        out[away] = (norms[away] / norms.max()) ** (p - 2.0)
    return out if omega is None else out * omega
