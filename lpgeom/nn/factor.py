"""One weight into factors of its own dtype, and what they cost as stored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpgeom.nn.mixed import places_of
from lpgeom.nn.split import label_dtype
from lpgeom.results import Array, to_cost_units
from lpgeom.subspace.approx import approx_subspace
from lpgeom.subspace.clusters import approx_subspaces
from lpgeom.subspace.curve import SvdCurve, svd_cost_curve
from lpgeom.subspace.factors import approx_factors
from lpgeom.subspace.mixed import approx_mixed

FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

_BLOCK_ENTRIES = 1 << 20

MANY_STEPS = (1 << 17, 1 << 20)
"""Weights of this many entries (a transformer's linear layers): smaller ones are searched in no
time, larger ones descend in few passes as they are. Between, a descent to the last digits and a
search for better minima take minutes for the layers of a model, and bring 5e-4 of the cost."""

BRISK: dict[str, Any] = {"method": "irls", "tol": 1e-5}
"""Options of `approx_subspace` for those."""


@dataclass(frozen=True)
class Spec:
    """What is minimised for each weight."""

    p: float = 1.0
    objective: str = "rows"
    subspaces: int = 1
    ranks: str = "equal"
    certify: bool | str = True
    seed: int = 0


@dataclass(frozen=True)
class Metric:
    """A layer's own distance between weights: ``||(a - b) root||``.

    Attributes
    ----------
    root, inverse : ndarray, shape (d, d)
        Symmetric square root of the inputs' second moment, and its inverse.
    note : str
    """

    root: Array
    inverse: Array
    note: str = ""


@dataclass(frozen=True)
class Factored:
    """Factors (n, k) and (k, d) or (j, k, d), as stored, and what is proved of them.

    Costs are p-th powers in the weight's own units (those of `Metric`, where there is one); `size`
    is what approximation by zero costs. With ranks of their own the groups' factors are in `lefts`
    and `rights`, as a `MixedRank` module has them, the largest rank first.
    """

    left: Tensor
    right: Tensor
    labels: Tensor | None
    cost: float
    lower_bound: float | None
    svd_cost: float | None
    failure_probability: float
    method: str
    note: str = ""
    size: float = 0.0
    singular_values: tuple[float, ...] = ()
    lefts: tuple[Tensor, ...] = ()
    rights: tuple[Tensor, ...] = ()
    places: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """What is stored, by the names it has in a module."""
        if self.lefts:
            named = {f"lefts.{c}": left for c, left in enumerate(self.lefts)}
            named |= {f"rights.{c}": right for c, right in enumerate(self.rights)}
        else:
            named = {"left": self.left, "right": self.right}
        index = {"labels": self.labels, "places": self.places}
        return named | {name: value for name, value in index.items() if value is not None}

    @property
    def parameters(self) -> int:
        """Numbers in the factors."""
        return sum(x.numel() for x in self.tensors().values() if x.is_floating_point())

    @property
    def nbytes(self) -> int:
        """Of the factors and of what says which row is where."""
        return sum(x.nbytes for x in self.tensors().values())


def as_array(weight: Tensor) -> NDArray[Any]:
    """A weight as NumPy sees it: without a copy, but for bfloat16, which becomes float32."""
    weight = weight.detach().cpu()
    return (weight.float() if weight.dtype == torch.bfloat16 else weight).numpy()


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
    """
    target = seen_by(weight, metric)
    wide = target.shape[0] < target.shape[1] and spec.objective == "rows"
    found = (_in_span if wide else _solved)(target, k, spec, row_weights)
    lossless = k >= weight.shape[1]  # the identity, and the weight itself
    right = found.right if metric is None or lossless else found.right @ metric.inverse
    stored = _rounded(right, weight)
    exact = stored.double().cpu().numpy()
    left = torch.empty(weight.shape[0], k, dtype=weight.dtype, device="cpu")
    if found.left is None:
        if lossless:
            left.copy_(weight)
        else:
            _fill_left(left, target, exact if metric is None else exact @ metric.root, found.labels)
    else:
        # left R = (left R S^+) S for the rounded S: S has the same row space up to rounding.
        turn = np.linalg.lstsq(exact.T, right.T, rcond=None)[0].T
        for rows in _blocks(target.shape):
            left[rows] = _rounded(found.left[rows] @ turn, left)
    _check_finite(left, stored)
    cost = _cost_as_stored(target, left, exact, found.labels, spec, row_weights, metric)
    labels = None
    if found.labels is not None:
        labels = torch.from_numpy(found.labels).to(weight.device, label_dtype(len(exact)))
    curve = _curve(target, spec.p, row_weights) if curve is None else curve
    entries = spec.objective == "entries"
    return replace(
        found.facts,
        left=left.to(weight.device),
        right=stored,
        labels=labels,
        cost=cost,
        size=_entries_size(target, spec, row_weights) if entries else float(curve.cost[0]),
        singular_values=tuple(float(s) for s in curve.singular_values[: min(target.shape)]),
    )


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
    A = as_array(weight)
    curve = _curve(A, spec.p, row_weights) if curve is None else curve
    found = approx_mixed(
        A, budget, spec.p, subspaces=spec.subspaces,
        row_weights=row_weights, certify=spec.certify, seed=spec.seed,
    )  # fmt: skip
    (n, d), j = weight.shape, spec.subspaces
    order = sorted(range(found.subspaces), key=lambda c: -found.ranks[c])
    labels = np.argsort(order)[found.labels]
    lefts, rights, cost = [], [], 0.0
    for c in range(j):
        rows = np.flatnonzero(labels == c)
        k = found.ranks[order[c]] if rows.size else 0
        dense = k == d
        basis = found.bases[order[c]] if rows.size and not dense else np.empty((d, 0))
        right = _rounded(basis.T, weight)
        exact = right.double().cpu().numpy()
        if dense:
            left = weight.detach().cpu()[rows]
        else:
            left = torch.empty(rows.size, k, dtype=weight.dtype, device="cpu")
            own, omega = A[rows], None if row_weights is None else row_weights[rows]
            if k:
                _fill_left(left, own, exact, None)
            cost += _cost_as_stored(own, left, exact, None, spec, omega, None)
        _check_finite(left, right)
        lefts.append(left.to(weight.device))
        rights.append(right)
    empty = torch.empty(0, device="cpu")
    kept = torch.from_numpy(labels).to(label_dtype(j))
    return Factored(
        empty, empty, kept.to(weight.device),
        cost=cost,
        # Both are sums in float64, in another order.
        lower_bound=min(found.lower_bound, cost) if spec.certify else None,
        svd_cost=found.svd_cost,
        failure_probability=found.failure_probability,
        method=found.method,
        note="exact" if cost == 0.0 else "",
        size=float(curve.cost[0]),
        singular_values=tuple(float(s) for s in curve.singular_values[: min(n, d)]),
        lefts=tuple(lefts),
        rights=tuple(rights),
        places=places_of(kept, j).to(weight.device),
    )  # fmt: skip


def seen_by(weight: Tensor, metric: Metric | None) -> NDArray[Any]:
    """The matrix whose rows are approximated: the weight, or what the metric makes of it."""
    A = as_array(weight)
    return A if metric is None else np.asarray(A, np.float64) @ metric.root


def curve_of(
    weight: Tensor, p: float, row_weights: Array | None = None, metric: Metric | None = None
) -> SvdCurve:
    """The rows cost of the truncated SVD at every rank.

    Raises
    ------
    ValueError
        A weight whose p-th powers leave float64's range: its error would be nan, or 0.
    """
    return _curve(seen_by(weight, metric), p, row_weights)


def _curve(target: NDArray[Any], p: float, row_weights: Array | None) -> SvdCurve:
    curve = svd_cost_curve(target, p, row_weights=row_weights)
    size, largest = float(curve.cost[0]), float(curve.singular_values[0])
    if not np.isfinite(size) or (largest > 0.0 and size < np.finfo(np.float64).tiny):
        raise ValueError(
            f"p-th powers of its rows, of norm {largest:.3g}, leave the range of float64 at "
            f"p = {p:g}; take a smaller p"
        )
    return curve


@dataclass(frozen=True)
class _Solved:
    """Factors in float64; `left` None: each row's own projection."""

    right: Array
    left: Array | None
    labels: NDArray[Any] | None
    facts: Factored


def _in_span(A: NDArray[Any], k: int, spec: Spec, row_weights: Array | None) -> _Solved:
    """`_solved` for n < d, in the n coordinates of the rows' span.

    A subspace may be projected on the span without a row being farther from it, so the problem in
    coordinates has the same optimum and the same bounds, with (n, n) matrices for (d, d) ones.
    """
    if not np.isfinite(A).all():
        return _solved(A, k, spec, row_weights)  # which says where
    scale = float(np.abs(A).max()) or 1.0
    span, R = np.linalg.qr(np.asarray(A, np.float64).T / scale)
    found = _solved(R.T * scale, k, spec, row_weights)
    facts = found.facts
    if facts.lower_bound:
        # The coordinates' rounding moves each distance by some eps of its row's length.
        lengths = np.linalg.norm(R, axis=0) * scale
        off = 8.0 * np.finfo(np.float64).eps * math.sqrt(A.size) * spec.p
        weights = 1.0 if row_weights is None else row_weights
        size = float((weights * lengths**spec.p).sum())
        facts = replace(facts, lower_bound=max(0.0, float(facts.lower_bound - off * size)))
    return replace(found, right=found.right @ span.T, facts=facts)


def _solved(A: NDArray[Any], k: int, spec: Spec, row_weights: Array | None) -> _Solved:
    n, d = A.shape
    empty = torch.empty(0, device="cpu")
    labels: NDArray[Any] | None
    options: dict[str, Any] = {
        "row_weights": row_weights, "certify": spec.certify, "seed": spec.seed,
    }  # fmt: skip
    if k >= d:
        if not np.isfinite(A).all():
            raise ValueError("has entries that are not finite")
        facts = Factored(empty, empty, None, 0.0, 0.0, 0.0, 0.0, "full rank", "exact")
        right = np.eye(d)
        if spec.subspaces == 1:
            return _Solved(right, None, None, facts)
        labels = np.arange(n) % spec.subspaces
        return _Solved(np.broadcast_to(right, (spec.subspaces, d, d)), None, labels, facts)
    found: Any
    if spec.subspaces > 1:
        found = approx_subspaces(A, k, spec.p, subspaces=spec.subspaces, **options)
        right, left, labels = found.bases.transpose(0, 2, 1), None, found.labels
        chance = sum(
            r.certificate.failure_probability
            for r in found.results
            if r is not None and r.certificate is not None
        )
    else:
        if spec.objective == "entries":
            found = approx_factors(A, k, spec.p, **options)
            right, left = found.right, found.left
        else:
            brisk: dict[str, Any] = BRISK if MANY_STEPS[0] <= A.size < MANY_STEPS[1] else {}
            found = approx_subspace(A, k, spec.p, **options, **brisk)
            right, left = found.components, None
        labels = None
        certificate = found.certificate
        chance = 0.0 if certificate is None else certificate.failure_probability
    facts = Factored(
        empty, empty, None,
        cost=found.cost,
        lower_bound=found.lower_bound if spec.certify else None,
        svd_cost=found.svd_cost,
        failure_probability=min(1.0, chance),
        method=found.method,
        note="exact" if found.cost == 0.0 else "",
    )  # fmt: skip
    return _Solved(right, left, labels, facts)


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, _BLOCK_ENTRIES // shape[1])
    for lo in range(0, shape[0], step):
        yield slice(lo, min(shape[0], lo + step))


def _rounded(values: Array, like: Tensor) -> Tensor:
    # Contiguous: a product of the same numbers in another layout rounds differently.
    values = np.ascontiguousarray(values, np.float64)
    return torch.tensor(values, device="cpu").to(like.dtype).to(like.device)


def _fill_left(left: Tensor, A: NDArray[Any], right: Array, labels: NDArray[Any] | None) -> None:
    """Each row's nearest point in the row space of its right factor, in coordinates of it."""
    inverse = np.linalg.pinv(right)
    for rows in _blocks(A.shape):
        block = np.asarray(A[rows], np.float64)
        if labels is None:
            left[rows] = _rounded(block @ inverse, left)
            continue
        out = np.empty((len(block), inverse.shape[2]))
        for c in np.unique(labels[rows]):
            of_c = labels[rows] == c
            out[of_c] = block[of_c] @ inverse[c]
        left[rows] = _rounded(out, left)


def _check_finite(left: Tensor, right: Tensor) -> None:
    if not (bool(left.isfinite().all()) and bool(right.isfinite().all())):
        raise ValueError(f"has factors beyond the range of {left.dtype}")


def _cost_as_stored(
    target: NDArray[Any],
    left: Tensor,
    right: Array,
    labels: NDArray[Any] | None,
    spec: Spec,
    row_weights: Array | None,
    metric: Metric | None,
) -> float:
    """The cost of ``left @ right`` in float64, in units of the largest residual meanwhile."""
    seen = right if metric is None else right @ metric.root
    largest, total = 0.0, 0.0
    for rows in _blocks(target.shape):
        z = left[rows].double().numpy()
        residual = np.array(target[rows], np.float64)
        if labels is None:
            residual -= z @ seen
        else:
            for c in np.unique(labels[rows]):
                of_c = labels[rows] == c
                residual[of_c] -= z[of_c] @ seen[c]
        top = float(np.abs(residual).max(initial=0.0))
        if top == 0.0:
            continue
        if spec.objective == "entries":
            share = ((np.abs(residual) / top) ** spec.p).sum(axis=1)
        else:
            share = np.square(residual / top).sum(axis=1) ** (spec.p / 2.0)
        if row_weights is not None:
            share = share * row_weights[rows]
        if top > largest:
            total *= (largest / top) ** spec.p
            largest = top
        total += float(share.sum()) * (top / largest) ** spec.p
    return to_cost_units(total, largest, spec.p) if largest else 0.0


def _entries_size(A: NDArray[Any], spec: Spec, row_weights: Array | None) -> float:
    nothing, right = torch.zeros(A.shape[0], 1, device="cpu"), np.zeros((1, A.shape[1]))
    return _cost_as_stored(A, nothing, right, None, spec, row_weights, None)
