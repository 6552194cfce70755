"""The few passes over the data that everything geometric is written against (theory 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import dask.array as da

    from lpgeom.rows.place import Place

Array = NDArray[np.float64]

Rule = Callable[[Array, int, int], Array]
"""``w = rule(t, lo, hi)``, weights of the rows lo to hi from their squared lengths t."""

KeepingRule = Callable[[Array, int, int], tuple[Array, ...]]
"""``(w, *kept) = rule(t, lo, hi)``: also other numbers of these rows, which are given back."""


def is_distant(v: object) -> TypeGuard[da.Array]:
    """Whether v is a Dask array; loads nothing."""
    return type(v).__module__.startswith("dask.array.") and hasattr(v, "to_delayed")


class Passes:
    """How often A was read; shared by every view of the same data."""

    def __init__(self) -> None:
        self.total = 0.0


class Rows(Protocol):
    """n rows a_i in R^d, read in blocks. Matrices that travel are (d, d) or (d, r), float64.

    Vectors of shape (n,) stay where the rows are (`vectors`): they are only ever combined with one
    another by NumPy's functions, and what is told of them is a number.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type passes are computed in."""

    @property
    def place(self) -> Place:
        """Where passes run."""

    @property
    def vectors(self) -> Place:
        """Where vectors of shape (n,) are, if in one memory."""

    @property
    def n_passes(self) -> float:
        """Passes over the full data so far, by this and every other view of it."""

    def squared_norms(self) -> Array:
        """``||a_i||^2``, shape (n,); read once and kept."""

    def quadratic_form(self, X: Array) -> Array:
        """``||a_i X||^2`` for X of shape (d, r); shape (n,)."""

    def bilinear_form(self, M: Array) -> Array:
        """``a_i^T M a_i`` for a symmetric M of any sign; shape (n,)."""

    def weighted_gram(self, w: Array | None = None) -> Array:
        """``sum_i w_i a_i a_i^T``, w of any sign (None: ones); shape (d, d)."""

    def reweighted_gram(self, X: Array, rule: Rule | KeepingRule) -> tuple[Array, ...]:
        """One fused pass: ``t = quadratic_form(X)``, ``w = rule(t, lo, hi)`` block by block
        (rows lo to hi), ``G = sum_i w_i a_i a_i^T``. Returns ``(t, G)``, and after them what else
        the rule gives for each row. A rule looks at nothing but its rows, and changes nothing."""

    def triangle(self, w: Array | None = None) -> Array:
        """R with ``R^T R = sum_i w_i a_i a_i^T`` (w >= 0), by QR block after block.

        Costs several times a Gram, and keeps the singular values that squaring would lose.
        """

    def take(self, indices: NDArray[np.intp], factors: Array | None = None) -> Rows:
        """Those rows, in memory, row j multiplied by ``factors[j]``."""

    def scaled(self, factor: float) -> Rows:
        """The same rows times a power of two."""

    def reduced(self) -> tuple[Rows, Array]:
        """For n < d: the rows in coordinates of their span, and that span, (d, n) orthonormal."""

    def local(self) -> Rows | None:
        """The same rows where passes cost no messages: themselves, or a copy in memory if it is
        small, else None."""

    def here(self, entries: int) -> Rows:
        """The same rows in this process: from a device if they have no more than so many entries,
        of a Dask array if `local` takes them; else as they are."""

    def single(self) -> Rows:
        """The same rows, with passes in float32 accumulated in float64 over the blocks.

        For searching only: nothing that is reported may rest on it.
        """
