"""Where arrays lie, and what works on them there: every formula is written once, for any place.

`place_of` finds the place by the array. Where NumPy's own functions answer for arrays of a device,
formulas call them by name; what they cannot say for all is in `Place`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpgeom.io import validation
from lpgeom.kernels import cpu
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.threads import spread

Work = Callable[[int, int, Callable[[], bool]], Any]

LEAST_ROWS = 2048
"""Rows of one block of a sweep on the host, and on a device at least."""

SWEEP_BYTES = 64 << 20
"""Bytes of one block of a sweep on a device: a product keeps it busy, temporaries stay small."""


@dataclass(frozen=True)
class Place:
    """Array functions, kernels and block sizes of one memory.

    Attributes
    ----------
    backend : {"cpu", "cuda"}
    xp : module
        NumPy, or CuPy.
    kernels : module
        `lpgeom.kernels.cpu` or its twin `lpgeom.kernels.cuda`.
    panel : int
        Columns of one panel of a triangular product: wide enough for BLAS, narrow enough to skip
        most of the zero triangle.
    flush : int
        Blocks summed in float32 before they are added to a float64 sum.
    block_bytes : int
        Bytes of one block of rows. On the host a few of them stay in cache for each worker; on a
        device a block has enough rows to keep it busy.
    sweep_bytes : int
        Bytes of one block of a sweep over entries, if that is more than `LEAST_ROWS` rows.
    batch_bytes : int
        Bytes of the temporaries of a block of least-squares problems.
    packed_entries : int
        Largest table of the products ``q_ja q_jb``: all normal matrices of a block are then one
        product with it; larger ones are formed one by one.
    """

    backend: str
    xp: Any
    kernels: Any
    panel: int
    flush: int
    block_bytes: int
    sweep_bytes: int
    batch_bytes: int
    packed_entries: int

    @property
    def on_device(self) -> bool:
        """Whether this is a CUDA device."""
        return self.backend == "cuda"

    def host(self, v: Any) -> Any:
        """An array of this place as NumPy's; itself if it is."""
        return device.host(v)

    def array(self, values: Any, dtype: Any = None) -> Any:
        """`values` in this memory, in C order."""
        # In two calls: CuPy's ascontiguousarray takes only what is on the device already.
        return self.xp.ascontiguousarray(self.xp.asarray(values), dtype=dtype)

    def matmul(self, a: Any, b: Any, out: Any) -> Any:
        """``out = a b``, in the arithmetic of the type."""
        # The device's routine takes b, which is small, by its rows.
        return self.kernels.matmul(a, self.xp.ascontiguousarray(b) if self.on_device else b, out)

    def row_squares(self, B: Any) -> Array:
        """``||b_i||^2`` of the rows of an array."""
        if not self.on_device:
            return np.asarray(np.einsum("ij,ij->i", B, B), dtype=np.float64)
        out: Array = self.xp.zeros(len(B))
        self.kernels.add_row_squares(B, out)
        return out

    def run(self, work: Work, size: float) -> list[Any]:
        """As `lpgeom.threads.spread`; on a device one after another: it is the parallelism."""
        return [work(0, 1, lambda: False)] if self.on_device else spread(work, size)

    def block_rows(self, d: int) -> int:
        """Rows of d numbers in float64 in one block."""
        return max(1, self.block_bytes // (8 * d))

    def sweep_rows(self, d: int) -> int:
        """Rows of d entries in one block of a sweep."""
        return max(LEAST_ROWS, self.sweep_bytes // (8 * d))


HOST = Place(
    "cpu", np, cpu, panel=96, flush=32,
    block_bytes=2 << 20, sweep_bytes=0, batch_bytes=1 << 24, packed_entries=1 << 23,
)  # fmt: skip


def device_place() -> Place:
    """The current CUDA device."""
    return Place(
        "cuda", device.array_module(), device_kernels(), panel=device.PANEL, flush=1,
        block_bytes=device.BLOCK_BYTES, sweep_bytes=SWEEP_BYTES, batch_bytes=1 << 28,
        packed_entries=1 << 26,
    )  # fmt: skip


def device_kernels() -> Any:
    """The kernels compiled for CUDA devices."""
    from lpgeom.kernels import cuda

    return cuda


def place_of(array: Any) -> Place:
    """Where the array lies."""
    return device_place() if device.on_device(array) else HOST


def place_for(A: Any, backend: str) -> Place:
    """Where a problem with A is worked on: "cpu", "cuda", or "auto", where A is.

    Raises
    ------
    ImportError, RuntimeError
        There is no device to work on.
    """
    validation.check_backend(backend)
    if backend == "cpu" or (backend == "auto" and not device.on_device(A)):
        return HOST
    device.require()
    return device_place()


def check_matrix(A: Any, name: str = "A", *, missing: bool = False) -> Any:
    """`lpgeom.io.validation.check_matrix`, or the same of an array that stays on its device."""
    if not device.on_device(A):
        return validation.check_matrix(A, name, missing=missing)
    array = device.as_device(A)
    validation.check_form(array, name)
    return array


def largest_entries(
    A: Any, row_weights: Array | None = None, name: str = "A", step: int | None = None
) -> tuple[float, float]:
    """`lpgeom.io.validation.largest_entries` of an array, read where it is in blocks of `step` rows
    at most; `row_weights` are NumPy's."""
    if not device.on_device(A):
        return validation.largest_entries(A, row_weights, name)
    place = device_place()
    size = step or place.block_rows(A.shape[1])

    def blocks() -> Iterator[tuple[int, Any]]:
        for lo in range(0, len(A), size):
            block = A[lo : lo + size]
            plain = block.dtype in (np.float32, np.float64)
            yield lo, block if plain else block.astype(np.float64)

    return validation.largest_of(blocks(), row_weights, name, there=place.xp.asarray)


def device_for(A: Any, backend: str) -> AbstractContextManager[Any]:
    """A context in which A's own device is the current one, if A is worked on there."""
    if backend == "cpu" or not device.on_device(A):
        return nullcontext()
    device.require()
    return device.device_of(device.as_device(A))
