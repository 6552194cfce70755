"""GLUE: models fine-tuned on its tasks, then compressed; the paper's protocol."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray
from tqdm import tqdm

from lpgeom.datasets import MissingData

from .. import machine, report
from ..accuracy.encoders import Encoder
from ..accuracy.methods import METHODS, Method
from ..accuracy.packages import cache
from ..accuracy.store import Store
from . import classifiers, summary, training
from .classifiers import Classifier, Source
from .data import Data, digest
from .scores import scored
from .tasks import TASKS, Row, Task

LINES = report.RESULTS / "glue.jsonl"
CALIBRATION_TEXTS = 1024
"""Training texts, their labels unused, that calibrated methods see the layers' inputs on.

More than a layer has inputs: a pooler sees one of them for each text."""

USUAL: dict[str, Any] = {
    "model": ["roberta-base"], "task": ["all"], "methods": ["svd", "rows-1", "default"],
    "ratios": [0.1, 0.2, 0.28, 0.4, 0.6], "epochs": 3, "batch": 32, "lr": 2e-5,
    "max_length": 128, "seeds": [0, 1, 2], "limit": None,
}  # fmt: skip
QUICK: dict[str, Any] = {
    **USUAL, "task": ["sst2"], "methods": ["svd", "default"], "ratios": [0.28], "epochs": 1,
    "seeds": [0], "limit": 500,
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", nargs="+", metavar="NAME",
        help="on the hub, a folder, or " + ", ".join(classifiers.PRESETS),
    )  # fmt: skip
    parser.add_argument(
        "--task", nargs="+", choices=(*TASKS, "all"), metavar="TASK", help=", ".join(TASKS)
    )
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), metavar="METHOD")
    parser.add_argument("--ratios", nargs="+", type=_share, metavar="SHARE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="with GLUE's files; else the hub")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="DIR",
        help="a model fine-tuned already, or a folder with one for each task under its name",
    )  # fmt: skip
    parser.add_argument("--epochs", type=_positive, metavar="N")
    parser.add_argument("--batch", type=_positive, metavar="N", help="training texts of a step")
    parser.add_argument("--lr", type=float, metavar="RATE")
    parser.add_argument("--max-length", type=_positive, metavar="N", help="tokens read of a text")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="a model for each")
    parser.add_argument("--limit", type=_positive, metavar="N", help="texts of each set, at most")
    parser.add_argument("--lines", type=Path, metavar="FILE", help=f"default: {LINES.name}")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="of fine-tuned models")


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _share(text: str) -> float:
    if not 0.0 < (value := float(text)) < 1.0:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, got {value:g}")
    return value


def run(options: argparse.Namespace) -> dict[str, Any]:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    chosen = QUICK if options.quick else USUAL
    asked: dict[str, Any] = {
        name: chosen[name] if (value := getattr(options, name)) is None else value for name in USUAL
    }
    if "all" in asked["task"]:
        asked["task"] = list(TASKS)
    asked |= {name: list(dict.fromkeys(asked[name])) for name in ("model", "task", "seeds")}
    if options.checkpoint is not None and len(asked["model"]) > 1:
        raise MissingData("--checkpoint is of one --model")
    print(report.machine_line(machine.describe()), flush=True)
    folder = cache(options.cache)
    path = options.lines or (folder / "glue-quick.jsonl" if options.quick else LINES)
    recipe = training.Recipe(asked["epochs"], asked["batch"], asked["lr"], asked["max_length"])
    data = Data(options.data, asked["limit"])
    means: dict[str, Any] = {}
    try:
        for model in asked["model"]:
            source = Source.of(model)
            lines: dict[Any, Any] = {}
            for name in asked["task"]:
                tuned = _checkpoint(options.checkpoint, name, len(asked["task"]))
                job = Job(source, TASKS[name], data, recipe, asked["seeds"], tuned, folder)
                lines |= job.run(path, asked["methods"], asked["ratios"]).lines
            wanted = (source.name, asked["task"], asked["methods"], asked["ratios"])
            print(f"\n{summary.table(lines, *wanted)}\n\n{summary.claim(lines, *wanted)}\n")
            means[source.name] = [
                {"method": m, "ratio": r, "drops": {
                    t: lines[source.name, t, m, r]["drop"] for t in asked["task"]
                }}
                for r in asked["ratios"] for m in asked["methods"]
            ]  # fmt: skip
    except KeyboardInterrupt:
        print(f"\nstopped; lines in {path} and models fine-tuned are kept, the same call goes on")
        raise SystemExit(130) from None
    print(f"lines in {path}")
    return {"asked": asked, "drops": means}


def _checkpoint(folder: Path | None, task: str, tasks: int) -> Source | None:
    """The fine-tuned model of a task."""
    if folder is None:
        return None
    if (folder / task / "config.json").exists():
        return Source.of(folder / task)
    if tasks > 1:
        raise MissingData(f"{folder / task} has no model; with several tasks each needs its own")
    if not folder.is_dir():
        raise MissingData(f"--checkpoint {folder} is no folder")
    return Source.of(folder)


@dataclass
class Job:
    """One model on one task."""

    source: Source
    task: Task
    data: Data
    recipe: training.Recipe
    seeds: list[int]
    checkpoint: Source | None
    cache: Path

    def run(self, path: Path, methods: Sequence[str], ratios: Sequence[float]) -> Store:
        """Everything asked for that is not in the file yet."""
        task, name = self.task, self.source.name
        dev = self.data.dev(task)
        texts = [row for rows in dev.values() for row in rows]
        calibrated = any(METHODS[method].calibrated for method in methods)
        train = self.data.train(task) if calibrated or self.checkpoint is None else []
        store = Store(path, self._settings(train, texts))
        todo = [
            (METHODS[method], ratio)
            for ratio in ratios
            for method in methods
            if not store.has(name, task.name, method, ratio)
        ]
        bare = not store.has(name, task.name, "none", 0.0)
        if not todo and not bare:
            return store
        models, seconds = self._models(train)
        base = [model.outputs(texts) for model in models]
        if bare:
            about = {} if seconds is None else {"fine_tune_seconds": seconds}
            line = self._line("none", 0.0, train, about | scored(task, dev, base, base))
            store.add([line])
            tqdm.write(f"{name} {task.title}: score {line['score']:.1f}")
        with tqdm(todo, desc=f"{name} {task.title}") as bar:
            for method, ratio in bar:
                bar.set_postfix_str(f"{method.name} {ratio:g}")
                found = list(self._compressed(models, method, ratio, train, texts))
                after = scored(task, dev, base, [outputs for _, outputs in found])
                # Ranks and errors are of the first seed's model.
                line = self._line(method.name, ratio, train, found[0][0] | after)
                store.add([line])
                tqdm.write(
                    f"{name} {task.title:6s} {method.name:12s} {ratio:4g}  score "
                    f"{line['score']:5.1f}  drop {line['drop']:5.2f} +- {line['drop_se']:.2f}"
                )
        return store

    def _settings(self, train: Sequence[Row], texts: Sequence[Row]) -> dict[str, Any]:
        """What a line must have been made with, to count."""
        settings: dict[str, Any] = {
            "model_digest": self.source.digest,
            "length": self.recipe.length,
            "limit": self.data.limit,
            "dev_digest": digest(texts),
        }
        if self.checkpoint is not None:
            return {**settings, "checkpoint": self.checkpoint.digest}
        return {
            **settings, "checkpoint": None, "train_digest": digest(train), "seeds": self.seeds,
            "epochs": self.recipe.epochs, "batch": self.recipe.batch,
            "lr": float(f"{self.recipe.lr:.6g}"),  # as it is written
        }  # fmt: skip

    def _models(self, train: Sequence[Row]) -> tuple[list[Classifier], list[float] | None]:
        if self.checkpoint is not None:
            one = classifiers.tuned(
                self.checkpoint, self.source.name, self.task, self.recipe.length
            )
            one.model.to(training.device())
            return [one], None
        found = [
            training.trained(self.source, self.task, train, self.recipe, seed, self.cache)
            for seed in self.seeds
        ]
        return [model for model, _ in found], [seconds for _, seconds in found]

    def _line(
        self, method: str, ratio: float, train: Sequence[Row], found: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "model": self.source.name,
            "task": self.task.name,
            "method": method,
            "ratio": ratio,
            "train_size": len(train) if self.checkpoint is None else None,
            **found,
        }

    def _compressed(
        self,
        models: Sequence[Classifier],
        method: Method,
        ratio: float,
        train: Sequence[Row],
        texts: Sequence[Row],
    ) -> Iterator[tuple[dict[str, Any], NDArray]]:
        """What compression did to each seed's model, and what that says of the texts then."""
        calibration = train[:: max(1, len(train) // CALIBRATION_TEXTS)][:CALIBRATION_TEXTS]
        for model in models:
            # The CPU's: solving is there, and calibration batches go where the model is.
            whole = model if model.device.type == "cpu" else model.copy()
            smaller, about = method.applied(
                cast("Encoder", whole), ratio, cast("list[str]", calibration)
            )
            after = cast("Classifier", smaller)
            after.model.to(training.device())
            yield about, after.outputs(texts)
