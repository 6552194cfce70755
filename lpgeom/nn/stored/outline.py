"""A model's modules in factors: what a recipe says of them, and the same ones without data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from lpgeom.nn.model.sites import FACTORED, kind_of
from lpgeom.nn.modules.embedding import LowRankEmbedding
from lpgeom.nn.modules.linear import LowRankLinear
from lpgeom.nn.modules.mixed import MixedRank
from lpgeom.nn.modules.mixed_embedding import MixedRankEmbedding
from lpgeom.nn.modules.mixed_linear import MixedRankLinear
from lpgeom.nn.modules.parameter import LowRankParameter
from lpgeom.nn.modules.scaled import Scaling, scaling_of
from lpgeom.nn.stored.recipe import EMBEDDING_OPTIONS, NAME, SCALE, CheckpointError, Layer

_HALF = 2.0**-7
"""How far bfloat16 rounds, at most."""


def layers_of(model: nn.Module) -> Iterable[Layer]:
    """The modules in factors, under every name they have."""
    for name, module in model.named_modules(remove_duplicate=False):
        groups: dict[str, Any] = {}
        if isinstance(module, MixedRank):
            groups = {"ranks": module.ranks, "counts": module.counts}
            rank, several = max(1, *module.ranks), len(module.ranks)
        elif isinstance(module, FACTORED):
            rank, several = module.rank, getattr(module, "subspaces", 1)
        if isinstance(module, LowRankEmbedding | MixedRankEmbedding):
            options = embedding_options(module, module._scaling())
            n, d = module.num_embeddings, module.embedding_dim
            yield Layer(name, "embedding", n, d, rank, several, options, **groups)
        elif isinstance(module, LowRankLinear | MixedRankLinear):
            n, d = module.out_features, module.in_features
            options = {"bias": module.bias is not None}
            yield Layer(name, "linear", n, d, rank, several, options, **groups)
        elif isinstance(module, LowRankParameter):
            n, d = module.shape[0], math.prod(module.shape[1:])
            options = {"shape": list(module.shape)}
            yield Layer(name, "parameter", n, d, rank, 1, options)


def embedding_options(table: Any, scaling: Scaling | None) -> dict[str, Any]:
    """What a recipe says of an embedding, dense or in factors."""
    options = {key: getattr(table, key) for key in EMBEDDING_OPTIONS}
    if scaling is not None and scaling.value != 1.0:
        options[SCALE] = scaling.value
    return options


def prepare(model: nn.Module, layers: Iterable[Layer]) -> None:
    """Put empty modules in factors where a recipe has them.

    Raises
    ------
    CheckpointError
        A layer that the model has not, or has in another shape or scaled by another number; the
        model is as it was.
    """
    places: list[tuple[nn.Module, str, nn.Module]] = []
    for layer in layers:
        parent_name, _, key = layer.name.rpartition(".")
        try:
            parent = model.get_submodule(parent_name)
        except AttributeError:
            parent = None
        old = None if parent is None else parent._modules.get(key, parent._parameters.get(key))
        weight = old if isinstance(old, Tensor) else getattr(old, "weight", None)
        if parent is None or not isinstance(weight, Tensor):
            raise CheckpointError(f"the model has no layer {layer.name}")
        shape = sorted((weight.shape[0], math.prod(weight.shape[1:])))
        if shape != sorted((layer.n, layer.d)):
            raise CheckpointError(
                f"{layer.name} is {tuple(weight.shape)} in the model, {layer.n} x {layer.d} in the "
                "saved one"
            )
        kind = "parameter" if isinstance(old, Tensor) else kind_of(old)
        kind = "linear" if kind == "conv1d" else kind or "module of another kind"
        if kind == "parameter" and list(weight.shape) != layer.options.get("shape"):
            kind = f"parameter of shape {tuple(weight.shape)}"
        if kind != layer.kind:
            raise CheckpointError(
                f"{layer.name} is {_article(kind)} in the model, {_article(layer.kind)} in the "
                "saved one"
            )
        made = _empty(layer)
        if isinstance(made, LowRankEmbedding | MixedRankEmbedding):
            made._set_scaling(_scaling(old, layer))
        places.append((parent, key, made))
    for parent, key, made in places:
        parent._parameters.pop(key, None)
        parent._modules[key] = made


def _scaling(old: Any, layer: Layer) -> Scaling | None:
    """How the saved embedding scaled, which the class in its place must do as well.

    A model's structure has the class: a recipe names none. Half precision may have rounded either
    number.
    """
    in_factors = isinstance(old, LowRankEmbedding | MixedRankEmbedding)
    found = old._scaling() if in_factors else scaling_of(old)
    value = float(layer.options.get(SCALE, 1.0))
    own = 1.0 if found is None else found.value
    if abs(own - value) > _HALF * abs(own):  # not for nan: a model without data
        raise CheckpointError(
            f"{layer.name} scales what it looks up by {own:g} in the model, by {value:g} in the "
            "saved one"
        )
    return None if found is None else replace(found, value=value)


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _empty(layer: Layer) -> nn.Module:
    """A module of that kind, without data."""
    options = dict(layer.options)
    ranks, counts = layer.ranks or (), layer.counts or ()
    mixed: dict[str, Callable[..., nn.Module]] = {
        "embedding": lambda: MixedRankEmbedding(
            layer.n, layer.d, ranks, counts, device="meta",
            **{key: options[key] for key in EMBEDDING_OPTIONS},
        ),
        "linear": lambda: MixedRankLinear(
            layer.d, layer.n, ranks, counts, options["bias"], device="meta"
        ),
    }  # fmt: skip
    makers: dict[str, Callable[..., nn.Module]] = {
        "embedding": lambda: LowRankEmbedding(
            layer.n, layer.d, layer.rank, subspaces=layer.subspaces, device="meta",
            **{key: options[key] for key in EMBEDDING_OPTIONS},
        ),
        "linear": lambda: LowRankLinear(
            layer.d, layer.n, layer.rank, options["bias"],
            subspaces=layer.subspaces, device="meta",
        ),
        "parameter": lambda: LowRankParameter(options["shape"], layer.rank, device="meta"),
    }  # fmt: skip
    try:
        return (makers if layer.ranks is None else mixed)[layer.kind]()
    except (TypeError, ValueError, RuntimeError) as error:  # sizes beyond what torch can count
        raise CheckpointError(f"{NAME}: no layer {layer.name} can be made ({error})") from error
