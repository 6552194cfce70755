"""Linear layers in few bits beside the dense ones they stand for."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import TOLERANCES, generator
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.nn import QuantizedLinear, decompress, load_pretrained, save_pretrained
from lpgeom.nn.factors import rounded as tensors
from lpgeom.nn.factors.rounded import Rounded, unpacked
from lpgeom.nn.model.replace import build, install
from lpgeom.nn.model.sites import groups
from lpgeom.nn.stored.recipe import CheckpointError
from lpgeom.quantized.rounding import packed, rounded

some = settings(deadline=None, derandomize=True, max_examples=60)
DTYPES = tuple(TOLERANCES)


def dense(d: int = 7, n: int = 5, bias: bool = True, dtype: Any = torch.float64) -> nn.Linear:
    layer = nn.Linear(d, n, bias, dtype=torch.float64)
    with torch.no_grad():
        for q in layer.parameters():
            q.normal_(generator=generator(d + n))
    return layer.to(dtype)


def layer(bits: int = 3, group: int | None = 4, **options: Any) -> QuantizedLinear:
    return QuantizedLinear.from_linear(dense(**options), bits, group)


@some
@given(
    st.integers(1, 30), st.integers(1, 9), st.integers(1, 8), st.sampled_from([None, 1, 4, 32]),
    st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3), st.booleans(),
)  # fmt: skip
def test_the_layer_is_the_dense_product(
    d: int, n: int, bits: int, group: int | None, dtype: torch.dtype, batch: list[int], bias: bool
) -> None:
    old = dense(d, n, bias, dtype)
    made = QuantizedLinear.from_linear(old, bits, group)
    W = old.weight.detach().double().numpy()
    found = rounded(W if dtype == torch.float64 else W.astype(np.float32), bits, group)
    torch.testing.assert_close(
        made.weight.double(), torch.from_numpy(found.dense()), rtol=0,
        atol=TOLERANCES[dtype] * (1.0 + abs(W).max()),
    )  # fmt: skip
    x = torch.randn(*batch, d, generator=generator(2)).to(dtype)
    y = made(x)
    assert (y.shape, y.dtype) == ((*batch, n), dtype)
    assert torch.equal(y, F.linear(x, made.weight, old.bias))
    assert made.bias is old.bias
    again = made.to_dense()
    assert torch.equal(again.weight, made.weight)
    assert (made.bits, made.group) == (bits, min(group or d, d))


@some
@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 40), st.integers(0, 99))
def test_codes_are_unpacked_bit_for_bit(bits: int, n: int, d: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << bits, (n, d)).astype(np.uint8)
    found = unpacked(torch.from_numpy(packed(codes, bits)), bits, d)
    assert torch.equal(found, torch.from_numpy(codes).int())


def test_a_large_layer_is_unpacked_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    made = layer(d=20, n=9)
    weight = made.weight
    monkeypatch.setattr(tensors, "BLOCK", 45)
    assert torch.equal(made.weight, weight)


def test_errors_fed_back_where_a_moment_is_given() -> None:
    old = dense(32, 16)
    X = torch.randn(200, 4, generator=generator(1)).double() @ torch.randn(4, 32).double()
    near = QuantizedLinear.from_linear(old, 2, 8)
    fed = QuantizedLinear.from_linear(old, 2, 8, moment=(X.T @ X).numpy())
    assert (fed(X) - old(X)).norm() < 0.5 * (near(X) - old(X)).norm()


def test_what_cannot_be_quantised() -> None:
    with pytest.raises(TypeError, match="expected a torch"):
        QuantizedLinear.from_linear(nn.Embedding(3, 4))
    with pytest.raises(TypeError, match="expected a torch"):
        QuantizedLinear.from_linear(nn.Sequential())
    with pytest.raises(TypeError, match="is in few bits"):
        QuantizedLinear.from_linear(layer())
    with pytest.raises(TypeError, match="meta"):
        QuantizedLinear.from_linear(nn.Linear(3, 4, device="meta"))
    for bits in (0, 9):
        with pytest.raises(ValueError, match="bits must be"):
            layer(bits)
        with pytest.raises(ValueError, match="bits must be"):
            QuantizedLinear(4, 3, bits)
    with pytest.raises(ValueError, match="group must be"):
        QuantizedLinear(4, 3, 2, 0)
    held = layer(d=8).held
    for name, value in (
        ("codes", held.codes[:, 1:]), ("scales", held.scales[1:]), ("levels", held.levels[1:]),
        ("levels", held.levels.long()), ("codes", held.codes.int()), ("group", 0),
    ):  # fmt: skip
        broken = replace(held, **{name: value})
        assert broken.fault(), name
        with pytest.raises(ValueError, match="a layer in few bits cannot have"):
            layer(d=8).take(broken)
    bad = dense()
    with torch.no_grad():
        bad.weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        QuantizedLinear.from_linear(bad)


# ---- an ordinary module


def everyone() -> list[QuantizedLinear]:
    return [layer(), layer(4, None, bias=False), layer(8, 2), layer(1, 4), layer(5, 3, d=17)]


def given_to(module: QuantizedLinear) -> Tensor:
    return torch.randn(2, module.in_features, generator=generator(4), dtype=torch.float64)


@pytest.mark.parametrize("i", range(5))
def test_pickled_copied_and_stored(i: int) -> None:
    module, x = everyone()[i], given_to(everyone()[i])
    for again in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert repr(again) == repr(module)
        assert torch.equal(again(x), module(x))
        assert again.scales is not module.scales
    fresh = QuantizedLinear(
        module.in_features, 5, module.bits, module.group, module.bias is not None,
        dtype=torch.float64,
    )  # fmt: skip
    assert not fresh(x).any()
    fresh.load_state_dict(module.state_dict(), strict=True)
    assert torch.equal(fresh(x), module(x))
    bias = {"bias"} if module.bias is not None else set()
    assert set(module.state_dict()) == {"codes", "scales", "levels"} | bias


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_cast(dtype: torch.dtype) -> None:
    for module in everyone():
        before, codes = module.weight.detach().clone(), module.codes.clone()
        module.to(dtype)
        assert {q.dtype for q in module.parameters()} == {module.weight.dtype} == {dtype}
        torch.testing.assert_close(
            module.weight.double(), before, rtol=0,
            atol=TOLERANCES[dtype] * (1.0 + float(before.abs().max())),
        )  # fmt: skip
        assert torch.equal(module.codes, codes)
        assert module(given_to(module).to(dtype)).dtype == dtype
        assert copy.deepcopy(module).to("meta").weight.is_meta


def test_autocast_computes_in_its_dtype() -> None:
    made = layer(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = made(torch.randn(2, 7))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert made.scales.grad.dtype == torch.float32


def test_gradients() -> None:
    made = layer(d=6)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)

    def called(x: Tensor, scales: Tensor, levels: Tensor, bias: Tensor) -> Tensor:
        given = {"scales": scales, "levels": levels, "bias": bias}
        return torch.func.functional_call(made, given, (x,))

    assert torch.autograd.gradcheck(called, (x, made.scales, made.levels, made.bias))
    frozen = dense().requires_grad_(False)
    assert not any(q.requires_grad for q in QuantizedLinear.from_linear(frozen).parameters())
    made(x).sum().backward()
    torch.testing.assert_close(x.grad, made.weight.detach().sum(0).expand_as(x))


@pytest.mark.parametrize("i", range(5))
def test_exported_compiled_and_traced(i: int) -> None:
    module = everyone()[i]
    x = given_to(module)
    more = torch.cat([x, x, x])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            copy.deepcopy(module), (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
        )
        compiled = torch.compile(copy.deepcopy(module), backend="aot_eager", fullgraph=True)
        traced = torch.jit.trace(module, x)
        compiled(x).sum().backward()
    module(x).sum().backward()
    torch.testing.assert_close(program.module()(more), module(more))
    torch.testing.assert_close(traced(more), module(more))
    torch.testing.assert_close(compiled(x), module(x))
    torch.testing.assert_close(compiled.scales.grad, module.scales.grad)


# ---- in a model


class Conv1D(nn.Module):
    """What transformers' class of that name is."""

    def __init__(self, d: int, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d, n, generator=generator(0)))
        self.bias = nn.Parameter(torch.randn(n, generator=generator(1)))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


