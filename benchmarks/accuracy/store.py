"""Results as JSON lines: appended as they come, read back when a run goes on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

KEY = ("model", "task", "method")

Line = dict[str, Any]
Key = tuple[Any, ...]


class Store:
    """The lines of a file, one for each model, task, method and ratio (or size: `by`).

    A line counts only for a run with the same `settings` (test size, seeds, length); others are
    kept in the file and left alone. What a killed run had half written is not read, and cut off
    before the first new line.
    """

    def __init__(self, path: Path, settings: dict[str, Any], by: str = "ratio") -> None:
        self.path, self.settings, self.by = path, settings, by
        self.lines: dict[Key, Line] = {}
        self.half_written = False
        if not path.exists():
            return
        whole = path.read_bytes()
        complete = whole[: whole.rfind(b"\n") + 1]
        for text in complete.splitlines():
            line = json.loads(text)
            if all(line.get(name) == value for name, value in settings.items()):
                self.lines[self.key(line)] = line
        self.half_written = len(complete) < len(whole)

    def key(self, line: Line) -> Key:
        """What a line is about."""
        return tuple(line[name] for name in (*KEY, self.by))

    def has(self, model: str, task: str, method: str, value: float | None) -> bool:
        return (model, task, method, value) in self.lines

    def add(self, lines: Iterable[Line]) -> None:
        """Write lines; they are on disk when this returns."""
        lines = [{**line, **self.settings} for line in lines]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.half_written:
            with open(self.path, "r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
            self.half_written = False
        text = "".join(json.dumps(_short(line), allow_nan=False) + "\n" for line in lines)
        with open(self.path, "ab", buffering=0) as file:  # one write: readers see whole lines
            file.write(text.encode())
            os.fsync(file.fileno())
        self.lines |= {self.key(line): line for line in lines}


def _short(value: Any) -> Any:
    """Floats with six digits; None for what is not finite."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return value
