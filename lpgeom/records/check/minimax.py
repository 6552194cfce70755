"""Checkers of the bounds at p = inf (theory 3j, 3k): weights of rows, and one spectrum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lpgeom.records.base import Array, CertificateError
from lpgeom.records.check.data import Checked, Checker, Data

if TYPE_CHECKING:
    from lpgeom.records.subspace import Bound


def check_weighted(data: Data, bound: Bound) -> Checked:
    """``max_i ||Q a_i||^2 >= sum w ||Q a||^2 / sum w >= sigma_m(sum w a a^T) / sum w``, any w >= 0.

    Where the sum is lost in the rounding of the Gram, the singular values of ``sqrt(w) a`` are
    taken instead.
    """
    if not math.isinf(data.p):
        raise CertificateError(f"bound {bound.name!r} does not apply at p = {data.p:g}")
    index = np.asarray(bound.witness["index"])
    w = np.asarray(bound.witness["weights"], dtype=np.float64)
    if index.ndim != 1 or index.dtype.kind not in "iu" or index.shape != w.shape or not len(index):
        raise CertificateError(f"witness of {bound.name!r} is not one weight for each row named")
    if index.min() < 0 or index.max() >= data.n or (np.diff(index) <= 0).any():
        raise CertificateError(f"witness of {bound.name!r} names rows that are not there, or twice")
    if not (np.isfinite(w).all() and (w >= 0.0).all() and w.max() > 0.0):
        raise CertificateError(f"weights of {bound.name!r} are not finite and >= 0, or all zero")
    full = np.zeros(data.n)
    full[index] = w / w.max()
    total = math.fsum(full[index])

    def weighted() -> Iterator[Array]:
        for part, block in data.blocks():
            used = full[part] > 0.0
            yield block[used] * np.sqrt(full[part][used])[:, None]

    G = np.asarray(sum(B.T @ B for B in weighted()))
    size = float(np.trace(G))
    value = data.smallest(G) - data.rounding(size)
    if bound.witness["factored"]:
        value = data.tail(weighted(), len(index), size)
    return Checked(math.sqrt(max(value, 0.0) / total))


CHECKERS: dict[str, Checker] = {"john": check_weighted, "minimax": check_weighted}
