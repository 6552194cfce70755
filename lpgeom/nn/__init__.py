"""Compress a torch model, and keep using it as before.

``compress(model, ratio=0.28)`` replaces embeddings and linear layers by two factors each, which are
ordinary modules; `save_pretrained` and `load_pretrained` keep them without the original weights.
Needs torch (``pip install 'lpgeom[torch]'``); Hugging Face models need transformers
(``pip install 'lpgeom[hf]'``). Importing this package loads neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lpgeom.nn.report.report import CompressionReport, LayerReport

if TYPE_CHECKING:
    from lpgeom.nn.compression import compress
    from lpgeom.nn.model.dense import decompress
    from lpgeom.nn.model.resize import resize_token_embeddings
    from lpgeom.nn.modules.embedding import LowRankEmbedding
    from lpgeom.nn.modules.linear import LowRankLinear
    from lpgeom.nn.modules.mixed_embedding import MixedRankEmbedding
    from lpgeom.nn.modules.mixed_linear import MixedRankLinear
    from lpgeom.nn.modules.parameter import LowRankParameter
    from lpgeom.nn.plan.vocabulary import token_weights
    from lpgeom.nn.plan.weights import frequency_weights
    from lpgeom.nn.stored.checkpoint import load_pretrained, save_pretrained

__all__ = [
    "CompressionReport",
    "LayerReport",
    "LowRankEmbedding",
    "LowRankLinear",
    "LowRankParameter",
    "MixedRankEmbedding",
    "MixedRankLinear",
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
    "MixedRankEmbedding": "lpgeom.nn.modules.mixed_embedding",
    "MixedRankLinear": "lpgeom.nn.modules.mixed_linear",
    "compress": "lpgeom.nn.compression",
    "decompress": "lpgeom.nn.model.dense",
    "frequency_weights": "lpgeom.nn.plan.weights",
    "load_pretrained": "lpgeom.nn.stored.checkpoint",
    "resize_token_embeddings": "lpgeom.nn.model.resize",
    "save_pretrained": "lpgeom.nn.stored.checkpoint",
    "token_weights": "lpgeom.nn.plan.vocabulary",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
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
