"""Views of the same rows in another scale or precision, whoever makes their passes."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

import numpy as np

from lpgeom.rows.base import Passes
from lpgeom.rows.place import HOST, Place


class Views:
    """Rows ``scale * factors[i] * A[i]`` whose passes are computed in one dtype.

    Parameters
    ----------
    A : shape (n, d), any real dtype
    factors : shape (n,), float64, optional
        Row factors (row weights to the power 1/p), where per-row vectors are.
    scale : float
        A power of two that brings the largest entry near 1.
    dtype : type
        Passes are computed in it.
    passes : Passes, optional
        Count of the passes by every view of the same data.
    longest : float
        Largest ``scale |A_ij|``, rows of factor 0 included, which may be long.
    """

    place: Place = HOST
    """Where blocks of rows are worked on."""

    vectors: Place = HOST
    """Where per-row vectors are, if in one memory."""

    def __init__(
        self,
        A: Any,
        factors: Any = None,
        scale: float = 1.0,
        *,
        dtype: type[np.floating[Any]] = np.float64,
        passes: Passes | None = None,
        longest: float = 1.0,
    ) -> None:
        self._A = A
        self._factors = factors
        self._scale = scale
        self._dtype = np.dtype(dtype)
        self._passes = Passes() if passes is None else passes
        self._longest = longest
        self._norms: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        n, d = self._A.shape
        return int(n), int(d)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type passes are computed in."""
        return self._dtype

    @property
    def n_passes(self) -> float:
        return self._passes.total

    def computed_in(self, dtype: type[np.floating[Any]]) -> Self:
        """The same rows, with passes in that type."""
        view = copy(self)
        view._dtype = np.dtype(dtype)
        return view

    def single(self) -> Self:
        return self.computed_in(np.float32)

    def scaled(self, factor: float) -> Self:
        """The same rows times a power of two."""
        view = copy(self)
        view._scale = self._scale * factor
        if self._norms is not None:
            view._norms = self._norms * factor**2
        return view
