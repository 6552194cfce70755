"""Where entrywise problems are worked on: array functions, kernels and block sizes of one memory.

Every descent is written once, against an `EntryPlace`, and finds its own by the array it is given:
`place_of`. Where NumPy's own functions answer for arrays of the device, they are called by name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.spectrum import eigen
from lpgeom.io import validation
from lpgeom.kernels.cpu import proximal, regression
from lpgeom.kernels.cpu.line_search import line_search
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.threads import spread

Work = Callable[[int, int, Callable[[], bool]], Any]

SWEEP_BYTES = 64 << 20
"""Bytes of one block of rows on the device: a product keeps it busy, and temporaries stay small."""

LEAST_ROWS = 2048
"""Rows of one block on the host, and on the device at least."""

REGRESSION_ARRAYS, REGRESSION_ENTRIES = 24, 1 << 25
"""Arrays of a block's size that regressions hold on the device, and the largest size."""


@dataclass(frozen=True)
class EntryPlace:
    """Array functions and kernels of one memory, and how much is worked on at a time.

    Attributes
    ----------
    backend : {"cpu", "cuda"}
    xp : module
        NumPy, or CuPy.
    split_step : callable
        ``kernels.cpu.proximal.split_step`` or its twin.
    regression : module
        ``kernels.cpu.regression`` or its twin.
    line_search : callable
        ``kernels.cpu.line_search.line_search`` or its twin.
    matmul : callable
        ``matmul(a, b, out)``, in the arithmetic of the type.
    add_gram : callable
        ``add_gram(M, G)``: ``G += M^T M``, M of either type, G float64; its upper triangle at
        least.
    leading : callable
        ``leading(G, k)``: the k leading eigenvectors (d, k) of such a G.
    host : callable
        An array of this place as NumPy's; itself if it is.
    run : callable
        ``run(work, size)``: as `lpgeom.threads.spread`.
    sweep_rows : callable
        ``sweep_rows(d)``: rows of d entries in one block of a sweep.
    block_bytes : int
        Of the temporaries of a block of least-squares problems.
    regression_entries : callable
        ``regression_entries(d, r)``: entries of a block of regressions of d entries in r
        coefficients.
    packed_entries : int
        Largest table of the products ``q_ja q_jb``: all normal matrices of a block are then one
        product with it; larger ones are formed one by one.
    """

    backend: str
    xp: Any
    split_step: Callable[..., float]
    regression: Any
    line_search: Callable[..., None]
    matmul: Callable[..., Any]
    add_gram: Callable[[Any, Any], None]
    leading: Callable[[Any, int], Any]
    host: Callable[[Any], Array]
    run: Callable[[Work, float], list[Any]]
    sweep_rows: Callable[[int], int]
    block_bytes: int
    regression_entries: Callable[[int, int], int]
    packed_entries: int

    @property
    def on_device(self) -> bool:
        """Whether this is a CUDA device."""
        return self.backend == "cuda"

    def array(self, values: Any, dtype: Any = None) -> Any:
        """`values` in this memory, in C order."""
        # In two calls: CuPy's ascontiguousarray takes only what is on the device already.
        return self.xp.ascontiguousarray(self.xp.asarray(values), dtype=dtype)


def place_of(array: Any) -> EntryPlace:
    """Where the array lies."""
    return device_place() if device.on_device(array) else HOST


def place_for(A: Any, backend: str) -> EntryPlace:
    """Where a problem with A is worked on: "cpu", "cuda", or "auto", where A is.

    Raises
    ------
    ImportError, RuntimeError
        There is no device to work on.
    """
    if backend == "cpu" or (backend == "auto" and not device.on_device(A)):
        return HOST
    device.require()
    return device_place()


def device_for(A: Any, backend: str) -> AbstractContextManager[Any]:
    """A context in which A's own device is the current one, if A is worked on there."""
    if backend == "cpu" or not device.on_device(A):
        return nullcontext()
    device.require()
    return device.device_of(device.as_device(A))


# ---------------------------------------------------------------- the host


