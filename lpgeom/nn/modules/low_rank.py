"""Rows in two factors: row i is ``left[i] @ right``, or of several right factors its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.io import validation
from lpgeom.nn.modules.likeness import parameter
from lpgeom.nn.modules.split import dense_rows, label_dtype


class LowRank(nn.Module):
    """What an embedding and a linear layer in two factors have in common.

    Attributes
    ----------
    left : Parameter, shape (n, k)
    right : Parameter, shape (k, d); (j, k, d) if there are several subspaces
    labels : Tensor, shape (n,), or None
        The subspace of each row, a buffer; None if there is one.
    rank, subspaces : int
        k and j.
    """

    # Not the factors' types: torch.jit reads what stands here, and knows no Parameter.
    rank: int
    subspaces: int

    def _make_factors(
        self, n: int, d: int, rank: int, subspaces: int, device: Any, dtype: torch.dtype | None
    ) -> None:
        """Empty factors, the rows given to the subspaces in turn."""
        rank = self.rank = validation.check_positive_int("rank", rank)
        subspaces = self.subspaces = validation.check_positive_int("subspaces", subspaces)
        options = {"device": device, "dtype": dtype}
        several = (subspaces,) if subspaces > 1 else ()
        self.left = nn.Parameter(torch.empty(n, rank, **options))
        self.right = nn.Parameter(torch.empty(*several, rank, d, **options))
        labels = None
        if subspaces > 1:
            labels = torch.arange(n, device=device) % subspaces
            labels = labels.to(label_dtype(subspaces))
        self.register_buffer("labels", labels)

    def _take_factors(self, left: Tensor, right: Tensor, labels: Tensor | None) -> None:
        """Use these factors as they are; they have been checked."""
        self.left, self.right = parameter(left), parameter(right)
        self.labels = None if labels is None else labels.to(label_dtype(self.subspaces))

    def _learns(self) -> bool:
        return bool(self.left.requires_grad)

    @property
    def weight(self) -> Tensor:
        """The dense matrix (n, d), multiplied out at each access.

        For code that reads ``layer.weight``; gradients flow to the factors. It cannot be set.
        """
        return dense_rows(self.left, self.right, self.labels)

    def _said(self) -> str:
        several = f", subspaces={self.subspaces}" if self.subspaces > 1 else ""
        return f"rank={self.rank}{several}"
