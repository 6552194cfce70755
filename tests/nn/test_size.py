"""`compress(model, size=...)`: bytes asked for, bytes taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import small
from hypothesis import given, settings
from hypothesis import strategies as st
from models import Tied, assert_unchanged, random_, snapshot
from safetensors.torch import load_file
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as kinds

from lpgeom import nn
from lpgeom.nn.factors.coded import Coded
from lpgeom.nn.factors.factored import Spec
from lpgeom.nn.factors.quantise import least_bytes, rows_curve
from lpgeom.nn.plan.options import Options
from lpgeom.nn.plan.sizes import checked_size
from lpgeom.nn.stored.tensors import header_size

some = settings(deadline=None, derandomize=True, max_examples=20)
IDS = torch.tensor([[1, 2, 119], [0, 5, 5]])


# ---- what a size says


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (0.1, 0.1), (np.float32(0.5), 0.5), ("0.1", 0.1), ("10%", 0.1), (" 10 % ", 0.1),
        (9_000_000, 9_000_000), (9e6, 9_000_000), ("9 MB", 9_000_000), ("9MB", 9_000_000),
        ("0.9 mb", 900_000), ("9.65 MB", 9_650_000), ("16.3 MB", 16_300_000), ("1 GB", 10**9),
        ("900 kB", 900_000), ("1 MiB", 2**20), ("2KiB", 2048), ("50 B", 50), ("9000000", 9_000_000),
        ("1e6", 1_000_000), (np.int64(5000), 5000),
    ],
)  # fmt: skip
def test_sizes(given_: Any, expected: float) -> None:
    found = checked_size(given_)
    assert found == pytest.approx(expected, rel=1e-7)
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("given_", "error", "text"),
    [
        (0.0, ValueError, "size must be a share"), (1.0, ValueError, "size must be"),
        (-5, ValueError, "size must be"), (10, ValueError, r"10% is 0\.1"),
        (float("nan"), ValueError, "size"), (float("inf"), ValueError, "size"),
        ("9 songs", ValueError, "'9 songs'"), ("", ValueError, "size"), ("MB", ValueError, "size"),
        ("150%", ValueError, "size"), ("-1 MB", ValueError, "size"), ("0 MB", ValueError, "size"),
        (True, TypeError, "size"), (None, ValueError, "give one of size, ratio"),
        ([9], TypeError, "size"), (1 + 2j, TypeError, "size"), ("1e400 MB", ValueError, "size"),
    ],
)  # fmt: skip
def test_no_sizes(given_: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Options.checked(size=given_)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"ratio": 0.5}, "not size and ratio"), ({"rank": 3}, "not size and rank"),
        ({"max_norm_error": 0.5}, "not size and max_norm_error"),
        ({"subspaces": 3}, "subspaces goes with ratio or rank, not with size"),
        ({"ranks": "mixed", "subspaces": 3}, "goes with ratio or rank, not with size"),
        ({"allocate": "global"}, "allocate goes with ratio"),
        ({"force": True}, "force goes with ratio"),
        ({"objective": "entries"}, 'size goes with objective="rows"'),
    ],
)  # fmt: skip
def test_what_size_does_not_go_with(more: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Options.checked(size=0.1, **more)


# ---- one embedding


@some
@given(
    st.integers(30, 200), st.integers(1, 24), st.floats(0.02, 0.6),
    st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]),
    st.integers(0, 99),
)  # fmt: skip
def test_never_above_the_size(n: int, d: int, share: float, dtype: torch.dtype, seed: int) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(n, d))
    random_(model, seed)
    model.to(dtype)
    dense = model[0].weight.detach().clone()
    now = dense.numel() * dense.element_size()
    if now * share < least_bytes(n, d) or least_bytes(n, d) >= now:
        return
    report = nn.compress(model, size=share, progress=False)
    (layer,) = report.layers
    assert layer.bytes_after == model[0].held.nbytes <= share * now
    assert layer.form == "rows"
    assert layer.parameters_after == sum(q.numel() for q in model.parameters())
    assert 0.0 <= layer.lower_bound <= layer.cost * (1 + 1e-9)
    assert layer.truncation_cost <= layer.cost * (1 + 1e-9) + 1e-30
    off = (model[0].weight.detach().double() - dense.double()).square().sum()
    slack = 2e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-3
    size = float(dense.double().square().sum())
    assert float(off) == pytest.approx(layer.cost, rel=slack, abs=slack * size)


def test_the_error_falls_as_bytes_grow() -> None:
    errors = []
    for share in (0.05, 0.1, 0.2, 0.4):
        model = random_(torch.nn.Sequential(torch.nn.Embedding(2000, 24)))
        report = nn.compress(model, size=share, progress=False, certify=False)
        errors.append(report.layers[0].error)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02 < errors[0]


def test_a_size_below_the_least_says_what_the_least_is() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(500, 16))
    before = snapshot(model)
    least = least_bytes(500, 16)
    with pytest.raises(ValueError, match=f"the least is {least:,} bytes"):
        nn.compress(model, size=least - 1, progress=False)
    assert_unchanged(model, before)
    report = nn.compress(model, size=least, progress=False)
    assert report.layers[0].bytes_after <= least


def test_what_is_too_small_or_fits_stays() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(40, 2))
    report = nn.compress(model, size=0.5, progress=False)
    assert report.layers[0].note == "too small for few bits"
    model = torch.nn.Sequential(torch.nn.Embedding(500, 16))
    report = nn.compress(model, size=32_000, progress=False)
    assert report.layers[0].note == "fits as it is"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_entries_that_are_not_finite(bad: float) -> None:
    model = Tied()
    with torch.no_grad():
        model.embed.weight[3, 4] = bad
    before = snapshot(model)
    with pytest.raises(ValueError, match="embed: "):
        nn.compress(model, size=0.5, progress=False)
    assert_unchanged(model, before)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_zero_tiny_and_huge_tables(scale: float) -> None:
    model = random_(torch.nn.Sequential(torch.nn.Embedding(3000, 12)), scale=scale)
    dense = model[0].weight.detach().clone()
    report = nn.compress(model, size=0.4, progress=False)
    assert bool(model[0].weight.isfinite().all())
    assert scale or not model[0].weight.any()
    assert report.layers[0].error < 0.3
    off = (model[0].weight.double() - dense.double()).norm().item()
    assert off <= 0.3 * dense.double().norm().item()


# ---- several weights


def test_tied_layers_share_the_codes() -> None:
    model = Tied(600)
    report = nn.compress(model, size=0.3, progress=False)
    assert model.head.codes is model.embed.codes
    assert model.head.basis is model.embed.basis
    assert report["embed"].tied == ("head",)
    x = model.embed(IDS)
    torch.testing.assert_close(x @ model.embed.weight.T + model.head.bias, model.head(x))
    untied = Tied(600)
    dense = untied.head.weight.detach().clone()
    report = nn.compress(untied, size=0.3, tie="untie", progress=False)
    assert torch.equal(untied.head.weight, dense)
    assert report["embed"].untied == ("head",)


def test_several_embeddings_share_one_budget() -> None:
    model = torch.nn.ModuleList([torch.nn.Embedding(3000, 16), torch.nn.Embedding(2000, 24)])
    random_(model)
    with torch.no_grad():
        model[1].weight *= torch.logspace(0, -2, 24)  # falls fast: few bits are enough
    report = nn.compress(model, size=0.15, progress=False)
    now = sum(layer.bytes_before for layer in report.layers)
    assert sum(layer.bytes_after for layer in report.layers) <= 0.15 * now
    assert report.layers[1].bits < report.layers[0].bits
    assert min(layer.bits for layer in report.layers) > 1.0


def test_the_curve_falls() -> None:
    weight = random_(torch.nn.Embedding(700, 20)).weight
    curve = rows_curve(weight, Spec(p=2.0, row_weights=np.linspace(1.0, 0.0, 700)))
    sizes, lost = zip(*curve, strict=True)
    assert list(sizes) == sorted(sizes)
    assert list(lost) == sorted(lost, reverse=True)
    assert lost[0] == 1.0
    assert lost[-1] < 0.05


# ---- the report, files, the command


def test_report(tmp_path: Path) -> None:
    model = small("bert")
    report = nn.compress(model, size=0.4, progress=False)
    assert report.by_bytes
    layer = report.compressed[0]
    assert layer.bits == pytest.approx(8 * layer.bytes_after / (layer.shape[0] * layer.shape[1]))
    assert layer.rounded_bytes(8) > layer.rounded_bytes(4) > layer.shape[0] * layer.shape[1] / 2
    text = report.table()
    assert "bits" in text.splitlines()[0]
    assert "int4" in text.splitlines()[0]
    assert "kB are now" in report.summary()
    again = nn.CompressionReport.from_dict(json.loads(report.to_json()))
    assert again.layers == report.layers
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.index("Size on disk") < page.index("Layers compressed")
    for title in ("Bits an entry", "int8", "int4", "Without rounding"):
        assert title in page
    plan = nn.compress(small("bert"), size=0.4, dry_run=True)
    assert plan.compressed[0].bytes_after <= 0.4 * plan.compressed[0].bytes_before
    assert plan.compressed[0].error is None


@pytest.mark.parametrize("kind", ["bert", "albert", "gpt2", "xlnet"])
def test_saved_and_loaded(tmp_path: Path, kind: str) -> None:
    model = small(kind)
    report = nn.compress(model, size=0.4, progress=False)
    nn.save_pretrained(model, tmp_path, report=report)
    again = nn.load_pretrained(tmp_path)
    dense = nn.load_pretrained(tmp_path, dense=True)
    assert not any(isinstance(getattr(m, "held", None), Coded) for m in dense.modules())
    state = again.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value), name
    (file,) = tmp_path.glob("*.safetensors")
    names = list(state)
    assert file.stat().st_size <= report.bytes_after + header_size(names)
    table = again.get_input_embeddings()
    assert torch.equal(dense.get_input_embeddings().weight, table.weight)


@pytest.fixture
def tokenizer() -> Tokenizer:
    places = np.random.default_rng(0).permutation(3000)
    words = ["[PAD]", "[unused0]", "[UNK]", ",", *(f"word{i}" for i in places)]
    made = Tokenizer(kinds.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(["[PAD]", "[UNK]"])
    return made


def test_tokens_weigh_as_they_occur(tokenizer: Tokenizer) -> None:
    model, plain = (torch.nn.Sequential(torch.nn.Embedding(3004, 24)) for _ in range(2))
    plain.load_state_dict(random_(model).state_dict())
    dense = model[0].weight.detach().clone()
    report = nn.compress(model, size=0.15, tokenizer=tokenizer, progress=False)
    assert report.layers[0].weights == "tokens"
    nn.compress(plain, size=0.15, row_weights=None, progress=False)
    seldom, often = slice(2000, 3004), slice(4, 60)

    def off(table: Any, rows: slice) -> float:
        return float((table[0].weight - dense)[rows].square().sum().detach())

    assert off(model, often) < off(plain, often)
    assert off(model, seldom) > off(plain, seldom)


# ---- linear layers


def test_all_weights_share_one_budget() -> None:
    model = small("bert")
    before = sum(x.nbytes for x in model.state_dict().values())
    dense = small("bert")
    report = nn.compress(model, size=0.3, layers="all", progress=False)
    now = sum(layer.bytes_before for layer in report.compressed)
    assert sum(layer.bytes_after for layer in report.compressed) <= 0.3 * now
    assert {layer.form for layer in report.compressed} == {"rows", "entries"}
    for layer in report.compressed:
        assert 0.0 < layer.int8_error < layer.int4_error < 0.2
        assert layer.error < 1.0
    assert report.bytes_before < before  # the tied weight once
    ids = torch.randint(5, 190, (2, 9), generator=torch.Generator().manual_seed(0))
    assert model(ids).logits.shape == dense(ids).logits.shape


def test_bytes_of_the_whole_file(tmp_path: Path) -> None:
    model = small("bert")
    nn.save_pretrained(small("bert"), tmp_path / "dense")
    whole = next((tmp_path / "dense").glob("*.safetensors")).stat().st_size
    size = int(0.75 * whole)
    report = nn.compress(model, size=size, layers="all", progress=False)
    nn.save_pretrained(model, tmp_path / "small", report=report)
    (file,) = (tmp_path / "small").glob("*.safetensors")
    held = sum(x.nbytes for x in load_file(file).values())
    assert 0.7 * size < file.stat().st_size <= size
    assert held == report.bytes_after
    with pytest.raises(
        ValueError, match=r"the least is [\d,]+ bytes, of which .* stay as they are"
    ):
        nn.compress(small("bert"), size=10_000, layers="all", progress=False)
    assert nn.compress(small("bert"), size=10_000, progress=False).compressed  # of the table alone


def test_calibration_lowers_the_error_of_outputs() -> None:
    torch.manual_seed(0)
    mix = torch.randn(48, 48) @ torch.diag(torch.logspace(0, -2, 48))
    batches = [torch.randn(64, 48) @ mix for _ in range(4)]

    def made() -> torch.nn.Module:
        return random_(torch.nn.Sequential(torch.nn.Linear(48, 64)), 3)

    plain, aware = made(), made()
    y = made()(batches[0])
    nn.compress(plain, size=0.12, layers="linear", progress=False)
    report = nn.compress(aware, size=0.12, layers="linear", calibration=batches, progress=False)
    assert report.layers[0].metric == "activations"
    off = [float((model(batches[0]) - y).square().sum().detach()) for model in (plain, aware)]
    assert off[1] < 0.5 * off[0]


def test_more_tokens_are_refused() -> None:
    model = small("bert")
    nn.compress(model, size=0.6, progress=False)
    with pytest.raises(TypeError, match="rows are codes"):
        nn.resize_token_embeddings(model, 400)
    nn.decompress(model)
    model.resize_token_embeddings(400)
    assert model.get_input_embeddings().weight.shape[0] == 400
