"""Tables in few bits: seconds and memory of large ones, entropy of codes, what look-ups cost."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lpgeom
from lpgeom import datasets
from lpgeom.nn.plan.token_weights import frequency_weights
from lpgeom.quantized.record import QuantizedResult

from . import machine, memory, nn, report
from .accuracy.sized import POWER

TABLES = ((250_002, 768, "float32"), (256_000, 2048, "bfloat16"))
"""Rows, columns and type of large embeddings: those of a multilingual XLM-R, and of a Gemma."""

SIZE = 0.1
CODED = (0.1, 0.033)
"""Shares of MiniLM's table at which the entropy of codes is taken."""

BATCHES = ((1, 16), (1, 64), (32, 64))
"""Texts and tokens of each in a forward pass."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=("tables", "entropy", "forward"))


def run(options: argparse.Namespace) -> dict[str, Any]:
    parts = options.only or ["tables", "entropy", "forward"]
    print(report.machine_line(machine.describe()), flush=True)
    body: dict[str, Any] = {"quick": options.quick, "size": SIZE, "threads": 1}
    if "tables" in parts:
        shapes = [(3000, 64, kind) for _, _, kind in TABLES] if options.quick else TABLES
        body["tables"] = [_table(*shape) for shape in shapes]
    with nn.one_thread():
        if "entropy" in parts:
            body["entropy"] = [_entropy(share, options.quick) for share in CODED]
        if "forward" in parts:
            body["forward"] = _forward(3 if options.quick else 15)
    return body


# ---------------------------------------------------------------- large tables


def _table(n: int, d: int, kind: str) -> dict[str, Any]:
    """Processor seconds and memory of one table, in a process of its own."""
    found: dict[str, Any] = json.loads(
        nn._run(["-m", "benchmarks.quantized", str(n), str(d), kind]).splitlines()[-1]
    )
    print(found, flush=True)
    return found


def measured(n: int, d: int, kind: str) -> dict[str, Any]:
    """`nn.compress` of an embedding of random rows whose columns shrink, by Zipf's law."""
    import torch

    from lpgeom import nn as adapter

    dtype = getattr(torch, kind)
    weight = torch.empty(n, d, dtype=dtype)
    torch.manual_seed(0)
    for rows in weight.split(1 << 13):
        rows.copy_(torch.randn(rows.shape) * torch.linspace(1.5, 0.5, d))
    small = torch.nn.Embedding(2048, d, dtype=dtype)  # kernels compiled, libraries loaded
    options: dict[str, Any] = {"size": SIZE, "progress": False, "certify": False}
    adapter.compress(torch.nn.Sequential(small), row_weights="frequency", **options)
    model = torch.nn.Sequential(torch.nn.Embedding(n, d, _weight=weight))
    memory._reset_peak()
    before, started = memory.status("VmRSS"), time.process_time()
    layer = adapter.compress(model, row_weights="frequency", **options)["0"]
    return {
        "rows": n, "columns": d, "dtype": kind,
        "cpu_seconds": time.process_time() - started,
        "bytes_before": layer.bytes_before, "bytes_after": layer.bytes_after,
        "memory_over_table": (memory.status("VmHWM") - before) / layer.bytes_before,
        "error": layer.error, "int4_error": layer.int4_error,
    }  # fmt: skip


# ---------------------------------------------------------------- the entropy of codes


def _entropy(share: float, quick: bool) -> dict[str, Any]:
    """What an ideal coder of the codes would save of MiniLM's table at that share of its bytes."""
    A = datasets.minilm()[: 2000 if quick else None]
    weights = frequency_weights(len(A)) ** POWER
    found = lpgeom.approx_quantized(
        A, int(share * A.nbytes), row_weights=weights, certify=False
    )  # fmt: skip
    bits, kept = ideal_bits(found)
    line = {
        "share": share, "code_bytes": found.codes.size, "ideal_bytes": bits / 8.0,
        "saved": 1.0 - (bits + 8 * (found.nbytes - found.codes.size)) / (8 * found.nbytes),
        "used_bits": int(kept),
    }  # fmt: skip
    print(line, flush=True)
    return line


def ideal_bits(found: QuantizedResult) -> tuple[float, int]:
    """Bits that an ideal adaptive coder takes for the codes, and those that there are.

    Each component's own b bits, given the bits before them in its byte (which choose the quantiser)
    and its width: ``sum n H(own | before, width)`` with empirical frequencies. A model with more
    contexts would have to pay for their statistics.
    """
    lay, total, kept = found._layout, 0.0, 0
    counts = np.zeros((9, 256), dtype=np.int64)
    for c, start in enumerate(lay.offsets):
        size, stride = int(found.sizes[c]), int(lay.strides[c])
        own = found.codes[start : start + size * stride].reshape(size, stride).astype(np.int64)
        padded = np.pad(own, ((0, 0), (1, 0)))
        for j in np.flatnonzero(found.bits[c]):
            at = lay.byte[c, j]
            pair = (padded[:, at] << 8) | padded[:, at + 1]
            state = (pair >> lay.shift[c, j]) & lay.mask[c, j]
            counts[found.bits[c, j]] += np.bincount(state, minlength=256)
            kept += size * int(found.bits[c, j])
    for b in range(1, 9):
        table = counts[b].reshape(256 >> b, 1 << b).astype(np.float64)
        total += float(_information(table).sum())
    return total, kept


def _information(counts: NDArray) -> Any:
    """``sum n log2(N / n)`` where N is the sum, over the last axis."""
    whole = counts.sum(axis=-1, keepdims=True)
    share = np.divide(counts, whole, out=np.ones_like(counts), where=counts > 0)
    return -(counts * np.log2(share)).sum(axis=-1)


# ---------------------------------------------------------------- forward passes


def _forward(repeats: int) -> list[dict[str, Any]]:
    """A forward pass of MiniLM with its embedding at `SIZE` over the dense model's."""
    import torch
    from transformers import BertModel

    from lpgeom import nn as adapter

    folder = datasets.minilm_path().parent
    dense, model = (BertModel.from_pretrained(folder).eval() for _ in range(2))
    adapter.compress(model, size=SIZE, tokenizer=folder, progress=False, certify=False)
    lines = []
    for batch, words in BATCHES:
        ids = torch.randint(1000, 30000, (batch, words), generator=torch.Generator().manual_seed(0))
        ratio = nn._ratio(
            lambda ids=ids: dense(input_ids=ids),  # type: ignore[misc]
            lambda ids=ids: model(input_ids=ids),  # type: ignore[misc]
            repeats,
        )
        lines.append({"batch": batch, "words": words, "time_over_dense": ratio})
        print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
