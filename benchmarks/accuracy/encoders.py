"""Sentence encoders whose layers are compressed: token means of the last layer, of length one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom import datasets

from .packages import mpnet

TITLES = {"minilm": "MiniLM", "mpnet": "MPNet"}
MODELS = tuple(TITLES)
LENGTH = 48
"""Tokens read of a text; Reuters' and the newsgroups' longer texts are cut."""
TOKENS = 2048
"""Tokens of a batch, padding included."""

Matrix = NDArray[np.float32]


class Encoder:
    """A model and its tokenizer."""

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer

    @classmethod
    def load(cls, name: str, cache: Path) -> Encoder:
        """One of `MODELS`, uncompressed, in evaluation mode."""
        from transformers import AutoModel, AutoTokenizer

        folder = datasets.minilm_path().parent if name == "minilm" else mpnet(cache)
        model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
        return cls(name, model, AutoTokenizer.from_pretrained(folder))

    def copy(self) -> Encoder:
        """With a model of its own, to be compressed."""
        return Encoder(self.name, copy.deepcopy(self.model), self.tokenizer)

    def with_table(self, table: NDArray) -> Encoder:
        """A copy with another word embedding of the same shape."""
        import torch

        changed = self.copy()
        weight = changed.model.get_input_embeddings().weight
        if table.shape != tuple(weight.shape):
            raise ValueError(f"a table of shape {tuple(weight.shape)} is needed, not {table.shape}")
        with torch.no_grad():
            weight.copy_(torch.from_numpy(np.ascontiguousarray(table, np.float32)))
        return changed

    def encode(self, texts: Sequence[str]) -> Matrix:
        """A unit vector for each text, (texts, hidden size)."""
        import torch

        out: Matrix | None = None
        with torch.inference_mode():
            for index, batch in self.batches(texts):
                hidden = self.model(**batch).last_hidden_state
                vectors = pooled(hidden, batch["attention_mask"]).numpy()
                if out is None:
                    out = np.empty((len(texts), vectors.shape[1]), np.float32)
                out[index] = vectors
        assert out is not None
        return out

    def batches(
        self, texts: Sequence[str], tokens: int = TOKENS
    ) -> Iterator[tuple[NDArray[np.intp], Any]]:
        """Texts of similar length together: (their places, the model's inputs)."""
        ids = self.tokenizer(list(texts), truncation=True, max_length=LENGTH)["input_ids"]
        order = np.argsort([-len(i) for i in ids], kind="stable")
        lo = 0
        while lo < len(order):
            longest = len(ids[order[lo]])
            index = order[lo : lo + max(1, tokens // longest)]
            yield (
                index,
                self.tokenizer.pad({"input_ids": [ids[i] for i in index]}, return_tensors="pt"),
            )
            lo += len(index)


class OnnxModel:
    """A model that ONNX Runtime runs, called as transformers' are."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    @staticmethod
    def quantized(model: Any, folder: Path) -> Path:
        """Export, and weights in int8, a scale a column, inputs too while it runs; the file."""
        import torch
        from onnxruntime.quantization import QuantType, quantize_dynamic

        class Hidden(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, input_ids: Any, attention_mask: Any) -> Any:
                return self.model(input_ids, attention_mask=attention_mask).last_hidden_state

        names = ["input_ids", "attention_mask"]
        dense, small = folder / "dense.onnx", folder / "small.onnx"
        inputs = tuple(torch.ones((2, 8), dtype=torch.int64) for _ in names)
        axes = {name: {0: "texts", 1: "tokens"} for name in names}
        torch.onnx.export(
            Hidden(), inputs, dense, input_names=names, dynamic_axes=axes, dynamo=False
        )
        quantize_dynamic(dense, small, weight_type=QuantType.QInt8, per_channel=True)
        return small

    def __call__(self, input_ids: Any, attention_mask: Any) -> Any:
        import torch

        given = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        (hidden,) = self.session.run(None, given)
        return SimpleNamespace(last_hidden_state=torch.from_numpy(hidden))


def pooled(hidden: Any, mask: Any) -> Any:
    """Means over tokens, of length one."""
    import torch

    mask = mask[..., None]
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
