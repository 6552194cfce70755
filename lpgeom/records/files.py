"""Records on disk: one npz file, arrays plus a JSON header, no pickle.

The archive's members are stored, not compressed, so a file can never unfold into more than its own
size. `header.npy` holds the JSON text as bytes; every array of the record lies in a member of its
own and is named in the header by ``{"$array": name}``. Non-finite floats, tuples and nested
mappings have such tags too, so that what is loaded equals what was saved, type for type.

Loading builds the records from checked pieces and never runs code. Whatever is wrong with a file,
once it could be opened, is a ValueError that names the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lpgeom._version import __version__
from lpgeom.io.atomic import write_atomically
from lpgeom.io.npy import read_header

Record = TypeVar("Record")

FORMAT_VERSION = 2
READ = (1, 2)
"""Versions that can be read. 1 had the figures of a result beside the certificate."""

_HEADER = "header"
_ARRAY_KINDS = "fiub"
_MAX_ARRAYS = 10_000
# What zipfile, NumPy's header parser and the JSON decoder raise on damaged input.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, ValueError, TypeError, KeyError, IndexError,
    EOFError, OverflowError, RuntimeError, RecursionError, MemoryError, OSError,
)  # fmt: skip


def write_record(path: str | os.PathLike[str], kind: str, values: Any) -> None:
    """Write nested records and mappings of numbers, strings and arrays, completely or not at all.

    `kind` is the last word of the file's format, "lpgeom.<kind>".
    """
    encoder = _Encoder()
    body = encoder.encode(values, kind)
    header = {
        "format": f"lpgeom.{kind}",
        "version": FORMAT_VERSION,
        "written_by": f"lpgeom {__version__}",
        "result": body,
    }
    text = json.dumps(header, allow_nan=False).encode()
    members = {_HEADER: np.frombuffer(text, dtype=np.uint8), **encoder.arrays}

    def write(file: IO[bytes]) -> None:
        with _archive(file) as archive:
            for name, array in members.items():
                # A fixed date: the same record gives the same bytes.
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    write_atomically(path, write)


def read_record(
    path: str | os.PathLike[str], kind: str, word: str, build: Callable[[Any, int], Record]
) -> Record:
    """What `build` makes of values that `write_record` wrote, and of the version of their format.

    `word` names it in messages.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:  # a missing or unreadable file stays an OSError
        try:
            arrays = _read_members(file)
            header = _read_header(arrays, kind)
            return build(_decode(header["result"], arrays), header["version"])
        except _DAMAGE as error:
            detail = str(error) or type(error).__name__
            raise ValueError(f"{name}: not a readable lpgeom {word} ({detail})") from error


def record_kind(path: str | os.PathLike[str]) -> str | None:
    """The `kind` a file was written with; None if it is not a readable record."""
    with open(path, "rb") as file:
        try:
            header = json.loads(_read_members(file)[_HEADER].tobytes())
            return str(header["format"]).removeprefix("lpgeom.")
        except _DAMAGE:
            return None


