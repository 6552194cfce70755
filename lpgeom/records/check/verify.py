"""Independent re-check of a certificate: NumPy and the data; no solver code.

Everything is recomputed from A, block of rows after block of rows (so memory maps work), by other
formulas than the ones that produced it where there are any: the cost from the residual vectors,
the Lewis bounds in whitened coordinates. A stated bound passes if it is at most what its witness
proves here, apart from `rtol` and the rounding of this computation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.io.interchange import as_numpy
from lpgeom.records.base import EPS, CertificateError, norm_ratio
from lpgeom.records.check import linear, minimax, radial
from lpgeom.records.check.data import (
    Checker,
    Data,
    check_arrays,
    check_number,
    check_problem,
    check_weights,
)

if TYPE_CHECKING:
    from lpgeom.records.subspace import Bound, Certificate

CHECKERS: dict[str, Checker] = {**linear.CHECKERS, **minimax.CHECKERS, **radial.CHECKERS}
"""By the name of a bound, what says how much its witness proves: ``CHECKERS[name](data, bound)``.

A bound from elsewhere joins by one entry.
"""


def verify(certificate: Certificate, A: ArrayLike, *, rtol: float = 1e-9) -> None:
    """Recompute cost and bounds from A; raise on a certificate that does not hold.

    See `Certificate.verify`. Names the first thing that fails: shape, basis, cost, guarantee, or a
    bound. Passes over A: one for the cost, one to three for each bound; A is read in blocks.
    """
    # What can be read by slices stays where it is: storage in chunks, a Dask array. What is on a
    # device is fetched.
    sliced = isinstance(getattr(A, "dtype", None), np.dtype) and hasattr(A, "ndim")
    sliced = sliced and not hasattr(type(A), "__cuda_array_interface__")
    array: Any = A if sliced else as_numpy(A, "A")
    if isinstance(array, np.ma.MaskedArray):
        raise CertificateError("A is masked: what is behind a mask is not said")
    _check_statement(certificate, array)
    data = Data(array, certificate)
    with np.errstate(over="ignore", invalid="ignore"):
        highest = _check_cost(data, certificate, rtol)
        reached = [_check_bound(data, certificate, bound, rtol) for bound in certificate.bounds]
    for bound in certificate.bounds:
        if not bound.scaled_value <= highest:
            raise CertificateError(
                f"bound {bound.name!r} is stated as {bound.scaled_value!r}; this basis costs less: "
                f"{certificate.scaled_cost!r}"
            )
    promise = certificate.guarantee
    check_number("guarantee", promise)
    if not reached and promise < math.inf:
        raise CertificateError(
            f"guarantee {promise!r} is stated, and no bound that it could rest on"
        )
    if not promise >= 1.0:
        raise CertificateError(f"guarantee {promise!r} is below 1")
    # Bounds are stated less what rounding may have added. The guarantee is a theorem about the
    # data: it is contradicted only where the bounds with that allowance contradict it.
    if reached and norm_ratio(certificate.scaled_cost, max(reached), certificate.p) > promise * (
        1.0 + 1e-6
    ):
        raise CertificateError(
            f"guarantee {promise:.6g} is not met: the certified ratio is {certificate.ratio:.6g}"
        )


def _check_statement(c: Certificate, A: NDArray[Any]) -> None:
    """The certificate speaks of data of this shape, and its parts agree with one another."""
    check_problem(c, A)
    check_arrays(basis=c.basis)
    n, d = A.shape
    if c.basis.shape != (d, c.k) or not 1 <= c.k <= d:
        raise CertificateError(f"basis has shape {c.basis.shape}, expected ({d}, {c.k})")
    check_weights("row", c.row_weights, (n,))


def _check_cost(data: Data, c: Certificate, rtol: float) -> float:
    """The basis is orthonormal and costs what is stated; the most that this may be."""
    defect = float(np.abs(c.basis.T @ c.basis - np.eye(c.k)).max())
    if not defect <= 1e-9:
        raise CertificateError(f"basis is not orthonormal: |V^T V - I| reaches {defect:.3g}")
    V = np.linalg.qr(c.basis)[0]
    cost = slack = 0.0
    for _, block in data.blocks():
        residual = block - (block @ V) @ V.T
        y = np.sqrt(np.einsum("ij,ij->i", residual, residual))
        off = 8.0 * EPS * math.sqrt(data.d) * np.sqrt(np.einsum("ij,ij->i", block, block))
        if math.isinf(data.p):
            cost, slack = max(cost, float(y.max())), max(slack, float(off.max()))
            continue
        cost += float((y**data.p).sum())
        slack += float(((y + off) ** data.p - y**data.p).sum())
    if not abs(c.scaled_cost - cost) <= rtol * cost + slack:
        raise CertificateError(f"cost is stated as {c.scaled_cost!r}, recomputed {cost!r}")
    return cost * (1.0 + rtol) + slack


def _check_bound(data: Data, c: Certificate, bound: Bound, rtol: float) -> float:
    """A bound follows from its witness; what that proves at most, rounding included."""
    if bound.name not in CHECKERS:
        raise CertificateError(f"bound {bound.name!r} is unknown here")
    for name in ("scaled_value", "failure_probability"):
        check_number(f"{name} of {bound.name!r}", getattr(bound, name))
    if not (math.isfinite(bound.scaled_value) and bound.scaled_value >= 0.0):
        raise CertificateError(f"bound {bound.name!r} is not a number >= 0")
    try:
        proved = CHECKERS[bound.name](data, bound)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"bound {bound.name!r} has a broken witness: {error}") from error
    if not bound.scaled_value <= max(proved.most(rtol), 0.0):
        raise CertificateError(
            f"bound {bound.name!r} is stated as {bound.scaled_value!r}; its witness proves no more "
            f"than {proved.value!r}"
        )
    if not math.isclose(
        bound.failure_probability, proved.failure_probability, rel_tol=1e-6, abs_tol=0.0
    ):
        raise CertificateError(
            f"bound {bound.name!r} states failure probability {bound.failure_probability!r}, "
            f"recomputed {proved.failure_probability!r}"
        )
    return max(bound.scaled_value, proved.value + proved.slack)
