"""Tensors by the names that a model gives them, where a file has them under others, or in parts.

transformers renames, joins and splits what it reads, model by model, by tables of its own from 5.0
on; what it writes has the names of before. The same tables are gone by here, one tensor at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

Made = tuple[Tensor, Callable[[], Tensor]]
"""A tensor without data, and what reads it."""


def converted(
    model: nn.Module, outline: Mapping[str, Tensor], read: Callable[[str], Tensor]
) -> dict[str, Made]:
    """Name in the model -> the tensor that transformers makes of a checkpoint's.

    Parameters
    ----------
    model : torch.nn.Module
        Of transformers, without data.
    outline : mapping
        Name in the checkpoint -> a tensor of its shape and dtype, without data.
    read : callable
        Gives a tensor of the checkpoint by its name.
    """
    try:
        from transformers import core_model_loading as core
        from transformers.conversion_mapping import get_model_conversion_mapping
    except ImportError:  # before 5.0 it renamed nothing
        return {}
    known: Any = get_model_conversion_mapping(model)
    renamings = [x for x in known if isinstance(x, core.WeightRenaming)]
    converters = [x for x in known if isinstance(x, core.WeightConverter)]
    of_pattern = {pattern: x for x in converters for pattern in x.source_patterns}
    there, prefix = model.state_dict(), getattr(model, "base_model_prefix", "")
    made: dict[str, Made] = {}
    parts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key in sorted(outline, key=core.dot_natural_key):
        name, pattern = core.rename_source_key(key, renamings, converters, prefix, there)
        if name not in there:
            continue
        if pattern is None:
            made[name] = outline[key], lambda key=key: read(key)  # type: ignore[misc]
        else:
            parts[name].append((key, pattern))

    def joined(name: str, tensor: Callable[[str], Tensor]) -> dict[str, Tensor]:
        """What becomes of the parts of a tensor, which may be several others."""
        converter = deepcopy(of_pattern[parts[name][0][1]])
        for key, pattern in parts[name]:
            converter.add_tensor(name, key, pattern, tensor(key))
        found = converter.convert(name, model=model, config=getattr(model, "config", None))
        return {k: v[0] if isinstance(v, list) else v for k, v in found.items()}

    for name in parts:
        for target, value in joined(name, outline.__getitem__).items():
            made[target] = value, lambda n=name, t=target: joined(n, read)[t]  # type: ignore[misc]
    return made
