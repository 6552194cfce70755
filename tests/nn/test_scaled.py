"""Embeddings that scale what they look up: found by what they do, and in factors as before."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import assert_unchanged, factors, product, same_bits, snapshot
from sequences import SCALED, bart, logits
from torch import Tensor
from torch.nn import functional as F

from lpgeom import nn
from lpgeom.cli import main
from lpgeom.nn import LowRankEmbedding
from lpgeom.nn.model.sites import groups
from lpgeom.nn.modules.scaled import Scaling, scaling_of
from lpgeom.nn.stored.recipe import CheckpointError, read_recipe

IDS = torch.tensor([[5, 17, 80, 3, 1], [99, 4, 0, 63, 8]])

KINDS: list[dict[str, Any]] = [
    {"rank": 3, "subspaces": 1},
    {"rank": 3, "subspaces": 3},
    {"ratio": 0.4},
]


class Times(torch.nn.Embedding):
    """A class as transformers has them, under no such name."""

    def __init__(self, n: int, d: int, embed_scale: Any = 3.3, **options: Any) -> None:
        super().__init__(n, d, **options)
        self.embed_scale = embed_scale

    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids) * self.embed_scale


class Buffered(torch.nn.Embedding):
    """With the number in a buffer, as Gemma's."""

    persistent = False

    def __init__(self, n: int, d: int, embed_scale: Any = 3.3, **options: Any) -> None:
        super().__init__(n, d, **options)
        self.register_buffer("embed_scale", torch.tensor(embed_scale), persistent=self.persistent)

    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids) * self.embed_scale.to(self.weight.dtype)


class Both(Buffered):
    """And as a number as well, as newer ones."""

    def __init__(self, n: int, d: int) -> None:
        super().__init__(n, d)
        self.scalar_embed_scale = 3.3


def squeezed(model: torch.nn.Module, **options: Any) -> nn.CompressionReport:
    options = {"p": 2.0, "certify": False, "progress": False, **options}
    return nn.compress(model, **options)


def numbers(model: torch.nn.Module) -> int:
    return sum(q.numel() for q in {id(q): q for q in model.parameters()}.values())


def table_of(model: Any) -> Any:
    return model.get_input_embeddings()


# ---------------------------------------------------------------- which classes


CLASSES = (
    "bart.BartScaledWordEmbedding", "mbart.MBartScaledWordEmbedding",
    "m2m_100.M2M100ScaledWordEmbedding", "nllb_moe.NllbMoeScaledWordEmbedding",
    "pegasus_x.PegasusXScaledWordEmbedding", "xglm.XGLMScaledWordEmbedding",
    "plbart.PLBartScaledWordEmbedding", "biogpt.BioGptScaledWordEmbedding",
    "gemma3.Gemma3TextScaledWordEmbedding", "gemma3n.Gemma3nTextScaledWordEmbedding",
    "gemma4.Gemma4TextScaledWordEmbedding",
)  # fmt: skip


@pytest.mark.parametrize("path", CLASSES)
def test_classes_of_transformers(path: str) -> None:
    package, name = path.split(".")
    try:
        module = importlib.import_module(f"transformers.models.{package}.modeling_{package}")
        kind: Any = getattr(module, name)
    except (ImportError, AttributeError):
        pytest.skip(f"this version of transformers has no {name}")
    table = kind(40, 6, 1, embed_scale=2.7)
    found = scaling_of(table)
    assert found is not None
    assert found.kind is kind
    assert found.value == (float(table.embed_scale) if found.rounded else 2.7)
    assert found.rounded == ("emma" in name)
    state = torch.get_rng_state()
    scaling_of(table)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", [Times, Buffered])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_classes_of_no_such_name(kind: Any, training: bool, dtype: torch.dtype) -> None:
    table = kind(9, 4, padding_idx=8, max_norm=1.0).train(training).to(dtype)
    before = snapshot(table)
    found = scaling_of(table)
    assert_unchanged(table, before)
    assert found is not None
    assert (found.kind, found.rounded) == (kind, kind is Buffered)


class Adds(Times):
    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids) + 1e-3


class Pads(Times):
    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids) * (input_ids != self.padding_idx)[..., None]


class Special(Times):
    """A token of its own: an attribute that nothing else has."""

    token = 0

    def forward(self, input_ids: Tensor) -> Tensor:
        return torch.where((input_ids == self.token)[..., None], 0.0, super().forward(input_ids))


