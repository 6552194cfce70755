"""A model's compressed modules: what a recipe says of them, and the same ones without data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.nn.factors.held import Held
from lpgeom.nn.model.replace import MODULES
from lpgeom.nn.modules.compressed import Compressed
from lpgeom.nn.modules.dense import kind_of
from lpgeom.nn.modules.lookup import LookUp
from lpgeom.nn.modules.scaled import Scaling, scaling_of
from lpgeom.nn.stored.recipe import NAME, SCALE, CheckpointError, Layer, refused

_HALF = 2.0**-7
"""How far bfloat16 rounds, at most."""


def compressed_modules(model: nn.Module) -> Iterator[tuple[str, Compressed]]:
    """The compressed modules, under every name they have."""
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, Compressed):
            yield name, module


def parted(model: nn.Module) -> dict[str, str]:
    """Names of codes that modules share, though a move to another device made copies of them."""
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    for name, module in compressed_modules(model):
        if module.held.form != "factors":
            source = first.setdefault(id(module.held.first), name)
            own = module.held.tensors() if source != name else ()
            found |= {f"{name}.{key}": f"{source}.{key}" for key in own}
    return found


def layers_of(model: nn.Module) -> Iterator[Layer]:
    """What a recipe says of the compressed modules."""
    for name, module in compressed_modules(model):
        yield layer_of(name, module.kind, module.held, module.options())


def layer_of(name: str, kind: str, held: Held, options: dict[str, Any]) -> Layer:
    """What a recipe says of a module that holds this."""
    return Layer(name, kind, *held.shape, held.rank, options=options, **held.outline)


def prepare(model: nn.Module, layers: Iterable[Layer]) -> None:
    """Put empty modules in factors where a recipe has them.

    Raises
    ------
    CheckpointError
        A layer that the model has not, or has in another shape or scaled by another number; the
        model is as it was.
    """
    places: list[tuple[nn.Module, str, nn.Module]] = []
    modules = dict(model.named_modules(remove_duplicate=False))
    for layer in layers:
        parent_name, _, key = layer.name.rpartition(".")
        parent = modules.get(parent_name)
        old = None if parent is None else parent._modules.get(key, parent._parameters.get(key))
        weight = old if isinstance(old, Tensor) else getattr(old, "weight", None)
        if parent is None or not isinstance(weight, Tensor):
            raise CheckpointError(f"the model has no layer {layer.name}")
        shape = sorted((weight.shape[0], math.prod(weight.shape[1:])))
        if shape != sorted((layer.n, layer.d)):
            raise _differs(layer, f"is {tuple(weight.shape)}", f"{layer.n} x {layer.d}")
        kind = "parameter" if isinstance(old, Tensor) else kind_of(old)
        kind = "linear" if kind == "conv1d" else kind or "module of another kind"
        if kind == "parameter" and list(weight.shape) != layer.options.get("shape"):
            kind = f"parameter of shape {tuple(weight.shape)}"
        if kind != layer.kind:
            raise _differs(layer, f"is {_article(kind)}", _article(layer.kind))
        made = _empty(layer)
        if isinstance(made, LookUp):
            made.scale_by(_scaling(old, layer))
        places.append((parent, key, made))
    for parent, key, made in places:
        parent._parameters.pop(key, None)
        parent._modules[key] = made


def _scaling(old: Any, layer: Layer) -> Scaling | None:
    """How the saved embedding scaled, which the class in its place must do as well.

    A model's structure has the class: a recipe names none. Half precision may have rounded either
    number.
    """
    found = old.scaling if isinstance(old, LookUp) else scaling_of(old)
    value = float(layer.options.get(SCALE, 1.0))
    own = 1.0 if found is None else found.value
    if abs(own - value) > _HALF * abs(own):  # not for nan: a model without data
        raise _differs(layer, f"scales what it looks up by {own:g}", f"by {value:g}")
    return None if found is None else replace(found, value=value)


def _differs(layer: Layer, ours: str, theirs: str) -> CheckpointError:
    return CheckpointError(f"{layer.name} {ours} in the model, {theirs} in the saved one")


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _empty(layer: Layer) -> nn.Module:
    """A module of that kind, without data."""
    options = {key: value for key, value in layer.options.items() if key != SCALE}
    sizes: dict[str, Any] = {"rank": layer.rank}
    if layer.sizes is not None:
        sizes = layer.sizes
        options["dtype"] = getattr(torch, options["dtype"])
    elif layer.ranks is not None:
        sizes = {"rank": layer.ranks, "counts": layer.counts}
    shape = {"embedding": (layer.n, layer.d), "linear": (layer.d, layer.n), "parameter": ()}
    what = f"no layer {layer.name} can be made"
    with refused(NAME, TypeError, ValueError, RuntimeError, what=what):  # sizes beyond torch's
        return MODULES[layer.form, layer.kind](
            *shape[layer.kind], **sizes, **options, device="meta"
        )
