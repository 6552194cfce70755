"""Modules in few bits beside the dense ones they stand for, and beside plain loops over bits."""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from coded_tables import arrays, coded
from hypothesis import given, settings
from hypothesis import strategies as st
from models import TOLERANCES, generator
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.nn import QuantizedEmbedding
from lpgeom.nn.factors.coded import Coded, narrowed
from lpgeom.nn.modules.quantized import Quantized
from lpgeom.nn.modules.quantized_embedding import QuantizedHead
from lpgeom.quantized.quantizers import codebooks
from tests import reference

some = settings(deadline=None, derandomize=True, max_examples=60)
tables = st.fixed_dictionaries(
    {
        "n": st.integers(1, 30),
        "d": st.integers(1, 9),
        "r": st.integers(0, 9),
        "g": st.integers(1, 4),
        "seed": st.integers(0, 1000),
        "widths": st.sampled_from([(0,), (0, 1), (1, 3), (0, 2, 8), (8,), tuple(range(9))]),
    }
)


def embedding(held: Coded | None = None, **options: Any) -> QuantizedEmbedding:
    held = coded(torch.float64) if held is None else held
    made: QuantizedEmbedding = QuantizedEmbedding._made(held, None, options)
    return made


def head(bias: bool = True, dtype: torch.dtype = torch.float64, **sizes: Any) -> QuantizedHead:
    held = coded(dtype, **sizes)
    return QuantizedHead.in_place_of(nn.Linear(7, 40, bias, dtype=dtype), "weight", held)


def close(a: Tensor, b: Tensor, dtype: torch.dtype) -> None:
    scale = 1.0 + float(b.detach().abs().max()) if b.numel() else 1.0
    torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=TOLERANCES[dtype] * scale)


# ---- what they compute


@some
@given(tables)
def test_rows_are_those_of_plain_loops(sizes: dict[str, Any]) -> None:
    expected = torch.from_numpy(reference.coded_rows(arrays(**sizes)))
    table = embedding(coded(torch.float64, **sizes))
    close(table.weight, expected, torch.float64)
    ids = torch.randint(sizes["n"], (2, 5), generator=generator(1))
    y = table(ids)
    assert y.shape == (2, 5, sizes["d"])
    close(y, expected[ids], torch.float64)
    close(table.to_dense().weight, expected, torch.float64)


@some
@given(tables, st.sampled_from(sorted(TOLERANCES, key=str)), st.booleans())
def test_the_head_is_the_dense_product(
    sizes: dict[str, Any], dtype: torch.dtype, bias: bool
) -> None:
    held = coded(dtype, **sizes)
    dense = nn.Linear(sizes["d"], sizes["n"], bias, dtype=dtype)
    layer = QuantizedHead.in_place_of(dense, "weight", held)
    x = torch.randn(2, 3, sizes["d"], generator=generator(2)).to(dtype)
    W = embedding(coded(torch.float64, **sizes)).weight
    y = layer(x)
    assert y.dtype == dtype
    shift = None if dense.bias is None else dense.bias.double()
    size = F.linear(x.double().abs(), W.abs(), None).detach()
    expected = F.linear(x.double(), W, shift)
    torch.testing.assert_close(
        y.double(), expected, rtol=0, atol=8 * TOLERANCES[dtype] * (1.0 + float(size.max()))
    )
    assert layer.bias is dense.bias
    assert torch.equal(layer.to_dense().weight, layer.weight)


def test_a_large_table_is_made_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = head(), torch.randn(3, 7, dtype=torch.float64)
    weight, y = layer.weight, layer(x)
    monkeypatch.setattr("lpgeom.nn.modules.quantized.BLOCK", 7 * 9)
    torch.testing.assert_close(layer.weight, weight)
    torch.testing.assert_close(layer(x), y)


