"""A linear layer whose output features are in groups of different rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lpgeom.nn.modules.likeness import LinearLike, check_bias
from lpgeom.nn.modules.mixed import MixedRank, check_groups, scale_of


class MixedRankLinear(MixedRank, LinearLike):
    """A linear layer whose weight has its rows in groups, each with factors of its own rank.

    For an output layer tied to a `MixedRankEmbedding`, whose parameters it shares: output feature i
    of group c is ``(x rights[c]^T) lefts[c][places[i]]``. It takes as many multiplications for each
    row of x as it has weights.

    Parameters
    ----------
    in_features, out_features : int
        d and n.
    ranks, counts : sequence of int
        As for `MixedRankEmbedding`.
    bias : bool
    device, dtype
        As for `torch.nn.Linear`.

    Attributes
    ----------
    lefts, rights, labels, places
        As those of `MixedRankEmbedding`.
    bias : Parameter, shape (out_features,), or None

    Examples
    --------
    >>> import torch
    >>> from lpgeom.nn import MixedRankEmbedding, MixedRankLinear
    >>> table = MixedRankEmbedding(1000, 64, ranks=(64, 4), counts=(50, 950))
    >>> parts = table.lefts, table.rights, table.labels
    >>> layer = MixedRankLinear.from_factors(*parts, places=table.places)
    >>> layer.lefts[0] is table.lefts[0], layer(torch.ones(2, 64)).shape
    (True, torch.Size([2, 1000]))
    """

    __jit_unused_properties__ = ("weight",)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        ranks: Sequence[int],
        counts: Sequence[int],
        bias: bool = True,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self._make_groups(in_features, ranks, counts, device, dtype)
        if sum(counts) != out_features:
            raise ValueError(f"counts must add up to {out_features} features, got {sum(counts)}")
        self._make_bias(bias, device, dtype)
        self.reset_parameters()

    @property
    def _d(self) -> int:
        return self.in_features

    def reset_parameters(self) -> None:
        """Random factors whose products have the variance of a new `torch.nn.Linear`."""
        if self.labels.is_meta:
            return
        scale = self.in_features**-0.5
        with torch.no_grad():
            for left, right in zip(self.lefts, self.rights, strict=True):
                dense = left.shape[1] == self.in_features
                bound = scale if dense else scale_of(left.shape[1])
                left.uniform_(-bound, bound)
                right.normal_(std=scale)
            if self.bias is not None:
                self.bias.uniform_(-scale, scale)

    @classmethod
    def from_factors(
        cls,
        lefts: Sequence[Tensor],
        rights: Sequence[Tensor | None],
        labels: Tensor,
        bias: Tensor | None = None,
        *,
        places: Tensor | None = None,
    ) -> MixedRankLinear:
        """The layer with these factors, which are used as they are (Parameters stay shared).

        Raises
        ------
        ValueError
            Shapes or dtypes that do not go together, labels out of range.
        """
        n, d = check_groups(lefts, rights, labels, places)
        check_bias(bias, n)
        ranks, counts = [left.shape[1] for left in lefts], [len(left) for left in lefts]
        layer = cls(d, n, ranks, counts, False, device="meta", dtype=lefts[0].dtype)
        layer._take_groups(lefts, rights, labels, places)
        layer._take_bias(bias)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        parts = []
        for left, right in zip(self.lefts, self.rights, strict=True):
            dense = left.shape[1] == self.in_features
            parts.append(F.linear(input if dense else F.linear(input, right), left))
        # All features of a group at once, then into their order.
        output = torch.cat(parts, -1).index_select(-1, self._slots())
        # In autocast the bias is of another dtype than the output.
        return output if self.bias is None else output + self.bias.to(output.dtype)

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return self._shown(self._said())