Conv1D.__module__ = "transformers.pytorch_utils"


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 24), nn.GELU(), nn.Linear(24, 20, bias=False))


def quantised(made: nn.Sequential, bits: int = 5) -> nn.Sequential:
    for group in groups(made):
        W = group.head.matrix(group.head.weight.detach())
        held = Rounded.of(rounded(W.numpy(), bits, 8), W.dtype)
        install(build(group, held))
    return made


def test_a_conv1d_is_a_linear_layer() -> None:
    old, x = Conv1D(20, 12), torch.randn(3, 20)
    made = QuantizedLinear.from_linear(old, 8)
    torch.testing.assert_close(made(x), old(x), rtol=0, atol=0.1)
    assert made.weight.shape == (12, 20)
    whole = quantised(nn.Sequential(old), 8)
    assert torch.equal(whole(x), QuantizedLinear.from_linear(old, 8, 8)(x))


def test_saved_and_loaded(tmp_path: Path) -> None:
    made, x = quantised(model()), torch.randn(3, 20)
    save_pretrained(made, tmp_path)
    again = load_pretrained(tmp_path, model=model())
    assert torch.equal(again(x), made(x))
    assert isinstance(again[0], QuantizedLinear)
    (file,) = tmp_path.glob("*.safetensors")
    size = made[0].nbytes + made[2].nbytes + 4 * 24
    assert 0 < file.stat().st_size - size < 4096
    assert made[0].nbytes == 24 * 13 + 2 * (24 * 3 + 32)
    recipe = json.loads((tmp_path / "lpgeom.json").read_text())
    assert recipe["layers"][0]["sizes"] == {"bits": 5, "group": 8}
    recipe["layers"][0]["sizes"]["bits"] = 4
    (tmp_path / "lpgeom.json").write_text(json.dumps(recipe))
    with pytest.raises(CheckpointError):
        load_pretrained(tmp_path, model=model())


def test_dense_again(tmp_path: Path) -> None:
    made, x = quantised(model()), torch.randn(3, 20)
    y = made(x)
    save_pretrained(made, tmp_path)
    flat = load_pretrained(tmp_path, model=model(), dense=True)
    assert type(flat[0]) is nn.Linear
    assert torch.equal(flat(x), y)
    assert decompress(made) == 2
    assert torch.equal(made(x), y)
