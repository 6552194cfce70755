"""One tensor of a .safetensors file, memory mapped."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io.readers.names import ReadError, choose, reading

_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip


def read_safetensors(path: str | os.PathLike[str], tensor: str | None) -> NDArray:
    """Map one tensor. The safetensors library checks the file: lengths, overlaps, coverage.

    The mapping is done here because the library's NumPy side copies, and refuses bfloat16.
    """
    from safetensors import SafetensorError, safe_open

    if os.path.getsize(path) == 0:
        raise ReadError(f"{path}: empty file")
    with (
        reading(path, "not a safetensors file, or truncated", SafetensorError),
        safe_open(os.fspath(path), framework="np") as file,
    ):
        name = choose(path, file.keys(), tensor)
    with open(path, "rb") as raw:
        length = int.from_bytes(raw.read(8), "little")
        entry: dict[str, Any] = json.loads(raw.read(length))[name]
    shape, code = tuple(entry["shape"]), entry["dtype"]
    if code not in _SAFETENSORS_DTYPES:
        raise ReadError(f"{path}: {name!r} has dtype {code}; expected real numbers")
    if 0 in shape:
        with reading(path, f"{name!r} has the shape {list(shape)}", ValueError):
            return np.zeros(shape, np.float32)
    offset = 8 + length + entry["data_offsets"][0]
    data = np.memmap(path, _SAFETENSORS_DTYPES[code], mode="r", offset=offset, shape=shape)
    return _widen_bfloat16(data) if code == "BF16" else data


def _widen_bfloat16(bits: NDArray) -> NDArray[np.float32]:
    """bfloat16 is the upper half of a float32: shift it into place."""
    wide = bits.astype(np.uint32)
    np.left_shift(wide, 16, out=wide)
    return wide.view(np.float32)
