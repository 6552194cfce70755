"""Dense rows in one memory, the host's or a CUDA device's, and what works on them there.

Ellipsoids need all rows at once. Formulas are written once, for arrays that answer to NumPy's
functions; arrays of n rows stay where they are, and (d, d) matrices are factored on the host (CuPy
does not say when a Cholesky factorization fails).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lpgeom.io import validation
from lpgeom.kernels.cpu import mvee, shallow_cut
from lpgeom.rows import array, device
from lpgeom.rows.base import Array
from lpgeom.rows.door import Problem, open_anywhere, open_rows

COPIES = 8
"""Arrays of the size of A, in float64, that may be on the device at once beside A itself: 6.2
were measured on the host (the smallest ellipsoid around points), of which a few are products."""

FEW = 1 << 17
"""Up to so many entries a search that looks at few rows brings all of them to the host."""

NEAR = 1 << 20
"""Up to so many entries steps that wait for one another are made on the host. One core takes 0.9 ms
for a cut of 2^20 entries and 0.25 ms for an exchange over them; queueing the launches of such a
step took as long, 0.95 and 0.19 ms, over a driver that drops them. No device was there to measure.
"""


@dataclass(frozen=True)
class DensePlace:
    """Array functions and kernels of one memory.

    Attributes
    ----------
    xp : module
        NumPy, or CuPy.
    host : callable
        An array of this place as NumPy's; itself if it is.
    row_squares : callable
        ``||b_i||^2`` of the rows of an array.
    matmul : callable
        ``matmul(a, b, out)``.
    mvee, shallow_cut : module
        ``kernels.cpu.mvee`` and ``kernels.cpu.shallow_cut``, or their twins.
    """

    xp: Any
    host: Callable[[Any], Any]
    row_squares: Callable[[Any], Array]
    matmul: Callable[..., Any]
    mvee: Any
    shallow_cut: Any

    def there(self, values: Any) -> Any:
        """NumPy's `values` in this place; themselves if it is the host."""
        return self.xp.asarray(values)

    def near(self, entries: int) -> DensePlace:
        """Where to make steps that wait for one another, each over so many entries."""
        return HOST if entries <= NEAR else self


def _same(v: Any) -> Any:
    return v


def _host_squares(B: Array) -> Array:
    return np.asarray(np.einsum("ij,ij->i", B, B), dtype=np.float64)


HOST = DensePlace(np, _same, _host_squares, np.matmul, mvee, shallow_cut)


def device_kernels() -> tuple[Any, Any]:
    """The twins of ``kernels.cpu.mvee`` and ``kernels.cpu.shallow_cut``."""
    from lpgeom.kernels.cuda import mvee, shallow_cut

    return mvee, shallow_cut


def device_place() -> DensePlace:
    """The current CUDA device."""
    blocks = device.place()

    def squares(B: Any) -> Any:
        out = blocks.xp.zeros(len(B))
        blocks.rowwise.add_row_squares(B, out)
        return out

    return DensePlace(blocks.xp, blocks.host, squares, blocks.matmul, *device_kernels())


def place_of(rows: Any) -> DensePlace:
    """Where these rows are."""
    return device_place() if getattr(rows, "on_device", False) else HOST


def dense_rows(rows: Any, place: DensePlace) -> Array:
    """All rows as one float64 array where they are, scale and factors applied."""
    if place is HOST:
        return array.dense(rows)
    out: Array = place.xp.empty(rows.shape)
    for lo, hi, block, c in rows.blocks(0, 1, lambda: False):
        out[lo:hi] = block * (math.sqrt(c) if isinstance(c, float) else place.xp.sqrt(c)[:, None])
    return out


# ---------------------------------------------------------------- the doors


