"""One weight into factors of its own dtype, and what they cost as stored.

A weight is seen (`seen.py`), solved in float64 (`solving.py`), rounded, and judged as stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lpgeom.groups.mixed import approx_mixed
from lpgeom.nn.factors.factored import Factored, Metric, Spec
from lpgeom.nn.factors.groups import Factors, label_dtype, places_of
from lpgeom.nn.factors.seen import Seen, check_finite, exactly, rounded
from lpgeom.nn.factors.solving import solved
from lpgeom.records.subspace import Array
from lpgeom.subspace.svd_curve import SvdCurve, svd_cost_curve


def factorise(
    weight: Tensor,
    k: int,
    spec: Spec,
    row_weights: Array | None = None,
    metric: Metric | None = None,
    curve: SvdCurve | None = None,
) -> Factored:
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
    seen = Seen(weight, metric)
    found = solved(seen.rows, k, spec, row_weights)
    lossless = k >= weight.shape[1]  # the identity, and the weight itself
    right = found.right if metric is None or lossless else found.right @ metric.inverse
    stored = rounded(right, weight)
    exact = exactly(stored)
    if found.left is not None:
        # left R = (left R S^+) S for the rounded S: S has the same row space up to rounding.
        turn: Any = np.linalg.lstsq(exact.T, right.T, rcond=None)[0].T
        left = seen.turned(found.left, turn)
    else:
        left = seen.itself() if lossless else seen.nearest(exact, found.labels)
    check_finite(left, stored)
    cost = seen.cost(left, exact, found.labels, spec, row_weights)
    labels = None
    if found.labels is not None:
        labels = torch.from_numpy(found.labels).to(weight.device)
    curve = _curve(seen, spec.p, row_weights) if curve is None else curve
    entries = spec.objective == "entries"
    return Factored(
        Factors.split(left.to(weight.device), stored, labels),
        cost=cost,
        lower_bound=found.lower_bound,
        svd_cost=found.svd_cost,
        failure_probability=found.failure_probability,
        method=found.method,
        note=found.note,
        size=seen.cost_of_zero(spec, row_weights) if entries else float(curve.cost[0]),
        singular_values=_spectrum(curve, weight),
    )  # fmt: skip


def factorise_mixed(
    weight: Tensor,
    budget: int,
    spec: Spec,
    row_weights: Array | None = None,
    curve: SvdCurve | None = None,
) -> Factored:
    """Factors of at most `budget` numbers, each of `spec.subspaces` groups of rows in its own rank.

    Always as many groups as asked for; those that were not needed have no rows.
    """
    seen = Seen(weight)
    curve = _curve(seen, spec.p, row_weights) if curve is None else curve
    found = approx_mixed(
        seen.rows, budget, spec.p, subspaces=spec.subspaces,
        row_weights=row_weights, certify=spec.certify, seed=spec.seed,
    )  # fmt: skip
    d, j = weight.shape[1], spec.subspaces
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
            omega = None if row_weights is None else row_weights[rows]
            cost += own.cost(left, exact, None, spec, omega)
        check_finite(left, right)
        lefts.append(left.to(weight.device))
        rights.append(right)
    kept = torch.from_numpy(labels).to(label_dtype(j))
    index = kept.to(weight.device), places_of(kept, j).to(weight.device)
    return Factored(
        Factors(tuple(lefts), tuple(rights), *index),
        cost=cost,
        # Both are sums in float64, in another order.
        lower_bound=min(found.lower_bound, cost) if spec.certify else None,
        svd_cost=found.svd_cost,
        failure_probability=found.failure_probability,
        method=found.method,
        note="exact" if cost == 0.0 else "",
        size=float(curve.cost[0]),
        singular_values=_spectrum(curve, weight),
    )  # fmt: skip


def curve_of(
    weight: Tensor, p: float, row_weights: Array | None = None, metric: Metric | None = None
) -> SvdCurve:
    """The rows cost of the truncated SVD at every rank.

    Raises
    ------
    ValueError
        A weight whose p-th powers leave float64's range: its error would be nan, or 0.
    """
    return _curve(Seen(weight, metric), p, row_weights)


def _curve(seen: Seen, p: float, row_weights: Array | None) -> SvdCurve:
    curve = svd_cost_curve(seen.rows, p, row_weights=row_weights)
    size, largest = float(curve.cost[0]), float(curve.singular_values[0])
    if not np.isfinite(size) or (largest > 0.0 and size < np.finfo(np.float64).tiny):
        raise ValueError(
            f"p-th powers of its rows, of norm {largest:.3g}, leave the range of float64 at "
            f"p = {p:g}; take a smaller p"
        )
    return curve


def _spectrum(curve: SvdCurve, weight: Tensor) -> tuple[float, ...]:
    return tuple(float(s) for s in curve.singular_values[: min(weight.shape)])
