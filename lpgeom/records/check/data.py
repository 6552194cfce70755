"""What every checker of a bound works on: the data of a certificate, and what a witness proves."""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.records.base import EPS, Array, CertificateError, p_norm, to_cost_units

if TYPE_CHECKING:
    from lpgeom.records.subspace import Bound, Certificate

BLOCK_BYTES = 8 << 20

SHORTEST = 1e-30
"""Some entry is this long in the certificate's units: shorter ones, to a power, leave float64."""


@dataclass(frozen=True)
class Checked:
    """What a witness proves: the bound `value`, of which `slack` may be rounding."""

    value: float
    slack: float = 0.0
    failure_probability: float = 0.0

    def most(self, rtol: float) -> float:
        """The largest statement that is proved, rounding taken off: a genuine one lies below the
        truth by several times that."""
        return (self.value - self.slack) * (1.0 + rtol)

    def less(self, lost: float, p: float) -> Checked:
        """The same of rows that it sees but for a part, whose p-norm is `lost` at most."""
        root = 1.0 if math.isinf(p) else 1.0 / p
        norm = max(self.value - self.slack, 0.0) ** root - lost
        return replace(self, value=max(norm, 0.0) ** (1.0 / root), slack=0.0)


class Data:
    """The rows a certificate speaks of: A with the row weights folded in, divided by the unit."""

    def __init__(self, A: NDArray[Any], certificate: Certificate | Any) -> None:
        self.A = A
        self.longest = 0.0  # entry in the blocks so far, weights apart
        self.n, self.d = A.shape
        self.k = certificate.k
        self.m = self.d - certificate.k
        self.p = certificate.p
        omega = self.omega = certificate.row_weights
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
            block = np.ldexp(np.asarray(self.A[part], dtype=np.float64), -self._exponent)
            roots = 1.0 if self._roots is None else self._roots[part, None]
            block = np.where(roots > 0.0, block * self._mantissa, 0.0)  # weight 0: anything
            self.longest = max(self.longest, float(np.abs(block).max(initial=0.0)))
            yield part, block * roots

    def distances(self, V: Array) -> tuple[float, float, float]:
        """The p-norm of the distances from the span of V: the least and the most that it may be,
        and between them what is computed. Each row is known to its own rounding."""
        y, off = np.zeros(self.n), np.zeros(self.n)
        for part, block in self.blocks():
            # At a length near 1: squares of short rows leave float64.
            e = np.frexp(np.abs(block).max(axis=1, initial=0.0))[1]
            block = np.ldexp(block, -e[:, None])
            residual = block - (block @ V) @ V.T
            y[part] = np.ldexp(np.linalg.norm(residual, axis=1), e)
            norms = np.ldexp(np.linalg.norm(block, axis=1), e)
            off[part] = 8.0 * EPS * math.sqrt(self.d) * norms
        least, found, most = (p_norm(np.maximum(x, 0.0), self.p) for x in (y - off, y, y + off))
        return least, found, most

    def within(self, span: Any) -> tuple[Data, float]:
        """The rows in coordinates of a space of r dimensions, spanned by the (d, r) given, and the
        p-norm of what it may leave of them. Whatever a bound proves of k dimensions in those
        coordinates, less this, holds of k dimensions for the rows (docs/theory/span.md)."""
        S, R = np.linalg.qr(np.asarray(span, dtype=np.float64))
        S *= np.where(np.diag(R) < 0.0, -1.0, 1.0)  # the same basis, not its reflection
        inner = copy(self)
        inner.A = np.concatenate([block @ S for _, block in self.blocks()])
        inner.d, inner.m = S.shape[1], max(S.shape[1] - self.k, 0)
        inner._roots, inner._exponent, inner._mantissa = None, 0, 1.0
        return inner, self.distances(S)[2]

    def rounding(self, size: float) -> float:
        """Rounding of a sum over the rows whose terms total `size`.

        An eighth of what bounds are lowered by when they are stated (docs/theory/rounding.md), so
        that a genuine statement passes although this is taken off.
        """
        return 0.5 * EPS * (math.sqrt(self.n) + self.d + 64.0) * size

    def tail(self, blocks: Iterable[Array], rows: int, size: float) -> float:
        """Sum of the m smallest squared singular values of the rows in blocks, by QR, each less
        half of what statements take off them."""
        R: Array = np.zeros((0, self.d))
        for block in blocks:
            R = np.asarray(np.linalg.qr(np.concatenate([R, block]), mode="r"))
        off = 0.5 * EPS * (math.sqrt(rows) + self.d) * math.sqrt(size)
        sigma = np.linalg.svd(R, compute_uv=False)[self.k :]
        return float((np.maximum(sigma - off, 0.0) ** 2).sum())

    def smallest(self, G: Array) -> float:
        """Sum of the m smallest eigenvalues of G."""
        return float(np.linalg.eigvalsh(0.5 * (G + G.T))[: self.m].sum())


