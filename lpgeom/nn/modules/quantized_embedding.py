"""An embedding whose rows are kept in few bits, and an output layer that shares them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.nn.factors.coded import SIZES, Coded
from lpgeom.nn.modules.dense import carried_over
from lpgeom.nn.modules.features import Features
from lpgeom.nn.modules.lookup import LookUp, passing
from lpgeom.nn.modules.quantized import Quantized


class QuantizedEmbedding(LookUp, Quantized):
    """An embedding table in few bits, unpacked where it is looked up.

    What `lpgeom.nn.compress` puts in the place of an embedding where a `size` is asked for, and
    `load_pretrained` makes again; new ones have zeros. An ordinary module: `state_dict`, pickling,
    ``.to``, ``.half``, deepcopy, autograd, torch.export and torch.compile work as for
    `torch.nn.Embedding`. A look-up of m different ids unpacks m r numbers and multiplies them into
    m d, in O(m r d).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        n and d.
    groups, components : int
        Groups of rows, and the r columns of their basis.
    books, scales, nbytes : int
        How many codebooks, scales and bytes of codes there are.
    padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        As for `torch.nn.Embedding`. `max_norm` shortens what is looked up, and leaves the codes
        alone. Gradients are dense whatever `sparse` says: they are of the basis and the levels,
        which all rows share.
    device, dtype
        As for `torch.nn.Embedding`.

    Attributes
    ----------
    basis : Parameter, shape (d, components)
    means, deviations : Parameter, shape (groups, components)
    levels : Parameter, shape (books, 256)
    scale_levels, scale_codes, labels, bits, codes : Tensor
        Buffers, see `lpgeom.nn.factors.coded.Coded`.

    Examples
    --------
    >>> import torch
    >>> from lpgeom.nn import QuantizedEmbedding
    >>> sizes = {"groups": 1, "components": 4, "books": 0, "scales": 1}
    >>> table = QuantizedEmbedding(1000, 64, **sizes, nbytes=0, padding_idx=0)
    >>> table(torch.tensor([[3, 0, 999]])).shape
    torch.Size([1, 3, 64])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        groups: int,
        components: int,
        books: int,
        scales: int,
        nbytes: int,
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
        self.set_options(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq,
            sparse,
        )  # fmt: skip
        sizes = dict(zip(SIZES, (groups, components, books, scales, nbytes), strict=True))
        _fill_empty(self, num_embeddings, embedding_dim, sizes, dtype, device)

    def options(self) -> dict[str, Any]:
        """What a recipe says of the embedding beside its sizes."""
        return super().options() | {"dtype": dtype_name(self.basis.dtype)}

    def forward(self, input: Tensor) -> Tensor:
        """Ids of any shape to (..., embedding_dim)."""
        ids = input.reshape(-1)
        share = None
        if in_graph(ids) or torch.is_grad_enabled():
            share = self._gradient_share(ids, self.basis.dtype)
        if in_graph(ids):
            rows = self.rows(ids)
        else:  # each is unpacked once
            found, places = torch.unique(ids, return_inverse=True)
            rows = self.rows(found).index_select(0, places)
        if self.max_norm is not None:
            norms = rows.norm(p=self.norm_type, dim=1, keepdim=True)
            shorter = self.max_norm / (norms + 1e-7)
            rows = torch.where(norms > self.max_norm, rows * shorter.detach(), rows)
        rows = passing(rows, share).reshape(*input.shape, self.embedding_dim)
        return self._scaled(rows, self.basis)


class QuantizedHead(Features, Quantized):
    """``y = x W^T + bias`` for a table W in few bits: an output layer that shares an embedding's.

    Computed as ``(x basis) y^T`` in blocks of rows: O(m (r d + n r)) for m rows of x, and the
    weight is never there as a whole.

    Parameters
    ----------
    in_features, out_features : int
        d and n.
    groups, components, books, scales, nbytes : int
        As for `QuantizedEmbedding`.
    bias : bool
    device, dtype
        As for `torch.nn.Linear`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        groups: int,
        components: int,
        books: int,
        scales: int,
        nbytes: int,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        sizes = dict(zip(SIZES, (groups, components, books, scales, nbytes), strict=True))
        _fill_empty(self, out_features, in_features, sizes, dtype, device)
        made = torch.zeros(out_features, device=device, dtype=dtype) if bias else None
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None if made is None else nn.Parameter(made))

    @classmethod
    def in_place_of(cls, owner: nn.Module, attribute: str, held: Coded) -> QuantizedHead:
        """The layer that takes the place of a dense one."""
        n, d = held.shape
        layer = cls(d, n, **held.sizes, bias=False, device="meta", dtype=held.dtype)
        layer.take(held)
        layer.bias = owner._parameters.get("bias")
        return carried_over(owner, layer)

    def options(self) -> dict[str, Any]:
        """What a recipe says of the layer beside its sizes."""
        return super().options() | {"dtype": dtype_name(self.basis.dtype)}

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        output = self.times(input)
        return output if self.bias is None else output + self.bias.to(output.dtype)


def _fill_empty(
    module: Quantized, n: int, d: int, sizes: dict[str, int], dtype: Any, device: Any
) -> None:
    """An empty table; what is derived of it is of the right shapes."""
    held = Coded.outlined(n, d, sizes, dtype, device)
    if not held.basis.is_meta and sizes["nbytes"]:
        raise ValueError("a new table has no codes: nbytes must be 0 unless it is on meta")
    for tensor in (held.basis, held.means, held.deviations, held.levels, held.scale_levels):
        tensor.zero_()
    module.take(held)


def in_graph(tensor: Tensor) -> bool:
    """Whether a graph is being made, in which no shape may depend on values; or there are none."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or tensor.is_meta


def dtype_name(dtype: torch.dtype) -> str:
    """As recipes call it."""
    return str(dtype).removeprefix("torch.")
