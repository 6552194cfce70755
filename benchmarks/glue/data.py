"""The texts of a run: from files or from the library, all or some of them."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lpgeom.datasets import MissingData

from . import files, library
from .tasks import Row, Task


@dataclass(frozen=True)
class Data:
    """Where texts come from, and how many at most of each set."""

    folder: Path | None = None
    limit: int | None = None

    def train(self, task: Task) -> list[Row]:
        """Training texts."""
        return self._some(task, "train", "train")

    def dev(self, task: Task) -> dict[str, list[Row]]:
        """Development texts, by part."""
        return {name: self._some(task, part.file, part.split) for name, part in task.parts.items()}

    def _some(self, task: Task, file: str, split: str) -> list[Row]:
        if self.folder is None:
            rows = library.read(task, split)
        else:
            rows = files.read(self.folder, task, file)
        if len(rows) < 2:
            raise MissingData(f"{task.title} ({file}) has {len(rows)} texts; two are needed")
        return some(rows, self.limit, f"{task.name} {split}")


def some(rows: Sequence[Row], limit: int | None, name: str) -> list[Row]:
    """At most `limit` rows in their order, the same ones whenever the name is the same.

    Examples
    --------
    >>> rows = [Row(f"text {i}", None, 0) for i in range(9)]
    >>> some(rows, None, "x") == rows
    True
    >>> len(some(rows, 4, "x")), some(rows, 4, "x") == some(rows, 4, "x")
    (4, True)
    """
    if limit is None or len(rows) <= limit:
        return list(rows)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [rows[i] for i in np.sort(rng.choice(len(rows), limit, replace=False))]


def digest(rows: Sequence[Row]) -> str:
    """What tells texts and labels from others.

    Examples
    --------
    >>> digest([Row("a", None, 1)]) == digest([Row("a", None, 0)])
    False
    """
    found = hashlib.sha256()
    for text, pair, label in rows:
        found.update(json.dumps([text, pair, float(label)]).encode())
    return found.hexdigest()[:12]
