"""``compress``: all or nothing, within what was asked for, and told as it is."""

from __future__ import annotations

import copy
import json
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from models import Nested, Tied, assert_unchanged, random_, snapshot
from torch import Tensor, nn

import lpgeom.nn.compression as module
import lpgeom.nn.plan.plan as plan
import lpgeom.nn.plan.work as work
from lpgeom.nn import (
    CompressionReport,
    LowRankEmbedding,
    LowRankLinear,
    compress,
    decompress,
    frequency_weights,
    resize_token_embeddings,
)
from lpgeom.nn.model.sites import groups
from lpgeom.nn.plan.calibration import metrics_of


def squeeze(model: nn.Module, **options: Any) -> CompressionReport:
    given = {"rank", "ratio", "max_norm_error"} & set(options)
    size = {} if given else {"ratio": 0.5}
    return compress(model, **{"p": 2.0, "subspaces": 1, "progress": False, **size, **options})


def recounted(model: nn.Module) -> tuple[int, int]:
    """(parameters, bytes of what a checkpoint holds), shared tensors once."""
    tensors = {id(t): t for t in model.state_dict(keep_vars=True).values()}
    parameters = sum(t.numel() for t in tensors.values() if isinstance(t, nn.Parameter))
    return parameters, sum(t.nbytes for t in tensors.values())


def table(n: int = 60, d: int = 12, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    model = nn.Sequential(nn.Embedding(n, d, dtype=dtype))
    random_(model, seed)
    with torch.no_grad():
        model[0].weight *= torch.linspace(1.0, 0.1, d).to(dtype)
    return model


# ---- what comes out


@pytest.mark.parametrize("make", [Tied, Nested])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"layers": "all"}, {"layers": "all", "subspaces": 2, "rank": 3},
        {"layers": "all", "allocate": "global"}, {"tie": "untie"}, {"rank": 20, "force": True},
    ],
    ids=lambda options: ",".join(options) or "plain",
)  # fmt: skip
def test_totals_are_those_recounted(make: Any, dtype: torch.dtype, options: Any) -> None:
    model = make().to(dtype)
    before = recounted(model)
    dry = squeeze(model, dry_run=True, **options)
    assert recounted(model) == before
    report = squeeze(model, **options)
    assert (report.parameters_before, report.bytes_before) == before
    assert (report.parameters_after, report.bytes_after) == recounted(model)
    assert (dry.parameters_after, dry.bytes_after) == recounted(model)
    assert [layer.rank for layer in dry.layers] == [layer.rank for layer in report.layers]
    assert report.compressed
    for layer in report.compressed:
        low = model.get_submodule(layer.name)
        assert layer.rank == low.rank
        if not layer.untied:
            assert layer.parameters_after == low.factors.parameters
        weight = low.weight.detach().double()
        assert layer.error is not None
        assert layer.lower_bound is not None
        assert layer.cost is not None
        assert layer.lower_bound <= layer.cost * (1.0 + 1e-9) + 1e-12
        assert weight.shape == layer.shape
    again = squeeze(model, layers="all", rank=1)
    assert (again.parameters_before, again.bytes_before) == recounted_before(again, report)


def recounted_before(again: CompressionReport, report: CompressionReport) -> tuple[int, int]:
    assert {layer.note for layer in again.layers if layer.name in names_of(report)} <= {
        "is in factors already"
    }
    return report.parameters_after, report.bytes_after


def names_of(report: CompressionReport) -> set[str]:
    return {layer.name for layer in report.compressed}


def test_twice_is_once() -> None:
    model = Tied()
    first = squeeze(model)
    before = snapshot(model)
    second = squeeze(model)
    assert_unchanged(model, before)
    assert not second.compressed
    for layer in second.layers:
        assert layer.note == "is in factors already"
        assert layer.parameters_before == layer.parameters_after == first["embed"].parameters_after
        assert layer.bytes_before == first["embed"].bytes_after
        assert layer.shape == (120, 20)
    assert second.parameters_before == first.parameters_after


def test_errors_fall_as_the_rank_grows() -> None:
    for p in (1.0, 2.0):
        errors = []
        for rank in (1, 3, 6, 9, 12):
            model = table()
            report = squeeze(model, rank=rank, force=True, p=p)
            errors.append(report["0"].error)
        assert all(a > b for a, b in pairwise(errors))
        assert errors[-1] == 0.0


