"""A .safetensors file written tensor by tensor: none is in memory longer than it takes to write.

The format: eight bytes with the length N of a header,
N bytes of JSON that say where each tensor lies, then the tensors. Here the header is written last,
into room left for it; blanks fill what it does not need.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from lpgeom.io.atomic import write_atomically

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""What a stored model holds; as the format calls it."""

_ENTRY = 256
"""Room for a tensor's entry in the header, beside its name: enough for its 64 dimensions."""


def write_tensors(path: Path, names: Sequence[str], tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Write a new file with the tensors called `names`, in the order in which they come.

    It appears complete, or not at all.

    Raises
    ------
    ValueError
        A name that was not announced, written already or left out.
    TypeError
        A dtype that the format does not have.
    """
    room = header_size(names) - 8
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    missing = set(names)
    if path.exists():
        raise FileExistsError(f"{path} is there already")

    def write(file: IO[bytes]) -> None:
        at = 0
        file.write(bytes(8 + room))
        for name, tensor in tensors:
            if name not in missing:
                raise ValueError(f"{name}: not a tensor to be written here")
            missing.remove(name)
            dtype = DTYPES.get(tensor.dtype)
            if dtype is None or tensor.layout != torch.strided:
                what = f"{tensor.dtype} {tensor.layout}"
                raise TypeError(f"{name}: a {what} tensor cannot be stored")
            flat = tensor.detach().cpu().contiguous().flatten()
            data = memoryview(flat.view(torch.uint8).numpy() if flat.numel() else b"")
            file.write(data)
            place = [at, at := at + data.nbytes]
            shape = list(tensor.shape)
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": place}
        if missing:
            raise ValueError(f"{path}: {min(missing)} was not written")
        text = json.dumps(header, separators=(",", ":")).encode()
        assert len(text) <= room
        file.seek(0)
        file.write(struct.pack("<Q", room) + text.ljust(room))

    write_atomically(path, write)


def header_size(names: Iterable[str]) -> int:
    """Bytes of a file that are no tensor's."""
    # A name may take up to twelve bytes a character in JSON; alignment to eight.
    room = 2 + sum(len(json.dumps(name)) + _ENTRY for name in names) + 64
    return 8 + -(-room // 8) * 8


def aliases_of(state: Mapping[str, Any]) -> dict[str, str]:
    """Name -> the first name of the same tensor, for names after the first."""
    first: dict[int, str] = {}
    found = {}
    for name, tensor in state.items():
        known = first.setdefault(id(tensor), name)
        if known != name:
            found[name] = known
    return found
