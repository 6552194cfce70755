"""A weight as the solver sees it, and its left factor as it is stored: where the numbers live.

`seen_by` is the one place that decides it. Whatever it returns has the rows in a form that the
solvers take, and fills and judges left factors beside them; `factor.py` knows no more of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpgeom.nn.factored import Metric, Spec
from lpgeom.results import Array, to_cost_units

_BLOCK_ENTRIES = 1 << 20


class Seen:
    """The rows of a weight (n, d) in the host's memory, and the products with them.

    Right factors and coordinates come as float64 arrays, in the weight's own units; left factors
    are tensors (n, k) of the weight's dtype, here on the CPU, whatever device they go to at last.
    Products are made in float64, in blocks of `_BLOCK_ENTRIES` entries: O(n d k) time, no second
    copy of the weight.

    Attributes
    ----------
    weight : Tensor, shape (n, d)
        In the dtype in which it was given, on the CPU.
    rows : ndarray, shape (n, d)
        What is approximated: the weight, without a copy unless it is bfloat16 (which becomes
        float32) or there is a metric (float64).
    metric : Metric or None
    """

    def __init__(self, weight: Tensor, metric: Metric | None = None) -> None:
        self.weight = weight.detach().cpu()
        self.metric = metric
        narrow = weight.dtype == torch.bfloat16  # which NumPy does not have
        A = (self.weight.float() if narrow else self.weight).numpy()
        self.rows: NDArray[Any] = A if metric is None else np.asarray(A, np.float64) @ metric.root

    def take(self, indices: NDArray[Any]) -> Seen:
        """Some of the rows, without a metric."""
        return Seen(self.weight[indices])

    def itself(self) -> Tensor:
        """The left factor of the identity."""
        left = self._empty(self.weight.shape[1])
        left.copy_(self.weight)
        return left

    def nearest(self, right: Array, labels: NDArray[Any] | None) -> Tensor:
        """The left factor that has each row nearest, for a right one (k, d) or (j, k, d)."""
        inverse = np.linalg.pinv(self._in_metric(right))
        left = self._empty(right.shape[-2])
        for rows in self._blocks():
            block = np.asarray(self.rows[rows], np.float64)
            if labels is None:
                left[rows] = rounded(block @ inverse, left)
                continue
            out = np.empty((len(block), inverse.shape[2]))
            for c in np.unique(labels[rows]):
                of_c = labels[rows] == c
                out[of_c] = block[of_c] @ inverse[c]
            left[rows] = rounded(out, left)
        return left

    def turned(self, left: Array, turn: Array) -> Tensor:
        """``left @ turn`` in the weight's dtype."""
        out = self._empty(turn.shape[1])
        for rows in self._blocks():
            out[rows] = rounded(left[rows] @ turn, out)
        return out

    def cost(
        self,
        left: Tensor,
        right: Array,
        labels: NDArray[Any] | None,
        spec: Spec,
        row_weights: Array | None,
    ) -> float:
        """The cost of ``left @ right`` in float64, in units of the largest residual meanwhile."""
        right = self._in_metric(right)
        largest, total = 0.0, 0.0
        for rows in self._blocks():
            z = left[rows].double().numpy()
            residual = np.array(self.rows[rows], np.float64)
            if labels is None:
                residual -= z @ right
            else:
                for c in np.unique(labels[rows]):
                    of_c = labels[rows] == c
                    residual[of_c] -= z[of_c] @ right[c]
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

    def cost_of_zero(self, spec: Spec, row_weights: Array | None) -> float:
        """What the rows cost where nothing is kept of them."""
        n, d = self.weight.shape
        return self.cost(torch.zeros(n, 1, device="cpu"), np.zeros((1, d)), None, spec, row_weights)

    def _empty(self, k: int) -> Tensor:
        return torch.empty(len(self.weight), k, dtype=self.weight.dtype, device="cpu")

    def _in_metric(self, right: Array) -> Array:
        return right if self.metric is None else right @ self.metric.root

    def _blocks(self) -> Iterator[slice]:
        n, d = self.weight.shape
        step = max(1, _BLOCK_ENTRIES // d)
        for lo in range(0, n, step):
            yield slice(lo, min(n, lo + step))


def seen_by(weight: Tensor, metric: Metric | None = None) -> Seen:
    """The weight's rows where they are best worked on."""
    return Seen(weight, metric)


def rounded(values: Array, like: Tensor) -> Tensor:
    """A tensor of the dtype and on the device of another."""
    # Contiguous: a product of the same numbers in another layout rounds differently.
    values = np.ascontiguousarray(values, np.float64)
    return torch.tensor(values, device="cpu").to(like.dtype).to(like.device)


def exactly(factor: Tensor) -> Array:
    """A right factor as it is stored, in float64."""
    return factor.double().cpu().numpy()


def check_finite(left: Tensor, right: Tensor) -> None:
    """Raise a ValueError for factors that their dtype cannot hold."""
    if not (bool(left.isfinite().all()) and bool(right.isfinite().all())):
        raise ValueError(f"has factors beyond the range of {left.dtype}")
