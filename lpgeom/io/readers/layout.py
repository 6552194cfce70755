"""Which part of a table is the matrix: header, names of rows, columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from lpgeom.io.readers.names import ReadError, few


@dataclass(frozen=True)
class Layout:
    """What is said of a table.

    Attributes
    ----------
    header : bool or None
        Whether the first line has the names of the columns; None: find out.
    index_col : str or None
        The column of names of rows, which is left out: its name, or its number from 1.
    columns : tuple of str or None
        The columns of the matrix, in this order; None: all others.
    missing : bool
        Whether missing entries are NaN; they are an error otherwise.
    """

    header: bool | None = None
    index_col: str | None = None
    columns: tuple[str, ...] | None = None
    missing: bool = False

    @property
    def plain(self) -> bool:
        """Whether every column is one of the matrix."""
        return self.index_col is None and self.columns is None

    @property
    def options(self) -> str:
        """The options given that only a table has."""
        given = {
            "--header": self.header,
            "--no-header": self.header is False,
            "--index-col": self.index_col is not None,
            "--columns": self.columns is not None,
        }
        return ", ".join(name for name, here in given.items() if here)

    def chosen(
        self, path: str | os.PathLike[str], names: Sequence[str], width: int
    ) -> tuple[int, ...] | None:
        """Places of the matrix's columns among `width`, some with names; None where it has all.

        A name is looked for first; a number counts columns from 1.
        """
        if self.plain:
            return None

        def place(name: str) -> int:
            found = [j for j, known in enumerate(names) if known == name]
            if len(found) == 1:
                return found[0]
            if found:
                raise ReadError(f"{path}: {len(found)} columns are named {name!r}")
            if name.isdecimal() and 1 <= int(name) <= width:
                return int(name) - 1
            there = f"there are: {few(list(names))}" if names else f"there are {width}, by number"
            raise ReadError(f"{path}: no column named {name!r}; {there}")

        left_out = None if self.index_col is None else place(self.index_col)
        if self.columns is not None:
            return tuple(place(name) for name in self.columns)
        return tuple(j for j in range(width) if j != left_out)


ALL = Layout()
"""Every column, no names of rows, nothing missing."""
