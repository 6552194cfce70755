"""Independent re-check of rows in groups: labels, bases, costs, and each group's certificate."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.io.interchange import as_numpy
from lpgeom.records.base import CertificateError
from lpgeom.records.check.data import Data, check_arrays, check_cost, check_weights, refusing
from lpgeom.records.check.verify import verify

if TYPE_CHECKING:
    from lpgeom.records.groups import Grouping, Part


def verify_groups(found: Grouping, A: ArrayLike, *, rtol: float = 1e-9) -> None:
    """Recompute labels, costs and certificates of rows in groups; raise on what does not hold."""
    if isinstance(A, np.ma.MaskedArray):
        raise CertificateError("A is masked: what is behind a mask is not said")
    array = np.asarray(as_numpy(A, "A"))
    with refusing("a field is not what it should be"):
        _check(found, array, rtol)


def _check(found: Grouping, array: NDArray[Any], rtol: float) -> None:
    if array.shape != found.shape:
        raise CertificateError(f"A has shape {array.shape}; the result is for {found.shape}")
    _check_statement(found)
    for c, part in enumerate(found.parts):
        _check_part(found, f"{found._WORD} {c}", part, array, found.labels == c, rtol)


def _check_statement(found: Grouping) -> None:
    """The parts fit together, and the cost never rose on the way."""
    (n, d), j, labels = found.shape, found.subspaces, found.labels
    check_arrays(labels=labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise CertificateError(f"labels are not {n} integers")
    if int(labels.min()) < 0 or int(labels.max()) >= j:
        raise CertificateError(f"labels are not all between 0 and {j - 1}")
    check_weights("row", found.row_weights, (n,))
    for c, V in enumerate(part.basis for part in found.parts):
        check_arrays(basis=V)
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
    if result is None and part.norm > 0.0 and part.p != found.p:
        raise CertificateError(f"the norm error of {name} is for p = {part.p!r}")
    if result is None or not result.certified:
        norms = (0.0, 0.0, 0.0)
        unit, stated, p = 1.0, part.norm, math.inf  # a norm is a cost at p = inf
        if result is not None:
            unit, stated, p = result.statement.unit, result.statement.scaled_cost, found.p
        if omega is None or omega.any():
            rows = SimpleNamespace(p=found.p, k=part.rank, row_weights=omega, unit=unit)
            norms = Data(A[index], rows).distances(V)
        check_cost(stated, norms, p, rtol, unit)
        return
    theirs = result.statement.row_weights
    if (theirs is None) != (omega is None) or not np.array_equal(
        np.asarray(theirs), np.asarray(omega)
    ):
        raise CertificateError(f"the certificate of {name} has other row weights")
    verify(result.statement, A[index], rtol=rtol)
