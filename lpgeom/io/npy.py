"""The header of an .npy array: what a file says of its numbers, before memory is taken for them.

NumPy's own reader evaluates the header in ways that raise what the tokenizer, the parser or the
allocator raise, and takes memory for the shape that is claimed. Here whatever is wrong is one
ValueError, and nothing is allocated.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np

MAGIC = b"\x93NUMPY"

LONGEST = 10_000
"""Bytes of a header, as in NumPy."""

MOST_BYTES = 1 << 62
"""Arrays that claim more than this have a damaged header."""

_NUMBERS = re.compile(r"[<>|=]?[biuf][0-9]{1,2}")


@dataclass(frozen=True)
class Header:
    """Shape, order and type of an array, and where in the file its numbers begin."""

    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


class NotNumbers(ValueError):
    """A sound header of an array that holds something else than real numbers."""


def read_header(file: IO[bytes]) -> Header:
    """Read the header at the beginning of a file, or of a member of an archive.

    Raises
    ------
    NotNumbers
        Python objects, text, complex numbers, records.
    ValueError
        A damaged header.
    """
    try:
        return _header(file)
    except NotNumbers:
        raise
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("its .npy header is damaged") from error


def _header(file: IO[bytes]) -> Header:
    """The header, or one of many errors that say little."""
    start = file.read(8)
    if len(start) < 8 or start[:6] != MAGIC or start[6] not in (1, 2, 3):
        raise ValueError("magic")
    size = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(size), "little")
    text = file.read(length) if length <= LONGEST else b""
    if len(text) < length:
        raise ValueError("length")
    said = text.decode("utf-8" if start[6] == 3 else "latin1").strip()
    # Python 2 wrote its long integers with an L.
    fields = ast.literal_eval(re.sub(r"([0-9])L\b", r"\1", said))
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise ValueError("fields")
    shape = fields["shape"]
    if not isinstance(shape, tuple) or len(shape) > 32:
        raise ValueError("shape")
    if not all(type(extent) is int and 0 <= extent <= MOST_BYTES for extent in shape):
        raise ValueError("shape")
    if type(fields["fortran_order"]) is not bool:
        raise ValueError("order")
    dtype = _dtype(fields["descr"])
    # Of an empty array the other extents count too: NumPy multiplies them.
    if math.prod(max(extent, 1) for extent in shape) * dtype.itemsize > MOST_BYTES:
        raise ValueError("size")
    return Header(shape, "F" if fields["fortran_order"] else "C", dtype, 8 + size + length)


def _dtype(descr: Any) -> np.dtype[Any]:
    if isinstance(descr, str) and _NUMBERS.fullmatch(descr):
        return np.dtype(descr)
    if isinstance(descr, str) and descr.lstrip("<>|=")[:1] == "O":
        raise NotNumbers("holds Python objects; expected real numbers")
    try:
        called = str(np.lib.format.descr_to_dtype(descr))[:60]
    except Exception:  # whatever NumPy raises for what describes no type
        raise ValueError("type") from None
    raise NotNumbers(f"dtype {called}; expected real numbers")
