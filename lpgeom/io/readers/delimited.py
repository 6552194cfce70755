"""Numbers in a .csv file, and which of its fields is wrong if one is."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from lpgeom.io.readers.names import ReadError, reading


def read_csv(path: str | os.PathLike[str], _: str | None) -> NDArray[np.float64]:
    """All fields, but for a header line's, as float64."""
    with reading(path, "not a text file in UTF-8, or no .csv", csv.Error, UnicodeDecodeError):
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = _header_width(path, file)
        with open(path, newline="", encoding="utf-8-sig") as file:
            if header:
                next(_records(file))
            lines = (line for line in file if not line.isspace())
            first = next(lines, None)
            if first is None:
                raise ReadError(f"{path}: no rows of numbers")
            try:
                array = np.loadtxt(
                    itertools.chain([first], lines),
                    dtype=np.float64,
                    delimiter=",",
                    comments=None,
                    quotechar='"',
                    ndmin=2,
                )
            except ValueError as error:
                _explain(path, header)
                raise ReadError(f"{path}: {error}") from error
        if header and array.shape[1] != header:
            _explain(path, header)
        return array


def _records(file: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each line that is not blank."""
    reader = csv.reader(file)
    for fields in reader:
        if len(fields) > 1 or any(field.strip() for field in fields):
            yield reader.line_num, fields


def _header_width(path: str | os.PathLike[str], file: Iterable[str]) -> int:
    """Number of fields of the header line, 0 if the first line is numbers already."""
    line, first = next(_records(file), (0, []))
    if not first:
        raise ReadError(f"{path}: no rows of numbers")
    numbers = [_is_number(field) for field in first]
    if all(numbers):
        return 0
    if not first[0].strip():
        # What a data frame's row index looks like: taking it as a column would be silently wrong.
        raise ReadError(
            f"{path}: line {line}, column 1: empty field (write the table without its row index)"
        )
    return len(first)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _explain(path: str | os.PathLike[str], header: int) -> None:
    """Go through a .csv that was refused, and name the first field that is wrong."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        records = _records(file)
        width = header
        if header:
            next(records)
        for line, fields in records:
            width = width or len(fields)
            if len(fields) != width:
                raise ReadError(f"{path}: line {line} has {len(fields)} fields, expected {width}")
            for column, field in enumerate(fields, 1):
                if not _is_number(field):
                    what = f"{field.strip()[:40]!r} is not a number" if field.strip() else "empty"
                    raise ReadError(f"{path}: line {line}, column {column}: {what}")
