"""Rows on a CUDA device, or sent there block by block: passes, checks, and the road in.

Per-row vectors stay on the device as CuPy arrays, which answer to NumPy's functions; (d, d)
matrices travel, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lpgeom.rows import device
from lpgeom.rows.array import ArrayRows, plain
from lpgeom.rows.base import Array, KeepingRule, Passes, Rule
from lpgeom.rows.blocks import Block, BlockRows, Stop
from lpgeom.rows.forms import Bilinear, SquaredNorm

FLOATS = (np.float32, np.float64)


class CudaRows(BlockRows):
    """Rows ``scale * factors[i] * A[i]`` of a device array, or of a host array that is too large.

    Parameters as in `BlockRows`; `factors` is a device vector. A host array A is read in every
    pass, through pinned memory.
    """

    on_device = True
    keeps_vectors = True
    """Per-row vectors are CuPy arrays; False: they are fetched."""

    def __init__(
        self,
        A: Any,
        factors: Any = None,
        scale: float = 1.0,
        block_bytes: int = device.BLOCK_BYTES,
        *,
        dtype: type[np.floating[Any]] = np.float64,
        passes: Passes | None = None,
        share: float = 1.0,
        longest: float = 1.0,
    ) -> None:
        super().__init__(
            A, factors, scale, block_bytes,
            dtype=dtype, passes=passes, share=share, longest=longest,
        )  # fmt: skip
        self.place = device.place()
        self._resident = device.on_device(A) or device.is_simulated()

    def streamed(self) -> Self:
        """The same rows of a host array, sent to the device in every pass."""
        self._resident = False
        return self

    def _view(self, scale: float, dtype: type[np.floating[Any]]) -> Self:
        view = super()._view(scale, dtype)
        view._resident = self._resident
        return view

    def run(self, work: Callable[[int, int, Stop], Any]) -> list[Any]:
        """One pass, one block after another: the device is the parallelism."""
        results = [work(0, 1, lambda: False)]
        self._passes.total += self._share
        return results

    @property
    def _as_is(self) -> bool:
        return self._resident and super()._as_is

    @property
    def _own_blocks(self) -> bool:
        return False  # rows are packed side by side: never onto themselves

    def blocks(
        self, worker: int, workers: int, stopped: Stop, step: int | None = None
    ) -> Iterator[Block]:
        n, d = self.shape
        xp, f = self.place.xp, self._factors
        step = min(step or self._block_rows(), n)
        buffer = None if self._as_is else xp.empty((step, d), dtype=self._dtype)
        for lo, hi, block in self._read(step):
            if buffer is None:
                c: Any = self._scale**2
                if f is not None:
                    c = c * f[lo:hi] ** 2
                yield lo, hi, block, c
            else:
                g = xp.full(hi - lo, self._scale)
                if f is not None:
                    g *= f[lo:hi]
                if block.dtype not in FLOATS or not block.flags.c_contiguous:
                    dtype = np.float32 if block.dtype == np.float32 else np.float64
                    block = xp.ascontiguousarray(block, dtype=dtype)
                self.place.rowwise.scale_rows(block, g, buffer[: hi - lo])
                yield lo, hi, buffer[: hi - lo], 1.0

    def _read(self, step: int) -> Iterator[tuple[int, int, Any]]:
        """Blocks of A on the device, in its own type where the device knows it."""
        n, d = self.shape
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

    def take(self, indices: NDArray[np.intp], factors: Array | None = None) -> CudaRows:
        xp = self.place.xp
        m = len(indices)
        out = xp.empty((m, self.shape[1]), dtype=self._dtype)
        f = xp.full(m, self._scale)
        there = xp.asarray(np.asarray(indices, dtype=np.int64))
        if self._factors is not None:
            f *= self._factors[there]
        if factors is not None:
            f *= xp.asarray(factors)
        step = self._block_rows()
        for lo in range(0, m, step):
            if self._resident:
                chunk = self._A[there[lo : lo + step]]
            else:
                # Converted here, as by `Copies`: there may be types that the device has not.
                chunk = xp.asarray(plain(np.asarray(self._A[indices[lo : lo + step]])))
            if chunk.dtype not in FLOATS:
                chunk = chunk.astype(np.float64)
            self.place.rowwise.scale_rows(chunk, f[lo : lo + step], out[lo : lo + step])
        share = self._share * m / max(self.shape[0], 1)
        self._passes.total += share
        return type(self)(
            out,
            block_bytes=self._block_bytes,
            dtype=self._dtype.type,
            passes=self._passes,
            share=share,
        )

    def reduced(self) -> tuple[CudaRows, Array]:
        """For n < d: the rows in coordinates of their span (by QR on the host, as `ArrayRows`)."""
        double = self._view(self._scale, np.float64)
        everything = self.place.host(double.take(np.arange(self.shape[0]))._A)
        Q, R = np.linalg.qr(np.ascontiguousarray(everything).T)
        B = self.place.xp.asarray(np.ascontiguousarray(R.T))
        share = self._share * len(R.T) / self.shape[1]
        return type(self)(B, block_bytes=self._block_bytes, passes=self._passes, share=share), Q

    def here(self) -> ArrayRows:
        """The same rows in the host's memory: they are few."""
        host = self.place.host
        factors = None if self._factors is None else host(self._factors)
        return ArrayRows(
            host(self._A), factors, self._scale,
            dtype=self._dtype.type, passes=self._passes, longest=self._longest,
        )  # fmt: skip


