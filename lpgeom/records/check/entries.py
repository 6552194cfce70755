"""Independent re-check of a certificate for entries: NumPy, the records, and the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.io.interchange import as_numpy
from lpgeom.records.base import EPS, Array, CertificateError, p_norm
from lpgeom.records.check import data as checks
from lpgeom.records.check.verify import verify

if TYPE_CHECKING:
    from lpgeom.records.factors import EntriesBound, EntriesCertificate

_ROWS = 4096
NEGLIGIBLE = 1e-9
"""Share of the norm of A to which the norm of the residual has to be known."""


def verify_entries(certificate: EntriesCertificate, A: ArrayLike, *, rtol: float = 1e-9) -> None:
    """Recompute the cost of the factors, and follow every bound back to the rows objective.

    See `EntriesCertificate.verify`. A bound holds if its blocks are disjoint, each block's
    certificate holds for its part of A, and that certificate's row weights are nowhere above the
    least weight of the entries they stand for.
    """
    if isinstance(A, np.ma.MaskedArray):
        raise CertificateError("A is masked: missing entries are NaN")
    array = as_numpy(A, "A", missing=True)
    with checks.refusing("a field is not what it should be"):
        _check(certificate, array, rtol)


def _check(certificate: EntriesCertificate, array: NDArray[Any], rtol: float) -> None:
    _check_statement(certificate, array)
    gone = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, dtype=bool)
    if gone.any() and certificate.missing != "ignore":
        raise CertificateError("A has NaN, and the certificate does not speak of missing entries")
    weights = _Weights(certificate, gone)
    filled = np.where(gone, 0.0, np.asarray(array, dtype=np.float64))
    _check_cost(certificate, filled, weights, rtol)
    for bound in certificate.bounds:
        _check_bound(certificate, bound, filled, weights, rtol)


class _Weights:
    """What entries weigh: omega_i w_ij, and 0 where one is missing."""

    def __init__(self, certificate: EntriesCertificate, gone: NDArray[np.bool_]) -> None:
        self.omega = certificate.row_weights
        self.entries = certificate.entry_weights
        self.gone = gone

    def part(self, rows: Any, columns: Any) -> Array:
        """The weights of some rows and columns."""
        w = np.where(self.gone[rows][:, columns], 0.0, 1.0)
        if self.entries is not None:
            w *= self.entries[rows][:, columns]
        if self.omega is not None:
            with np.errstate(over="ignore"):
                w = np.minimum(w * self.omega[rows][:, None], np.finfo(np.float64).max)
        return w


def _check_statement(c: EntriesCertificate, A: NDArray[Any]) -> None:
    """The certificate speaks of data of this shape, and its parts agree with one another."""
    checks.check_problem(c, A)
    checks.check_arrays(left=c.left, right=c.right)
    n, d = A.shape
    if not c.p < math.inf:
        raise CertificateError(f"p = {c.p!r} is not a finite number >= 1")
    if c.missing not in ("raise", "ignore"):
        raise CertificateError(f"missing is {c.missing!r}, neither raise nor ignore")
    if c.left.shape != (n, c.k) or c.right.shape != (c.k, d) or not 1 <= c.k < d:
        raise CertificateError(f"factors have shapes {c.left.shape} and {c.right.shape}, k = {c.k}")
    if not (np.isfinite(c.left).all() and np.isfinite(c.right).all()):
        raise CertificateError("factors have entries that are not finite")
    checks.check_weights("row", c.row_weights, (n,))
    checks.check_weights("entry", c.entry_weights, (n, d))


def _check_cost(c: EntriesCertificate, A: Array, weights: _Weights, rtol: float) -> None:
    """The factors cost what is stated."""
    everything = np.arange(A.shape[1])
    found: list[list[float]] = []
    for lo in range(0, len(A), _ROWS):
        part = np.arange(lo, min(lo + _ROWS, len(A)))
        # Roots of the weights and residuals in units of the certificate: no overflow.
        roots = weights.part(part, everything) ** (1.0 / c.p)
        a, left = A[part] / c.unit, c.left[part] / c.unit
        r = roots * np.abs(a - left @ c.right)
        a = roots * np.abs(a)
        off = 8.0 * EPS * c.k * (a + roots * (np.abs(left) @ np.abs(c.right)))
        found.append([p_norm(x, c.p) for x in (np.maximum(r - off, 0.0), r, r + off, a)])
    least, norm, most, size = (p_norm(x, c.p) for x in zip(*found, strict=True))
    if not most - least <= NEGLIGIBLE * max(norm, size):
        raise CertificateError(
            "factors cancel: their product is not known well enough to be costed"
        )
    checks.check_cost(c.scaled_cost, (least, norm, most), c.p, rtol, c.unit)


def _check_bound(
    c: EntriesCertificate, bound: EntriesBound, A: Array, weights: _Weights, rtol: float
) -> None:
    """Disjoint blocks, weights that are not too large, and certificates that hold."""
    if bound.axis not in ("rows", "columns"):
        raise CertificateError(f"bound {bound.name!r} has the unknown axis {bound.axis!r}")
    n, d = A.shape
    width, points = (d, n) if bound.axis == "rows" else (n, d)
    used = np.zeros(width, dtype=bool)
    for block in bound.blocks:
        J = block.indices
        checks.check_arrays(indices=J)
        inside = J.ndim == 1 and J.dtype.kind in "iu" and J.size > 0
        if not inside or J.min() < 0 or J.max() >= width or np.unique(J).size != J.size:
            raise CertificateError(f"bound {bound.name!r} has a block of no valid indices")
        if used[J].any():
            raise CertificateError(f"bound {bound.name!r} counts an index twice")
        used[J] = True
        inner = block.certificate
        if inner.p != c.p or inner.k != c.k or inner.shape != (points, J.size):
            raise CertificateError(f"bound {bound.name!r} has a block for another problem")
        if bound.axis == "rows":
            part, least = A[:, J], weights.part(np.arange(n), J).min(axis=1)
        else:
            part, least = A[J].T, weights.part(J, np.arange(d)).min(axis=0)
        claimed = np.ones(points) if inner.row_weights is None else inner.row_weights
        if not (claimed <= least).all():
            raise CertificateError(f"bound {bound.name!r} gives an entry more than its weight")
        verify(inner, part, rtol=rtol)
