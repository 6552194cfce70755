"""Layers of a model as the rows of a picture: who shares a row, what it is called, how high it is.

A model of a few layers has a row for each. In one of many, layers whose names differ in numbers
only ("encoder.layer.0.output.dense", "encoder.layer.1.output.dense", ...) share a row, with a line
for each of them inside, so that the eye compares like with like and the page stays short.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MANY = 24  # layers; beyond it, rows are shared

# Heights in inches: space above all, the label above the lines, a line of its own, the lines of a
# shared row (each, and all together at most), and the gap below.
TOP, LABEL, LINE, SHARED, SHARED_MOST, GAP = 0.06, 0.2, 0.15, 0.085, 1.7, 0.13


@dataclass(frozen=True)
class Row:
    """Layers that share a row. `numbers`: what tells them apart; empty in a row of one."""

    label: str
    layers: tuple[Any, ...]
    numbers: tuple[str, ...] = ()

    @property
    def pitch(self) -> float:
        """Height of a line."""
        if len(self.layers) == 1:
            return LINE
        return min(SHARED, SHARED_MOST / len(self.layers))

    def total(self, field: str) -> int:
        """Sum of an attribute over the layers."""
        return sum(int(getattr(layer, field)) for layer in self.layers)


def rows_of(layers: Sequence[Any]) -> list[Row]:
    """Rows in the order of their first layers; shared where there are many layers."""
    if len(layers) <= MANY:
        return [Row(printable(layer.name), (layer,)) for layer in layers]
    groups: dict[str, list[tuple[Any, str]]] = {}
    for layer in layers:
        parts = layer.name.split(".")
        pattern = ".".join("*" if part.isdecimal() else part for part in parts)
        numbers = ".".join(part for part in parts if part.isdecimal())
        groups.setdefault(pattern, []).append((layer, numbers))
    rows = []
    for pattern, members in groups.items():
        alike, names = zip(*members, strict=True)
        if len(members) == 1:
            rows.append(Row(printable(alike[0].name), alike))
        else:
            rows.append(Row(f"{printable(pattern)} ×{len(members)}", alike, names))
    return rows


def places(rows: Iterable[Row]) -> tuple[list[float], list[np.ndarray], float]:
    """Where each row's label and lines are, downward in inches, and the height of all."""
    labels, lines, top = [], [], TOP
    for row in rows:
        labels.append(top + LABEL / 2)
        first = top + LABEL + row.pitch / 2
        lines.append(first + row.pitch * np.arange(len(row.layers)))
        top += LABEL + row.pitch * len(row.layers) + GAP
    return labels, lines, max(top, LABEL)


def printable(text: str) -> str:
    """Text of one line that any file format takes: no control characters, no lone surrogates."""

    def mark(c: str) -> str:
        if c == "\N{NO-BREAK SPACE}":
            return c
        return c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}"

    return "".join(map(mark, text))


def abbreviate(name: str, width: int) -> str:
    """At most `width` columns, the middle left out: both ends of a layer's name say most.

    Examples
    --------
    >>> abbreviate("encoder.layer.11.attention.output.dense", 24)
    'encoder…ion.output.dense'
    """
    if columns(name) <= width:
        return name
    head, tail = "", ""
    for mark in name:
        if columns(head + mark) > (width - 1) // 3:
            break
        head += mark
    for mark in reversed(name):
        if columns(head + tail + mark) > width - 1:
            break
        tail = mark + tail
    return f"{head}…{tail}"


def columns(text: str) -> int:
    """How wide text is, in Latin letters."""
    return sum(2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in text)


def count(number: float) -> str:
    """A count in three figures.

    Examples
    --------
    >>> count(999), count(23_440_896), count(1_500_000_000)
    ('999', '23.4 M', '1.5 B')
    """
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if abs(number) >= 0.9995 * size:
            return f"{float(f'{number / size:.3g}'):g} {unit}"
    return f"{number:g}"


def ratio_text(ratio: float) -> str:
    """A ratio rounded up, so that what is certified is not overstated.

    Examples
    --------
    >>> ratio_text(1.0071), ratio_text(16.2), ratio_text(float("inf"))
    ('1.008', '16.200', '∞')
    """
    if not math.isfinite(ratio):
        return "∞"
    # The allowance is for decimal numbers that binary ones miss by a little.
    return f"{math.ceil(ratio * 1000.0 - 1e-6) / 1000.0:.3f}"
