"""What compressed embeddings have in common: the options of `torch.nn.Embedding`, and a scale."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from lpgeom.nn.factors.held import Held
from lpgeom.nn.modules.compressed import Compressed, own
from lpgeom.nn.modules.dense import carried_over
from lpgeom.nn.modules.scaled import Scaling, scaling_of

USUAL: dict[str, Any] = {
    "padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False,
    "sparse": False,
}  # fmt: skip
"""The options of `torch.nn.Embedding`, and what they are if not given."""


class LookUp(Compressed):
    """An embedding of n tokens, d numbers each, that holds its table in another form.

    Attributes
    ----------
    num_embeddings, embedding_dim : int
    padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        As in `torch.nn.Embedding`.
    scale : float or None
        What looked-up rows are multiplied by.
    scale_rounded : bool
        Whether the scale is rounded to the numbers' dtype first, as Gemma's.
    dense_class : type
        The class of `to_dense`.
    """

    kind = "embedding"

    # Without a scale nothing is multiplied. Not annotated, as torch.jit reads that, and knows none.
    scale = cast("float | None", None)
    scale_rounded = False
    dense_class = nn.Embedding

    def set_options(
        self,
        n: int,
        d: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
    ) -> None:
        """The sizes and the options of `torch.nn.Embedding`, checked."""
        if padding_idx is not None:
            if not -n <= padding_idx < n:
                raise ValueError(f"padding_idx must lie within the {n} rows, got {padding_idx}")
            padding_idx %= n
        self.num_embeddings, self.embedding_dim = n, d
        self.padding_idx, self.max_norm, self.norm_type = padding_idx, max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse

    @classmethod
    def _made(cls, held: Any, scaling: Scaling | None, options: dict[str, Any]) -> Any:
        """The embedding that holds this, which is used as it is."""
        made: Any = cls(*held.shape, dtype=held.dtype, device="meta", **held.sizes, **options)
        made.take(held)
        made.scale_by(scaling)
        return made

    @classmethod
    def in_place_of(cls, owner: nn.Module, attribute: str, held: Held) -> Any:
        """The embedding that takes the place of a dense one."""
        options = {name: getattr(owner, name) for name in USUAL}
        return carried_over(owner, cls._made(held, scaling_of(owner), options))

    def scale_by(self, scaling: Scaling | None) -> None:
        """Scale looked-up rows as a class of embeddings does."""
        if scaling is not None:
            self.scale, self.scale_rounded = scaling.value, scaling.rounded
            self.dense_class = scaling.kind

    @property
    def scaling(self) -> Scaling | None:
        """How looked-up rows are scaled; None: not at all."""
        if self.scale is None:
            return None
        return Scaling(self.dense_class, self.scale, self.scale_rounded)

    def options(self) -> dict[str, Any]:
        """What a recipe says of the embedding beside its sizes."""
        options = {name: getattr(self, name) for name in USUAL}
        scales = self.scale is not None and self.scale != 1.0
        return options | {"scale": self.scale} if scales else options

    def to_dense(self) -> nn.Embedding:
        """A `torch.nn.Embedding` with this table; its own memory.

        If it scales what it looks up, the table is of the class that did so.
        """
        weight, scaling = own(self.weight, self.learns()), self.scaling
        options = {name: getattr(self, name) for name in USUAL}
        if scaling is None:
            table = nn.Embedding(*weight.shape, device="meta", **options)
            table.weight = weight
        else:
            table = scaling.dense(weight, options)
        return table.train(self.training)

    def _scaled(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Looked-up rows times the scale; in torch.jit, which knows no `Scaling`, too."""
        scale = self.scale
        if scale is None:
            return rows
        if self.scale_rounded:
            return rows * torch.scalar_tensor(scale, dtype=weight.dtype, device=weight.device)
        return rows * scale

    def _gradient_share(self, ids: Tensor, dtype: torch.dtype) -> Tensor | None:
        """What of its gradient each looked-up row passes on; None: all of it."""
        if self.padding_idx is None and not self.scale_grad_by_freq:
            return None
        share = torch.ones_like(ids, dtype=dtype)
        if self.scale_grad_by_freq:
            index = ids.long()
            found = torch.zeros(self.num_embeddings, dtype=torch.int64, device=ids.device)
            share = share / found.index_add(0, index, torch.ones_like(index))[index]
        if self.padding_idx is not None:
            share = torch.where(ids == self.padding_idx, torch.zeros_like(share), share)
        return share

    def extra_repr(self) -> str:
        """What print(embedding) shows."""
        text = f"{self.num_embeddings}, {self.embedding_dim}, {self.said()}"
        for name, usual in USUAL.items():
            value = getattr(self, name)
            text += "" if value == usual else f", {name}={value}"
        return text if self.scale is None else f"{text}, scale={self.scale:g}"


def passing(rows: Tensor, share: Tensor | None) -> Tensor:
    """The same rows, which pass on that share of their gradients."""
    if share is None:
        return rows
    fixed = rows.detach()
    return fixed + (rows - fixed) * share[:, None]
