"""The road of docs/architecture.md: what A meets from `approx_subspace` to the solver's loop."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.rows.blocks import BlockRows
from lpgeom.rows.door import Problem
from lpgeom.subspace.irls import Irls

PACKAGE = Path(lpgeom.__file__).parent

NO_STEP = {"<lambda>", "shape", "dtype"}
"""Names of what is called without being a step: entries of tables, attributes of rows."""


class Arrived(Exception):
    """The loop has begun."""


def road(A: np.ndarray, p: float) -> list[str]:
    """Functions of lpgeom that are handed A, or the problem or rows that hold it, in the order in
    which it meets them first: each as ``room.file.function``."""
    met: dict[str, None] = {}

    def carries(x: Any) -> bool:
        if isinstance(x, np.ndarray):
            return np.may_share_memory(x, A)
        return isinstance(x, BlockRows | Problem)

    def look(frame: FrameType, event: str, _: object) -> None:
        code, path = frame.f_code, Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(PACKAGE) or code.co_name in NO_STEP:
            return
        back = frame.f_back
        if back is not None and back.f_code.co_name == code.co_name:  # handed on to a base class
            return
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(carries(frame.f_locals.get(name)) for name in arguments):
            file = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            met[f"{file}.{code.co_qualname}"] = None
        if code is Irls.step.__code__:
            raise Arrived

    sys.setprofile(look)
    try:
        lpgeom.approx_subspace(A, 2, p, objective="rows")
    except Arrived:
        return list(met)
    finally:
        sys.setprofile(None)
    raise AssertionError("the solver's loop was not reached")


@pytest.mark.parametrize("p", [1.0, 1.5])
def test_the_road_to_the_loop_is_short(p: float) -> None:
    A = np.random.default_rng(0).standard_normal((60, 8))
    lpgeom.approx_subspace(A, 2, p)  # what is imported or compiled once is no part of it
    met = road(A, p)
    rooms = {function.split(".")[0] for function in met}  # a file at the root is one, too
    assert len(met) <= 45, met
    assert len(rooms) <= 12, rooms
    assert met[0] == "approx.approx_subspace"
