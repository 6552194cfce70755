"""Rows of a matrix in chunked storage: each pass reads every stored piece once, whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io import validation
from lpgeom.io.sources import Stored
from lpgeom.rows.array import ArrayRows, plain
from lpgeom.rows.blocks import Raw
from lpgeom.rows.problem import Problem, scaled


class StoredRows(ArrayRows):
    """Rows ``scale * factors[i] * A[i]`` of a `Stored` A; parameters as in `ArrayRows`."""

    _A: Stored
    in_memory = ArrayRows

    @property
    def _as_is(self) -> bool:
        return False

    def _read(self, worker: int, workers: int, step: int) -> Iterator[Raw]:
        """This worker's share of the pieces, cut into blocks of `step` rows at most."""
        for piece in self._A.pieces[worker::workers]:
            for first, rows in self._A.blocks(piece):
                for lo in range(0, len(rows), step):
                    block = rows[lo : lo + step]
                    yield first + lo, first + lo + len(block), block

    def _some(self, indices: NDArray[np.intp]) -> Iterator[tuple[Any, Any]]:
        order = np.argsort(indices, kind="stable")
        index = np.asarray(indices)[order]
        for piece in self._wanted(index):
            for first, rows in self._A.blocks(piece):
                here = slice(*np.searchsorted(index, (first, first + len(rows))))
                if here.stop > here.start:
                    yield order[here], plain(rows[index[here] - first])

    def _rows_read(self, indices: NDArray[np.intp]) -> int:
        # Everything where a row is wanted of every piece.
        return sum(hi - lo for lo, hi in self._wanted(np.sort(indices)))

    def _wanted(self, index: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
        """The pieces that hold any of these rows, which ascend."""
        for lo, hi in self._A.pieces:
            if np.searchsorted(index, lo) < np.searchsorted(index, hi):
                yield lo, hi


def opened(A: Any, p: Any, row_weights: Any, infinite: bool) -> Problem[StoredRows]:
    """What is in chunked storage, which stays there."""
    return scaled(validation.check_rows(A), StoredRows, p, row_weights, infinite)
