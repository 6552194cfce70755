"""``lpgeom compress --size``: directory in, directory out, the same model as `compress` makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from families import run, small
from safetensors.torch import load_file

from lpgeom import nn
from lpgeom.cli import main

IDS = torch.randint(5, 290, (2, 9), generator=torch.Generator().manual_seed(0))


def compress(*arguments: Any) -> int:
    return main(["compress", *map(str, arguments)])


def file_of(folder: Path) -> Path:
    (found,) = folder.glob("*.safetensors")
    return found


SAME: list[tuple[str, dict[str, Any]]] = [
    ("bert", {"size": 0.6}),
    ("gpt2", {"size": "24 kB"}),
    ("albert", {"size": 0.7, "tie": "untie"}),
    ("xlnet", {"size": 0.6, "p": 1.0}),
]


@pytest.mark.parametrize(("family", "asked"), SAME, ids=str)
def test_the_same_as_compress(family: str, asked: dict[str, Any], tmp_path: Path) -> None:
    model = small(family)
    model.save_pretrained(tmp_path / "model")
    arguments = [x for k, v in asked.items() for x in (f"--{k}", v)]
    assert compress(tmp_path / "model", *arguments, "--out", tmp_path / "out", "--quiet") == 0
    report = nn.compress(model, progress=False, **asked)
    nn.save_pretrained(model, tmp_path / "saved", report=report)
    streamed = nn.load_pretrained(tmp_path / "out")
    assert torch.equal(run(streamed, IDS), run(model, IDS))
    ours, theirs = (load_file(file_of(tmp_path / name)) for name in ("out", "saved"))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        assert torch.equal(value, theirs[name]), name
    recipe = json.loads((tmp_path / "out" / "lpgeom.json").read_text())
    assert recipe["report"]["bytes_after"] == report.bytes_after
    assert report.bytes_after == sum(value.nbytes for value in ours.values())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_stays_in_another_dtype(dtype: str, tmp_path: Path) -> None:
    small("bert").save_pretrained(tmp_path / "model")
    options = ("--size", 0.6, "--dtype", dtype)
    assert compress(tmp_path / "model", *options, "--out", tmp_path / "out", "--quiet") == 0
    held = load_file(file_of(tmp_path / "out"))
    report = json.loads((tmp_path / "out" / "lpgeom.json").read_text())["report"]
    assert report["bytes_after"] == sum(value.nbytes for value in held.values())
    model = nn.load_pretrained(tmp_path / "out")
    assert {q.dtype for q in model.parameters()} == {getattr(torch, dtype)}
    exact = small("bert")
    nn.compress(exact, size=0.6, progress=False)
    torch.testing.assert_close(run(model.float(), IDS), run(exact, IDS), rtol=0, atol=0.1)
    with pytest.raises(SystemExit):
        compress(tmp_path / "model", "--size", 0.6, "--dtype", "int8", "--out", tmp_path / "x")


def test_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small("bert").save_pretrained(tmp_path / "model")
    assert compress(tmp_path / "model", "--size", "0.6", "--dry-run") == 0
    assert "would become" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        compress(tmp_path / "model", "--size", "0.6", "--ratio", ".3", "--dry-run")
    assert compress(tmp_path / "model", "--size", "9 B", "--dry-run") == 2
    assert "the least is" in capsys.readouterr().err
    assert compress(tmp_path / "model", "--ratio", ".3", "--dtype", "float16", "--dry-run") == 2
    assert "dtype goes with size" in capsys.readouterr().err
