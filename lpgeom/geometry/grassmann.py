"""Orthonormal bases: complements, distances, and geodesics on the Grassmannian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dormqr

from lpgeom.geometry.spectrum import serially
from lpgeom.rows.base import Array


@dataclass(frozen=True)
class Frame:
    """A subspace and its complement: V (d, k) and W (d, m) orthonormal, ``V^T W = 0``."""

    V: Array
    W: Array

    @staticmethod
    def leading(U: Array, k: int) -> Frame:
        """The last k columns of an orthogonal U (eigenvalues ascending), and the others."""
        m = U.shape[1] - k
        return Frame(np.ascontiguousarray(U[:, m:]), np.ascontiguousarray(U[:, :m]))

    @staticmethod
    def spanned_by(B: Array) -> Frame:
        """The frame of the span of B's columns, which are independent."""
        return Frame.cut(completed(B), B.shape[1])

    @staticmethod
    def cut(Q: Array, k: int) -> Frame:
        """From an orthogonal matrix: its first k columns, and the others."""
        return Frame(np.ascontiguousarray(Q[:, :k]), np.ascontiguousarray(Q[:, k:]))

    @staticmethod
    def of(V: Array) -> Frame:
        """The frame of an orthonormal V."""
        return Frame(V, complement(V))


def complement(V: Array) -> Array:
    """Orthonormal basis (d, d - k) of what is orthogonal to the columns of V."""
    k = V.shape[1]
    return np.ascontiguousarray(completed(V)[:, k:])


def completed(V: Array) -> Array:
    """An orthogonal (d, d) whose first columns span those of V: the full QR, on one thread up to
    the size where `eigen` runs on one."""
    Q: Array = serially(np.linalg.qr, V, mode="complete")[0]
    return Q


def widened(V: Array, k: int) -> Array:
    """V with further orthonormal columns where it has fewer than k."""
    d, r = V.shape
    if k <= r or r == 0:
        return V if k <= r else np.eye(d, k)
    # Householder's reflectors applied to unit vectors: the first columns of `complement`.
    qr, tau = np.linalg.qr(V, mode="raw")
    more, _, _ = dormqr("L", "N", np.asfortranarray(qr.T), tau, np.eye(d, k)[:, r:], 64 * k)
    return np.concatenate([V, more], axis=1)


def largest_sine(V: Array, V2: Array) -> float:
    """Sine of the largest principal angle between the spans of two orthonormal (d, k) bases.

    Computed from the part of V2 outside V, so that small angles keep their digits.
    """
    outside = V2 - V @ (V.T @ V2)
    return min(1.0, float(np.linalg.norm(outside, ord=2)))


class Geodesic:
    """The shortest path ``s -> V(s)`` on the Grassmannian, from V at 0 to V2 at 1.

    With ``V^T V2 = X cos(theta) Z^T`` (principal angles), ``V(s) = V X cos(s theta) + H sin(s
    theta)``, H the directions of V2 Z orthogonal to V (Edelman, Arias, Smith, "The geometry of
    algorithms with orthogonality constraints", SIAM J. Matrix Anal. 1998).
    """

    def __init__(self, V: Array, V2: Array) -> None:
        X, _, Zt = np.linalg.svd(V.T @ V2)
        self._start = V @ X
        outside = V2 @ Zt.T
        outside -= self._start @ (self._start.T @ outside)
        # The columns of `outside` are sin(theta_j) times orthonormal directions: orthogonal up to
        # rounding, so their norms are the sines.
        sines = np.linalg.norm(outside, axis=0)
        self._theta = np.arcsin(np.minimum(sines, 1.0))
        self._towards = outside / np.where(sines > 0.0, sines, 1.0)

    @property
    def length(self) -> float:
        """Largest principal angle."""
        return float(np.max(self._theta, initial=0.0))

    def at(self, s: float) -> Frame:
        """The subspace at s (s > 1 extrapolates), with its complement."""
        V = self._start * np.cos(s * self._theta) + self._towards * np.sin(s * self._theta)
        return Frame.spanned_by(V)
