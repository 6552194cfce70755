"""What the truncated SVD costs at every rank, from one eigendecomposition and one pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.geometry.spectrum import EPS, spectrum
from lpgeom.records.subspace import to_cost_units
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.blocks import Stop
from lpgeom.rows.door import open_array
from lpgeom.subspace.span import in_span
from lpgeom.threads import limited, sized

CHUNK = 256
"""Rows whose residuals at every rank are held at once."""

LEAST = 1e-290
"""Mean squared residuals below this have no reciprocal to speak of."""


@dataclass(frozen=True, eq=False)
class SvdCurve:
    """Costs of the leading right singular vectors, rank by rank.

    Attributes
    ----------
    cost : ndarray, shape (d + 1,), float64
        ``cost[k] = sum_i omega_i ||a_i - a_i V_k V_k^T||^p``, a p-th power in user units, for V_k
        the k leading right singular vectors of the matrix below. Never rises with k; ``cost[0]`` is
        what approximation by zero costs, and from the rank of that matrix on the cost is 0.
    singular_values : ndarray, shape (d,), float64
        Those of the rows ``omega_i^(1/p) a_i``, falling, in user units; zeros beyond the rank.
    p : float
    shape : tuple of int
        (n, d).
    """

    cost: Array = field(repr=False)
    singular_values: Array = field(repr=False)
    p: float
    shape: tuple[int, int]


def svd_cost_curve(
    A: ArrayLike, p: float, *, row_weights: ArrayLike | None = None, backend: str = "auto"
) -> SvdCurve:
    """Rows cost of the truncated SVD for k = 0, ..., d.

    ``cost[k]`` is `SubspaceResult.svd_cost` of ``approx_subspace(A, k, p, row_weights=...)``, whose
    SVD is that of the rows ``omega_i^(1/p) a_i``, on which the cost is an unweighted sum. The two
    agree to rounding below 2^20 entries of A; above, `svd_cost` may come from float32 passes.

    Parameters
    ----------
    A : array_like, shape (n, d)
        In memory or a memory map; read in blocks.
    p : float
        1 <= p <= 100.
    row_weights : array_like, shape (n,), optional
        omega >= 0, not all zero.
    backend : {"auto", "cpu", "cuda"}
        See `approx_subspace`.

    Returns
    -------
    SvdCurve

    Raises
    ------
    TypeError, ValueError
        Those of `approx_subspace`; p = inf is not among the exponents.

    Notes
    -----
    Two passes over A, of ``n d^2`` and ``2 n d^2`` operations, and n d powers. With columns of U
    in the order of rising eigenvalues, row i's squared residuals at all ranks are the running
    sums of ``(a_i U)_j^2``: sums of squares with the small ones first, without a difference that
    could cancel where k is near d.

    Examples
    --------
    >>> import numpy as np
    >>> from lpgeom.subspace.svd_curve import svd_cost_curve
    >>> curve = svd_cost_curve(np.diag([4.0, 3.0, 2.0]), p=1.0)
    >>> curve.cost.round(12).tolist()
    [9.0, 5.0, 2.0, 0.0]
    >>> curve.singular_values.round(12).tolist()
    [4.0, 3.0, 2.0]
    """
    with limited():
        problem = open_array(A, p, row_weights, backend=backend)
        n, d = problem.rows.shape
        with sized(n, d), device.algebra(problem.rows):
            rows: Any = in_span(problem)[0].rows
            spec = spectrum(rows)
            lam = np.maximum(spec.eigvals, 0.0)
            r = lam.size
            lam[: r - spec.rank] = 0.0
            # A typical residual of every rank is 1, so that high powers stay inside float64.
            mean = divisors(np.cumsum(lam) / n)
            inverse = 1.0 / mean
            U = np.ascontiguousarray(spec.U[:, r - spec.rank :])
            lost = tails(rows, U, inverse[r - spec.rank :], problem.p)
    # lost[m - 1] is what is lost with the m smallest of the nonzero singular values.
    cost = np.zeros(d + 1)
    for m, tail in enumerate(lost, 1):
        root = float(np.sqrt(mean[r - spec.rank + m - 1]))
        cost[spec.rank - m] = to_cost_units(float(tail), problem.unit * root, problem.p)
    values = np.zeros(d)
    values[:r] = np.sqrt(lam[::-1]) * problem.unit
    return SvdCurve(np.minimum.accumulate(cost), values, problem.p, (n, d))


def divisors(mean: Array) -> Array:
    """Mean squared residuals, rising, of every rank, kept where they may divide squared residuals.

    Below eps^2 of the rows' own they are rounding, and the residuals need not be as small.
    """
    return np.maximum(mean, max(EPS * EPS * float(mean[-1]), LEAST))


def tails(rows: Any, U: Array, inverse: Array, p: float) -> Array:
    """``sum_i (t_im inverse_m)^(p/2)`` with ``t_im = sum_{j <= m} (a_i U)_j^2``, for every m."""

    place = rows.place
    xp, host = place.xp, place.host
    U, inverse = xp.asarray(np.ascontiguousarray(U)), xp.asarray(inverse)

    def work(worker: int, workers: int, stopped: Stop) -> Array:
        total = xp.zeros(U.shape[1])
        for lo, hi, block, c in rows.blocks(worker, workers, stopped):
            weights = xp.full(hi - lo, 1.0) * c
            # On a device the block is as large as its buffers, and t one of them.
            chunk = CHUNK if xp is np else hi - lo
            for first in range(0, hi - lo, chunk):
                some = slice(first, first + chunk)
                part = block[some]
                t = place.matmul(part, U, out=xp.empty((len(part), U.shape[1]), part.dtype))
                if p > 4.0:  # float32 has no room for such powers
                    t = t.astype(np.float64)
                t *= t
                xp.cumsum(t, axis=1, out=t)
                t *= inverse
                t *= weights[some, None]
                total += _powers(t, p).sum(axis=0)
        return host(total)

    return np.asarray(sum(rows.run(work)))


def _powers(t: Array, p: float) -> Array:
    """``t^(p/2)`` in place; roots and products where these do, which is several times faster."""
    if p == 2.0:
        return t
    if p == 1.0:
        return np.sqrt(t, out=t)
    if p == 1.5:
        root = np.sqrt(t)
        root *= np.sqrt(root)
        return root
    if p == 3.0:
        t *= np.sqrt(t)
        return t
    return np.power(t, p / 2.0, out=t)
