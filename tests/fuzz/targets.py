"""What is fuzzed: a function of bytes that may end in its documented exceptions, and in no other.

A target writes the bytes to a file of its kind and reads it as a user would, to the last row.
Whatever else comes out (another exception, a warning, a file that should not be there, memory that
the input cannot account for) is a finding.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lpgeom import FactorResult, StreamingCoreset, SubspaceResult
from lpgeom.io import validation
from lpgeom.io.readers import ReadError, read_matrix, read_vector
from lpgeom.io.sources import Stored
from lpgeom.records.files import record_kind

Target = Callable[[bytes, Path], None]

MOST_MEMORY = 384 << 20
"""Bytes by which one input may raise the peak of the process."""

MOST_ENTRIES = 1 << 22
"""Matrices that announce more entries are opened and not read."""


class Finding(AssertionError):
    """Something that no input may cause."""


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """No warning, no huge allocation, no file beside the input."""
    before = _peak()
    names = set(os.listdir(folder.parent))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            yield
        except Warning as warning:
            raise Finding(f"a warning: {warning!r}") from warning
    if _peak() - before > MOST_MEMORY:
        raise Finding(f"{(_peak() - before) >> 20} MiB for one input")
    if set(os.listdir(folder.parent)) != names:
        raise Finding("a file appeared")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _refused(error: BaseException) -> None:
    """An error whose cause was that memory ran out is a finding: it was tried."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            raise Finding("memory ran out") from error
        cause = cause.__cause__


def matrix(suffix: str) -> Target:
    """A file for `read_matrix`, and `read_vector`, then every entry of it."""

    def target(data: bytes, folder: Path) -> None:
        path = folder / f"input{suffix}"
        path.write_bytes(data)
        with watched(folder):
            _read(path)

    return target


def _read(path: Path) -> None:
    for read in (read_matrix, read_vector):
        for name in (None, "b"):
            try:
                array: Any = read(path, name)
            except ReadError as error:
                _refused(error)
                if "\n" in str(error) or str(path) not in str(error):
                    raise Finding(f"not one line with the file's name: {error}") from error
                continue
            if int(np.prod([int(x) for x in array.shape], dtype=object)) > MOST_ENTRIES:
                continue
            try:
                _look(array)
            except (ValueError, TypeError, OSError) as error:
                _refused(error)


def _look(array: Any) -> None:
    """The door's checks; storage has to give every row that it announces."""
    if array.ndim != 2:
        np.isfinite(array).all()
        return
    source = validation.check_rows(array)
    validation.largest_entries(source)
    if isinstance(source, Stored):
        count = sum(len(block) for _, block in source)
        if count != source.shape[0]:
            raise Finding(f"{count} rows of the {source.shape[0]} announced")


def zarr(data: bytes, folder: Path) -> None:
    """A directory: the metadata, a line of three dashes, a chunk."""
    path = folder / "input.zarr"
    shutil.rmtree(path, ignore_errors=True)
    meta, _, chunk = data.partition(b"\n---\n")
    (path / "c" / "0").mkdir(parents=True)
    (path / "zarr.json").write_bytes(meta)
    (path / "c" / "0" / "0").write_bytes(chunk)
    with watched(folder):
        _read(path)


def record(kind: type[Any]) -> Target:
    """A file for ``load`` of a result or a stream; what loads must save and load again."""

    def target(data: bytes, folder: Path) -> None:
        path = folder / "input.npz"
        path.write_bytes(data)
        with watched(folder):
            record_kind(path)
            try:
                found = kind.load(path)
            except ValueError as error:
                _refused(error)
                return
            repr(found)
            if hasattr(found, "summary"):
                found.summary()
                json.dumps(found.to_dict())
            found.save(path)
            kind.load(path)

    return target


def recipe(data: bytes, folder: Path) -> None:
    """``lpgeom.json`` beside fitting tensors."""
    from .models import load, with_recipe

    with_recipe(data, folder)
    with watched(folder):
        load(folder)


def tensors(data: bytes, folder: Path) -> None:
    """The tensors of a model, with a recipe that has their checksum."""
    from .models import load, with_tensors

    with_tensors(data, folder)
    with watched(folder):
        load(folder)


def hugging_face(data: bytes, folder: Path) -> None:
    """The tensors of a directory, as ``lpgeom compress`` opens them."""
    from .models import open_directory

    with watched(folder):
        open_directory(data, folder)


TARGETS: dict[str, Target] = {
    "npy": matrix(".npy"),
    "npz": matrix(".npz"),
    "safetensors": matrix(".safetensors"),
    "csv": matrix(".csv"),
    "h5": matrix(".h5"),
    "parquet": matrix(".parquet"),
    "zarr": zarr,
    "result": record(SubspaceResult),
    "factors": record(FactorResult),
    "stream": record(StreamingCoreset),
    "recipe": recipe,
    "tensors": tensors,
    "directory": hugging_face,
}
