"""Independent re-check of rows in groups: labels, bases, costs, and each group's certificate."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.io.interchange import as_numpy
from lpgeom.records.base import EPS, Array, CertificateError, p_norm
from lpgeom.records.check.verify import verify

if TYPE_CHECKING:
    from lpgeom.records.groups import Grouping, Part

BLOCK = 4096
"""Rows of one block."""

TINY = float(np.finfo(np.float64).tiny)


def verify_groups(found: Grouping, A: ArrayLike, *, rtol: float = 1e-9) -> None:
    """Recompute labels, costs and certificates of rows in groups; raise on what does not hold."""
    array = np.asarray(as_numpy(A, "A"))
    if array.shape != found.shape:
        raise CertificateError(f"A has shape {array.shape}; the result is for {found.shape}")
    _check_statement(found)
    for c, part in enumerate(found.parts):
        _check_part(found, f"{found._WORD} {c}", part, array, found.labels == c, rtol)


def _check_statement(found: Grouping) -> None:
    """The parts fit together, and the cost never rose on the way."""
    (n, d), j, labels = found.shape, found.subspaces, found.labels
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise CertificateError(f"labels are not {n} integers")
    if int(labels.min()) < 0 or int(labels.max()) >= j:
        raise CertificateError(f"labels are not all between 0 and {j - 1}")
    omega = found.row_weights
    if omega is not None and not (omega.shape == (n,) and (omega >= 0.0).all()):
        raise CertificateError(f"row weights are not {n} numbers >= 0")
    for c, V in enumerate(part.basis for part in found.parts):
        if V.ndim != 2 or V.shape[0] != d or V.shape[1] > d:
            raise CertificateError(f"basis {c} has shape {V.shape}")
        defect = float(np.abs(V.T @ V - np.eye(V.shape[1])).max(initial=0.0))
        if not defect <= 1e-9:
            raise CertificateError(f"basis {c} is not orthonormal: off by {defect:.3g}")
    if not found.cost <= found.single_cost:
        raise CertificateError(f"cost {found.cost!r} is above single_cost {found.single_cost!r}")
    h = found.history
    falling = all(b <= a for a, b in itertools.pairwise(h))
    if not (h and falling and math.isclose(h[-1], found.cost, rel_tol=1e-12)):
        raise CertificateError("history rises, or does not end in the cost")
    if fault := found._fault():
        raise CertificateError(fault)


def _check_part(
    found: Grouping, name: str, part: Part, A: NDArray[Any], here: Any, rtol: float
) -> None:
    """What is stated of a group holds for its rows."""
    index = np.flatnonzero(here)
    omega = None if found.row_weights is None else found.row_weights[index]
    result, V = part.result, part.basis
    if result is None and part.norm > 0.0 and part.rank > 0:
        raise CertificateError(f"{name} states a lower bound and has no certificate")
    if result is not None and not (result.p == found.p and np.array_equal(result.basis, V)):
        raise CertificateError(f"the certificate of {name} is about another subspace")
    if result is None or not result.certified:
        weights = np.ones(index.size) if omega is None else omega
        norm, slack = distance_norm(A[index], V, weights, found.p)
        if not abs(part.norm_error - norm) <= rtol * norm + slack:
            raise CertificateError(
                f"{name} is stated to have norm error {part.norm_error!r}, recomputed {norm!r}"
            )
        return
    theirs = result.statement.row_weights
    if (theirs is None) != (omega is None) or not np.array_equal(
        np.asarray(theirs), np.asarray(omega)
    ):
        raise CertificateError(f"the certificate of {name} has other row weights")
    verify(result.statement, A[index], rtol=rtol)


def distance_norm(A: NDArray[Any], V: Array, weights: Array, p: float) -> tuple[float, float]:
    """The p-norm of the distances of rows A (m, d) from the span of V (d, k), and what rounding may
    hide of it, as for the rank of a matrix: ``max(m, d) eps`` times its norm, row by row, and what
    has few digits in float64. Nothing is farther from all of space than 0."""
    m, d = A.shape
    if V.shape[1] == d:
        return 0.0, 0.0
    y = np.zeros(m)
    frobenius = 0.0
    for lo in range(0, m, BLOCK):
        block = A[lo : lo + BLOCK].astype(np.float64)
        top = float(np.abs(block).max(initial=0.0)) or 1.0
        block /= top
        residual = block - (block @ V) @ V.T
        y[lo : lo + BLOCK] = top * np.sqrt(np.einsum("ij,ij->i", residual, residual))
        frobenius = math.hypot(frobenius, top * float(np.linalg.norm(block)))
    root = weights ** (1.0 / p)
    off = max(m, d) * EPS * frobenius
    return p_norm(root * y, p), p_norm(root * off, p) + TINY
