"""Many families of models: small ones with random weights, and MiniLM in other classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import transformers as t
from torch import nn

from lpgeom import datasets

SIZE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}


def small(name: str) -> nn.Module:
    """A language model of that family with random weights, in evaluation mode."""
    makers = {
        "bert": lambda: t.BertForMaskedLM(t.BertConfig(**SIZE)),
        "roberta": lambda: t.RobertaForMaskedLM(t.RobertaConfig(**SIZE)),
        "mpnet": lambda: t.MPNetForMaskedLM(t.MPNetConfig(**SIZE)),
        "albert": lambda: t.AlbertForMaskedLM(t.AlbertConfig(**SIZE, embedding_size=24)),
        "distilbert": lambda: t.DistilBertForMaskedLM(
            t.DistilBertConfig(
                vocab_size=300, dim=32, n_layers=2, n_heads=4, hidden_dim=64,
                max_position_embeddings=40,
            )
        ),
        "gpt2": lambda: t.GPT2LMHeadModel(
            t.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=40)
        ),
        "xlnet": lambda: t.XLNetLMHeadModel(
            t.XLNetConfig(vocab_size=300, d_model=32, n_layer=2, n_head=4, d_inner=64)
        ),
    }  # fmt: skip
    torch.manual_seed(0)
    return makers[name]().eval()


FAMILIES = ("bert", "roberta", "mpnet", "albert", "distilbert", "gpt2", "xlnet")

HEADS = {
    "bert": "cls.predictions.decoder",
    "roberta": "lm_head.decoder",
    "mpnet": "lm_head.decoder",
    "albert": "predictions.decoder",
    "distilbert": "vocab_projector",
    "gpt2": "lm_head",
    "xlnet": "lm_loss",
}
"""The output layer, which shares the input embedding's weight."""


def minilm() -> t.BertModel:
    """MiniLM as what it is, a BERT."""
    return t.BertModel.from_pretrained(datasets.minilm_path().parent).eval()


def minilm_distilbert() -> t.DistilBertModel:
    """MiniLM's weights in DistilBERT's classes: token type 0 added to the positions."""
    bert = minilm()
    config = t.DistilBertConfig(
        vocab_size=30522, dim=384, n_layers=6, n_heads=12, hidden_dim=1536,
        max_position_embeddings=512, pad_token_id=0,
    )  # fmt: skip
    old = bert.state_dict()
    types = old["embeddings.token_type_embeddings.weight"][0]
    names = (
        ("encoder.layer.", "transformer.layer."),
        ("attention.self.query", "attention.q_lin"),
        ("attention.self.key", "attention.k_lin"),
        ("attention.self.value", "attention.v_lin"),
        ("attention.output.dense", "attention.out_lin"),
        ("attention.output.LayerNorm", "sa_layer_norm"),
        ("intermediate.dense", "ffn.lin1"),
        ("output.dense", "ffn.lin2"),
        ("output.LayerNorm", "output_layer_norm"),
    )
    new = {}
    for name, value in old.items():
        if name.startswith("pooler") or "token_type" in name or name.endswith("_ids"):
            continue
        value = value + types if name == "embeddings.position_embeddings.weight" else value
        for a, b in names:
            name = name.replace(a, b)
        new[name] = value
    model = t.DistilBertModel(config).eval()
    model.load_state_dict(new)
    return model


def minilm_roberta() -> t.RobertaModel:
    """MiniLM's weights in RoBERTa's classes: positions begin after a row for padding."""
    bert = minilm()
    config = t.RobertaConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
        intermediate_size=1536, max_position_embeddings=513, type_vocab_size=2, pad_token_id=0,
        layer_norm_eps=1e-12,
    )  # fmt: skip
    new = dict(bert.state_dict())
    key = "embeddings.position_embeddings.weight"
    new[key] = torch.cat([torch.zeros(1, 384), new[key]])
    model = t.RobertaModel(config).eval()
    model.load_state_dict({k: v for k, v in new.items() if not k.endswith("_ids")})
    return model


def xlnet() -> t.XLNetModel:
    """XLNet's architecture at a quarter of its width, random weights."""
    torch.manual_seed(0)
    config = t.XLNetConfig(vocab_size=8000, d_model=192, n_layer=3, n_head=12, d_inner=768)
    return t.XLNetModel(config).eval()


def run(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """A model's output, or its logits."""
    options: dict[str, Any] = {}
    with torch.no_grad():
        output = model(input_ids=ids, **options)
    return output.logits if "logits" in output else output.last_hidden_state


def fine_tuned(model: nn.Module, ids: torch.Tensor, steps: int = 4) -> Iterator[None]:
    """Train on the ids; stops after each backward pass, and asserts that the loss fell at last."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    torch.manual_seed(0)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        yield
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
