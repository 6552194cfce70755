"""Every field of every record that has `verify`, replaced by what it cannot be: a CertificateError,
and never another exception."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.records import CertificateError

A = np.random.default_rng(0).standard_normal((12, 4))
BAD = (
    None, "no", 10**400, math.nan, 1j, object(), [1.0], np.array("no"), np.array(["no"]),
    np.array([1j]), np.array([None]), np.array([math.nan]), np.array(5.0),
    np.ma.masked_array([1.0], [True]), np.datetime64("2020"),
)  # fmt: skip
ODD: tuple[Any, ...] = (-1, 0, True, -1.5, math.inf, 1e-320, 2**70, (), {}, {"a": 1}, np.float32(2))
"""What may be a value of some field: accepted, or a CertificateError."""

BOUNDS = [
    (1.0, "lewis_trace"), (1.5, "lewis_sharpened"), (1.5, "chord"), (1.0, "relaxation"),
    (1.5, "tangent"), (1.0, "radial"), (1.5, "radial_two"), (1.0, "radial_quartic"),
    (2.0, "spectral"), (3.0, "power"), (math.inf, "john"), (math.inf, "minimax"),
]  # fmt: skip


@cache
def record(name: str, p: float) -> Any:
    if name == "entries":
        omega = np.linspace(1.0, 2.0, 12)
        return lpgeom.approx_factors(A, 2, p, row_weights=omega, max_iter=3).certificate
    if name == "clusters":
        return lpgeom.approx_clusters(A, 1, p, subspaces=2)
    if name == "mixed":
        return lpgeom.approx_mixed(A, 30, p)
    if name == "curve":
        return lpgeom.cost_curve(A, p, [1, 2])
    V = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 2)))[0]
    c = lpgeom.certify(A, V, p, "all", row_weights=np.linspace(1.0, 2.0, 12))
    found = tuple(b for b in c.bounds if b.name == name)
    assert found
    return dataclasses.replace(c, bounds=found, guarantee=math.inf)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The way to every field, of records inside as well, and what is there."""
    inside: dict[Any, Any] = {}
    if dataclasses.is_dataclass(value):
        inside = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif isinstance(value, dict):
        inside = value
    elif isinstance(value, tuple):
        inside = dict(enumerate(value))
    for key, x in inside.items():
        yield (*path, key), x
        yield from places(x, (*path, key))


def put(value: Any, path: tuple[Any, ...], x: Any) -> Any:
    """The value with x at the end of that way."""
    if not path:
        return x
    key, *rest = path
    if isinstance(value, dict):
        return value | {key: put(value[key], tuple(rest), x)}
    if isinstance(value, tuple):
        return (*value[:key], put(value[key], tuple(rest), x), *value[key + 1 :])
    return dataclasses.replace(value, **{key: put(getattr(value, key), tuple(rest), x)})


def wrong(path: tuple[Any, ...], here: Any) -> Iterator[Any]:
    """What cannot stand there."""
    optional = path[-1] in ("row_weights", "entry_weights", "result") or here is None
    for x in BAD:
        fits = (x is None and optional) or (isinstance(x, str) and isinstance(here, str))
        fits = fits or (isinstance(x, list) and isinstance(here, tuple))
        fits = fits or (type(x) is type(here) is int)
        if not fits or path[-1] in ("axis", "missing"):
            yield x
    if isinstance(here, np.ndarray) and here.size:
        yield from (here.astype(kind) for kind in (object, complex, str))
        yield from (here * math.nan, np.ma.masked_array(here, here == here.flat[0]))
        if "witness" not in path:
            yield from (here[:-1], here[None], here.ravel()[0])


def odd(here: Any) -> Iterator[Any]:
    """What may stand there, or not."""
    yield from ODD
    if isinstance(here, np.ndarray) and here.ndim:
        yield from (here[:-1], here[::-1], here[:0], -here, here[None], np.repeat(here, 2, 0)[::2])
        yield from (here.astype(np.float32), here.astype(">f8"), here.astype(np.longdouble))


CASES = [(name, p) for p, name in BOUNDS] + [
    ("entries", 1.0), ("entries", 3.0), ("clusters", 1.0), ("mixed", 1.5), ("curve", 1.0),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "p"), CASES)
def test_every_field(name: str, p: float) -> None:
    genuine = record(name, p)
    genuine.verify(A)
    for path, here in places(genuine):
        if "history" in path[:-1]:
            continue  # one number of it stands for all
        for x in wrong(path, here):
            try:
                put(genuine, path, x).verify(A)
            except CertificateError:
                continue
            raise AssertionError(f"{path} may be {x!r}")
        for x in odd(here):
            with contextlib.suppress(CertificateError):
                put(genuine, path, x).verify(A)