class FetchingRows(CudaRows):
    """Rows on the device whose per-row vectors come here, as NumPy arrays.

    For algorithms that sort, split and relabel rows: n numbers travel in each pass, beside n d that
    do not.
    """

    keeps_vectors = False

    def squared_norms(self) -> Array:
        return self.place.host(super().squared_norms())

    def _form(self, form: SquaredNorm | Bilinear) -> Array:
        return self.place.host(super()._form(form))

    def weighted_gram(self, w: Array | None = None) -> Array:
        return super().weighted_gram(None if w is None else self.place.xp.asarray(w))

    def reweighted_gram(self, X: Array, rule: Rule | KeepingRule) -> tuple[Array, ...]:
        xp, host = self.place.xp, self.place.host

        def there(t: Array, lo: int, hi: int) -> Any:
            w = rule(host(t), lo, hi)
            return tuple(map(xp.asarray, w)) if isinstance(w, tuple) else xp.asarray(w)

        t, G, *kept = super().reweighted_gram(X, there)
        return host(t), G, *map(host, kept)


def check_matrix(A: Any) -> Any:
    """A as a two-dimensional array of real numbers on its device, shared with whoever owns it.

    Raises
    ------
    TypeError
        Entries that are not real numbers.
    ValueError
        Not two-dimensional, or without rows or columns.
    """
    array = device.as_device(A)
    if array.dtype.kind == "b":
        raise TypeError("A has boolean entries; pass A.astype(float) if 0 and 1 are meant")
    if array.dtype.kind not in "iuf":
        raise TypeError(f"A must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"A must be two-dimensional (rows are points), got shape {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"A is empty: shape {array.shape}")
    return array


def largest_entry(A: Any, step: int) -> float:
    """max |A_ij| of a device array; ValueError if an entry is NaN or infinite, naming the first."""
    return largest_entries(A, None, step)[0]


def largest_entries(A: Any, row_weights: Array | None, step: int) -> tuple[float, float]:
    """`largest_entry` of all rows, and of those whose weight (NumPy's) is not 0."""
    xp = device.array_module()
    largest = counted = 0.0
    for lo in range(0, A.shape[0], step):
        block = A[lo : lo + step]
        if block.dtype not in FLOATS:
            block = block.astype(np.float64)
        # min and max hand on NaN, and show infinities.
        top = float(xp.maximum(block.max(), -block.min()))
        if not np.isfinite(top):
            bad = xp.argwhere(~xp.isfinite(block))
            i, j = (int(x) for x in device.host(bad[0]))
            value = float(block[i, j])
            raise ValueError(f"A[{lo + i}, {j}] is {value}; every entry must be finite")
        largest = max(largest, top)
        if row_weights is not None and top > counted:
            counts = row_weights[lo : lo + len(block)] > 0.0
            if not counts.all():
                sizes = xp.maximum(block.max(axis=1), -block.min(axis=1))
                top = float(xp.where(xp.asarray(counts), sizes, 0.0).max())
        counted = max(counted, top)
    return largest, counted
