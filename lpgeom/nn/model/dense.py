"""Factors multiplied out again."""

from __future__ import annotations

from torch import nn

from lpgeom.nn.model.replace import carried_over
from lpgeom.nn.model.sites import FACTORED, stored_in
from lpgeom.nn.modules.embedding import LowRankEmbedding
from lpgeom.nn.modules.linear import LowRankLinear
from lpgeom.nn.modules.mixed import MixedRank
from lpgeom.nn.modules.parameter import LowRankParameter


def decompress(model: nn.Module) -> int:
    """Put dense layers in the place of all low-rank ones; layers that share factors share weights.

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
        A model that is itself a low-rank layer: use its `to_dense`.

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
    if isinstance(model, FACTORED):
        raise ValueError(
            f"the model is itself a {type(model).__name__}, which cannot be replaced in place; use "
            "its to_dense()"
        )
    dense: dict[int, nn.Parameter] = {}
    made: dict[int, nn.Module] = {}
    for module in list(model.modules()):
        for key, child in list(module._modules.items()):
            if isinstance(child, LowRankParameter):
                del module._modules[key]
                module.register_parameter(key, child.to_dense())
                dense[id(child.left)] = module._parameters[key]
            elif isinstance(child, LowRankEmbedding | LowRankLinear | MixedRank):
                if id(child) not in made:
                    layer = child.to_dense()
                    layer.weight = dense.setdefault(id(stored_in(child)[0]), layer.weight)
                    if isinstance(layer, nn.Linear) and child.bias is not None:
                        layer.bias = child.bias  # which may be shared as well
                    made[id(child)] = carried_over(child, layer)
                module._modules[key] = made[id(child)]
    return len(dense)
