"""Factors of a matrix in float64, and what is proved of them: the solver that a `Spec` asks for."""

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
from lpgeom.nn.factors.factored import Spec
from lpgeom.records.subspace import Array
from lpgeom.subspace.approx import approx_rows

MANY_STEPS = (1 << 17, 1 << 20)
"""Weights of this many entries (a transformer's linear layers): smaller ones are searched in no
time, larger ones descend in few passes as they are. Between, a descent to the last digits and a
search for better minima take minutes for the layers of a model, and bring 5e-4 of the cost."""

BRISK: dict[str, Any] = {"method": "irls", "tol": 1e-5}
"""Options of `approx_subspace` for those."""


@dataclass(frozen=True)
class Solved:
    """Factors in float64; `left` None: each row's own projection. What is proved, as `Factored`."""

    right: Array
    left: Array | None
    labels: NDArray[Any] | None
    lower_bound: float | None
    svd_cost: float | None
    failure_probability: float
    method: str
    note: str = ""


def solved(A: Any, k: int, spec: Spec, row_weights: Array | None) -> Solved:
    """Factors of rank k of a matrix (n, d), n >= 1, of float32 or float64: an array, or a tensor
    on a CUDA device, where the passes over it then run.

    Raises
    ------
    ValueError
        Entries that are not finite.
    """
    if A.shape[0] < A.shape[1] and spec.objective == "rows":
        return _in_span(A, k, spec, row_weights)
    return _in_place(A, k, spec, row_weights)


def _in_span(A: Any, k: int, spec: Spec, row_weights: Array | None) -> Solved:
    """`_in_place` for n < d, in the n coordinates of the rows' span.

    A subspace may be projected on the span without a row being farther from it, so the problem in
    coordinates has the same optimum and the same bounds, with (n, n) matrices for (d, d) ones.
    """
    if not _finite(A):
        return _in_place(A, k, spec, row_weights)  # which says where
    scale = float(abs(A).max()) or 1.0
    if isinstance(A, Tensor):
        span, R = torch.linalg.qr(A.double().T / scale)
        lengths = torch.linalg.vector_norm(R, dim=0).cpu().numpy() * scale
        found = _in_place((R.T * scale).contiguous(), k, spec, row_weights)
        right = (torch.from_numpy(found.right.copy()).to(span.device) @ span.T).cpu().numpy()
    else:
        span, R = np.linalg.qr(np.asarray(A, np.float64).T / scale)
        lengths = np.linalg.norm(R, axis=0) * scale
        found = _in_place(R.T * scale, k, spec, row_weights)
        right = found.right @ span.T
    bound = found.lower_bound
    if bound:
        # The coordinates' rounding moves each distance by some eps of its row's length.
        off = 8.0 * np.finfo(np.float64).eps * math.sqrt(math.prod(A.shape)) * spec.p
        weights = 1.0 if row_weights is None else row_weights
        size = float((weights * lengths**spec.p).sum())
        bound = max(0.0, float(bound - off * size))
    return replace(found, right=right, lower_bound=bound)


def _in_place(A: Any, k: int, spec: Spec, row_weights: Array | None) -> Solved:
    if k >= A.shape[1]:
        return _whole(A, spec.subspaces)
    options: dict[str, Any] = {
        "row_weights": row_weights, "certify": spec.certify, "seed": spec.seed,
    }  # fmt: skip
    found: Any
    left = labels = None
    if spec.subspaces > 1:
        found = approx_clusters(A, k, spec.p, subspaces=spec.subspaces, **options)
        right, labels = found.bases.transpose(0, 2, 1), found.labels
        proofs = [r.certificate for r in found.results if r is not None]
    elif spec.objective == "entries":
        found = approx_factors(A, k, spec.p, **options)
        right, left = found.right, found.left
        proofs = [found.certificate]
    else:
        brisk: dict[str, Any] = BRISK if MANY_STEPS[0] <= math.prod(A.shape) < MANY_STEPS[1] else {}
        found = approx_rows(A, k, spec.p, **options, **brisk)
        right = found.components
        proofs = [found.certificate]
    chance = sum((proof.failure_probability for proof in proofs if proof is not None), 0.0)
    return Solved(
        right, left, labels,
        lower_bound=found.lower_bound if spec.certify else None,
        svd_cost=found.svd_cost,
        failure_probability=min(1.0, chance),
        method=found.method,
        note="exact" if found.cost == 0.0 else "",
    )  # fmt: skip


def _whole(A: Any, subspaces: int) -> Solved:
    """The identity, and the matrix itself."""
    if not _finite(A):
        raise ValueError("has entries that are not finite")
    n, d = A.shape
    right, labels = np.eye(d), None
    if subspaces > 1:
        right, labels = np.broadcast_to(right, (subspaces, d, d)), np.arange(n) % subspaces
    return Solved(right, None, labels, 0.0, 0.0, 0.0, "full rank", "exact")


def _finite(A: Any) -> bool:
    return bool((A.isfinite() if isinstance(A, Tensor) else np.isfinite(A)).all())
