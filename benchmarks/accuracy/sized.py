"""What is compared by bytes: casts, others' coders, ours; of the embedding or of a whole model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lpgeom

from . import coders
from .coders import Coded, Table
from .encoders import Encoder, OnnxModel

POWER = 0.7
"""Of the tokens' frequencies, in our row weights; chosen on the tuning tasks."""

Smaller = tuple[Encoder, int]
Coder = Callable[[Table], Coded]


@dataclass(frozen=True)
class Sized:
    """A way to fewer bytes.

    Attributes
    ----------
    name, title : str
    family : str
        Its line in the pictures.
    make : callable
        From an encoder, a share of bytes and calibration texts to a smaller encoder and its bytes.
    sizes : tuple
        Shares of the float32 bytes that are asked for; (None,) of a method that has a size of its
        own.
    scope : {"embeddings", "all"}
        Whose bytes are counted: those of the word embedding, or of all weights.
    calibrated : bool
        Sees unlabelled texts of no task in the tables.
    """

    name: str
    title: str
    family: str
    make: Callable[[Encoder, Any, Sequence[str]], Smaller]
    sizes: tuple[float | None, ...] = (None,)
    scope: str = "embeddings"
    calibrated: bool = False

    @property
    def asks(self) -> bool:
        """Whether it is told a size."""
        return self.sizes != (None,)

    def shares(self, asked: dict[str, Any]) -> Sequence[float | None]:
        """What it is told, of what was asked for."""
        return (self.asks and asked["sizes"]) or self.sizes

    def applied(
        self, encoder: Encoder, size: float | None, calibration: Sequence[str]
    ) -> tuple[Encoder, dict[str, Any]]:
        """The smaller encoder, and what is said of it beside its scores."""
        started = time.process_time()
        smaller, taken = self.make(encoder, size, calibration if self.calibrated else ())
        seconds = time.process_time() - started
        share = taken / (4 * numbers(encoder, self.scope))
        return smaller, {
            "scope": self.scope, "bytes": taken, "share": share, "cpu_seconds": seconds,
        }  # fmt: skip


def numbers(encoder: Encoder, scope: str) -> int:
    """Parameters of the word embedding or of the model."""
    if scope == "embeddings":
        return int(encoder.model.get_input_embeddings().weight.numel())
    return sum(q.numel() for q in encoder.model.parameters())


@cache
def token_weights(encoder: Encoder) -> NDArray:
    """How often each token occurs."""
    from lpgeom import nn

    n = encoder.model.get_input_embeddings().num_embeddings
    return nn.token_weights(encoder.tokenizer, n=n)


# ---------------------------------------------------------------- the embedding


def _of_table(coder: Callable[..., Coded], *args: Any, weighted: bool = False) -> Any:
    """`coder(table, *args)`, with the tokens' weights if it takes some."""

    def made(encoder: Encoder, size: Any, calibration: Sequence[str]) -> Smaller:
        more = {"weights": token_weights(encoder) ** 0.5} if weighted else {}
        table, taken = coder(_array(encoder.model.get_input_embeddings().weight), *args, **more)
        return encoder.with_table(table), taken

    return made


def _ours(encoder: Encoder, size: Any, calibration: Sequence[str]) -> Smaller:
    """`lpgeom.approx_quantized`."""
    table = _array(encoder.model.get_input_embeddings().weight)
    found = lpgeom.approx_quantized(
        table, int(size * table.nbytes), row_weights=token_weights(encoder) ** POWER, certify=False
    )
    return encoder.with_table(found.dense(np.float32)), found.nbytes


def _array(weight: Any) -> Table:
    return np.ascontiguousarray(weight.detach().numpy())


# ---------------------------------------------------------------- whole models


def _of_layers(linear: Coder, table: Coder) -> Any:
    """Linear layers and the word embedding by coders; the rest is small, and stays as it is."""

    def made(encoder: Encoder, size: Any, calibration: Sequence[str]) -> Smaller:
        import torch

        smaller = encoder.copy()
        embedding = smaller.model.get_input_embeddings()
        taken = 4 * numbers(smaller, "all")
        with torch.no_grad():
            for module in smaller.model.modules():
                if module is embedding or isinstance(module, torch.nn.Linear):
                    coder = table if module is embedding else linear
                    back, of_codes = coder(_array(module.weight))
                    module.weight.copy_(torch.from_numpy(back))
                    taken += of_codes - 4 * back.size
        return smaller, taken

    return made


def _float16(encoder: Encoder, size: Any, calibration: Sequence[str]) -> Smaller:
    """Every weight in float16; computed with in float32."""
    smaller = encoder.copy()
    smaller.model.half().float()
    return smaller, 2 * numbers(smaller, "all")