def _add_gram(M: NDArray[Any], G: Array) -> None:
    G += M.T @ M


def _leading(G: Array, k: int) -> Array:
    return eigen(G)[1][:, len(G) - k :]


HOST = EntryPlace(
    backend="cpu",
    xp=np,
    split_step=proximal.split_step,
    regression=regression,
    line_search=line_search,
    matmul=np.matmul,
    add_gram=_add_gram,
    leading=_leading,
    host=np.asarray,
    run=spread,
    sweep_rows=lambda d: LEAST_ROWS,
    block_bytes=1 << 24,
    # With a dozen arrays of that size the cache holds it; normal matrices are 8 MiB at most.
    regression_entries=lambda d, r: min(1 << 15, d * ((1 << 20) // max(1, r * r))),
    packed_entries=1 << 23,
)


# ---------------------------------------------------------------- the device


def device_place() -> EntryPlace:
    """The current CUDA device."""
    from lpgeom.kernels.cuda import proximal, regression
    from lpgeom.kernels.cuda.line_search import line_search

    return on_a_device(proximal.split_step, regression, line_search)


def on_a_device(
    split_step: Callable[..., float], regression: Any, line_search: Callable[..., None]
) -> EntryPlace:
    """The place of these kernels, with products and eigenvectors of the device's libraries."""
    rows = device.place()
    xp = rows.xp

    def matmul(a: Any, b: Any, out: Any) -> Any:
        # The routine takes rows in a row: what is copied here is (d, k) or turned.
        return rows.matmul(xp.ascontiguousarray(a), xp.ascontiguousarray(b), out)

    def add_gram(M: Any, G: Any) -> None:
        # Column-major, the upper triangle: one half of the work. G is in C order: its lower one.
        if M.dtype == np.float64:
            rows.rank_update(G.T, 1.0, M)
            return
        block = xp.zeros(G.shape, dtype=M.dtype)
        rows.rank_update(block.T, 1.0, M)
        G += block

    def leading(G: Any, k: int) -> Any:
        d = len(G)
        G = xp.tril(G) + xp.tril(G, -1).T
        if d <= device.SMALL_EIGEN:  # the device is slower
            return xp.asarray(_leading(rows.host(G), k))
        return np.linalg.eigh(G)[1][:, d - k :]

    def regression_entries(d: int, r: int) -> int:
        # Half of what is free; a normal matrix is stored twice.
        room = device.free_bytes() // 16
        return min(REGRESSION_ENTRIES, int(room / (REGRESSION_ARRAYS + 2.0 * r * r / d)))

    return EntryPlace(
        backend="cuda",
        xp=xp,
        split_step=split_step,
        regression=regression,
        line_search=line_search,
        matmul=matmul,
        add_gram=add_gram,
        leading=leading,
        host=rows.host,
        run=lambda work, size: [work(0, 1, lambda: False)],
        sweep_rows=lambda d: max(LEAST_ROWS, SWEEP_BYTES // (8 * d)),
        block_bytes=1 << 28,
        regression_entries=regression_entries,
        packed_entries=1 << 26,
    )


def check_matrix(B: Any, name: str) -> Any:
    """B, which may lie on a device and then stays there, as finite numbers in two dimensions.

    Raises
    ------
    TypeError, ValueError
        As `lpgeom.io.validation`.
    """
    if not device.on_device(B):
        array = validation.check_matrix(B, name)
        validation.largest_entry(array, name)
        return array
    array = device.as_device(B)
    # The type and the shape are known without the numbers.
    validation.check_matrix(np.broadcast_to(np.zeros((), array.dtype), array.shape), name)
    step = max(LEAST_ROWS, SWEEP_BYTES // (8 * array.shape[1]))
    for lo in range(0, len(array), step):
        fine = np.isfinite(array[lo : lo + step]).all(axis=1)
        if not fine.all():
            bad = lo + int(np.argmin(fine))
            validation.largest_entry(device.host(array[bad : bad + 1]), name, bad)
    return array
