"""What compression costs real models on labelled text: accuracy, agreement, divergence."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .. import machine, report
from . import encoders, evaluation, methods, tasks
from .packages import cache
from .store import Store

LINES = report.RESULTS / "accuracy.jsonl"
RATIOS = (0.1, 0.2, 0.28, 0.4, 0.6)
QUICK: dict[str, Any] = {
    "models": ["minilm"], "tasks": ["movie", "tweets"], "methods": ["svd", "default"],
    "ratios": [0.28, 0.6], "test_size": 300,
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", choices=encoders.MODELS, metavar="MODEL")
    parser.add_argument("--tasks", nargs="+", choices=tuple(tasks.TASKS), metavar="TASK")
    parser.add_argument(
        "--methods", nargs="+", choices=tuple(methods.METHODS), metavar="METHOD",
        help=", ".join(methods.METHODS),
    )  # fmt: skip
    parser.add_argument("--ratios", nargs="+", type=float, metavar="SHARE")
    parser.add_argument("--test-size", type=int, metavar="N", help="test texts of a task")
    parser.add_argument("--lines", type=Path, metavar="FILE", help=f"default: {LINES.name}")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="of packages and features")


def run(options: argparse.Namespace) -> dict[str, Any]:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    usual: dict[str, Any] = {
        "models": list(encoders.MODELS), "tasks": [*tasks.MAIN, "newsgroups", "tweets"],
        "methods": list(methods.EMBEDDINGS), "ratios": list(RATIOS), "test_size": 500,
    }  # fmt: skip
    asked: dict[str, Any] = {
        name: getattr(options, name) or (QUICK if options.quick else usual)[name] for name in usual
    }
    print(report.machine_line(machine.describe()), flush=True)
    folder = cache(options.cache)
    settings = {
        "test_size": asked["test_size"], "seeds": list(evaluation.SEEDS), "length": encoders.LENGTH,
    }  # fmt: skip
    path = options.lines or (folder / "quick.jsonl" if options.quick else LINES)
    store = Store(path, settings)
    splits = {
        corpus: tasks.split(corpus, folder, asked["test_size"])
        for corpus in dict.fromkeys(tasks.TASKS[name][0] for name in asked["tasks"])
    }
    loaded = {name: tasks.of(name, splits[tasks.TASKS[name][0]]) for name in asked["tasks"]}
    for model in asked["models"]:
        _model(model, loaded, asked, store, folder)
    wanted = [
        line
        for line in store.lines.values()
        if line["model"] in asked["models"]
        and line["task"] in asked["tasks"]
        and line["method"] in ("none", *asked["methods"])
        and line["ratio"] in (0.0, *asked["ratios"])
    ]
    print(f"\n{len(wanted)} lines in {path}")
    return {"settings": settings, "asked": asked}


def _model(
    name: str, loaded: dict[str, tasks.Task], asked: dict[str, Any], store: Store, folder: Path
) -> None:
    """Everything asked for of one model that is not in the store yet."""
    todo = [
        (methods.METHODS[method], ratio, missing)
        for ratio in asked["ratios"]
        for method in asked["methods"]
        if (missing := [t for t in loaded if not store.has(name, t, method, ratio)])
    ]
    bare = [task for task in loaded if not store.has(name, task, "none", 0.0)]
    if not todo and not bare:
        return
    encoder = encoders.Encoder.load(name, folder)
    probes = {
        task: evaluation.Probe.of(encoder, loaded[task], folder)
        for task in tqdm(loaded, desc=f"{name}: heads", leave=False)
    }
    store.add(
        {"model": name, "task": task, "method": "none", "ratio": 0.0,
         "train_size": int((loaded[task].train_labels >= 0).sum()), **probes[task].itself()}
        for task in bare
    )  # fmt: skip
    calibration = (
        evaluation.calibration_texts(folder) if any(m.calibrated for m, _, _ in todo) else []
    )
    with tqdm(todo, desc=name) as bar:
        for method, ratio, missing in bar:
            bar.set_postfix_str(f"{method.name} {ratio:g}")
            of_tasks = [probes[task] for task in missing]
            lines = list(evaluation.lines_of(encoder, of_tasks, method, ratio, calibration))
            store.add(lines)
            for line in lines:
                tqdm.write(
                    f"{name} {line['task']:13s} {method.name:12s} {ratio:4g}  "
                    f"accuracy {line['accuracy']:5.1f}  drop {line['drop']:5.2f} "
                    f"+- {line['drop_se']:.2f}  agreement {line['agreement']:5.1f}"
                )
