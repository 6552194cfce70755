"""Fewer rows than columns: searched and certified in their span (docs/theory/span.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lpgeom.geometry.grassmann import Frame, complement, widened
from lpgeom.records.base import EPS, p_norm
from lpgeom.records.subspace import Bound
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.door import Problem
from lpgeom.rows.vectors import fetched


@dataclass(frozen=True)
class Span:
    """A space that the rows lie in, up to rounding, and what is found in coordinates of it.

    Attributes
    ----------
    basis : ndarray, shape (d, n), or None
        Orthonormal; None where the coordinates are the rows' own.
    """

    basis: Array | None

    def lifted(self, V: Array, k: int = 0) -> Array:
        """The orthonormal columns that V stands for, and any others up to k."""
        return widened(V if self.basis is None else self.basis @ V, k)

    def seen(self, V: Array) -> tuple[Array, Frame]:
        """What the rows see of the span of an orthonormal V (d, k).

        X with ``||c X||`` the distance from it of the row with coordinates c; and a subspace of
        the coordinates, of dimension k as far as there are so many, from which no row is farther.
        """
        if self.basis is None:
            frame = Frame.of(V)
            return frame.W, frame
        # Of V and the rows' span together, which has coordinates (c, 0) and the columns [T; R].
        T = self.basis.T @ V
        R = np.linalg.qr(V - self.basis @ T, mode="r")
        X = complement(np.concatenate([T, R]))[: len(T)]
        return X, Frame.cut(np.linalg.svd(T)[0], V.shape[1])

    def bounds(self, bounds: Sequence[Bound], rows: Rows, p: float) -> list[Bound]:
        """Bounds for the rows in coordinates, as such for the rows themselves.

        They are lowered, as norms, by twice what the check can find outside of the basis: its own
        rounding, and that of the QR, which is relative to every row by itself.
        """
        if self.basis is None:
            return list(bounds)
        (d, n), root = self.basis.shape, 1.0 if math.isinf(p) else 1.0 / p
        off = 2.0 * (9.0 * math.sqrt(d) + n) * EPS
        lost = off * p_norm(np.sqrt(fetched(rows.squared_norms())), p)
        kept = 1.0 - 32.0 * (1.0 + 1.0 / root) * EPS
        return [
            replace(
                b,
                scaled_value=max(b.scaled_value**root - lost, 0.0) ** (1.0 / root) * kept,
                witness={**b.witness, "span": self.basis},
            )
            for b in bounds
        ]


def in_span(problem: Problem) -> tuple[Problem, Span]:
    """For n < d, the rows in coordinates of their span; else as they are."""
    n, d = problem.rows.shape
    if n >= d:
        return problem, Span(None)
    rows, basis = problem.rows.reduced()
    return replace(problem, rows=rows), Span(basis)
