"""What every checker of a bound works on: the data of a certificate, and what a witness proves."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.records.base import EPS, Array, CertificateError

if TYPE_CHECKING:
    from lpgeom.records.subspace import Bound, Certificate

BLOCK_BYTES = 8 << 20

NEGLIGIBLE = 1e-6
"""Slack up to this share of a bound, or of a cost, is not asked about."""


@dataclass(frozen=True)
class Checked:
    """What a witness proves: the bound `value`, give or take `slack` of rounding.

    `low` is what is left if rounding took all that it may; without it, `value` less `slack`.
    """

    value: float
    slack: float = 0.0
    failure_probability: float = 0.0
    low: float | None = None

    def most(self, rtol: float) -> float:
        """The largest statement that is proved.

        A genuine one lies below the truth by several times this allowance. Where that is small
        beside the bound it is given; elsewhere a witness may have been made to have it so.
        """
        low = self.value - self.slack if self.low is None else self.low
        high = self.value * (1.0 + rtol) + self.slack
        return high if high - low <= NEGLIGIBLE * max(low, 0.0) else low


class Data:
    """The rows a certificate speaks of: A with the row weights folded in, divided by the unit."""

    def __init__(self, A: NDArray[Any], certificate: Certificate) -> None:
        self.A = A
        self.n, self.d = A.shape
        self.k = certificate.k
        self.m = self.d - certificate.k
        self.p = certificate.p
        omega = certificate.row_weights
        top = 1.0 if omega is None else float(omega.max())
        self._roots = None if omega is None else (omega / top) ** (1.0 / self.p)
        if omega is not None and math.isinf(self.p):
            self._roots = (omega > 0.0).astype(np.float64)  # the limit: 0^0 is 0 here
        # unit / top^(1/p) may be anywhere in the range of floats: mantissa and exponent apart.
        below, above = math.frexp(certificate.unit), math.frexp(top ** (1.0 / self.p))
        self._exponent = below[1] - above[1]
        self._mantissa = above[0] / below[0]

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """(rows lo to hi, those rows in float64), scaled."""
        step = max(1, BLOCK_BYTES // (8 * self.d))
        for lo in range(0, self.n, step):
            part = slice(lo, min(lo + step, self.n))
            block = np.array(self.A[part], dtype=np.float64)
            block = np.ldexp(block, -self._exponent) * self._mantissa
            if self._roots is not None:
                roots = self._roots[part, None]
                block = np.where(roots > 0.0, block, 0.0) * roots  # what weighs 0 may be anything
            yield part, block

    def rounding(self, size: float) -> float:
        """Rounding of a sum over the rows whose terms total `size`.

        An eighth of what bounds are lowered by (see `rounding.py`) when they are stated: that
        leaves room for both computations, and a claim little to hide in where one row is so long
        that rounding of its terms is as large as the cost.
        """
        return 0.5 * EPS * (math.sqrt(self.n) + self.d + 64.0) * size

    def tail(self, R: Array, rows: int, size: float) -> tuple[float, float, float]:
        """Sum of the m smallest squared singular values of R, its slack, and what is left of it:
        statements are lowered by all of `off`, the check by half."""
        sigma = np.zeros(self.d)
        found = np.linalg.svd(R, compute_uv=False)
        sigma[: found.size] = found
        off = EPS * (math.sqrt(rows) + self.d) * math.sqrt(size)
        sigma = sigma[self.k :]
        value = float((sigma**2).sum())
        low = float((np.maximum(sigma - 0.5 * off, 0.0) ** 2).sum())
        return value, float(((sigma + off) ** 2).sum()) - value, low

    def smallest(self, G: Array) -> float:
        """Sum of the m smallest eigenvalues of G."""
        return float(np.linalg.eigvalsh(0.5 * (G + G.T))[: self.m].sum())


def check_problem(c: Any, A: NDArray[Any]) -> None:
    """A certificate speaks of data of this shape, in units that are numbers, and so do its bounds.

    Raises
    ------
    CertificateError
        Names what does not fit.
    """
    for x, names in ((c, ("p", "unit", "scaled_cost")), *((b, ("p", "unit")) for b in c.bounds)):
        for name in names:
            check_number(name, getattr(x, name))
    if not isinstance(c.k, int) or isinstance(c.k, bool):
        raise CertificateError(f"k = {c.k!r} is not an integer")
    if A.ndim != 2 or A.dtype.kind not in "fiub":
        raise CertificateError("A is not a two-dimensional array of real numbers")
    if A.shape != tuple(c.shape):
        raise CertificateError(f"the certificate is for shape {tuple(c.shape)}, A has {A.shape}")
    if not c.p >= 1.0:
        raise CertificateError(f"p = {c.p!r} is not a number >= 1")
    if not (math.isfinite(c.unit) and c.unit > 0.0):
        raise CertificateError(f"unit {c.unit!r} is not a positive number")
    for b in c.bounds:
        if b.p != c.p or b.unit != c.unit:
            raise CertificateError(f"bound {b.name!r} is for p = {b.p:g}, unit {b.unit:g}")


def check_number(name: str, value: Any) -> None:
    """A real number that is a float, possibly inf or NaN."""
    try:
        good = isinstance(value, numbers.Real) and not isinstance(value, bool)
        float(value if good else "")
    except (ValueError, OverflowError):
        raise CertificateError(f"{name} is {str(value)[:40]!r}, which is no number") from None


def check_arrays(**arrays: Any) -> None:
    """Plain arrays of real numbers: none that hides some of them behind a mask."""
    for name, x in arrays.items():
        plain = isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray)
        if not plain or x.dtype.kind not in "fiub":
            raise CertificateError(f"{name} is not a plain array of real numbers")


def check_weights(name: str, w: Array | None, shape: tuple[int, ...]) -> None:
    """Weights are finite, >= 0 and not all zero."""
    if w is None:
        return
    check_arrays(**{f"{name} weights": w})
    if w.shape != shape or not (np.isfinite(w) & (w >= 0.0)).all() or not w.any():
        count = " x ".join(map(str, shape))
        raise CertificateError(f"{name} weights are not {count} finite numbers >= 0, not all zero")


Checker = Callable[[Data, "Bound"], Checked]


def square(data: Data, matrix: Any, name: str) -> Array:
    """A witness that must be a finite symmetric (d, d) matrix."""
    M = np.asarray(matrix, dtype=np.float64)
    if M.shape != (data.d, data.d) or not np.isfinite(M).all():
        raise CertificateError(f"witness {name} is not a finite ({data.d}, {data.d}) matrix")
    return 0.5 * (M + M.T)