class Drops(Times):
    def forward(self, input_ids: Tensor) -> Tensor:
        return F.dropout(super().forward(input_ids), 0.5, self.training)


class Twice(Times):
    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids) * self.embed_scale


class Widens(Times):
    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids).double()


class Wide(Buffered):
    def forward(self, input_ids: Tensor) -> Tensor:
        return (torch.nn.Embedding.forward(self, input_ids).float() * self.embed_scale).to(
            self.weight.dtype
        )


class Stored(Buffered):
    persistent = True


class Raises(Times):
    def forward(self, input_ids: Tensor) -> Tensor:
        raise OSError


class Lists(Times):
    def forward(self, input_ids: Tensor) -> Any:
        return [super().forward(input_ids)]


def with_more(**more: Any) -> Any:
    table = Times(20, 4)
    for key, value in more.items():
        setattr(table, key, value)
    return table


@pytest.mark.parametrize(
    "table",
    [
        Adds(20, 4), Pads(20, 4, padding_idx=2), Special(20, 4), Drops(20, 4), Twice(20, 4),
        Widens(20, 4), Wide(20, 4), Stored(20, 4), Raises(20, 4), Lists(20, 4),
        Times(20, 4, None), Times(20, 4, float("nan")), Times(20, 4, float("inf")),
        Times(20, 4, torch.tensor(2.0)), Times(20, 4, torch.nn.Parameter(torch.tensor(2.0))),
        Buffered(20, 4, [1.0, 2.0, 3.0, 4.0]), Buffered(20, 4, 3), with_more(token=5),
        with_more(eoi=torch.nn.Parameter(torch.zeros(4))), with_more(norm=torch.nn.Identity()),
        torch.nn.Embedding(20, 4), torch.nn.Linear(4, 4),
    ],
    ids=lambda table: type(table).__name__,
)  # fmt: skip
def test_what_does_more_is_left_whole(table: torch.nn.Module) -> None:
    assert scaling_of(table) is None
    if isinstance(table, torch.nn.Embedding) and type(table) is not torch.nn.Embedding:
        (group,) = groups(torch.nn.ModuleList([table]))
        assert group.obstacle.endswith("whose forward is its own")


def test_a_number_without_data_is_a_reason() -> None:
    with torch.device("meta"):
        model = torch.nn.ModuleList([Buffered(20, 4), Both(20, 4), Times(9, 4)])
    assert [group.obstacle for group in groups(model, meta=True)] == [
        "scales what it looks up by a number on the meta device", "", "",
    ]  # fmt: skip
    found = scaling_of(model[0])
    assert found is not None
    assert not found.known
    both = scaling_of(model[1])
    assert both is not None
    assert both == scaling_of(Both(20, 4))  # to the buffer's rounding


# ---------------------------------------------------------------- modules in factors


def low_rank(kind: Any, dtype: torch.dtype, j: int, value: float = 3.3, **options: Any) -> Any:
    """(a table in factors of rank 3, the scale)."""
    left, right, labels = factors(20, 6, 3, j, dtype)
    scaling = Scaling(kind, value, kind is Buffered)
    return LowRankEmbedding.from_factors(left, right, labels=labels, scaling=scaling, **options)


def mixed_rank(kind: Any, dtype: torch.dtype, value: float = 3.3, **options: Any) -> Any:
    lefts = [torch.randn(4, 6, dtype=dtype), torch.randn(16, 2, dtype=dtype)]
    labels = torch.arange(20) % 5 != 0
    scaling = Scaling(kind, value, kind is Buffered)
    return LowRankEmbedding.from_factors(
        lefts, [None, torch.randn(2, 6, dtype=dtype)], labels=labels.to(torch.uint8),
        scaling=scaling, **options,
    )  # fmt: skip


@given(
    st.sampled_from([Times, Buffered]),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    st.integers(1, 3),
    st.floats(-100.0, 100.0),
)
@settings(max_examples=40, deadline=None)
def test_rows_are_scaled_and_the_weight_is_not(
    kind: Any, dtype: torch.dtype, j: int, value: float
) -> None:
    ids = torch.tensor([[3, 19], [0, 3]])
    scale: Any = torch.tensor(value, dtype=dtype) if kind is Buffered else value
    left, right, labels = factors(20, 6, 3, j, dtype)
    for table in (low_rank(kind, dtype, j, value), mixed_rank(kind, dtype, value)):
        plain = copy.deepcopy(table)
        plain.scale = None
        assert torch.equal(table(ids), plain(ids) * scale)
        assert torch.equal(table.weight, plain.weight)
        dense = table.to_dense()
        assert type(dense) is kind
        assert dense.weight.dtype == dtype
        assert float(dense.embed_scale) == float(scale)
        assert torch.equal(dense(ids), F.embedding(ids, table.weight) * scale)
        assert dense.state_dict().keys() == {"weight"}
    rows = low_rank(kind, dtype, j, value).weight
    bound = 0.1 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(rows.double(), product(left, right, labels), rtol=bound, atol=bound)


