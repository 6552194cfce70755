"""Models with tables in few bits, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from coded_tables import coded
from models import Tied
from safetensors.torch import load_file, save_file

from lpgeom.io.checksum import sha256_of
from lpgeom.nn import QuantizedEmbedding, decompress, load_pretrained, save_pretrained
from lpgeom.nn.model.replace import build, install
from lpgeom.nn.model.sites import groups
from lpgeom.nn.modules.quantized_embedding import QuantizedHead
from lpgeom.nn.stored.recipe import CheckpointError

IDS = torch.tensor([[1, 2, 119], [0, 5, 5]])


def quantised(dtype: torch.dtype = torch.float32) -> Tied:
    """A tied model whose table has random codes."""
    model = Tied(dtype=dtype)
    group = groups(model)[0]
    install(build(group, coded(dtype, n=120, d=20, r=20, g=4)))
    assert isinstance(model.embed, QuantizedEmbedding)
    assert isinstance(model.head, QuantizedHead)
    return model


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_saved_and_loaded(tmp_path: Path, dtype: torch.dtype) -> None:
    model = quantised(dtype)
    save_pretrained(model, tmp_path)
    again = load_pretrained(tmp_path, model=Tied())
    assert torch.equal(again(IDS), model(IDS))
    assert again.head.codes is again.embed.codes
    assert again.head.basis is again.embed.basis
    for name, value in model.state_dict().items():
        assert again.state_dict()[name].dtype == value.dtype
        assert torch.equal(again.state_dict()[name], value)
    recipe = json.loads((tmp_path / "lpgeom.json").read_text())
    assert recipe["version"] == 3
    assert [layer["form"] for layer in recipe["layers"]] == ["rows", "rows"]


def test_the_table_takes_what_it_says(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(120, 20))
    install(build(groups(model)[0], coded(n=120, d=20, r=20, g=4)))
    save_pretrained(model, tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    assert 0 < file.stat().st_size - model[0].held.nbytes < 4096
    kinds = {str(value.dtype) for value in load_file(file).values()}
    assert kinds == {"torch.uint8", "torch.float16", "torch.float32"}


def test_numbers_that_were_learned_are_not_rounded(tmp_path: Path) -> None:
    model = quantised()
    with torch.no_grad():
        model.embed.basis.add_(1e-4)
    save_pretrained(model, tmp_path)
    again = load_pretrained(tmp_path, model=Tied())
    assert torch.equal(again.embed.basis, model.embed.basis)
    assert torch.equal(again(IDS), model(IDS))


def test_dense(tmp_path: Path) -> None:
    model = quantised()
    save_pretrained(model, tmp_path)
    dense = load_pretrained(tmp_path, model=Tied(), dense=True)
    assert type(dense.embed) is torch.nn.Embedding
    assert dense.head.weight is dense.embed.weight
    assert torch.equal(dense.embed.weight, model.embed.weight)
    torch.testing.assert_close(dense(IDS), model(IDS), rtol=1e-4, atol=1e-3)
    assert decompress(model) == 1
    assert torch.equal(model(IDS), dense(IDS))


def test_tables_that_a_device_parted_are_stored_once(tmp_path: Path) -> None:
    model = quantised()
    for name, buffer in list(model.head._buffers.items()):
        model.head._buffers[name] = buffer.clone()  # as .to of another device does
    save_pretrained(model, tmp_path)
    again = load_pretrained(tmp_path, model=Tied())
    assert again.head.codes is again.embed.codes
    assert torch.equal(again(IDS), model(IDS))


def _changed(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def changed(tensors: dict[str, Any]) -> None:
        tensors[name] = change(tensors[name])

    return changed


@pytest.mark.parametrize(
    "spoil",
    [
        _changed("embed.labels", lambda labels: labels + 9),
        _changed("embed.bits", lambda bits: bits + 9),
        _changed("embed.levels", lambda levels: levels[1:].clone()),
        _changed("embed.scale_codes", lambda codes: codes + 9),
        _changed("embed.codes", lambda codes: codes.float()),
        _changed("embed.codes", lambda codes: codes[1:].clone()),
        _changed("embed.basis", lambda basis: basis.to(torch.uint8)),
        lambda tensors: tensors.pop("embed.levels"),
    ],
)
def test_damaged_tensors(tmp_path: Path, spoil: Callable[[dict[str, Any]], Any]) -> None:
    save_pretrained(quantised(), tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    tensors = load_file(file)
    spoil(tensors)
    save_file(tensors, file)
    recipe = json.loads((tmp_path / "lpgeom.json").read_text())
    recipe["sha256"] = sha256_of(file)
    (tmp_path / "lpgeom.json").write_text(json.dumps(recipe))
    with pytest.raises(CheckpointError):
        load_pretrained(tmp_path, model=Tied())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("form", "factors"), ("form", "songs"), ("form", None), ("sizes", None), ("sizes", {}),
        ("sizes", {"groups": 4}), ("sizes.groups", 0), ("sizes.groups", 257),
        ("sizes.components", -1), ("sizes.nbytes", 1.5), ("sizes.nbytes", 2**61),
        ("sizes.books", True), ("options.dtype", "int8"), ("options.dtype", None),
    ],
)  # fmt: skip
def test_damaged_recipes(tmp_path: Path, key: str, value: Any) -> None:
    save_pretrained(quantised(), tmp_path)
    recipe = json.loads((tmp_path / "lpgeom.json").read_text())
    *path, last = key.split(".")
    for layer in recipe["layers"]:
        at = layer
        for part in path:
            at = at[part]
        at[last] = value
    (tmp_path / "lpgeom.json").write_text(json.dumps(recipe))
    with pytest.raises(CheckpointError):
        load_pretrained(tmp_path, model=Tied())
