"""Tables and pictures of accuracy against bytes, from the result lines alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import report
from . import sized, tasks
from .store import Line
from .summary import markdown, mean_over_tasks

LINES = report.RESULTS / "bytes.jsonl"
OURS = "ranks and bits"
SIX = (*tasks.MAIN, "newsgroups")
MEANS = {
    ("minilm", "embeddings"): (SIX, ("sentences", "r8", "newsgroups")),
    ("minilm", "all"): (("sentences", "r8", "newsgroups"), SIX),
    ("mpnet", "embeddings"): (("sentences", "r8", "rotten"), tasks.MAIN),
    ("mpnet", "all"): (("sentences", "r8", "rotten"), tasks.MAIN),
}
"""The tasks of the first table, and of another beside it."""

Group = tuple[float, str, list[Line]]


def groups(lines: Iterable[Line], model: str, scope: str, names: Sequence[str]) -> list[Group]:
    """(share of the bytes, method, its lines on all of these tasks), the most bytes first."""
    found: dict[Any, dict[str, Line]] = {}
    for line in lines:
        if line["model"] == model and line.get("scope") == scope:
            found.setdefault((line["method"], line["size"]), {})[line["task"]] = line
    whole = [
        (by_task[names[0]]["share"], method, [by_task[name] for name in names])
        for (method, _), by_task in found.items()
        if method in sized.SIZED and set(names) <= set(by_task)
    ]
    return sorted(whole, key=lambda group: (-group[0], group[1]))


def table(lines: Iterable[Line], model: str, scope: str, names: Sequence[str]) -> str:
    """Every method that was run on all of these tasks."""
    rows = []
    for share, method, of_tasks in groups(lines, model, scope, names):
        cells = [
            f"{100 * share:.1f}%", f"{of_tasks[0]['bytes'] / 1e6:.2f}", sized.SIZED[method].title,
        ]  # fmt: skip
        for name, digits in (("drop", 2), ("agreement", 2), ("cosine", 4), ("kl", 4)):
            value, error = mean_over_tasks(of_tasks, name)
            cells.append(f"{value:.{digits}f} ± {error:.{digits}f}")
        rows.append([f"**{cell}**" for cell in cells] if method.startswith("ours") else cells)
    return markdown(["bytes", "MB", "method", "points lost", "agreement %", "cosine", "KL"], rows)