@pytest.mark.parametrize("kind", [Times, Buffered])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_full_rank_is_the_dense_embedding_bit_for_bit(kind: Any, dtype: torch.dtype) -> None:
    table = kind(20, 6, padding_idx=2).to(dtype)
    low = LowRankEmbedding.from_embedding(table, rank=6)
    ids = torch.tensor([[2, 19, 2], [0, 7, 7]])
    assert torch.equal(low(ids), table(ids))
    assert (low.padding_idx, low.scale_rounded) == (2, kind is Buffered)
    assert torch.equal(low.to_dense()(ids), table(ids))
    assert type(low.to_dense()) is kind
    again = low.to(torch.float64)
    assert again(ids).dtype == torch.float64
    assert again.to_dense()(ids).dtype == torch.float64


@pytest.mark.parametrize("make", [low_rank, mixed_rank])
def test_gradients_and_padding(make: Any) -> None:
    more: Any = (2,) if make is low_rank else ()
    table = make(Times, torch.float64, *more, padding_idx=3)
    dense = table.to_dense()
    x = torch.tensor([3, 5, 5, 19])
    table(x).square().sum().backward()
    dense(x).square().sum().backward()
    assert dense.padding_idx == 3
    assert not dense.weight.grad[3].any()
    plain = copy.deepcopy(table)
    plain.zero_grad()
    (plain.weight * dense.weight.grad).sum().backward()
    for name, factor in table.named_parameters():
        if name.startswith("left"):  # right factors learn from all rows, padding too
            torch.testing.assert_close(factor.grad, plain.get_parameter(name).grad)


def test_max_norm_bounds_rows_before_they_are_scaled() -> None:
    table = low_rank(Times, torch.float64, 1, max_norm=0.5)
    dense = table.to_dense()
    ids = torch.arange(20)
    torch.testing.assert_close(table(ids), dense(ids))
    assert table(ids).norm(dim=1).max() > 0.5 * 3.2


