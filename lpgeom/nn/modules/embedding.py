"""An embedding in two factors: a row of (n, k), then k -> d."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.nn.modules.likeness import EmbeddingLike
from lpgeom.nn.modules.low_rank import LowRank
from lpgeom.nn.modules.scaled import Scaling
from lpgeom.nn.modules.split import check_factors, dense_rows, rows_times


class LowRankEmbedding(LowRank, EmbeddingLike):
    """``left[ids] @ right``: an embedding table whose weight is ``left @ right``.

    In the place of an embedding that scales what it looks up, as those of BART and Gemma do:
    ``scale * left[ids] @ right``; `weight` is without the scale.

    An ordinary module: `state_dict`, pickling, ``.to``, ``.half``, deepcopy, autograd and
    torch.export work as for `torch.nn.Embedding`. It has ``(n + d) k`` weights; a look-up reads k
    numbers and multiplies them into d.

    With several subspaces each row belongs to one of j, and `right` holds a (k, d) factor for each:
    ``n k + j k d`` weights, and one byte for a row's label (four above 256 subspaces).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        n and d.
    rank : int
        k >= 1.
    padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        As for `torch.nn.Embedding`. `max_norm` bounds the norm of the multiplied row, and shortens
        ``left[i]`` in place. `sparse` and `scale_grad_by_freq` concern the gradient of `left`.
    subspaces : int
        j >= 1.
    device, dtype
        As for `torch.nn.Embedding`.

    Attributes
    ----------
    left : Parameter, shape (n, k)
    right : Parameter, shape (k, d); (j, k, d) if there are several subspaces
    labels : Tensor, shape (n,), or None
        The subspace of each row, a buffer; None if there is one.
    scale : float or None
        What looked-up rows are multiplied by.
    scale_rounded : bool
        Whether the scale is rounded to the factors' dtype first, as Gemma's.
    dense_class : type
        The class of `to_dense`.

    Examples
    --------
    >>> import torch
    >>> from lpgeom.nn import LowRankEmbedding
    >>> table = torch.nn.Embedding(1000, 64, padding_idx=0)
    >>> low_rank = LowRankEmbedding.from_embedding(table, rank=16)
    >>> low_rank(torch.tensor([[3, 0, 999]])).shape
    torch.Size([1, 3, 64])
    >>> sum(q.numel() for q in low_rank.parameters()) / table.weight.numel()
    0.266
    """

    __constants__ = (
        "embedding_dim", "max_norm", "norm_type", "num_embeddings", "padding_idx", "rank",
        "scale", "scale_grad_by_freq", "scale_rounded", "sparse", "subspaces",
    )  # fmt: skip
    __jit_unused_properties__ = ("weight",)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        rank: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        subspaces: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._set_options(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq,
            sparse,
        )  # fmt: skip
        self._make_factors(num_embeddings, embedding_dim, rank, subspaces, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random factors whose product has entries of variance 1, as a new `torch.nn.Embedding`."""
        nn.init.normal_(self.left)
        nn.init.normal_(self.right, std=self.rank**-0.5)
        if self.padding_idx is not None and not self.left.is_meta:
            with torch.no_grad():
                self.left[self.padding_idx].zero_()

    @classmethod
    def from_factors(
        cls,
        left: Tensor,
        right: Tensor,
        *,
        labels: Tensor | None = None,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        scaling: Scaling | None = None,
    ) -> LowRankEmbedding:
        """The embedding with these factors, which are used as they are (Parameters stay shared).

        Parameters
        ----------
        left, right : Tensor
        labels : Tensor, optional
        padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
            As in torch.nn.Embedding.
        scaling : Scaling, optional
            Of an embedding that scales: what `lpgeom.nn.modules.scaled.scaling_of` finds of it.

        Raises
        ------
        ValueError
            Shapes or dtypes that do not go together, or labels out of range.
        """
        n, k, d, j = check_factors(left, right, labels)
        layer = cls(
            n, d, k, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse,
            subspaces=j, device="meta", dtype=left.dtype,
        )  # fmt: skip
        layer._take_factors(left, right, labels)
        layer._set_scaling(scaling)
        return layer

    @classmethod
    def from_embedding(
        cls, embedding: nn.Embedding, rank: int, p: float = 1.0, **options: Any
    ) -> LowRankEmbedding:
        """Factors of a `torch.nn.Embedding` by `approx_subspace`.

        Parameters
        ----------
        embedding : torch.nn.Embedding
            Left as it is; its options, dtype, device and requires_grad carry over.
        rank : int
            1 <= rank <= min(n, d).
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

        layer = factored(embedding, rank, p, ("embedding",), options)
        assert isinstance(layer, cls)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        """Ids of any shape to (..., embedding_dim)."""
        if self.max_norm is not None:
            self._shorten(input, self.max_norm)
        inner = F.embedding(
            input,
            self.left,
            self.padding_idx,
            scale_grad_by_freq=self.scale_grad_by_freq,
            sparse=self.sparse,
        )
        if self.labels is None:
            return self._scaled(torch.matmul(inner, self.right), self.left)
        labels = self.labels[input].flatten()
        rows = rows_times(inner.reshape(-1, self.rank), self.right, labels)
        return self._scaled(rows.reshape(*input.shape, self.embedding_dim), self.left)

    @torch.no_grad()
    def _shorten(self, input: Tensor, max_norm: float) -> None:
        """What `max_norm` asks for: looked-up rows longer than that become that long, in place."""
        ids = torch.unique(input)
        rows = self.left[ids]
        labels = None if self.labels is None else self.labels[ids]
        norms = dense_rows(rows, self.right, labels).norm(p=self.norm_type, dim=1, keepdim=True)
        scale = torch.where(norms > max_norm, max_norm / (norms + 1e-7), torch.ones_like(norms))
        self.left[ids] = rows * scale

    def extra_repr(self) -> str:
        """What print(embedding) shows."""
        return self._shown(self._said())
