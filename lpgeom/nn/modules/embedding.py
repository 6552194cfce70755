"""An embedding in factors: a row of (n, k), then k -> d, or rows in groups of several ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.nn.factors.groups import Factors
from lpgeom.nn.modules.dense import in_factors
from lpgeom.nn.modules.lookup import LookUp, passing
from lpgeom.nn.modules.low_rank import LowRank, scale_of
from lpgeom.nn.modules.scaled import Scaling


class LowRankEmbedding(LookUp, LowRank):
    """An embedding table in factors: ``left[ids] @ right``, its weight being ``left @ right``.

    In the place of an embedding that scales what it looks up, as those of BART and Gemma do:
    ``scale * left[ids] @ right``; `weight` is without the scale.

    An ordinary module: `state_dict`, pickling, ``.to``, ``.half``, deepcopy, autograd, torch.export
    and torch.compile work as for `torch.nn.Embedding`. It has ``(n + d) k`` weights; a look-up
    reads k numbers and multiplies them into d.

    The rows may be in groups, each with two factors of its own rank: row i of group c is
    ``lefts[c][places[i]] @ rights[c]``; the rows of a group of rank d are kept as they are, those
    of a group of rank 0 are zero. Frequent tokens may so be kept, and rare ones be stored in few
    numbers. There are ``sum_c k_c (n_c + d)`` weights, ``n_c d`` for a group of rank d, and five
    bytes for each row's label and place (eight above 256 groups).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        n and d.
    rank : int or sequence of int
        k >= 1; with `counts` one for each group, 0 <= k_c <= d.
    padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        As for `torch.nn.Embedding`. `max_norm` bounds the norm of the multiplied row, and shortens
        its row of the left factor in place. `sparse` and `scale_grad_by_freq` concern the gradients
        of left factors.
    subspaces : int
        Number of groups of equal rank. A new module gives them the rows in turn.
    counts : sequence of int, optional
        n_c >= 0, the rows of each group, which add up to n. A new module has the rows of one group
        after another.
    device, dtype
        As for `torch.nn.Embedding`.

    Attributes
    ----------
    left : Parameter, shape (n, k)
    right : Parameter, shape (k, d)
    lefts : ParameterList of (n_c, k_c)
        The left factors where there are groups; in one of rank d the rows themselves.
    rights : ParameterList of (k_c, d)
        The right factors; in a group of rank d, which needs none, (0, d).
    labels : Tensor, shape (n,), uint8 or int32, or None
        The group of each row, a buffer; None if there are no groups.
    places : Tensor, shape (n,), int32, or None
        Which row of its group it is, a buffer.
    ranks, counts : tuple of int
        The rank and the number of rows of each group.
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

    50 rows as they are, 350 of rank 16 and 600 of rank 4:

    >>> table = LowRankEmbedding(1000, 64, (64, 16, 4), counts=(50, 350, 600))
    >>> 50 * 64 + 16 * (350 + 64) + 4 * (600 + 64)
    12480
    >>> sum(q.numel() for q in table.parameters())
    12480
    """

    __constants__ = (
        "embedding_dim", "max_norm", "norm_type", "num_embeddings", "padding_idx", "rank",
        "scale", "scale_grad_by_freq", "scale_rounded", "sparse", "subspaces",
    )  # fmt: skip
    __jit_unused_properties__ = ("counts", "factors", "held", "pairs", "ranks", "scaling", "weight")

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        rank: int | Sequence[int],
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        subspaces: int = 1,
        counts: Sequence[int] | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.set_options(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq,
            sparse,
        )  # fmt: skip
        self._make_factors(num_embeddings, embedding_dim, rank, subspaces, counts, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random factors whose product has entries of variance 1, as a new `torch.nn.Embedding`."""
        pairs = self.pairs
        if pairs[0].left.is_meta:
            return
        with torch.no_grad():
            for pair in pairs:
                pair.left.normal_()
                pair.right.normal_(std=scale_of(len(pair.right)))
            c, at = self._padding()
            if c >= 0:
                pairs[c].left[at].zero_()

    @classmethod
    def from_factors(
        cls,
        left: Tensor | Sequence[Tensor],
        right: Tensor | Sequence[Tensor | None],
        *,
        labels: Tensor | None = None,
        places: Tensor | None = None,
        scaling: Scaling | None = None,
        **options: Any,
    ) -> LowRankEmbedding:
        """The embedding with these factors, which are used as they are (Parameters stay shared).

        Parameters
        ----------
        left, right : Tensor or sequence of Tensor
            (n, k) and (k, d); or one of each for every group, and None for the right factor of one
            of rank d or 0. With labels also (n, k) and (j, k, d), whose rows are copied into
            groups.
        labels : Tensor, shape (n,), optional
        places : Tensor, shape (n,), optional
            If not given, the rows of a group are in the order in which their labels come.
        scaling : Scaling, optional
            What `lpgeom.nn.modules.scaled.scaling_of` finds of an embedding that scales.
        **options
            padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse: as in torch.nn.Embedding.

        Raises
        ------
        ValueError
            Shapes or dtypes that do not go together, or labels out of range.

        Examples
        --------
        >>> import torch
        >>> from lpgeom.nn import LowRankEmbedding
        >>> kept = torch.eye(2)
        >>> line, along = torch.tensor([[1.0], [3.0]]), torch.ones(1, 2)
        >>> labels = torch.tensor([1, 0, 0, 1])
        >>> table = LowRankEmbedding.from_factors(
        ...     [kept, line], [None, along], labels=labels
        ... )
        >>> table.weight.tolist()
        [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [3.0, 3.0]]
        """
        made: LowRankEmbedding = cls._made(
            Factors.checked(left, right, labels, places), scaling, options
        )
        return made

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
        return in_factors(cls, embedding, rank, p, ("embedding",), options)

    def forward(self, input: Tensor) -> Tensor:
        """Ids of any shape to (..., embedding_dim)."""
        if self.max_norm is not None:
            self._shorten(input, self.max_norm)
        if self.labels is None:
            inner = F.embedding(
                input,
                self.left,
                self.padding_idx,
                scale_grad_by_freq=self.scale_grad_by_freq,
                sparse=self.sparse,
            )
            return self._scaled(torch.matmul(inner, self.right), self.left)
        rows = self._rows(input.reshape(-1)).reshape(*input.shape, self.embedding_dim)
        return self._scaled(rows, self.lefts[0])

    def _index(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(labels, places) of rows; index_select, unlike [], takes no ids below 0."""
        if self.labels is None or self.places is None:
            return torch.zeros_like(ids), ids
        return self.labels.index_select(0, ids), self.places.index_select(0, ids)

    def _rows(self, ids: Tensor) -> Tensor:
        """Rows of a table, group by group."""
        labels, places = self._index(ids)
        # In graphs no shape may depend on values, and without data there are none.
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or labels.is_meta:
            return self._masked(ids, labels, places)
        labels = labels.long()
        order = torch.argsort(labels, stable=True)
        counts = torch.bincount(labels, minlength=self.subspaces).tolist()
        parts = places.index_select(0, order).long().split(counts)
        c_padded, padded = self._padding() if torch.is_grad_enabled() else (-1, -1)
        options = {"scale_grad_by_freq": self.scale_grad_by_freq, "sparse": self.sparse}
        # Groups that no id is of take part: their gradients are zeros, not None.
        products = [
            pair.rows(pair.looked_up(at, padded if c == c_padded else None, **options))
            for c, (pair, at) in enumerate(zip(self.pairs, parts, strict=True))
        ]
        joined = torch.cat(products)
        return torch.empty_like(joined).index_copy(0, order, joined)

    def _padding(self) -> tuple[int, int]:
        """(group, place) of the row that gets no gradient; (-1, -1): there is none."""
        if self.padding_idx is None:
            return -1, -1
        if self.labels is None or self.places is None:
            return 0, self.padding_idx
        return int(self.labels[self.padding_idx]), int(self.places[self.padding_idx])

    def _masked(self, ids: Tensor, labels: Tensor, places: Tensor) -> Tensor:
        """The rows with shapes that no value decides: every id is looked up in every group."""
        # F.embedding cannot be told: there ids of other groups stand at place 0, and would count.
        share = self._gradient_share(ids, self.pairs[0].left.dtype)
        rows = self.pairs[0].left.new_zeros(ids.shape[0], self.embedding_dim)
        for c, pair in enumerate(self.pairs):
            if len(pair.left) == 0:
                rows = rows + pair.right[:0].sum()  # a gradient of zeros, not None
                continue
            of_c = labels == c
            at = torch.where(of_c, places, torch.zeros_like(places)).long()
            inner = pair.looked_up(at, sparse=self.sparse)
            inner = torch.where(of_c[:, None], inner, torch.zeros_like(inner))
            rows = rows + pair.rows(passing(inner, share))
        return rows

    @torch.no_grad()
    def _shorten(self, input: Tensor, max_norm: float) -> None:
        """What `max_norm` asks for: looked-up rows longer than that become that long, in place."""
        if input.is_meta:
            return
        ids = torch.unique(input)
        norms = self._rows(ids).norm(p=self.norm_type, dim=1, keepdim=True)
        scale = torch.where(norms > max_norm, max_norm / (norms + 1e-7), torch.ones_like(norms))
        labels, places = self._index(ids)
        for c, left in enumerate(self.factors.lefts):
            of_c = labels == c
            at = places[of_c].long()
            left[at] = left[at] * scale[of_c]
