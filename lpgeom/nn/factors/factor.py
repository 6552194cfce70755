"""One weight into factors of its own dtype, and what they cost as stored.

A weight is seen (`seen.py`), solved in float64 by the solver that its `Spec` asks for, rounded, and
judged as stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from lpgeom.nn.factors.groups import Factors
from lpgeom.nn.factors.seen import Seen, beside
from lpgeom.records.subspace import Array
from lpgeom.subspace.approx import approx_rows
from lpgeom.subspace.svd_curve import SvdCurve, svd_cost_curve

MANY_STEPS = (1 << 17, 1 << 20)
"""Weights of this many entries (a transformer's linear layers): smaller ones are searched in no
time, larger ones descend in few passes as they are. Between, a descent to the last digits and a
search for better minima take minutes for the layers of a model, and bring 5e-4 of the cost."""

BRISK: dict[str, Any] = {"method": "irls", "tol": 1e-5}
"""Options of `approx_subspace` for those."""

WHOLE = Proved(
    lower_bound=0.0, svd_cost=0.0, failure_probability=0.0, method="full rank", note="exact"
)
"""What is known of the weight itself."""


def factorise(weight: Tensor, k: int, spec: Spec, curve: SvdCurve | None = None) -> Factored:
    """Factors of rank k of a weight (n, d), in its dtype and on its device.

    `curve` is `curve_of` the same, if it is known already.

    Raises
    ------
    ValueError
        Entries that are not finite, factors beyond the range of the weight's dtype, or a p at which
        costs leave that of float64.
    """
    seen = Seen(weight, spec)
    return _stored(weight, seen, _solved(seen.rows, k, spec), curve)


def factorise_mixed(
    weight: Tensor, budget: int, spec: Spec, curve: SvdCurve | None = None
) -> Factored:
    """Factors of at most `budget` numbers, each of `spec.subspaces` groups of rows in its own rank.

    Always as many groups as asked for; those that were not needed have no rows.
    """
    seen = Seen(weight, spec)
    curve = _curve(seen) if curve is None else curve
    found = approx_mixed(seen.rows, budget, spec.p, subspaces=spec.subspaces, **_options(spec))
    order = sorted(range(found.subspaces), key=lambda c: -found.ranks[c])
    rights = [found.bases[c].T[: None if found.sizes[c] else 0] for c in order]
    rights += [np.empty((0, weight.shape[1]))] * (spec.subspaces - found.subspaces)
    labels = np.argsort(order)[found.labels]
    return _stored(weight, seen, _Solved(rights, labels, _proved(found, found, spec)), curve)


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


@dataclass(frozen=True)
class _Solved:
    """A right factor in float64 for each group of rows; `left` None: each row's own projection."""

    rights: Sequence[Array]
    labels: NDArray[Any] | None
    proved: Proved
    left: Array | None = None


def _stored(weight: Tensor, seen: Seen, found: _Solved, curve: SvdCurve | None) -> Factored:
    """A solution in the weight's dtype, beside what is known of the weight.

    Of each group the right factor is rounded first; the left one is then what fits it best (rows)
    or what makes the same product (entries), so that rounding of the right factor does no harm. The
    cost is that of the stored numbers, summed in float64.
    """
    curve = _curve(seen) if curve is None else curve
    spec, proved, (n, d) = seen.spec, found.proved, weight.shape
    lefts, rights, cost = [], [], 0.0
    for c, right in enumerate(found.rights):
        own = seen if found.labels is None else seen.take(np.flatnonzero(found.labels == c))
        if len(right) >= d:  # the weight itself, and the identity where there is one group
            stored = beside(right[: d if found.labels is None else 0], weight.device, weight.dtype)
            left = own.weight.clone()
        else:
            right = right if spec.metric is None else right @ spec.metric.inverse
            stored = beside(right, weight.device, weight.dtype)
            exact = stored.double().cpu().numpy()
            if found.left is None:
                left = own.nearest(exact)
            else:
                # left R = (left R S^+) S for the rounded S, of the same row space up to rounding.
                turn: Any = np.linalg.lstsq(exact.T, right.T, rcond=None)[0].T
                left = own.turned(found.left, turn)
            cost += own.cost(left, exact)
        if not (bool(left.isfinite().all()) and bool(stored.isfinite().all())):
            raise ValueError(f"has factors beyond the range of {weight.dtype}")
        lefts.append(left.to(weight.device))
        rights.append(stored)
    labels = None if found.labels is None else torch.from_numpy(found.labels).to(weight.device)
    if labels is not None and proved.lower_bound is not None:
        # Both are sums in float64, in another order.
        proved = replace(proved, lower_bound=min(proved.lower_bound, cost))
    return Factored(
        **vars(proved),
        factors=Factors.grouped(lefts, rights, labels),
        cost=cost,
        size=seen.cost_of_zero() if spec.objective == "entries" else float(curve.cost[0]),
        spectrum=tuple(float(s) for s in curve.singular_values[: min(n, d)]),
    )


# ---------------------------------------------------------------------------------------- solvers


def _solved(A: Any, k: int, spec: Spec) -> _Solved:
    """Factors of rank k of a matrix (n, d), n >= 1, of float32 or float64: an array, or a tensor
    on a CUDA device, where the passes over it then run.

    Raises
    ------
    ValueError
        Entries that are not finite.
    """
    # One subspace is looked for in the rows' span by its solver.
    if A.shape[0] < A.shape[1] and spec.subspaces > 1 and _finite(A):
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
        rights = [(beside(right, span.device) @ span.T).cpu().numpy() for right in found.rights]
    else:
        span, R = np.linalg.qr(np.asarray(A, np.float64).T / scale)
        lengths = np.linalg.norm(R, axis=0) * scale
        found = _in_place(R.T * scale, k, spec)
        rights = [right @ span.T for right in found.rights]
    bound = found.proved.lower_bound
    if bound:
        # The coordinates' rounding moves each distance by some eps of its row's length.
        off = 8.0 * np.finfo(np.float64).eps * math.sqrt(math.prod(A.shape)) * spec.p
        weights = 1.0 if spec.row_weights is None else spec.row_weights
        size = float((weights * lengths**spec.p).sum())
        bound = max(0.0, float(bound - off * size))
    return replace(found, rights=rights, proved=replace(found.proved, lower_bound=bound))


def _in_place(A: Any, k: int, spec: Spec) -> _Solved:
    n, d = A.shape
    if k >= d:
        if not _finite(A):
            raise ValueError("has entries that are not finite")
        labels = None if spec.subspaces == 1 else np.arange(n) % spec.subspaces
        return _Solved([np.eye(d)] * spec.subspaces, labels, WHOLE)
    found: Any
    if spec.subspaces > 1:
        found = approx_clusters(A, k, spec.p, subspaces=spec.subspaces, **_options(spec))
        rights = found.bases.transpose(0, 2, 1)
        return _Solved(rights, found.labels, _proved(found, found, spec))
    if spec.objective == "entries":
        found = approx_factors(A, k, spec.p, **_options(spec))
        proved = _proved(found, found.certificate, spec)
        return _Solved([found.right], None, proved, found.left)
    brisk: dict[str, Any] = BRISK if MANY_STEPS[0] <= n * d < MANY_STEPS[1] else {}
    found = approx_rows(A, k, spec.p, **_options(spec), **brisk)
    return _Solved([found.components], None, _proved(found, found.certificate, spec))


def _options(spec: Spec) -> dict[str, Any]:
    """The options that all solvers have."""
    return {name: getattr(spec, name) for name in ("row_weights", "certify", "seed")}


def _proved(found: Any, proof: Any, spec: Spec) -> Proved:
    """What a solver's result says; `proof`, which may be None, knows how surely."""
    return Proved(
        lower_bound=found.lower_bound if spec.certify else None,
        svd_cost=found.svd_cost,
        failure_probability=0.0 if proof is None else proof.failure_probability,
        method=found.method,
        note="exact" if found.cost == 0.0 else "",
    )


def _finite(A: Any) -> bool:
    return bool((A.isfinite() if isinstance(A, Tensor) else np.isfinite(A)).all())
