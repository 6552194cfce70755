"""Methods by bytes, and the tables and pictures of what they cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import lpgeom
from benchmarks import performance, quantized, words
from benchmarks.accuracy import sized, sums
from benchmarks.accuracy.encoders import Encoder
from benchmarks.accuracy.store import Store

NAMES = ("sentences", "r8", "newsgroups")


class Model(torch.nn.Module):
    """An embedding, a linear layer, and a norm that stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(50, 64)
        self.linear = torch.nn.Linear(64, 128)
        self.norm = torch.nn.LayerNorm(128)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.table


@pytest.fixture
def encoder() -> Encoder:
    return Encoder("small", Model().eval(), SimpleNamespace())


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        # Codes and scales; the bias and the norm have 3 x 128 numbers.
        ("all-int8", 50 * 64 + 2 * 50 + 128 * 64 + 2 * 128 + 4 * 384),
        ("all-int4", (50 * 64 + 128 * 64) // 2 + 2 * (50 + 128) + 4 * 384),
        ("all-float16", 2 * (50 * 64 + 128 * 64 + 384)),
        ("int8", 50 * 64 + 2 * 50),
        ("float16", 2 * 50 * 64),
    ],
)
def test_bytes_are_counted_to_the_last(encoder: Encoder, name: str, taken: int) -> None:
    before = {key: value.clone() for key, value in encoder.model.state_dict().items()}
    smaller, about = sized.SIZED[name].applied(encoder, None, [])
    assert about["bytes"] == taken
    assert about["share"] == taken / (4 * sized.numbers(encoder, about["scope"]))
    after = smaller.model.state_dict()
    for key, value in before.items():
        assert torch.equal(encoder.model.state_dict()[key], value)  # the one given stays
        coded = name.startswith("all") or key == "table.weight"
        assert torch.allclose(after[key], value, atol=0.5 if coded else 0.0)
    assert not torch.equal(after["table.weight"], before["table.weight"])
    assert torch.equal(after["linear.weight"], before["linear.weight"]) != name.startswith("all")


def test_a_table_of_another_shape_is_an_error(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r"shape \(50, 64\) is needed, not \(64, 50\)"):
        encoder.with_table(np.zeros((64, 50), np.float32))


def test_ours_keeps_to_the_bytes_asked_for(encoder: Encoder, monkeypatch: Any) -> None:
    monkeypatch.setattr(sized, "token_weights", lambda encoder: 1.0 / np.arange(1.0, 51.0))
    method = sized.SIZED["ours"]
    assert method.asks
    assert method.shares({"sizes": []}) == method.sizes
    assert method.shares({"sizes": [0.9]}) == [0.9]
    assert sized.SIZED["int8"].shares({"sizes": [0.9]}) == (None,)
    smaller, about = method.applied(encoder, 0.9, [])
    assert about["share"] <= 0.9
    assert not torch.equal(smaller.model.table.weight, encoder.model.table.weight)


# ---------------------------------------------------------------- tables


def _lines(method: str, size: float | None, share: float, agreement: float) -> list[dict[str, Any]]:
    scores = {"drop": 1.0, "agreement": agreement, "cosine": 0.9, "kl": 0.1}
    return [
        {
            "model": "minilm", "task": task, "method": method, "size": size, "share": share,
            "scope": sized.SIZED[method].scope, "bytes": int(1e6 * share),
            **scores, **{f"{name}_se": 0.3 for name in scores},
        }
        for task in NAMES
    ]  # fmt: skip


LINES = [
    *_lines("ours", 0.1, 0.0999, 98.0),
    *_lines("int3", None, 0.109, 97.0),  # a tenth more
    *_lines("int2", None, 0.078, 91.0),
    *_lines("int4", None, 0.141, 99.0),  # more than that
    *_lines("int8", None, 0.251, 99.9)[:2],  # not on all tasks
]


def test_ours_stands_beside_the_best_of_about_as_many_bytes() -> None:
    rows = sums.short(LINES, "minilm", "embeddings", NAMES).splitlines()[2:]
    assert rows == [
        "| 10.0% | 1.00 ± 0.17 | 98.00 ± 0.17 | int3, groups of 32 (10.9%) | 1.00 ± 0.17 | "
        "97.00 ± 0.17 |"
    ]
    alone = sums.short(LINES[:3], "minilm", "embeddings", NAMES).splitlines()[2:]
    assert alone == ["| 10.0% | 1.00 ± 0.17 | 98.00 ± 0.17 | - | - | - |"]


def test_methods_are_sorted_by_bytes_and_whole() -> None:
    rows = sums.table(LINES, "minilm", "embeddings", NAMES).splitlines()[2:]
    assert [row.split(" | ")[2].strip("*") for row in rows] == [
        "int4, groups of 32", "int3, groups of 32", "ranks and bits", "int2, groups of 32"
    ]  # fmt: skip
    assert rows[2].startswith("| **10.0%** | **0.10** |")
    assert not sums.table(LINES, "minilm", "all", NAMES).splitlines()[2:]
    only = sums.table(LINES, "minilm", "embeddings", NAMES, (sized.OURS,)).splitlines()[2:]
    assert only == [rows[2]]


def test_a_picture_has_a_point_for_each_size() -> None:
    figure = sums.picture(LINES, "minilm")
    (left,) = figure.axes  # there is nothing of whole models
    drawn = {
        group.get_label(): group.lines[0].get_xdata().tolist() for group in left.containers
    }  # fmt: skip
    assert drawn["ranks and bits"] == pytest.approx([9.99])
    assert drawn["rounded to nearest"] == pytest.approx([14.1, 10.9, 7.8])
    assert left.get_xscale() == "log"


def test_lines_by_size_are_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "lines.jsonl", {"length": 48}, "size")
    store.add(LINES)
    again = Store(tmp_path / "lines.jsonl", {"length": 48}, "size")
    assert again.has("minilm", "r8", "ours", 0.1)
    assert again.has("minilm", "r8", "int4", None)
    assert not again.has("minilm", "r8", "ours", 0.2)


# ---------------------------------------------------------------- tables of tokens


def test_correlations_are_those_of_ranks() -> None:
    table = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    rows = np.arange(60)
    assert words.correlations(table, 3.0 * table, rows) == pytest.approx([1.0] * words.SEEDS)
    noisy = table + np.random.default_rng(1).standard_normal(table.shape)
    found = words.correlations(table, noisy, rows)
    assert 0.2 < np.mean(found) < 0.8


def test_the_families_of_methods_are_tables() -> None:
    known = sums.tables(LINES)
    name = "rounded to nearest: minilm embeddings three"
    page = performance.filled(f"<!-- table: {name} -->\n<!-- end -->\n", known)
    assert page.count(", groups of 32 |") == 3
    assert "ranks and bits" not in page


def test_ideal_bits_of_codes() -> None:
    A = np.random.default_rng(0).standard_normal((2000, 4))
    found = lpgeom.approx_quantized(A, 6100, groups=1, bits=(2,), certify=False)
    bits, kept = quantized.ideal_bits(found)
    assert kept == 8 * found.codes.size  # 8 bits a row, all used
    assert 0.9 * kept < bits <= kept
    alike = replace(found, codes=np.full_like(found.codes, 0b10011100))
    assert quantized.ideal_bits(alike) == (0.0, kept)
