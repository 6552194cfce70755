"""Views of the same rows in another scale or precision, whoever makes their passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from lpgeom.rows.base import Passes
from lpgeom.rows.place import HOST, Place


class Views(ABC):
    """Rows ``scale * factors[i] * A[i]`` whose passes are computed in one dtype."""

    place: Place = HOST
    """Where blocks of rows are worked on."""

    vectors: Place = HOST
    """Where per-row vectors are, if in one memory."""

    _A: Any
    _scale: float
    _dtype: np.dtype[Any]
    _passes: Passes
    _norms: Any

    @abstractmethod
    def _view(self, scale: float, dtype: type[np.floating[Any]]) -> Self:
        """The same rows, with the norms that are known already."""

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

    def single(self) -> Self:
        return self._view(self._scale, np.float32)

    def scaled(self, factor: float) -> Self:
        """The same rows times a power of two."""
        view = self._view(self._scale * factor, self._dtype.type)
        if self._norms is not None:
            view._norms = self._norms * factor**2
        return view
