"""Weights found by the types of modules: shared, tied, and those that cannot be replaced."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from models import Nested, Tied, assert_unchanged, random_, snapshot
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lpgeom.nn import LowRankEmbedding, LowRankLinear, LowRankParameter, compress, decompress
from lpgeom.nn.factors.groups import Factors
from lpgeom.nn.model.replace import build, install
from lpgeom.nn.model.sites import groups


def obstacles(model: nn.Module, **options: Any) -> dict[str, str]:
    return {group.name: group.obstacle for group in groups(model, **options)}


def squeeze(model: nn.Module, **options: Any) -> Any:
    options = {"rank": 4, "p": 2.0, "layers": "all", "progress": False, **options}
    return compress(model, **options)


def test_shared_modules_are_one_layer() -> None:
    model = Nested()
    report = squeeze(model)
    mix = model.blocks[0]["mix"]
    assert isinstance(mix, LowRankLinear)
    assert model.blocks[1]["mix"] is mix
    assert [layer.name for layer in report.layers].count("blocks.0.mix") == 1
    assert "blocks.1.mix" not in [layer.name for layer in report.layers]
    assert model(torch.arange(5)).shape == (5, 3)


def test_tied_weights_stay_tied() -> None:
    model = Tied()
    bias = model.head.bias
    report = squeeze(model, layers="embeddings")
    assert report["embed"].tied == ("head",)
    assert model.embed.left is model.head.left
    assert model.embed.right is model.head.right
    assert model.head.bias is bias
    parameters = sum(q.numel() for q in model.parameters())
    assert parameters == report.parameters_after == 4 * 140 + 20 * 20 + 20 + 120
    x = torch.randn(3, 20)
    expected = (x @ model.embed.right.T) @ model.embed.left.T + bias
    torch.testing.assert_close(model.head(x), expected)
    model.double().half().float()
    assert model.embed.left is model.head.left
    again = copy.deepcopy(model)
    assert again.embed.left is again.head.left
    assert again.embed.left is not model.embed.left
    model(torch.tensor([1, 2])).sum().backward()
    assert model.head.left.grad is model.embed.left.grad is not None


def test_untied() -> None:
    model = Tied()
    dense = model.embed.weight
    report = squeeze(model, layers="embeddings", tie="untie")
    assert isinstance(model.embed, LowRankEmbedding)
    assert model.head.weight is dense
    assert (report["embed"].tied, report["embed"].untied) == ((), ("head",))
    assert "head keeps the dense weight" in report["embed"].note
    assert report.parameters_after == sum(q.numel() for q in model.parameters())
    assert report["embed"].parameters_after == 4 * 140 + 120 * 20


def test_tied_linear_layers() -> None:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20), nn.Linear(20, 20))
    model[2].weight = model[0].weight
    report = squeeze(model)
    assert [layer.name for layer in report.layers] == ["0", "1"]
    assert model[0].left is model[2].left
    assert model[0].bias is not model[2].bias
    assert decompress(model) == 2
    assert model[0].weight is model[2].weight


def test_a_weight_shared_with_what_cannot_be_replaced_stays() -> None:
    class Own(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1.0

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(40, 8)
            self.again = self.embed.weight

    for other in (Own(8, 40), Holder()):
        model = nn.ModuleDict({"embed": nn.Embedding(40, 8), "other": other})
        if isinstance(other, Own):
            other.weight = model["embed"].weight
            assert obstacles(model)["other"] == "is of type Own, whose forward is its own"
        else:
            other.embed.weight = other.again = model["embed"].weight
        assert "shares its weight with other" in obstacles(model)["embed"]
        before = snapshot(model)
        report = squeeze(model, layers="embeddings")
        assert not report.compressed
        assert_unchanged(model, before)


class Conv1D(nn.Module):
    pass


def test_conv1d_is_found_by_its_library() -> None:
    transformers = pytest.importorskip("transformers.pytorch_utils")
    model = nn.Sequential(random_(transformers.Conv1D(30, 20)), Conv1D())
    dense = copy.deepcopy(model[0])
    found = groups(model)
    assert [(group.name, group.kind, group.head.shape) for group in found] == [
        ("0", "conv1d", (30, 20))
    ]
    squeeze(model, rank=20, force=True)
    assert isinstance(model[0], LowRankLinear)
    x = torch.randn(3, 20)
    torch.testing.assert_close(model[0](x), dense(x), rtol=1e-4, atol=1e-5)
    tied = nn.Sequential(transformers.Conv1D(20, 20), nn.Linear(20, 20))
    tied[1].weight = tied[0].weight
    assert "in another shape" in obstacles(tied)["0"]


class XLNetRelativeAttention(nn.Module):
    """Bare parameters, found by the type's name."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.randn(16, 4, 4))
        self.o = nn.Parameter(torch.randn(16, 4, 4))
        self.other = nn.Parameter(torch.randn(16, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bnd,hnd->bh", torch.einsum("bh,hnd->bnd", x, self.q), self.o)


def test_bare_parameters() -> None:
    model = nn.Sequential(XLNetRelativeAttention())
    dense = copy.deepcopy(model)
    report = squeeze(model, layers="linear", rank=16, force=True)
    assert [(layer.name, layer.shape, layer.kind) for layer in report.layers] == [
        ("0.q", (16, 16), "parameter"), ("0.o", (16, 16), "parameter"),
    ]  # fmt: skip
    assert isinstance(model[0].q, LowRankParameter)
    assert isinstance(model[0].other, nn.Parameter)
    x = torch.randn(3, 16)
    torch.testing.assert_close(model(x), dense(x), rtol=1e-4, atol=1e-4)
    again = squeeze(model, layers="linear")
    assert [(layer.shape, layer.kind, layer.note) for layer in again.layers] == [
        ((16, 16), "parameter", "is in factors already")
    ] * 2
    assert decompress(model) == 2
    torch.testing.assert_close(model(x), dense(x), rtol=1e-4, atol=1e-4)
    squeeze(model[0], layers="linear")  # a root that owns them
    assert isinstance(model[0].q, LowRankParameter)


# ---- what cannot be replaced


def test_multihead_attention_is_left_alone_and_works() -> None:
    model = nn.Sequential(nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 32))
    before = copy.deepcopy(model)
    report = squeeze(model)
    assert "MultiheadAttention" in report["0.out_proj"].note
    assert isinstance(model[1], LowRankLinear)
    x = torch.randn(2, 5, 32)
    torch.testing.assert_close(model[0](x, x, x)[0], before[0](x, x, x)[0])


@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:The PyTorch API of nested")
def test_transformer_encoder_works_in_every_mode() -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(random_(layer, scale=0.1), 2)
    squeeze(model, rank=6)
    assert isinstance(model.layers[1].linear1, LowRankLinear)
    dense = copy.deepcopy(model)
    decompress(dense)
    assert isinstance(dense.layers[1].linear1, nn.Linear)
    x = torch.randn(2, 5, 32)
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[:, 4] = True
    for mode in (True, False):
        model.train(mode), dense.train(mode)
        for options in ({}, {"src_key_padding_mask": mask}):
            y = model(x, **options)
            torch.testing.assert_close(y[:, :4], dense(x, **options)[:, :4], rtol=1e-4, atol=1e-5)
            with torch.no_grad():  # the fast path, where there is one
                fast = model(x, **options)
            torch.testing.assert_close(fast[:, :4], y[:, :4], rtol=1e-4, atol=1e-5)


def test_computed_weights_are_left_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = nn.utils.weight_norm(nn.Linear(20, 20))
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(20, 20)),
        parametrizations.spectral_norm(nn.Linear(20, 20)),
        old, nn.Linear(20, 20),
    )  # fmt: skip
    x = torch.randn(3, 20)
    report = squeeze(model)
    for name in "012":
        assert "computed" in report[name].note
    assert report["3"].compressed
    model(x).sum().backward()


