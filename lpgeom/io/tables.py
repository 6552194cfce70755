"""Tables of results: a pandas dataframe where pandas is installed, plain columns elsewhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class Table:
    """Named columns of equal length.

    Holds what a dataframe is asked for here: ``table["cost"]``, ``len(table)``, ``table.columns``,
    ``table.attrs``, ``print(table)``.

    Parameters
    ----------
    columns : mapping of str to sequence
    attrs : mapping, optional
        What is known about the whole.

    Examples
    --------
    >>> from lpgeom.io.tables import Table
    >>> print(Table({"method": ["svd", "fms"], "cost": [2.0, 1.5]}))
    method  cost
    svd        2
    fms      1.5
    """

    def __init__(
        self, columns: Mapping[str, Sequence[Any]], attrs: Mapping[str, Any] | None = None
    ) -> None:
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of different lengths: {sorted(lengths)}")
        self._columns = {name: list(column) for name, column in columns.items()}
        self.attrs = dict(attrs or {})

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._columns)

    def rows(self) -> list[dict[str, Any]]:
        """The rows, each as a mapping."""
        lines = zip(*self._columns.values(), strict=True)
        return [dict(zip(self.columns, line, strict=True)) for line in lines]

    def __getitem__(self, name: str) -> list[Any]:
        return self._columns[name]

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), []))

    def __str__(self) -> str:
        return aligned(self)

    def __repr__(self) -> str:
        return f"Table of {len(self)} rows: {', '.join(self.columns)}"


def frame(columns: Mapping[str, Sequence[Any]], attrs: Mapping[str, Any]) -> Any:
    """A ``pandas.DataFrame`` if pandas is installed, a `Table` otherwise; both with `attrs`."""
    try:
        import pandas
    except ImportError:
        return Table(columns, attrs)
    table = pandas.DataFrame(dict(columns))
    table.attrs.update(attrs)
    return table


def records(table: Any) -> list[dict[str, Any]]:
    """The rows of a dataframe or a `Table`, each as a mapping."""
    if isinstance(table, Table):
        return table.rows()
    return [dict(row) for row in table.to_dict("records")]


def to_csv(table: Any) -> str:
    """Comma-separated values, with a header; floats with all their digits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    for row in records(table):
        writer.writerow(row.values())
    return out.getvalue()


def aligned(table: Any) -> str:
    """Columns for reading: text to the left, numbers to the right with six digits."""
    rows = [[_cell(value) for value in row.values()] for row in records(table)]
    names = [str(name) for name in table.columns]
    text = [any(isinstance(value, str) for value in table[name]) for name in names]
    return in_columns([names, *rows], text)


def in_columns(lines: Sequence[Sequence[str]], left: Iterable[bool]) -> str:
    """Lines of cells below one another, each column to the left or to the right."""
    sides = [str.ljust if to_the_left else str.rjust for to_the_left in left]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(put(cell, w) for put, cell, w in zip(sides, line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "-" if value != value else f"{value:.6g}"
    return str(value)


def in_bytes(number: int) -> str:
    """A size in powers of 1000, as files are told by."""
    value, units = float(number), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000.0
        units.pop(0)
    return f"{value:.3g} {units[0]}" if value < 999.5 else f"{value:.0f} {units[0]}"
