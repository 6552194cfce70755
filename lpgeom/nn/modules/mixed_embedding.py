"""An embedding whose rows are in groups of different rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lpgeom.nn.modules.likeness import EmbeddingLike
from lpgeom.nn.modules.mixed import MixedRank, check_groups, scale_of
from lpgeom.nn.modules.scaled import Scaling
from lpgeom.nn.modules.split import _fixed_shapes, sorted_by_label


class MixedRankEmbedding(MixedRank, EmbeddingLike):
    """An embedding table whose rows are in groups, each with two factors of its own rank.

    Row i of group c is ``lefts[c][places[i]] @ rights[c]``; the rows of a group of rank d are kept
    as they are, those of a group of rank 0 are zero. Frequent tokens may so be kept, and rare ones
    be stored in few numbers. It has ``sum_c k_c (n_c + d)`` weights, ``n_c d`` for a group of rank
    d, and five bytes for each row's label and place (eight above 256 groups).

    An ordinary module: `state_dict`, pickling, ``.to``, ``.half``, deepcopy, autograd, torch.export
    and torch.compile work as for `torch.nn.Embedding`.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        n and d.
    ranks : sequence of int
        0 <= k_c <= d.
    counts : sequence of int
        n_c >= 0, which add up to n. A new module has the rows of one group after another.
    padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        As for `torch.nn.Embedding`. `max_norm` bounds the norm of the multiplied row, and shortens
        its row of `lefts` in place. `sparse` and `scale_grad_by_freq` concern the gradients of
        `lefts`.
    device, dtype
        As for `torch.nn.Embedding`.

    Attributes
    ----------
    lefts : ParameterList of (n_c, k_c)
        In a group of rank d the rows themselves.
    rights : ParameterList of (k_c, d)
        In a group of rank d, which needs none, (0, d).
    labels : Tensor, shape (n,), uint8 or int32
        The group of each row, a buffer.
    places : Tensor, shape (n,), int32
        Which row of its group it is, a buffer.
    scale : float or None
        What looked-up rows are multiplied by, in the place of an embedding that scales them;
        `weight` is without it.
    scale_rounded : bool
        Whether the scale is rounded to the factors' dtype first, as Gemma's.
    dense_class : type
        The class of `to_dense`.

    Examples
    --------
    >>> import torch
    >>> from lpgeom.nn import MixedRankEmbedding
    >>> table = MixedRankEmbedding(1000, 64, ranks=(64, 16, 4), counts=(50, 350, 600))
    >>> table(torch.tensor([[3, 0, 999]])).shape
    torch.Size([1, 3, 64])
    >>> sum(q.numel() for q in table.parameters())  # 50 64 + 16 (350 + 64) + 4 (600 + 64)
    12480
    """

    __jit_unused_properties__ = ("weight",)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        ranks: Sequence[int],
        counts: Sequence[int],
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._set_options(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq,
            sparse,
        )  # fmt: skip
        self._make_groups(embedding_dim, ranks, counts, device, dtype)
        if sum(counts) != num_embeddings:
            raise ValueError(f"counts must add up to {num_embeddings} rows, got {sum(counts)}")
        self.reset_parameters()

    @property
    def _d(self) -> int:
        return self.embedding_dim

    def reset_parameters(self) -> None:
        """Random factors whose products have entries of variance 1, as a new `nn.Embedding`."""
        if self.labels.is_meta:
            return
        with torch.no_grad():
            for left, right in zip(self.lefts, self.rights, strict=True):
                left.normal_()
                right.normal_(std=scale_of(len(right)))
        if self.padding_idx is not None:
            c, at = int(self.labels[self.padding_idx]), int(self.places[self.padding_idx])
            with torch.no_grad():
                self.lefts[c][at].zero_()

    @classmethod
    def from_factors(
        cls,
        lefts: Sequence[Tensor],
        rights: Sequence[Tensor | None],
        labels: Tensor,
        *,
        places: Tensor | None = None,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        scaling: Scaling | None = None,
    ) -> MixedRankEmbedding:
        """The embedding with these factors, which are used as they are (Parameters stay shared).

        Parameters
        ----------
        lefts, rights : sequences of Tensor
            One of each for every group; None for the right factor of one of rank d or 0.
        labels : Tensor, shape (n,)
        places : Tensor, shape (n,), optional
            If not given, the rows of `lefts` are in the order in which their labels come.
        padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
            As in torch.nn.Embedding.
        scaling : Scaling, optional
            Of an embedding that scales: what `lpgeom.nn.modules.scaled.scaling_of` finds of it.

        Raises
        ------
        ValueError
            Shapes or dtypes that do not go together, labels out of range.

        Examples
        --------
        >>> import torch
        >>> from lpgeom.nn import MixedRankEmbedding
        >>> kept, line, along = torch.eye(2), torch.tensor([[1.0], [3.0]]), torch.ones(1, 2)
        >>> labels = torch.tensor([1, 0, 0, 1])
        >>> MixedRankEmbedding.from_factors([kept, line], [None, along], labels).weight.tolist()
        [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [3.0, 3.0]]
        """
        n, d = check_groups(lefts, rights, labels, places)
        ranks, counts = [left.shape[1] for left in lefts], [len(left) for left in lefts]
        layer = cls(
            n, d, ranks, counts, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse,
            device="meta", dtype=lefts[0].dtype,
        )  # fmt: skip
        layer._take_groups(lefts, rights, labels, places)
        layer._set_scaling(scaling)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        """Ids of any shape to (..., embedding_dim)."""
        ids = input.reshape(-1)
        if self.max_norm is not None and not ids.is_meta:
            self._shorten(ids, self.max_norm)
        rows = self._rows(ids)
        return self._scaled(rows.reshape(*input.shape, self.embedding_dim), self.lefts[0])

    def _rows(self, ids: Tensor) -> Tensor:
        # index_select, unlike [], takes no ids below 0.
        labels, places = self.labels.index_select(0, ids), self.places.index_select(0, ids)
        if _fixed_shapes(labels):
            return self._masked(ids, labels, places)
        order, counts = sorted_by_label(labels, len(self.lefts))
        padding = self._padding()
        products = []
        for c, at in enumerate(places.index_select(0, order).split(counts)):
            # Groups that no id is of take part: their gradients are zeros, not None.
            inner = F.embedding(
                at.long(),
                self.lefts[c],
                padding[1] if c == padding[0] else None,
                scale_grad_by_freq=self.scale_grad_by_freq,
                sparse=self.sparse,
            )
            products.append(self._product(c, inner))
        joined = torch.cat(products)
        return torch.empty_like(joined).index_copy(0, order, joined)

    def _padding(self) -> tuple[int, int]:
        """(group, place) of the row that gets no gradient; (-1, -1): there is none."""
        if self.padding_idx is None or not torch.is_grad_enabled():
            return -1, -1
        return int(self.labels[self.padding_idx]), int(self.places[self.padding_idx])

    def _product(self, c: int, inner: Tensor) -> Tensor:
        if inner.shape[1] == self.embedding_dim:
            return inner
        # In autocast a product is of another dtype than rows that are kept.
        return torch.matmul(inner, self.rights[c]).to(inner.dtype)

    def _masked(self, ids: Tensor, labels: Tensor, places: Tensor) -> Tensor:
        """The rows with shapes that no value decides: every id is looked up in every group."""
        share = self._gradient_share(ids)
        rows = self.lefts[0].new_zeros(ids.shape[0], self.embedding_dim)
        for c, left in enumerate(self.lefts):
            if len(left) == 0:
                continue
            of_c = labels == c
            at = torch.where(of_c, places, torch.zeros_like(places)).long()
            inner = F.embedding(at, left, sparse=self.sparse)
            inner = torch.where(of_c[:, None], inner, torch.zeros_like(inner))
            if share is not None:
                fixed = inner.detach()
                inner = fixed + (inner - fixed) * share[:, None]
            rows = rows + self._product(c, inner)
        return rows

    def _gradient_share(self, ids: Tensor) -> Tensor | None:
        """What of its gradient each looked-up row passes on, where F.embedding cannot be told.

        For there ids of other groups stand at place 0, and would be counted.
        """
        if self.padding_idx is None and not self.scale_grad_by_freq:
            return None
        share = torch.ones_like(ids, dtype=self.lefts[0].dtype)
        if self.scale_grad_by_freq:
            index = ids.long()
            found = torch.zeros(self.num_embeddings, dtype=torch.int64, device=ids.device)
            share = share / found.index_add(0, index, torch.ones_like(index))[index]
        if self.padding_idx is not None:
            share = torch.where(ids == self.padding_idx, torch.zeros_like(share), share)
        return share

    @torch.no_grad()
    def _shorten(self, ids: Tensor, max_norm: float) -> None:
        """What `max_norm` asks for: looked-up rows longer than that become that long, in place."""
        ids = torch.unique(ids)
        norms = self._rows(ids).norm(p=self.norm_type, dim=1, keepdim=True)
        scale = torch.where(norms > max_norm, max_norm / (norms + 1e-7), torch.ones_like(norms))
        labels, places = self.labels.index_select(0, ids), self.places.index_select(0, ids)
        for c, left in enumerate(self.lefts):
            of_c = labels == c
            at = places[of_c].long()
            left[at] = left[at] * scale[of_c]

    def extra_repr(self) -> str:
        """What print(embedding) shows."""
        return self._shown(self._said())
