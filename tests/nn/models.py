"""Small torch models and factors to test with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lpgeom.nn import LowRankEmbedding, LowRankLinear

TOLERANCES = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
}


def skip_if_not_one_graph(module: nn.Module) -> None:
    """What `max_norm` shortens is of a shape that values decide, and changed in place."""
    if getattr(module, "max_norm", None) is None:
        return
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 13):
        pytest.skip("max_norm in one graph: torch 2.13 does it, 2.6 does not")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors(
    n: int, d: int, k: int, j: int = 1, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Random (left, right, labels); with several subspaces some clusters are empty."""
    g = generator(seed)
    left = torch.randn(n, k, generator=g, dtype=torch.float64) / k**0.5
    right = torch.randn(*((j,) if j > 1 else ()), k, d, generator=g, dtype=torch.float64)
    labels = None
    if j > 1:
        used = torch.randperm(j, generator=g)[: max(1, j - 1)]
        labels = used[torch.randint(len(used), (n,), generator=g)]
    return left.to(dtype), right.to(dtype), labels


def product(left: Tensor, right: Tensor, labels: Tensor | None) -> Tensor:
    """The dense weight, row by row, in float64."""
    rows = [
        left[i].double() @ (right if labels is None else right[labels[i]]).double()
        for i in range(len(left))
    ]
    return torch.stack(rows) if rows else left.new_zeros(0, right.shape[-1]).double()


def embedding(n: int = 20, d: int = 6, k: int = 3, j: int = 1, **options: Any) -> LowRankEmbedding:
    dtype = options.pop("dtype", torch.float64)
    left, right, labels = factors(n, d, k, j, dtype)
    return LowRankEmbedding.from_factors(left, right, labels=labels, **options)


def linear(
    n: int = 8, d: int = 6, k: int = 3, j: int = 1, bias: bool = True, dtype: Any = torch.float64
) -> LowRankLinear:
    left, right, labels = factors(n, d, k, j, dtype)
    shift = torch.arange(n, dtype=dtype) if bias else None
    return LowRankLinear.from_factors(left, right, shift, labels=labels)


def random_(module: nn.Module, seed: int = 0, scale: float = 1.0) -> nn.Module:
    """The module with seeded weights."""
    g = generator(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.copy_(scale * torch.randn(parameter.shape, generator=g))
    return module


class Tied(nn.Module):
    """A language model in small: an embedding, a layer, and an output layer with its weight."""

    def __init__(self, n: int = 120, d: int = 20, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.embed = nn.Embedding(n, d, padding_idx=0, dtype=dtype)
        self.inner = nn.Linear(d, d, dtype=dtype)
        self.head = nn.Linear(d, n, dtype=dtype)
        self.register_buffer("scale", torch.tensor(2.0, dtype=dtype))
        random_(self)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(self.embed(ids) * self.scale)))


class Nested(nn.Module):
    """Layers at several depths, one of them in two places."""

    def __init__(self, d: int = 20) -> None:
        super().__init__()
        self.tokens = nn.Embedding(100, d)
        shared = nn.Linear(d, d)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"up": nn.Linear(d, 2 * d), "down": nn.Linear(2 * d, d), "mix": shared})
            for _ in range(2)
        )
        self.classifier = nn.Linear(d, 3)
        random_(self)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        for block in self.blocks:
            x = x + block["mix"](block["down"](torch.relu(block["up"](x))))
        return self.classifier(x)


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything about a model that a failed call must leave as it was, bit for bit."""
    return {
        "modules": [(name, id(module)) for name, module in model.named_modules()],
        "keys": {
            name: (list(module._parameters), list(module._buffers), list(module._modules))
            for name, module in model.named_modules()
        },
        "state": {
            name: (id(value), value.detach().clone() if isinstance(value, Tensor) else value)
            for name, value in model.state_dict(keep_vars=True).items()
        },
        "training": [module.training for module in model.modules()],
        "grad": [parameter.requires_grad for parameter in model.parameters()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks))
            for module in model.modules()
        ],
    }


def assert_unchanged(model: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(model)
    for key in ("modules", "keys", "training", "grad", "hooks"):
        assert after[key] == before[key]
    assert list(after["state"]) == list(before["state"])
    for name, (identity, value) in before["state"].items():
        assert after["state"][name][0] == identity, name
        now = after["state"][name][1]
        assert not isinstance(value, Tensor) or same_bits(now, value), name


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal shapes, dtypes and values, NaN being equal to NaN."""
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num())
