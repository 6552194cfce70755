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

from lpgeom.nn.report.report import CompressionReport as CompressionReport
from lpgeom.nn.report.report import LayerReport as LayerReport
from lpgeom.nn.stored.announced import announce

if TYPE_CHECKING:
    from lpgeom.nn.compression import compress as compress
    from lpgeom.nn.model.replace import decompress as decompress
    from lpgeom.nn.model.resize import resize_token_embeddings as resize_token_embeddings
    from lpgeom.nn.modules.embedding import LowRankEmbedding as LowRankEmbedding
    from lpgeom.nn.modules.linear import LowRankLinear as LowRankLinear
    from lpgeom.nn.modules.parameter import LowRankParameter as LowRankParameter
    from lpgeom.nn.modules.quantized_embedding import QuantizedEmbedding as QuantizedEmbedding
    from lpgeom.nn.modules.quantized_linear import QuantizedLinear as QuantizedLinear
    from lpgeom.nn.plan.token_weights import frequency_weights as frequency_weights
    from lpgeom.nn.plan.token_weights import token_weights as token_weights
    from lpgeom.nn.plan.trim import TrimmedTokenizer as TrimmedTokenizer
    from lpgeom.nn.plan.trim import trim_tokenizer as trim_tokenizer
    from lpgeom.nn.stored.checkpoint import load_pretrained as load_pretrained
    from lpgeom.nn.stored.checkpoint import save_pretrained as save_pretrained

_PUBLIC = {
    "compression": "compress",
    "model.replace": "decompress",
    "model.resize": "resize_token_embeddings",
    "modules.embedding": "LowRankEmbedding",
    "modules.linear": "LowRankLinear",
    "modules.parameter": "LowRankParameter",
    "modules.quantized_embedding": "QuantizedEmbedding",
    "modules.quantized_linear": "QuantizedLinear",
    "plan.token_weights": "frequency_weights token_weights",
    "plan.trim": "TrimmedTokenizer trim_tokenizer",
    "stored.checkpoint": "load_pretrained save_pretrained",
}
_LAZY = {name: f"lpgeom.nn.{module}" for module, names in _PUBLIC.items() for name in names.split()}

__all__ = sorted({"CompressionReport", "LayerReport", *_LAZY})

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


announce()
