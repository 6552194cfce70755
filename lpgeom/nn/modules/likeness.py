"""What modules in factors share with the torch modules whose place they take.

Methods only, no properties: torch.jit would compile those.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.nn.modules.scaled import Scaling

USUAL = {
    "padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False,
    "sparse": False,
}  # fmt: skip
"""The options of `torch.nn.Embedding`, and what they are if not given."""


class EmbeddingLike(ABC):
    """Sizes and options of a `torch.nn.Embedding`, and the way back to one."""

    # Without a scale, nothing is multiplied. Here, for modules that were pickled before it was.
    scale: float | None = None
    scale_rounded: bool = False
    dense_class: type[nn.Embedding] = nn.Embedding

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    sparse: bool
    training: bool

    def _set_options(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
    ) -> None:
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"padding_idx must lie within the {num_embeddings} rows, got {padding_idx}"
                )
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx, self.max_norm, self.norm_type = padding_idx, max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse

    def _set_scaling(self, scaling: Scaling | None) -> None:
        if scaling is not None:
            self.scale, self.scale_rounded = scaling.value, scaling.rounded
            self.dense_class = scaling.kind

    def _scaling(self) -> Scaling | None:
        """How looked-up rows are scaled."""
        if self.scale is None:
            return None
        return Scaling(self.dense_class, self.scale, self.scale_rounded)

    def _scaled(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Looked-up rows times the scale; in torch.jit, which knows no `Scaling`, too."""
        scale = self.scale
        if scale is None:
            return rows
        if self.scale_rounded:
            return rows * torch.scalar_tensor(scale, dtype=weight.dtype, device=weight.device)
        return rows * scale

    @abstractmethod
    def _learns(self) -> bool:
        """Whether a factor asks for gradients."""

    def to_dense(self) -> nn.Embedding:
        """A `torch.nn.Embedding` with this table; its own memory.

        Of an embedding that scales what it looks up, one of the class that it had.
        """
        weight = own(self.weight, self._learns())  # type: ignore[attr-defined]
        options = {name: getattr(self, name) for name in USUAL}
        scaling = self._scaling()
        if scaling is None:
            table = nn.Embedding(*weight.shape, device="meta", **options)
            table.weight = weight
        else:
            table = scaling.dense(weight, options)
        return table.train(self.training)

    def _shown(self, ranks: str) -> str:
        """What print(embedding) shows."""
        text = f"{self.num_embeddings}, {self.embedding_dim}, {ranks}"
        for name, usual in USUAL.items():
            value = getattr(self, name)
            text += "" if value == usual else f", {name}={value}"
        return text if self.scale is None else f"{text}, scale={self.scale:g}"


class LinearLike(ABC):
    """Sizes and bias of a `torch.nn.Linear`, and the way back to one."""

    in_features: int
    out_features: int
    bias: nn.Parameter | None
    training: bool

    def _make_bias(self, bias: bool, device: Any, dtype: torch.dtype | None) -> None:
        if bias:
            self.bias = nn.Parameter(torch.empty(self.out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)  # type: ignore[attr-defined]

    def _take_bias(self, bias: Tensor | None) -> None:
        """Use it as it is; it has been checked."""
        self.bias = None if bias is None else parameter(bias)

    @abstractmethod
    def _learns(self) -> bool:
        """Whether a factor asks for gradients."""

    def to_dense(self) -> nn.Linear:
        """A `torch.nn.Linear` with this layer's weight; its own memory."""
        bias = self.bias
        linear = nn.Linear(self.in_features, self.out_features, bias is not None, device="meta")
        linear.weight = own(self.weight, self._learns())  # type: ignore[attr-defined]
        if bias is not None:
            linear.bias = own(bias, bias.requires_grad)
        return linear.train(self.training)

    def _shown(self, ranks: str) -> str:
        """What print(layer) shows."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, {ranks}, bias={self.bias is not None}"


def check_bias(bias: Tensor | None, n: int) -> None:
    """Raise a ValueError unless a bias has n entries."""
    if bias is not None and bias.shape != (n,):
        raise ValueError(f"bias must have shape ({n},), got {tuple(bias.shape)}")


def parameter(value: Tensor) -> nn.Parameter:
    """The tensor as a Parameter; itself if it is one, so that what is shared stays so."""
    return value if isinstance(value, nn.Parameter) else nn.Parameter(value)


def own(value: Tensor, grad: bool) -> nn.Parameter:
    """A Parameter with these numbers, in memory of its own."""
    return nn.Parameter(value.detach().clone(), requires_grad=grad)