def test_forced_full_rank_is_the_model() -> None:
    model, dense = Nested(), Nested()
    report = squeeze(model, rank={"tokens": 20, "blocks": 20, "class*": 3},
                     layers=["all", "classifier"], force=True)  # fmt: skip
    assert len(report.compressed) == 7
    ids = torch.arange(30)
    # Nothing normalises what goes through: in float32 1e-5 of the largest output, entry by entry
    # in float64.
    expected = dense(ids)
    assert (model(ids) - expected).abs().max() < 1e-5 * expected.abs().max()
    model, dense = Nested().double(), Nested().double()
    squeeze(model, rank={"tokens": 20, "blocks": 20, "class*": 3},
            layers=["all", "classifier"], force=True)  # fmt: skip
    torch.testing.assert_close(model(ids), dense(ids), rtol=1e-5, atol=1e-5)


def test_same_seed_same_factors() -> None:
    for options in ({"p": 1.0}, {"subspaces": 2, "rank": 3}):
        models = [table(), table()]
        for model in models:
            squeeze(model, seed=7, **options)
        states = [model[0].state_dict() for model in models]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_ratio_counts_every_layer_and_global_the_sum() -> None:
    for percent in (10, 28, 50, 90):
        ratio = percent / 100
        report = squeeze(Nested(), ratio=ratio, layers="all", dry_run=True)
        for layer in report.compressed:
            assert 100 * layer.parameters_after <= (100 - percent) * layer.parameters_before
        shared = squeeze(Nested(), ratio=ratio, layers="all", allocate="global", dry_run=True)
        lines = [layer for layer in shared.layers if "small" not in layer.note]
        before = sum(layer.parameters_before for layer in lines)
        assert 100 * sum(layer.parameters_after for layer in lines) <= (100 - percent) * before


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_global_allocation_is_no_worse_than_uniform(p: float) -> None:
    def model() -> nn.Module:
        made = Nested()
        with torch.no_grad():  # one layer nearly of rank 3, one of a flat spectrum
            U, s, Vt = torch.linalg.svd(made.blocks[0]["up"].weight, full_matrices=False)
            s[3:] *= 0.05
            made.blocks[0]["up"].weight.copy_(U * s @ Vt)
        return made

    uniform = squeeze(model(), layers="linear", p=p, certify=False)
    together = squeeze(model(), layers="linear", p=p, certify=False, allocate="global")

    def lost(report: CompressionReport) -> float:
        return sum(layer.cost / layer.size for layer in report.compressed)  # type: ignore[operator,misc]

    assert lost(together) <= lost(uniform) * (1.0 + 1e-9)
    assert together["blocks.0.up"].rank < uniform["blocks.0.up"].rank  # type: ignore[operator]


# ---- an error asked for


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("error", [0.05, 0.3, 0.6])
def test_error_is_met_by_the_least_rank_found(p: float, error: float) -> None:
    model = table(80, 8)
    report = squeeze(model, max_norm_error=error, p=p, certify=False)
    layer = report["0"]
    if layer.compressed:
        assert layer.error is not None
        assert layer.error <= error
        if layer.rank > 1:  # type: ignore[operator]
            fewer = squeeze(table(80, 8), rank=layer.rank - 1, p=2.0, certify=False)  # type: ignore[operator]
            assert p != 2.0 or fewer["0"].error > error  # type: ignore[operator]
    else:
        assert "break-even" in layer.note


def test_error_of_entries_is_met() -> None:
    """The SVD's curve is one of rows: where the entries' error is above it, the rank grows."""
    model = nn.Sequential(nn.Embedding(40, 12))
    with torch.no_grad():  # a large entry in each row, in three columns, and small ones everywhere
        random_(model, scale=0.05)
        model[0].weight[torch.arange(40), torch.arange(40) % 3] += 6.0
    weight = model[0].weight.detach().double()
    rows = squeeze(copy.deepcopy(model), max_norm_error=0.04, p=1.0, certify=False)["0"]
    report = squeeze(model, max_norm_error=0.04, p=1.0, objective="entries", certify=False)
    layer = report["0"]
    assert layer.compressed
    low = model[0].weight.detach().double()
    exact = float((weight - low).abs().sum() / weight.abs().sum())
    assert layer.error == pytest.approx(exact, rel=1e-6)
    assert exact <= 0.04
    assert layer.rank > rows.rank  # type: ignore[operator]
    assert not squeeze(table(), max_norm_error=0.3, objective="entries", dry_run=True)["0"].svd_cost


