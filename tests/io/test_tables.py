"""Plain tables, and that they hold what a dataframe holds."""

from __future__ import annotations

import builtins
import csv
import math
from typing import Any

import pandas as pd
import pytest

from lpgeom.io import tables
from lpgeom.io.tables import Table

COLUMNS = {"k": [1, 2], "method": ["svd", "a, b"], "cost": [0.1, math.nan], "fine": [True, False]}


def without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name.split(".")[0] == "pandas":
            raise ImportError(name)
        return original(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_a_dataframe_where_pandas_is() -> None:
    table = tables.frame(COLUMNS, {"p": 1.0})
    assert isinstance(table, pd.DataFrame)
    assert table.attrs == {"p": 1.0}


def test_a_plain_table_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    without_pandas(monkeypatch)
    table = tables.frame(COLUMNS, {"p": 1.0})
    assert isinstance(table, Table)
    assert table.attrs == {"p": 1.0}
    assert table.columns == list(COLUMNS)
    assert table["method"] == ["svd", "a, b"]
    assert len(table) == 2
    assert repr(table) == "Table of 2 rows: k, method, cost, fine"


def test_both_have_the_same_rows_and_the_same_csv() -> None:
    frame, table = pd.DataFrame(COLUMNS), Table(COLUMNS)
    for theirs, ours in zip(tables.records(frame), tables.records(table), strict=True):
        assert list(theirs) == list(ours)
        for a, b in zip(theirs.values(), ours.values(), strict=True):
            assert a == b or (a != a and b != b)
    assert tables.to_csv(frame) == tables.to_csv(table)
    back = list(csv.DictReader(tables.to_csv(table).splitlines()))
    assert back[1]["method"] == "a, b"
    assert float(back[0]["cost"]) == 0.1


def test_reading_columns() -> None:
    text = str(Table(COLUMNS)).splitlines()
    assert text[0] == "k  method  cost  fine"
    assert text[1] == "1  svd      0.1   yes"
    assert text[2] == "2  a, b       -    no"


def test_empty_tables() -> None:
    table = Table({"k": [], "cost": []})
    assert len(table) == 0
    assert tables.records(table) == []
    assert str(table) == "k  cost"
    assert tables.to_csv(table) == "k,cost\n"
    assert len(Table({})) == 0


def test_columns_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        Table({"a": [1], "b": [1, 2]})


def test_the_columns_are_copies() -> None:
    column = [1]
    table = Table({"a": column})
    column.append(2)
    assert table["a"] == [1]
