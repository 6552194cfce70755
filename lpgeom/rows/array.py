"""Rows of a NumPy array or memory map, read in blocks and never copied whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io import validation
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.blocks import BlockRows, Raw
from lpgeom.rows.problem import Problem, scaled


class ArrayRows(BlockRows):
    """Rows ``scale * factors[i] * A[i]`` of an array, a strided view or a memory map.

    Parameters as in `BlockRows`, with NumPy arrays; a pass is spread over threads.
    """

    def _read(self, worker: int, workers: int, step: int) -> Iterator[Raw]:
        n = self.shape[0]
        for lo in range(worker * step, n, workers * step):
            hi = min(lo + step, n)
            yield lo, hi, np.asarray(self._A[lo:hi])

    def _some(self, indices: NDArray[np.intp]) -> Iterator[tuple[Any, Any]]:
        for at in self._steps(len(indices)):
            yield at, plain(np.asarray(self._A[indices[at]]))

    def _plain(self, block: Any) -> Any:
        return plain(block)

    @property
    def _as_is(self) -> bool:
        # Short of what is checked there, an array that came through a socket may start anywhere.
        return super()._as_is and bool(self._A.flags.aligned)


def opened(A: Any, p: Any, row_weights: Any, infinite: bool) -> Problem[ArrayRows]:
    """What is no other kind: read into memory if it is not there, checked and scaled."""
    return scaled(validation.check_matrix(A), ArrayRows, p, row_weights, infinite)


def plain(block: NDArray[Any]) -> NDArray[Any]:
    """The block as C-contiguous, aligned native float32 or float64: kernels are compiled for that.

    Arrays that came through a socket, as chunks of Dask do, may start anywhere.
    """
    dtype = np.float32 if block.dtype == np.float32 else np.float64
    return np.require(block, dtype, ["C", "A"])


def dense(rows: BlockRows) -> Array:
    """All rows as one float64 NumPy array, scale and factors applied (for few rows)."""
    found: Array = rows.place.host(rows.dense())
    return found


def gathered(rows: Rows, index: NDArray[np.intp]) -> Array:
    """Few rows, from wherever they are, as one float64 NumPy array (see `dense`)."""
    some: Any = rows.take(index)
    return dense(some)
