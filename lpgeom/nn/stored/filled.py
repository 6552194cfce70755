"""Stored tensors into a model that has the modules for them: checked, then put in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.nn.factors.groups import PLACES, are_places
from lpgeom.nn.stored.recipe import CheckpointError, Layer, Recipe


def check(model: nn.Module, state: Mapping[str, Tensor], recipe: Recipe, folder: Path) -> None:
    """Raise a CheckpointError where the stored tensors are not those of the model."""
    expected = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        if name not in expected or expected[name].shape != tensor.shape:
            raise CheckpointError(f"{folder}: the stored tensor {name} does not fit the model")
    missing = expected.keys() - state.keys() - recipe.aliases.keys()
    if missing:
        raise CheckpointError(f"{folder}: {sorted(missing)[0]} is missing")
    for name, source in recipe.aliases.items():
        if name in expected and source in state:
            ours, theirs = expected[name], expected[source]
            kinds = {isinstance(tensor, nn.Parameter) for tensor in (ours, theirs)}
            if ours.shape == theirs.shape and len(kinds) == 1:
                continue
        raise CheckpointError(f"{folder}: {name} cannot be the same tensor as {source}")
    for layer in recipe.layers:
        module: Any = model.get_submodule(layer.name)
        own = {name: f"{layer.name}.{name}" for name in module.held.tensors()}
        found = {name: state[recipe.aliases.get(key, key)] for name, key in own.items()}
        fault = fault_of(layer, module.held, found)
        if fault:
            raise CheckpointError(f"{folder}: {layer.name} {fault}")


def fault_of(layer: Layer, held: Any, tensors: Mapping[str, Tensor]) -> str:
    """What is wrong with a layer that holds these in the place of what it has; "" if nothing is."""
    if layer.sizes is not None:
        fault = replace(held, **tensors).fault()
        return f"cannot have {fault}" if fault else ""
    if layer.counts is None:
        return ""
    labels, places = tensors["labels"], tensors["places"]
    whole = labels.dtype in (torch.uint8, torch.int32)
    if not whole or not bool(((labels >= 0) & (labels < layer.subspaces)).all()):
        return "has labels that are none"
    if places.dtype != PLACES or not are_places(labels, places, layer.counts):
        return "has places that are none"
    return ""


def fill(model: nn.Module, state: Mapping[str, Tensor], recipe: Recipe) -> None:
    """Put the stored tensors in, and share again what was shared."""
    coded = {layer.name for layer in recipe.layers if layer.sizes is not None}
    for name, tensor in state.items():
        table, key = _place(model, name)
        old = table.get(key)
        # In memory of its own: products of mapped, unaligned numbers may round differently.
        table[key] = tensor.clone()
        if name.rpartition(".")[0] in coded and old is not None:
            table[key] = table[key].to(old.dtype)
        if isinstance(old, nn.Parameter):
            grad = old.requires_grad and tensor.is_floating_point()
            table[key] = nn.Parameter(table[key], requires_grad=grad)
    share(model, recipe.aliases)
    for layer in coded:
        derive: Any = model.get_submodule(layer)
        derive.derive()


def share(model: nn.Module, aliases: Mapping[str, str]) -> None:
    """Put tensors in place under further names."""
    for name, source in aliases.items():
        table, key = _place(model, name)
        held, held_key = _place(model, source)
        table[key] = held[held_key]


def _place(model: nn.Module, name: str) -> tuple[dict[str, Any], str]:
    """The table of a module that a tensor of that name is in, and its name there."""
    path, _, key = name.rpartition(".")
    owner = model.get_submodule(path)
    return owner._parameters if key in owner._parameters else owner._buffers, key