def test_forwards_of_their_own() -> None:
    class Scaled(nn.Embedding):
        def forward(self, input: Tensor) -> Tensor:
            return 2.0 * super().forward(input)

    patched = nn.Linear(20, 20)
    patched.forward = lambda input: input  # type: ignore[method-assign]
    model = nn.ModuleList([Scaled(50, 8), patched, nn.EmbeddingBag(50, 8)])
    report = squeeze(model)
    assert "Scaled, whose forward is its own" in report["0"].note
    assert "set on the instance" in report["1"].note
    assert "EmbeddingBag, whose forward is its own" in report["2"].note
    assert not report.compressed
    assert report.parameters_after == report.parameters_before


def test_layers_that_hold_more_are_left_alone() -> None:
    """An adapter hung into a linear layer would be lost with it."""
    model = nn.Sequential(*(random_(nn.Linear(20, 20)) for _ in range(3)))
    model[0].adapter = nn.Linear(20, 20)
    model[1].register_buffer("mask", torch.ones(20))
    model[2].gain = nn.Parameter(torch.ones(20))
    names = [name for name, _ in model.named_parameters()]
    report = squeeze(model)
    for name, more in (("0", "adapter"), ("1", "mask"), ("2", "gain")):
        assert report[name].note == f"holds more than a weight and a bias ({more})"
    assert report["0.adapter"].compressed
    assert {name for name in names if "adapter" not in name} <= dict(
        model.named_parameters()
    ).keys()


