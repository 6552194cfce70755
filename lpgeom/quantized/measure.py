"""How far rows are from what stands for them, as norms, which are always finite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.records.base import Array, p_norm

BLOCK = 1 << 22
"""Entries that are decoded at a time."""


def blocks(n: int, d: int) -> Iterator[slice]:
    """The rows in runs of about `BLOCK` entries."""
    step = max(1, BLOCK // max(1, d))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def distances(rows: NDArray[Any], others: NDArray[Any]) -> Array:
    """``||rows_i - others_i||``, at lengths near 1."""
    e = np.frexp(np.abs(rows).max(initial=0.0))[1]
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
