"""How far rows are from what stands for them, as norms, which are always finite."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.kernels.cpu.rounding import add_cast_squares
from lpgeom.records.base import Array, p_norm

BLOCK = 1 << 22
"""Entries that are decoded at a time."""

USUAL = 100
"""Powers of two, up or down, within which numbers need no scaling."""

CASTS, CAST_GROUP = (8, 4), 32
"""What one would do without this library: every entry to the nearest at so many bits, in groups
that share a scale."""


def blocks(n: int, d: int) -> Iterator[slice]:
    """The rows in runs of about `BLOCK` entries."""
    step = max(1, BLOCK // max(1, d))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def distances(rows: NDArray[Any], others: NDArray[Any]) -> Array:
    """``||rows_i - others_i||``, at lengths near 1."""
    e = int(np.frexp(max(rows.max(initial=0.0), -rows.min(initial=0.0)))[1])
    if abs(e) < USUAL:  # squares of these are far from the ends of float64
        off = np.subtract(rows, others, dtype=np.float64)
        return np.sqrt(np.einsum("ij,ij->i", off, off))
    off = np.ldexp(rows.astype(np.float64), -e) - np.ldexp(others.astype(np.float64), -e)
    found: Array = np.ldexp(np.linalg.norm(off, axis=1), e)
    return found


def lengths(A: NDArray[Any]) -> Array:
    """The norm of each row."""
    zero = np.zeros((1, A.shape[1]))
    return np.concatenate([distances(A[here], zero) for here in blocks(*A.shape)])


def weighted_norm(norms: Array, omega: Array | None, p: float) -> float:
    """``(sum omega_i norms_i^p)^(1/p)``."""
    if omega is None:
        return p_norm(norms, p)
    top = float(omega.max())
    return p_norm(norms * (omega / top) ** (1.0 / p), p) * top ** (1.0 / p)


def digest(omega: Array | None) -> str:
    """What tells row weights from others; empty without any."""
    return "" if omega is None else hashlib.sha256(omega.astype("<f8").tobytes()).hexdigest()


def cast_distances(
    read: Callable[[slice], NDArray[Any]], shape: tuple[int, int], omega: Array | None
) -> Array:
    """How far each row is from what casts of 8 and of 4 bits make of it, shape (2, n).

    `read` gives rows whose largest entry is near 1, but for rows of weight 0, which have any size
    and the distance 0. The scale of a group of a row is in float16:
    its largest entry is the last of ``2^bits - 1`` equal steps around 0.
    """
    (n, d), squares = shape, np.zeros((len(CASTS), shape[0]))
    for here in blocks(n, d):
        rows = read(here)
        if omega is not None:
            rows = np.where(omega[here, None] > 0.0, rows, 0.0)
        largest = np.maximum.reduceat(np.abs(rows), np.arange(0, d, CAST_GROUP), axis=1)
        for bits, out in zip(CASTS, squares, strict=True):
            top = (1 << bits - 1) - 1
            scales = (largest / top).astype(np.float16).astype(np.float32)
            add_cast_squares(rows, scales, top, CAST_GROUP, out[here])
    return np.sqrt(squares)
