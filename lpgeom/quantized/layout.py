"""Where the bits of a component lie: group by group, row by row, the widest components first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

WIDEST = 8
"""Bits of a component, at most, and of the byte that chooses its value."""


REAL = 32
"""The width of a component that is a float32 number."""


@dataclass(frozen=True)
class Layout:
    """Places of the bits, for groups c of rows and components j.

    Attributes
    ----------
    strides, offsets : ndarray of int64, shape (groups,)
        Bytes of a row, and where the first row of the group begins.
    order : tuple of ndarray of int64
        For each group the components with bits, in order of the stream: of falling width.
    byte : ndarray of int64, shape (groups, r)
        In which byte of its row a component ends.
    shift, mask : ndarray of uint8, shape (groups, r)
        The two bytes that end there, most significant first, moved down by `shift` and cut by
        `mask`, choose the value.
    nbytes : int
        Of all codes.
    """

    strides: Ints
    offsets: Ints
    order: tuple[Ints, ...]
    byte: Ints
    shift: Bytes
    mask: Bytes
    nbytes: int

    def addresses(self, labels: NDArray[np.integer]) -> Ints:
        """Where each row's codes begin, shape (n,): a group's rows lie in their order."""
        found = np.empty(labels.size, dtype=np.int64)
        for c, (start, stride) in enumerate(zip(self.offsets, self.strides, strict=True)):
            own = np.flatnonzero(labels == c)
            found[own] = start + stride * np.arange(own.size)
        return found


def layout(bits: Bytes, sizes: Ints) -> Layout:
    """Where the bits lie of groups of `sizes` rows whose components have the widths `bits`.

    Parameters
    ----------
    bits : ndarray of uint8, shape (groups, r)
        Widths, 0 to 8, or 0 and `REAL`.
    sizes : ndarray of int, shape (groups,)
    """
    widths = bits.astype(np.int64)
    ends = np.zeros_like(widths)
    order = []
    for c, own in enumerate(widths):
        falling = np.argsort(-own, kind="stable")
        ends[c, falling] = np.cumsum(own[falling])
        order.append(falling[: np.count_nonzero(own)])
    strides = -(-widths.sum(axis=1) // 8)
    starts = np.concatenate([[0], np.cumsum(strides * sizes)])
    last = np.maximum(ends - 1, 0)
    return Layout(
        strides=strides,
        offsets=starts[:-1],
        order=tuple(order),
        byte=last >> 3,
        shift=(7 - (last & 7)).astype(np.uint8),
        mask=((1 << np.minimum(ends, WIDEST)) - 1).astype(np.uint8),
        nbytes=int(starts[-1]),
    )
