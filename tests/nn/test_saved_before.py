"""Directories that were saved before equal subspaces and mixed ranks became one family of modules.

The files were written by `write` with lpgeom as of commit 42b7188 ("dask: one list of chunks").
Each is loaded into a fresh model and must give the outputs that are stored beside it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import random_
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lpgeom.nn import (
    compress,
    decompress,
    load_pretrained,
    resize_token_embeddings,
    save_pretrained,
)
from lpgeom.nn.stored.recipe import CheckpointError

FILES = Path(__file__).parent / "files"
IDS = torch.tensor([[0, 3, 59], [7, 7, 31]])


class Net(nn.Module):
    """An embedding, a layer, and an output layer that is tied to the embedding."""

    def __init__(self, embed: nn.Embedding | None = None, d: int = 12, tied: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, d, padding_idx=0) if embed is None else embed
        self.inner = nn.Linear(d, 16)
        self.back = nn.Linear(16, d, bias=False)
        self.head = nn.Linear(d, 60)
        random_(self, 3)
        if tied:
            self.head.weight = self.embed.weight

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.back(self.inner(self.embed(ids)))))


class Times(nn.Embedding):
    """What Bart does: a number, and a forward of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.embed_scale = 3.5

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * self.embed_scale


class XLNetRelativeAttention(nn.Module):
    """Multiplies by a bare parameter, as the module of that name in transformers does."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.empty(16, 3, 8))

    def forward(self, h: Tensor) -> Tensor:
        return torch.einsum("ibh,hnd->ibnd", h, self.q)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, 16)
        self.attention = XLNetRelativeAttention()
        random_(self, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.attention(self.embed(ids))


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "one": (Net, {"rank": 4, "layers": "all"}),
    "equal": (Net, {"rank": 3, "layers": "all", "subspaces": 3}),
    "equal_half": (lambda: Net().half(), {"rank": 3, "layers": "all", "subspaces": 3}),
    "full": (Net, {"rank": 12, "layers": "all", "subspaces": 2, "force": True}),
    "mixed": (Net, {"ratio": 0.3, "layers": "all", "subspaces": 4, "ranks": "mixed"}),
    "mixed_half": (lambda: Net().half(), {"ratio": 0.3, "subspaces": 4, "ranks": "mixed"}),
    "scaled": (lambda: Net(Times(60, 12), tied=False), {"rank": 3, "subspaces": 2}),
    "bounded": (lambda: Net(nn.Embedding(60, 12, max_norm=2.0)), {"rank": 3, "subspaces": 3}),
    "parameter": (Attending, {"rank": 5, "layers": "all"}),
}


def write(folder: Path) -> None:
    for name, (make, options) in MODELS.items():
        model = make()
        compress(model, p=2.0, certify=False, progress=False, allocate="uniform", **options)
        save_pretrained(model.eval(), folder / name)
        with torch.no_grad():
            save_file({"outputs": model(IDS).contiguous()}, folder / name / "expected.safetensors")


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def outputs(model: nn.Module, ids: Tensor = IDS) -> Tensor:
    with torch.no_grad():
        return model(ids)


def loaded(name: str) -> nn.Module:
    return load_pretrained(FILES / name, model=MODELS[name][0]())


def close(a: Tensor, b: Tensor) -> None:
    bound = 2e-3 if a.dtype == torch.float16 else 1e-6  # products are summed in another order
    torch.testing.assert_close(a, b, rtol=bound, atol=bound * float(b.abs().max()))


def test_the_same_outputs(name: str, tmp_path: Path) -> None:
    model = loaded(name)
    expected = load_file(FILES / name / "expected.safetensors")["outputs"]
    assert outputs(model).dtype == expected.dtype
    close(outputs(model), expected)
    # What was tied is so again, here and in what is saved of it.
    save_pretrained(model, tmp_path)
    again = load_pretrained(tmp_path, model=MODELS[name][0]())
    assert torch.equal(outputs(again), outputs(model))
    count = sum(q.numel() for q in model.parameters())
    assert sum(q.numel() for q in again.parameters()) == count
    stored = load_file(next((FILES / name).glob("lpgeom-*.safetensors")))
    if name != "full":  # there rows are kept, and no identities stored beside them
        assert count == sum(x.numel() for x in stored.values() if x.is_floating_point())


def test_resized_and_multiplied_out(name: str) -> None:
    model = loaded(name)
    before = outputs(model)
    if isinstance(model, Net):
        resize_token_embeddings(model, 70)
        after = outputs(model)
        assert after.shape[-1] == 70
        close(after[..., :60], before)
        assert outputs(model, IDS + 10).isfinite().all()
        model = loaded(name)
    assert decompress(model) > 0
    bound = 2e-2 if before.dtype == torch.float16 else 1e-5
    torch.testing.assert_close(
        outputs(model), before, rtol=bound, atol=bound * float(before.abs().max())
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda layer, aliases: layer.update(rank=4),
        lambda layer, aliases: layer.update(subspaces=2),
        lambda layer, aliases: layer.update(n=61),
        lambda layer, aliases: layer.update(counts=[20, 20, 20], ranks=[3, 3, 3]),
        lambda layer, aliases: aliases.pop("head.labels"),
        lambda layer, aliases: aliases.update({"head.left": "embed.right"}),
        lambda layer, aliases: aliases.update({"embed.left": "inner.left"}),
    ],
)
def test_damaged_directories_are_errors(change: Any, tmp_path: Path) -> None:
    folder = tmp_path / "equal"
    shutil.copytree(FILES / "equal", folder)
    values = json.loads((folder / "lpgeom.json").read_text())
    change(values["layers"][0], values["aliases"])
    (folder / "lpgeom.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError):
        load_pretrained(folder, model=Net())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