@pytest.mark.parametrize("kind", [Times, Buffered])
@pytest.mark.parametrize("make", [low_rank, mixed_rank])
def test_exported_pickled_and_printed(make: Any, kind: Any) -> None:
    table = make(kind, torch.float32, *((2,) if make is low_rank else ())).eval()
    ids = torch.tensor([3, 19, 0, 3])
    expected = table(ids)
    for twin in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
        assert torch.equal(twin(ids), expected)
        assert type(twin.to_dense()) is kind
    assert repr(table).endswith("scale=3.3)")
    exported = torch.export.export(table, (ids,)).module()
    torch.testing.assert_close(exported(ids), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(table, ids)
        torch.testing.assert_close(traced(ids[:2]), expected[:2])
        if make is low_rank:
            scripted = torch.jit.script(low_rank(kind, torch.float32, 1))
            assert scripted(ids).shape == (4, 6)


def test_modules_that_were_pickled_before_there_were_scales() -> None:
    table = LowRankEmbedding(9, 4, 2)
    assert not {"scale", "scale_rounded", "dense_class"} & vars(table).keys()
    assert table.scale is None
    assert type(table.to_dense()) is torch.nn.Embedding


# ---------------------------------------------------------------- models


@pytest.fixture(params=SCALED)
def model(request: pytest.FixtureRequest) -> Any:
    made = SCALED[request.param]()
    if type(table_of(made)) is torch.nn.Embedding:  # its tests are those of plain embeddings
        pytest.skip("this version of transformers scales in the encoder and the decoder")
    return made


def dense_twin(model: Any, rows: Tensor, head: Tensor) -> Any:
    """The model with these rows in its embeddings, and those in its output layer."""
    twin = copy.deepcopy(model)
    weight = table_of(model).weight
    shared = torch.nn.Parameter(rows.clone())
    for name, module in model.named_modules(remove_duplicate=False):
        if module._parameters.get("weight") is weight:
            own = isinstance(module, torch.nn.Embedding)
            twin.get_submodule(name).weight = shared if own else torch.nn.Parameter(head.clone())
    return twin


@pytest.mark.parametrize(
    ("tie", "options"), [("untie", KINDS[0]), ("keep", KINDS[1]), ("keep", KINDS[2])], ids=str
)
def test_models(model: Any, tie: str, options: dict[str, Any], tmp_path: Path) -> None:
    dense = copy.deepcopy(model)
    weight = table_of(model).weight
    kind, scaling = type(table_of(model)), scaling_of(table_of(model))
    assert scaling is not None
    before = numbers(model)
    report = squeezed(model, tie=tie, **options)
    (layer,) = report.compressed
    assert (report.parameters_before, report.parameters_after) == (before, numbers(model))
    table, head = table_of(model), model.get_output_embeddings()
    assert table.scale == scaling.value
    rows = table.weight.detach()
    assert ("lm_head" in layer.tied, layer.untied) == (
        tie == "keep",
        ("lm_head",) * (tie != "keep"),
    )
    if tie == "untie":
        assert head.weight is weight
    else:
        assert torch.equal(head.weight, rows)
    told = logits(dense_twin(dense, rows, head.weight.detach()), IDS)
    assert (logits(model, IDS) - told).abs().max() < 1e-5
    everything = torch.arange(100).reshape(-1, 20)
    assert (logits(model, everything) - logits(dense, everything)).abs().max() > 1e-4

    nn.save_pretrained(model, tmp_path, report=report)
    again = nn.load_pretrained(tmp_path)
    assert torch.equal(logits(again, IDS), logits(model, IDS))
    assert numbers(again) == numbers(model)
    assert (table_of(again).scale, table_of(again).dense_class) == (scaling.value, kind)

    nn.resize_token_embeddings(again, 110)
    resized = logits(again, IDS)
    torch.testing.assert_close(resized[..., :100], told, rtol=1e-4, atol=1e-5)
    assert logits(again, IDS + 10).shape[-1] == 110

    nn.decompress(model)
    assert type(table_of(model)) is kind
    assert float(table_of(model).embed_scale) == scaling.value
    assert {type(m) for m in model.modules()} == {type(m) for m in dense.modules()}
    assert model.state_dict().keys() == dense.state_dict().keys()
    assert (logits(model, IDS) - told).abs().max() < 1e-5
    nn.decompress(again)
    assert type(table_of(again)) is kind
    assert table_of(again).weight.shape[0] == table_of(again).num_embeddings == 110


@pytest.mark.parametrize("tie", ["keep", "untie"])
def test_full_rank_changes_nothing(model: Any, tie: str) -> None:
    before = logits(model, IDS)
    d = table_of(model).embedding_dim
    assert squeezed(model, tie=tie, rank=d, subspaces=2, force=True).compressed
    assert (logits(model, IDS) - before).abs().max() < 1e-5


def test_half_precision(model: Any, tmp_path: Path) -> None:
    """Gemma's scale is rounded with the weight, BART's is not: full rank has the same bits."""
    model.bfloat16()
    before = table_of(model)(IDS)
    d = table_of(model).embedding_dim
    squeezed(model, rank=d, subspaces=1, force=True)
    assert same_bits(table_of(model)(IDS), before)
    nn.save_pretrained(model, tmp_path)
    again = nn.load_pretrained(tmp_path)
    assert same_bits(table_of(again)(IDS), before)
    nn.decompress(again)
    assert same_bits(table_of(again)(IDS), before)


def test_halved_afterwards(model: Any) -> None:
    d = table_of(model).embedding_dim
    dense = copy.deepcopy(model).bfloat16()
    squeezed(model, rank=d, subspaces=1, force=True)
    model.bfloat16()
    assert same_bits(table_of(model)(IDS), table_of(dense)(IDS))


@pytest.mark.parametrize("family", ["bart", "gemma3"])
def test_the_same_from_the_command(family: str, tmp_path: Path) -> None:
    model = SCALED[family]()
    if family == "gemma3" and not hasattr(table_of(model), "scalar_embed_scale"):
        pytest.skip("this version of transformers has the number in the buffer alone")
    model.save_pretrained(tmp_path / "model")
    arguments = ["--rank", "3", "--p", "2", "--subspaces", "1", "--quiet"]
    source, out = str(tmp_path / "model"), str(tmp_path / "out")
    assert main(["compress", source, *arguments, "--out", out]) == 0
    report = squeezed(model, rank=3, subspaces=1)
    nn.save_pretrained(model, tmp_path / "saved", report=report)
    assert torch.equal(logits(nn.load_pretrained(out), IDS), logits(model, IDS))
    ours, theirs = (read_recipe(tmp_path / name) for name in ("saved", "out"))
    assert sorted(map(str, ours.layers)) == sorted(map(str, theirs.layers))


# ---------------------------------------------------------------- files


def versions(folder: Path) -> Any:
    return json.loads((folder / "lpgeom.json").read_text())["version"]


def changed(folder: Path, change: Any) -> None:
    path = folder / "lpgeom.json"
    values = json.loads(path.read_text())
    for layer in values["layers"]:
        if layer["kind"] == "embedding":
            change(layer["options"])
    path.write_text(json.dumps(values))


class Net(torch.nn.Module):
    def __init__(self, table: torch.nn.Module) -> None:
        super().__init__()
        self.table = table


def test_files_say_the_scale_and_are_of_a_version_that_knows_it(tmp_path: Path) -> None:
    """What scales nothing stays readable to an older lpgeom, and what scales is refused there."""
    for name, table, version in (
        ("plain", torch.nn.Embedding(60, 8), 1),
        ("one", Times(60, 8, 1.0), 1),
        ("scaled", Times(60, 8), 2),
        ("buffer", Buffered(60, 8), 2),
    ):
        model = Net(table)
        squeezed(model, rank=3, subspaces=1)
        nn.save_pretrained(model, tmp_path / name)
        assert versions(tmp_path / name) == version
        again: Any = nn.load_pretrained(tmp_path / name, model=Net(copy.deepcopy(table)))
        assert torch.equal(again.table(IDS % 60), model.table(IDS % 60))
        assert type(again.table.to_dense()) is type(table)
    # Scaled by one is as good as not scaled, whichever side has the class.
    one = nn.load_pretrained(tmp_path / "one", model=Net(torch.nn.Embedding(60, 8)))
    assert type(one.table.to_dense()) is torch.nn.Embedding
    plain = nn.load_pretrained(tmp_path / "plain", model=Net(Times(60, 8, 1)))
    assert type(plain.table.to_dense()) is Times


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("scaled", torch.nn.Embedding(60, 8), "by 1 in the model, by 3.3 in the saved"),
        ("scaled", Times(60, 8, 4.0), "by 4 in the model, by 3.3 in the saved"),
        ("scaled", Times(60, 8, 0.0), "by 0 in the model, by 3.3 in the saved"),
        ("scaled", Drops(60, 8), "by 1 in the model, by 3.3 in the saved"),
        ("plain", Times(60, 8), "by 3.3 in the model, by 1 in the saved"),
    ],
    ids=str,
)
def test_another_scale_in_the_model_is_an_error(
    name: str, table: torch.nn.Module, said: str, tmp_path: Path
) -> None:
    saved = Net(Times(60, 8) if name == "scaled" else torch.nn.Embedding(60, 8))
    squeezed(saved, rank=3, subspaces=1)
    nn.save_pretrained(saved, tmp_path)
    model = Net(table)
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=f"table scales what it looks up {said}"):
        nn.load_pretrained(tmp_path, model=model)
    assert_unchanged(model, before)


