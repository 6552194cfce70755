"""``tie="untie"``: embeddings of a shared weight get the factors, the output layer keeps it."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from families import small
from models import Tied, assert_unchanged, random_, snapshot
from sequences import PLAIN, logits
from torch import Tensor

from lpgeom import nn
from lpgeom.cli import main
from lpgeom.nn import LowRankEmbedding, LowRankLinear
from lpgeom.nn.stored.huggingface import say_untied
from lpgeom.nn.stored.recipe import read_recipe

IDS = torch.tensor([[5, 17, 80, 3, 1], [99, 4, 4, 63, 8]])

FAMILIES = {**PLAIN, "bert": lambda: small("bert"), "gpt2": lambda: small("gpt2")}

KINDS: list[dict[str, Any]] = [
    {"rank": 3, "subspaces": 1},
    {"rank": 3, "subspaces": 3},
    {"ratio": 0.4},
]

THREE = {"rank": 3, "subspaces": 1}


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return FAMILIES[request.param]()


def squeezed(model: torch.nn.Module, tie: str, **options: Any) -> nn.CompressionReport:
    options = {"p": 2.0, "certify": False, "progress": False, **options}
    return nn.compress(model, tie=tie, **options)


def numbers(model: torch.nn.Module) -> tuple[int, int]:
    """(parameters, bytes of the state), each tensor once."""
    held = {id(x): x for x in model.state_dict(keep_vars=True).values()}.values()
    parameters = {id(q): q for q in model.parameters()}.values()
    return sum(q.numel() for q in parameters), sum(x.nbytes for x in held)


def sharing(model: torch.nn.Module) -> tuple[list[str], list[str]]:
    """(embeddings, other layers) that use the input embedding's weight, by their names."""
    weight = model.get_input_embeddings().weight  # type: ignore[operator]
    held = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if module._parameters.get("weight") is weight
    }
    embeddings = [name for name in held if isinstance(held[name], torch.nn.Embedding)]
    return embeddings, [name for name in held if name not in embeddings]


def by_hand(model: Any, rows: Tensor, embeddings: list[str], others: list[str]) -> Any:
    """A dense copy with these rows in its embeddings, and in its output layer what it had."""
    twin = copy.deepcopy(model)
    for name in others:
        head = twin.get_submodule(name)
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    for name in embeddings:
        twin.get_submodule(name).weight = torch.nn.Parameter(rows.clone())
    return twin


# ---------------------------------------------------------------- what is looked up, what is not


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_every_embedding_is_of_low_rank_and_the_head_is_dense(
    model: Any, options: dict[str, Any]
) -> None:
    before, dense = numbers(model), copy.deepcopy(model)
    embeddings, others = sharing(model)
    weight = model.get_input_embeddings().weight
    report = squeezed(model, "untie", **options)
    (layer,) = report.compressed
    tables = [model.get_submodule(name) for name in embeddings]
    rows = tables[0].weight.detach()
    for table in tables:
        assert isinstance(table, LowRankEmbedding)
        assert torch.equal(table.weight, rows)
        for ours, theirs in zip(table.parameters(), tables[0].parameters(), strict=True):
            assert ours is theirs
    for name in others:
        assert model.get_submodule(name).weight is weight
    assert layer.untied == tuple(others)
    assert {layer.name, *layer.tied} <= set(embeddings)
    assert f"{others[0]} keeps the dense weight" in layer.note
    assert (report.parameters_before, report.bytes_before) == before
    assert (report.parameters_after, report.bytes_after) == numbers(model)
    # What the model says is what it says with these rows looked up, and not what it said.
    tokens = torch.arange(len(rows)).reshape(-1, 20)
    told = logits(by_hand(dense, rows, embeddings, others), tokens)
    assert (logits(model, tokens) - told).abs().max() < 1e-5
    assert (logits(model, tokens) - logits(dense, tokens)).abs().max() > 1e-4


@pytest.mark.parametrize("tie", ["keep", "untie"])
def test_full_rank_changes_nothing(model: Any, tie: str) -> None:
    before = logits(model, IDS)
    d = model.get_input_embeddings().embedding_dim
    report = squeezed(model, tie, rank=d, subspaces=2, force=True)
    assert report.compressed
    assert (logits(model, IDS) - before).abs().max() < 1e-5


