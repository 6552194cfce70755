"""The words in which a kernel for both targets is written, as they are meant on the CPU.

A row has some lanes, which share its columns; here it has one. `lpgeom.kernels.cuda.lanes` has the
same words for a device, where the lanes are threads of a warp, and compiles the kernel's text
again with them. So such a kernel loops with strides, and every lane comes to each word.
"""

from numba import njit

__all__ = ["LANES", "added", "added_by", "filled", "lanes_for", "least", "most", "position", "sync"]

LANES = 1
"""Lanes of a row that can add up, compare and wait for each other."""


@njit(cache=True, nogil=True)
def lanes_for(width):  # type: ignore[no-untyped-def]
    """Lanes for a row of `width` entries of which none needs to know of another."""
    return 1


@njit(cache=True, nogil=True)
def position(lanes):  # type: ignore[no-untyped-def]
    """(row, rows, lane): the first row, the stride to the next one, and the lane in these."""
    return 0, 1, 0


@njit(cache=True, nogil=True)
def filled(n, lanes):  # type: ignore[no-untyped-def]
    """Where a loop over n rows ends whose lanes add up: whole warps come to the sum."""
    return n


@njit(cache=True, nogil=True)
def added_by(x, lanes):  # type: ignore[no-untyped-def]
    """The sum over the lanes of a row that has so many."""
    return x


@njit(cache=True, nogil=True)
def _own(x):  # type: ignore[no-untyped-def]
    """The sum, the least or the largest of the numbers that the lanes have, for all of them."""
    return x


added = least = most = _own


@njit(cache=True, nogil=True)
def sync():  # type: ignore[no-untyped-def]
    """Wait until all lanes of the row have come here."""
