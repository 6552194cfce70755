"""Compress a torch model, and keep using it as before.

``compress(model, ratio=0.28)`` replaces embeddings and linear layers by two factors each, which are
ordinary modules; `save_pretrained` and `load_pretrained` keep them without the original weights.
Needs torch (``pip install 'lpgeom[torch]'``); Hugging Face models need transformers
(``pip install 'lpgeom[hf]'``). Importing this package loads neither.

Its rooms, each of which imports only those before it: `factors` (one weight into factors, no torch
modules), `modules` (torch modules in factors), `report` (what was done), `model` (what a model has,
and what is put in its place), `plan` (a rank for every weight), `stored` (saved and loaded). Begin
with `compression.py`, which uses them all.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lpgeom.nn.report.report import CompressionReport, LayerReport

if TYPE_CHECKING:
    from lpgeom.nn.compression import compress
    from lpgeom.nn.model.replace import decompress
    from lpgeom.nn.model.resize import resize_token_embeddings
    from lpgeom.nn.modules.embedding import LowRankEmbedding
    from lpgeom.nn.modules.linear import LowRankLinear
    from lpgeom.nn.modules.parameter import LowRankParameter
    from lpgeom.nn.plan.vocabulary import frequency_weights, token_weights
    from lpgeom.nn.stored.checkpoint import load_pretrained, save_pretrained

__all__ = [
    "CompressionReport",
    "LayerReport",
    "LowRankEmbedding",
    "LowRankLinear",
    "LowRankParameter",
    "compress",
    "decompress",
    "frequency_weights",
    "load_pretrained",
    "resize_token_embeddings",
    "save_pretrained",
    "token_weights",
]

_LAZY = {
    "LowRankEmbedding": "lpgeom.nn.modules.embedding",
    "LowRankLinear": "lpgeom.nn.modules.linear",
    "LowRankParameter": "lpgeom.nn.modules.parameter",
    "compress": "lpgeom.nn.compression",
    "decompress": "lpgeom.nn.model.replace",
    "frequency_weights": "lpgeom.nn.plan.vocabulary",
    "load_pretrained": "lpgeom.nn.stored.checkpoint",
    "resize_token_embeddings": "lpgeom.nn.model.resize",
    "save_pretrained": "lpgeom.nn.stored.checkpoint",
    "token_weights": "lpgeom.nn.plan.vocabulary",
}

_RENAMED = {"MixedRankEmbedding": "LowRankEmbedding", "MixedRankLinear": "LowRankLinear"}
"""Names of before -> what does the same."""


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if name in _RENAMED:
        warnings.warn(
            f"lpgeom.nn.{name} is now {_RENAMED[name]}, which has groups of rows too; see its "
            "option counts",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(import_module("lpgeom.nn.modules.renamed"), name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            f"lpgeom.nn.{name} needs torch: pip install 'lpgeom[torch]' "
            "(for Hugging Face models 'lpgeom[hf]')"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
