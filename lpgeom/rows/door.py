"""From the user's array to Rows: scaled by a power of two, row weights folded in.

`KINDS` chooses the kind of rows; each kind opens itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io import validation
from lpgeom.io.sources import stored
from lpgeom.rows import array, cuda, device
from lpgeom.rows import stored as storage
from lpgeom.rows.array import ArrayRows
from lpgeom.rows.base import is_distant
from lpgeom.rows.blocks import BlockRows
from lpgeom.rows.problem import Problem

__all__ = ["KINDS", "Kind", "Problem", "open_anywhere", "open_array", "open_rows"]

LONGEST = 2.0**400
"""Rows that do not count may be this many times as long as the others where both are read alike."""

Open = Callable[[Any, Any, Any, bool], Problem[Any]]


@dataclass(frozen=True)
class Kind:
    """One kind of rows.

    Attributes
    ----------
    accepts : callable
        ``accepts(A)``: whether what the user gave is of this kind. It loads nothing.
    open : callable
        ``open(A, p, row_weights, infinite)``: the checked, scaled `Problem`.
    rows : callable
        The class of its rows, for an A that is opened.
    """

    accepts: Callable[[Any], bool]
    open: Open
    rows: Callable[[], Any]


def _dask() -> Any:
    from lpgeom.rows import dask

    return dask


DASK = Kind(is_distant, lambda *given: _dask().opened(*given), lambda: _dask().DaskRows)
CUDA = Kind(device.on_device, cuda.opened, lambda: cuda.CudaRows)
STORED = Kind(lambda A: stored(A) is not None, storage.opened, lambda: storage.StoredRows)
ARRAY = Kind(lambda A: True, array.opened, lambda: ArrayRows)

KINDS: list[Kind] = [DASK, CUDA, STORED, ARRAY]
"""The first that accepts A opens it; arrays, and all that NumPy makes one of, come last."""


def open_rows(
    A: Any, p: Any, row_weights: Any = None, *, infinite: bool = False
) -> Problem[ArrayRows]:
    """Check the input and wrap it: largest |entry| in [0.5, 1), largest row factor 1.

    A power of two scales without rounding (what underflows is below 1e-300 of the largest entry).
    Rows of weight 0 have no say in it: whatever stands there, as far as it is finite.
    p = inf is let in only where the caller has an answer to it (`infinite`); row factors are then
    the limits of ``omega_i^(1/p)``: 1 where omega_i > 0, 0 where it is 0.
    """
    return array.opened(A, p, row_weights, infinite)


def open_anywhere(
    A: Any,
    p: Any,
    row_weights: Any = None,
    *,
    infinite: bool = False,
    backend: str = "auto",
    kinds: list[Kind] = KINDS,
) -> Problem[Any]:
    """`open_rows` for callers that reach the rows through their passes alone: a Dask array, a
    device array, and what is in chunked storage, stay where they are.

    `backend` says where passes run: "cpu", "cuda", or "auto", where the rows are.
    """
    validation.check_backend(backend)
    if backend == "cpu":
        A = device.fetched(A)
    kind = CUDA if backend == "cuda" else next(kind for kind in kinds if kind.accepts(A))
    return kind.open(A, p, row_weights, infinite)


def open_array(
    A: Any, p: Any, row_weights: Any = None, *, infinite: bool = False, backend: str = "auto"
) -> Problem[BlockRows]:
    """`open_rows` for callers that read blocks of an array, here or on a device."""
    kinds = [CUDA, ARRAY]
    return open_anywhere(A, p, row_weights, infinite=infinite, backend=backend, kinds=kinds)


def plain_rows(problem: Problem[BlockRows]) -> BlockRows:
    """The rows without their factors, with per-row vectors in NumPy wherever the rows are.

    ValueError as `check_lengths`.
    """
    check_lengths(problem)
    return problem.rows.fetching(factors=False)


def check_lengths(problem: Problem[Any]) -> None:
    """ValueError if rows of weight 0 are so long that float64 has no room for them and the
    others."""
    if problem.rows._longest > LONGEST:
        raise ValueError(
            "rows of weight 0 are so long that all others vanish beside them: set them to 0"
        )


def some_rows(A: Any, index: NDArray[np.intp]) -> Any:
    """``A[index]``, where A is."""
    return A[device.array_module().asarray(index)] if device.on_device(A) else np.asarray(A[index])


def taken(A: Any, index: NDArray[np.intp]) -> NDArray[Any]:
    """Rows of an opened A as they are, fetched: float32 if A is, else float64."""
    dtype = np.float32 if A.dtype == np.float32 else np.float64
    kind = next(kind for kind in KINDS if kind.accepts(A))
    found: NDArray[Any] = device.host(kind.rows()(A, dtype=dtype).take(index)._A)
    return found
