"""The step of an entrywise splitting method in one sweep. See `lpgeom.kernels.cpu.proximal`.

The step reads and writes every entry once, a warp along a row: it runs at the speed of memory, but
for the p whose `prox` has no closed form, where it is bound by pow.
"""

import numpy as np

from lpgeom.kernels.cpu import proximal as text
from lpgeom.kernels.cuda.arrays import array_module
from lpgeom.kernels.cuda.lanes import told
from lpgeom.kernels.cuda.launch import by_rows
from lpgeom.kernels.cuda.reductions import total
from lpgeom.kernels.scalar import prox

__all__ = ["prox", "prox_entries", "split_rows", "split_step"]

prox_entries, split_rows = by_rows(1)(told(text.prox_entries)), by_rows()(told(text.split_rows))


def split_step(A, L, U, M, W, lam, p, shrink):  # type: ignore[no-untyped-def]
    """One step of ADMM on ``min sum W |E|^p, A - L = E`` over a block, in place; returns the cost.

    The rows' costs are summed apart, in chunks of fixed size: the cost is the same for every
    launch. Waits for the device.
    """
    n, d = A.shape
    if n == 0 or d == 0:
        return 0.0
    costs = array_module().empty(n, dtype=np.float64)
    weighted = W is not None
    split_rows(A, L, U, M, W if weighted else A, weighted, lam, p, shrink, costs)
    return total(costs)
