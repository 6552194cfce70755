"""A code for rows: a basis, groups, and widths for every component of each; and the codes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.spectrum import eigen
from lpgeom.groups.base import each
from lpgeom.kernels.cpu import encode_rows
from lpgeom.quantized.allocation import allocated_widths
from lpgeom.quantized.layout import WIDEST, Bytes, Ints
from lpgeom.quantized.quantizers import QUANTIZERS, STATES, codebooks
from lpgeom.rows.base import Array

BOOKS = 0.005
"""Share of the budget up to which codebooks are fitted and stored; else they are those of a normal
number, which everyone has."""

LLOYD = 2
"""Rounds of Lloyd's iteration for the codebooks."""

TRAINING = 1 << 21
"""Entries, at most, that codebooks are fitted to."""

PIECE = 1 << 20
"""Entries that one worker codes at a time."""

Floats = NDArray[np.floating]


def overhead(n: int, d: int, r: int, groups: int, books: int) -> int:
    """Bytes beside the codes: labels and scales, basis, widths, means and deviations, codebooks
    and the two numbers of the scales."""
    return 2 * n + 2 * d * r + 5 * groups * r + 2 * STATES * books + 16


@dataclass(frozen=True)
class Sample:
    """Rows that a code is fitted to.

    Attributes
    ----------
    rows : ndarray, shape (m, d)
        Divided by their scales.
    labels : ndarray of int, shape (m,)
        Their groups.
    gains : ndarray, shape (m,)
        How much a squared error counts in each, times the rows for which it stands.
    """

    rows: Floats
    labels: Ints
    gains: Array


@dataclass(frozen=True)
class Budget:
    """What a code may take, and of what it may be made.

    Attributes
    ----------
    nbytes : int
    sizes : ndarray of int, shape (groups,)
        Rows of each group, in the whole table.
    widths : tuple of int
    quantizer : str
        A name in `QUANTIZERS`.
    """

    nbytes: int
    sizes: Ints
    widths: tuple[int, ...]
    quantizer: str

    def distortion(self) -> Array:
        """Share of its energy that a component is expected to lose at 0 to 8 bits."""
        return np.array([1.0, *(QUANTIZERS[self.quantizer](b)[1] for b in range(1, WIDEST + 1))])


@dataclass(frozen=True)
class Code:
    """What turns rows into codes: all but these.

    Attributes
    ----------
    V : ndarray, shape (d, r)
        Orthonormal: a row divided by its scale has the components ``a V``.
    means, deviations : ndarray of float16, shape (groups, r)
        Of each component over the rows of each group.
    bits : ndarray of uint8, shape (groups, r)
    books : ndarray of float32, shape (9, 256)
        A codebook for each width.
    trained : bool
        Whether they are not those of a normal number.
    """

    V: Floats
    means: NDArray[np.float16]
    deviations: NDArray[np.float16]
    bits: Bytes
    books: NDArray[np.float32]
    trained: bool


def fitted(sample: Sample, budget: Budget) -> Code:
    """The eigenvectors of the sample, and the widths that the budget allows."""
    X, gains = sample.rows, sample.gains
    share = np.sqrt(gains / (gains.max(initial=0.0) or 1.0)).astype(X.dtype)
    weighted = X * share[:, None]
    V = eigen(np.asarray(weighted.T @ weighted, dtype=np.float64))[1][:, ::-1]
    V = np.ascontiguousarray(V, dtype=X.dtype)
    Y = X @ V
    means, deviations, energy, offsets = _moments(Y, sample, budget.sizes.size)
    own = 2 * STATES * len(budget.widths) <= BOOKS * budget.nbytes
    bits, kept = _allocation(energy, offsets, V.shape[0], budget, len(budget.widths) * own)
    code = Code(
        np.ascontiguousarray(V[:, kept]), means[:, kept], deviations[:, kept], bits,
        codebooks(budget.quantizer), False,
    )  # fmt: skip
    return _trained(code, np.ascontiguousarray(Y[:, kept]), sample) if own and kept.size else code


