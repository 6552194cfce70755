"""GLUE from Hugging Face's library datasets, which fetches it from the hub."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

from lpgeom.datasets import MissingData

from .tasks import Row, Task

NAMES = ("nyu-mll/glue", "glue")
"""Where the hub has it, and how older versions of the library name it."""


def read(task: Task, split: str) -> list[Row]:
    """The rows of a split: train, validation, or one of MNLI's two.

    Raises
    ------
    MissingData
        The library is not installed, cannot fetch GLUE, or has other columns or hidden labels.
    """
    try:
        library = import_module("datasets")
    except ModuleNotFoundError as error:
        if error.name != "datasets":
            raise
        raise MissingData(
            "without --data, GLUE is fetched by the library datasets: pip install datasets "
            "(or --data DIR, a folder with GLUE's own files)"
        ) from None
    table = _fetched(library, task, split)
    wanted = (*task.columns, "label")
    if missing := [name for name in wanted if name not in table.column_names]:
        raise MissingData(
            f"{task.name} of the library datasets has no column {', '.join(missing)}; "
            f"it has {', '.join(table.column_names)}"
        )
    texts = [list(table[name]) for name in task.columns]
    pairs = texts[1] if len(texts) > 1 else [None] * len(texts[0])
    names = getattr(table.features["label"], "names", None)
    labels = [_label(task, value, names, split) for value in table["label"]]
    return [Row(*row) for row in zip(texts[0], pairs, labels, strict=True)]


def _fetched(library: Any, task: Task, split: str) -> Any:
    problems = []
    for name in NAMES:
        try:
            return library.load_dataset(name, task.name, split=split)
        # Of the library, of the hub's client or of the network, all told in the end.
        except Exception as error:
            problems.append(f"{name}: {type(error).__name__}: {str(error).strip()[:200]}")
    raise MissingData(
        f"the library datasets cannot give {task.name} ({split}): {'; '.join(problems)}. "
        "--data DIR reads GLUE's own files instead"
    )


def _label(task: Task, value: Any, names: list[str] | None, split: str) -> float:
    if task.labels:
        name = names[value] if names is not None and 0 <= value < len(names) else str(value)
        label = task.class_of(name)
        if label is not None:
            return label
    elif math.isfinite(value) and value >= 0.0:
        return float(value)
    raise MissingData(
        f"{task.name} ({split}) has a label {value!r}, which is none of "
        f"{', '.join(task.labels) or 'the numbers from 0'}; test sets have no labels"
    )