def test_ids_of_any_shape() -> None:
    table = embedding()
    for ids in (torch.tensor(3), torch.zeros(0, dtype=torch.long), torch.zeros(2, 0, 3).long()):
        assert table(ids).shape == (*ids.shape, 7)
    assert torch.equal(table(torch.tensor(3)), table(torch.tensor([3]))[0])
    assert torch.equal(table(torch.tensor([3], dtype=torch.int32)), table(torch.tensor([3])))
    for outside in (40, -1):
        with pytest.raises((IndexError, RuntimeError), match="index out of range"):
            table(torch.tensor([outside]))


# ---- tables that are none


def test_what_does_not_go_together() -> None:
    held = coded(n=20, d=4, r=3, g=2)
    assert held.fault() == ""
    wrong = {
        "labels": held.labels + 9,
        "scale_codes": held.scale_codes + 9,
        "bits": held.bits + 9,
        "levels": held.levels[:, 1:],
        "codes": held.codes[1:],
        "basis": held.basis[:, 1:],
        "means": held.means[1:],
        "deviations": held.deviations.long(),
    }
    for name, value in wrong.items():
        broken = replace(held, **{name: value})
        assert broken.fault(), name
        with pytest.raises(ValueError, match="a quantised table cannot have"):
            embedding(broken)
    assert replace(
        held, bits=held.bits[:0], means=held.means[:0], deviations=held.means[:0]
    ).fault()
    with pytest.raises(ValueError, match="a new table has no codes"):
        QuantizedEmbedding(5, 4, 1, 2, 0, 1, 7)
    with pytest.raises(ValueError, match="padding_idx must lie within the 5 rows"):
        QuantizedEmbedding(5, 4, 1, 2, 0, 1, 0, padding_idx=5)


def test_numbers_that_float16_has_are_stored_so() -> None:
    held = coded(torch.float32)
    kinds = {name: value.dtype for name, value in held.stored().items()}
    assert kinds.pop("scale_levels") == torch.float32
    assert set(kinds.values()) == {torch.float16, torch.uint8}
    for name, value in held.stored().items():
        assert torch.equal(value.to(held.tensors()[name].dtype), held.tensors()[name])
    assert held.nbytes == sum(x.nbytes for x in held.stored().values())
    assert narrowed(torch.tensor([1e-9])).dtype == torch.float32
    assert narrowed(torch.tensor([1e9])).dtype == torch.float32
    assert narrowed(torch.tensor([0.5], dtype=torch.bfloat16)).dtype == torch.bfloat16


# ---- options of nn.Embedding


@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
def test_max_norm_shortens_what_is_looked_up(norm: float) -> None:
    table = embedding(max_norm=1.5, norm_type=norm)
    dense = nn.Embedding(40, 7, max_norm=1.5, norm_type=norm, dtype=torch.float64)
    dense.weight.data = table.weight.detach().clone()
    ids = torch.tensor([[3, 3, 7], [0, 19, 3]])
    for _ in range(2):
        torch.testing.assert_close(table(ids), dense(ids), rtol=1e-12, atol=1e-12)
    table(ids).sum().backward()
    assert bool(table.levels.grad.isfinite().all())