def _onnx(encoder: Encoder, size: Any, calibration: Sequence[str]) -> Smaller:
    """Dynamic int8 of ONNX Runtime, a scale a column; the size of its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = OnnxModel.quantized(encoder.model, Path(folder))
        smaller = Encoder(encoder.name, OnnxModel(path), encoder.tokenizer)
        return smaller, path.stat().st_size


def _compressed(encoder: Encoder, size: Any, calibration: Sequence[str], **options: Any) -> Smaller:
    """`lpgeom.nn.compress`, and the bytes of the weights that `save_pretrained` writes."""
    from lpgeom import nn

    smaller = encoder.copy()
    if size is not None:
        options["size"] = size
    if calibration:
        options["calibration"] = [batch for _, batch in encoder.batches(calibration)]
    report = nn.compress(smaller.model, tokenizer=encoder.tokenizer, progress=False, **options)
    with tempfile.TemporaryDirectory() as folder:
        nn.save_pretrained(smaller.model, folder, report=report)
        stored = sum(path.stat().st_size for path in Path(folder).rglob("*.safetensors"))
    whole = 4 * numbers(encoder, "all")
    rest = whole - 4 * numbers(encoder, "embeddings")
    return smaller, stored if options.get("layers") == "all" else stored - rest


INT8 = partial(coders.rounded, bits=8)
INT4 = partial(coders.rounded, bits=4, group=64)
INT3 = partial(coders.rounded, bits=3, group=32)
CODES = partial(coders.product_codes, dims=4)
OURS, NEAREST, PRODUCT = "ranks and bits", "rounded to nearest", "product quantisation"
RANKS, RUNTIME, CALIBRATED = "ranks alone", "ONNX Runtime", "ranks and bits, inputs"
EMBEDDINGS = [
    Sized("ours", OURS, OURS, _ours, (0.25, 0.14, 0.1, 0.066, 0.045, 0.033, 0.02)),
    Sized("default-.28", "`ratio=.28`, float32", RANKS, partial(_compressed, ratio=0.28)),
    Sized("float16", "float16", NEAREST, _of_table(coders.cast)),
    Sized("int8", "int8, a scale a row", NEAREST, _of_table(coders.rounded, 8)),
    *(
        Sized(f"int{b}", f"int{b}, groups of 32", NEAREST, _of_table(coders.rounded, b, 32))
        for b in (4, 3, 2)
    ),
    *(
        Sized(
            f"pq-{dims}", f"product quantisation, {dims} numbers a byte", PRODUCT,
            _of_table(coders.product_codes, dims, weighted=True),
        )
        for dims in (3, 4, 6, 8, 16)
    ),
    *(
        Sized(
            f"mixed-{removed:g}-{bits}", f"mixed ranks, {removed:.0%} removed, {kind}", RANKS,
            _of_table(partial(coders.mixed_ranks, removed=removed, bits=bits), weighted=True),
        )
        for removed, bits, kind in (
            (0.5, 16, "float16"), (0.75, 16, "float16"),
            (0.5, 8, "int8"), (0.6, 8, "int8"), (0.75, 8, "int8"), (0.85, 8, "int8"),
        )
    ),
]  # fmt: skip
EVERYTHING = partial(_compressed, layers="all")
SIZES = (1 / 4, 1 / 6, 1 / 8, 1 / 10)
WHOLE = [
    Sized("all-ours", OURS, OURS, EVERYTHING, SIZES, "all"),
    Sized("all-ours+x", f"{OURS}, inputs", CALIBRATED, EVERYTHING, SIZES, "all", calibrated=True),
    Sized(
        "all-default-.2", "`ratio=.2`, float32", RANKS, partial(EVERYTHING, ratio=0.2), scope="all"
    ),
    Sized("all-float16", "float16", NEAREST, _float16, scope="all"),
    Sized("all-onnx", "ONNX Runtime, dynamic int8", RUNTIME, _onnx, scope="all"),
    *(
        Sized(f"all-{name}", title, family, _of_layers(linear, table), scope="all")
        for name, title, family, linear, table in (
            ("int8", "int8, a scale a row", NEAREST, INT8, INT8),
            ("int8-int4", "int8, embedding int4", NEAREST, INT8, INT4),
            ("int4", "int4, groups of 64", NEAREST, INT4, INT4),
            ("int3", "int3, groups of 32", NEAREST, INT3, INT3),
            ("int4-pq", "int4, embedding by product quantisation", PRODUCT, INT4, CODES),
        )
    ),
]
SIZED = {method.name: method for method in (*EMBEDDINGS, *WHOLE)}
