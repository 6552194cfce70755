"""``make demo``: subspaces of a real word embedding, then the model compressed with one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from lpgeom import datasets as data
from lpgeom.cli import main as lpgeom

RATIO = 0.28
TRIED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("the default: mixed ranks", {}),
    ("one subspace, p = 1", {"subspaces": 1, "p": 1.0}),
    ("one subspace, p = 2: the SVD", {"subspaces": 1, "p": 2.0}),
)


def main() -> int:
    """Find and check the weights, say what is run, run it."""
    try:
        path = data.minilm_path()
    except data.MissingData as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    arguments = ["approx", str(path), "--tensor", data.TENSOR, "-k", "96", "192", "288", "-p", "1"]
    print(f"$ lpgeom approx .../{path.name} {' '.join(arguments[2:])}\n", flush=True)
    code = lpgeom(arguments)
    if code == 0:
        compressed(path.parent)
    return code


def compressed(folder: Path) -> None:
    """The model with its embedding 28% smaller: the report, and what sentences make of it."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from lpgeom import nn

    from .sentences import embed

    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = embed(AutoModel.from_pretrained(folder).eval(), tokenizer)
    print(f"\n>>> lpgeom.nn.compress(model, ratio={RATIO}, tokenizer=tokenizer)\n", flush=True)
    lines = ["cosine similarity of sentence embeddings before and after (least, mean of 12):"]
    for name, options in TRIED:
        model = AutoModel.from_pretrained(folder).eval()
        options = options or {"tokenizer": tokenizer}
        report = nn.compress(model, ratio=RATIO, progress=sys.stderr.isatty(), **options)
        if name == TRIED[0][0]:
            print(report.table() + "\n", flush=True)
        cosine = (before * embed(model, tokenizer)).sum(1)
        lines.append(f"  {name:<36}{float(cosine.min()):.4f}  {float(cosine.mean()):.4f}")
    print("\n".join(lines))