def check_problem(c: Any, A: NDArray[Any]) -> None:
    """A certificate, and its bounds, speak of data of this shape, in units that are numbers."""
    for x, names in ((c, ("p", "unit", "scaled_cost")), *((b, ("p", "unit")) for b in c.bounds)):
        for name in names:
            number(name, getattr(x, name))
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


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Whatever a field that is no such thing leads to is a CertificateError."""
    try:
        with np.errstate(all="ignore"):
            yield
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"{what}: {error}") from error


def number(name: str, value: Any) -> float:
    """A real number that is a float, possibly inf or NaN."""
    try:
        good = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return float(value if good else "")
    except (ValueError, OverflowError):
        raise CertificateError(f"{name} is {str(value)[:40]!r}, which is no number") from None


LEAST = 5e-324
"""The cost that is stated of what underflows, and is not 0."""


def check_cost(stated: float, norms: Iterable[float], p: float, rtol: float, unit: float) -> None:
    """A cost is between the least and the most that it may be, which are given as norms: these
    neither overflow nor underflow. All are in units of `unit`, the message in the user's."""
    least, norm, most = norms
    root = 1.0 if math.isinf(p) else 1.0 / p
    found, share = float(stated) ** root if stated >= 0.0 else math.nan, rtol * root
    above = found <= most * (1.0 + share) or stated == LEAST
    if not (least * (1.0 - share) <= found and above):
        units = [to_cost_units(1.0, x * unit, p) for x in (max(found, 0.0), norm)]
        raise CertificateError(f"cost is stated as {units[0]!r}, recomputed {units[1]!r}")


def check_arrays(**arrays: Any) -> None:
    """Plain arrays of real numbers: none that hides some of them behind a mask."""
    for name, x in arrays.items():
        if type(x) is not np.ndarray or x.dtype.kind not in "fiub":
            raise CertificateError(f"{name} is not a plain array of real numbers")


def check_witness(bound: Bound) -> None:
    """Finite numbers and plain arrays of them, whatever they are for."""
    if not isinstance(bound.witness, Mapping):
        raise CertificateError(f"witness of {bound.name!r} is not a mapping")
    for key, x in bound.witness.items():
        name = f"witness {key} of {bound.name!r}"
        if isinstance(x, np.ndarray):
            check_arrays(**{name: x})
        elif not isinstance(x, bool):
            number(name, x)
        if not np.isfinite(x).all() or (isinstance(x, np.ndarray) and x.ndim == 0):
            raise CertificateError(f"{name} is not finite, or an array of no dimension")


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
    M: Array = np.asarray(matrix, dtype=np.float64)
    if M.shape != (data.d, data.d) or not np.isfinite(M).all():
        raise CertificateError(f"witness {name} is not a finite ({data.d}, {data.d}) matrix")
    return 0.5 * (M + M.T)
