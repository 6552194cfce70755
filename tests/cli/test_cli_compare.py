"""``lpgeom compare`` and ``lpgeom data``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import lpgeom
from lpgeom import datasets
from lpgeom.cli import main
from tests.cli.test_cli import fails


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small matrix and its true subspace in the current directory."""
    monkeypatch.chdir(tmp_path)
    data = datasets.load("contaminated", n=120, d=8, k=2)
    np.save("a.npy", data.A)
    np.save("truth.npy", data.truth)
    return tmp_path


METHODS = ("--methods", "lpgeom", "svd", "fms")


def test_the_table_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", "a.npy", "-k", "1", "2", *METHODS, "--truth", "truth.npy"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "angle_deg" in out
    assert out.count("svd") >= 2
    assert "rank 2: no subspace costs less than" in out


def test_files_hold_what_compare_returns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("t.csv", "t.json"):
        assert main(["compare", "a.npy", "-k", "2", *METHODS, "--out", name, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    table = lpgeom.compare(np.load("a.npy"), 2, methods=METHODS[1:])
    rows = list(csv.DictReader(Path("t.csv").read_text().splitlines()))
    body = json.loads(Path("t.json").read_text())
    assert [row["method"] for row in rows] == list(table["method"])
    assert [row["method"] for row in body["rows"]] == list(table["method"])
    np.testing.assert_allclose([float(row["cost"]) for row in rows], table["cost"], rtol=1e-12)
    np.testing.assert_allclose([row["ratio"] for row in body["rows"]], table["ratio"], rtol=1e-12)
    assert body["rows"][0]["angle_deg"] is None  # no truth was given
    assert body["bounds"]["2"]["value"] == pytest.approx(table.attrs["bounds"][2]["value"])


def test_a_picture_is_written(folder: Path) -> None:
    arguments = ["compare", "a.npy", "-k", "1", "2", *METHODS, "--plot", "p.png", "--quiet"]
    assert main(arguments) == 0
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


def test_failures_and_what_is_left_out_are_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "a.npy", "-k", "2", "-p", "3", "--methods", "lpgeom", "fms"]) == 0
    assert "fms failed: ValueError" in capsys.readouterr().out
    assert main(["compare", "a.npy", "-k", "2"]) == 0
    assert "left out (run if named): cvxpy_reaper" in capsys.readouterr().out


def test_p_inf(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "a.npy", "-k", "1", "2", "-p", "inf", *METHODS]
    assert main([*command, "--plot", "p.png", "--out", "t.json"]) == 0
    out = capsys.readouterr().out
    assert "120 x 8, p = inf" in out
    assert "rank 2: fms failed: ValueError: fms is defined for 1 <= p <= 2, got p = inf" in out
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    body = json.loads(Path("t.json").read_text())
    assert body["p"] == "inf"
    found = {(row["k"], row["method"]) for row in body["rows"] if row["cost"] is not None}
    assert found == {(k, method) for k in (1, 2) for method in ("lpgeom", "svd")}
    for row in body["rows"]:
        assert row["lower_bound"] == body["bounds"][str(row["k"])]["value"] > 0.0


def test_a_data_set_stands_for_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "data:digits", "-k", "3", *METHODS]) == 0
    assert "1797 x 64" in capsys.readouterr().out
    assert main(["approx", "data:breast-cancer", "-k", "2"]) == 0
    assert "569 x 30" in capsys.readouterr().out


def test_a_data_set_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["data", "contaminated", "--seed", "3", "--out", "c.npy", "--truth", "u.npy"]
    assert main(arguments) == 0
    assert "1000 x 50" in capsys.readouterr().out
    expected = datasets.load("contaminated", seed=3)
    np.testing.assert_array_equal(np.load("c.npy"), expected.A)
    np.testing.assert_array_equal(np.load("u.npy"), expected.truth)
    assert main(["data", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(datasets.names())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "a.npy", "-k", "2", "--out", "t.txt"), "must end in .csv or .json"),
        (("compare", "a.npy", "-k", "2", "--plot", "t.txt"), "must end in .png"),
        (("compare", "a.npy", "-k", "2", "--out", "nowhere/t.csv"), "no directory"),
        (("compare", "a.npy", "-k", "2", "--methods", "magic"), "there is no method 'magic'"),
        (("compare", "a.npy", "-k", "8"), "k must lie between"),
        (("compare", "a.npy", "-k", "2", "-p", "0.5"), "p must be a number >= 1"),
        (("compare", "a.npy", "-k", "2", "--truth", "a.npy"), "basis"),
        (("compare", "data:nothing", "-k", "2"), "there is no data set 'nothing'"),
        (("compare", "data:digits", "--tensor", "x", "-k", "2"), "no tensors"),
        (("compare", "gone.npy", "-k", "2"), "gone.npy"),
        (("data",), "--list"),
        (("data", "digits"), "--out"),
        (("data", "digits", "--out", "a.npy"), "the file exists"),
        (("data", "digits", "--out", "d.csv"), "must end in .npy"),
        (("data", "digits", "--out", "d.npy", "--truth", "u.npy"), "no true subspace"),
        (("data", "nothing", "--out", "d.npy"), "there is no data set"),
        (("data", "contaminated", "--out", "d.npy", "--truth", "./d.npy"), "is the file of --out"),
        (("data", "contaminated", "--out", "d.npy", "--seed", "-1"), "seed must be >= 0"),
    ],
)
def test_errors_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in fails(capsys, *arguments)
