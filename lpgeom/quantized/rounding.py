"""A matrix in b bits an entry: a scale a row, or a group of columns, times one of 2^b levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io import validation
from lpgeom.kernels.cpu.rounding import fit_scales, nearest_codes
from lpgeom.records.subspace import Array

SHRINKS = np.array([1.0, 0.93, 0.86, 0.79, 0.72, 0.6])
"""Where the search for a scale begins, as shares of the one that clips nothing."""

STEPS = 1
"""Steps of least squares from the best of these."""

ROUNDS = 4
"""Times that levels and scales are fitted in turn."""

SAMPLE = 1 << 17
"""Entries that the levels are fitted to, about."""


@dataclass(frozen=True)
class Rounding:
    """A matrix ``scales[i, j // group] * levels[codes[i, j]]``.

    Attributes
    ----------
    codes : ndarray of uint8, shape (n, d)
        Not packed yet: see `packed`.
    scales : ndarray of float16, shape (n, ceil(d / group))
    levels : ndarray of float32 or float64, shape (2^bits,)
        Ascending, numbers of float16 times a power of two near the matrix' largest entry, which
        the largest in size is: so no scale leaves the range of float16.
    bits, group : int
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    levels: Array
    group: int

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return int(self.levels.size).bit_length() - 1

    @property
    def nbytes(self) -> int:
        """Bytes of packed codes, scales and levels."""
        n, d = self.codes.shape
        return nbytes_of(n, d, self.bits, self.group, self.levels.itemsize)

    def dense(self) -> Array:
        """The matrix in float64, of which every entry is an exact product."""
        columns = np.arange(self.codes.shape[1]) // self.group
        return self.levels.astype(np.float64)[self.codes] * self.scales[:, columns]


def nbytes_of(n: int, d: int, bits: int, group: int, of_level: int = 4) -> int:
    """Bytes of a `Rounding` of that size: packed codes, scales, levels of `of_level` bytes each."""
    return n * (-(-d * bits // 8) + 2 * -(-d // group)) + of_level * 2**bits


def packed(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Codes (n, d) of so many bits as rows of ``ceil(d bits / 8)`` bytes.

    Code j of a row has the row's bits ``j bits, ..., (j + 1) bits - 1``, the least significant
    first, and so do bytes.
    """
    planes = np.unpackbits(codes[:, :, None], axis=2, count=bits, bitorder="little")
    return np.packbits(planes.reshape(len(codes), -1), axis=1, bitorder="little")


def unpacked(stored: NDArray[np.uint8], bits: int, d: int) -> NDArray[np.uint8]:
    """The codes (n, d) of `packed` rows."""
    planes = np.unpackbits(stored, axis=1, count=d * bits, bitorder="little")
    return np.packbits(planes.reshape(-1, d, bits), axis=2, bitorder="little")[..., 0]


def rounded(W: Any, bits: int, group: int | None = None, *, column_weights: Any = None) -> Rounding:
    """Round every entry to the nearest of 2^bits levels times the scale of its group.

    Scales minimise ``sum_j h_j (w_j - s L[c_j])^2`` over their group, by least squares from a few
    starts that clip the group's largest entries more or less; levels minimise the sum over all
    groups by Lloyd's iteration, from equal steps. Both are fitted in turn.

    Parameters
    ----------
    W : array_like, shape (n, d)
        Finite; left as it is.
    bits : int
        1 to 8.
    group : int, optional
        Columns that share a scale; of the last group there may be fewer. A row if not given.
    column_weights : array_like, shape (d,), optional
        h >= 0, how much a squared error in each column counts; 1 if not given.

    Returns
    -------
    Rounding

    Raises
    ------
    TypeError, ValueError
        Entries that are not finite real numbers, or an option out of range.

    Notes
    -----
    O(n d) time. Rows of zeros come out exactly; scales are rounded to float16 before codes are
    chosen. Scales below 2^-14 of the largest have fewer digits, and those below 2^-25 are 0.

    Examples
    --------
    >>> import numpy as np
    >>> from lpgeom.quantized.rounding import rounded
    >>> W = np.random.default_rng(0).standard_normal((64, 96))
    >>> found = rounded(W, 4, 32)
    >>> round(float(np.linalg.norm(W - found.dense()) / np.linalg.norm(W)), 2)
    0.08
    """
    W, largest, bits, group = checked(W, bits, group)
    n, d = W.shape
    h = np.ones(d)
    if column_weights is not None:
        h = validation.check_entry_weights(column_weights, (1, d), "column_weights").ravel()
        h = h / (h.max() or 1.0)
    unit = 2.0 ** (math.frexp(largest)[1] - 1)
    groups = -(-d // group)
    padded = np.zeros((n, groups * group), W.dtype)
    np.divide(W, unit, out=padded[:, :d])
    rows = padded.reshape(n * groups, group)
    H = np.zeros((groups, group))
    H.ravel()[:d] = h
    levels = _levels(rows, H, bits)
    scales = np.zeros(len(rows))
    fit_scales(rows, H, levels, cuts_of(levels), SHRINKS, STEPS, scales)
    made = Rounding(
        np.empty((n, d), np.uint8),
        scales.reshape(n, groups).astype(np.float16),
        (levels * unit).astype(W.dtype),
        group,
    )
    column_groups = np.arange(d) // group
    wide = made.scales.astype(np.float64)
    nearest_codes(W, wide, column_groups, cuts_of(made.levels), made.codes)
    return made


def checked(W: Any, bits: int, group: int | None) -> tuple[Array, float, int, int]:
    """(W, its largest entry in size, bits, group) of a matrix and options that can be rounded.

    W is float32 or float64: what is neither takes the former.
    """
    W = validation.check_matrix(W, name="W")
    largest, _ = validation.largest_entries(W, name="W")
    if W.dtype not in (np.float32, np.float64):
        W = W.astype(np.float32)
    bits = validation.check_positive_int("bits", bits)
    if bits > 8:
        raise ValueError(f"bits must be at most 8, got {bits}")
    group = W.shape[1] if group is None else validation.check_positive_int("group", group)
    return W, largest, bits, min(group, W.shape[1])


def cuts_of(levels: Array) -> Array:
    """Half way between levels: where the nearest one changes."""
    wide = levels.astype(np.float64)
    return 0.5 * wide[1:] + 0.5 * wide[:-1]


def _levels(rows: Array, H: Array, bits: int) -> Array:
    """Levels of small weighted error over a sample of the rows, the largest in size being 1.

    A level moves to the weighted mean ``sum h s w / sum h s^2`` of what is nearest to it. Half of
    the sample are the rows of W that weigh most, and each of the others stands for several.
    """
    count, (groups, width) = 2**bits, H.shape
    levels = np.linspace(-1.0, 1.0, count)
    whole = rows.reshape(-1, groups, width)
    stands_for = np.ones(len(whole))
    if rows.size > SAMPLE:
        order = np.argsort(-np.einsum("ngw,gw,ngw->n", whole, H, whole), kind="stable")
        half = len(whole) * SAMPLE // rows.size // 2
        step = -(-(len(whole) - half) // max(1, half))
        chosen = np.concatenate([order[:half], order[half::step]])
        stands_for = np.repeat([1.0, step], [half, chosen.size - half])
        whole = whole[chosen]
    sample = whole.reshape(-1, width)
    h = (stands_for[:, None, None] * H).reshape(-1, width)
    together = np.zeros(width, np.int64)
    scales, codes = np.zeros(len(sample)), np.empty(sample.shape, np.uint8)
    for _ in range(ROUNDS):
        cuts = cuts_of(levels)
        fit_scales(sample, H, levels, cuts, SHRINKS, STEPS, scales)
        nearest_codes(sample, scales[:, None], together, cuts, codes)
        by_code, hs = codes.ravel(), h * scales[:, None]
        below = np.bincount(by_code, (hs * scales[:, None]).ravel(), count)
        above = np.bincount(by_code, (hs * sample).ravel(), count)
        levels = np.divide(above, below, out=levels.copy(), where=below > 0.0)
        levels /= np.abs(levels).max() or 1.0
    return levels.astype(np.float16).astype(np.float64)
