"""What compression costs real models on labelled text: accuracy, agreement, divergence."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .. import machine, report
from . import encoders, evaluation, methods, summary, tasks, tuning
from .packages import cache
from .store import Store

USUAL: dict[str, Any] = {
    "models": list(encoders.MODELS), "tasks": [*tasks.MAIN, "newsgroups", "tweets"],
    "methods": list(methods.EMBEDDINGS), "ratios": [0.1, 0.2, 0.28, 0.4, 0.6], "test_size": 500,
}  # fmt: skip
QUICK: dict[str, Any] = {
    "models": ["minilm"], "tasks": ["movie", "movie-graded"], "methods": ["svd", "default"],
    "ratios": [0.6], "test_size": 300,
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
    parser.add_argument("--lines", type=Path, metavar="FILE", help=f"default: {summary.LINES.name}")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="of packages and features")
    parser.add_argument(
        "--tune", nargs="+", type=Path, metavar="TABLE",
        help="only score these embeddings of MiniLM (.npy) on the tasks that choices are made on",
    )  # fmt: skip
    parser.add_argument(
        "--docs", action="store_true", help="only fill the tables and pictures of docs/accuracy.md"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if options.tune:
        return tuning.run(options.tune, cache(options.cache))
    instead = QUICK if options.quick else USUAL
    asked = {name: getattr(options, name) or instead[name] for name in instead}
    folder = cache(options.cache)
    settings = {
        "test_size": asked["test_size"], "seeds": list(evaluation.SEEDS), "length": encoders.LENGTH,
    }  # fmt: skip
    path = options.lines or (folder / "quick.jsonl" if options.quick else summary.LINES)
    store = Store(path, settings)
    if options.docs:
        summary.write(store)
        return {"settings": settings, "lines": len(store.lines)}
    print(report.machine_line(machine.describe()), flush=True)
    splits = {
        corpus: tasks.split(corpus, folder, asked["test_size"])
        for corpus in dict.fromkeys(tasks.TASKS[name][0] for name in asked["tasks"])
    }
    loaded = {name: tasks.of(name, splits[tasks.TASKS[name][0]]) for name in asked["tasks"]}
    for model in asked["models"]:
        _model(model, loaded, asked, store, folder)
    results = summary.Results(store.lines.values())
    for model in asked["models"]:
        for ratio in asked["ratios"]:
            print(f"\n{model}, {ratio:g} removed, {', '.join(asked['tasks'])}")
            print(summary.methods_table(results, model, ratio, names=asked["tasks"]))
    print(f"\n{len(store.lines)} lines in {path}")
    return {"settings": settings, "asked": asked, "lines": len(store.lines)}


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
