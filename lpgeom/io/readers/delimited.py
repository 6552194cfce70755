"""Tables in text files: separators and headers are found out, and which field is wrong if one is.

`read_table` goes the straight way where it can: a large file through pyarrow, if that is installed,
numbers alone through NumPy. Whatever these will not take goes field by field, which says what is
wrong with it, if anything is.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import os
import re
import zlib
from array import array as numbers
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io.readers.layout import Layout
from lpgeom.io.readers.names import ReadError, reading
from lpgeom.io.sources import check_inflated

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None")
"""What stands for a missing entry: what R, pandas, databases and spreadsheets write."""

SEPARATORS = ("\t", ";", ",")
"""Looked for in that order in the first line; blanks separate fields where there is none."""

SNIFFED = 20
"""Lines that say whether the first of them is a header."""

YEARS = (1500.0, 2100.0)

LARGE = 4 << 20
"""Bytes of a file for which pyarrow is worth its import."""

Path = str | os.PathLike[str]


def read_table(path: Path, _: str | None, layout: Layout) -> NDArray[np.float64]:
    """The fields asked for as float64, missing ones NaN if that is wanted."""
    what = "not a text file in UTF-8, or no table"
    with reading(path, what, csv.Error, UnicodeDecodeError, EOFError, zlib.error):
        with opened(path) as file:
            table = Table.sniffed(path, file, layout)
        for straight in (table.by_arrow, table.by_numpy):
            if (found := straight()) is not None:
                return found
        return table.by_field()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """The text of a file; of a compressed one no more than is allowed."""
    with open(path, "rb") as raw:
        plain: Any = raw
        if os.fspath(path).lower().endswith(".gz"):
            plain = io.BufferedReader(Inflated(path, raw))
        with io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as file:
            yield file


class Inflated(io.RawIOBase):
    """What a .gz file holds, counted."""

    def __init__(self, path: Path, raw: IO[bytes]) -> None:
        self._path = path
        self._file = gzip.GzipFile(fileobj=raw)
        self._stored = os.fstat(raw.fileno()).st_size
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._file.readinto(buffer)
        self._count += taken
        with reading(self._path, "", ValueError):
            check_inflated(self._count, self._stored, "a compressed table")
        return taken


@dataclass(frozen=True)
class Table:
    """How a text file is to be read.

    Attributes
    ----------
    path : path-like
    separator : str or None
        None: blanks.
    header : int
        Lines up to the end of the header; 0: there is none.
    width : int
        Fields of a line.
    chosen : tuple of int or None
        The fields that are columns of the matrix; None: all.
    missing : bool
    """

    path: Path
    separator: str | None
    header: int
    width: int
    chosen: tuple[int, ...] | None = field(default=None)
    missing: bool = False

    @classmethod
    def sniffed(cls, path: Path, file: IO[str], layout: Layout) -> Table:
        """By its first lines, and what was said of it."""
        start = list(itertools.islice(file, SNIFFED))
        separator = _separator([line for line in start if not _blank(line)])
        records = _records(itertools.chain(start, file), separator)
        head = list(itertools.islice(records, SNIFFED))
        if not head:
            raise ReadError(f"{path}: no rows of numbers")
        at, names = head[0]
        rows = [fields for _, fields in head]
        header = layout.header
        if header is None:
            header = _has_header(path, rows, layout)
        if not header:
            at, names = 0, []
        width = len(names) or len(rows[0])
        if header and len(rows) > 1 and len(rows[1]) == width + 1 and layout.index_col == "1":
            names = ["", *names]  # R leaves out the name of the names
            width += 1
        if header and not names[0].strip() and layout.plain:
            # What a data frame's row index looks like: a column of it would be silently wrong.
            raise ReadError(
                f"{path}: line {at}, column 1: empty field (a row index? --index-col 1)"
            )
        chosen = layout.chosen(path, [name.strip() for name in names], width)
        return cls(path, separator, at, width, chosen, layout.missing)

    def by_arrow(self) -> NDArray[np.float64] | None:
        """Large files by pyarrow, where it takes them as they are."""
        if self.separator is None or os.path.getsize(self.path) < LARGE:
            return None
        try:
            import pyarrow
            from pyarrow import csv as arrow
        except ImportError:
            return None
        names = [str(j) for j in range(self.width)]
        wanted = names if self.chosen is None else [names[j] for j in self.chosen]
        with opened(self.path) as file:
            try:
                found = arrow.read_csv(
                    getattr(file, "buffer"),  # noqa: B009 - not in the type of all text files
                    read_options=arrow.ReadOptions(column_names=names, skip_rows=self.header),
                    parse_options=arrow.ParseOptions(delimiter=self.separator),
                    convert_options=arrow.ConvertOptions(
                        column_types=dict.fromkeys(wanted, pyarrow.float64()),
                        include_columns=wanted,
                        null_values=list(MISSING) if self.missing else [],
                    ),
                )
            except (pyarrow.ArrowException, UnicodeDecodeError, ValueError):
                return None
        if not found.num_rows:
            return None
        return np.stack([c.to_numpy(zero_copy_only=False) for c in found.columns], axis=1)

    def by_numpy(self) -> NDArray[np.float64] | None:
        """Numbers alone, in every field, by NumPy."""
        if self.chosen is not None:
            return None
        with opened(self.path) as file:
            self._skip_header(file)
            lines = (line for line in file if not _blank(line))
            first = next(lines, None)
            if first is None:
                return None
            try:
                found = np.loadtxt(
                    itertools.chain([first], lines),
                    dtype=np.float64,
                    delimiter=self.separator,
                    comments=None,
                    quotechar='"',
                    ndmin=2,
                )
            except UnicodeDecodeError:
                raise
            except ValueError:
                return None
        return found if found.shape[1] == self.width else None

    def by_field(self) -> NDArray[np.float64]:
        """Field by field, or what is wrong with the first that is."""
        values = numbers("d")
        with opened(self.path) as file:
            records = _records(file, self.separator)
            if self.header:
                next(records)
            for line, fields in records:
                if len(fields) != self.width:
                    more = len(fields) == self.width + 1 and self.header
                    raise ReadError(
                        f"{self.path}: line {line} has {len(fields)} fields, expected {self.width}"
                        + (" (names of rows? --index-col 1)" if more else "")
                    )
                for j in range(self.width) if self.chosen is None else self.chosen:
                    values.append(self._number(fields[j], line, j + 1))
        if not values:
            raise ReadError(f"{self.path}: no rows of numbers")
        width = self.width if self.chosen is None else len(self.chosen)
        return np.array(values).reshape(-1, width)

    def _skip_header(self, file: IO[str]) -> None:
        if self.header:
            next(_records(file, self.separator))

    def _number(self, text: str, line: int, column: int) -> float:
        text = text.strip()
        if self.missing and text in MISSING:
            return np.nan
        if _is_number(text):
            return float(text)
        what = f"{text[:40]!r} is not a number" if text else "empty"
        if text in MISSING:
            what += " (a missing entry? --missing ignore)"
        elif "," in text and _is_number(text.replace(",", ".", 1)):
            what += ": it has a decimal comma; write a point"
        elif column == 1 and self.chosen is None:
            what += " (names of rows? --index-col 1)"
        raise ReadError(f"{self.path}: line {line}, column {column}: {what}")


def _separator(lines: list[str]) -> str | None:
    """What the first line has, quotes left out; blanks where there is none, if the next has any."""
    first, second = [re.sub('"[^"]*"', "", line) for line in [*lines, "", ""][:2]]
    blanks = None if len((second or first).split()) > 1 else ","
    return next((s for s in SEPARATORS if s in first), blanks)


def _blank(line: str) -> bool:
    """Tabs between which nothing stands are a line of missing entries."""
    return not line.strip(" \r\n\f\v")


def _records(file: Iterable[str], separator: str | None) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each line that is not blank."""
    if separator is None:
        for number, line in enumerate(file, 1):
            fields = line.split()
            if fields:
                # NumPy's savetxt marks its header so.
                yield number, fields[1:] if fields[0] == "#" else fields
        return
    reader = csv.reader(file, delimiter=separator)
    for fields in reader:
        if len(fields) > 1 or any(field.strip() for field in fields):
            yield reader.line_num, fields