def test_error_below_what_a_dtype_can_hold_is_told() -> None:
    model = table(100, 12, torch.bfloat16)
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight[:, :2] @ torch.randn(2, 12).bfloat16())
    with pytest.warns(UserWarning, match="0: error .* no rank below break-even meets 0.0005 in"):
        report = squeeze(model, max_norm_error=5e-4, layers="0")
    assert "no rank below break-even meets" in report["0"].note
    assert report["0"].error > 5e-4  # type: ignore[operator]


def test_break_even_and_too_small_ratios_are_listed() -> None:
    report = squeeze(Nested(), rank=17, layers="all")
    assert "rank 17 is at or above break-even (16.67)" in report["tokens"].note
    assert not report.compressed
    report = squeeze(nn.Sequential(nn.Embedding(30, 4)), ratio=0.99)
    assert "too small for that ratio" in report["0"].note
    report = squeeze(nn.Sequential(nn.Embedding(30, 4)), rank=4, force=True)
    assert report["0"].compressed
    assert report.parameters_after > report.parameters_before


# ---- weights of rows, and the inputs' metric


def test_row_weights() -> None:
    omega = frequency_weights(60)
    plain, named, array, words = (table() for _ in range(4))
    squeeze(plain, rank=3)
    squeeze(named, rank=3, row_weights={"0": omega})
    squeeze(array, rank=3, row_weights=list(omega))
    squeeze(words, rank=3, row_weights="frequency")
    assert torch.equal(named[0].weight, array[0].weight)
    assert torch.equal(named[0].weight, words[0].weight)
    assert not torch.equal(named[0].weight, plain[0].weight)
    dense = table()[0].weight

    def cost(model: Any) -> float:
        return float((((dense - model[0].weight) ** 2).sum(1) * torch.tensor(omega)).sum().detach())

    assert cost(named) < cost(plain)
    report = squeeze(Nested(), layers="all", row_weights="frequency")
    assert len(report.compressed) == 6
    squeeze(Nested(), layers="all", row_weights={"tokens": "frequency", "*.up": np.ones(40)})


def test_row_weights_that_do_not_fit() -> None:
    for given, layers, match in (
        (np.ones(5), "tokens", "tokens: .*100"),
        (np.ones(100), "all", "row_weights is an array, but 6 layers are selected"),
        ({"token": np.ones(100)}, "all", "row_weights: no embedding.*near names: tokens"),
        ({"tokens": -np.ones(100)}, "all", "tokens: row_weights"),
        ("often", "all", "row_weights must be"),
    ):
        model = Nested()
        before = snapshot(model)
        with pytest.raises(ValueError, match=match):
            squeeze(model, layers=layers, row_weights=given)
        assert_unchanged(model, before)


def skewed_inputs(d: int = 20) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(50, d, generator=g) * torch.logspace(0, -2, d) for _ in range(3)]


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(20, 20)
        self.drop = nn.Dropout(0.5)
        self.second = nn.Linear(20, 20)
        random_(self)

    def forward(self, x: Tensor, shift: float = 0.0) -> Tensor:
        return self.second(self.drop(self.first(input=x + shift)))


def test_calibration_lowers_the_error_of_the_outputs() -> None:
    X = skewed_inputs()
    dense, plain, aware = TwoInputs().eval(), TwoInputs(), TwoInputs()
    squeeze(plain, rank=5, layers="first")
    report = squeeze(aware, rank=5, layers="first", calibration=X)
    assert report["first"].metric == "activations"

    def off(model: Any) -> float:
        with torch.no_grad():
            x = torch.cat(X)
            size = (dense.first(x) - dense.first.bias).norm()
            return float((model.first(x) - dense.first(x)).norm() / size)

    assert off(aware) < 0.5 * off(plain)
    with torch.no_grad():
        assert off(aware) == pytest.approx(report["first"].error, rel=0.02)


@pytest.mark.parametrize("batches", ["tensors", "tuples", "mappings"])
def test_calibration_leaves_modes_and_hooks(batches: str) -> None:
    X = skewed_inputs()
    given: list[Any] = {
        "tensors": X, "tuples": [(x, 0.5) for x in X], "mappings": [{"x": x} for x in X],
    }[batches]  # fmt: skip
    model = TwoInputs().train()
    model.drop.eval()
    before = snapshot(model)
    squeeze(model, rank=5, layers="first", calibration=given, dry_run=True)
    assert_unchanged(model, before)
    squeeze(model, rank=5, layers="first", calibration=iter(given))
    assert model.training
    assert model.first.training
    assert not model.drop.training
    assert not model.first._forward_pre_hooks


