"""What every checker of a bound works on: the data of a certificate, and what a witness proves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.records.subspace import Bound, Certificate, CertificateError

Array = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)

BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Checked:
    """What a witness proves: the bound `value`, give or take `slack` of rounding."""

    value: float
    slack: float = 0.0
    failure_probability: float = 0.0


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

    def smallest(self, G: Array) -> float:
        """Sum of the m smallest eigenvalues of G."""
        return float(np.linalg.eigvalsh(0.5 * (G + G.T))[: self.m].sum())


Checker = Callable[[Data, Bound], Checked]


def square(data: Data, matrix: Any, name: str) -> Array:
    """A witness that must be a finite symmetric (d, d) matrix."""
    M = np.asarray(matrix, dtype=np.float64)
    if M.shape != (data.d, data.d) or not np.isfinite(M).all():
        raise CertificateError(f"witness {name} is not a finite ({data.d}, {data.d}) matrix")
    return 0.5 * (M + M.T)