@pytest.mark.parametrize("kind", ["quantised", "integers", "sparse", "meta", "lazy"])
def test_weights_without_floating_data_are_errors(kind: str) -> None:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    if kind == "quantised":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)
            except RuntimeError as error:
                pytest.skip(f"no quantised engine here: {error}")
    elif kind == "integers":
        model[1].weight = nn.Parameter(model[1].weight.to(torch.int8), requires_grad=False)
    elif kind == "sparse":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model[1].weight = nn.Parameter(model[1].weight.detach().to_sparse_csr())
    elif kind == "meta":
        model[1].to("meta")
    else:
        model[1] = nn.LazyLinear(20)
    word = {
        "quantised": "is quantised", "integers": "torch.int8", "sparse": "sparse_csr",
        "meta": "meta device", "lazy": "lazy",
    }[kind]  # fmt: skip
    modules = [id(m) for m in model.modules()]
    with pytest.raises(TypeError, match=rf"[01] .*{word}"):
        squeeze(model)
    assert [id(m) for m in model.modules()] == modules
    assert all(type(m) is not LowRankLinear for m in model)


def test_a_meta_model_has_its_structure() -> None:
    with torch.device("meta"):
        model = Tied()
        model.head.weight = model.embed.weight
    assert obstacles(model, meta=True) == {"embed": "", "inner": ""}
    assert "meta" in obstacles(model)["embed"]


def test_a_model_that_is_itself_a_layer() -> None:
    for model, instead in ((nn.Linear(20, 20), "Linear.from_linear"),
                           (nn.Embedding(50, 8), "Embedding.from_embedding")):  # fmt: skip
        with pytest.raises(ValueError, match=f"use lpgeom.nn.LowRank{instead}"):
            squeeze(model)
    low = LowRankLinear.from_linear(nn.Linear(20, 20), 3)
    with pytest.raises(ValueError, match="is itself a LowRankLinear"):
        squeeze(low)
    with pytest.raises(ValueError, match="its to_dense"):
        decompress(low)
    for bad in (nn.Conv1d(3, 3, 1), nn.Embedding(4, 4), nn.Sequential(nn.Linear(3, 3)), low):
        with pytest.raises(TypeError, match="torch.nn.Linear|in factors"):
            LowRankLinear.from_linear(bad, 1)
    with pytest.raises(TypeError, match="expected a torch.nn.Embedding, got Linear"):
        LowRankEmbedding.from_embedding(nn.Linear(3, 3), 1)
    with pytest.raises(ValueError, match=r"rank must be at most min\(20, 20\) = 20, got 21"):
        LowRankLinear.from_linear(nn.Linear(20, 20), 21)
    with pytest.raises(TypeError, match="unknown option 'rnk'"):
        LowRankLinear.from_linear(nn.Linear(20, 20), 2, rnk=3)


def test_install_puts_everything_back_in_order() -> None:
    model = nn.Sequential(XLNetRelativeAttention(), Tied())
    made = []
    for group in groups(model):
        n, d = group.head.shape
        made += build(group, Factors((torch.randn(n, 2),), (torch.randn(2, d),)))
    made[-1] = (made[-1][0], object())  # type: ignore[call-overload]
    broken = [*made[:-1], (made[-1][0], made[-1][1])]
    broken[-1][0].places.append((model, "no such place"))

    class Refuses(dict):  # type: ignore[type-arg]
        def __setitem__(self, key: str, value: Any) -> None:
            if key == "no such place":
                raise KeyboardInterrupt
            super().__setitem__(key, value)

    model._modules = Refuses(model._modules)
    before = snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        install(broken)
    assert_unchanged(model, before)
