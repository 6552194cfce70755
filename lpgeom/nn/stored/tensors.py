"""A .safetensors file written tensor by tensor: none is in memory longer than it takes to write.

The format: eight bytes with the length N of a header,
N bytes of JSON that say where each tensor lies, then the tensors. Here the header is written last,
into room left for it; blanks fill what it does not need.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""What a stored model holds; as the format calls it."""

_ENTRY = 256
"""Room for a tensor's entry in the header, beside its name: enough for its 64 dimensions."""


class TensorWriter:
    """Writes the tensors called `names`, in the order in which they come.

    Used as a context; the file is complete once it ends without an exception, and else removed.
    """

    def __init__(self, path: str | os.PathLike[str], names: Sequence[str]) -> None:
        self._path = Path(path)
        self._names = set(names)
        # A name may take up to twelve bytes a character in JSON; alignment to eight.
        room = 2 + sum(len(json.dumps(name)) + _ENTRY for name in names) + 64
        self._room = -(-room // 8) * 8
        self._header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        self._at = 0

    def __enter__(self) -> TensorWriter:
        self._file = open(self._path, "xb")
        self._file.write(bytes(8 + self._room))
        return self

    def write(self, name: str, tensor: Tensor) -> None:
        """Append a tensor.

        Raises
        ------
        ValueError
            A name that was not announced, or written already.
        TypeError
            A dtype that the format does not have.
        """
        if name not in self._names or name in self._header:
            raise ValueError(f"{name}: not a tensor to be written here")
        dtype = DTYPES.get(tensor.dtype)
        if dtype is None or tensor.layout != torch.strided:
            raise TypeError(f"{name}: a {tensor.dtype} {tensor.layout} tensor cannot be stored")
        flat = tensor.detach().cpu().contiguous().flatten()
        data = memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else memoryview(b"")
        self._file.write(data)
        self._header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [self._at, self._at + data.nbytes],
        }
        self._at += data.nbytes

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._complete()
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        if kind is not None:
            self._path.unlink(missing_ok=True)

    def _complete(self) -> None:
        missing = self._names - self._header.keys()
        if missing:
            raise ValueError(f"{self._path}: {sorted(missing)[0]} was not written")
        header = json.dumps(self._header, separators=(",", ":")).encode()
        assert len(header) <= self._room
        self._file.seek(0)
        self._file.write(struct.pack("<Q", self._room) + header.ljust(self._room))
        self._file.flush()
        os.fsync(self._file.fileno())


def aliases_of(state: Mapping[str, Any]) -> dict[str, str]:
    """Name -> the first name of the same tensor, for names after the first."""
    first: dict[int, str] = {}
    found = {}
    for name, tensor in state.items():
        known = first.setdefault(id(tensor), name)
        if known != name:
            found[name] = known
    return found
