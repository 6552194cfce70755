"""Every family of transformer: compressed, saved, loaded, tuned, multiplied out again."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from families import FAMILIES, HEADS, fine_tuned, run, small

from lpgeom import nn
from lpgeom.nn import LowRankEmbedding, LowRankLinear, LowRankParameter

IDS = torch.randint(5, 290, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def in_factors(model: torch.nn.Module) -> list[torch.nn.Module]:
    kinds = (LowRankEmbedding, LowRankLinear, LowRankParameter)
    return [module for module in model.modules() if isinstance(module, kinds)]


def counted(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_are_as_the_formula(family: str) -> None:
    model = small(family)
    before = counted(model)
    report = nn.compress(model, ratio=0.3, p=2.0, subspaces=1, layers="all", progress=False)
    assert report.parameters_before == before
    assert report.parameters_after == counted(model)
    for layer in report.compressed:
        (n, d), k = layer.shape, layer.rank
        assert k == int(0.7 * n * d / (n + d) + 1e-9)
        assert layer.parameters_after == (n + d) * k
    saved = sum(x.parameters_before - x.parameters_after for x in report.layers)
    assert before - counted(model) == saved
    assert len(report.compressed) >= 9  # the embedding, and every linear layer


def test_the_output_layer_stays_tied(family: str) -> None:
    model = small(family)
    report = nn.compress(model, ratio=0.3, p=2.0, subspaces=1, progress=False)
    (layer,) = report.compressed
    assert layer.tied == (HEADS[family],)
    embedding, head = model.get_input_embeddings(), model.get_submodule(HEADS[family])
    assert isinstance(embedding, LowRankEmbedding)
    assert isinstance(head, LowRankLinear)
    assert head.left is embedding.left
    assert head.right is embedding.right
    x = torch.randn(3, layer.shape[1])
    bias = 0.0 if head.bias is None else head.bias
    torch.testing.assert_close(head(x), (x @ embedding.right.T) @ embedding.left.T + bias)
    # A step of training moves both at once.
    torch.optim.SGD(model.parameters(), 0.1).step()
    model.double().float()
    assert head.left is embedding.left


def test_untied_on_request(family: str) -> None:
    model = small(family)
    dense = model.get_submodule(HEADS[family])
    before = counted(model)
    report = nn.compress(model, ratio=0.3, p=2.0, subspaces=1, tie="untie", progress=False)
    assert model.get_submodule(HEADS[family]) is dense
    assert counted(model) == report.parameters_after > before
    assert not model.config.tie_word_embeddings
    assert "keeps the dense weight" in report.compressed[0].note


def test_full_rank_changes_nothing(family: str) -> None:
    model = small(family)
    before = run(model, IDS)
    plan = nn.compress(model, rank=1, layers="all", dry_run=True)
    ranks = {layer.name: min(layer.shape) for layer in plan.compressed}
    report = nn.compress(model, rank=ranks, layers=list(ranks), force=True, progress=False)
    assert len(report.compressed) == len(ranks)
    assert (run(model, IDS) - before).abs().max() < 1e-5


@pytest.mark.parametrize("subspaces", [1, 3])
def test_saved_and_loaded_bit_for_bit(family: str, subspaces: int, tmp_path: Path) -> None:
    model = small(family)
    report = nn.compress(model, ratio=0.4, p=2.0, layers="all", subspaces=subspaces, progress=False)
    before = run(model, IDS)
    nn.save_pretrained(model, tmp_path / "small", report=report)
    again = nn.load_pretrained(tmp_path / "small")
    assert type(again) is type(model)
    assert torch.equal(run(again, IDS), before)
    assert counted(again) == counted(model)
    assert len(in_factors(again)) == len(in_factors(model))
    assert torch.equal(run(pickle.loads(pickle.dumps(model)), IDS), before)
    other = small(family)
    nn.compress(other, rank=2, p=2.0, subspaces=1, certify=False, progress=False)
    with pytest.raises(RuntimeError, match="size mismatch|Missing key"):
        other.load_state_dict(model.state_dict())
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.data.zero_()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(run(twin, IDS), before)


def test_a_step_of_fine_tuning(family: str) -> None:
    model = small(family)
    nn.compress(model, ratio=0.3, p=2.0, subspaces=1, layers="all", progress=False)
    for _ in fine_tuned(model, IDS):
        for module in in_factors(model):
            for factor in (module.left, module.right):
                assert factor.grad is not None
                assert torch.isfinite(factor.grad).all()


def test_half_precision_and_back(family: str) -> None:
    model = small(family)
    nn.compress(model, ratio=0.3, p=2.0, subspaces=1, layers="all", progress=False)
    before = run(model, IDS)
    half = run(model.bfloat16(), IDS)
    assert half.dtype == torch.bfloat16
    assert (half.float() - before).abs().max() < 0.1
    model.to("cpu").float()
    assert run(model, IDS).dtype == torch.float32


def test_compressing_a_half_precision_model(family: str, tmp_path: Path) -> None:
    model = small(family).to(torch.bfloat16)
    report = nn.compress(model, ratio=0.3, p=2.0, subspaces=1, layers="all", progress=False)
    assert all(module.left.dtype == torch.bfloat16 for module in in_factors(model))
    assert all(layer.cost >= layer.lower_bound for layer in report.compressed)
    nn.save_pretrained(model, tmp_path)
    assert torch.equal(run(nn.load_pretrained(tmp_path), IDS), run(model, IDS))


def test_multiplied_out_again(family: str) -> None:
    model = small(family)
    before = counted(model)
    nn.compress(model, ratio=0.3, p=2.0, subspaces=1, layers="all", progress=False)
    output = run(model, IDS)
    assert nn.decompress(model) >= 9
    assert not in_factors(model)
    assert counted(model) == before
    head = model.get_submodule(HEADS[family])
    assert head.weight is model.get_input_embeddings().weight
    assert (run(model, IDS) - output).abs().max() < 1e-5


@pytest.mark.parametrize("tokens", [310, 250])
@pytest.mark.parametrize("subspaces", [1, 2])
def test_resized(family: str, tokens: int, subspaces: int, tmp_path: Path) -> None:
    model = small(family)
    nn.compress(model, ratio=0.3, p=2.0, subspaces=subspaces, progress=False)
    ids = IDS % 200
    before = run(model, ids)
    with pytest.raises(TypeError, match="LowRankEmbedding"):  # transformers' own refuses, loudly
        model.resize_token_embeddings(tokens)
    nn.resize_token_embeddings(model, tokens)
    assert model.config.vocab_size == tokens
    kept = min(tokens, 300)
    torch.testing.assert_close(run(model, ids)[..., :kept], before[..., :kept])
    if tokens > 300:
        assert run(model, ids + 100).shape[-1] == tokens
    nn.save_pretrained(model, tmp_path)
    assert torch.equal(run(nn.load_pretrained(tmp_path), ids), run(model, ids))


def test_weights_in_an_attention_without_layers() -> None:
    """XLNet's q, k, v, o, r: bare parameters, contracted factor by factor."""
    model = small("xlnet")
    report = nn.compress(model, ratio=0.3, p=1.5, layers="*.rel_attn", progress=False)
    assert {layer.name.rpartition(".")[2] for layer in report.compressed} == set("qkvor")
    assert len(report.compressed) == 10
    attention = model.transformer.layer[0].rel_attn
    assert isinstance(attention.q, LowRankParameter)
    assert type(attention).__name__ == "XLNetRelativeAttention"
    h = torch.randn(3, 2, 32)
    torch.testing.assert_close(
        torch.einsum("ibh,hnd->ibnd", h, attention.q),
        torch.einsum("ibh,hnd->ibnd", h, attention.q.weight),
    )
