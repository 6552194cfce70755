"""Compressed models: bytes on disk, seconds a forward pass, memory and seconds to compress.

All times are processor seconds on one thread, so that other programs do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

import lpgeom
from lpgeom import datasets

from . import machine, memory, report, timing

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

WORDS = 64
"""Tokens of a sequence in the timings."""

VARIANTS: dict[str, dict[str, Any]] = {
    "embeddings 28%": {"ratio": 0.28, "subspaces": 1, "p": 1.0},
    "embeddings 28%, entries": {"ratio": 0.28, "objective": "entries"},
    "embeddings 28%, the default": {"ratio": 0.28},
    "embeddings 60%, the default": {"ratio": 0.6},
    "embeddings 28%, 4 subspaces": {"ratio": 0.28, "subspaces": 4, "p": 1.0},
    "linear 28%": {"ratio": 0.28, "layers": "linear", "p": 1.0},
    "linear 50%": {"ratio": 0.5, "layers": "linear", "p": 1.0},
    "all 50%, one budget": {
        "ratio": 0.5,
        "layers": "all",
        "allocate": "global",
        "subspaces": 1,
        "p": 1.0,
    },
}
QUICK = ("embeddings 28%", "embeddings 28%, the default")

TINY = """
import sys, transformers as t
config = t.BertConfig(vocab_size=4000, hidden_size=48, num_hidden_layers=1, num_attention_heads=4,
                      intermediate_size=48, max_position_embeddings=32)
t.BertModel(config).save_pretrained(sys.argv[1])
"""
"""Makes a model whose compression takes what the libraries take, and next to nothing for itself."""

LAYERS = ((384, 384), (384, 1536), (1536, 384), (768, 768), (768, 3072), (3072, 768))
"""(in, out) of BERT's small and base linear layers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=("models", "layers", "cost"))


def run(options: argparse.Namespace) -> dict[str, Any]:
    parts = options.only or ["cost", "models", "layers"]
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(report.machine_line(machine.describe()), flush=True)
    body: dict[str, Any] = {"quick": options.quick, "words": WORDS, "threads": 1}
    with one_thread():
        if "cost" in parts:
            body["cost"] = cost()
        if "models" in parts:
            body["models"] = models(QUICK if options.quick else tuple(VARIANTS), options.quick)
        if "layers" in parts:
            body["layers"] = layers(LAYERS[:1] if options.quick else LAYERS, options.quick)
    return body


@contextmanager
def one_thread() -> Iterator[None]:
    """NumPy, torch and lpgeom on one thread each."""
    import torch

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


# ---------------------------------------------------------------- what compressing takes


def cost() -> dict[str, Any]:
    """Seconds and memory of MiniLM's embedding at 28%, p = 1, certified: the call and the command.

    Each in a fresh process, once to fill the caches of compiled kernels and once measured.
    """
    folder = datasets.minilm_path().parent
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for turn in ("first", "again"):
            out = Path(temporary, turn)
            measured[f"command, {turn}"] = _process(
                ["-m", "lpgeom", "compress", str(folder), "--ratio", ".28", "-p", "1",
                 "--subspaces", "1", "--layers", "embeddings", "--out", str(out), "--quiet"],
            )  # fmt: skip
        tiny = Path(temporary, "tiny")
        _run(["-c", TINY, str(tiny)])
        measured["command, a tiny model"] = _process(
            ["-m", "lpgeom", "compress", str(tiny), "--ratio", ".28", "-p", "1",
             "--subspaces", "1", "--layers", "embeddings", "--out", str(Path(temporary, "out")),
             "--quiet"],
        )  # fmt: skip
        measured["call"] = json.loads(_run(["-m", "benchmarks.nn"]))
    tensor = 30522 * 384 * 4
    table = [
        (name, row["seconds"], row.get("peak_bytes", row.get("growth_bytes", 0)) / tensor)
        for name, row in measured.items()
    ]
    print(report.table(
        ("what", "seconds", "memory / largest tensor"), table,
        "\nMiniLM's embedding, 28% smaller, p = 1, certified (whole processes; the call: what it "
        "adds to the model)",
    ), flush=True)  # fmt: skip
    return {"largest_tensor_bytes": tensor, **measured}


