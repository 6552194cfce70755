"""What an embedding table costs MiniLM on the tuning tasks, which are in no table of the docs.

All choices about coders of tables are made by these figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import packages, tasks
from .encoders import Encoder
from .evaluation import Probe, scores_of
from .summary import mean_over_tasks

SCORES = ("drop", "agreement", "cosine", "kl")


def tuned(
    table: NDArray, names: Sequence[str] = tasks.TUNING, folder: Path | None = None
) -> dict[str, tuple[float, float]]:
    """`SCORES` of MiniLM with another word embedding: means over tuning tasks, standard errors.

    Parameters
    ----------
    table : array (30522, 384), float32
        The embedding, or what became of it.
    names : sequence of str
        Tasks, of `tasks.TUNING`.
    folder : Path, optional
        The cache folder.
    """
    encoder, probes = _prepared(folder or packages.cache())
    wanted = [probe for probe in probes if probe.task.name in names]
    lines = list(scores_of(encoder.with_table(table), wanted))
    return {name: mean_over_tasks(lines, name) for name in SCORES}


@cache
def _prepared(folder: Path) -> tuple[Encoder, list[Probe]]:
    encoder = Encoder.load("minilm", folder)
    made = (tasks.of(name, tasks.split(tasks.TASKS[name][0], folder, 500)) for name in tasks.TUNING)
    return encoder, [Probe.of(encoder, task, folder) for task in made]


def run(paths: Sequence[Path], folder: Path) -> dict[str, Any]:
    """A printed line for each stored table (.npy), and all of them."""
    found = {}
    for path in paths:
        found[str(path)] = scores = tuned(np.load(path, allow_pickle=False), folder=folder)
        print(path, *(f" {name} {v:.4f} +- {e:.4f}" for name, (v, e) in scores.items()), flush=True)
    return {"tuned": found}
