"""Eigenvectors of ``sum_i w_i a_i a_i^T`` that survive ill-conditioned rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lpgeom.rows import device
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.door import open_array
from lpgeom.rows.place import place_of
from lpgeom.threads import serial_blas

EPS = float(np.finfo(np.float64).eps)

SAFE_CONDITION = 1e-9
"""Above this ratio of extreme eigenvalues the Gram's own eigenvectors are accurate enough: its
eigenvalues carry an absolute error of about eps times the largest one."""


LARGE = 1 << 20
"""From this many entries of A on, searches run on samples and in float32."""

HEALTHY = 1e-5
"""Ratio of extreme eigenvalues that float32 Grams (off by some 1e-7 of the largest) resolve."""


SERIAL = 512
"""Up to this size a symmetric eigenproblem runs on one thread, see `serial_blas`."""


def serially(function: Callable[..., Any], M: Array, **options: Any) -> Any:
    """``function(M)`` of NumPy's linear algebra, on one thread up to the size `SERIAL`."""
    if len(M) > SERIAL:
        return function(M, **options)
    with serial_blas():
        return function(M, **options)


def eigen(M: Array) -> tuple[Array, Array]:
    """Eigenvalues (ascending) and eigenvectors of a symmetric M."""
    lam, U = device.eigh(M) if device.solves(M) else serially(np.linalg.eigh, M)
    return lam, U


def eigenvalues(M: Array) -> Array:
    """Eigenvalues (ascending) of a symmetric M."""
    lam = device.eigvalsh(M) if device.solves(M) else serially(np.linalg.eigvalsh, M)
    return np.asarray(lam, dtype=np.float64)


def leading(G: Any, k: int) -> Any:
    """The k leading eigenvectors (d, k) of a symmetric G, read from its lower triangle, where G is.

    Small problems go to the host: the device is slower.
    """
    place, d = place_of(G), len(G)
    if not place.on_device:
        return eigen(G)[1][:, d - k :]
    G = place.xp.tril(G) + place.xp.tril(G, -1).T
    if d <= device.SMALL_EIGEN:
        return place.xp.asarray(eigen(place.host(G))[1][:, d - k :])
    return np.linalg.eigh(G)[1][:, d - k :]


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues ascending, eigenvectors as columns, and the rank of the rows."""

    eigvals: Array
    U: Array
    rank: int
    squared: bool
    """True if it came from the Gram, False if from a QR of the rows themselves."""
    single: bool = False
    """True if the Gram was summed in float32."""

    def whitener(self) -> Array:
        """X (d, rank) with ``||a X||^2 = a^T M^+ a`` for a in the range of M."""
        r = self.rank
        lead = self.U[:, self.U.shape[1] - r :]
        return lead / np.sqrt(self.eigvals[self.eigvals.size - r :])


def spectrum(
    rows: Rows,
    w: Array | None = None,
    *,
    gram: Array | None = None,
    safe: float = SAFE_CONDITION,
    m: int = 1,
) -> Spectrum:
    """Spectrum of ``M = sum_i w_i a_i a_i^T`` (w >= 0).

    From the Gram (given as `gram` where it is known) where that is safe. Forming the Gram squares
    the condition number, so where the m smallest eigenvalues together are below `safe` times the
    largest the rows are reduced by QR, block after block, and the singular values of that triangle
    are taken; the rank is the number of them above ``max(n, d) eps`` times the largest.
    """
    G = rows.weighted_gram(w) if gram is None else gram
    lam, U = eigen(G)
    if lam[:m].sum() > safe * lam[-1] and lam[0] > SAFE_CONDITION * lam[-1]:
        return Spectrum(lam, U, lam.size, True)
    _, s, Vt = np.linalg.svd(rows.triangle(w))
    rank = int(np.count_nonzero(s > max(rows.shape) * EPS * s[0])) if s[0] > 0.0 else 0
    return Spectrum((s * s)[::-1].copy(), np.ascontiguousarray(Vt[::-1].T), rank, False)


def principal(rows: Rows, k: int, p: float) -> Spectrum:
    """Spectrum of the plain Gram, as accurate as its use needs.

    p = 2: its k leading eigenvectors are the answer. Rounding of a Gram can exchange directions
    whose eigenvalues differ by ``eps lam_1``; QR takes over where that is not small beside the
    cost.
    Else they are a start, and float32 will do while the Gram is far from singular.
    """
    n, d = rows.shape
    if p == 2.0:
        return spectrum(rows, safe=1e-5, m=d - k)
    if n * d >= LARGE:
        rough = rows.single().weighted_gram()
        lam, U = eigen(rough)
        if lam[0] > HEALTHY * lam[-1]:
            return Spectrum(lam, U, d, True, single=True)
    return spectrum(rows)


ALIKE = 10
"""Columns whose sizes differ by a smaller power of two are left in their units."""


def in_like_units(rows: Any, p: float) -> tuple[Any, Array]:
    """Rows in memory whose columns are of like sizes, and the units, 2^e, that x is divided by.

    ``A x`` is the new rows' product with x over the units: powers of two, so that nothing is
    rounded. Which columns are small is then not for float64 to say.
    """
    place, d = rows.place, rows.shape[1]
    D = rows.dense()
    top = place.host(np.abs(D).max(axis=0))
    size = np.frexp(np.where(top > 0.0, top, top.max(initial=1.0)))[1]
    if int(size.max()) - int(size.min()) <= ALIKE:
        return rows, np.ones(d)
    scale = np.ldexp(1.0, -size)
    inner = open_array(D * place.xp.asarray(scale), p, infinite=True, backend=place.backend)
    return inner.rows, inner.unit / scale


EXACTLY = 1 << 12
"""Up to so many entries the rank of a matrix is found in rational arithmetic."""


def most_rank(A: Any, omega: Any = None) -> int:
    """No less than the rank of A as it is, without rounding: what dropped directions are held to.

    Of the rows with omega > 0. The rank float64 sees may be lower: what is 1e-16 of the rest may be
    all that there is in some direction, and no ellipsoid unbounded there agrees with the ball.
    """
    A = np.asarray(device.fetched(A))
    A = A if omega is None else A[np.asarray(device.fetched(omega)) > 0.0]
    A = A[A.any(axis=1)][:, A.any(axis=0)]
    A = np.unique(np.unique(A, axis=0), axis=1) if A.size else A
    if A.size > EXACTLY:
        return min(A.shape)
    left = np.array([[Fraction(x) for x in row] for row in A.tolist()], dtype=object)
    rank = 0
    while left.any():
        i, j = np.argwhere(left != 0)[0]
        left = left - np.outer(left[:, j] / left[i, j], left[i])
        rank += 1
    return rank
