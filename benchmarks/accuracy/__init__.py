"""What compression costs real models on labelled text: accuracy, agreement, divergence."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .. import machine, report
from . import encoders, evaluation, methods, pages, sized, summary, sums, tasks, tuning
from .packages import cache
from .store import Store

BY: dict[str, Any] = {
    "parameters": (summary.LINES, "ratio", methods.METHODS),
    "bytes": (sums.LINES, "size", sized.SIZED),
}
"""The lines' file, what each is told, and the methods."""

USUAL: dict[str, Any] = {
    "models": list(encoders.MODELS), "tasks": [*tasks.MAIN, "newsgroups", "tweets"],
    "methods": list(methods.EMBEDDINGS), "ratios": [0.1, 0.2, 0.28, 0.4, 0.6],
    "sizes": [], "test_size": 500,
}  # fmt: skip
BYTES: dict[str, Any] = {
    **USUAL, "tasks": [*tasks.MAIN, "newsgroups"], "methods": list(sized.SIZED), "ratios": [],
}  # fmt: skip
QUICK: dict[str, Any] = {
    "models": ["minilm"], "tasks": ["movie", "movie-graded"], "methods": ["svd", "default"],
    "ratios": [0.6], "sizes": [], "test_size": 300,
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", choices=encoders.MODELS, metavar="MODEL")
    parser.add_argument(
        "--by", choices=tuple(BY), default="parameters",
        help="what is saved: parameters, a share --ratios, or bytes, of which --sizes are left",
    )  # fmt: skip
    parser.add_argument("--tasks", nargs="+", choices=tuple(tasks.TASKS), metavar="TASK")
    parser.add_argument(
        "--methods", nargs="+", choices=(*methods.METHODS, *sized.SIZED), metavar="METHOD",
        help=f"{', '.join(methods.METHODS)}; by bytes: {', '.join(sized.SIZED)}",
    )  # fmt: skip
    parser.add_argument("--ratios", nargs="+", type=float, metavar="SHARE")
    parser.add_argument(
        "--sizes", nargs="+", type=float, metavar="SHARE", help="instead of each method's own"
    )
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
    path, told, known = BY[options.by]
    instead = BYTES if options.by == "bytes" else QUICK if options.quick else USUAL
    asked = {name: getattr(options, name) or instead[name] for name in instead}
    folder = cache(options.cache)
    settings = {
        "test_size": asked["test_size"], "seeds": list(evaluation.SEEDS), "length": encoders.LENGTH,
    }  # fmt: skip
    path = options.lines or (folder / f"quick-{path.name}" if options.quick else path)
    store = Store(path, settings, told)
    if options.docs:
        pages.write(Store(summary.LINES, settings), Store(sums.LINES, settings, "size"))
        return {"settings": settings, "lines": len(store.lines)}
    print(report.machine_line(machine.describe()), flush=True)
    splits = {
        corpus: tasks.split(corpus, folder, asked["test_size"])
        for corpus in dict.fromkeys(tasks.TASKS[name][0] for name in asked["tasks"])
    }
    loaded = {name: tasks.of(name, splits[tasks.TASKS[name][0]]) for name in asked["tasks"]}
    for model in asked["models"]:
        _model(model, loaded, [known[name] for name in asked["methods"]], asked, store, folder)
    for model in asked["models"]:
        for title, table in _tables(options.by, store, model, asked):
            print(f"\n{model}, {title}, {', '.join(asked['tasks'])}\n{table}")
    print(f"\n{len(store.lines)} lines in {path}")
    return {"settings": settings, "asked": asked, "lines": len(store.lines)}


def _tables(by: str, store: Store, model: str, asked: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Titles and tables of what was asked for."""
    if by == "bytes":
        for scope in ("embeddings", "all"):
            yield scope, sums.table(store.lines.values(), model, scope, asked["tasks"])
        return
    results = summary.Results(store.lines.values())
    for ratio in asked["ratios"]:
        table = summary.methods_table(results, model, ratio, names=asked["tasks"])
        yield f"{ratio:g} removed", table


def _model(
    name: str,
    loaded: dict[str, tasks.Task],
    wanted: Sequence[methods.Method | sized.Sized],
    asked: dict[str, Any],
    store: Store,
    folder: Path,
) -> None:
    """Everything asked for of one model that is not in the store yet."""
    todo = [
        (method, value, missing)
        for method in wanted
        for value in method.shares(asked)
        if (missing := [t for t in loaded if not store.has(name, t, method.name, value)])
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
        {"model": name, "task": task, "method": "none", store.by: 0.0,
         "train_size": int((loaded[task].train_labels >= 0).sum()), **probes[task].itself()}
        for task in bare
    )  # fmt: skip
    calibration = (
        evaluation.calibration_texts(folder) if any(m.calibrated for m, _, _ in todo) else []
    )
    with tqdm(todo, desc=name) as bar:
        for method, value, missing in bar:
            bar.set_postfix_str(f"{method.name} {value}")
            of_tasks = [probes[task] for task in missing]
            lines = list(
                evaluation.lines_of(encoder, of_tasks, method, store.by, value, calibration)
            )
            store.add(lines)
            for line in lines:
                tqdm.write(
                    f"{name} {line['task']:13s} {method.name:12s} {value}  "
                    f"accuracy {line['accuracy']:5.1f}  drop {line['drop']:5.2f} "
                    f"+- {line['drop_se']:.2f}  agreement {line['agreement']:5.1f}"
                )
