"""The targets that need torch: a tiny compressed model, its recipe and its tensors."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from lpgeom.nn import compress, load_pretrained, save_pretrained
from lpgeom.nn.stored.directory import open_tensors
from lpgeom.nn.stored.recipe import CheckpointError


class Small(nn.Module):
    """A table and a layer on it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 6)
        self.out = nn.Linear(6, 5)

    def forward(self, ids: Any) -> Any:
        return self.out(self.embed(ids))


@cache
def saved() -> tuple[bytes, bytes]:
    """The recipe and the tensors of a compressed model."""
    torch.manual_seed(0)
    model = Small()
    report = compress(model, rank=2, p=2.0, layers="all", progress=False)
    with TemporaryDirectory() as folder:
        save_pretrained(model, folder, report=report)
        (stored,) = Path(folder).glob("*.safetensors")
        return (Path(folder) / "lpgeom.json").read_bytes(), stored.read_bytes()


def with_recipe(data: bytes, folder: Path) -> None:
    """A directory with this recipe and the model's own tensors."""
    _, stored = saved()
    _empty(folder)
    (folder / "lpgeom.json").write_bytes(data)
    (folder / f"lpgeom-{hashlib.sha256(stored).hexdigest()[:8]}.safetensors").write_bytes(stored)


def with_tensors(data: bytes, folder: Path) -> None:
    """A directory with these tensors and the model's own recipe, which vouches for them."""
    values = json.loads(saved()[0])
    digest = hashlib.sha256(data).hexdigest()
    values |= {"tensors": f"lpgeom-{digest[:8]}.safetensors", "sha256": digest}
    _empty(folder)
    (folder / "lpgeom.json").write_text(json.dumps(values))
    (folder / values["tensors"]).write_bytes(data)


def load(folder: Path) -> None:
    """A model whose layers work, or a CheckpointError."""
    try:
        model = load_pretrained(folder, model=Small())
    except CheckpointError:
        return
    assert model(torch.tensor([0, 11])).shape == (2, 5)


def open_directory(data: bytes, folder: Path) -> None:
    """Every tensor of a model.safetensors."""
    _empty(folder)
    (folder / "model.safetensors").write_bytes(data)
    try:
        with open_tensors(folder, None) as stored:
            for name, outline in sorted(stored.outline.items()):
                assert outline.device.type == "meta"
                if outline.numel() < 1 << 22:
                    assert stored.tensor(name).shape == outline.shape
    except CheckpointError:
        return


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
