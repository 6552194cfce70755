"""A table of numbers in few bytes, as others do it: casts, rounding to nearest, product codes.

Each function gives the table that is read back, in float32, and the bytes that lie on disk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import lpgeom

Table = NDArray[np.float32]
Coded = tuple[Table, int]

HALF = 2
"""Bytes of a float16, in which scales, codebooks and factors are stored."""


def cast(table: NDArray) -> Coded:
    """In float16."""
    return table.astype(np.float16).astype(np.float32), HALF * table.size


def rounded(table: Table, bits: int, group: int | None = None) -> Coded:
    """Round to nearest: `bits` a number, and one float16 scale a group of neighbours in a row.

    The number furthest from 0 of a group gets the code ``-2^(bits - 1)``, so that all codes are
    used; one of the other sign and as large is off by a whole step, others by half of one.

    Parameters
    ----------
    table : array (n, d)
    bits : int
        2 to 8.
    group : int, optional
        A divisor of d; else a whole row.
    """
    n, d = table.shape
    group = group or d
    if d % group:
        raise ValueError(f"groups of {group} do not divide rows of {d}")
    x = table.reshape(-1, group)
    low = -(2 ** (bits - 1))
    furthest = x[np.arange(len(x)), np.abs(x).argmax(axis=1)]
    scales = (furthest / low).astype(np.float16).astype(np.float32)[:, None]
    steps = np.divide(x, scales, out=np.zeros_like(x), where=scales != 0.0)
    codes = np.rint(steps).clip(low, -low - 1)
    return (codes * scales).reshape(n, d), (bits * n * d + 7) // 8 + HALF * len(scales)


def product_codes(table: Table, dims: int, weights: NDArray | None = None, seed: int = 0) -> Coded:
    """Product quantisation: one byte for `dims` neighbours in a row, by weighted k-means.

    Jegou, Douze, Schmid, "Product quantization for nearest neighbor search", 2011. Codebooks of
    256 in float16.
    """
    from sklearn.cluster import MiniBatchKMeans

    out = np.empty_like(table)
    parts = -(-table.shape[1] // dims)
    for columns in np.array_split(np.arange(table.shape[1]), parts):
        piece = np.ascontiguousarray(table[:, columns])
        means = MiniBatchKMeans(
            min(256, len(piece)), batch_size=4096, n_init=1, max_iter=30, random_state=seed
        ).fit(piece, sample_weight=weights)
        centres = means.cluster_centers_.astype(np.float16).astype(np.float32)
        out[:, columns] = centres[means.labels_]
    return out, table.shape[0] * parts + HALF * 256 * table.shape[1]


def mixed_ranks(
    table: Table, removed: float, weights: NDArray | None = None, bits: int = 16
) -> Coded:
    """`lpgeom.approx_mixed` less a share of the numbers, left factors in `bits` each.

    16 is float16. Below that left factors are rounded with a scale a row. Right factors are in
    float16, and the label of a row takes one byte.
    """
    found = lpgeom.approx_mixed(
        table, int((1.0 - removed) * table.size), 2.0, subspaces=8,
        row_weights=weights, certify=False,
    )  # fmt: skip
    out = np.zeros_like(table)
    taken = len(table)
    for c, (left, right) in enumerate(zip(*found.factors(table), strict=True)):
        if left.size:
            coded, size = cast(left) if bits == 16 else rounded(left.astype(np.float32), bits)
            basis, more = (np.eye(len(table[0])), 0) if right is None else cast(right)
            out[found.labels == c] = coded @ basis
            taken += size + more
    return out, taken
