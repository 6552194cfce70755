"""Read a matrix from a file, without running anything in it.

.npy and .safetensors are memory mapped, .zarr, .h5 and .parquet left where they are (`sources`):
only the blocks that an algorithm reads come into memory.
Everything that can be wrong with a file is a `ReadError` of one line that names the file.
What is read is checked again, as every input is, at the public door (`validation`).
"""

from __future__ import annotations

import csv
import difflib
import itertools
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.sources import ParquetTable, Stored, StoredArray

SUFFIXES = (".npy", ".npz", ".safetensors", ".csv", ".zarr", ".h5", ".hdf5", ".parquet")

NAMELESS = (".npy", ".csv")
"""Types of files that hold one array, without a name."""

_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip


class ReadError(ValueError):
    """A file that cannot be read as what was asked for."""


def read_matrix(path: str | os.PathLike[str], tensor: str | None = None) -> NDArray | Stored:
    """Read a two-dimensional real matrix from a file.

    Parameters
    ----------
    path : path-like
        .npy (memory mapped), .npz, .safetensors (memory mapped), .csv, .zarr, .h5 or .hdf5, or
        .parquet. In a .csv, the first line is a header if one of its fields is not a number;
        fields are separated by commas. The columns of a .parquet are those of the matrix, unless
        it has one only, of vectors.
    tensor : str, optional
        Name of the array, for .npz and .safetensors with more than one; its path inside a .zarr or
        .h5; the column of vectors of a .parquet.

    Returns
    -------
    ndarray, shape (n, d), or Stored
        float64, float32 or integers as stored; float16 and bfloat16 become float32 (exactly).
        From .zarr, .h5 and .parquet, which `approx_subspace`, `certify`, `cost` and `lewis_weights`
        read block by block, a `Stored`: ``numpy.asarray`` of it is the whole matrix.

    Raises
    ------
    ReadError
        If the file is missing, not readable, truncated, of another format, holds objects or
        complex numbers, is not two-dimensional, or `tensor` is not in it (the error lists what is);
        or if the library that reads it is not installed.

    Examples
    --------
    >>> import os, tempfile, numpy as np
    >>> from lpgeom.readers import read_matrix
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "points.npy")
    ...     np.save(path, np.eye(3, 2))
    ...     read_matrix(path).shape
    (3, 2)
    """
    array = _read(path, tensor)
    if array.ndim != 2:
        raise ReadError(f"{path}: {_called(tensor)}has shape {array.shape}, not two dimensions")
    if isinstance(array, Stored):
        return array
    if Path(path).suffix.lower() == ".csv" and array.shape[1] == 1:
        raise ReadError(f"{path}: one column only; are its fields separated by commas?")
    return _usable(array, path)


def read_vector(path: str | os.PathLike[str], tensor: str | None = None) -> NDArray:
    """Read a vector, shape (n,), from the same formats; a single column or row is one too."""
    array = _read(path, tensor)
    if isinstance(array, Stored):
        array = np.asarray(array)
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise ReadError(f"{path}: {_called(tensor)}has shape {array.shape}, not one dimension")
    return _usable(array, path)


def _called(tensor: str | None) -> str:
    return f"array {tensor!r} " if tensor is not None else ""


def _read(path: str | os.PathLike[str], tensor: str | None) -> NDArray | Stored:
    suffix = Path(path).suffix.lower()
    if os.path.isdir(path) and suffix != ".zarr":
        raise ReadError(f"{path}: is a directory, not a file")
    readers: dict[str, Callable[..., NDArray | Stored]] = {
        ".npy": _npy,
        ".npz": _npz,
        ".safetensors": _safetensors,
        ".csv": _csv,
        ".zarr": _zarr,
        ".h5": _hdf5,
        ".hdf5": _hdf5,
        ".parquet": _parquet,
    }
    if suffix not in readers:
        known = ", ".join(SUFFIXES)
        raise ReadError(f"{path}: unknown file type {suffix or '(no suffix)'!r}; known: {known}")
    if tensor is not None and suffix in NAMELESS:
        raise ReadError(f"{path}: a {suffix} file holds one array, which has no name ({tensor!r})")
    try:
        return readers[suffix](path, tensor)
    except ReadError:
        raise
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror or error}") from error
    except MemoryError as error:
        raise ReadError(f"{path}: does not fit into memory") from error
    except ImportError as error:
        raise ReadError(
            f"{path}: a {suffix} file is read with {error.name or 'a library'}, which is not "
            "installed: pip install 'lpgeom[chunked]'"
        ) from error


def _usable(array: NDArray, path: str | os.PathLike[str]) -> NDArray:
    if array.dtype.kind not in "fiub":
        raise ReadError(f"{path}: dtype {array.dtype}; expected real numbers")
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


# ---------------------------------------------------------------- .npy, .npz


def _npy(path: str | os.PathLike[str], _: str | None) -> NDArray:
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ReadError(f"{path}: not a NumPy .npy file")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, TypeError) as error:
        return _npy_without_map(path, error)


