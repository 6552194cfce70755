"""The case of widths 0 and 32: the ranks of `approx_mixed`, and a basis for each group."""

from __future__ import annotations

from typing import Any

import numpy as np

from lpgeom.groups.mixed import approx_mixed
from lpgeom.quantized.coder import overhead
from lpgeom.quantized.layout import REAL, Bytes
from lpgeom.records.groups import MixedResult

SUBSPACES = 4
"""Groups if nobody says how many, as in `approx_mixed`."""

TRIES = 16
"""Times that fewer numbers are tried until all bytes fit."""


def mixed_within(
    A: Any, nbytes: int, p: float, groups: int, row_weights: Any, seed: int
) -> MixedResult:
    """Subspaces of different ranks whose float32 numbers take at most `nbytes` bytes in all.

    Raises
    ------
    ValueError
        If no ranks fit.
    """
    n, d = A.shape
    numbers = (nbytes - overhead(n, d, 0, groups, 0)) // 4
    for _ in range(TRIES):
        if numbers < 1:
            break
        found = approx_mixed(
            A, numbers, p, subspaces=groups, row_weights=row_weights, certify=False, seed=seed
        )
        over = stored(found) - nbytes
        if over <= 0:
            return found
        numbers = min(numbers, found.storage) - max(-(-over // 4), numbers // 50)
    raise ValueError(f"{nbytes} bytes are too few for a rank of {n} x {d} rows in float32")


def stored(found: MixedResult) -> int:
    """Bytes of the arrays that `QuantizedResult` has for these subspaces."""
    (n, d), r = found.shape, sum(found.ranks)
    codes = 4 * int(np.dot(found.ranks, found.sizes))
    return overhead(n, d, r, found.subspaces, 0) + 2 * d * r + codes  # a basis in float32


def arrays(A: Any, found: MixedResult) -> dict[str, Any]:
    """Widths, basis and codes of rows as they are in their subspaces."""
    lefts = []
    starts = np.concatenate([[0], np.cumsum(found.ranks)])
    bits: Bytes = np.zeros((found.subspaces, starts[-1]), dtype=np.uint8)
    for c, part in enumerate(found.parts):
        rows = np.asarray(A[found.labels == c], dtype=np.float64)
        # Of the basis as it is stored.
        left = np.linalg.lstsq(part.basis.astype(np.float32).astype(np.float64), rows.T)[0].T
        lefts.append(np.ascontiguousarray(left, dtype="<f4").view(np.uint8).ravel())
        bits[c, starts[c] : starts[c + 1]] = REAL
    zeros = np.zeros(bits.shape, dtype=np.float16)
    return {
        "labels": found.labels.astype(np.uint8),
        "bits": bits,
        "basis": np.concatenate([part.basis for part in found.parts], axis=1).astype(np.float32),
        "means": zeros,
        "deviations": zeros,
        "levels": np.zeros((0, 256), dtype=np.float16),
        "scale_codes": np.ones(len(found.labels), dtype=np.uint8),
        "ladder": (1.0, 0.0),
        "codes": np.concatenate(lefts),
    }
