"""Factors into the place of a weight, options and state carried over; and multiplied out again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from lpgeom.nn.factors.held import Held
from lpgeom.nn.model.sites import Group, Site
from lpgeom.nn.modules.compressed import Compressed
from lpgeom.nn.modules.dense import carried_over
from lpgeom.nn.modules.embedding import LowRankEmbedding
from lpgeom.nn.modules.linear import LowRankLinear
from lpgeom.nn.modules.parameter import LowRankParameter
from lpgeom.nn.modules.quantized_embedding import QuantizedEmbedding, QuantizedHead
from lpgeom.nn.modules.quantized_linear import QuantizedLinear

MODULES: dict[tuple[str, str], type[Compressed]] = {
    ("factors", "embedding"): LowRankEmbedding,
    ("factors", "linear"): LowRankLinear,
    ("factors", "conv1d"): LowRankLinear,
    ("factors", "parameter"): LowRankParameter,
    ("entries", "linear"): QuantizedLinear,
    ("entries", "conv1d"): QuantizedLinear,
    ("rows", "embedding"): QuantizedEmbedding,
    ("rows", "linear"): QuantizedHead,
    ("rows", "conv1d"): QuantizedHead,
}
"""The form in which a weight is kept, and its kind -> what takes its place."""


def build(group: Group, held: Held) -> list[tuple[Site, Compressed]]:
    """Modules for every site of a group, from the same Parameters.

    Tied layers keep using one another's weights: an output layer computes ``(x right^T) left^T``
    with the embedding's own factors.
    """
    shared = held.as_parameters(group.head.weight.requires_grad)
    return [
        (site, MODULES[held.form, site.kind].in_place_of(site.owner, site.attribute, shared))
        for site in group.sites
    ]


def install(replacements: Sequence[tuple[Site, nn.Module]]) -> None:
    """Set all modules in their places, or none."""
    # Whole tables, so that what is put back keeps its place in their order.
    before = {
        parent: (dict(parent._parameters), dict(parent._modules))
        for site, _ in replacements
        for parent, _ in site.places
    }
    try:
        for site, made in replacements:
            for parent, key in site.places:
                if site.kind == "parameter":
                    del parent._parameters[key]
                    parent.add_module(key, made)
                else:
                    parent._modules[key] = made
    except BaseException:
        for parent, tables in before.items():
            for table, old in zip((parent._parameters, parent._modules), tables, strict=True):
                table.clear()
                table.update(old)
        raise


def decompress(model: nn.Module) -> int:
    """Put dense layers in the place of all compressed ones; what shared its numbers shares weights.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place; hooks stay. What the compression lost stays lost.

    Returns
    -------
    int
        How many weights were multiplied out.

    Raises
    ------
    ValueError
        A model that is itself a compressed layer: use its `to_dense`.

    Examples
    --------
    >>> import torch
    >>> from lpgeom import nn
    >>> model = torch.nn.Sequential(torch.nn.Embedding(300, 24))
    >>> _ = nn.compress(model, rank=5, progress=False)
    >>> nn.decompress(model)
    1
    >>> model[0]
    Embedding(300, 24)
    """
    if isinstance(model, Compressed):
        raise ValueError(
            f"the model is itself a {type(model).__name__}, which cannot be replaced in place; use "
            "its to_dense()"
        )
    dense: dict[int, nn.Parameter] = {}
    made: dict[int, nn.Module] = {}
    for module in list(model.modules()):
        for key, child in list(module._modules.items()):
            if not isinstance(child, Compressed):
                continue
            first = id(child.held.first)
            if isinstance(child, LowRankParameter):
                del module._modules[key]
                module.register_parameter(key, child.to_dense())
                dense[first] = module._parameters[key]
                continue
            if id(child) not in made:
                layer: Any = child.to_dense()
                layer.weight = dense.setdefault(first, layer.weight)
                if not isinstance(layer, nn.Embedding):
                    layer.bias = child.bias  # which may be shared as well
                made[id(child)] = carried_over(child, layer)
            module._modules[key] = made[id(child)]
    return len(dense)
