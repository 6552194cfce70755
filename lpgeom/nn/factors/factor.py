"""One weight into factors of its own dtype, and what they cost as stored.

A weight is seen (`seen.py`), solved in float64 by the solver that its `Spec` asks for, rounded, and
judged as stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpgeom.entries.factors import approx_factors
from lpgeom.groups.clusters import approx_clusters
from lpgeom.groups.mixed import approx_mixed
from lpgeom.nn.factors.factored import Factored, Proved, Spec
from lpgeom.nn.factors.groups import Factors, label_dtype, places_of
from lpgeom.nn.factors.seen import Seen, check_finite, exactly, rounded
from lpgeom.records.subspace import Array
from lpgeom.subspace.approx import approx_rows
from lpgeom.subspace.svd_curve import SvdCurve, svd_cost_curve

MANY_STEPS = (1 << 17, 1 << 20)
"""Weights of this many entries (a transformer's linear layers): smaller ones are searched in no
time, larger ones descend in few passes as they are. Between, a descent to the last digits and a
search for better minima take minutes for the layers of a model, and bring 5e-4 of the cost."""

BRISK: dict[str, Any] = {"method": "irls", "tol": 1e-5}
"""Options of `approx_subspace` for those."""


def factorise(weight: Tensor, k: int, spec: Spec, curve: SvdCurve | None = None) -> Factored:
    """Factors of rank k of a weight (n, d), in its dtype and on its device.

    The right factor is rounded first; the left one is then what fits it best (rows) or what makes
    the same product (entries), so that rounding of the right factor does no harm. `cost` is that of
    the stored numbers, summed in float64. `curve` is `curve_of` the same, if it is known already.

    Raises
    ------
    ValueError
        Entries that are not finite, factors beyond the range of the weight's dtype, or a p at which
        costs leave that of float64.
    """
    seen = Seen(weight, spec)
    found = _solved(seen.rows, k, spec)
    lossless = k >= weight.shape[1]  # the identity, and the weight itself
    right = found.right
    if spec.metric is not None and not lossless:
        right = right @ spec.metric.inverse
    stored = rounded(right, weight)
    exact = exactly(stored)
    if found.left is not None:
        # left R = (left R S^+) S for the rounded S: S has the same row space up to rounding.
        turn: Any = np.linalg.lstsq(exact.T, right.T, rcond=None)[0].T
        left = seen.turned(found.left, turn)
    else:
        left = seen.itself() if lossless else seen.nearest(exact, found.labels)
    check_finite(left, stored)
    cost = seen.cost(left, exact, found.labels)
    labels = found.labels
    index = None if labels is None else torch.from_numpy(labels).to(weight.device)
    factors = Factors.split(left.to(weight.device), stored, index)
    return _judged(seen, factors, cost, found.proved, curve)


def factorise_mixed(
    weight: Tensor, budget: int, spec: Spec, curve: SvdCurve | None = None
) -> Factored:
    """Factors of at most `budget` numbers, each of `spec.subspaces` groups of rows in its own rank.

    Always as many groups as asked for; those that were not needed have no rows.
    """
    seen = Seen(weight, spec)
    curve = _curve(seen) if curve is None else curve
    d, j = weight.shape[1], spec.subspaces
    found = approx_mixed(seen.rows, budget, spec.p, subspaces=j, **_options(spec))
    order = sorted(range(found.subspaces), key=lambda c: -found.ranks[c])
    labels = np.argsort(order)[found.labels]
    lefts, rights, cost = [], [], 0.0
    for c in range(j):
        rows = np.flatnonzero(labels == c)
        k = found.ranks[order[c]] if rows.size else 0
        own = seen.take(rows)
        basis = found.bases[order[c]] if 0 < k < d else np.empty((d, 0))
        right = rounded(basis.T, weight)
        exact = exactly(right)
        left = own.itself() if k == d else own.nearest(exact, None)
        if k < d:
            cost += own.cost(left, exact, None)
        check_finite(left, right)
        lefts.append(left.to(weight.device))
        rights.append(right)
    kept = torch.from_numpy(labels).to(label_dtype(j))
    index = kept.to(weight.device), places_of(kept, j).to(weight.device)
    proved = _proved(found, found, spec, exact=cost == 0.0)
    if proved.lower_bound is not None:
        # Both are sums in float64, in another order.
        proved = replace(proved, lower_bound=min(proved.lower_bound, cost))
    return _judged(seen, Factors(tuple(lefts), tuple(rights), *index), cost, proved, curve)


def curve_of(weight: Tensor, spec: Spec) -> SvdCurve:
    """The rows cost of the truncated SVD at every rank.

    Raises
    ------
    ValueError
        A weight whose p-th powers leave float64's range: its error would be nan, or 0.
    """
    return _curve(Seen(weight, spec))


def _curve(seen: Seen) -> SvdCurve:
    p = seen.spec.p
    curve = svd_cost_curve(seen.rows, p, row_weights=seen.spec.row_weights)
    size, largest = float(curve.cost[0]), float(curve.singular_values[0])
    if not np.isfinite(size) or (largest > 0.0 and size < np.finfo(np.float64).tiny):
        raise ValueError(
            f"p-th powers of its rows, of norm {largest:.3g}, leave the range of float64 at "
            f"p = {p:g}; take a smaller p"
        )
    return curve


def _judged(
    seen: Seen, factors: Factors, cost: float, proved: Proved, curve: SvdCurve | None
) -> Factored:
    """Factors as they are stored, beside what is known of the weight."""
    curve = _curve(seen) if curve is None else curve
    entries = seen.spec.objective == "entries"
    return Factored(
        **vars(proved),
        factors=factors,
        cost=cost,
        size=seen.cost_of_zero() if entries else float(curve.cost[0]),
        spectrum=tuple(float(s) for s in curve.singular_values[: min(seen.weight.shape)]),
    )


# ---------------------------------------------------------------------------------------- solvers


@dataclass(frozen=True)
class _Solved:
    """Factors in float64; `left` None: each row's own projection."""

    right: Array
    left: Array | None
    labels: NDArray[Any] | None
    proved: Proved


def _solved(A: Any, k: int, spec: Spec) -> _Solved:
    """Factors of rank k of a matrix (n, d), n >= 1, of float32 or float64: an array, or a tensor
    on a CUDA device, where the passes over it then run.

    Raises
    ------
    ValueError
        Entries that are not finite.
    """
    if A.shape[0] < A.shape[1] and spec.objective == "rows" and _finite(A):
        return _in_span(A, k, spec)
    return _in_place(A, k, spec)  # which says where entries are not finite


def _in_span(A: Any, k: int, spec: Spec) -> _Solved:
    """`_in_place` for n < d, in the n coordinates of the rows' span.

    A subspace may be projected on the span without a row being farther from it, so the problem in
    coordinates has the same optimum and the same bounds, with (n, n) matrices for (d, d) ones.
    """
    scale = float(abs(A).max()) or 1.0
    if isinstance(A, Tensor):
        span, R = torch.linalg.qr(A.double().T / scale)
        lengths = torch.linalg.vector_norm(R, dim=0).cpu().numpy() * scale
        found = _in_place((R.T * scale).contiguous(), k, spec)
        right = (torch.from_numpy(found.right.copy()).to(span.device) @ span.T).cpu().numpy()
    else:
        span, R = np.linalg.qr(np.asarray(A, np.float64).T / scale)
        lengths = np.linalg.norm(R, axis=0) * scale
        found = _in_place(R.T * scale, k, spec)
        right = found.right @ span.T
    bound = found.proved.lower_bound
    if bound:
        # The coordinates' rounding moves each distance by some eps of its row's length.
        off = 8.0 * np.finfo(np.float64).eps * math.sqrt(math.prod(A.shape)) * spec.p
        weights = 1.0 if spec.row_weights is None else spec.row_weights
        size = float((weights * lengths**spec.p).sum())
        bound = max(0.0, float(bound - off * size))
    return replace(found, right=right, proved=replace(found.proved, lower_bound=bound))


def _in_place(A: Any, k: int, spec: Spec) -> _Solved:
    if k >= A.shape[1]:
        return _whole(A, spec.subspaces)
    found: Any
    left = labels = None
    if spec.subspaces > 1:
        found = approx_clusters(A, k, spec.p, subspaces=spec.subspaces, **_options(spec))
        right, labels = found.bases.transpose(0, 2, 1), found.labels
    elif spec.objective == "entries":
        found = approx_factors(A, k, spec.p, **_options(spec))
        right, left = found.right, found.left
    else:
        brisk: dict[str, Any] = BRISK if MANY_STEPS[0] <= math.prod(A.shape) < MANY_STEPS[1] else {}
        found = approx_rows(A, k, spec.p, **_options(spec), **brisk)
        right = found.components
    proof = found if spec.subspaces > 1 else found.certificate
    return _Solved(right, left, labels, _proved(found, proof, spec, exact=found.cost == 0.0))


def _whole(A: Any, subspaces: int) -> _Solved:
    """The identity, and the matrix itself."""
    if not _finite(A):
        raise ValueError("has entries that are not finite")
    n, d = A.shape
    right, labels = np.eye(d), None
    if subspaces > 1:
        right, labels = np.broadcast_to(right, (subspaces, d, d)), np.arange(n) % subspaces
    proved = Proved(
        lower_bound=0.0, svd_cost=0.0, failure_probability=0.0, method="full rank", note="exact"
    )
    return _Solved(right, None, labels, proved)


def _options(spec: Spec) -> dict[str, Any]:
    """The options that all solvers have."""
    return {name: getattr(spec, name) for name in ("row_weights", "certify", "seed")}


def _proved(found: Any, proof: Any, spec: Spec, *, exact: bool) -> Proved:
    """What a solver's result says; `proof`, which may be None, knows how surely."""
    return Proved(
        lower_bound=found.lower_bound if spec.certify else None,
        svd_cost=found.svd_cost,
        failure_probability=0.0 if proof is None else proof.failure_probability,
        method=found.method,
        note="exact" if exact else "",
    )


def _finite(A: Any) -> bool:
    return bool((A.isfinite() if isinstance(A, Tensor) else np.isfinite(A)).all())
