"""Small models from sequences to sequences, of random weights: several embeddings of one weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

SEQUENCES: dict[str, Any] = {
    "vocab_size": 100, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16, "max_position_embeddings": 32, "pad_token_id": 0,
    "eos_token_id": 1, "decoder_start_token_id": 0,
}  # fmt: skip

TWELVE = {**SEQUENCES, "d_model": 12}
"""Whose root is no power of two: dtypes round it."""

SCALES = {"scale_embedding": True}

T5: dict[str, Any] = {
    "vocab_size": 100, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2,
}  # fmt: skip


def made(kind: str, config: str, **options: Any) -> Any:
    """A model of that class from a config of that class; without it the test is skipped."""
    torch.manual_seed(0)
    config_class: Any = getattr(transformers, config, None)
    if config_class is None:
        pytest.skip(f"this version of transformers has no {config}")
    return getattr(transformers, kind)(config_class(**options)).eval()


def marian(shared: bool = False) -> Any:
    options = {"decoder_vocab_size": 100, "share_encoder_decoder_embeddings": shared}
    return made("MarianMTModel", "MarianConfig", **SEQUENCES, **options)


def pegasus() -> Any:
    return made("PegasusForConditionalGeneration", "PegasusConfig", **SEQUENCES)


def bart(**options: Any) -> Any:
    return made("BartForConditionalGeneration", "BartConfig", **SEQUENCES, **options)


def plain_bart() -> Any:
    """With one plain embedding in all its places, as older versions had it."""
    model = bart()
    model.set_input_embeddings(torch.nn.Embedding(100, 16))
    model.tie_weights()
    return model


def mbart() -> Any:
    return made("MBartForConditionalGeneration", "MBartConfig", **TWELVE, **SCALES)


def m2m100() -> Any:
    return made("M2M100ForConditionalGeneration", "M2M100Config", **TWELVE)


def gemma3() -> Any:
    """A language model: its scale is a buffer, rounded to the weight's dtype."""
    return made(
        "Gemma3ForCausalLM", "Gemma3TextConfig", vocab_size=100, hidden_size=12,
        intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, max_position_embeddings=32,
    )  # fmt: skip


def t5() -> Any:
    return made("T5ForConditionalGeneration", "T5Config", **T5)


def umt5() -> Any:
    """Whose forward asks the config whether weights are tied."""
    return made("UMT5ForConditionalGeneration", "UMT5Config", **T5)


PLAIN: dict[str, Callable[[], Any]] = {
    "t5": t5,
    "umt5": umt5,
    "pegasus": pegasus,
    "marian": lambda: marian(shared=True),
    "bart": plain_bart,
}
"""With embeddings of torch's own type."""

SCALED: dict[str, Callable[[], Any]] = {
    "bart": lambda: made("BartForConditionalGeneration", "BartConfig", **TWELVE, **SCALES),
    "bart, not scaled": bart,
    "mbart": mbart,
    "m2m100": m2m100,
    "gemma3": gemma3,
}
"""With embeddings of classes that scale, in newer versions of transformers."""


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """What the model says to these ids, in its encoder and a little other ones in its decoder."""
    options: dict[str, Any] = {}
    if model.config.is_encoder_decoder:
        options["decoder_input_ids"] = ids.flip(-1)
    with torch.no_grad():
        return model(input_ids=ids, **options).logits  # type: ignore[no-any-return]
