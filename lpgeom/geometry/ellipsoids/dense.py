"""The doors of ellipsoids, which need all rows at once, in the host's memory or on a CUDA device.

Formulas are written once, for arrays that answer to NumPy's functions; arrays of n rows stay where
they are (`lpgeom.rows.place`), and (d, d) matrices are factored on the host (CuPy does not say when
a Cholesky factorization fails).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.door import Problem, open_array
from lpgeom.rows.place import Place, check_matrix, largest_entries, place_for

COPIES = 8
"""Arrays of the size of A, in float64, that may be on the device at once beside A itself: 6.2
were measured on the host (the smallest ellipsoid around points), of which a few are products."""

FEW = 1 << 17
"""Up to so many entries a search that looks at few rows brings all of them to the host."""

NEAR = 1 << 20
"""Up to so many entries steps that wait for one another are made on the host. One core takes 0.9 ms
for a cut of 2^20 entries and 0.25 ms for an exchange over them, which is what it takes to queue the
work of such a step on a device."""


def near(entries: int, *arrays: Any) -> tuple[Any, ...]:
    """The arrays where steps are made that wait for one another, each over so many entries."""
    return tuple(map(device.fetched, arrays)) if entries <= NEAR else arrays


def open_dense(A: Any, p: Any, row_weights: Any, backend: str) -> Problem[Any]:
    """`open_array` (p = inf included), on a device with room for dense work.

    Raises
    ------
    ImportError, RuntimeError
        There is no device to work on.
    MemoryError
        The device has too little memory free.
    """
    problem = open_array(A, p, row_weights, infinite=True, backend=backend)
    if problem.rows.place.on_device:
        n, d = problem.rows.shape
        with device.device_of(problem.A):
            _check_room(n, min(n, d), 0)
    return problem


def open_points(A: Any, name: str, backend: str) -> tuple[Array, int]:
    """Points times ``2^-e`` (largest |entry| in [0.5, 1)) in C order, where they are, and e.

    Raises as `open_dense`; OverflowError where scaling loses a column.
    """
    place = place_for(A, backend)
    source = check_matrix(A if place.on_device else device.fetched(A), name)
    n, d = source.shape
    with device.device_of(source):
        there = device.on_device(source)
        if place.on_device:
            _check_room(n, d + 1, 0 if there else 8 * n * d)
        top = largest_entries(source, None, name)[0]
        if place.on_device and not there:
            source = device.sent(source, place.block_rows(d))
        # e with 2^e and 2^-e in the range of float64.
        e = min(max(math.frexp(top)[1], -1020), 1020) if top > 0.0 else 0
        P = place.xp.ascontiguousarray(source, dtype=np.float64) * 2.0**-e
        _check_columns(source, P, name, place)
    return P, e


def _check_columns(source: Any, P: Any, name: str, place: Place) -> None:
    """No column of nonzero entries is so small beside the largest that float64 loses it."""
    size = place.host(place.xp.abs(P).max(axis=0))
    small = np.flatnonzero(size < np.finfo(np.float64).tiny)
    lost = [j for j in small.tolist() if bool((source[:, j] != 0).any())]
    if lost:
        raise OverflowError(
            f"column {lost[0]} of {name} is more than 1e307 times smaller than the largest entry, "
            "which leaves float64; rescale the columns"
        )


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
