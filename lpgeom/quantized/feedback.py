"""Rounding with error feedback: the errors that count are those of the products with inputs x."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky
from scipy.linalg.lapack import dtrtri

from lpgeom.io import validation
from lpgeom.kernels.cpu.rounding import descend_codes, feed_back
from lpgeom.quantized.rounding import Rounding, checked, cuts_of, rounded
from lpgeom.records.subspace import Array

DAMPING = 0.03
"""Added to the diagonal of the inputs' moment, as a share of its mean."""

BLOCK = 128
"""Columns whose errors are taken to later blocks at once, by a product of matrices."""

TURNS = 2
"""Times that scales are solved for and codes descend again."""

SWEEPS = 4
"""Sweeps of a descent, at most; most rows end sooner."""


def fed_back(
    W: Any, bits: int, group: int | None, moment: Any, *, damping: float = DAMPING
) -> Rounding:
    """Round W so that ``sum_i (w_i - q_i) H (w_i - q_i)^T`` is small, not each entry's error.

    With inputs x of moment ``H = E x x^T`` that is ``E ||(W - Q) x||^2``. Columns are rounded one
    by one, those of large H_jj first. Let F be the columns still free and e_j the error just made
    in column j: the errors of F are best at ``e_F = -e_j H_jF H_FF^-1``. By the formula for the
    inverse of a partitioned matrix that is ``e_j G_jF / G_jj``, G being the inverse of H restricted
    to j and F; and with ``H^-1 = U^T U``, U upper triangular, G is that of the rows of U from j on,
    so that ``G_jk / G_jj = U_jk / U_jj`` for all j at once. So the free weights are moved by ``w_k
    -= e_j U_jk / U_jj`` before they are rounded (Frantar, Ashkboos, Hoefler, Alistarh, GPTQ, ICLR
    2023, after Hassibi and Stork's optimal brain surgeon).

    Of each row the better of this and of the nearest levels is kept. Then codes descend one by one
    in the metric of H, and scales are solved for by least squares in it, in turn; a row keeps what
    costs it less.

    Parameters
    ----------
    W : array_like, shape (n, d)
        Finite; left as it is.
    bits, group
        As for `rounded`, which chooses levels and first scales, with the weights H_jj.
    moment : array_like, shape (d, d), or Damped
        Positive semidefinite; may be singular. What `damped` makes of it serves several calls.
    damping : float
        H is `moment` plus that share of its mean eigenvalue; > 0.

    Returns
    -------
    Rounding
        In the metric of H never worse than ``rounded(W, bits, group, column_weights=diagonal)``.

    Raises
    ------
    TypeError, ValueError
        As `rounded`; a moment that is not symmetric, positive semidefinite and finite.

    Notes
    -----
    O(n d^2 + d^3) time, and memory for some five matrices of float64.

    Examples
    --------
    >>> import numpy as np
    >>> from lpgeom.quantized.feedback import fed_back
    >>> from lpgeom.quantized.rounding import rounded
    >>> rng = np.random.default_rng(0)
    >>> W = rng.standard_normal((64, 96))
    >>> X = rng.standard_normal((500, 8)) @ rng.standard_normal((8, 96))
    >>> error = lambda found: float(np.linalg.norm(X @ (W - found.dense()).T))
    >>> error(fed_back(W, 3, 32, X.T @ X)) < 0.1 * error(rounded(W, 3, 32))
    True
    """
    W, _, bits, group = checked(W, bits, group)
    ridge = moment if isinstance(moment, Damped) else damped(moment, W.shape[1], damping)
    H, U = ridge.H, ridge.U
    start = rounded(W, bits, group, column_weights=np.diag(H))
    unit = float(np.abs(start.levels).max())
    levels = start.levels.astype(np.float64) / unit
    column_groups = np.arange(W.shape[1]) // group
    problem = _Problem(W.astype(np.float64) / unit, H, levels, column_groups)
    best = problem.judged(start.scales.astype(np.float64), start.codes)
    best = best.better(problem.judged(best.scales, problem.recursion(best.scales, U)))
    best = problem.descended(best)
    for _ in range(TURNS):
        best = best.better(problem.descended(problem.rescaled(best)))
    return replace(start, scales=best.scales.astype(np.float16), codes=best.codes)


@dataclass(frozen=True)
class Damped:
    """A moment H with a ridge, of mean diagonal about 1; ``H^-1 = U^T U`` in `order_of` H."""

    H: Array
    U: Array


