"""From the user's array to Rows: scaled by a power of two, row weights folded in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lpgeom.io import validation
from lpgeom.io.sources import Stored
from lpgeom.rows import device
from lpgeom.rows.array import ArrayRows
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.blocks import BlockRows
from lpgeom.rows.stored import StoredRows
from lpgeom.rows.vectors import is_distant

LONGEST = 2.0**400
"""Rows that do not count may be this many times as long as the others where both are read alike."""

R = TypeVar("R", bound=Rows, covariant=True)


@dataclass(frozen=True)
class Problem(Generic[R]):
    """Validated input.

    `unit` is the norm that scaled norm 1 stands for: ``cost = scaled_cost * unit**p``; for p = inf
    a cost is a norm.
    """

    A: Any
    rows: R
    factors: Array | None
    scale: float
    unit: float
    p: float
    omega: Array | None

    @property
    def backend(self) -> str:
        """Where passes run: "cpu" or "cuda"."""
        return "cuda" if getattr(self.rows, "on_device", False) else "cpu"


def open_rows(
    A: Any, p: Any, row_weights: Any = None, *, infinite: bool = False
) -> Problem[ArrayRows]:
    """Check the input and wrap it: largest |entry| in [0.5, 1), largest row factor 1.

    A power of two scales without rounding (what underflows is below 1e-300 of the largest entry).
    Rows of weight 0 have no say in it: whatever stands there, as far as it is finite.
    p = inf is let in only where the caller has an answer to it (`infinite`); row factors are then
    the limits of ``omega_i^(1/p)``: 1 where omega_i > 0, 0 where it is 0.
    """
    return _opened(validation.check_matrix(A), ArrayRows, p, row_weights, infinite)


def open_anywhere(
    A: Any, p: Any, row_weights: Any = None, *, infinite: bool = False, backend: str = "auto"
) -> Problem[Rows]:
    """`open_rows` for callers that reach the rows through their passes alone: a Dask array, a
    device array, and what is in chunked storage, stay where they are.

    `backend` says where passes run: "cpu", "cuda", or "auto", where the rows are.
    """
    there = device.on_device(A)
    if backend == "cuda" or (backend == "auto" and there):
        return _opened_on_device(A, p, row_weights, infinite)
    if there:
        A = device.host(A)
    if not is_distant(A):
        source = validation.check_rows(A)
        kind = StoredRows if isinstance(source, Stored) else ArrayRows
        return _opened(source, kind, p, row_weights, infinite)
    from lpgeom.rows import dask

    array = dask.check_matrix(A)
    n, d = array.shape
    if n < d:  # no larger than the matrices that travel
        weights = row_weights.compute() if is_distant(row_weights) else row_weights
        return open_rows(array.compute(), p, weights, infinite=infinite)
    p = validation.check_p(p, infinite=infinite)
    omega = dask.check_weights(row_weights, array)
    largest, counted = dask.largest_entries(array, omega)
    scale, unit = _units(counted)
    factors, unit = _factors(omega, p, unit)
    rows = dask.DaskRows(array, factors, scale, longest=largest * scale)
    return Problem(array, rows, factors, scale, unit, p, omega)


def open_array(
    A: Any, p: Any, row_weights: Any = None, *, backend: str = "auto"
) -> Problem[BlockRows]:
    """`open_rows` for callers that read blocks of an array, here or on a device."""
    there = device.on_device(A)
    if backend == "cuda" or (backend == "auto" and there):
        problem: Any = _opened_on_device(A, p, row_weights, False)
        return problem
    found: Any = open_rows(device.host(A) if there else A, p, row_weights)
    return found


def plain_rows(problem: Problem[BlockRows]) -> BlockRows:
    """The rows without their factors, with per-row vectors in NumPy wherever the rows are.

    ValueError if rows of weight 0 are so long that float64 has no room for them and the others.
    """
    if problem.rows._longest > LONGEST:
        raise ValueError(
            "rows of weight 0 are so long that all others vanish beside them: set them to 0"
        )
    if problem.backend == "cpu":
        return ArrayRows(problem.A, None, problem.scale, longest=problem.rows._longest)
    return vectors_here(problem.rows, factors=False)


def vectors_here(rows: BlockRows, *, factors: bool = True) -> BlockRows:
    """The same rows, with or without their factors, with per-row vectors in NumPy."""
    if not getattr(rows, "keeps_vectors", False):
        return rows
    from lpgeom.rows.cuda import FetchingRows

    kept = rows._factors if factors else None
    here = FetchingRows(
        rows._A, kept, rows._scale, rows._block_bytes,
        dtype=rows.dtype.type, passes=rows._passes, longest=rows._longest,
    )  # fmt: skip
    return here if rows._resident else here.streamed()  # type: ignore[attr-defined]


def brought(rows: Rows, entries: int) -> Rows:
    """The same rows in this process: from a device if they have no more than so many entries, of
    a Dask array if `Rows.local` takes them; else as they are."""
    if getattr(rows, "on_device", False):
        from lpgeom.rows.cuda import CudaRows

        n, d = rows.shape
        return rows.here() if isinstance(rows, CudaRows) and n * d <= entries else rows
    here = rows.local()
    return rows if here is None else here


def some_rows(A: Any, index: NDArray[np.intp]) -> Any:
    """``A[index]``, where A is."""
    return A[device.array_module().asarray(index)] if device.on_device(A) else np.asarray(A[index])


def taken(A: Any, index: NDArray[np.intp]) -> NDArray[Any]:
    """Rows of an opened A as they are, fetched: float32 if A is, else float64."""
    dtype = np.float32 if A.dtype == np.float32 else np.float64
    if is_distant(A):
        from lpgeom.rows.dask import DaskRows

        return DaskRows(A, dtype=dtype).take(index)._A
    if device.on_device(A):
        from lpgeom.rows.cuda import CudaRows

        return np.asarray(device.host(CudaRows(A, dtype=dtype).take(index)._A))
    if isinstance(A, Stored):
        return np.asarray(StoredRows(A, dtype=dtype).take(index)._A)
    return np.ascontiguousarray(A[index], dtype=dtype)


def _opened(
    array: Any, kind: type[ArrayRows], p: Any, row_weights: Any, infinite: bool
) -> Problem[ArrayRows]:
    p = validation.check_p(p, infinite=infinite)
    omega = validation.check_weights(row_weights, array.shape[0])
    largest, counted = validation.largest_entries(array, omega)
    scale, unit = _units(counted)
    factors, unit = _factors(omega, p, unit)
    rows = kind(array, factors, scale, longest=largest * scale)
    return Problem(array, rows, factors, scale, unit, p, omega)


def _opened_on_device(A: Any, p: Any, row_weights: Any, infinite: bool) -> Problem[Rows]:
    """On the device as a whole where it fits, else read through it block by block in each pass."""
    p = validation.check_p(p, infinite=infinite)
    if is_distant(A):
        raise TypeError('A is a Dask array, which backend="cuda" does not take: leave it at "auto"')
    device.require()
    from lpgeom.rows import cuda

    there = device.on_device(A)
    source = cuda.check_matrix(A) if there else validation.check_rows(A)
    if isinstance(source, Stored):
        raise TypeError(
            'A is in chunked storage, which backend="cuda" does not read: pass an array or a '
            "memory map"
        )
    n, d = source.shape
    omega = validation.check_weights(row_weights, n)
    with device.device_of(source):
        itemsize = source.dtype.itemsize if there else 4 if source.dtype == np.float32 else 8
        plan = device.layout(n, d, itemsize, device.free_bytes(), there=there)
        step = max(device.FEWEST_ROWS, plan.block_bytes // (8 * d))
        if plan.resident and not there:
            source = device.sent(source, step)
        if plan.resident:
            largest, counted = cuda.largest_entries(source, omega, step)
        else:
            largest, counted = validation.largest_entries(source, omega)
        scale, unit = _units(counted)
        factors, unit = _factors(omega, p, unit)
        placed = None if factors is None else device.array_module().asarray(factors)
        rows = cuda.CudaRows(source, placed, scale, plan.block_bytes, longest=largest * scale)
        if not plan.resident:
            rows = rows.streamed()
    return Problem(source, rows, factors, scale, unit, p, omega)


def _units(largest: float) -> tuple[float, float]:
    """(scale, unit): powers of two, each other's inverse."""
    # 2^-e and 2^e must both be floats; at the ends of the range the entry misses [0.5, 1).
    e = min(max(math.frexp(largest)[1], -1020), 1020) if largest > 0.0 else 0
    return math.ldexp(1.0, -e), math.ldexp(1.0, e)


def _factors(omega: Array | None, p: float, unit: float) -> tuple[Array | None, float]:
    """Row factors ``(omega / top)^(1/p)``, and the unit with the largest weight in it."""
    if omega is None:
        return None, unit
    if math.isinf(p):
        return (omega > 0.0).astype(np.float64), unit
    top = float(omega.max())
    unit *= top ** (1.0 / p)
    if not np.finfo(np.float64).tiny <= unit < math.inf:
        raise OverflowError(
            f"A and row_weights together leave float64 (the largest weight is {top:g}); multiply "
            "row_weights by a number, as costs are"
        )
    return (omega / top) ** (1.0 / p), unit
