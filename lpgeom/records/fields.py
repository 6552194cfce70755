"""What the fields of a record may hold, declared once in its annotations; saving and loading.

A type says what a field is: ``int``, ``str``, another record, a tuple of them. ``Annotated`` says
more: ``Annotated[float, real(0.0)]``. A check is a function of the value and of the fields read
before it; what is wrong with a value it says in an `Unfit`.
"""

from __future__ import annotations

import dataclasses
import math
import os
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Self, Union, get_args, get_origin, get_type_hints

import numpy as np

from lpgeom.records.base import Array, CertificateError
from lpgeom.records.files import read_record, write_record

Known = Mapping[str, Any]
Check = Callable[[Any, Known], Any]
"""The value as it is kept, or an `Unfit`."""


class Unfit(ValueError):
    """Says what was wanted instead."""


def real(low: float, high: float = math.inf, *, finite: bool = True) -> Check:
    """A number between two others."""

    def check(value: Any, known: Known) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Unfit("a number")
        value = float(value)
        # Written so that NaN fails.
        if not low <= value <= high or (finite and math.isinf(value)):
            raise Unfit(f"a {'finite ' if finite else ''}number in [{low:g}, {high:g}]")
        return value

    return check


def fits(test: Callable[[Any], bool], wanted: str) -> Check:
    """A value that passes a test."""

    def check(value: Any, known: Known) -> Any:
        if not test(value):
            raise Unfit(wanted)
        return value

    return check


def count(low: float) -> Check:
    """An integer that is not below another; True is none."""
    return fits(lambda value: type(value) is int and value >= low, f"an integer >= {low:g}")


def one_of(*words: str) -> Check:
    """One of these words."""
    return fits(lambda value: value in words, " or ".join(words))


def array(shape: Callable[[Known], tuple[int | None, ...]]) -> Check:
    """A finite float64 array, of a shape that follows from the fields before it; None: any."""

    def check(value: Any, known: Known) -> Array:
        wanted = shape(known)
        good = type(value) is np.ndarray and value.dtype == np.float64  # no mask
        if (
            not good
            or value.ndim != len(wanted)
            or any(b not in (a, None) for a, b in zip(value.shape, wanted, strict=True))
        ):
            raise Unfit(f"a float64 array of shape {wanted}")
        if not np.isfinite(value).all():
            raise Unfit("finite")
        return value

    return check


def _pair(value: Any) -> bool:
    good = isinstance(value, tuple) and len(value) == 2
    return good and all(type(extent) is int and extent >= 1 for extent in value)


index_vector = fits(
    lambda x: type(x) is np.ndarray and x.dtype == np.int64 and x.ndim == 1, "a vector of integers"
)
Shape = Annotated[tuple[int, int], fits(_pair, "a pair of positive integers")]
RowWeights = Annotated[Array, array(lambda known: known["shape"][:1])] | None
Exponent = Annotated[float, real(1.0, finite=False)]
Cost = Annotated[float, real(0.0, finite=False)]
Size = Annotated[float, real(0.0)]
Count = Annotated[int, count(0)]
Rank = Annotated[int, count(1)]

BASIC: dict[Any, Check] = {
    float: real(-math.inf),
    int: count(-math.inf),
    str: fits(lambda value: type(value) is str, "a string"),
    bool: fits(lambda value: type(value) is bool, "true or false"),
}


def _check_of(hint: Any) -> Check:
    """The check that a field's annotation stands for."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return next(mark for mark in inner[1:] if callable(mark))
    if origin in (Union, types.UnionType):  # X | None
        some = _check_of(inner[0])
        return lambda value, known: None if value is None else some(value, known)
    if origin is tuple:
        each = _check_of(inner[0])

        def check(value: Any, known: Known) -> Any:
            if not isinstance(value, list | tuple):
                raise Unfit("a sequence")
            return tuple(each(x, known) for x in value)

        return check
    if origin is Mapping:
        return fits(lambda value: type(value) is dict, "a mapping")
    if dataclasses.is_dataclass(hint):
        return lambda value, known: built(hint, _values(value) if type(value) is hint else value)
    return BASIC[hint]


def _values(record: Any) -> dict[str, Any]:
    """The fields of a record, NumPy's numbers as Python's."""
    found = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    return {name: x.item() if isinstance(x, np.generic) else x for name, x in found.items()}


def check_fields(record: Any) -> None:
    """Every field of a record, and of those in it, is what its annotation says, or a
    CertificateError names the first that is not."""
    try:
        built(type(record), _values(record))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise CertificateError(str(error)) from error


@cache
def _checks(kind: Any) -> dict[str, Check]:
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: _check_of(hints[f.name]) for f in dataclasses.fields(kind)}


def built(kind: Any, values: Any) -> Any:
    """A record of the values in a file, each of them checked; all of them, and no others."""
    checks, word = _checks(kind), kind.__name__
    if not isinstance(values, dict):
        raise ValueError(f"{word} is not a record")
    if missing := sorted(set(checks) - set(values)):
        raise ValueError(f"{word} lacks {', '.join(missing)}")
    if foreign := sorted(set(values) - set(checks)):
        raise ValueError(f"{word} has the unknown field {foreign[0]!r}")
    known: dict[str, Any] = {}
    for name, check in checks.items():
        try:
            known[name] = check(values[name], known)
        except Unfit as error:
            raise ValueError(f"{word}.{name} is not {error}") from None
    return kind(**known)


class Saved:
    """What can be saved: a frozen dataclass, or a class that says what its `_fields` are."""

    _WORD = "result"
    """What messages call one."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything, certificates included, to an .npz file (no pickle inside).

        The file appears complete or not at all: it is written under a temporary name and moved.
        Arrays that are equal are written once.
        """
        write_record(path, type(self).__name__, self._fields())

    def _fields(self) -> Any:
        """What is written: the record itself, or a mapping of names to values."""
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote. Loading never runs code; a damaged file is a ValueError."""
        return read_record(path, cls.__name__, cls._WORD, cls._from_file)

    @classmethod
    def _from_file(cls, values: Any, version: int) -> Self:
        """The record, from values of any version that is still read."""
        found: Self = built(cls, values)
        return found