def test_into_a_model_that_is_in_factors_already(tmp_path: Path) -> None:
    model = Net(Buffered(60, 8))
    squeezed(model, rank=3, subspaces=1)
    nn.save_pretrained(model, tmp_path)
    again: Any = nn.load_pretrained(tmp_path, model=copy.deepcopy(model))
    assert torch.equal(again.table(IDS % 60), model.table(IDS % 60))
    assert type(again.table.to_dense()) is Buffered


@pytest.mark.parametrize("value", ["3.3", None, True, [3.3], float("nan"), "inf", float("inf")])
def test_damaged_scales(value: Any, tmp_path: Path) -> None:
    model = Net(Times(60, 8))
    squeezed(model, rank=3, subspaces=1)
    nn.save_pretrained(model, tmp_path)
    changed(tmp_path, lambda options: options.update(scale=value))
    with pytest.raises(CheckpointError, match="damaged"):
        nn.load_pretrained(tmp_path, model=Net(Times(60, 8)))


def test_bart_that_scales_nothing_is_saved_as_it_was(tmp_path: Path) -> None:
    model = bart()
    squeezed(model, ratio=0.4)
    nn.save_pretrained(model, tmp_path)
    assert versions(tmp_path) == 1
    assert torch.equal(logits(nn.load_pretrained(tmp_path), IDS), logits(model, IDS))
