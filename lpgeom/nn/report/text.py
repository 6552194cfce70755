"""Names and numbers as the page of a compression report writes them: whatever comes in, escaped."""

from __future__ import annotations

import html
import json
from typing import Any

from lpgeom.plots.layers import count, printable


def escaped(value: object) -> str:
    """Text of anything, safe in an element and in a quoted attribute."""
    return html.escape(printable(str(value)), quote=True)


def name_of(name: str) -> str:
    """A layer's name, escaped, that may break after a dot."""
    return escaped(name).replace(".", ".<wbr>")


def plain(value: Any) -> str:
    """An option's value: a string as it is, else JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def number_of(value: float | None) -> tuple[object, str]:
    """(what to sort by, what to show)."""
    return ("", "–") if value is None else (value, f"{value:.4f}")


def seconds_of(value: float) -> str:
    """A time in seconds, or minutes where they are many."""
    if value >= 90.0:
        return f"{value / 60.0:.1f} min"
    return f"{value:.1f} s" if value >= 1.0 else f"{value:.2f} s"


def count_of(number: int) -> str:
    """`count`, not broken before its unit."""
    return count(number).replace(" ", "\N{NO-BREAK SPACE}")


def bytes_of(number: int) -> str:
    """In powers of 1024."""
    value, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024.0 and len(units) > 1:
        value /= 1024.0
        units.pop(0)
    return f"{value:.3g} {units[0]}" if value < 999.5 else f"{value:.0f} {units[0]}"