def test_kept_ties_are_all_of_the_factors(model: Any) -> None:
    embeddings, others = sharing(model)
    dense = copy.deepcopy(model)
    report = squeezed(model, "keep", **THREE)
    (layer,) = report.compressed
    assert layer.untied == ()
    assert "keeps" not in layer.note
    assert set(others) <= set(layer.tied)
    assert (report.parameters_after, report.bytes_after) == numbers(model)
    assert report.parameters_after < report.parameters_before
    rows = model.get_input_embeddings().weight.detach()
    for name in (*embeddings, *others):
        assert torch.equal(model.get_submodule(name).weight, rows)
    twin = by_hand(dense, rows, embeddings, others)
    for name in others:
        twin.get_submodule(name).weight = torch.nn.Parameter(rows)
    torch.testing.assert_close(logits(model, IDS), logits(twin, IDS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tie", ["keep", "untie"])
@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("family", ["pegasus", "bert"])
def test_a_plan_says_what_is_done(family: str, tie: str, options: dict[str, Any]) -> None:
    model: Any = FAMILIES[family]()
    before = snapshot(model)
    flag = model.config.tie_word_embeddings
    plan = squeezed(model, tie, **options, dry_run=True)
    assert_unchanged(model, before)
    assert model.config.tie_word_embeddings == flag
    report = squeezed(model, tie, **options)
    for ours, theirs in zip(plan.layers, report.layers, strict=True):
        assert (ours.tied, ours.untied) == (theirs.tied, theirs.untied)
    if "rank" in options:
        assert plan.parameters_after == report.parameters_after


def test_reports_keep_what_is_untied() -> None:
    report = squeezed(PLAIN["pegasus"](), "untie", **THREE)
    again = nn.CompressionReport.from_dict(report.to_dict())
    assert again == report
    values = report.to_dict()
    for line in values["layers"]:
        del line["untied"]  # as reports had it before
    assert nn.CompressionReport.from_dict(values).layers[0].untied == ()


# ---------------------------------------------------------------- afterwards


@pytest.mark.parametrize("options", KINDS[1:], ids=str)
def test_saved_and_loaded_bit_for_bit(model: Any, options: dict[str, Any], tmp_path: Path) -> None:
    report = squeezed(model, "untie", **options)
    before = logits(model, IDS)
    nn.save_pretrained(model, tmp_path, report=report)
    again = nn.load_pretrained(tmp_path)
    assert torch.equal(logits(again, IDS), before)
    assert numbers(again) == numbers(model)
    assert read_recipe(tmp_path).report == report


@pytest.mark.parametrize("family", ["t5", "pegasus", "bert"])
@pytest.mark.parametrize("tie", ["keep", "untie"])
def test_the_same_from_the_command(family: str, tie: str, tmp_path: Path) -> None:
    model = FAMILIES[family]()
    model.save_pretrained(tmp_path / "model")
    arguments = ["--tie", tie, "--rank", "3", "--p", "2", "--subspaces", "1", "--quiet"]
    source, out = str(tmp_path / "model"), str(tmp_path / "out")
    assert main(["compress", source, *arguments, "--out", out]) == 0
    report = squeezed(model, tie, **THREE, row_weights="auto")
    streamed = nn.load_pretrained(out)
    assert torch.equal(logits(streamed, IDS), logits(model, IDS))
    assert numbers(streamed) == numbers(model)
    told = read_recipe(out).report
    assert told is not None
    for ours, theirs in zip(report.layers, told.layers, strict=True):
        assert (ours.tied, ours.untied, ours.note) == (theirs.tied, theirs.untied, theirs.note)
    assert (told.parameters_after, told.bytes_after) == numbers(model)


@pytest.mark.parametrize(("options", "tokens"), [(KINDS[1], 110), (KINDS[2], 90)], ids=str)
def test_resized(model: Any, options: dict[str, Any], tokens: int, tmp_path: Path) -> None:
    squeezed(model, "untie", **options)
    n = model.config.vocab_size
    tokens += n - 100
    ids = IDS % 90
    before = logits(model, ids)
    nn.resize_token_embeddings(model, tokens)
    after = logits(model, ids)
    assert after.shape[-1] == tokens == model.config.vocab_size
    kept = min(n, tokens)
    torch.testing.assert_close(after[..., :kept], before[..., :kept])
    assert torch.isfinite(logits(model, ids + tokens - 91)).all()
    nn.save_pretrained(model, tmp_path)
    assert torch.equal(logits(nn.load_pretrained(tmp_path), ids), after)


def test_an_output_layer_that_cannot_be_resized_is_an_error_before_anything_changes() -> None:
    class Strange(torch.nn.Module):
        out_features = 120

        def forward(self, x: Tensor) -> Tensor:
            return x

    model: Any = Tied()
    model.get_input_embeddings = lambda: model.embed
    model.get_output_embeddings = lambda: model.head
    squeezed(model, "untie", **THREE)
    model.head = Strange()
    before = snapshot(model)
    with pytest.raises(TypeError, match="output layer is a Strange without a weight of 120 rows"):
        nn.resize_token_embeddings(model, 130)
    assert_unchanged(model, before)
    assert model.embed.num_embeddings == 120


def test_multiplied_out_the_head_stays_on_its_own(model: Any) -> None:
    embeddings, others = sharing(model)
    squeezed(model, "untie", **THREE)
    before = logits(model, IDS)
    assert nn.decompress(model) == 1
    tables = [model.get_submodule(name).weight for name in embeddings]
    assert all(table is tables[0] for table in tables)
    assert all(model.get_submodule(name).weight is not tables[0] for name in others)
    assert (logits(model, IDS) - before).abs().max() < 1e-5


# ---------------------------------------------------------------- what the config says


@pytest.mark.parametrize("family", FAMILIES)
def test_the_config_says_so_where_nothing_hangs_on_it(family: str) -> None:
    """T5's kin scale by that flag, some in the forward and all as the config is read again."""
    model: Any = FAMILIES[family]()
    squeezed(model, "untie", **THREE)
    assert model.config.tie_word_embeddings == (family in ("t5", "umt5"))


def test_the_config_is_left_alone_where_nothing_was_untied() -> None:
    model = small("bert")
    report = squeezed(model, "untie", layers="*.dense", rank=3, subspaces=1)
    assert report.compressed
    assert model.config.tie_word_embeddings


def test_configs_of_other_kinds() -> None:
    class Raising(SimpleNamespace):
        def from_dict(self, values: Any) -> Any:
            raise KeyError(values)

        to_dict = from_dict

    class Asking(Tied):
        def forward(self, ids: Tensor) -> Tensor:
            x: Tensor = super().forward(ids)
            return 2.0 * x if self.config.tie_word_embeddings else x

    for make, config, said in (
        (Tied, SimpleNamespace(tie_word_embeddings=True), False),
        (Tied, Raising(tie_word_embeddings=True), True),
        (Asking, SimpleNamespace(tie_word_embeddings=True), True),
    ):
        model: Any = make()
        model.config = config
        say_untied(model)
        assert model.config.tie_word_embeddings is said
    say_untied(Tied())


# ---------------------------------------------------------------- other groups


def test_embeddings_that_share_a_weight_with_no_other_layer_have_nothing_to_untie() -> None:
    model = torch.nn.ModuleList([torch.nn.Embedding(60, 8), torch.nn.Embedding(60, 8)])
    model[1].weight = model[0].weight
    (layer,) = squeezed(model, "untie", **THREE).layers
    assert (layer.tied, layer.untied, layer.note) == (("1",), (), "")
    assert model[0].left is model[1].left
    assert layer.parameters_after == 3 * 68 == sum(q.numel() for q in model.parameters())


def test_linear_layers_that_share_a_weight_stay_tied() -> None:
    model = torch.nn.Sequential(*(random_(torch.nn.Linear(20, 20)) for _ in range(2)))
    model[1].weight = model[0].weight
    report = squeezed(model, "untie", layers="linear", **THREE)
    assert (report["0"].tied, report["0"].untied) == (("1",), ())
    assert isinstance(model[1], LowRankLinear)
    assert model[0].left is model[1].left
    assert report.parameters_after == numbers(model)[0]


def test_several_output_layers_keep_the_weight_together() -> None:
    model = Tied()
    model.again = torch.nn.Linear(20, 120, bias=False)
    model.again.weight = model.embed.weight
    layer = squeezed(model, "untie", **THREE)["embed"]
    assert layer.untied == ("head", "again")
    assert "head, again keep the dense weight" in layer.note
    assert model.head.weight is model.again.weight
    assert layer.parameters_after == 3 * 140 + 120 * 20


def test_a_layer_left_alone_is_tied_as_it_was() -> None:
    model = Tied()
    before = snapshot(model)
    layer = squeezed(model, "untie", rank=20, subspaces=1)["embed"]
    assert (layer.compressed, layer.tied, layer.untied) == (False, ("head",), ())
    assert "break-even" in layer.note
    assert_unchanged(model, before)


@pytest.mark.parametrize("name", ["head", "embed"])
def test_a_rank_by_the_name_of_either(name: str) -> None:
    model = Tied()
    report = squeezed(model, "untie", layers="embeddings", rank={name: 4}, subspaces=1)
    assert report["embed"].rank == 4


@pytest.mark.parametrize("ratio", [0.3, 0.6])
def test_unseen_tokens_do_not_win(ratio: float) -> None:
    """Rows of zeros would be logits of 0, which win against whatever is negative."""
    random = np.random.default_rng(0)
    table, head = torch.nn.Embedding(600, 32), torch.nn.Linear(32, 600, bias=False)
    head.weight = table.weight
    common = torch.nn.functional.normalize(torch.ones(32), dim=0)
    with torch.no_grad():
        table.weight.copy_(0.2 * torch.from_numpy(random.standard_normal((600, 32))) + common)
    model = torch.nn.ModuleDict({"table": table, "head": head})
    counts = random.integers(0, 1000, 600).astype(float)
    counts[random.permutation(600)[:20]] = 0.0

    def best() -> Tensor:
        return model["head"](model["table"](torch.arange(200)) - 30 * common).argmax(1)

    before = best()
    report = squeezed(model, "keep", ratio=ratio, row_weights=counts)
    assert (best() == before).float().mean() > 0.9
    assert "rows of less weight count as 0.3 of the mean" in report.layers[0].note
    alone = torch.nn.ModuleDict({"table": torch.nn.Embedding(600, 32)})
    assert not squeezed(alone, "keep", ratio=0.5, row_weights=counts).layers[0].note
