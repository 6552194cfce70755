"""Sentence embeddings of a BERT-like model, and a few sentences to try them on."""

from __future__ import annotations

from typing import Any

SENTENCES = (
    "The committee postponed its decision until the figures had been checked.",
    "A small dog slept in the shade of the orange tree.",
    "Shares of the airline fell after it cut its profit forecast.",
    "Whisk the egg whites until they hold soft peaks.",
    "The theorem fails when the matrix is rank deficient.",
    "She has played the cello since she was nine.",
    "The film is long, slow and wonderfully acted.",
    "Heavy snow closed the pass for the third day.",
    "Antibodies against the spike protein were found in most samples.",
    "He booked a window seat on the night train to Lisbon.",
    "This phone is a waste of money; the battery lasts two hours.",
    "The orchestra's second trombone is also a locksmith.",
)


def embed(model: Any, tokenizer: Any, sentences: Any = SENTENCES) -> Any:
    """Means of the last layer over each sentence's tokens, of length one."""
    import torch

    batch = tokenizer(list(sentences), return_tensors="pt", padding=True, truncation=True)
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=1)
