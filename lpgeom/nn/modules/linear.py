"""A linear layer in factors: in -> k -> out, or output features in groups of several ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.nn.factors.groups import Factors
from lpgeom.nn.modules.dense import carried_over, in_factors
from lpgeom.nn.modules.features import Features
from lpgeom.nn.modules.low_rank import LowRank, scale_of


class LowRankLinear(Features, LowRank):
    """``y = (x right^T) left^T + bias``: a linear layer whose weight is ``left @ right``.

    An ordinary module: `state_dict`, pickling, ``.to``, ``.half``, deepcopy, autograd, torch.export
    and torch.compile work as for `torch.nn.Linear`. It has ``(out + in) k`` weights and takes as
    many multiplications for each row of x.

    The output features may be in groups, each with two factors of its own rank, as the rows of a
    `LowRankEmbedding`, whose parameters an output layer can share: feature i of group c is
    ``(x rights[c]^T) lefts[c][places[i]]``.

    Parameters
    ----------
    in_features, out_features : int
        d and n.
    rank : int or sequence of int
        k >= 1; with `counts` one for each group, 0 <= k_c <= d.
    bias : bool
    subspaces : int
        Number of groups of equal rank. A new module gives them the features in turn.
    counts : sequence of int, optional
        The output features of each group, as for `LowRankEmbedding`.
    device, dtype
        As for `torch.nn.Linear`.

    Attributes
    ----------
    left : Parameter, shape (out_features, rank)
    right : Parameter, shape (rank, in_features)
    lefts, rights, labels, places, ranks, counts
        The same as in a `LowRankEmbedding`.
    bias : Parameter, shape (out_features,), or None

    Examples
    --------
    >>> import torch
    >>> from lpgeom.nn import LowRankEmbedding, LowRankLinear
    >>> dense = torch.nn.Linear(64, 32)
    >>> layer = LowRankLinear.from_linear(dense, rank=8)
    >>> layer(torch.ones(2, 64)).shape
    torch.Size([2, 32])
    >>> sum(q.numel() for q in layer.parameters())  # (64 + 32) 8 + 32
    800

    An output layer that shares the factors of an embedding:

    >>> table = LowRankEmbedding(1000, 64, (64, 4), counts=(50, 950))
    >>> index = {"labels": table.labels, "places": table.places}
    >>> layer = LowRankLinear.from_factors(table.lefts, table.rights, **index)
    >>> layer.lefts[0] is table.lefts[0], layer(torch.ones(2, 64)).shape
    (True, torch.Size([2, 1000]))
    """

    __constants__ = ("in_features", "out_features", "rank", "subspaces")
    __jit_unused_properties__ = ("counts", "factors", "held", "pairs", "ranks", "weight")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int | Sequence[int],
        bias: bool = True,
        *,
        subspaces: int = 1,
        counts: Sequence[int] | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self._make_factors(out_features, in_features, rank, subspaces, counts, device, dtype)
        self.bias: nn.Parameter | None
        self.register_parameter(
            "bias",
            nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random factors whose product has the variance of a new `torch.nn.Linear`."""
        scale = scale_of(self.in_features)
        with torch.no_grad():
            for pair in self.pairs:
                bound = scale if pair.kept else scale_of(pair.left.shape[1])
                pair.left.uniform_(-bound, bound)
                pair.right.normal_(std=scale)
            if self.bias is not None:
                self.bias.uniform_(-scale, scale)

    @classmethod
    def from_factors(
        cls,
        left: Tensor | Sequence[Tensor],
        right: Tensor | Sequence[Tensor | None],
        bias: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        places: Tensor | None = None,
    ) -> LowRankLinear:
        """The layer with these factors, which are used as they are (Parameters stay shared).

        Parameters
        ----------
        left, right, labels, places
            As for `LowRankEmbedding.from_factors`.
        bias : Tensor, shape (n,), optional

        Raises
        ------
        ValueError
            Shapes or dtypes that do not go together, or labels out of range.
        """
        return cls._made(Factors.checked(left, right, labels, places), bias)

    @classmethod
    def _made(cls, factors: Factors, bias: Tensor | None) -> LowRankLinear:
        n, d = factors.shape
        if bias is not None and bias.shape != (n,):
            raise ValueError(f"bias must have shape ({n},), got {tuple(bias.shape)}")
        layer = cls(d, n, bias=False, device="meta", dtype=factors.lefts[0].dtype, **factors.sizes)
        layer.take(factors)
        if bias is not None:
            layer.bias = bias if isinstance(bias, nn.Parameter) else nn.Parameter(bias)
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
        return in_factors(cls, linear, rank, p, ("linear", "conv1d"), options)

    @classmethod
    def in_place_of(cls, owner: nn.Module, attribute: str, factors: Factors) -> LowRankLinear:
        """The layer that takes the place of a dense one."""
        return carried_over(owner, cls._made(factors, owner._parameters.get("bias")))

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        if self.labels is None:
            return F.linear(F.linear(input, self.right), self.left, self.bias)
        # All features of a group at once, then into their order.
        parts = [pair.times(input) for pair in self.pairs]
        output = torch.cat(parts, -1).index_select(-1, self._slots())
        # In autocast the bias is of another dtype than the output.
        return output if self.bias is None else output + self.bias.to(output.dtype)
