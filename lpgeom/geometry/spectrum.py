"""Eigenvectors of ``sum_i w_i a_i a_i^T`` that survive ill-conditioned rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpgeom.rows.base import Array, Rows

EPS = float(np.finfo(np.float64).eps)

SAFE_CONDITION = 1e-9
"""Above this ratio of extreme eigenvalues the Gram's own eigenvectors are accurate enough: its
eigenvalues carry an absolute error of about eps times the largest one."""


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues ascending, eigenvectors as columns, and the rank of the rows."""

    eigvals: Array
    U: Array
    rank: int
    squared: bool
    """True if it came from the Gram, False if from a QR of the rows themselves."""

    def whitener(self) -> Array:
        """X (d, rank) with ``||a X||^2 = a^T M^+ a`` for a in the range of M."""
        r = self.rank
        lead = self.U[:, self.U.shape[1] - r :]
        return lead / np.sqrt(self.eigvals[self.eigvals.size - r :])


def spectrum(rows: Rows, w: Array | None = None, *, gram: Array | None = None) -> Spectrum:
    """Spectrum of ``M = sum_i w_i a_i a_i^T`` (w >= 0).

    From the Gram where that is safe. Forming the Gram squares the condition number, so where the
    smallest eigenvalue is below 1e-9 of the largest the rows are reduced by QR, block after block,
    and the singular values of that triangle are taken; the rank is the number of them above
    ``max(n, d) eps`` times the largest.
    """
    G = rows.weighted_gram(w) if gram is None else gram
    lam, U = np.linalg.eigh(G)
    if lam[0] > SAFE_CONDITION * lam[-1]:
        return Spectrum(lam, U, lam.size, True)
    _, s, Vt = np.linalg.svd(rows.triangle(w))
    rank = int(np.count_nonzero(s > max(rows.shape) * EPS * s[0])) if s[0] > 0.0 else 0
    return Spectrum((s * s)[::-1].copy(), np.ascontiguousarray(Vt[::-1].T), rank, False)