def damped(moment: Any, d: int, damping: float = DAMPING) -> Damped:
    """A moment with the ridge, and the factor of its inverse.

    With the order of rows and columns reversed, H has a factor L, lower triangular: ``H = V V^T``
    with V upper triangular, and U is the inverse of V.

    Raises
    ------
    TypeError, ValueError
        One that is no moment.
    """
    H = validation.check_matrix(moment, name="moment").astype(np.float64)
    if H.shape != (d, d):
        raise ValueError(f"moment must have shape {(d, d)}, got {H.shape}")
    largest, _ = validation.largest_entries(H, name="moment")
    damping = validation.check_tolerance(damping, "damping")
    H /= largest or 1.0
    if np.abs(H - H.T).max() > 1e-6:
        raise ValueError("moment must be symmetric")
    H = 0.5 * (H + H.T)
    H *= d / (abs(float(np.trace(H))) or d)
    H[np.diag_indices(d)] += damping
    order = order_of(H)[::-1]
    try:
        V = cholesky(H[np.ix_(order, order)], lower=True, check_finite=False)[::-1, ::-1]
    except np.linalg.LinAlgError as error:
        raise ValueError("moment must be positive semidefinite") from error
    return Damped(H, dtrtri(V)[0])


def order_of(H: Array) -> Any:
    """Columns in the order in which they are rounded: those that count most while all are free."""
    return np.argsort(-np.diag(H), kind="stable")


@dataclass
class _Rows:
    """Scales and codes of every row, ``G = (W - Q) H``, and the costs ``(w - q) H (w - q)^T``."""

    scales: Array
    codes: NDArray[np.uint8]
    G: Array
    costs: Array

    def better(self, other: _Rows) -> _Rows:
        """Each row from where it costs less."""
        less = other.costs < self.costs
        return _Rows(
            np.where(less[:, None], other.scales, self.scales),
            np.where(less[:, None], other.codes, self.codes),
            np.where(less[:, None], other.G, self.G),
            np.where(less, other.costs, self.costs),
        )


@dataclass
class _Problem:
    """Rows W near ``scales[:, groups] * levels[codes]`` in the metric of H."""

    W: Array
    H: Array
    levels: Array
    groups: NDArray[np.intp]

    def __post_init__(self) -> None:
        self.cuts = cuts_of(self.levels)
        self.WH = self.W @ self.H

    def judged(self, scales: Array, codes: NDArray[np.uint8]) -> _Rows:
        """Rows with their costs."""
        E = self.W - scales[:, self.groups] * self.levels[codes]
        return self.costing(scales, codes, E @ self.H)

    def costing(self, scales: Array, codes: NDArray[np.uint8], G: Array) -> _Rows:
        """Rows with their costs, of which G is known."""
        E = self.W - scales[:, self.groups] * self.levels[codes]
        return _Rows(scales, codes, G, np.einsum("ij,ij->i", G, E))

    def recursion(self, scales: Array, U: Array) -> NDArray[np.uint8]:
        """Codes by error feedback, block of columns by block."""
        order = order_of(self.H)
        R, W = U / np.diag(U)[:, None], np.ascontiguousarray(self.W[:, order])
        groups, (n, d) = self.groups[order], W.shape
        codes = np.empty((n, d), np.uint8)
        for lo in range(0, d, BLOCK):
            own = slice(lo, min(d, lo + BLOCK))
            block = np.ascontiguousarray(W[:, own])
            of_block, errors = np.empty(block.shape, np.uint8), np.empty(block.shape)
            within = np.ascontiguousarray(R[own, own])
            feed_back(block, within, scales, groups[own], self.levels, self.cuts, of_block, errors)
            codes[:, order[own]] = of_block
            W[:, own.stop :] -= errors @ R[own, own.stop :]
        return codes

    def descended(self, rows: _Rows) -> _Rows:
        """The rows after descents over their codes, one at a time."""
        codes, G = rows.codes.copy(), rows.G.copy()
        changed = np.empty(len(codes), np.int64)
        for _ in range(SWEEPS):
            descend_codes(
                G, self.H, rows.scales, self.groups, self.levels, self.cuts, codes, changed
            )
            if changed.sum() * 1000 < codes.size:
                break
        return rows.better(self.costing(rows.scales, codes, G))

    def rescaled(self, rows: _Rows) -> _Rows:
        """The rows with scales that cost least for their codes, rounded to float16.

        Of a row, with D (groups, d) its levels, each in the row of its group: ``s D H D^T = w H
        D^T``. Scales that would not be positive stay as they are.
        """
        D = self.levels[rows.codes]
        n, k = rows.scales.shape
        A, b = np.empty((n, k, k)), np.empty((n, k))
        starts = np.flatnonzero(np.diff(self.groups, prepend=-1))
        b[:] = np.add.reduceat(self.WH * D, starts, axis=1)
        for g, own in enumerate(np.split(np.arange(len(self.groups)), starts[1:])):
            A[:, g] = np.add.reduceat((D[:, own] @ self.H[own]) * D, starts, axis=1)
        diagonal = np.einsum("ngg->ng", A)
        diagonal += 1e-9 * diagonal.mean(axis=1, keepdims=True) + np.finfo(np.float64).tiny
        s = np.linalg.solve(A, b[..., None])[..., 0].astype(np.float16).astype(np.float64)
        found = np.where(np.isfinite(s) & (s > 0.0) & (rows.scales > 0.0), s, rows.scales)
        return self.judged(found, rows.codes)