def _has_header(path: Path, rows: list[list[str]], layout: Layout) -> bool:
    """Whether the first line is a header.

    It is, if a field of it is neither a number nor missing, or if all are years and what follows is
    not. Where evenly rising numbers stand apart from what follows, or count the columns from 0,
    either may be meant, and a wrong guess would be a wrong answer.
    """
    first = rows[0]
    if not all(_is_number(x) or (layout.missing and x.strip() in MISSING) for x in first):
        return True
    if len(rows) == 1 or not all(map(_is_number, first)):
        return False
    values = np.array(first, dtype=np.float64)
    below = [np.array([float(x) for x in row if _is_number(x)]) for row in rows[1:]]
    found = np.concatenate(below)
    if len(values) < 2 or found.size == 0 or not np.isfinite(values).all():
        return False
    apart = bool(((values < found.min()) | (values > found.max())).all())
    years = (values >= YEARS[0]) & (values <= YEARS[1]) & (values == np.round(values))
    if apart and years.all() and len(set(values.tolist())) == len(values):
        return True
    steps = np.diff(values)
    even = bool(steps[0] > 0.0 and np.allclose(steps, steps[0], rtol=1e-9))
    goes_on = any(len(r) == len(values) and np.allclose(np.diff(r), steps) for r in below)
    counted = np.array_equal(values, np.arange(len(values)))
    told = (apart and len(values) > 3) or (counted and len(values) > 2)
    if told and even and not goes_on:
        raise ReadError(
            f"{path}: line 1 ({', '.join(first[:3])}, ...) may be a header, or a row of numbers: "
            "say --header or --no-header"
        )
    return False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
