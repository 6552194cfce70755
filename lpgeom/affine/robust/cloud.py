"""Rows around their middle: how outlying each is, and subspaces of some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lpgeom.affine.joint import power_of_two
from lpgeom.affine.robust.directions import DIRECTIONS
from lpgeom.geometry.grassmann import widened
from lpgeom.kernels.cpu import farthest_off
from lpgeom.records.base import EPS
from lpgeom.rows.base import Array

Mask = NDArray[np.bool_]

LONGEST = 1e100
"""Rows this many times as long as the middle one are shortened to that: they are as far off."""

ROOM = 1 << 22
"""Projections held at once."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """Rows of positive weight, less a middle point, in the unit of their middle length.

    Attributes
    ----------
    B : ndarray, shape (n, r)
        In coordinates of their span where they are fewer than their columns.
    weights, lengths : ndarray, shape (n,)
    origin : ndarray, shape (d,)
        The median of each column, or the point that subspaces have to go through.
    unit : float
    span : ndarray, shape (d, r), or None
    fixed : bool
        Whether the origin was given.
    """

    B: Array
    weights: Array
    lengths: Array
    origin: Array
    unit: float
    span: Array | None
    fixed: bool

    @staticmethod
    def of(A: Array, weights: Array, point: Array | None) -> Cloud:
        """A copy of the rows A, shape (n, d), all of positive weight."""
        origin = np.median(A, axis=0) if point is None else point
        B = A - origin
        size = power_of_two(B) or 1.0
        B /= size
        sizes = np.abs(B).max(axis=1)  # squares may be too small for float64 yet
        positive = sizes[sizes > 0.0]
        middle = power_of_two(np.median(positive)) if positive.size else 1.0
        factors = np.full(len(B), 1.0 / middle)
        far = sizes > LONGEST * middle
        factors[far] = LONGEST / sizes[far]
        B *= factors[:, None]
        span = None
        if B.shape[0] < B.shape[1]:
            span = np.linalg.qr(B.T)[0]
            B = B @ span
        return Cloud(B, weights, norms(B), origin, size * middle, span, point is not None)

    @property
    def rounding(self) -> Array:
        """What rounding may put between each row and a plane that it lies in, (n,)."""
        slack: Array = 64.0 * self.B.shape[1] ** 0.5 * EPS * self.lengths
        return slack

    def outlyingness(self, k: int, seed: int) -> Array:
        """Distance of each row from the median of all, in median absolute deviations, (n,).

        Along the worst of all `DIRECTIONS`; from the origin if that is fixed. Rows that rounding
        alone keeps off the median have 0.
        """
        rng = np.random.default_rng(seed)
        n = len(self.B)
        chances = self.weights / self.weights.sum()

        def draw(shape: tuple[int, ...]) -> Array:
            drawn = self.B[rng.choice(n, size=shape, p=chances)]
            if self.fixed:
                drawn[:, 0] = 0.0
            return drawn

        out, x, masses = np.zeros(n), np.empty(n), np.empty(n)
        positive = self.lengths[self.lengths > 0.0]
        floor = 1e-12 * float(np.median(positive)) if positive.size else 1.0
        mass = 0.5 * float(self.weights.sum()) * (1.0 - 1e-9)
        step = max(1, ROOM // n)
        for directions in DIRECTIONS:
            D = directions(self.B, self.weights, k, draw, rng)
            for lo in range(0, len(D), step):
                P = np.ascontiguousarray(D[lo : lo + step] @ self.B.T)
                farthest_off(
                    P, self.weights, mass, self.rounding, floor, not self.fixed, out, x, masses
                )
        return out

    def some(self, chosen: Mask) -> Cloud:
        """Some of the rows, in the same coordinates."""
        return replace(
            self, B=self.B[chosen], weights=self.weights[chosen], lengths=self.lengths[chosen]
        )

    def least_outlying(self, k: int, share: float, seed: int) -> Mask:
        """The rows of least outlyingness that have this share of the weight."""
        order = np.argsort(self.outlyingness(k, seed), kind="stable")
        mass = np.cumsum(self.weights[order])
        chosen = np.zeros(len(order), dtype=bool)
        chosen[order[: int(np.searchsorted(mass, share * mass[-1] * (1.0 - 1e-9))) + 1]] = True
        return chosen

    def principal(self, chosen: Mask, k: int) -> tuple[Array, Array]:
        """Mean and leading principal axes of some rows, in these coordinates, (r,) and (r, k).

        Where they span less, the other rows, at length 1, say what is added; the axes are fewer
        than k only where no row is left.
        """
        w = np.where(chosen, self.weights, 0.0)
        c = np.zeros(self.B.shape[1]) if self.fixed else w @ self.B / w.sum()
        R = self.B - c
        V = axes((R * w[:, None]).T @ R, k)
        if V.shape[1] < k:
            R -= (R @ V) @ V.T
            r = norms(R)
            far = r > self.rounding
            w = np.where(far, self.weights, 0.0) / np.where(far, r, 1.0) ** 2
            V = np.concatenate([V, axes((R * w[:, None]).T @ R, k - V.shape[1])], axis=1)
            V = np.linalg.qr(V)[0]
        return c, V

    def distances(self, c: Array, V: Array) -> Array:
        """From ``c + span V``, (n,)."""
        R = self.B - c
        R -= (R @ V) @ V.T
        return norms(R)

    def restored(self, c: Array, V: Array, k: int) -> tuple[Array, Array]:
        """The same subspace where the rows came from, with k axes."""
        if self.span is not None:
            c, V = self.span @ c, self.span @ V
        return self.origin + c * self.unit, widened(V, k)


def norms(R: Array) -> Array:
    """Lengths of rows, (n,)."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", R, R)))


def axes(G: Array, k: int) -> Array:
    """The k leading eigenvectors of G, without those whose eigenvalues are rounding."""
    lam, U = np.linalg.eigh(G)
    count = min(k, int((lam > len(lam) * EPS * lam[-1]).sum()))
    return np.asarray(U[:, len(lam) - count :])
