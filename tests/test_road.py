"""The road of docs/architecture.md: what A meets from `approx_subspace` to the solver's loop."""

from __future__ import annotations

import re
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

PAGE = PACKAGE.parent / "docs" / "architecture.md"

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


def drawn(page: str) -> list[str]:
    """The functions in the picture of the road up to the solver, as ``file.function``."""
    picture = page[page.index("    approx_subspace") : page.index("Solver.solve")]
    found = re.findall(r"^[ |]+(\w+) +([\w/]+)\.py\b", picture, re.MULTILINE)
    return [f"{file.replace('/', '.')}.{function}" for function, file in found]


def misdrawn(picture: list[str], met: list[str]) -> list[str]:
    """Functions of the picture that A does not meet, or meets before those drawn above them."""
    met = [re.sub(r"\.[A-Z]\w*(?=\.\w+$)", "", function) for function in met]  # of any class
    found, last = [], -1
    for function in picture:
        at = met.index(function) if function in met else -1
        if at <= last:
            found.append(function)
        last = max(at, last)
    return found


def test_the_picture_is_the_road() -> None:
    """docs/architecture.md draws some of the functions, in their order, and says how many."""
    A = np.random.default_rng(0).standard_normal((60, 8))
    lpgeom.approx_subspace(A, 2, 1.0)
    met, page = road(A, 1.0), PAGE.read_text(encoding="utf-8")
    picture = drawn(page)
    assert len(picture) > 10
    assert misdrawn(picture, met) == []
    assert f"handed to {len(met)} functions" in page
    rooms = sorted({function.split(".")[0] for function in met})
    names = ", ".join(f"`{room}`" for room in rooms[:-1]) + f" and `{rooms[-1]}`"
    assert names in " ".join(page.split())


def test_a_wrong_picture_is_found() -> None:
    met = ["approx.f", "rows.blocks.BlockRows.g", "rows.door.h"]
    assert misdrawn(["approx.f", "rows.blocks.g", "rows.door.h"], met) == []
    assert misdrawn(["approx.f", "rows.door.h", "rows.blocks.g"], met) == ["rows.blocks.g"]
    assert misdrawn(["approx.f", "rows.array.g"], met) == ["rows.array.g"]
