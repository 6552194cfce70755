"""NumPy's files: .npy, memory mapped, and .npz."""

from __future__ import annotations

import math
import os
import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray

from lpgeom.readers.names import ReadError, choose


def read_npy(path: str | os.PathLike[str], _: str | None) -> NDArray:
    """Map the array; a .npy has no name for it."""
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


def read_npz(path: str | os.PathLike[str], tensor: str | None) -> NDArray:
    """One array of the archive, in memory."""
    if os.path.getsize(path) == 0 or not zipfile.is_zipfile(path):
        raise ReadError(f"{path}: not an .npz file, or truncated")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            name = choose(path, archive.files, tensor)
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
