"""Cosine similarities of wordllama's token vectors before and after fewer bytes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lpgeom
from lpgeom import datasets

from .accuracy import coders
from .accuracy.sized import POWER

SIZES = (0.1, 0.05)
PAIRS, SEEDS = 20_000, 3
FREQUENT = 5_000
TOKENIZER = "l2_supercat_tokenizer_config.json"

Weights = NDArray[np.float64]
Code = Callable[[coders.Table, Weights], coders.Coded]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None beside --quick."""


def ours(size: float, power: float = POWER) -> Code:
    """`approx_quantized` at a share of the float32 bytes, rows weighing by their tokens'
    frequencies to a power."""

    def code(table: coders.Table, weights: Weights) -> coders.Coded:
        nbytes = int(size * table.nbytes)
        found = lpgeom.approx_quantized(table, nbytes, row_weights=weights**power, certify=False)
        return found.dense(np.float32), found.nbytes

    return code


METHODS: dict[str, Code] = {
    "int4, groups of 32": lambda table, _: coders.rounded(table, 4, 32),
    "ranks and bits, 10%": ours(SIZES[0]),
    "ranks and bits, 10%, rows alike": ours(SIZES[0], 0.0),
    "product quantisation, 3 numbers a byte": lambda table, w: coders.product_codes(
        table, 3, w**0.5
    ),
    "int2, groups of 32": lambda table, _: coders.rounded(table, 2, 32),
    "ranks and bits, 5%": ours(SIZES[1]),
    "ranks and bits, 5%, rows alike": ours(SIZES[1], 0.0),
    "product quantisation, 6 numbers a byte": lambda table, w: coders.product_codes(
        table, 6, w**0.5
    ),
}


def correlations(before: NDArray, after: NDArray, rows: NDArray[np.intp]) -> list[float]:
    """Spearman's correlation of cosines before and after, of random pairs of rows, by seed."""
    from scipy.stats import spearmanr

    found = []
    for seed in range(SEEDS):
        a, b = np.random.default_rng(seed).choice(rows, (2, PAIRS))
        one, other = (_cosines(table, a[a != b], b[a != b]) for table in (before, after))
        found.append(float(spearmanr(one, other).statistic))
    return found


def _cosines(table: NDArray, a: NDArray[np.intp], b: NDArray[np.intp]) -> Weights:
    x, y = table[a].astype(np.float64), table[b].astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.asarray(np.einsum("ij,ij->i", x, y) / np.maximum(lengths, 1e-300))


def _tokenizer() -> Path:
    """The tokenizer beside the table in its package."""
    files = metadata.files("wordllama") or []
    return Path(str(next(f for f in files if f.name == TOKENIZER).locate()))


def run(options: argparse.Namespace) -> dict[str, Any]:
    from lpgeom import nn

    table = datasets.load("wordllama").A.astype(np.float32)
    if options.quick:
        table = table[:3000]
    weights = nn.token_weights(_tokenizer())[: len(table)]
    frequent = np.argsort(-weights, kind="stable")[:FREQUENT]
    lines = []
    for name, code in METHODS.items():
        started = time.process_time()
        back, taken = code(table, weights)
        line: dict[str, Any] = {
            "method": name, "bytes": taken, "share": taken / table.nbytes,
            "cpu_seconds": time.process_time() - started,
            "frequent": correlations(table, back, frequent),
            "all": correlations(table, back, np.arange(len(table))),
        }  # fmt: skip
        lines.append(line)
        print(
            f"{name:40s} {100 * taken / table.nbytes:5.1f}%  frequent "
            f"{np.mean(line['frequent']):.4f}  all {np.mean(line['all']):.4f}",
            flush=True,
        )
    return {"pairs": PAIRS, "seeds": SEEDS, "frequent": FREQUENT, "results": lines}
