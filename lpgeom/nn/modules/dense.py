"""Dense modules whose place factors can take: which kind they are, and what may forbid it."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lpgeom.io import validation
from lpgeom.nn.factors.factored import FLOATING, Spec
from lpgeom.nn.modules.compressed import Compressed
from lpgeom.nn.modules.low_rank import LowRank
from lpgeom.nn.modules.scaled import SCALE, scaling_of

M = TypeVar("M", bound=LowRank)
N = TypeVar("N", bound=nn.Module)

_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
    "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
    "_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook",
)  # fmt: skip

_NAMES = {"embedding": "torch.nn.Embedding", "linear": "torch.nn.Linear", "conv1d": "Conv1D"}


def kind_of(module: nn.Module) -> str:
    """The kind of a module that is one weight and how it is applied; "" for others."""
    if isinstance(module, Compressed):
        return module.kind
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if isinstance(module, nn.Linear):
        return "linear"
    cls = type(module)
    if cls.__name__ == "Conv1D" and cls.__module__ == "transformers.pytorch_utils":
        return "conv1d"
    if "quantized" in cls.__module__ and cls.__name__ in ("Linear", "Embedding"):
        return cls.__name__.lower()
    return ""


def matrix(weight: Tensor, kind: str) -> Tensor:
    """A weight of that kind as (n, d): a view."""
    if kind == "parameter":
        return weight.flatten(1)
    return weight.t() if kind == "conv1d" else weight


def obstacle(module: nn.Module, attribute: str, kind: str, meta: bool) -> tuple[str, bool]:
    """(why this weight cannot be replaced, whether asking for it is an error)."""
    if isinstance(module, Compressed):
        return f"is {module.how} already", False
    if not isinstance(module, nn.Linear | nn.Embedding) and "quantized" in type(module).__module__:
        return "is quantised; compress the model before it is quantised", True
    weight = module._parameters.get(attribute)
    if weight is None:
        return "has a weight that is computed (a parametrization or weight norm)", False
    if isinstance(weight, nn.UninitializedParameter):
        return "has no data yet (it is lazy); run the model once first", True
    if weight.layout != torch.strided:
        return f"has a sparse weight ({weight.layout}); make it dense first", True
    if weight.dtype not in FLOATING:
        return (
            f"has a weight of dtype {weight.dtype}; compress the model before it is quantised",
            True,
        )
    scaling = None
    if kind in ("embedding", "linear"):
        usual = nn.Embedding.forward if kind == "embedding" else nn.Linear.forward
        if type(module).forward is not usual:
            scaling = scaling_of(module)
            if scaling is None:
                return f"is of type {type(module).__name__}, whose forward is its own", False
            if not scaling.known:
                return "scales what it looks up by a number on the meta device", False
    if "forward" in vars(module):
        return "has a forward of its own (set on the instance)", False
    if kind != "parameter":
        held = [*module._parameters, *module._buffers, *module._modules]
        known = ("weight", "bias") if scaling is None else ("weight", SCALE)
        more = next((key for key in held if key not in known), None)
        if more is not None:
            return f"holds more than a weight and a bias ({more})", False
    if weight.is_meta and not meta:
        return "has no data (it is on the meta device); load the weights first", True
    return "", False


def carried_over(old: nn.Module, made: N) -> N:
    """The new module with the old one's hooks and mode."""
    for name in _HOOKS:
        setattr(made, name, getattr(old, name))
    return made.train(old.training)


def in_factors(
    cls: type[M],
    module: nn.Module,
    rank: int,
    p: float,
    kinds: tuple[str, ...],
    options: dict[str, Any],
) -> M:
    """The `cls` that stands for a module of one of the kinds: `from_linear`, `from_embedding`."""
    from lpgeom.nn.factors.factor import factorise

    kind = kind_of(module)
    if kind not in kinds:
        wanted = " or ".join(_NAMES[k] for k in kinds)
        raise TypeError(f"expected a {wanted}, got {type(module).__name__}")
    reason, _ = obstacle(module, "weight", kind, False)
    if reason:
        raise TypeError(f"the {type(module).__name__} {reason}")
    row_weights = options.pop("row_weights", None)
    unknown = set(options) - {"objective", "subspaces", "certify", "seed"}
    if unknown:
        raise TypeError(f"unknown option {sorted(unknown)[0]!r}")
    p = validation.check_p(p)
    weight = module._parameters["weight"]
    assert weight is not None
    rows = matrix(weight, kind)
    n, d = rows.shape
    rank = validation.check_positive_int("rank", rank)
    if rank > min(n, d):
        raise ValueError(f"rank must be at most min{(n, d)} = {min(n, d)}, got {rank}")
    omega = validation.check_weights(row_weights, n)
    found = factorise(rows, rank, Spec(p=p, row_weights=omega, **options))
    made = cls.in_place_of(module, "weight", found.factors.as_parameters(weight.requires_grad))
    assert isinstance(made, cls)
    return made