@pytest.mark.parametrize("by_frequency", [False, True])
@pytest.mark.parametrize("padding", [None, 2, -3])
def test_gradients_are_those_of_a_dense_table(by_frequency: bool, padding: int | None) -> None:
    options: dict[str, Any] = {"padding_idx": padding, "scale_grad_by_freq": by_frequency}
    table = embedding(**options)
    dense = nn.Embedding(40, 7, dtype=torch.float64, **options)
    dense.weight.data = table.weight.detach().clone()
    ids = torch.tensor([[2, 2, 17], [5, 2, 37]])
    coefficients = torch.randn(2, 3, 7, generator=generator(3), dtype=torch.float64)
    (dense(ids) * coefficients).sum().backward()
    (table(ids) * coefficients).sum().backward()
    # The same gradient of the table, carried on to what makes it.
    other = embedding()
    other.weight.backward(dense.weight.grad)
    for ours, theirs in zip(table.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
        assert theirs.grad.any()


def test_options_reach_the_dense_table() -> None:
    options: dict[str, Any] = {
        "padding_idx": 4, "max_norm": 2.0, "norm_type": 1.0, "scale_grad_by_freq": True,
        "sparse": True,
    }  # fmt: skip
    table = embedding(**options).eval()
    dense = table.to_dense()
    assert {key: getattr(dense, key) for key in options} == options
    assert not dense.training


# ---- ordinary modules


def everyone() -> list[Quantized]:
    return [
        embedding(padding_idx=1), embedding(coded(torch.float64, widths=(0,)), max_norm=9.0),
        embedding(coded(torch.float64, r=0)), head(), head(bias=False),
    ]  # fmt: skip


def given_to(module: Quantized) -> Tensor:
    if isinstance(module, QuantizedEmbedding):
        return torch.tensor([[1, 5, 5]])
    return torch.randn(2, 7, generator=generator(4), dtype=torch.float64)


@pytest.mark.parametrize("i", range(5))
def test_pickled_and_copied(i: int) -> None:
    module = everyone()[i]
    for again in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert repr(again) == repr(module)
        assert torch.equal(again.weight, module.weight)
        assert torch.equal(again(given_to(module)), module(given_to(module)))
        assert again.held.first is not module.held.first


@pytest.mark.parametrize("i", range(5))
def test_state_dict_round_trip(i: int) -> None:
    module, fresh = everyone()[i], everyone()[i]
    for tensor in fresh.state_dict().values():
        tensor.zero_()
    fresh.load_state_dict(module.state_dict(), strict=True)
    assert torch.equal(fresh.weight, module.weight)
    bias = {"bias"} if getattr(module, "bias", None) is not None else set()
    assert set(module.state_dict()) == set(Coded.__dataclass_fields__) | bias


def test_a_state_of_other_sizes() -> None:
    module, other = embedding(), embedding(coded(torch.float64, r=4, g=2, seed=5))
    shared = QuantizedHead.in_place_of(nn.Linear(7, 40), "weight", module.held)
    module.load_state_dict(other.state_dict())
    assert torch.equal(module.weight, other.weight)
    shared.load_state_dict(other.state_dict() | {"bias": torch.zeros(40)})
    assert shared.codes is module.codes
    assert torch.equal(shared.weight, other.weight)
    with pytest.raises(RuntimeError, match="size mismatch"):
        module.load_state_dict(embedding(coded(torch.float64, n=9)).state_dict())
    broken = other.state_dict() | {"labels": other.labels + 9}
    with pytest.raises(RuntimeError, match="size mismatch|cannot have"):
        embedding(coded(torch.float64, seed=7)).load_state_dict(broken)


@pytest.mark.parametrize("i", range(5))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_cast(i: int, dtype: torch.dtype) -> None:
    module = everyone()[i]
    before, codes = module.weight.detach().clone(), module.codes.clone()
    module.to(dtype)
    assert {q.dtype for q in module.parameters()} == {module.weight.dtype} == {dtype}
    torch.testing.assert_close(
        module.weight.double(), before, rtol=0,
        atol=TOLERANCES[dtype] * (1.0 + float(before.abs().max())),
    )  # fmt: skip
    assert torch.equal(module.codes, codes)
    assert (
        module(given_to(module) if "Emb" in repr(module) else given_to(module).to(dtype)).dtype
        == dtype
    )
    meta = copy.deepcopy(module).to("meta")
    assert meta.weight.is_meta
    assert meta.weight.shape == module.weight.shape


def test_autocast_computes_in_its_dtype() -> None:
    layer, x = head(dtype=torch.float32), torch.randn(2, 7)
    table = embedding(coded(torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        assert y.dtype == torch.bfloat16
        assert table(torch.tensor([1, 2])).dtype == torch.float32
    y.float().sum().backward()
    assert layer.basis.grad.dtype == torch.float32


def test_repr() -> None:
    text = repr(embedding(padding_idx=-1))
    assert text.startswith("QuantizedEmbedding(40, 7, ")
    assert text.endswith(" bits an entry, groups=3, components=6, padding_idx=39)")
    assert repr(head()).startswith("QuantizedHead(in_features=7, out_features=40, ")


def test_gradcheck() -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[0, 3], [3, 5]])
    held = coded(torch.float64, n=6, d=5, r=3, widths=(0, 1, 4))
    table = embedding(held)
    layer = QuantizedHead.in_place_of(nn.Linear(5, 6, False), "weight", held)
    for module, first in ((table, ()), (layer, (x,))):
        names = [name for name, _ in module.named_parameters()]
        values = [module.get_parameter(name).detach().requires_grad_() for name in names]

        def called(
            *values: Tensor, module: nn.Module = module, names: list[str] = names,
            count: int = len(first),
        ) -> Tensor:  # fmt: skip
            given = dict(zip(names, values[count:], strict=True))
            arguments = values[:count] or (ids,)
            return torch.func.functional_call(module, given, arguments)  # type: ignore[no-any-return]

        assert torch.autograd.gradcheck(called, (*first, *values))


def test_fine_tuning_moves_the_parameters_and_no_code() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(embedding(coded(torch.float32)), nn.Linear(7, 3))
    codes = model[0].codes.clone()
    ids, target = torch.arange(40), torch.randn(40, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = (model(ids) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(model[0].codes, codes)


# ---- compilers


MORE = torch.tensor([[4, 4, 0], [19, 1, 2], [7, 8, 9]])


@pytest.mark.parametrize("i", range(5))
def test_export_with_a_dynamic_batch(i: int) -> None:
    module = everyone()[i]
    x = torch.cat([given_to(module)] * 2)
    more = MORE if isinstance(module, QuantizedEmbedding) else torch.cat([x, x])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            copy.deepcopy(module), (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
        )
    torch.testing.assert_close(program.module()(more), module(more))


@pytest.mark.parametrize("i", range(5))
def test_compiled_in_one_graph(i: int) -> None:
    module = everyone()[i]
    x = given_to(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(copy.deepcopy(module), backend="aot_eager", fullgraph=True)
        y = compiled(x)
    torch.testing.assert_close(y, module(x))
    if y.requires_grad:  # a table of zeros has nothing to learn
        y.sum().backward()
        module(x).sum().backward()
    for ours, theirs in zip(compiled.parameters(), module.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("i", [0, 3])
def test_traced_with_other_sizes(i: int) -> None:
    module = everyone()[i]
    x = given_to(module)
    more = MORE if i == 0 else torch.cat([x, x])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, x)
    torch.testing.assert_close(traced(more), module(more))


def test_a_row_may_begin_at_any_byte() -> None:
    """Rows without bits, with one byte, with many: the derived places are those of the loops."""
    made = arrays(n=200, d=3, r=5, g=4, seed=3)
    made["bits"][0] = 0
    made["bits"][1] = [1, 0, 0, 0, 0]
    made["bits"][2] = [8, 8, 8, 8, 8]
    strides = -(-made["bits"].astype(int).sum(1) // 8)
    rng = np.random.default_rng(0)
    made["levels"] = rng.normal(size=(len(set(made["bits"].flat) - {0}), 256))
    made["codes"] = rng.integers(0, 256, strides[made["labels"]].sum()).astype(np.uint8)
    tensors = {name: torch.from_numpy(array) for name, array in made.items()}
    real = {k: v.double() for k, v in tensors.items() if v.is_floating_point()}
    table = embedding(Coded(**(tensors | real)))
    close(table.weight, torch.from_numpy(reference.coded_rows(made)), torch.float64)


def test_a_table_without_codebooks_of_its_own_has_the_usual_ones() -> None:
    sizes: dict[str, Any] = {"widths": (0, 1, 4, 8), "g": 5}
    made = arrays(**sizes)
    books = codebooks("trellis")[[1, 4, 8]]
    expected = reference.coded_rows(made | {"levels": books.astype(np.float64)})
    held = replace(coded(torch.float64, **sizes), levels=torch.empty(0, 256).double())
    table = embedding(held)
    close(table.weight, torch.from_numpy(expected), torch.float64)
    assert "usual" not in table.state_dict()
    again = embedding(coded(torch.float64, **sizes))
    again.load_state_dict(table.state_dict())
    assert torch.equal(again.weight, table.weight)
