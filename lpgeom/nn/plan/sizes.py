"""What a `size` says: a share of what there is now, or a number of bytes."""

from __future__ import annotations

import numbers
import re
from typing import Any

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}

_TEXT = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(%|[A-Za-z]*)\s*")

LEAST = 1000
"""Numbers from 1 to this are neither a share nor a size of anything."""


def checked_size(size: Any) -> float | int:
    """A share strictly between 0 and 1, as a float, or a number of bytes, as an int.

    Raises
    ------
    TypeError, ValueError
        Something else.
    """
    accepted = "a share between 0 and 1, a number of bytes, or a text such as '9 MB' or '10%'"
    value, unit = size, ""
    if isinstance(size, str):
        found = _TEXT.fullmatch(size)
        if found is None or found[2].upper() not in ("", "%", *UNITS):
            raise ValueError(f"size must be {accepted}, got {size!r}")
        value, unit = float(found[1]), found[2].upper()
    elif isinstance(size, bool) or not isinstance(size, numbers.Real):
        raise TypeError(f"size must be {accepted}, got {size!r}")
    number = float(value) * (0.01 if unit == "%" else UNITS.get(unit, 1))
    if 0.0 < number < 1.0 and unit in ("", "%"):
        return number
    if unit not in ("", "%") and 1.0 <= number < 2.0**62:
        return int(number + 1e-6)
    if not unit and LEAST <= number < 2.0**62:
        return int(value)
    hint = f" ({number:g}% is {number / 100:g})" if not unit and 1.0 < number < 100.0 else ""
    raise ValueError(f"size must be {accepted}, got {size!r}{hint}")