@contextlib.contextmanager
def _archive(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """A ZipFile to write to, whose closing never takes the place of what ended the writing.

    After an interrupt inside a member, ZipFile's own exit raises a ValueError about the open
    member, and Ctrl-C would look like a bad file.
    """
    archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
    try:
        yield archive
        archive.close()
    except BaseException:
        # The file is given up; closed now, so that the collector does not try it again later.
        with contextlib.suppress(Exception):
            archive.close()
        raise


class _Encoder:
    """Turns a value into JSON, and puts its arrays aside under names."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray] = {}
        # Equal arrays, such as the result's and the certificate's basis, are stored once.
        self._known: dict[tuple[tuple[int, ...], str, bytes], str] = {}

    def encode(self, value: Any, where: str) -> Any:
        if isinstance(value, np.ndarray):
            return {"$array": self._put_aside(value, where)}
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"$float": repr(value)}
        if isinstance(value, tuple):
            return {"$tuple": [self.encode(v, f"{where}.{i}") for i, v in enumerate(value)]}
        if isinstance(value, list):
            return [self.encode(v, f"{where}.{i}") for i, v in enumerate(value)]
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
            value = {name: getattr(value, name) for name in names}
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str) or key.startswith("$"):
                    raise TypeError(f"cannot save {where}: keys are plain strings, got {key!r}")
            return {key: self.encode(v, f"{where}.{key}") for key, v in value.items()}
        raise TypeError(f"cannot save {where}: a value of type {type(value).__name__}")

    def _put_aside(self, array: NDArray, where: str) -> str:
        if array.dtype.kind not in _ARRAY_KINDS or array.dtype.itemsize > 8:
            raise TypeError(f"cannot save {where}: an array of dtype {array.dtype}")
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest = hashlib.sha256(little.tobytes()).digest()
        name = self._known.setdefault(
            (little.shape, little.dtype.str, digest), f"a{len(self._known)}"
        )
        self.arrays[name] = little
        return name


def _read_members(file: IO[bytes]) -> dict[str, NDArray]:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        if len(infos) > _MAX_ARRAYS:
            raise ValueError(f"{len(infos)} members")
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise ValueError("compressed members; lpgeom stores them plain")
        if sum(info.file_size for info in infos) > size:
            raise ValueError("members larger than the file")
        arrays: dict[str, NDArray] = {}
        for info in infos:
            name, suffix = os.path.splitext(info.filename)
            if suffix != ".npy" or name in arrays:
                raise ValueError(f"unexpected member {info.filename!r}")
            arrays[name] = _parse_array(archive.read(info), name)
        return arrays


def _parse_array(data: bytes, name: str) -> NDArray:
    """An .npy member, with its claimed shape held against the bytes that are there."""
    try:
        header = read_header(io.BytesIO(data))
    except ValueError as error:
        raise ValueError(f"array {name!r}: {error}") from error
    dtype, there = header.dtype, len(data) - header.offset
    if data[6:8] != b"\x01\x00":
        raise ValueError(f"array {name!r} has an unknown .npy version")
    if dtype.kind not in _ARRAY_KINDS or dtype.itemsize > 8:
        raise ValueError(f"array {name!r} has dtype {dtype}")
    if header.nbytes != there:
        raise ValueError(f"array {name!r} has shape {header.shape} but {there} bytes")
    flat = np.frombuffer(data, dtype, math.prod(header.shape), header.offset)
    # A copy, in native order: writable and free of the member's bytes.
    native = flat.astype(dtype.newbyteorder("="))
    return native.reshape(header.shape, order=header.order)


def _read_header(arrays: Mapping[str, NDArray], kind: str) -> dict[str, Any]:
    if _HEADER not in arrays:
        raise ValueError("no header: written by another program?")
    header = json.loads(arrays[_HEADER].tobytes().decode(), parse_constant=_refuse_constant)
    if not isinstance(header, dict) or not str(header.get("format")).startswith("lpgeom."):
        raise ValueError("its header is not lpgeom's")
    if header["format"] != f"lpgeom.{kind}":
        raise ValueError(f"it holds a {str(header['format']).removeprefix('lpgeom.')[:40]}")
    if (version := header.get("version")) not in READ:
        raise ValueError(
            f"format version {version!r}; lpgeom {__version__} reads versions up to {READ[-1]}"
        )
    return header


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _decode(value: Any, arrays: Mapping[str, NDArray]) -> Any:
    if isinstance(value, list):
        return [_decode(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    tag = next((key for key in value if key.startswith("$")), "")
    if not tag:
        return {key: _decode(v, arrays) for key, v in value.items()}
    (content,) = value.values()
    if tag == "$array":
        return arrays[content]
    if tag == "$tuple":
        return tuple(_decode(v, arrays) for v in content)
    if tag == "$float" and content in ("inf", "-inf", "nan"):
        return float(content)
    raise ValueError(f"unknown tag {tag!r}")