def test_calibration_that_fails_changes_nothing() -> None:
    class Fails(TwoInputs):
        def forward(self, x: Tensor, shift: float = 0.0) -> Tensor:
            super().forward(x)
            raise KeyboardInterrupt

    for model, batches, error, match in (
        (Fails(), skewed_inputs(), KeyboardInterrupt, None),
        (TwoInputs(), [], ValueError, "no batches"),
        (TwoInputs(), [None], TypeError, "a calibration batch is"),
        (TwoInputs(), [torch.zeros(3, 20)], ValueError, "first: .* all zero"),
        (TwoInputs(), [torch.full((3, 20), torch.nan)], ValueError, "first: .* not finite"),
        (TwoInputs(), [torch.zeros(3, 7)], RuntimeError, "shapes"),
    ):
        model.train()
        before = snapshot(model)
        with pytest.raises(error, match=match):
            squeeze(model, rank=5, layers="linear", calibration=batches)
        assert_unchanged(model, before)
    unused = nn.ModuleDict({"used": TwoInputs(), "unused": nn.Linear(20, 20)})
    unused.forward = unused["used"].forward  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="unused: no calibration batch reaches it"):
        squeeze(unused, rank=5, layers="linear", calibration=skewed_inputs())


def test_singular_calibration_is_told() -> None:
    model = TwoInputs()
    with pytest.warns(UserWarning, match="calibration reached 3 of 20 directions"):
        report = squeeze(model, rank=5, layers="first", calibration=[skewed_inputs()[0][:3]])
    assert "calibration reached 3 of 20" in report["first"].note


def test_tied_layers_are_calibrated_on_the_inputs_of_both() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
            random_(self)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x[:, :16]) + self.b(x[:, 16:])

    x = torch.cat([torch.randn(90, 8), torch.zeros(90, 16), torch.randn(90, 8)], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # either alone reaches 8 of 16 directions
        squeeze(Both(), rank=5, layers="linear", calibration=[x])


def test_tokens_that_are_not_read_do_not_count() -> None:
    class Masked(TwoInputs):
        def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
            return super().forward(x)

    x = torch.randn(6, 9, 20, generator=torch.Generator().manual_seed(3))
    mask = torch.arange(9) < torch.tensor([9, 3, 5, 1, 7, 2])[:, None]
    padded = torch.where(mask[..., None], x, torch.full_like(x, 50.0))
    model = Masked()
    first, second = (
        metrics_of(model, groups(model), [batch])["first"]
        for batch in ({"x": padded, "attention_mask": mask.long()}, {"x": x[mask]})
    )
    np.testing.assert_allclose(first.root, second.root, atol=1e-6)
    np.testing.assert_allclose(first.mean, second.mean, atol=1e-6)


# ---- all or nothing


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "options", [{}, {"allocate": "global"}, {"rank": 20, "force": True}, {"max_norm_error": 0.1}]
)
def test_a_bad_entry_names_its_layer_and_changes_nothing(bad: float, options: Any) -> None:
    model = Nested()
    with torch.no_grad():
        model.blocks[1]["down"].weight[3, 5] = bad
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"^blocks\.1\.down: .*(finite|NaN|inf)"):
        squeeze(model, layers="all", **options)
    assert_unchanged(model, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("where", ["solve", "build"])
def test_an_interrupt_in_the_middle_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], where: str
) -> None:
    model = Nested()
    model.config = type("Config", (), {"tie_word_embeddings": True})()  # type: ignore[assignment]
    model.tokens.register_forward_hook(lambda *_: None)
    before, calls = snapshot(model), []
    here = work if where == "solve" else module
    original = getattr(here, where)

    def third(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise error
        return original(*args, **options)

    monkeypatch.setattr(here, where, third)
    with pytest.raises(error):
        squeeze(model, layers="all")
    assert len(calls) == 3
    assert_unchanged(model, before)
    assert model.config.tie_word_embeddings


def test_a_dry_run_solves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("solved")

    monkeypatch.setattr(work, "solve", never)
    monkeypatch.setattr(plan, "factorise", never)
    for options in ({}, {"allocate": "global"}, {"max_norm_error": 0.2}, {"rank": 3}):
        model = Nested()
        before = snapshot(model)
        report = squeeze(model, layers="all", dry_run=True, **options)
        assert report.dry_run
        assert "would become" in report.summary()
        assert_unchanged(model, before)
    monkeypatch.setattr(plan, "curve_of", never)
    squeeze(Nested(), layers="all", dry_run=True)  # takes no pass over the weights


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({}, ValueError, "give one of size, ratio, rank and max_norm_error"),
        ({"ratio": 0.3, "rank": 3}, ValueError, "not ratio and rank"),
        ({"ratio": 28}, ValueError, r"ratio must lie between 0 and 1, got 28 \(28% is 0.28\)"),
        ({"ratio": 0.0}, ValueError, "ratio must lie"),
        ({"ratio": float("nan")}, ValueError, "ratio must lie"),
        ({"ratio": "0.3"}, TypeError, "ratio must be a number"),
        ({"ratio": True}, TypeError, "ratio must be a number"),
        ({"rank": 0}, ValueError, "rank must be >= 1"),
        ({"rank": 2.5}, TypeError, "rank must be an integer"),
        ({"rank": 21}, ValueError, r"at most min\(n, d\) = 20 for tokens \(100 x 20\)"),
        ({"rank": {"tokns": 3}}, ValueError, "rank: no embedding.*near names: tokens"),
        ({"rank": {}}, ValueError, "rank: there is none for tokens"),
        ({"max_norm_error": 1.5}, ValueError, "max_norm_error must lie"),
        ({"ratio": 0.3, "p": 0.5}, ValueError, "p must"),
        ({"ratio": 0.3, "p": float("inf")}, ValueError, "p must"),
        ({"ratio": 0.3, "objective": "columns"}, ValueError, "objective"),
        ({"ratio": 0.3, "allocate": "all"}, ValueError, "allocate must be"),
        ({"rank": 3, "allocate": "global"}, ValueError, "give ratio"),
        ({"ratio": 0.3, "tie": "no"}, ValueError, "tie must be"),
        ({"ratio": 0.3, "certify": "yes"}, ValueError, "certify must be"),
        ({"ratio": 0.3, "subspaces": 0}, ValueError, "subspaces must be >= 1"),
        ({"ratio": 0.3, "subspaces": 2, "objective": "entries"}, ValueError, 'objective="rows"'),
        ({"ratio": 0.3, "calibration": [], "objective": "entries"}, ValueError, "calibration goes"),
        ({"ratio": 0.3, "seed": -1}, ValueError, "seed"),
        (
            {"ratio": 0.999, "allocate": "global", "subspaces": 1},
            ValueError,
            "rank 1 everywhere takes 120",
        ),
    ],
)  # fmt: skip
def test_bad_options(options: Any, error: type[Exception], match: str) -> None:
    model = Nested()
    before = snapshot(model)
    with pytest.raises(error, match=match):
        compress(model, progress=False, **options)
    assert_unchanged(model, before)


