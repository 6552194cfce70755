"""Independent re-check of a certificate: NumPy and the data; no solver code.

Everything is recomputed from A, block of rows after block of rows (so memory maps work), by other
formulas than the ones that produced it where there are any: the cost from the residual vectors,
the Lewis bounds in whitened coordinates. A stated bound passes if it is at most what its witness
proves here with the rounding of this computation taken off (docs/theory/rounding.md).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.io.interchange import as_numpy
from lpgeom.records.base import CertificateError, norm_ratio, to_cost_units
from lpgeom.records.check import data as checks
from lpgeom.records.check import linear, minimax, radial

if TYPE_CHECKING:
    from lpgeom.records.subspace import Bound, Certificate

CHECKERS: dict[str, checks.Checker] = {**linear.CHECKERS, **minimax.CHECKERS, **radial.CHECKERS}
"""By the name of a bound, what says how much its witness proves; others join by an entry."""


def verify(certificate: Certificate, A: ArrayLike, *, rtol: float = 1e-9) -> None:
    """Recompute cost and bounds from A; raise on a certificate that does not hold.

    See `Certificate.verify`. Names the first thing that fails: shape, basis, cost, guarantee, or a
    bound. Passes over A: one for the cost, one to three for each bound; A is read in blocks.
    """
    array = _opened(A)
    with checks.refusing("a field is not what it should be"):
        _check_statement(certificate, array)
        data = checks.Data(array, certificate)
        highest = _check_cost(data, certificate, rtol)
        for bound in certificate.bounds:
            _check_bound(data, bound, rtol)
            if not bound.scaled_value <= highest:
                raise CertificateError(
                    f"bound {bound.name!r} is stated as {bound.value!r}; this basis costs less: "
                    f"{certificate.cost!r}"
                )
        _check_guarantee(certificate, rtol)


def _opened(A: ArrayLike) -> Any:
    """What can be read by slices stays where it is; what is on a device is fetched."""
    sliced = isinstance(getattr(A, "dtype", None), np.dtype) and hasattr(A, "ndim")
    sliced = sliced and not hasattr(type(A), "__cuda_array_interface__")
    array = A if sliced else as_numpy(A, "A")
    if isinstance(array, np.ma.MaskedArray):
        raise CertificateError("A is masked: what is behind a mask is not said")
    return array


def check_total(total: float, c: Certificate, A: ArrayLike, rtol: float) -> None:
    """What rank 0 costs, in user units (few digits where subnormal), for data and weights."""
    with checks.refusing("the cost of rank 0"):
        data = checks.Data(_opened(A), c)
        norms = data.distances(np.zeros((data.d, 0)))
        low, _, high = (to_cost_units(1.0, norm * c.unit, data.p) for norm in norms)
        if not low * (1.0 - rtol) - 2e-323 <= total <= max(high, low) * (1.0 + rtol) + 2e-323:
            raise CertificateError(f"rank 0 is stated to cost {total!r}, recomputed {high!r}")


def _check_guarantee(c: Certificate, rtol: float) -> None:
    """No more is promised than the bounds prove that hold always: what has just been checked."""
    promise = checks.number("guarantee", c.guarantee)
    if not promise >= 1.0:
        raise CertificateError(f"guarantee {promise!r} is below 1")
    proved = [b.scaled_value for b in c.bounds if b.failure_probability == 0.0]
    if not proved and promise < math.inf:
        raise CertificateError(
            f"guarantee {promise!r} is stated, and no bound that it could rest on"
        )
    ratio = norm_ratio(c.scaled_cost, max(proved, default=0.0), c.p)
    if not ratio <= promise * (1.0 + rtol):
        raise CertificateError(
            f"guarantee {promise:.6g} is not met: the certified ratio is {ratio:.6g}"
        )


def _check_statement(c: Certificate, A: NDArray[Any]) -> None:
    """The certificate speaks of data of this shape, and its parts agree with one another."""
    checks.check_problem(c, A)
    checks.check_arrays(basis=c.basis)
    n, d = A.shape
    if c.basis.shape != (d, c.k) or not 1 <= c.k <= d:
        raise CertificateError(f"basis has shape {c.basis.shape}, expected ({d}, {c.k})")
    checks.check_weights("row", c.row_weights, (n,))


def _check_cost(data: checks.Data, c: Certificate, rtol: float) -> float:
    """The basis is orthonormal and costs what is stated; the most that this may be."""
    defect = float(np.abs(c.basis.T @ c.basis - np.eye(c.k)).max())
    if not defect <= 1e-9:
        raise CertificateError(f"basis is not orthonormal: |V^T V - I| reaches {defect:.3g}")
    norms = data.distances(np.linalg.qr(c.basis)[0])
    if not (norms[1] == 0.0 or data.longest >= checks.SHORTEST):
        raise CertificateError(f"unit {c.unit!r} is too large: powers of the rows leave float64")
    checks.check_cost(c.scaled_cost, norms, data.p, rtol, c.unit)
    return max(to_cost_units(1.0, norms[2], data.p) * (1.0 + rtol), checks.LEAST)


def _check_bound(data: checks.Data, bound: Bound, rtol: float) -> None:
    """A bound follows from its witness, rounding taken off."""
    if bound.name not in CHECKERS:
        raise CertificateError(f"bound {bound.name!r} is unknown here")
    stated, chance = (
        checks.number(f"{name} of {bound.name!r}", getattr(bound, name))
        for name in ("scaled_value", "failure_probability")
    )
    if not 0.0 <= stated < math.inf:
        raise CertificateError(f"bound {bound.name!r} is not a number >= 0")
    with checks.refusing(f"bound {bound.name!r} has a broken witness"):
        checks.check_witness(bound)
        span = bound.witness.get("span")
        inner, lost = (data, 0.0) if span is None else data.within(span)
        proved = CHECKERS[bound.name](inner, bound).less(lost, data.p)
    if not stated <= max(proved.most(rtol), 0.0):
        raise CertificateError(
            f"bound {bound.name!r} is stated as {bound.value!r}; its witness proves no more than "
            f"{to_cost_units(max(proved.value, 0.0), bound.unit, bound.p)!r}"
        )
    if not math.isclose(chance, proved.failure_probability, rel_tol=1e-6, abs_tol=0.0):
        raise CertificateError(
            f"bound {bound.name!r} states failure probability {bound.failure_probability!r}, "
            f"recomputed {proved.failure_probability!r}"
        )
