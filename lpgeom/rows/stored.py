"""Rows of a matrix in chunked storage: each pass reads every stored piece once, whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io.sources import Stored
from lpgeom.kernels.cpu import rowwise
from lpgeom.rows.array import ArrayRows, plain
from lpgeom.rows.base import Array
from lpgeom.rows.blocks import Raw


class StoredRows(ArrayRows):
    """Rows ``scale * factors[i] * A[i]`` of a `Stored` A; parameters as in `ArrayRows`."""

    _A: Stored

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

    def take(self, indices: NDArray[np.intp], factors: Array | None = None) -> ArrayRows:
        order = np.argsort(indices, kind="stable")
        index = np.asarray(indices)[order]
        f = np.full(len(index), self._scale)
        if self._factors is not None:
            f *= self._factors[index]
        if factors is not None:
            f *= factors[order]
        out = np.empty((len(index), self.shape[1]), dtype=self._dtype)
        some: NDArray[Any] = np.empty_like(out)
        read = 0
        for lo, hi in self._A.pieces:
            if np.searchsorted(index, lo) == np.searchsorted(index, hi):
                continue
            read += hi - lo
            for first, rows in self._A.blocks((lo, hi)):
                here = slice(*np.searchsorted(index, (first, first + len(rows))))
                if here.stop > here.start:
                    rowwise.scale_rows(plain(rows[index[here] - first]), f[here], some[here])
        out[order] = some
        # Counted: what was read, which is everything where a row is wanted of every piece.
        n = self.shape[0]
        self._passes.total += self._share * read / n
        share = self._share * len(index) / n
        return ArrayRows(
            out,
            block_bytes=self._block_bytes,
            dtype=self._dtype.type,
            passes=self._passes,
            share=share,
        )
