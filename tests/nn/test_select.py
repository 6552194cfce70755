"""Which weights a name means, and what is said where it means none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import Nested, Tied
from torch import nn

from lpgeom.nn import compress
from lpgeom.nn.model.select import by_name, selected
from lpgeom.nn.model.sites import groups


def names(model: nn.Module, layers: Any, exclude: Any = ()) -> tuple[list[str], dict[str, str]]:
    chosen, notes = selected(groups(model), model, layers, exclude)
    return [group.name for group in chosen], notes


BLOCKS = ["blocks.0.up", "blocks.0.down", "blocks.0.mix", "blocks.1.up", "blocks.1.down"]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("embeddings", ["tokens"]),
        ("linear", [*BLOCKS, "classifier"]),
        ("all", ["tokens", *BLOCKS, "classifier"]),
        ("tokens", ["tokens"]),
        ("blocks.0", BLOCKS[:3]),
        ("blocks.*.up", ["blocks.0.up", "blocks.1.up"]),
        ("*.down", ["blocks.0.down", "blocks.1.down"]),
        ("blocks.1.mix", ["blocks.0.mix"]),  # the second name of one module
        (["classifier", "tokens"], ["tokens", "classifier"]),
        (("embeddings", "blocks.1"), ["tokens", "blocks.0.mix", "blocks.1.up", "blocks.1.down"]),
        ("blocks.[0]*.up", ["blocks.0.up"]),
        ("b*.1", ["blocks.0.mix", "blocks.1.up", "blocks.1.down"]),  # a pattern of modules
    ],
)
def test_layers(layers: Any, expected: list[str]) -> None:
    assert names(Nested(), layers)[0] == expected


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        ("classifier", ["tokens", *BLOCKS]),
        ("blocks", ["tokens", "classifier"]),
        (["*.up", "embeddings"], ["blocks.0.down", "blocks.0.mix", "blocks.1.down", "classifier"]),
        ("linear", ["tokens"]),
        ((), ["tokens", *BLOCKS, "classifier"]),
    ],
)
def test_exclude(exclude: Any, expected: list[str]) -> None:
    assert names(Nested(), "all", exclude)[0] == expected


def test_small_layers_are_taken_by_name_only() -> None:
    assert names(Nested(), "all")[1] == {"classifier": "small; name it to compress it"}
    assert names(Nested(), ["all", "classifier"])[1] == {}
    assert names(Nested(), "class*")[1] == {}
    report = compress(Nested(), rank=2, p=2.0, layers=["linear"], progress=False)
    assert not report["classifier"].compressed
    assert compress(Nested(), rank=2, p=2.0, layers="classifier", progress=False)[
        "classifier"
    ].compressed


class Words(nn.Module):
    """As Hugging Face models: it says which embedding is that of words."""

    def __init__(self, wrapped: bool = False) -> None:
        super().__init__()
        self.words = nn.Sequential(nn.Embedding(60, 8)) if wrapped else nn.Embedding(60, 8)
        self.positions = nn.Embedding(40, 8)

    def get_input_embeddings(self) -> nn.Module:
        return self.words


def test_word_embeddings() -> None:
    note = "not a word embedding; name it to compress it"
    for model, word in ((Words(), "words"), (Words(wrapped=True), "words.0")):
        assert names(model, "embeddings") == ([word, "positions"], {"positions": note})
        assert names(model, ["embeddings", "positions"]) == ([word, "positions"], {})
    silent = Words()
    silent.get_input_embeddings = lambda: (_ for _ in ()).throw(NotImplementedError)  # type: ignore
    assert names(silent, "embeddings")[1] == {}


def test_tied_layers_answer_to_each_name() -> None:
    model = Tied()
    for layers in ("embed", "head", "linear", "embeddings", "he*"):
        chosen = names(model, layers)[0]
        assert ("embed" in chosen) == (layers != "linear")
        assert "head" not in chosen


@pytest.mark.parametrize("option", ["layers", "exclude"])
def test_a_pattern_that_means_nothing_lists_near_names(option: str) -> None:
    for pattern, near in (
        ("token", "tokens"), ("clasifier", "classifier"), ("block.0.up", "blocks.0.up"),
        ("UP", "blocks.0.up"), ("blocks.2.*", "blocks.0.up"), ("*.downs", "blocks.0.down"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{option}: no embedding.*near names: .*{near}"):
            names(Nested(), **{"layers": "all", option: pattern})
    for pattern in ("", "tokens.", ".tokens", "okens", "blocks.0.u", "zzzzzz"):
        with pytest.raises(ValueError, match=rf"{option}: no embedding.*{pattern}"):
            names(Nested(), **{"layers": "all", option: pattern})


def test_nothing_to_compress() -> None:
    with pytest.raises(ValueError, match="no layer to compress: exclude takes away all"):
        names(Nested(), "tokens", "embeddings")
    with pytest.raises(ValueError, match="no layer to compress: the model has none"):
        names(nn.Sequential(nn.Conv1d(3, 3, 1)), "all")
    with pytest.raises(ValueError, match="layers is empty"):
        names(Nested(), [])
    for bad in (None, 5, ["tokens", 5], b"tokens", {"tokens"}):
        with pytest.raises(TypeError, match="layers must be a name or a sequence of names"):
            names(Nested(), bad)
    with pytest.raises(ValueError, match="there are: 0"):
        names(nn.Sequential(nn.Linear(3, 3)), "qqqq")


def test_mappings_take_the_first_that_fits() -> None:
    found = groups(Nested())
    rank = by_name(found, {"blocks.0.up": 1, "blocks": 2, "*.down": 3}, "rank")
    ranks = {group.name: rank.get(group) for group in found}
    assert ranks == {
        "tokens": None, "blocks.0.up": 1, "blocks.0.down": 2, "blocks.0.mix": 2, "blocks.1.up": 2,
        "blocks.1.down": 2, "classifier": None,
    }  # fmt: skip
    with pytest.raises(ValueError, match="rank: no embedding or linear layer is called 'blocs'"):
        by_name(found, {"blocs": 1}, "rank")
    with pytest.raises(TypeError, match="names of layers are strings, got 3"):
        by_name(found, {3: 1}, "rank")  # type: ignore[dict-item]


def test_fatal_weights_matter_only_when_selected() -> None:
    model = nn.Sequential(nn.Embedding(50, 8), nn.Linear(20, 20, device="meta"))
    assert names(model, "embeddings")[0] == ["0"]
    with pytest.raises(TypeError, match="1 has no data"):
        names(model, "all")
    assert names(model, "all", "1")[0] == ["0"]
    assert torch.device("meta") == model[1].weight.device