def _run(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, check=False,
        cwd=Path(__file__).resolve().parents[1],
        env={**os.environ, **dict.fromkeys(THREADS, "1")},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
    return done.stdout


def _process(arguments: list[str]) -> dict[str, float]:
    """Processor seconds and peak memory of a Python process."""
    code = (
        "import json, resource, subprocess, sys; "
        "r = subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL); "
        "u = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([r.returncode, u.ru_utime + u.ru_stime, u.ru_maxrss]))"
    )
    status, seconds, peak = json.loads(_run(["-c", code, *arguments]))
    if status:
        raise RuntimeError(f"python {' '.join(arguments)} failed")
    return {"seconds": seconds, "peak_bytes": peak * 1024}


def growth() -> dict[str, float]:
    """What `compress` adds to the memory of a process that has the model and warm kernels."""
    import torch
    from transformers import BertModel

    from lpgeom import nn

    nn.compress(  # kernels compiled, libraries loaded
        torch.nn.Sequential(torch.nn.Embedding(4000, 384)),
        ratio=0.28,
        p=1.0,
        subspaces=1,
        progress=False,
    )
    model = BertModel.from_pretrained(datasets.minilm_path().parent).eval()
    for weight in model.parameters():
        weight.sum()  # mapped from the file: in memory only once it is read
    memory._reset_peak()
    before = memory.status("VmRSS")
    started = time.process_time()
    nn.compress(model, ratio=0.28, p=1.0, subspaces=1, progress=False)
    seconds = time.process_time() - started
    return {"seconds": seconds, "growth_bytes": memory.status("VmHWM") - before}


# ---------------------------------------------------------------- what a compressed model takes


def models(names: tuple[str, ...], quick: bool) -> list[dict[str, Any]]:
    """MiniLM compressed in several ways: size on disk, and forward passes against the dense one."""
    import torch
    from transformers import AutoTokenizer, BertModel

    from lpgeom import nn

    from .sentences import embed

    folder = datasets.minilm_path().parent
    dense = BertModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = embed(dense, tokenizer)
    lpgeom.warmup()
    rows = []
    for name in names:
        model = BertModel.from_pretrained(folder).eval()
        started = time.process_time()
        made = nn.compress(model, progress=False, **VARIANTS[name])
        seconds = time.process_time() - started
        with tempfile.TemporaryDirectory() as temporary:
            nn.save_pretrained(model, temporary, report=made)
            disk = next(Path(temporary).glob("lpgeom-*.safetensors")).stat().st_size
        row: dict[str, Any] = {
            "variant": name,
            "saved": made.saved,
            "report_bytes": made.bytes_after,
            "disk_over_report": disk / made.bytes_after,
            "seconds": seconds,
            "cosine": float((before * embed(model, tokenizer)).sum(1).mean()),
        }
        for batch in (1, 32):
            ids = torch.randint(1000, 30000, (batch, WORDS))
            row[f"time_{batch}"] = _ratio(
                lambda ids=ids: dense(input_ids=ids),  # type: ignore[misc]
                lambda ids=ids, model=model: model(input_ids=ids),  # type: ignore[misc]
                3 if quick else (41 if batch == 1 else 15),
            )
        rows.append(row)
        print(name, {k: round(v, 4) for k, v in row.items() if k != "variant"}, flush=True)
    columns = tuple(rows[0])
    print(report.table(columns, [list(row.values()) for row in rows], (
        f"\nMiniLM, {WORDS} tokens; time_1, time_32: a forward pass over the dense model's, "
        "batch 1 and 32"
    )))  # fmt: skip
    return rows


def layers(shapes: tuple[tuple[int, int], ...], quick: bool) -> list[dict[str, Any]]:
    """One linear layer, dense and in factors: at half the parameters and at half the rank."""
    import torch

    from lpgeom.nn import LowRankLinear

    rows = []
    for d, n in shapes:
        dense = torch.nn.Linear(d, n)
        for name, k in (
            ("half the parameters", n * d // (2 * (n + d))), ("half the rank", min(n, d) // 2),
        ):  # fmt: skip
            layer = LowRankLinear(d, n, k)
            row: dict[str, Any] = {
                "in": d, "out": n, "rank": name, "k": k, "flops": k * (n + d) / (n * d),
            }  # fmt: skip
            for batch in (1, 32):
                x = torch.randn(batch, WORDS, d)
                row[f"time_{batch}"] = _ratio(
                    lambda x=x, dense=dense: dense(x),  # type: ignore[misc]
                    lambda x=x, layer=layer: layer(x),  # type: ignore[misc]
                    5 if quick else 101,
                )
            row["slower"] = "yes" if row["time_32"] > 1.0 else "no"
            rows.append(row)
    columns = tuple(rows[0])
    print(report.table(columns, [list(row.values()) for row in rows], (
        f"\nlinear layers, {WORDS} tokens; times and multiplications over the dense layer's; "
        "slower: at batch 32"
    )))  # fmt: skip
    return rows


def _ratio(dense: Callable[[], Any], other: Callable[[], Any], repeats: int) -> float:
    """Median time of `other` over that of `dense`, in turns."""
    import torch

    with torch.inference_mode():
        for _ in range(3):
            dense(), other()
        ways = {"dense": dense, "other": other}
        seconds, _ = timing.interleaved(ways, repeats, time.process_time)
    return statistics.median(seconds["other"]) / statistics.median(seconds["dense"])


if __name__ == "__main__":
    print(json.dumps(growth()))
