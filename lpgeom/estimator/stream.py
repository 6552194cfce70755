"""Rows that come in blocks: a coreset that serves every affine subspace, and their mean."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np

from lpgeom.affine.joint import mean_norm
from lpgeom.affine.lift import lifted
from lpgeom.coresets.record import Coreset
from lpgeom.coresets.streaming import StreamingCoreset
from lpgeom.rows.base import Array


@dataclass(frozen=True, eq=False)
class Stream:
    """A `StreamingCoreset` of the lifted rows ``(x_i - shift, s)``.

    An affine subspace's distances are lengths ``||(x_i - shift, s) X||`` for some matrix X, whose
    p-th powers a coreset for all subspaces preserves (A7 of docs/theory/affine.md), for any shift
    and s > 0: they only keep the numbers in range. Without a centre rows are not lifted.

    Attributes
    ----------
    coreset_of_lifted : StreamingCoreset
    shift : ndarray, shape (d,)
    lift : float
        0.0: rows are not lifted.
    total, weight : ndarray (d,), float
        Sums of ``omega_i (x_i - shift)`` and of omega_i.
    settings : tuple
        p, size and centre that it was made for.
    seed : int
    """

    coreset_of_lifted: StreamingCoreset
    shift: Array = field(repr=False)
    lift: float
    total: Array = field(repr=False)
    weight: float
    settings: tuple[float, int, str | None]
    seed: int

    @staticmethod
    def started(
        X: Array,
        omega: Array | None,
        p: float,
        size: int,
        center: str | None,
        seed: int,
        k: int | None,
    ) -> Stream:
        """An empty stream, placed by its first block.

        It keeps at least twice as many rows as an affine subspace of dimension k always holds
        (None: the largest dimension).
        """
        rows = np.asarray(X, dtype=np.float64)
        shift = np.zeros(rows.shape[1])
        lift = 0.0
        if center is not None:
            shift = np.median(rows, axis=0)
            top = float(np.abs(rows - shift).max()) or 1.0
            norms = np.linalg.norm((rows - shift) / top, axis=1)
            lift = (mean_norm(norms, omega, p) or 1.0) * top
        least = 2 * ((rows.shape[1] if k is None else k) + 1)
        stream = StreamingCoreset(p=p, size=max(size, least), seed=seed)
        return Stream(stream, shift, lift, np.zeros_like(shift), 0.0, (p, size, center), seed)

    @property
    def n_rows(self) -> int:
        return self.coreset_of_lifted.n_rows

    def held(self, c: Coreset) -> str:
        """Which rows costs and bounds are about that are those of its coreset c."""
        if c.provenance.theorem == "exact":
            return f"all {self.n_rows} rows"
        return f"the {len(c)} weighted rows of coreset_, of {self.n_rows} rows"

    @property
    def mean(self) -> Array:
        """Weighted mean of all rows seen."""
        return self.shift + self.total / self.weight

    def extended(self, X: Array, omega: Array | None) -> Stream:
        """The stream with more rows; this one stays as it is."""
        rows = lifted(X, self.shift, self.lift)
        block = rows if self.lift else rows[:, :-1]
        grown = copy.copy(self.coreset_of_lifted).partial_fit(block, omega)
        weights = np.ones(len(rows)) if omega is None else omega
        return replace(
            self,
            coreset_of_lifted=grown,
            total=self.total + weights @ rows[:, :-1],
            weight=self.weight + float(weights.sum()),
        )

    def coreset(self) -> Coreset:
        """Rows of the data, weighted, for affine subspaces of every dimension."""
        c = self.coreset_of_lifted.coreset()
        d = len(self.shift)
        return replace(c, rows=c.rows[:, :d] + self.shift, shape=(self.n_rows, d))
