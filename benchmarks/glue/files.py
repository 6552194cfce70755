"""GLUE's own files: tab-separated values, in which a quotation mark is a character like another."""

from __future__ import annotations

import math
from pathlib import Path

from lpgeom.datasets import MissingData

from .tasks import Row, Task

SHORT = 0.01
"""Share of rows that may have too few columns, as a few of QQP's have; they are left out."""


def read(folder: Path, task: Task, name: str) -> list[Row]:
    """The rows of ``folder/task/name.tsv``.

    MRPC may also be as Microsoft has it: msr_paraphrase_train.txt, of which dev_ids.tsv names the
    pairs of the development set.

    Raises
    ------
    MissingData
        No such file, columns that are missing, or labels that the task does not have.

    Examples
    --------
    >>> import tempfile
    >>> from benchmarks.glue.tasks import TASKS
    >>> with tempfile.TemporaryDirectory() as place:
    ...     path = Path(place, "SST-2", "dev.tsv")
    ...     path.parent.mkdir()
    ...     _ = path.write_text("sentence\\tlabel\\na \\"fine\\" film\\t1\\n")
    ...     read(Path(place), TASKS["sst2"], "dev")
    [Row(text='a "fine" film', pair=None, label=1)]
    """
    path = folder / task.folder / f"{name}.tsv"
    if path.exists():
        return [_row(task, fields, where) for fields, where in _table(path, task)]
    if task.name == "mrpc":
        return _microsoft(folder / task.folder, task, name)
    raise MissingData(
        f"{path} is not there; --data is a folder with GLUE's files in it, "
        f"here {task.folder}/{name}.tsv"
    )


def _microsoft(folder: Path, task: Task, name: str) -> list[Row]:
    """MRPC's rows, its training texts split by the list of identifiers that GLUE has made."""
    path, listed = folder / "msr_paraphrase_train.txt", folder / "dev_ids.tsv"
    for needed in (path, listed):
        if not needed.exists():
            raise MissingData(
                f"{needed} is not there; MRPC is train.tsv and dev.tsv, or "
                "msr_paraphrase_train.txt and dev_ids.tsv (GLUE's mrpc_dev_ids.tsv)"
            )
    dev = {tuple(line.split("\t")[:2]) for line in _lines(listed)}
    table = _table(path, task, ("#1 ID", "#2 ID"))
    return [
        _row(task, fields, where)
        for fields, where in table
        if ((fields["#1 ID"], fields["#2 ID"]) in dev) == (name == "dev")
    ]


def _lines(path: Path) -> list[str]:
    # Not splitlines: some texts have other characters in them that it takes for ends of lines.
    text = path.read_text(encoding="utf-8-sig", errors="strict")
    return [line.removesuffix("\r") for line in text.split("\n") if line.removesuffix("\r")]


def _table(
    path: Path, task: Task, more: tuple[str, ...] = ()
) -> list[tuple[dict[str, str], tuple[Path, int]]]:
    """Rows by column, and where each is."""
    lines = _lines(path)
    first = 0 if task.header else 1
    columns = list(task.header) or (lines[0].split("\t") if lines else [])
    wanted = (*task.texts, task.label, *more)
    if missing := [name for name in wanted if name not in columns]:
        raise MissingData(
            f"{path} has no column {', '.join(missing)}; its first line names "
            f"{', '.join(columns) or 'nothing'}"
        )
    rows, short = [], []
    for number, line in enumerate(lines[first:], first + 1):
        values = line.split("\t")
        if len(values) < len(columns):
            short.append(number)
        else:
            rows.append((dict(zip(columns, values, strict=False)), (path, number)))
    if len(short) > SHORT * (len(rows) + len(short)):
        raise MissingData(
            f"{path} has {len(short)} rows with fewer columns than {len(columns)}, "
            f"the first in line {short[0]}"
        )
    return rows


def _row(task: Task, fields: dict[str, str], where: tuple[Path, int]) -> Row:
    text, *pair = (fields[name] for name in task.texts)
    value = fields[task.label]
    label: float | None
    if task.labels:
        label = task.class_of(value)
    else:
        try:
            label = float(value)
        except ValueError:
            label = None
        label = label if label is not None and math.isfinite(label) else None
    if label is None:
        known = ", ".join(task.labels) or "numbers"
        path, number = where
        raise MissingData(
            f"{path}, line {number}: {task.label} is {value!r}; {task.title} has {known}"
        )
    return Row(text, pair[0] if pair else None, label)
