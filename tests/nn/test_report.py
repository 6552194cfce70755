"""Records of a compression: numbers derived, dictionaries, JSON, text, files."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from lpgeom.nn import CompressionReport, LayerReport
from tests.reports import EVERY, bert, layer, minilm, nasty, report, untouched


def test_derived_numbers() -> None:
    one = LayerReport(
        "w", "linear", (10, 8), 2, 80, 36, 320, 144, p=2.0, size=100.0, cost=25.0,
        lower_bound=16.0, svd_cost=36.0,
    )  # fmt: skip
    assert one.compressed
    assert one.error == pytest.approx(0.5)
    assert one.error_bound == pytest.approx(0.4)
    assert one.svd_error == pytest.approx(0.6)
    assert one.ratio == pytest.approx(1.25)
    assert one.error_bound * one.ratio == pytest.approx(one.error)


def test_what_is_not_known_is_none() -> None:
    one = LayerReport("w", "linear", (10, 8), 2, 80, 36, 320, 144)
    assert (one.ratio, one.error, one.error_bound, one.svd_error) == (None,) * 4
    assert dataclasses.replace(one, cost=1.0, size=4.0).ratio is None
    zero = dataclasses.replace(one, cost=0.0, size=0.0, lower_bound=0.0)
    assert (zero.error, zero.ratio) == (0.0, 1.0)
    assert dataclasses.replace(one, cost=1.0, size=4.0, lower_bound=0.0).ratio == math.inf


def test_totals_and_access() -> None:
    whole = bert()
    assert whole.saved == pytest.approx(1.0 - whole.parameters_after / whole.parameters_before)
    assert len(whole.compressed) + len(whole.left_alone) == len(whole.layers)
    assert whole["pooler.dense"].name == "pooler.dense"
    with pytest.raises(KeyError):
        whole["nothing"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        whole.seconds = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("name", EVERY)
def test_dictionaries_and_json_round_trip(name: str) -> None:
    whole = EVERY[name]()
    assert CompressionReport.from_dict(whole.to_dict()) == whole
    assert CompressionReport.from_dict(json.loads(whole.to_json())) == whole


def test_json_is_strict_and_holds_what_is_derived() -> None:
    odd = report(layer("w", cost=1.0, lower_bound=0.0), options={"weights": [math.nan, math.inf]})

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    values = json.loads(odd.to_json(), parse_constant=refuse)
    assert values["layers"][0]["ratio"] is None  # infinite
    assert values["options"]["weights"] == [None, None]
    values = json.loads(minilm().to_json(), parse_constant=refuse)
    assert values["layers"][0]["ratio"] == pytest.approx(1.0071)
    assert values["saved"] == pytest.approx(minilm().saved)


def test_what_a_later_version_adds_is_passed_over() -> None:
    values = minilm().to_dict()
    values["layers"][0]["colour"] = "red"
    values["mood"] = 3
    assert CompressionReport.from_dict(values) == minilm()


def test_the_table_is_aligned_and_complete() -> None:
    whole = bert()
    lines = str(whole).splitlines()
    assert len(lines) == 1 + len(whole.layers) + 1
    ends = {line.index(" x ") for line in lines[1:-1]}
    assert len(lines[1].split()) >= len(lines[0].split())
    assert max(ends) - min(ends) <= 5  # right-aligned shapes of different widths
    token_types = next(line for line in lines if "token_type" in line)
    assert "kept" in token_types
    assert token_types.endswith("break-even rank 1")
    assert f"75 of {len(whole.layers)} selected layers compressed" in lines[-1]
    assert "would become" in minilm(dry_run=True).summary()
    assert " s" not in minilm(dry_run=True).summary().split("compressed")[1]
    assert "0 of 3" in untouched().summary()


@pytest.mark.parametrize("suffix", [".json", ".html", ".HTM"])
def test_files_are_written_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report{suffix}"
    path.write_text("old")
    nasty().save(path)
    assert list(tmp_path.iterdir()) == [path]
    text = path.read_text(encoding="utf-8")
    assert text.startswith("{" if suffix == ".json" else "<!DOCTYPE html>")
    assert text.endswith("\n")


@pytest.mark.parametrize("name", ["report.txt", "report", "html"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="saved as .html or .json"):
        minilm().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        minilm().save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
