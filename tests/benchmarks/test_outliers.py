"""The classic tables, and the benchmarks of outliers and of breakdown without R."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import breakdown, outliers, rrcov
from benchmarks.classic import TABLES, load


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_rows_that_are_known(name: str) -> None:
    table = load(name)
    assert len(set(table.names)) == len(table.names) == len(table.rows)
    assert set(table.known) < set(table.names)
    assert np.isfinite(table.rows).all()
    assert 1 <= table.k < table.rows.shape[1]


def test_hits_and_false_flags_are_counted() -> None:
    line: dict[str, Any] = {
        "known": ["1", "2"],
        "lpgeom": {
            name: {"flagged": {"1": "bad leverage", "7": "regular"}} for name in outliers.OURS
        },
        "rrcov": {"PcaGrid": ["1", "2", "3"]},
    }
    cells = outliers.cells(line)
    assert cells[0] == "1 + 1"
    assert dict(zip(outliers.THEIRS, cells[len(outliers.OURS) :], strict=True)) == {
        "PcaHubert": "0 + 0",
        "PcaGrid": "2 + 1",
        "PcaCov": "0 + 0",
    }


def test_without_r_its_columns_are_those_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rrcov, "version", lambda: None)
    path = tmp_path / "o.json"
    assert command.main(["outliers", "--quick", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    (line,), (clean,) = found["results"], found["clean"]
    assert len(line["rrcov"]["PcaHubert"]) >= 14
    assert set(line["known"]) <= set(line["lpgeom"]["LpPCA(k)"]["flagged"])
    assert clean["shape"] == [20, 4, 2]
    assert all(0.0 <= share < 0.5 for share in clean["lpgeom"].values())
    assert set(clean["rrcov"]) == set(outliers.THEIRS)


def test_angles_and_cells() -> None:
    X, U = breakdown.data("cluster", 0.4, (10, 2, 50), 0)
    assert X.shape == (50, 10)
    assert breakdown.maxsub(U, U) == pytest.approx(0.0, abs=1e-7)
    assert breakdown.maxsub(np.eye(3)[:, :1], np.eye(3)[:, 1:2]) == pytest.approx(1.0)
    line = {
        "kind": "cluster",
        "share": 0.4,
        "shape": [10, 2, 200],
        "rrcov": {"PcaGrid": {"angle": 0.5}},
    }
    other = {**line, "shape": [200, 3, 40]}
    assert breakdown.cell([line, other], "cluster", 0.4, "rrcov", "PcaGrid", "angle") == [0.5]
    assert breakdown.cell([line], "cluster", 0.3, "rrcov", "PcaGrid", "angle") == []
