"""What compressed linear layers have in common: sizes, a bias, the dense layer they stand for."""

from __future__ import annotations

from typing import Any

from torch import nn

from lpgeom.nn.modules.compressed import Compressed, own


class Features(Compressed):
    """A linear layer (..., d) to (..., n) that holds its weight (n, d) in another form.

    Attributes
    ----------
    in_features, out_features : int
    bias : Parameter, shape (out_features,), or None
    """

    kind = "linear"

    # Not a Parameter, as torch.jit reads what stands here.
    in_features: int
    out_features: int

    def options(self) -> dict[str, Any]:
        """What a recipe says of the layer beside its sizes."""
        return {"bias": self.bias is not None}

    def to_dense(self) -> nn.Linear:
        """A `torch.nn.Linear` with this layer's weight; its own memory."""
        bias: Any = self.bias
        linear = nn.Linear(self.in_features, self.out_features, bias is not None, device="meta")
        linear.weight = own(self.weight, self.learns())
        if bias is not None:
            linear.bias = own(bias, bias.requires_grad)
        return linear.train(self.training)

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, {self.said()}, bias={self.bias is not None}"