def test_no_model() -> None:
    for bad in (None, {"weight": torch.zeros(3, 3)}, torch.zeros(3, 3), nn.Linear):
        with pytest.raises(TypeError, match="model must be a torch.nn.Module"):
            compress(bad, ratio=0.3)  # type: ignore[arg-type]


# ---- what carries over


def test_hooks_and_modes_carry_over() -> None:
    model = Nested().eval()
    seen: list[str] = []
    layer = model.blocks[0]["up"]
    layer.register_forward_hook(lambda *_: seen.append("forward"))
    layer.register_forward_pre_hook(lambda *_, **__: seen.append("pre"), with_kwargs=True)
    handle = layer.register_full_backward_hook(lambda *_: seen.append("backward"))
    layer.bias.requires_grad_(False)
    ids = torch.arange(3)
    squeeze(model, layers="all")
    low = model.blocks[0]["up"]
    assert isinstance(low, LowRankLinear)
    assert not low.training
    assert not low.bias.requires_grad
    assert low.left.requires_grad
    model(ids).sum().backward()
    assert seen == ["pre", "forward", "backward"]
    handle.remove()
    decompress(model)
    assert isinstance(model.blocks[0]["up"], nn.Linear)
    model(ids).sum().backward()
    assert seen == ["pre", "forward", "backward", "pre", "forward"]


def test_an_optimiser_made_before_holds_the_old_parameters() -> None:
    model = Nested()
    old = torch.optim.SGD(model.parameters(), lr=0.1)
    squeeze(model, layers="all")
    ids = torch.arange(10)
    left = model.tokens.left.detach().clone()
    model(ids).sum().backward()
    old.step()
    assert torch.equal(model.tokens.left, left)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(model.tokens.left, left)


