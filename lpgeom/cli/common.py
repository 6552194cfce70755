"""What the commands share: options, the matrix they read, the files they write."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lpgeom import datasets
from lpgeom.io.readers import SUFFIXES, read_matrix

DATA = "data:"
"""Prefix of a data set's name where a file is expected."""

CERTIFY: dict[str, bool | str] = {"fast": True, "tight": "tight", "none": False}

OPTIONS: dict[str, dict[str, Any]] = {
    "file": {
        "metavar": "FILE",
        "help": f"the matrix: {', '.join(SUFFIXES)}, or {DATA}NAME (see lpgeom data --list)",
    },
    "--tensor": {
        "metavar": "NAME",
        "help": "array to read, if FILE has several (in a .parquet: a column of vectors)",
    },
    "--header": {
        "action": argparse.BooleanOptionalAction,
        "help": "whether the first line of a text file has names of columns (default: find out)",
    },
    "--index-col": {
        "metavar": "COLUMN",
        "help": "of a text file or .parquet: the column of the rows' names, left out; a name, or a "
        "number from 1",
    },
    "--columns": {
        "metavar": "COLUMN",
        "nargs": "+",
        "help": "of a text file or .parquet: the columns of the matrix, by name or number "
        "(default: all)",
    },
    "-k": {"type": int, "nargs": "+", "required": True, "help": "rank, one or several"},
    "-p": {"type": float, "default": 1.0, "help": "exponent >= 1, or inf (default: 1)"},
    "--objective": {
        "choices": ("rows", "entries"),
        "default": "rows",
        "help": "sum over rows of distance^p, or over entries of |difference|^p (default: rows)",
    },
    "--certify": {"choices": tuple(CERTIFY), "default": "fast"},
    "--seed": {"type": int, "default": 0, "help": "seed of all randomness (default: 0)"},
    "--force": {"action": "store_true", "help": "replace existing files"},
    "--json": {"action": "store_true"},
    "--quiet": {"action": "store_true", "help": "no table and no progress bar"},
}
"""Options that several commands have."""


class UsageError(ValueError):
    """A combination of options that cannot be carried out."""


MATRIX = ("file", "--tensor", "--header", "--index-col", "--columns")
"""Which of them say what the matrix is."""


def share(command: argparse.ArgumentParser, *names: str, **own: Any) -> None:
    """Give a command some of `OPTIONS`, with what it says of them itself."""
    for name in names:
        command.add_argument(name, **OPTIONS[name] | own)


def open_dataset(name: str, seed: int = 0) -> datasets.Dataset:
    """A data set; what is missing is an error of the caller."""
    try:
        return datasets.load(name, seed=seed)
    except datasets.MissingData as error:
        raise UsageError(str(error)) from error


def open_matrix(options: argparse.Namespace) -> tuple[Any, NDArray | None]:
    """The matrix that the options of `MATRIX` name, and a data set's true subspace."""
    if not options.file.startswith(DATA):
        return read_matrix(
            options.file, options.tensor, header=options.header, index_col=options.index_col,
            columns=options.columns, missing=getattr(options, "missing", "raise"),
        ), None  # fmt: skip
    chosen = (options.tensor, options.header, options.index_col, options.columns)
    if any(option is not None for option in chosen):
        raise UsageError(f"{options.file}: a data set has no tensors or columns to choose from")
    data = open_dataset(options.file.removeprefix(DATA))
    return data.A, data.truth


def check_output(
    option: str, name: str, suffixes: tuple[str, ...], options: argparse.Namespace, wanted: str = ""
) -> None:
    """Raise what would make writing the file fail, before any work is done."""
    path = Path(name)
    folder = path.parent
    inputs = (options.file, getattr(options, "row_weights", None), getattr(options, "truth", None))
    if not name.endswith(suffixes):
        wrong = wanted or f"the name must end in {' or '.join(suffixes)}"
    elif not folder.is_dir():
        wrong = f"there is no directory {folder}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        wrong = f"the directory {folder} is not writable"
    elif not path.exists():
        return
    elif path.is_dir():
        wrong = "is a directory"
    elif any(x and os.path.exists(x) and os.path.samefile(path, x) for x in inputs):
        wrong = "is an input file"
    elif options.force:
        return
    else:
        wrong = "the file exists (--force replaces it)"
    raise UsageError(f"{option} {path}: {wrong}")
