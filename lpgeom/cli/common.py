"""What the commands share: the matrix they read, the files they write."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from numpy.typing import NDArray

from lpgeom import datasets
from lpgeom.io.readers import SUFFIXES, read_matrix
from lpgeom.io.sources import Stored

DATA = "data:"
"""Prefix of a data set's name where a file is expected."""


class UsageError(ValueError):
    """A combination of options that cannot be carried out."""


def add_matrix(command: argparse.ArgumentParser) -> None:
    """The arguments FILE and --tensor."""
    command.add_argument(
        "file",
        metavar="FILE",
        help=f"the matrix: {', '.join(SUFFIXES)}, or {DATA}NAME (see lpgeom data --list)",
    )
    command.add_argument(
        "--tensor",
        metavar="NAME",
        help="array to read, if FILE has several (in a .parquet: a column of vectors)",
    )


def open_dataset(name: str, seed: int = 0) -> datasets.Dataset:
    """A data set; what is missing is an error of the caller."""
    try:
        return datasets.load(name, seed=seed)
    except datasets.MissingData as error:
        raise UsageError(str(error)) from error


def open_matrix(options: argparse.Namespace) -> NDArray | Stored:
    """The matrix that FILE and --tensor name."""
    if options.file.startswith(DATA):
        if options.tensor is not None:
            raise UsageError(f"{options.file}: a data set has no tensors to choose from")
        return open_dataset(options.file.removeprefix(DATA)).A
    return read_matrix(options.file, options.tensor)


def check_writable(path: Path, options: argparse.Namespace, option: str = "--out") -> None:
    """Raise what would make writing `path` fail, before any work is done."""
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no directory {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {path}: the directory {folder} is not writable")
    if not path.exists():
        return
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a directory")
    inputs = (options.file, getattr(options, "row_weights", None), getattr(options, "truth", None))
    sources = [name for name in inputs if name is not None]
    if any(os.path.exists(name) and os.path.samefile(path, name) for name in sources):
        raise UsageError(f"{option} {path}: is an input file")
    if not options.force:
        raise UsageError(f"{option} {path}: the file exists (--force replaces it)")
