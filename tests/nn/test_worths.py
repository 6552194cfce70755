"""How much a layer's error counts: beside errors made in earnest, and models of other kinds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import assert_unchanged, generator, snapshot
from torch import Tensor, nn

from lpgeom.nn.model.sites import groups
from lpgeom.nn.plan.worths import worths_of


class Net(nn.Module):
    """Two layers and an embedding; what it returns is as the models of transformers do."""

    def __init__(self, form: str = "tensor") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(50, 12)
        self.first, self.second = nn.Linear(12, 20), nn.Linear(20, 16)
        self.unused = nn.Linear(4, 4)
        self.drop, self.form = nn.Dropout(0.5), form

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        f = self.second(self.drop(torch.tanh(self.first(self.table(ids)))))
        return {"tensor": f, "tuple": (ids, f), "mapping": {"ids": ids, "last": f}}[self.form]


IDS = torch.randint(50, (40, 30), generator=generator(1))


def off(model: Net, name: str, share: float) -> float:
    """The share of the squared output that is changed where a layer's own is off by a share."""
    layer, g = model.get_submodule(name), generator(2)
    whole = model.eval()(IDS).detach()

    def noise(module: nn.Module, args: Any, y: Tensor) -> Tensor:
        flat = y.reshape(-1, y.shape[-1])
        v = (flat if name == "table" else flat - flat.mean(0)).square().mean()
        return y + (share * v).sqrt() * torch.randn(y.shape, generator=g)

    handle = layer.register_forward_hook(noise)
    changed = model(IDS).detach()
    handle.remove()
    return float((changed - whole).square().sum() / whole.square().sum())


@pytest.mark.parametrize("form", ["tensor", "tuple", "mapping"])
def test_a_small_error_changes_the_output_so_much(form: str) -> None:
    model, plain = Net(form).train(), Net()
    model.drop.eval()
    before = snapshot(model)
    found = worths_of(model, groups(model), (IDS,))
    assert_unchanged(model, before)
    assert model.training
    assert not model.drop.training
    assert all(q.grad is None for q in model.parameters())
    assert set(found) == {"table", "first", "second"}
    for name, worth in found.items():
        assert worth == pytest.approx(off(plain, name, 1e-4) / 1e-4, rel=0.15)


def test_frozen_models_have_worths_too() -> None:
    model = Net().requires_grad_(False)
    with torch.no_grad():
        frozen, usual = worths_of(model, groups(model), IDS), Net()
    assert frozen == pytest.approx(worths_of(usual, groups(usual), IDS))


def test_tokens_that_are_not_read_do_not_count() -> None:
    model = Net()
    mask = torch.zeros_like(IDS)
    mask[:, :20] = 1
    found = worths_of(model, groups(model), {"ids": IDS, "attention_mask": mask})
    part = worths_of(model, groups(model), {"ids": IDS[:, :20]})
    for name in part:
        # The whole output is what both are a share of.
        assert found[name] == pytest.approx(part[name] * 2 / 3, rel=0.2)


def test_tied_layers_count_for_both() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = nn.Embedding(50, 12), nn.Linear(12, 50, bias=False)
            self.head.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.table(ids))

    tied, apart = Tied(), Tied()
    apart.head.weight = nn.Parameter(apart.head.weight.detach().clone())
    (both,) = worths_of(tied, groups(tied), IDS).values()
    assert both == pytest.approx(sum(worths_of(apart, groups(apart), IDS).values()))


def test_models_without_a_gradient() -> None:
    class Cut(Net):
        def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Any:
            return super().forward(ids).detach() if self.form == "tensor" else ids

    for form in ("tensor", "none"):
        model = Cut(form)
        with pytest.warns(UserWarning, match="no gradient"):
            assert worths_of(model, groups(model), IDS) == {}
    with pytest.raises(TypeError, match="a calibration batch is"):
        worths_of(Net(), groups(Net()), None)
    model = Net()
    before = snapshot(model)
    with pytest.raises(IndexError):
        worths_of(model, groups(model), IDS + 50)
    assert_unchanged(model, before)
    assert not model.first._forward_hooks
