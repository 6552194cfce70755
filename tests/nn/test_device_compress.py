"""Weights on a CUDA device are factorised there: on a stand-in that refuses to come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lpgeom.nn import compress
from lpgeom.nn.factors.factor import factorise, factorise_mixed
from lpgeom.nn.factors.factored import Metric, Spec
from lpgeom.rows import device
from tests.strict_device import strict_device, to_device


class CudaTensor(torch.Tensor):
    """A tensor that says it is on a device, and is fetched only where it is small."""

    largest = 0
    """Entries of the largest that was fetched."""

    @property
    def is_cuda(self) -> bool:
        return True

    def cpu(self) -> Any:
        CudaTensor.largest = max(CudaTensor.largest, self.numel())
        return self.as_subclass(torch.Tensor)

    def numpy(self) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __array__(self, *args: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def there(tensor: torch.Tensor) -> Any:
    return tensor.as_subclass(CudaTensor)


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in takes such a tensor as CuPy does, without a copy through the host."""
    original = device.as_device

    def as_device(A: Any) -> Any:
        if isinstance(A, CudaTensor):
            return to_device(A.as_subclass(torch.Tensor).detach().numpy())
        return original(A)

    monkeypatch.setattr(device, "as_device", as_device)
    CudaTensor.largest = 0


SPECS = {
    "rows": Spec(),
    "p = 2": Spec(p=2.0),
    "clusters": Spec(subspaces=2),
}


@pytest.mark.parametrize("name", list(SPECS))
@pytest.mark.parametrize("shape", [(120, 24), (16, 40)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_factorise(name: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = factorise(weight, 5, SPECS[name])
    with strict_device():
        found = factorise(there(weight), 5, SPECS[name])
    assert found.cost == pytest.approx(expected.cost, rel=1e-6)
    assert found.lower_bound == pytest.approx(expected.lower_bound, rel=1e-6)
    if found.factors.labels is None:
        (ours,), (theirs,) = found.factors.pairs, expected.factors.pairs
        product = (ours.left.double() @ ours.right.double()).as_subclass(torch.Tensor)
        before = theirs.left.double() @ theirs.right.double()
        np.testing.assert_allclose(product.numpy(), before.numpy(), atol=2e-2)
    # Right factors and squares of them come back; the weight does not.
    assert CudaTensor.largest < weight.numel() or shape[0] < 30


def test_metric_and_row_weights() -> None:
    weight = torch.randn(100, 12, generator=torch.Generator().manual_seed(1))
    root = np.diag(np.linspace(1.0, 2.0, 12))
    metric = Metric(root, np.linalg.inv(root))
    spec = Spec(row_weights=np.linspace(0.0, 1.0, 100), metric=metric)
    expected = factorise(weight, 4, spec)
    with strict_device():
        found = factorise(there(weight), 4, spec)
    assert found.cost == pytest.approx(expected.cost, rel=1e-6)


def test_mixed_ranks() -> None:
    weight = torch.randn(200, 12, generator=torch.Generator().manual_seed(2))
    omega = 1.0 / np.arange(1, 201)
    spec = Spec(p=2.0, subspaces=4, ranks="mixed", row_weights=omega)
    expected = factorise_mixed(weight, 1000, spec)
    with strict_device():
        found = factorise_mixed(there(weight), 1000, spec)
    assert found.cost == pytest.approx(expected.cost, rel=1e-6)
    assert found.factors.labels is not None
    assert expected.factors.labels is not None
    assert bool((found.factors.labels == expected.factors.labels).all())


def test_compress_a_model_there() -> None:
    torch.manual_seed(3)
    model, twin = (nn.Sequential(nn.Embedding(150, 16), nn.Linear(16, 16)) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    for module in twin:
        for name, parameter in list(module.named_parameters()):
            setattr(module, name, nn.Parameter(there(parameter.detach())))
    embedding: Any = twin[0]
    assert device.on_device(embedding.weight)
    expected = compress(model, ratio=0.5, progress=False)
    with strict_device():
        found = compress(twin, ratio=0.5, progress=False)
    assert found.layers[0].cost == pytest.approx(expected.layers[0].cost, rel=1e-6)
    out, before = twin(torch.arange(150)).detach(), model(torch.arange(150)).detach()
    np.testing.assert_allclose(out.as_subclass(torch.Tensor).numpy(), before.numpy(), atol=1e-4)
    assert CudaTensor.largest < 150 * 16
