"""Mixed ranks from end to end: compressed, saved, loaded, resized, multiplied out again."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, HEADS, fine_tuned, minilm, run, small
from hypothesis import given, settings
from hypothesis import strategies as st
from models import Nested, Tied, assert_unchanged, generator, same_bits, snapshot
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_checkpoint import paths, values
from torch import Tensor

from lpgeom import nn
from lpgeom.cli import main
from lpgeom.io.checksum import sha256_of
from lpgeom.nn import LowRankEmbedding, LowRankLinear
from lpgeom.nn.factors.factor import factorise_mixed
from lpgeom.nn.factors.factored import Spec
from lpgeom.nn.factors.groups import are_places
from lpgeom.nn.plan.plan import LEAST
from lpgeom.nn.report.page import page
from lpgeom.nn.stored.recipe import CheckpointError, read_recipe

IDS = torch.randint(5, 240, (2, 9), generator=generator(0))

MIXED: dict[str, Any] = {
    "ratio": 0.4, "p": 1.5, "subspaces": 3, "ranks": "mixed", "row_weights": "frequency",
    "certify": False, "progress": False, "allocate": "uniform",
}  # fmt: skip


def squeezed(model: torch.nn.Module, **options: Any) -> nn.CompressionReport:
    return nn.compress(model, **{**MIXED, **options})


def counted(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def sizes(layer: nn.LayerReport) -> int:
    """Numbers that the reported ranks and rows take."""
    d = layer.shape[1]
    assert layer.ranks is not None
    assert layer.counts is not None
    groups = zip(layer.ranks, layer.counts, strict=True)
    return sum(n_c * d if k == d else k * (n_c + d) for k, n_c in groups if n_c)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- one weight


weights = st.fixed_dictionaries(
    {
        "n": st.integers(2, 60),
        "d": st.integers(2, 12),
        "share": st.floats(0.05, 1.0),
        "j": st.integers(2, 5),
        "p": st.sampled_from([1.0, 1.5, 2.0, 3.0]),
        "dtype": st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]),
        "seed": st.integers(0, 100),
    }
)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(weights)
def test_costs_are_those_of_the_factors_as_stored(w: dict[str, Any]) -> None:
    n, d, p = w["n"], w["d"], w["p"]
    W = torch.randn(n, d, generator=generator(w["seed"]), dtype=torch.float64).to(w["dtype"])
    omega = 1.0 / (1.0 + np.arange(n))
    budget = max(n + d, int(w["share"] * n * d))
    spec = Spec(p=p, subspaces=w["j"], ranks="mixed", row_weights=omega)
    found = factorise_mixed(W, budget, spec)
    factors = found.factors
    assert factors.parameters <= max(budget, n * d)
    assert len(factors.lefts) == len(factors.rights) == w["j"]
    assert list(factors.ranks) == sorted(factors.ranks, reverse=True)
    layer = LowRankEmbedding.from_factors(
        factors.lefts, factors.rights, labels=factors.labels, places=factors.places
    )
    assert are_places(layer.labels, layer.places, layer.counts)
    rows = layer.double().weight.detach().numpy()
    off = np.linalg.norm(W.double().numpy() - rows, axis=1)
    assert found.cost == pytest.approx((omega * off**p).sum(), rel=1e-6, abs=1e-12)
    size = (omega * np.linalg.norm(W.double().numpy(), axis=1) ** p).sum()
    assert found.size == pytest.approx(size, rel=1e-9)
    assert found.lower_bound <= found.cost * (1.0 + 1e-9) + 1e-12
    exact = W.dtype in (torch.float64, torch.float32)
    assert not exact or found.cost <= found.svd_cost * (1.0 + 1e-4) + 1e-9 * size


def test_weights_that_make_no_factors() -> None:
    spec = Spec(subspaces=3, ranks="mixed")
    zero = factorise_mixed(torch.zeros(30, 4), 60, spec)
    assert zero.cost == 0.0
    assert zero.note == "exact"
    W = torch.randn(30, 4)
    W[3, 2] = float("nan")
    with pytest.raises(ValueError, match="finite|NaN"):
        factorise_mixed(W, 60, spec)
    again = [factorise_mixed(W.nan_to_num(), 60, spec) for _ in range(2)]
    first, second = (x.factors.tensors() for x in again)
    assert all(same_bits(first[name], second[name]) for name in first)


# ---- models


def test_the_ratio_is_met_and_counted(family: str) -> None:
    model = small(family)
    before = counted(model)
    plan = squeezed(model, dry_run=True)
    assert counted(model) == before
    report = squeezed(model, certify=True)
    (layer,) = report.compressed
    n, d = layer.shape
    assert layer.parameters_after == sizes(layer) <= (1 - 0.4) * n * d
    assert layer.parameters_after > 0.5 * n * d  # the budget is used
    assert plan.compressed[0].parameters_after == int(0.6 * n * d)
    assert plan.compressed[0].ranks is None
    assert report.parameters_after == counted(model)
    assert layer.bytes_after == 4 * layer.parameters_after + 5 * n
    assert report.bytes_after <= plan.bytes_after
    assert sum(layer.counts) == n
    assert layer.rank == round(np.dot(layer.ranks, layer.counts) / n)
    assert layer.subspaces == len(layer.ranks) == 3
    assert layer.lower_bound <= layer.cost * (1 + 1e-9)
    assert layer.cost < layer.svd_cost
    assert report.options["ranks"] == "mixed"


def test_the_output_layer_stays_tied(family: str) -> None:
    model = small(family)
    (layer,) = squeezed(model).compressed
    assert layer.tied == (HEADS[family],)
    embedding, head = model.get_input_embeddings(), model.get_submodule(HEADS[family])
    assert isinstance(embedding, LowRankEmbedding)
    assert isinstance(head, LowRankLinear)
    torch.optim.SGD(model.parameters(), 0.1).step()
    model.double().float()
    for ours, theirs in zip(
        [*embedding.lefts, *embedding.rights, embedding.labels, embedding.places],
        [*head.lefts, *head.rights, head.labels, head.places],
        strict=True,
    ):
        assert ours is theirs
    x = torch.randn(3, layer.shape[1])
    bias = 0.0 if head.bias is None else head.bias
    torch.testing.assert_close(head(x), x @ embedding.weight.T + bias)


def test_untied_on_request(family: str) -> None:
    model = small(family)
    dense = model.get_submodule(HEADS[family])
    report = squeezed(model, tie="untie")
    assert model.get_submodule(HEADS[family]) is dense
    assert counted(model) == report.parameters_after
    assert not model.config.tie_word_embeddings
    assert "keeps the dense weight" in report.compressed[0].note


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_and_loaded_bit_for_bit(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = small(family).to(dtype)
    report = squeezed(model, layers="all", p=2.0)
    before = run(model, IDS)
    nn.save_pretrained(model, tmp_path, report=report)
    again = nn.load_pretrained(tmp_path)
    assert torch.equal(run(again, IDS), before)
    ours, theirs = model.state_dict(keep_vars=True), again.state_dict(keep_vars=True)
    assert list(ours) == list(theirs)
    for name in ours:
        assert same_bits(ours[name].detach(), theirs[name].detach())
        assert ours[name].requires_grad == theirs[name].requires_grad
        assert {n for n in ours if ours[n] is ours[name]} == {
            n for n in theirs if theirs[n] is theirs[name]
        }
    recipe = read_recipe(tmp_path)
    assert recipe.report == report
    # What is on the disk is what was reported.
    (path,) = tmp_path.glob("*.safetensors")
    with safe_open(path, "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    numbers = sum(x.numel() for x in stored.values() if x.is_floating_point())
    parameters = {id(q) for q in model.parameters()}  # the rest are buffers, if they are stored
    others = [q for q in ours.values() if id(q) not in parameters and q.is_floating_point()]
    assert numbers - sum(q.numel() for q in others) == report.parameters_after
    assert sum(x.nbytes for x in stored.values()) == report.bytes_after


def test_a_step_of_fine_tuning(family: str) -> None:
    model = small(family)
    squeezed(model, layers="all", p=2.0)
    for _ in fine_tuned(model, IDS):
        embedding = model.get_input_embeddings()
        for factor in (*embedding.lefts, *embedding.rights):
            assert (factor.grad is not None) == (factor.requires_grad)


def test_multiplied_out_again(family: str) -> None:
    model = small(family)
    before = counted(model)
    squeezed(model, layers="all", p=2.0)
    output = run(model, IDS)
    assert nn.decompress(model) >= 9
    assert counted(model) == before
    assert not any(isinstance(module, LowRankEmbedding) for module in model.modules())
    head = model.get_submodule(HEADS[family])
    assert head.weight is model.get_input_embeddings().weight
    assert (run(model, IDS) - output).abs().max() < 1e-5
    alone = LowRankEmbedding(9, 6, (6, 2), counts=(4, 5))
    with pytest.raises(ValueError, match="to_dense"):
        nn.decompress(alone)


@pytest.mark.parametrize("tokens", [310, 250])
@pytest.mark.parametrize("tie", ["keep", "untie"])
def test_resized(family: str, tokens: int, tie: str, tmp_path: Path) -> None:
    model = small(family)
    squeezed(model, tie=tie)
    before = run(model, IDS)
    table = model.get_input_embeddings()
    ranks, counts, rows = table.ranks, table.counts, table.weight.detach()
    with pytest.raises(TypeError, match="LowRankEmbedding"):
        model.resize_token_embeddings(tokens)
    assert nn.resize_token_embeddings(model, tokens) is table
    assert model.config.vocab_size == tokens
    kept = min(tokens, 300)
    assert torch.equal(run(model, IDS)[..., :kept], before[..., :kept])
    assert torch.equal(table.weight[:kept], rows[:kept])
    assert table.ranks == ranks
    assert are_places(table.labels, table.places, table.counts)
    if tokens > 300:
        assert table.counts == (counts[0] + 10, *counts[1:])
        mean = table.lefts[0][:-10].mean(0)
        torch.testing.assert_close(table.lefts[0][-10:], mean.expand(10, -1))
        assert run(model, IDS + 60).shape[-1] == tokens
    nn.save_pretrained(model, tmp_path)
    assert torch.equal(run(nn.load_pretrained(tmp_path), IDS), run(model, IDS))


def test_resized_where_the_highest_rank_has_no_rows() -> None:
    class Net(torch.nn.Sequential):
        def get_input_embeddings(self) -> torch.nn.Module:
            return self[0]

    table = LowRankEmbedding(9, 6, (6, 4, 2), counts=(0, 5, 4), padding_idx=8)
    nn.resize_token_embeddings(Net(table), 12)
    assert table.counts == (0, 8, 4)
    nn.resize_token_embeddings(Net(table), 4)
    assert table.counts == (0, 4, 0)
    assert table.padding_idx is None
    assert table(torch.arange(4)).shape == (4, 6)


def test_linear_layers_and_bare_parameters_have_one_subspace() -> None:
    report = squeezed(small("xlnet"), layers="all", p=2.0)
    kinds = {layer.kind for layer in report.compressed}
    assert kinds == {"embedding", "linear", "parameter"}
    for layer in report.compressed:
        assert (layer.ranks is None) == (layer.kind != "embedding")
        assert layer.subspaces == (3 if layer.kind == "embedding" else 1)


@pytest.mark.parametrize("asked", [{"rank": 4}, {"ratio": 0.5, "allocate": "global"}], ids=str)
def test_a_budget_from_a_rank(asked: dict[str, Any]) -> None:
    model = Tied()
    report = squeezed(model, **{"ratio": None, **asked})
    (layer,) = report.compressed
    n, d = layer.shape
    limit = 4 * (n + 3 * d) if "rank" in asked else 0.5 * n * d
    assert sizes(layer) == layer.parameters_after <= limit
    plan = squeezed(Tied(), **{"ratio": None, **asked}, dry_run=True)
    assert plan.compressed[0].rank == plan.compressed[0].parameters_after // (n + 3 * d)


def test_what_is_left_alone() -> None:
    model = Tied()  # 120 x 20
    report = squeezed(model, ratio=0.99)
    assert "too small for that ratio" in report.left_alone[0].note
    report = squeezed(model, ratio=None, rank=14)
    assert "break-even" in report.left_alone[0].note
    report = squeezed(model, ratio=None, rank=20, force=True)
    layer = report.compressed[0]
    assert layer.cost == 0.0
    assert layer.parameters_after == 2400
    again = squeezed(model)
    assert again.left_alone[0].note == "is in factors already"
    assert again.left_alone[0].parameters_before == 2400
    assert again.left_alone[0].bytes_before == layer.bytes_after
    assert again.parameters_after == counted(model)


def test_options_that_do_not_go_together() -> None:
    model = Tied()
    before = snapshot(model)
    for options, match in (
        ({"ranks": "some"}, "ranks must be"),
        ({"objective": "entries", "subspaces": 1}, 'ranks="mixed" goes with objective="rows"'),
        ({"subspaces": 1}, 'ranks="mixed" takes several subspaces: give subspaces=4'),
        ({"ratio": None, "max_norm_error": 0.3}, 'max_norm_error goes with ranks="equal"'),
    ):
        with pytest.raises(ValueError, match=match):
            squeezed(model, **options)
    assert_unchanged(model, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_entries_that_are_not_finite_name_the_layer(value: float) -> None:
    model = Tied()
    with torch.no_grad():
        model.embed.weight[7, 3] = value
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"^embed: .*(finite|NaN|inf)"):
        squeezed(model)
    assert_unchanged(model, before)


def test_an_interrupt_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from lpgeom.nn import compression

    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    model = Nested()
    before = snapshot(model)
    monkeypatch.setattr(compression, "build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        squeezed(model, layers="all", p=2.0)
    assert_unchanged(model, before)


def test_hooks_options_and_gradients_carry_over() -> None:
    model = Tied()
    model.embed.weight.requires_grad_(False)
    model.embed.register_forward_hook(lambda *_: None)
    model.embed.max_norm = 100.0
    model.eval()
    squeezed(model)
    assert isinstance(model.embed, LowRankEmbedding)
    assert not any(q.requires_grad for q in model.embed.parameters())
    assert len(model.embed._forward_hooks) == 1
    assert (model.embed.padding_idx, model.embed.max_norm) == (0, 100.0)
    assert not any(module.training for module in model.modules())
    assert model.head.bias is not None


# ---- reports


def test_reports_say_the_ranks() -> None:
    report = squeezed(small("bert"))
    (layer,) = report.compressed
    words = ", ".join(str(k) for k, n_c in zip(layer.ranks, layer.counts, strict=True) if n_c)
    assert words in report.table()
    text = page(report)
    assert f">{words}</td>" in text
    assert "factors of its own rank" in text
    assert "factors of its own rank" not in page(nn.compress(Tied(), rank=3, progress=False))
    again = nn.CompressionReport.from_dict(json.loads(report.to_json()))
    assert again == report
    assert page(again) == text
    assert "3 x " in squeezed(small("bert"), dry_run=True).table()
    old = report.to_dict()
    for entry in old["layers"]:  # of a version that did not know them
        del entry["ranks"], entry["counts"]
    assert nn.CompressionReport.from_dict(old)[layer.name].ranks is None


# ---- files


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = Tied()
    report = squeezed(model, layers=["embed"])
    nn.save_pretrained(model, tmp_path / "saved", report=report)
    nn.load_pretrained(tmp_path / "saved", model=Tied())
    return tmp_path / "saved"


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads((folder / "lpgeom.json").read_text())
    change(values)
    (folder / "lpgeom.json").write_text(json.dumps(values))


def first(values: dict[str, Any]) -> dict[str, Any]:
    return values["layers"][0]


def test_the_recipe(saved: Path) -> None:
    values = json.loads((saved / "lpgeom.json").read_text())
    assert values["version"] == 1
    embed, head = values["layers"]
    assert embed["ranks"] == head["ranks"]
    assert embed["rank"] == max(embed["ranks"])
    assert sum(embed["counts"]) == embed["n"] == 120
    # Layers of equal rank are written as before.
    equal = Tied()
    nn.compress(equal, rank=3, progress=False)
    nn.save_pretrained(equal, saved)
    values = json.loads((saved / "lpgeom.json").read_text())
    assert set(first(values)) == {"name", "kind", "n", "d", "rank", "subspaces", "options"}
    nn.load_pretrained(saved, model=Tied())


@pytest.mark.parametrize(
    "change",
    [
        lambda v: first(v).pop("ranks"),
        lambda v: first(v).pop("counts"),
        lambda v: first(v).update(ranks=None),
        lambda v: first(v).update(ranks="abc"),
        lambda v: first(v).update(ranks=[20, 5]),
        lambda v: first(v).update(ranks=[21, 5, 1], rank=21),
        lambda v: first(v).update(ranks=[20, 5, -1]),
        lambda v: first(v).update(ranks=[20, 5.0, 1]),
        lambda v: first(v).update(ranks=[20, True, 1]),
        lambda v: first(v).update(ranks=[0, 0, 0], rank=1),
        lambda v: first(v).update(ranks={"0": 1}),
        lambda v: first(v).update(counts=[0, 0, 0]),
        lambda v: first(v).update(counts=[-1, 120, 1]),
        lambda v: first(v).update(counts=[40, 40, 40]),
        lambda v: first(v).update(counts=[2**62, 120 - 2**62, 0]),
        lambda v: first(v).update(n=2**61, counts=[2**60, 2**60, 0]),
        lambda v: first(v).update(kind="parameter", options={"shape": [120, 20]}),
        lambda v: first(v).update(subspaces=4),
        lambda v: first(v).update(rank=3),
        lambda v: v["aliases"].pop("head.lefts.0"),
        lambda v: v["aliases"].update({"head.lefts.0": "embed.lefts.1"}),
        lambda v: v["aliases"].update({"head.places": "embed.labels"}),
        lambda v: v["aliases"].update({"head.labels": "embed.places"}),
    ],
)
def test_hostile_recipes(saved: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    rewritten(saved, change)
    with pytest.raises(CheckpointError):
        nn.load_pretrained(saved, model=Tied())


def test_labels_and_places_that_are_none(saved: Path) -> None:
    (path,) = saved.glob("*.safetensors")
    # Copies: what load_file returns may be a map of the file that is written below.
    good = {name: tensor.clone() for name, tensor in load_file(path).items()}
    labels, places = good["embed.labels"], good["embed.places"]
    cases: list[tuple[str, Tensor]] = [
        ("labels", labels + 3), ("labels", labels * 0), ("labels", labels.long()),
        ("labels", labels.flip(0)), ("places", places + 1), ("places", places - 1),
        ("places", places * 0), ("places", places.long()), ("places", places[:-1]),
        ("lefts.0", good["embed.lefts.0"][:-1].contiguous()),
    ]  # fmt: skip
    for name, wrong in cases:
        save_file(good | {f"embed.{name}": wrong}, path)
        rewritten(saved, lambda values: values.update(sha256=sha256_of(path)))
        with pytest.raises(CheckpointError, match="embed"):
            nn.load_pretrained(saved, model=Tied())
    missing = dict(good)
    del missing["embed.places"]
    save_file(missing, path)
    rewritten(saved, lambda values: values.update(sha256=sha256_of(path)))
    with pytest.raises(CheckpointError, match=r"(embed|head)\.places"):
        nn.load_pretrained(saved, model=Tied())


def test_another_model_does_not_take_it(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="embed is"):
        nn.load_pretrained(saved, model=Tied(121))
    skeleton = Tied()
    squeezed(skeleton, ratio=0.7)  # in factors itself, of other ranks
    again = nn.load_pretrained(saved, model=skeleton)
    expected = nn.load_pretrained(saved, model=Tied())
    assert torch.equal(again(IDS % 120), expected(IDS % 120))


@pytest.fixture(scope="module")
def small_saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Any]:
    folder, model = tmp_path_factory.mktemp("small"), Tied(40, 16)
    nn.save_pretrained(model, folder, report=squeezed(model, ratio=0.3))
    return folder, json.loads((folder / "lpgeom.json").read_text()), model


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_any_change_of_the_layers_is_an_error_or_the_same_model(
    small_saved: tuple[Path, dict[str, Any], Any], data: st.DataObject
) -> None:
    folder, recipe, model = small_saved
    recipe = copy.deepcopy(recipe)
    for _ in range(data.draw(st.integers(1, 2))):
        part = data.draw(st.sampled_from(["layers", "aliases"]))
        where = data.draw(st.sampled_from([p for p in paths(recipe[part]) if p]))
        inner: Any = recipe[part]
        for key in where[:-1]:
            inner = inner[key]
        names = st.sampled_from(sorted(model.state_dict()))
        if data.draw(st.booleans()):
            inner[where[-1]] = data.draw(values | names | st.integers(0, 40))
        else:
            del inner[where[-1]]
    (folder / "lpgeom.json").write_text(json.dumps(recipe))
    try:
        again = nn.load_pretrained(folder, model=Tied(40, 16))
    except CheckpointError:
        return
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert same_bits(ours[name], theirs[name])


# ---- lpgeom compress


SAME: list[tuple[str, dict[str, Any]]] = [
    *((family, {"ratio": 0.4, "p": 1.5, "subspaces": 3}) for family in FAMILIES),
    ("xlnet", {"ratio": 0.3, "p": 2.0, "subspaces": 3, "layers": "all", "allocate": "global"}),
    ("roberta", {"rank": 6, "p": 2.0, "subspaces": 2, "tie": "untie"}),
]


@pytest.mark.parametrize(("family", "asked"), SAME, ids=str)
def test_the_same_from_the_command(family: str, asked: dict[str, Any], tmp_path: Path) -> None:
    model = small(family)
    model.save_pretrained(tmp_path / "model")
    asked = {**asked, "ranks": "mixed", "row_weights": "frequency"}
    arguments = [str(x) for k, v in asked.items() for x in (f"--{k.replace('_', '-')}", v)]
    out = str(tmp_path / "out")
    assert main(["compress", str(tmp_path / "model"), *arguments, "--out", out, "--quiet"]) == 0
    report = nn.compress(model, progress=False, **asked)
    nn.save_pretrained(model, tmp_path / "saved", report=report)
    streamed = nn.load_pretrained(out)
    assert torch.equal(run(streamed, IDS), run(model, IDS))
    ours, theirs = (read_recipe(tmp_path / name) for name in ("saved", "out"))
    assert sorted(map(str, ours.layers)) == sorted(map(str, theirs.layers))
    assert ours.report is not None
    assert theirs.report is not None
    assert ours.report.bytes_after == theirs.report.bytes_after
    for a, b in zip(ours.report.layers, theirs.report.layers, strict=True):
        assert (a.ranks, a.counts, a.cost, a.rank, a.parameters_after, a.bytes_after) == (
            b.ranks, b.counts, b.cost, b.rank, b.parameters_after, b.bytes_after,
        )  # fmt: skip


def test_errors_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small("bert").save_pretrained(tmp_path / "model")
    given = ["compress", str(tmp_path / "model"), "--ranks", "mixed", "--out", str(tmp_path / "o")]
    assert main([*given, "--ratio", ".3", "--subspaces", "1"]) == 2
    assert "several subspaces" in capsys.readouterr().err
    assert main([*given, "--max-norm-error", ".3", "--subspaces", "4"]) == 2
    assert "max_norm_error goes with" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


# ---- real weights


LOADED = """
import sys, torch
from lpgeom import nn
model = nn.load_pretrained(sys.argv[1])
ids = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    torch.save(model(input_ids=ids).logits, sys.argv[3])
"""


def test_minilm_with_a_tied_output_layer(tmp_path: Path) -> None:
    """Compressed, saved, and loaded in a process of its own: the same logits bit for bit."""
    import transformers

    bert = minilm()
    model = transformers.BertForMaskedLM(bert.config).eval()
    model.bert.load_state_dict(
        {k: v for k, v in bert.state_dict().items() if not k.startswith("pooler")}
    )
    ids = torch.randint(1000, 30000, (2, 16), generator=generator(1))
    before = run(model, ids)
    equal = copy.deepcopy(model)
    options: dict[str, Any] = {
        "ratio": 0.28, "p": 2.0, "row_weights": "frequency", "certify": False, "progress": False,
    }  # fmt: skip
    report = nn.compress(model, subspaces=4, ranks="mixed", **options)
    single = nn.compress(equal, subspaces=1, **options)
    (layer,) = report.compressed
    n, d = layer.shape
    assert layer.tied == ("cls.predictions.decoder",)
    assert layer.parameters_after == sizes(layer) <= 0.72 * n * d
    assert layer.ranks[0] == d  # the frequent ones are kept
    # Less is gained than without the output layer, for which no row counts below .3 of the mean.
    assert layer.error < 0.8 * single.compressed[0].error
    assert counted(model) == report.parameters_after
    after = run(model, ids)
    assert (after - before).abs().mean() < before.abs().mean()
    nn.save_pretrained(model, tmp_path / "model", report=report)
    torch.save(ids, tmp_path / "ids.pt")
    subprocess.run(
        [sys.executable, "-c", LOADED, tmp_path / "model", tmp_path / "ids.pt",
         tmp_path / "logits.pt"],
        check=True, timeout=300,
    )  # fmt: skip
    assert torch.equal(torch.load(tmp_path / "logits.pt", weights_only=True), after)
    rows = bert.embeddings.word_embeddings.weight.detach().double()
    off = (rows - model.bert.embeddings.word_embeddings.weight.detach().double()).square().sum(1)
    omega = nn.frequency_weights(n)
    cost = float((torch.from_numpy(np.maximum(omega, LEAST * omega.mean())) * off).sum())
    assert layer.cost == pytest.approx(cost, rel=1e-4)
