"""Rows on a CUDA device, or sent there block by block: passes, checks, and the road in.

Per-row vectors stay on the device as CuPy arrays, which answer to NumPy's functions; (d, d)
matrices travel, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lpgeom.io import validation
from lpgeom.io.sources import stored
from lpgeom.rows import device
from lpgeom.rows.array import ArrayRows, plain
from lpgeom.rows.base import is_distant
from lpgeom.rows.blocks import BlockRows, Raw
from lpgeom.rows.place import check_matrix, device_place, largest_entries
from lpgeom.rows.problem import Problem, units

FLOATS = (np.float32, np.float64)


class CudaRows(BlockRows):
    """Rows ``scale * factors[i] * A[i]`` of a device array, or of a host array that is too large.

    Parameters as in `BlockRows`; `factors` is a device vector. A host array A is read in every
    pass, through pinned memory.
    """

    def __init__(self, A: Any, *args: Any, **kwargs: Any) -> None:
        self.place = self.vectors = device_place()
        super().__init__(A, *args, **kwargs)
        self._resident = device.on_device(A) or device.is_simulated()

    def streamed(self) -> Self:
        """The same rows of a host array, sent to the device in every pass."""
        self._resident = False
        return self

    @property
    def _as_is(self) -> bool:
        return self._resident and super()._as_is

    @property
    def _own_blocks(self) -> bool:
        return False  # rows are packed side by side: never onto themselves

    def _read(self, worker: int, workers: int, step: int) -> Iterator[Raw]:
        """Blocks of A on the device, in its own type where the device knows it."""
        n, d = self.shape
        step = min(step, n)
        bounds = [(lo, min(lo + step, n)) for lo in range(0, n, step)]
        if self._resident:
            for lo, hi in bounds:
                yield lo, hi, self._A[lo:hi]
            return
        dtype = np.dtype(np.float32 if self._A.dtype == np.float32 else np.float64)
        room = [self.place.xp.empty((step, d), dtype) for _ in range(2)]
        with device.Copies((step, d), dtype) as copies:

            def send(i: int) -> None:
                lo, hi = bounds[i]
                copies.send(i % 2, self._A[lo:hi], room[i % 2][: hi - lo])

            send(0)
            for i, (lo, hi) in enumerate(bounds):
                if i + 1 < len(bounds):
                    send(i + 1)
                copies.arrived(i % 2)
                yield lo, hi, room[i % 2][: hi - lo]
                copies.give_up(i % 2)

    def _some(self, indices: NDArray[np.intp]) -> Iterator[tuple[Any, Any]]:
        xp = self.place.xp
        there = xp.asarray(np.asarray(indices, dtype=np.int64))
        for at in self._steps(len(indices)):
            if self._resident:
                yield at, self._plain(self._A[there[at]])
            else:
                # Converted here, as by `Copies`: there may be types that the device has not.
                yield at, xp.asarray(plain(np.asarray(self._A[indices[at]])))

    def _plain(self, block: Any) -> Any:
        if block.dtype in FLOATS and block.flags.c_contiguous:
            return block
        dtype = np.float32 if block.dtype == np.float32 else np.float64
        return self.place.xp.ascontiguousarray(block, dtype=dtype)

    def here(self, entries: int) -> BlockRows:
        n, d = self.shape
        if n * d > entries:
            return self
        host = self.place.host
        factors = None if self._factors is None else host(self._factors)
        return ArrayRows(
            host(self._A), factors, self._scale,
            dtype=self._dtype.type, passes=self._passes, longest=self._longest,
        )  # fmt: skip


def opened(A: Any, p: Any, row_weights: Any, infinite: bool) -> Problem[CudaRows]:
    """On the device as a whole where it fits, else read through it block by block in each pass."""
    p = validation.check_p(p, infinite=infinite)
    if is_distant(A):
        raise TypeError('A is a Dask array, which backend="cuda" does not take: leave it at "auto"')
    device.require()
    there = device.on_device(A)
    if not there and stored(A) is not None:
        raise TypeError(
            'A is in chunked storage, which backend="cuda" does not read: pass an array or a '
            "memory map"
        )
    source = check_matrix(A)
    n, d = source.shape
    omega = validation.check_weights(row_weights, n)
    with device.device_of(source):
        itemsize = source.dtype.itemsize if there else 4 if source.dtype == np.float32 else 8
        plan = device.layout(n, d, itemsize, device.free_bytes(), there=there)
        step = max(device.FEWEST_ROWS, plan.block_bytes // (8 * d))
        if plan.resident and not there:
            source = device.sent(source, step)
        largest, counted = largest_entries(source, omega, step=step)
        scale, factors, unit = units(counted, omega, p)
        placed = None if factors is None else device.array_module().asarray(factors)
        rows = CudaRows(source, placed, scale, plan.block_bytes, longest=largest * scale)
        if not plan.resident:
            rows = rows.streamed()
    return Problem(source, rows, factors, scale, unit, p, omega, "cuda")
