"""NumPy's files: .npy, memory mapped, and .npz."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lpgeom.io.npy import MAGIC, NotNumbers, read_header
from lpgeom.io.readers.names import ReadError, choose, reading
from lpgeom.io.sources import check_inflated

INFLATION = 1032
"""Deflate makes at most that many bytes out of one."""

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    OverflowError,
    RuntimeError,
    AttributeError,
)
"""What zipfile raises on damaged archives."""


def read_npy(path: str | os.PathLike[str], _: str | None) -> NDArray:
    """Map the array; a .npy has no name for it."""
    with open(path, "rb") as file:
        if file.read(6) != MAGIC:
            raise ReadError(f"{path}: not a NumPy .npy file")
        file.seek(0)
        with reading(path, "", ValueError):
            header = read_header(file)
        there = os.fstat(file.fileno()).st_size - header.offset
    if there < header.nbytes:
        raise ReadError(
            f"{path}: truncated: {there} of the {header.nbytes} bytes of a {header.shape} "
            f"{header.dtype} array"
        )
    if header.nbytes == 0:  # nothing to map
        return np.zeros(header.shape, header.dtype, header.order)
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, header.order)


def read_npz(path: str | os.PathLike[str], tensor: str | None) -> NDArray:
    """One array of the archive, in memory; nothing is taken that the file cannot fill."""
    if os.path.getsize(path) == 0 or not zipfile.is_zipfile(path):
        raise ReadError(f"{path}: not an .npz file, or truncated")
    with reading(path, "damaged .npz file", *_DAMAGE), zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        name = choose(path, members, tensor)
        info = archive.getinfo(members[name])
        _check_member(path, info)
        with archive.open(info) as member, reading(path, "", NotNumbers):
            return _array(path, name, info, member)


def _check_member(path: str | os.PathLike[str], info: zipfile.ZipInfo) -> None:
    """Its sizes must be possible, for a name in an archive can claim any, and allowed."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"compressed by method {info.compress_type}, which NumPy does not write")
    most = info.compress_size * (INFLATION if info.compress_type == zipfile.ZIP_DEFLATED else 1)
    if info.compress_size > os.path.getsize(path) or info.file_size > most:
        raise ValueError(f"{info.filename!r} claims to be larger than it can be")
    if info.compress_type == zipfile.ZIP_DEFLATED:
        with reading(path, "", ValueError):
            check_inflated(info.file_size, info.compress_size, repr(info.filename))


def _array(
    path: str | os.PathLike[str], name: str, info: zipfile.ZipInfo, member: IO[bytes]
) -> NDArray:
    if not info.filename.endswith(".npy"):
        raise ReadError(f"{path}: {name!r} is not an array")
    header = read_header(member)
    if info.file_size - header.offset < header.nbytes:
        raise ValueError(f"{name!r} is truncated")
    flat = np.empty(header.nbytes, np.uint8)
    at = 0
    while at < header.nbytes:
        piece = member.read(min(1 << 22, header.nbytes - at))
        if not piece:
            raise EOFError(f"{name!r} is truncated")
        flat[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    member.read()  # to its end, where its checksum is compared
    return flat.view(header.dtype).reshape(header.shape, order=header.order)