def _npy_without_map(path: str | os.PathLike[str], error: Exception) -> NDArray:
    """An empty array cannot be mapped; anything else that failed is told in our words."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(file)
            there = os.path.getsize(path) - file.tell()
    except (ValueError, EOFError, TypeError):
        raise ReadError(f"{path}: its .npy header is damaged") from error
    if dtype.hasobject:
        raise ReadError(f"{path}: holds Python objects; expected real numbers") from error
    wanted = math.prod(shape) * dtype.itemsize
    if there < wanted:
        raise ReadError(
            f"{path}: truncated: {there} of the {wanted} bytes of a {shape} {dtype} array"
        ) from error
    if wanted == 0:
        return np.zeros(shape, dtype)
    raise ReadError(f"{path}: cannot be memory mapped ({error})") from error


def _npz(path: str | os.PathLike[str], tensor: str | None) -> NDArray:
    if os.path.getsize(path) == 0 or not zipfile.is_zipfile(path):
        raise ReadError(f"{path}: not an .npz file, or truncated")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            name = _choose(path, archive.files, tensor)
            array = archive[name]
    except ReadError:
        raise
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise ReadError(f"{path}: holds Python objects; expected real numbers") from error
        raise ReadError(f"{path}: damaged .npz file ({error})") from error
    if not isinstance(array, np.ndarray):  # a member that is no .npy comes back as bytes
        raise ReadError(f"{path}: {name!r} is not an array")
    return array


def _choose(path: str | os.PathLike[str], names: Iterable[str], tensor: str | None) -> str:
    """The wanted name, or the only one; otherwise an error that lists what there is."""
    names = sorted(names)
    if not names:
        raise ReadError(f"{path}: holds no arrays")
    if tensor is None:
        if len(names) == 1:
            return names[0]
        raise ReadError(
            f"{path}: holds {len(names)} arrays, choose one with --tensor: {_few(names)}"
        )
    if tensor in names:
        return tensor
    near = difflib.get_close_matches(tensor, names, n=3, cutoff=0.5)
    near += [name for name in names if tensor in name and name not in near][:3]
    hint = f"near matches: {', '.join(near)}; " if near else ""
    raise ReadError(f"{path}: no array named {tensor!r}; {hint}there are: {_few(names)}")


def _few(names: list[str], most: int = 20) -> str:
    more = f", ... ({len(names) - most} more)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# ---------------------------------------------------------------- .safetensors


def _safetensors(path: str | os.PathLike[str], tensor: str | None) -> NDArray:
    """Map one tensor. The safetensors library checks the file: lengths, overlaps, coverage.

    The mapping is done here because the library's NumPy side copies, and refuses bfloat16.
    """
    from safetensors import SafetensorError, safe_open

    if os.path.getsize(path) == 0:
        raise ReadError(f"{path}: empty file")
    try:
        with safe_open(os.fspath(path), framework="np") as file:
            name = _choose(path, file.keys(), tensor)
    except SafetensorError as error:
        raise ReadError(f"{path}: not a safetensors file, or truncated ({error})") from error
    with open(path, "rb") as raw:
        length = int.from_bytes(raw.read(8), "little")
        entry: dict[str, Any] = json.loads(raw.read(length))[name]
    shape, code = tuple(entry["shape"]), entry["dtype"]
    if code not in _SAFETENSORS_DTYPES:
        raise ReadError(f"{path}: {name!r} has dtype {code}; expected real numbers")
    if 0 in shape:
        return np.zeros(shape, np.float32)
    offset = 8 + length + entry["data_offsets"][0]
    data = np.memmap(path, _SAFETENSORS_DTYPES[code], mode="r", offset=offset, shape=shape)
    return _widen_bfloat16(data) if code == "BF16" else data


def _widen_bfloat16(bits: NDArray) -> NDArray[np.float32]:
    """bfloat16 is the upper half of a float32: shift it into place."""
    wide = bits.astype(np.uint32)
    np.left_shift(wide, 16, out=wide)
    return wide.view(np.float32)


# ---------------------------------------------------------------- .zarr, .h5, .parquet


def _zarr(path: str | os.PathLike[str], tensor: str | None) -> Stored:
    import zarr

    if not os.path.exists(path):
        raise FileNotFoundError(2, "No such file or directory")
    try:
        found = zarr.open(os.fspath(path), mode="r")
        if hasattr(found, "shape"):
            if tensor is not None:
                raise ReadError(f"{path}: holds one array, which has no name ({tensor!r})")
            return StoredArray(found)
        names = [name for name, item in found.members(max_depth=None) if hasattr(item, "shape")]
        return StoredArray(found[_choose(path, names, tensor)])
    except (ReadError, OSError):
        raise
    except Exception as error:  # zarr has no base class for what can be wrong with a store
        raise ReadError(f"{path}: not a Zarr array or group, or damaged ({error})") from error


def _hdf5(path: str | os.PathLike[str], tensor: str | None) -> Stored:
    import h5py

    with open(path, "rb"):  # h5py's own message for a missing file is about its flags
        pass
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ReadError(f"{path}: not an HDF5 file, or truncated ({error})") from error
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    dataset = file[_choose(path, names, None if tensor is None else tensor.strip("/"))]
    if dataset.dtype.kind not in "fiub":
        raise ReadError(f"{path}: dtype {dataset.dtype}; expected real numbers")
    return StoredArray(dataset)


def _parquet(path: str | os.PathLike[str], tensor: str | None) -> Stored:
    import pyarrow
    from pyarrow import parquet

    with open(path, "rb"):
        pass
    try:
        file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        return ParquetTable(file, None if tensor is None else [tensor])
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise ReadError(f"{path}: {error}") from error


# ---------------------------------------------------------------- .csv


def _csv(path: str | os.PathLike[str], _: str | None) -> NDArray[np.float64]:
    try:
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
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: not a text file in UTF-8 ({error.reason})") from error
    except csv.Error as error:
        raise ReadError(f"{path}: not a .csv file ({error})") from error


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