def open_dense(A: Any, p: Any, row_weights: Any, backend: str) -> Problem[Any]:
    """`open_rows` (p = inf included), or on a device with room for dense work.

    Raises
    ------
    ImportError, RuntimeError
        There is no device to work on.
    MemoryError
        The device has too little memory free.
    """
    if not _wants_device(A, backend):
        A = device.host(A) if device.on_device(A) else A
        return open_rows(A, p, row_weights, infinite=True)
    p = validation.check_p(p, infinite=True)
    if math.isinf(p):
        # That door is for finite p; at inf a row counts or it does not.
        problem = open_anywhere(A, 1.0, backend=backend)
        omega = validation.check_weights(row_weights, problem.rows.shape[0])
        if omega is not None:
            counts = (omega > 0.0).astype(np.float64)
            problem = open_anywhere(problem.A, 1.0, counts, backend=backend)
        problem = replace(problem, p=p)
    else:
        problem = open_anywhere(A, p, row_weights, backend=backend)
    n, d = problem.rows.shape
    with device.device_of(problem.A):
        _check_room(n, min(n, d), 0)
    return problem


def open_points(A: Any, name: str, backend: str) -> tuple[Array, int, DensePlace]:
    """Points times ``2^-e`` (largest |entry| in [0.5, 1)) in C order, e, and where they are.

    Raises as `open_dense`; OverflowError where scaling loses a column.
    """
    if not _wants_device(A, backend):
        points = validation.check_matrix(device.host(A) if device.on_device(A) else A, name)
        e = _exponent(validation.largest_entry(points, name))
        P = np.ldexp(np.ascontiguousarray(points, dtype=np.float64), -e)
        _check_columns(points, P, name, HOST)
        return P, e, HOST
    device.require()
    from lpgeom.rows import cuda

    there = device.on_device(A)
    with _called(name):
        source = cuda.check_matrix(A) if there else validation.check_matrix(A)
        n, d = source.shape
        step = max(1, device.BLOCK_BYTES // (8 * d))
        with device.device_of(source):
            _check_room(n, d + 1, 0 if there else 8 * n * d)
            top = cuda.largest_entry(source, step) if there else validation.largest_entry(source)
            source = source if there else device.sent(source, step)
            place = device_place()
            e = _exponent(top)
            P = place.xp.ascontiguousarray(source, dtype=np.float64) * 2.0**-e
            _check_columns(source, P, name, place)
    return P, e, place


def _wants_device(A: Any, backend: str) -> bool:
    backend = validation.check_backend(backend)
    return backend == "cuda" or (backend == "auto" and device.on_device(A))


def _check_columns(source: Any, P: Any, name: str, place: DensePlace) -> None:
    """No column of nonzero entries is so small beside the largest that float64 loses it."""
    size = place.host(place.xp.abs(P).max(axis=0))
    small = np.flatnonzero(size < np.finfo(np.float64).tiny)
    lost = [j for j in small.tolist() if bool((source[:, j] != 0).any())]
    if lost:
        raise OverflowError(
            f"column {lost[0]} of {name} is more than 1e307 times smaller than the largest entry, "
            "which leaves float64; rescale the columns"
        )


def _exponent(largest: float) -> int:
    """e with ``2^e`` and ``2^-e`` in the range of float64."""
    return min(max(math.frexp(largest)[1], -1020), 1020) if largest > 0.0 else 0


def _check_room(n: int, d: int, more: int) -> None:
    row = 8 * (COPIES * d + device.VECTORS)
    need = n * row + more + 8 * device.MATRICES * d * d
    free = device.free_bytes()
    if need > free:
        raise MemoryError(
            f"ellipsoids work on all rows at once: {n} rows of {d} numbers need "
            f"{need / 2**20:.0f} MiB of device memory beside the data, {free / 2**20:.0f} MiB are "
            f'free; some {free // row} rows would fit; backend="cpu" works in host memory'
        )


@contextmanager
def _called(name: str) -> Iterator[None]:
    """Checks of A that speak of it by the name of another argument."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(re.sub(r"\bA\b", name, str(error))) from None
