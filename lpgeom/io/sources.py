"""Matrices in chunked storage: Zarr arrays, HDF5 datasets, Parquet files; read in ranges of rows.

What is stored in chunks has to be read in chunks: each holds whole compressed pieces, which to
read twice costs twice. `blocks` therefore goes along the stored pieces, in order, each read once.
The libraries are those of ``pip install 'lpgeom[chunked]'``; nothing here imports one before a
file is opened, and arrays that a caller has opened are used as they are.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 4 << 20
"""Stored chunks are read together up to this size; a larger chunk is read by itself."""

FEW_BYTES = 1 << 36
"""Arrays up to this size are taken at their word."""

MOST_BYTES = 1 << 60
"""No storage holds more than this."""

MOST_OF_NUMBERS = 10
"""Measured numbers are not compressed by a larger factor."""

MOST_COMPRESSED = 100_000
"""Numbers that are not all the same are not compressed by a larger factor."""

INFLATED, MOST_INFLATED = "LPGEOM_MAX_INFLATED", 1 << 30
"""Environment variable: the most bytes that something compressed may take; what it is if unset."""

Block = tuple[int, NDArray[Any]]


def check_inflated(inflated: int, stored: int, what: str) -> None:
    """A small file can announce any size, and a compressed one can fill it.

    Raises
    ------
    ValueError
        More than is allowed; says how to allow it.
    """
    text = os.environ.get(INFLATED, "").strip() or str(MOST_INFLATED)
    try:
        most = float(text)
    except ValueError:
        most = math.nan
    if not most > 0:
        raise ValueError(f"the environment variable {INFLATED} must be a number of bytes: {text!r}")
    if inflated > most:
        raise ValueError(
            f"{what}: {stored} stored bytes become {inflated}, and at most {most:.0f} are allowed; "
            f"set the environment variable {INFLATED} to more if the file can be trusted"
        )


class Stored(ABC):
    """A matrix of which ranges of rows can be read.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    pieces : sequence of tuple of int
        Row ranges (lo, hi), in order, that are best read as a whole; several threads may read
        different ones.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: Sequence[tuple[int, int]]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @abstractmethod
    def blocks(self, piece: tuple[int, int]) -> Iterator[Block]:
        """(first row, rows) from the beginning of a piece to its end."""

    def __iter__(self) -> Iterator[Block]:
        """The blocks of all pieces."""
        for piece in self.pieces:
            yield from self.blocks(piece)

    @abstractmethod
    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """A range of rows, read into memory."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self[0 : self.shape[0]]
        return whole if dtype is None else whole.astype(dtype, copy=False)


class StoredArray(Stored):
    """A Zarr array, an HDF5 dataset, or what else has shape, dtype, chunks and slices of rows.

    Parameters
    ----------
    array : zarr.Array, h5py.Dataset, ...
        Stays open as long as this does.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape = tuple(array.shape)
        self.dtype = np.dtype(array.dtype)
        self.pieces = self._pieces()

    def _pieces(self) -> Sequence[tuple[int, int]]:
        if self.ndim != 2 or 0 in self.shape:
            return []
        n, d = self.shape
        _check_announced(self._array, n * d * self.dtype.itemsize)
        # A Zarr shard is stored as one object; HDF5 without chunks may be cut anywhere.
        grain = getattr(self._array, "shards", None) or getattr(self._array, "chunks", None)
        rows = min(int(grain[0]), n) if grain else 1
        _check_piece(rows * d * self.dtype.itemsize, lambda: _stored_bytes(self._array))
        step = rows * max(1, PIECE_BYTES // (rows * d * self.dtype.itemsize))
        return _Ranges(range(0, n, step), step, n)

    def blocks(self, piece: tuple[int, int]) -> Iterator[Block]:
        yield piece[0], self[piece[0] : piece[1]]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        wanted = len(range(*rows.indices(self.shape[0])))
        size = wanted * math.prod(self.shape[1:]) * self.dtype.itemsize
        _check_piece(size, lambda: _stored_bytes(self._array))
        try:
            found = np.asarray(self._array[rows])
        except (OSError, MemoryError, ValueError):
            raise
        except Exception as error:  # of a library's own, for chunks that are damaged
            raise ValueError(f"rows from {rows.start} on cannot be read ({error})") from error
        if found.shape != (wanted, *self.shape[1:]) or found.dtype.kind not in "fiub":
            raise ValueError(f"rows from {rows.start} on are not what the storage announces")
        return found


@dataclass(frozen=True)
class _Ranges(Sequence[tuple[int, int]]):
    """Row ranges of one size, listed only as they are asked for."""

    starts: range
    step: int
    n: int

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return _Ranges(self.starts[at], self.step, self.n)
        lo = self.starts[at]
        return lo, min(lo + self.step, self.n)


def _check_piece(size: int, stored: Callable[[], int | None]) -> None:
    """What is read as a whole must be there, or be small enough to come from nothing."""
    if size > MOST_INFLATED:
        there = stored() or 0
        if there < size // MOST_OF_NUMBERS:
            check_inflated(size, there, "a piece that is read as a whole")


def _stored_bytes(array: Any) -> int | None:
    """What there is of an array; None if its library does not tell."""
    ask = getattr(getattr(array, "id", None), "get_storage_size", None)  # HDF5
    ask = ask or getattr(array, "nbytes_stored", None)  # Zarr
    return None if ask is None else int(ask())


def _check_announced(array: Any, announced: int) -> None:
    """Chunks that are not there count as zeros: a tiny file can announce any number of rows."""
    if announced <= FEW_BYTES:
        return
    stored = _stored_bytes(array)
    if announced > MOST_BYTES or (stored is not None and stored < announced // MOST_COMPRESSED):
        there = "" if stored is None else f", and holds {stored}"
        raise ValueError(f"announces {announced} bytes{there}")


class ParquetTable(Stored):
    """The columns of a Parquet file: numbers, or one column of vectors of one length.

    Parameters
    ----------
    file : pyarrow.parquet.ParquetFile
    columns : list of str, optional
        All if not given.
    missing : bool
        Whether missing values are NaN, and the columns of integers that have room for it.

    Raises
    ------
    TypeError
        A column that holds neither numbers nor vectors of numbers; vectors beside other columns.
    ValueError
        No such column. Missing values (unless `missing`) and vectors of other lengths are errors
        where they are read.
    """

    def __init__(
        self, file: Any, columns: list[str] | None = None, *, missing: bool = False
    ) -> None:
        self._file = file
        self._missing = missing
        self._lock = threading.Lock()
        schema = file.schema_arrow
        names = list(schema.names) if columns is None else columns
        unknown = [name for name in names if name not in schema.names]
        if unknown:
            raise ValueError(
                f"no column named {unknown[0]!r}; there are: {', '.join(schema.names)}"
            )
        self._names = names
        n = file.metadata.num_rows
        groups = [file.metadata.row_group(g) for g in range(file.num_row_groups)]
        sizes = [group.num_rows for group in groups]
        for group in groups:
            parts: list[Any] = [group.column(j) for j in range(group.num_columns)]
            _check_piece(
                sum(part.total_uncompressed_size for part in parts),
                partial(sum, [part.total_compressed_size for part in parts]),
            )
        if sum(sizes) != n:
            raise ValueError(f"announces {n} rows, and holds {sum(sizes)}")
        ranges = list(itertools.pairwise(itertools.accumulate(sizes, initial=0)))
        self.pieces = [(lo, hi) for lo, hi in ranges if hi > lo]
        self._group = {lo: g for g, (lo, hi) in enumerate(ranges) if hi > lo}
        self._vectors = len(names) == 1 and _is_list(schema.field(names[0]).type)
        self.dtype = self._common_type([schema.field(name) for name in names])
        self.shape = (n, self._width(n))
        self._cursor: tuple[int, Iterator[Block]] = (-1, iter(()))

    def _common_type(self, fields: list[Any]) -> np.dtype[Any]:
        found = []
        for field in fields:
            inner = field.type.value_type if self._vectors else field.type
            try:
                found.append(np.dtype(inner.to_pandas_dtype()))
            except (NotImplementedError, TypeError):
                found.append(np.dtype(object))  # a type that NumPy lacks: refused by name below
            if found[-1].kind not in "iuf":
                raise TypeError(
                    f"column {field.name!r} is of type {field.type}, not numbers (choose columns)"
                )
        common = np.result_type(*found)
        return np.result_type(common, np.float32) if self._missing else common

    def _width(self, n: int) -> int:
        if not self._vectors:
            return len(self._names)
        size = getattr(self._file.schema_arrow.field(self._names[0]).type, "list_size", None)
        if size is not None:
            return int(size)
        first = next(self._file.iter_batches(batch_size=1, columns=self._names), None)
        return 0 if first is None else len(first.column(0)[0].as_py() or ())

    def blocks(self, piece: tuple[int, int]) -> Iterator[Block]:
        lo = piece[0]
        rows = max(1, PIECE_BYTES // max(1, self.shape[1] * self.dtype.itemsize))
        with self._lock:
            batches = self._file.iter_batches(
                batch_size=rows,
                row_groups=[self._group[lo]],
                columns=self._names,
                use_threads=False,
            )
        while True:
            with self._lock:  # one reader a file
                batch = next(batches, None)
            if batch is None:
                break
            yield lo, self._matrix(batch, lo)
            lo += batch.num_rows
        if lo != piece[1]:
            raise ValueError(f"the rows from {lo} to {piece[1]} are announced and not there")

    def _matrix(self, batch: Any, lo: int) -> NDArray[Any]:
        for name, column in zip(self._names, batch.columns, strict=True):
            inner = column.flatten() if self._vectors else column
            if not self._missing and (column.null_count or inner.null_count):
                raise ValueError(f"column {name!r} has missing values in the rows from {lo} on")
        if not self._vectors:
            columns = [c.to_numpy(zero_copy_only=False) for c in batch.columns]
            return np.stack(columns, axis=1).astype(self.dtype, copy=False)
        values = inner.to_numpy(zero_copy_only=False)
        n, d = batch.num_rows, self.shape[1]
        lengths = getattr(column, "value_lengths", None)
        even = lengths is None or bool((lengths().to_numpy(zero_copy_only=False) == d).all())
        if values.size != n * d or not even:
            raise ValueError(
                f"column {self._names[0]!r}: not every vector from row {lo} on has length {d}"
            )
        return values.reshape(n, d)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        lo, hi, _ = rows.indices(self.shape[0])
        out = np.empty((max(hi - lo, 0), self.shape[1]), dtype=self.dtype)
        # Ranges asked for one after the other go on where the last one ended.
        at, blocks = self._cursor
        if at != lo:
            blocks = (
                block for piece in self.pieces if piece[1] > lo for block in self.blocks(piece)
            )
        for first, block in blocks:
            part = block[max(lo - first, 0) : max(hi - first, 0)]
            start = max(first - lo, 0)
            out[start : start + len(part)] = part
            if first + len(block) >= hi:
                rest = block[hi - first :]
                self._cursor = hi, itertools.chain([(hi, rest)] if len(rest) else [], blocks)
                break
        return out


def _is_list(kind: Any) -> bool:
    return hasattr(kind, "value_type") and str(kind).split("<")[0].endswith("list")


def stored(A: Any) -> Stored | None:
    """A as something stored in chunks, if it is: a `Stored`, an open array, a ParquetFile."""
    if isinstance(A, Stored):
        return A
    if type(A).__module__.startswith("pyarrow.") and hasattr(A, "iter_batches"):
        return ParquetTable(A)
    array_like = all(hasattr(A, name) for name in ("shape", "dtype", "chunks", "__getitem__"))
    if array_like and not isinstance(A, np.ndarray) and isinstance(A.dtype, np.dtype):
        return StoredArray(A)
    return None
