"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lpgeom.cli import to_json
from lpgeom.io.atomic import write_atomically

from . import machine

RESULTS = Path(__file__).resolve().parent / "results"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> str:
    """Aligned columns: the first to the left, the others to the right; floats with four digits."""
    cells = [list(columns), *[[_cell(value) for value in row] for row in rows]]
    widths = [max(len(row[j]) for row in cells) for j in range(len(columns))]
    lines = [title] if title else []
    for i, row in enumerate(cells):
        lines.append(
            "  ".join(
                cell.ljust(width) if j == 0 else cell.rjust(width)
                for j, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
        )
        if i == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of a page."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def seconds(value: float) -> str:
    """Two digits or more: 0.0013, 0.29, 4.4, 50."""
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:#.2g}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(name: str, body: dict[str, Any], path: str | Path | None) -> Path | None:
    """Write `body` with the machine's description; `path` None: nowhere."""
    if path is None:
        return None
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = to_json({"benchmark": name, "machine": machine.describe(), **body}) + "\n"
    json.loads(text)
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def stored(name: str) -> dict[str, Any]:
    """What a benchmark found when it was last run whole; empty if it never was."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def machine_line(description: dict[str, Any]) -> str:
    """The machine in one line, for the head of a table."""
    blas = ", ".join(
        sorted({f"{p['internal_api']} {p['version']}" for p in description["thread_pools"]})
    )
    versions = ", ".join(f"{k} {v}" for k, v in description["versions"].items() if v)
    return (
        f"{description['cpu']}, {description['cores_usable']} cores, "
        f"{description['memory_GiB']} GiB; {blas}; Python {description['python']}, {versions}"
    )
