"""A weight as the solver sees it, and its left factor as it is stored: where the numbers live.

`Seen` is the one place that decides it. It has the rows in a form that the solvers take, and fills
and judges left factors beside them; `factor.py` knows no more of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpgeom.nn.factors.factored import Spec
from lpgeom.records.subspace import Array, to_cost_units

_BLOCK_ENTRIES = 1 << 20


class Seen:
    """The rows of a weight (n, d), and the products with them, on the weight's own device.

    Right factors and coordinates come as float64 NumPy arrays, in the weight's own units; left
    factors are tensors (n, k) of the weight's dtype, beside it. Products are made in float64, in
    blocks of `_BLOCK_ENTRIES` entries: O(n d k) time, no second copy of the weight.

    Attributes
    ----------
    weight : Tensor, shape (n, d)
        In the dtype in which it was given.
    spec : Spec
        What is asked of it: costs are those of its `objective` and `row_weights`, in its `metric`.
    """

    def __init__(self, weight: Tensor, spec: Spec) -> None:
        self.weight = weight.detach()
        self.spec = spec
        if not self.weight.is_cuda:
            self.weight = self.weight.cpu()
        self._rows = self.weight
        if spec.metric is not None:
            self._rows = self.weight.double() @ self._beside(spec.metric.root)

    @cached_property
    def rows(self) -> Any:
        """What is approximated, as the solvers take it: NumPy's view of a weight in host memory,
        the tensor itself on a CUDA device. Without a copy unless it is bfloat16, which NumPy does
        not have (it becomes float32), or there is a metric (float64)."""
        rows = self._rows.float() if self._rows.dtype == torch.bfloat16 else self._rows
        return rows if self.weight.is_cuda else rows.numpy()

    def take(self, indices: NDArray[Any]) -> Seen:
        """Some of the rows, with their weights."""
        omega = self.spec.row_weights
        own = replace(self.spec, row_weights=None if omega is None else omega[indices])
        return Seen(self.weight[torch.from_numpy(indices).to(self.weight.device)], own)

    def nearest(self, right: Array) -> Tensor:
        """The left factor that has each row nearest, for a right one (k, d)."""
        return self._product(self._rows, np.linalg.pinv(self._in_metric(right)))

    def turned(self, left: Array, turn: Array) -> Tensor:
        """``left @ turn`` in the weight's dtype."""
        return self._product(self._beside(left), turn)

    def _product(self, rows: Tensor, matrix: Any) -> Tensor:
        there = self._beside(matrix)
        out = self.weight.new_empty(len(rows), there.shape[1])
        for part in self._blocks():
            out[part] = (rows[part].double() @ there).to(out.dtype)
        return out

    def cost(self, left: Tensor, right: Array) -> float:
        """The cost of ``left @ right`` in float64, in units of the largest residual meanwhile."""
        p, row_weights = self.spec.p, self.spec.row_weights
        there = self._beside(self._in_metric(right))
        largest, total = 0.0, 0.0
        for rows in self._blocks():
            residual = self._rows[rows].to(torch.float64, copy=True)
            residual -= left[rows].double() @ there  # in place: a block less in memory
            top = float(residual.abs().max()) if residual.numel() else 0.0
            if top == 0.0:
                continue
            residual = residual.abs_().div_(top)
            if self.spec.objective == "entries":
                share = (residual**p).sum(dim=1)
            else:
                share = residual.square_().sum(dim=1) ** (p / 2.0)
            if row_weights is not None:
                share *= self._beside(row_weights[rows])
            if top > largest:
                total *= (largest / top) ** p
                largest = top
            total += float(share.sum()) * (top / largest) ** p
        return to_cost_units(total, largest, p) if largest else 0.0

    def cost_of_zero(self) -> float:
        """What the rows cost where nothing is kept of them."""
        n, d = self.weight.shape
        nothing = torch.zeros(n, 1, device=self.weight.device)
        return self.cost(nothing, np.zeros((1, d)))

    def _beside(self, values: Any) -> Tensor:
        return beside(values, self.weight.device)

    def _in_metric(self, right: Array) -> Array:
        return right if self.spec.metric is None else right @ self.spec.metric.root

    def _blocks(self) -> Iterator[slice]:
        n, d = self.weight.shape
        step = max(1, _BLOCK_ENTRIES // d)
        for lo in range(0, n, step):
            yield slice(lo, min(n, lo + step))


def beside(values: Any, device: torch.device, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers as a tensor there."""
    # Contiguous: a product of the same numbers in another layout rounds differently.
    plain = np.ascontiguousarray(values, np.float64)
    return torch.tensor(plain, device="cpu").to(device, dtype)