def test_decompressed_is_what_was_compressed() -> None:
    model = Tied()
    squeeze(model, layers="all", subspaces=2, rank=3)
    ids = torch.arange(40)
    expected = model(ids)
    assert decompress(model) == 2
    assert type(model.embed) is nn.Embedding
    assert model.embed.weight is model.head.weight
    assert model.embed.padding_idx == 0
    torch.testing.assert_close(model(ids), expected, rtol=1e-4, atol=1e-4)
    assert decompress(model) == 0


@pytest.mark.parametrize("subspaces", [1, 3])
@pytest.mark.parametrize("n", [90, 120, 131])
def test_resized(subspaces: int, n: int) -> None:
    model = Tied()
    model.get_input_embeddings = lambda: model.embed  # type: ignore[assignment]
    model.config = type("Config", (), {"vocab_size": 120})()  # type: ignore[assignment]
    with pytest.raises(TypeError, match="is a Embedding, not in factors"):
        resize_token_embeddings(model, n)
    squeeze(model, rank=3, subspaces=subspaces)
    before = copy.deepcopy(model)
    assert resize_token_embeddings(model, n) is model.embed
    tied = zip(model.embed.factors.lefts, model.head.factors.lefts, strict=True)
    assert all(ours is theirs for ours, theirs in tied)
    assert model.embed.num_embeddings == model.head.out_features == model.config.vocab_size == n
    kept = min(n, 120)
    ids = torch.arange(kept)
    torch.testing.assert_close(model(ids)[:, :kept], before(ids)[:, :kept])
    assert model(torch.tensor([n - 1])).shape == (1, n)
    if n > 120:
        left = max(model.embed.factors.lefts, key=len)
        torch.testing.assert_close(left[-11:], left[:-11].mean(0).expand(11, -1))
        assert not model.head.bias[120:].any()
    with pytest.raises(IndexError):
        model(torch.tensor([n]))
    with pytest.raises(ValueError, match="num_tokens"):
        resize_token_embeddings(model, 0)
    for name, parameter in model.named_parameters():
        parameter.grad = None
        assert parameter.requires_grad, name
    model(ids).sum().backward()


@pytest.mark.parametrize("own", ["dense", "factors", "subspaces"])
@pytest.mark.parametrize("n", [90, 120, 131])
def test_an_output_layer_of_its_own_is_resized_too(own: str, n: int) -> None:
    model = Tied()
    model.get_input_embeddings = lambda: model.embed  # type: ignore[assignment]
    model.get_output_embeddings = lambda: model.head  # type: ignore[assignment]
    squeeze(model, rank=3, tie="untie")
    if own != "dense":
        squeeze(model, layers="head", rank=3, subspaces=1 + (own == "subspaces"))
    before = copy.deepcopy(model)
    resize_token_embeddings(model, n)
    kept = min(n, 120)
    ids = torch.arange(kept)
    assert model(ids).shape == (kept, n)
    torch.testing.assert_close(model(ids)[:, :kept], before(ids)[:, :kept])
    assert model.head.bias.shape == (n,)
    assert not model.head.bias[120:].any()
    model(ids).sum().backward()


# ---- the report


def test_report_round_trip_with_infinite_ratios() -> None:
    model = Nested()
    report = squeeze(model, layers="all")
    again = CompressionReport.from_dict(json.loads(report.to_json()))
    assert again == report
    line = report["tokens"]
    unproved = type(line)(**{**vars(line), "lower_bound": 0.0})
    assert unproved.ratio == float("inf")
    text = CompressionReport("Net", (unproved,), 10, 5, 40, 20).to_json()
    values = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert values["layers"][0]["ratio"] is None
    assert CompressionReport.from_dict(values).layers[0].ratio == float("inf")
    assert "inf" in CompressionReport("Net", (unproved,), 10, 5, 40, 20).table()


def test_no_certificate_no_ratio() -> None:
    line = squeeze(table(), certify=False)["0"]
    assert line.lower_bound is None
    assert line.ratio is None
    assert line.error is not None


def test_embedding_options_survive() -> None:
    options: dict[str, Any] = {
        "padding_idx": 3, "max_norm": 2.0, "norm_type": 1.0, "scale_grad_by_freq": True,
    }  # fmt: skip
    model = nn.Sequential(nn.Embedding(60, 8, **options))
    squeeze(model)
    assert isinstance(model[0], LowRankEmbedding)
    assert {key: getattr(model[0], key) for key in options} == options
    frozen = nn.Sequential(nn.Embedding(60, 8, _weight=torch.randn(60, 8), _freeze=True))
    squeeze(frozen)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
