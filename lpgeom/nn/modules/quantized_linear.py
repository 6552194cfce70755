"""A linear layer whose weight is kept entry by entry in a few bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.io import validation
from lpgeom.nn.factors.rounded import Rounded
from lpgeom.nn.modules.dense import carried_over, kind_of, matrix, obstacle
from lpgeom.nn.modules.features import Features
from lpgeom.nn.modules.quantized_embedding import dtype_name
from lpgeom.quantized.feedback import fed_back
from lpgeom.quantized.rounding import rounded


class QuantizedLinear(Features):
    """``y = x W^T + bias``, each entry of W a scale times one of 2^bits levels.

    What `lpgeom.nn.compress` puts in the place of a linear layer where a `size` is asked for. The
    weight is unpacked in each forward pass, and then multiplied as usual. An ordinary module:
    `state_dict`, pickling, ``.to``, ``.half``, deepcopy, autograd, torch.export and torch.compile
    work as for `torch.nn.Linear`; scales and levels can be trained, codes stay.

    Parameters
    ----------
    in_features, out_features : int
        d and n.
    bits : int
        1 to 8.
    group : int, optional
        Inputs that share a scale; a row if not given.
    bias : bool
    device, dtype
        As for `torch.nn.Linear`. A new layer has zeros.

    Attributes
    ----------
    codes : Tensor, shape (n, ceil(d bits / 8)), uint8
        A buffer; the codes of a row one after the other, the least significant bits first.
    scales : Parameter, shape (n, ceil(d / group))
    levels : Parameter, shape (2^bits,)
    bias : Parameter, shape (n,), or None
    bits, group : int

    Examples
    --------
    >>> import torch
    >>> from lpgeom.nn import QuantizedLinear
    >>> dense = torch.nn.Linear(256, 64)
    >>> layer = QuantizedLinear.from_linear(dense, bits=4, group=64)
    >>> layer(torch.ones(2, 256)).shape
    torch.Size([2, 64])
    >>> layer.nbytes, 4 * dense.weight.numel()
    (8736, 65536)
    >>> off = (layer.weight - dense.weight).norm() / dense.weight.norm()
    >>> 0.05 < off.item() < 0.07
    True
    """

    how = "in few bits"

    codes: Tensor
    scales: Tensor
    levels: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bits: int,
        group: int | None = None,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        bits = validation.check_positive_int("bits", bits)
        if bits > 8:
            raise ValueError(f"bits must be at most 8, got {bits}")
        group = in_features if group is None else validation.check_positive_int("group", group)
        self.in_features, self.out_features = in_features, out_features
        self.take(Rounded.outlined(out_features, in_features, bits, group, dtype, device))
        made = torch.zeros(out_features, device=device, dtype=dtype) if bias else None
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None if made is None else nn.Parameter(made))

    @classmethod
    def from_linear(
        cls, linear: nn.Module, bits: int = 4, group: int | None = None, *, moment: Any = None
    ) -> QuantizedLinear:
        """The layer in few bits, see `lpgeom.quantized.rounding.rounded`.

        Parameters
        ----------
        linear : torch.nn.Linear or Conv1D
            Left as it is; dtype, device, bias and requires_grad carry over.
        bits : int
        group : int, optional
        moment : array_like, shape (d, d), optional
            The inputs' second moment ``E x x^T``: errors are fed back in its metric, see
            `lpgeom.quantized.feedback.fed_back`.

        Raises
        ------
        TypeError
            Another module, a quantised or sparse weight, a weight without data.
        ValueError
            An option out of range, entries that are not finite.
        """
        kind = kind_of(linear)
        if kind not in ("linear", "conv1d"):
            raise TypeError(f"expected a torch.nn.Linear or Conv1D, got {type(linear).__name__}")
        reason, _ = obstacle(linear, "weight", kind, False)
        if reason:
            raise TypeError(f"the {type(linear).__name__} {reason}")
        weight: Any = linear._parameters["weight"]
        W = matrix(weight.detach(), kind).cpu()
        W = (W if W.dtype == torch.float64 else W.float()).numpy()
        found = rounded(W, bits, group) if moment is None else fed_back(W, bits, group, moment)
        held = Rounded.of(found, weight.dtype, weight.device)
        return cls.in_place_of(linear, "weight", held.as_parameters(weight.requires_grad))

    @classmethod
    def in_place_of(cls, owner: nn.Module, attribute: str, held: Rounded) -> QuantizedLinear:
        """The layer that takes the place of a dense one."""
        n, d = held.shape
        layer = cls(d, n, **held.sizes, bias=False, device="meta", dtype=held.dtype)
        layer.take(held)
        bias = owner._parameters.get("bias")
        if bias is not None and held.shift is not None:
            bias = nn.Parameter(bias.detach() + held.shift.to(bias), bias.requires_grad)
        layer.bias = bias
        return carried_over(owner, layer)

    def take(self, held: Rounded) -> None:
        """Use these tensors as they are."""
        fault = held.fault()
        if fault:
            raise ValueError(f"a layer in few bits cannot have {fault}")
        made = held.as_parameters()
        self.register_buffer("codes", made.codes)
        self.register_parameter("scales", made.scales)
        self.register_parameter("levels", made.levels)
        self.bits, self.group = held.bits, held.group

    def derive(self) -> None:
        """Nothing is derived from the tensors."""

    @property
    def held(self) -> Rounded:
        """The weight's tensors."""
        return Rounded(self.codes, self.scales, self.levels, self.in_features, self.group)

    @property
    def weight(self) -> Tensor:
        """The dense matrix (n, d), made at each access."""
        return self.held.dense()

    @property
    def nbytes(self) -> int:
        """Bytes of the weight on disk: codes, scales and levels."""
        return self.held.nbytes

    def options(self) -> dict[str, Any]:
        """What a recipe says of the layer beside its sizes."""
        return super().options() | {"dtype": dtype_name(self.scales.dtype)}

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def said(self) -> str:
        """Bits and groups, as print shows them."""
        return f"bits={self.bits}, group={self.group}"
