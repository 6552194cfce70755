"""Every public name has a numpydoc docstring that agrees with its signature, and an example."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.columns import COLUMNS, examples_of, too_wide

TABLES = Path(__file__).resolve().parents[1] / "docs" / "api"
MODULES = {
    "lpgeom": "lpgeom.md",
    "lpgeom.nn": "nn.md",
    "lpgeom.plots": "plots.md",
    "lpgeom.datasets": "datasets.md",
    "lpgeom.heuristics": "heuristics.md",
    "lpgeom.heuristics.entrywise": "heuristics.md",
}
HEADING = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", re.MULTILINE)


def public_names(module_name: str) -> list[str]:
    """Functions and classes that a module makes public: its `__all__` without constants."""
    module = importlib.import_module(module_name)
    names = [*module.__all__, *(["LpPCA", "MadScaler"] if module_name == "lpgeom" else [])]
    return [n for n in names if not n.startswith("_") and not n.isupper()]


def every_name() -> list[Any]:
    return [
        pytest.param(module, name, id=f"{module}.{name}")
        for module in MODULES
        for name in public_names(module)
    ]


def sections(docstring: str) -> dict[str, str]:
    """Body of each section of a docstring; what comes before the first is at ''."""
    parts = HEADING.split(inspect.cleandoc(docstring))
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def listed(section: str) -> list[str]:
    """Names that a section describes: the words before a colon, at the left margin."""
    names = []
    for line in section.splitlines():
        if line and not line[0].isspace():
            names += [name.strip().lstrip("*") for name in line.partition(" : ")[0].split(",")]
    return names


def parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def agree(function: Callable[..., Any], told: list[str]) -> bool:
    """Every parameter once, those that may be given by position in their order."""
    known = inspect.signature(function).parameters
    keyword = [n for n, parameter in known.items() if parameter.kind is parameter.KEYWORD_ONLY]
    expected = parameters(function)
    return sorted(told) == sorted(expected) and (
        [n for n in told if n not in keyword] == [n for n in expected if n not in keyword]
    )


def faults(value: Any) -> list[str]:
    """What a docstring lacks, or says that is not so: empty if nothing."""
    text = value.__doc__
    if not text:
        return ["no docstring"]
    found = sections(text)
    wrong = []
    if not found[""].strip().splitlines()[0].rstrip().endswith((".", ":", "?")):
        wrong.append("its first line is no sentence")
    if ">>>" not in found.get("Examples", ""):
        wrong.append("no example")
    wrong += _too_wide(text)
    if inspect.isclass(value):
        return wrong + _faults_of_class(value, found)
    return wrong + _faults_of_function(value, found)


def _too_wide(docstring: str) -> list[str]:
    return [f"wider than the page: {line}" for line in too_wide(examples_of(docstring))]


def _faults_of_function(function: Callable[..., Any], found: dict[str, str]) -> list[str]:
    wrong = []
    expected, told = parameters(function), listed(found.get("Parameters", ""))
    if not agree(function, told):
        wrong.append(f"parameters are {expected}, the docstring has {told}")
    returned = inspect.signature(function).return_annotation
    if returned not in (None, "None") and not {"Returns", "Yields"} & set(found):
        wrong.append("no Returns")
    return wrong


def _faults_of_class(kind: type, found: dict[str, str]) -> list[str]:
    wrong = []
    told = [*listed(found.get("Parameters", "")), *listed(found.get("Attributes", ""))]
    if dataclasses.is_dataclass(kind):
        fields = [f.name for f in dataclasses.fields(kind) if f.init and f.name[0] != "_"]
        wrong += [f"field {name} is not described" for name in fields if name not in told]
    elif "__init__" in vars(kind) and not issubclass(kind, Exception):
        expected, told = parameters(kind.__init__), listed(found.get("Parameters", ""))
        if not agree(kind.__init__, told):
            wrong.append(f"parameters are {expected}, the docstring has {told}")
    for name, member in vars(kind).items():
        member = getattr(member, "__func__", getattr(member, "fget", member))
        if name.startswith("_") or not inspect.isfunction(member):
            continue
        if not member.__doc__:
            wrong.append(f"{name} has no docstring")
            continue
        wrong += _too_wide(member.__doc__)
        inner = sections(member.__doc__)
        if "Parameters" in inner and not agree(member, listed(inner["Parameters"])):
            wrong.append(f"{name}: parameters {parameters(member)}, {listed(inner['Parameters'])}")
    return wrong


@pytest.mark.parametrize(("module", "name"), every_name())
def test_docstrings_agree_with_signatures(module: str, name: str) -> None:
    try:
        value = getattr(importlib.import_module(module), name)
    except ImportError as error:
        pytest.skip(str(error))
    assert faults(value) == []


@pytest.mark.parametrize(("module", "page"), list(MODULES.items()))
def test_the_reference_has_every_name(module: str, page: str) -> None:
    text = (TABLES / page).read_text()
    tables = re.findall(r"currentmodule:: (\S+)\n\n.*?\n\n(.*?)```", text, re.DOTALL)
    named = [name for where, body in tables if where == module for name in body.split()]
    assert sorted(named) == sorted(public_names(module))


# ---------------------------------------------------------------- the checker itself

GOOD = """Do something.

Parameters
----------
a : int
    First.
b, c : float
    Others.

Returns
-------
float

Examples
--------
>>> 1
1
"""


def _like(docstring: str | None) -> Callable[..., float]:
    def function(a: int, b: float = 0.0, *, c: float = 1.0) -> float:
        return a + b + c

    function.__doc__ = docstring
    return function


def test_the_checker_lets_a_good_docstring_be() -> None:
    assert faults(_like(GOOD)) == []


@pytest.mark.parametrize(
    "docstring",
    [
        None,
        GOOD.replace("something.", "something"),
        GOOD.replace("b, c", "b"),
        GOOD.replace("a : int", "x : int"),
        GOOD.replace("a : int", "b : int").replace("b, c : float", "a, c : float"),
        GOOD.replace("Parameters\n----------", "Notes\n-----"),
        GOOD.replace("Returns\n-------", "Notes\n-----"),
        GOOD.replace(">>> 1\n", ""),
        GOOD.replace(">>> 1\n", f">>> 1  # {COLUMNS * '-'}\n"),
        GOOD + COLUMNS * "2" + "2\n",
    ],
)
def test_the_checker_finds_a_fault(docstring: str | None) -> None:
    assert len(faults(_like(docstring))) == 1


def test_the_checker_finds_a_field_without_a_word() -> None:
    @dataclasses.dataclass
    class Record:
        """A record.

        Attributes
        ----------
        a : int

        Examples
        --------
        >>> 1
        1
        """

        a: int
        b: int

        def method(self) -> None:
            pass

    assert faults(Record) == ["field b is not described", "method has no docstring"]
