"""A matrix or a vector from a file: by its suffix to what reads it, and checked afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lpgeom.io.readers.chunked import read_hdf5, read_parquet, read_zarr
from lpgeom.io.readers.delimited import read_table
from lpgeom.io.readers.layout import ALL, Layout
from lpgeom.io.readers.names import ReadError, reading
from lpgeom.io.readers.numpy_files import read_npy, read_npz
from lpgeom.io.readers.safetensors_file import read_safetensors
from lpgeom.io.sources import Stored


@dataclass(frozen=True)
class Reader:
    """What reads the files of one type.

    Attributes
    ----------
    read : callable
        ``read(path, tensor)``: the array of that name, or the only one; of a table
        ``read(path, tensor, layout)``. The door turns an OSError, a MemoryError and an ImportError
        into a `ReadError`.
    names : bool
        Whether the arrays in such a file have names.
    least_columns : int
        A matrix of fewer columns was not read as it was meant.
    package : str
        What to install where the library that reads such a file is missing.
    table : bool
        Whether it has columns with names, and perhaps names of rows.
    """

    read: Callable[..., NDArray | Stored]
    names: bool = True
    least_columns: int = 1
    package: str = "lpgeom[chunked]"
    table: bool = False


TEXT = Reader(read_table, names=False, least_columns=2, table=True)

READERS = {
    ".npy": Reader(read_npy, names=False),
    ".npz": Reader(read_npz),
    ".safetensors": Reader(read_safetensors),
    ".csv": TEXT,
    ".tsv": TEXT,
    ".txt": TEXT,
    ".zarr": Reader(read_zarr),
    ".h5": Reader(read_hdf5),
    ".hdf5": Reader(read_hdf5),
    ".parquet": Reader(read_parquet, table=True),
    ".csv.gz": TEXT,
    ".tsv.gz": TEXT,
    ".txt.gz": TEXT,
}
"""What reads a file, by its suffix."""

SUFFIXES = tuple(READERS)


def read_matrix(
    path: str | os.PathLike[str],
    tensor: str | None = None,
    *,
    header: bool | None = None,
    index_col: str | None = None,
    columns: Sequence[str] | None = None,
    missing: str = "raise",
) -> NDArray | Stored:
    """Read a two-dimensional real matrix from a file.

    Parameters
    ----------
    path : path-like
        .npy (memory mapped), .npz, .safetensors (memory mapped), .csv, .tsv or .txt (.gz), .zarr,
        .h5 or .hdf5, or .parquet. Fields of a text file are separated by tabs, semicolons, commas
        or blanks: the first of these that its first line has. The columns of a .parquet are those
        of the matrix, unless it has one only, of vectors.
    tensor : str, optional
        Name of the array, for .npz and .safetensors with more than one; its path inside a .zarr or
        .h5; the column of vectors of a .parquet.
    header : bool, optional
        Of a text file: whether its first line has names of columns. If not given, it has where one
        of its fields is not a number, or all are years above something else; where numbers may be
        either, that is an error.
    index_col : str, optional
        Of a text file or a .parquet: the column of the rows' names, which is left out. A name, or
        a number from 1.
    columns : sequence of str, optional
        Of a text file or a .parquet: the columns of the matrix, in this order, likewise.
    missing : {"raise", "ignore"}
        Of a text file or a .parquet: whether a missing entry (nothing, NA, null, ...) is an error
        or NaN.

    Returns
    -------
    ndarray, shape (n, d), or Stored
        float64, float32 or integers as stored; float16 and bfloat16 become float32 (exactly).
        From .zarr, .h5 and .parquet, which `approx_subspace`, `certify`, `cost` and `lewis_weights`
        read block by block, a `Stored`: ``numpy.asarray`` of it is the whole matrix.

    Raises
    ------
    ReadError
        If the file is missing, not readable, truncated, of another format, inflates to more bytes
        than the environment variable ``LPGEOM_MAX_INFLATED`` allows (1 GiB), holds objects or
        complex numbers, is not two-dimensional, or `tensor` is not in it (the error lists what is);
        or if the library that reads it is not installed.

    Examples
    --------
    >>> import os, tempfile, numpy as np
    >>> from lpgeom.io.readers import read_matrix
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "points.npy")
    ...     np.save(path, np.eye(3, 2))
    ...     read_matrix(path).shape
    (3, 2)
    """
    if missing not in ("raise", "ignore"):
        raise ValueError(f"missing must be 'raise' or 'ignore', got {missing!r}")
    names = None if columns is None else tuple(columns)
    layout = Layout(header, index_col, names, missing == "ignore")
    array = _read(path, tensor, layout)
    if array.ndim != 2:
        raise ReadError(f"{path}: {_called(tensor)}has shape {array.shape}, not two dimensions")
    if isinstance(array, Stored):
        return array
    if 0 < array.shape[1] < READERS[_suffix(path)].least_columns and columns is None:
        raise ReadError(
            f"{path}: one column only; are its fields separated by tabs, semicolons, commas or "
            "blanks?"
        )
    return _usable(array)


def read_vector(path: str | os.PathLike[str], tensor: str | None = None) -> NDArray:
    """Read a vector, shape (n,), from the same formats; a single column or row is one too."""
    array = _read(path, tensor)
    if isinstance(array, Stored) and array.ndim in (1, 2):
        with reading(path, "", ValueError):
            array = np.asarray(array)
    if isinstance(array, np.ndarray) and array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if isinstance(array, Stored) or array.ndim != 1:
        raise ReadError(f"{path}: {_called(tensor)}has shape {array.shape}, not one dimension")
    return _usable(array)


def _called(tensor: str | None) -> str:
    return f"array {tensor!r} " if tensor is not None else ""


def _suffix(path: str | os.PathLike[str]) -> str:
    suffixes = Path(path).suffixes[-2:] or [""]
    return "".join(suffixes if suffixes[-1].lower() == ".gz" else suffixes[-1:]).lower()


def _read(
    path: str | os.PathLike[str], tensor: str | None, layout: Layout = ALL
) -> NDArray | Stored:
    suffix = _suffix(path)
    if os.path.isdir(path) and suffix != ".zarr":
        raise ReadError(f"{path}: is a directory, not a file")
    if suffix not in READERS:
        known = ", ".join(READERS)
        raise ReadError(f"{path}: unknown file type {suffix or '(no suffix)'!r}; known: {known}")
    if tensor is not None and not READERS[suffix].names:
        raise ReadError(f"{path}: a {suffix} file holds one array, which has no name ({tensor!r})")
    reader = READERS[suffix]
    if layout.options and not reader.table:
        raise ReadError(f"{path}: a {suffix} file is no table: leave {layout.options} away")
    given = (path, tensor, layout) if reader.table else (path, tensor)
    try:
        with reading(path):
            if not os.path.isdir(path):
                with open(path, "rb"):  # h5py's own message for a missing file is about its flags
                    pass
            array = reader.read(*given)
    except ImportError as error:
        raise ReadError(
            f"{path}: a {suffix} file is read with {error.name or 'a library'}, which is not "
            f"installed: pip install '{reader.package}'"
        ) from error
    if array.dtype.kind not in "fiub":
        raise ReadError(f"{path}: dtype {array.dtype}; expected real numbers")
    return array


def _usable(array: NDArray) -> NDArray:
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array