def _moments(Y: Floats, sample: Sample, groups: int) -> tuple[NDArray, NDArray, Array, Array]:
    """Means and deviations of the components over each group; the weighted squares about the
    former, as they are stored, and those of the means themselves."""
    d = Y.shape[1]
    means, deviations = np.zeros((2, groups, d), dtype=np.float16)
    energy, offsets = np.zeros((2, groups, d))
    for c in range(groups):
        own = np.flatnonzero(sample.labels == c)
        gains = sample.gains[own]
        total = float(gains.sum())
        if total == 0.0:
            continue
        share = (gains / total).astype(Y.dtype)
        means[c] = share @ Y[own]
        off = Y[own] - means[c].astype(Y.dtype)
        square = np.asarray(share @ np.square(off, out=off), dtype=np.float64)
        deviations[c] = np.sqrt(square)
        energy[c] = np.where(deviations[c] > 0, total * square, 0.0)
        offsets[c] = total * np.square(means[c].astype(np.float64))
    return means, deviations, energy, offsets


def _allocation(
    energy: Array, offsets: Array, d: int, budget: Budget, books: int
) -> tuple[Bytes, Ints]:
    """Widths within the budget, and the columns of the basis that are worth their own bytes.

    Columns that bring less than these cost at the price of a byte are left out, all at once, and
    the widths are chosen anew, until none is; where not even the basis fits, those of least energy
    are left out first.
    """
    groups, kept, distortion = len(energy), np.arange(d), budget.distortion()
    n = int(budget.sizes.sum())
    column = 2 * d + 5 * groups
    fits = max(0, budget.nbytes - overhead(n, d, 0, groups, books)) // column
    if fits < d:
        order = np.argsort(-(energy + offsets).sum(axis=0), kind="stable")
        kept = np.sort(order[:fits])
    while kept.size:
        room = budget.nbytes - overhead(n, d, kept.size, groups, books)
        own, price = allocated_widths(
            energy[:, kept], budget.sizes, room, distortion, budget.widths
        )
        brings = energy[:, kept] * (1.0 - distortion[own]) + offsets[:, kept]
        paid = price * (column + budget.sizes @ own / 8.0)
        worth = brings.sum(axis=0) > paid
        if worth.all():
            return own, kept
        kept = kept[worth]
    return np.zeros((groups, 0), dtype=np.uint8), kept


def _trained(code: Code, Y: Floats, sample: Sample) -> Code:
    """Codebooks whose values are the means of what they stand for."""
    step = max(1, Y.size // TRAINING)
    for _ in range(LLOYD):
        sums, counts = np.zeros((2, WIDEST + 1, STATES))
        for c in range(len(code.bits)):
            own = np.flatnonzero(sample.labels == c)[::step]
            encoded(code, c, Y[own], sample.gains[own], sums, counts)
        books = np.divide(sums, counts, out=code.books.astype(np.float64), where=counts > 0.0)
        code = replace(code, books=books.astype(np.float16).astype(np.float32), trained=True)
    return code


def encoded(code: Code, c: int, Y: Floats, gains: Array, sums: Array, counts: Array) -> Bytes:
    """Codes of rows of group c, from their components; `sums` and `counts` as in `encode_rows`."""
    order = np.argsort(-code.bits[c].astype(int), kind="stable")[: np.count_nonzero(code.bits[c])]
    stride = -(-int(code.bits[c].sum(dtype=np.int64)) // 8)
    codes = np.zeros((len(Y), stride), dtype=np.uint8)
    if not order.size:
        return codes
    sizes = code.deviations[c, order].astype(np.float32)
    top = float(sizes.max())  # the search is about errors relative to the largest
    step = max(64, PIECE // order.size)
    pieces = [slice(i, i + step) for i in range(0, len(Y), step)]

    def one(i: int) -> tuple[Array, Array]:
        rows = pieces[i]
        x = Y[rows][:, order].astype(np.float32)
        x -= code.means[c, order].astype(np.float32)
        x /= sizes
        more, often = np.zeros((2, WIDEST + 1, STATES))
        encode_rows(
            x, code.bits[c, order], np.square(sizes / top), code.books, codes[rows],
            gains[rows] * top**2, more, often,
        )  # fmt: skip
        return more, often

    for more, often in each(one, len(pieces), float(Y.size)):
        sums += more
        counts += often
    return codes
