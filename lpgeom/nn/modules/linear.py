"""A linear layer in two factors: in -> k -> out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.nn.modules.likeness import LinearLike, check_bias
from lpgeom.nn.modules.low_rank import LowRank
from lpgeom.nn.modules.split import Labels, check_factors


class LowRankLinear(LowRank, LinearLike):
    """``y = (x right^T) left^T + bias``: a linear layer whose weight is ``left @ right``.

    An ordinary module: `state_dict`, pickling, ``.to``, ``.half``, deepcopy, autograd and
    torch.export work as for `torch.nn.Linear`. It has ``(out + in) k`` weights and takes as many
    multiplications for each row of x.

    With several subspaces each output feature belongs to one of j, and `right` holds a (k, in)
    factor for each: ``out k + j k in`` weights.

    Parameters
    ----------
    in_features, out_features : int
    rank : int
        k >= 1.
    bias : bool
    subspaces : int
        j >= 1.
    device, dtype
        As for `torch.nn.Linear`.

    Attributes
    ----------
    left : Parameter, shape (out_features, rank)
    right : Parameter, shape (rank, in_features)
        (subspaces, rank, in_features) if there are several.
    bias : Parameter, shape (out_features,), or None
    labels : Tensor, shape (out_features,), or None
        The subspace of each output feature, a buffer; None if there is one.

    Examples
    --------
    >>> import torch
    >>> from lpgeom.nn import LowRankLinear
    >>> dense = torch.nn.Linear(64, 32)
    >>> layer = LowRankLinear.from_linear(dense, rank=8)
    >>> layer(torch.ones(2, 64)).shape
    torch.Size([2, 32])
    >>> sum(q.numel() for q in layer.parameters())  # (64 + 32) 8 + 32
    800
    """

    __constants__ = ("in_features", "out_features", "rank", "subspaces")
    __jit_unused_properties__ = ("weight",)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        bias: bool = True,
        *,
        subspaces: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self._make_factors(out_features, in_features, rank, subspaces, device, dtype)
        self._make_bias(bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random factors whose product has the variance of a new `torch.nn.Linear`."""
        nn.init.uniform_(self.left, -(self.rank**-0.5), self.rank**-0.5)
        nn.init.normal_(self.right, std=self.in_features**-0.5)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -(self.in_features**-0.5), self.in_features**-0.5)

    @classmethod
    def from_factors(
        cls,
        left: Tensor,
        right: Tensor,
        bias: Tensor | None = None,
        *,
        labels: Tensor | None = None,
    ) -> LowRankLinear:
        """The layer with these factors, which are used as they are (Parameters stay shared).

        Raises
        ------
        ValueError
            Shapes or dtypes that do not go together, or labels out of range.
        """
        n, k, d, j = check_factors(left, right, labels)
        check_bias(bias, n)
        layer = cls(d, n, k, bias=False, subspaces=j, device="meta", dtype=left.dtype)
        layer._take_factors(left, right, labels)
        layer._take_bias(bias)
        return layer

    @classmethod
    def from_linear(
        cls, linear: nn.Module, rank: int, p: float = 1.0, **options: Any
    ) -> LowRankLinear:
        """Factors of a `torch.nn.Linear` (or Hugging Face `Conv1D`) by `approx_subspace`.

        Parameters
        ----------
        linear : torch.nn.Linear or Conv1D
            Left as it is; dtype, device, bias and requires_grad carry over.
        rank : int
            1 <= rank <= min(in, out).
        p : float
        **options
            objective, row_weights, subspaces, certify, seed: as in `compress`.

        Raises
        ------
        TypeError
            Another module, a quantised or sparse weight, a weight without data.
        ValueError
            Rank out of range, entries that are not finite.
        """
        from lpgeom.nn.model.replace import factored

        layer = factored(linear, rank, p, ("linear", "conv1d"), options)
        assert isinstance(layer, cls)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        if self.labels is None:
            return F.linear(F.linear(input, self.right), self.left, self.bias)
        # All rows of a subspace at once, then back into the order of the output features.
        labels = Labels(self.labels, self.subspaces)
        inner = F.linear(input, self.right.flatten(0, 1)).unflatten(-1, self.right.shape[:2])
        output = labels.gathered(inner, self.left)
        # In autocast the bias is of another dtype than the output.
        return output if self.bias is None else output + self.bias.to(output.dtype)

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return self._shown(self._said())
