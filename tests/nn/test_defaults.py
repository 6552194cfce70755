"""What `compress` does where it is not told: mixed ranks, weights of tokens, two for p."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import small
from models import same_bits
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as kinds

from lpgeom import nn
from lpgeom.cli import main
from lpgeom.nn.plan.options import Options

TABLE = "bert.embeddings.word_embeddings"


@pytest.fixture
def tokenizer() -> Tokenizer:
    places = np.random.default_rng(0).permutation(200)  # not in the order of the alphabet
    words = ["[PAD]", "[unused0]", "[UNK]", ",", *(f"word{i}" for i in places)]
    made = Tokenizer(kinds.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(["[PAD]", "[UNK]"])
    return made


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return list(x) == list(y) and all(same_bits(x[name], y[name]) for name in x)


def squeezed(model: torch.nn.Module, **options: Any) -> torch.nn.Module:
    nn.compress(model, **{"ratio": 0.4, "progress": False, "certify": False, **options})
    return model


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"ratio": 0.3}, ("mixed", 8, 2.0)),
        ({"ratio": 0.3, "p": 1.0}, ("mixed", 8, 1.0)),
        ({"ratio": 0.3, "layers": "all"}, ("mixed", 8, 2.0)),
        ({"ratio": 0.3, "ranks": "mixed", "subspaces": 3}, ("mixed", 3, 2.0)),
        ({"ratio": 0.3, "subspaces": 4}, ("equal", 4, 2.0)),
        ({"ratio": 0.3, "ranks": "equal"}, ("equal", 1, 2.0)),
        ({"ratio": 0.3, "layers": "linear"}, ("equal", 1, 2.0)),
        ({"ratio": 0.3, "objective": "entries"}, ("equal", 1, 1.0)),
        ({"rank": 5}, ("equal", 1, 2.0)),
        ({"rank": 5, "ranks": "mixed"}, ("mixed", 8, 2.0)),
        ({"max_norm_error": 0.5}, ("equal", 1, 2.0)),
    ],
    ids=str,
)
def test_what_is_chosen(given: dict[str, Any], expected: tuple[str, int, float]) -> None:
    asked = Options.checked(**given)
    assert (asked.ranks, asked.subspaces, asked.p) == expected


def test_a_whole_model_has_one_budget() -> None:
    assert Options.checked(ratio=0.3, layers="all").allocate == "global"
    assert Options.checked(ratio=0.3, layers="all", subspaces=1).allocate == "uniform"
    assert Options.checked(ratio=0.3, layers="all", allocate="uniform").allocate == "uniform"
    assert Options.checked(ratio=0.3).allocate == "uniform"
    model = small("bert")
    report = nn.compress(model, ratio=0.3, layers="all", progress=False, certify=False)
    before = sum(q.parameters_before for q in report.layers if not q.note or q.compressed)
    assert sum(q.parameters_before - q.parameters_after for q in report.layers) >= 0.3 * before


def test_a_models_word_embedding_is_weighed_by_place() -> None:
    told = {TABLE: np.sqrt(nn.frequency_weights(300))}
    assert same(squeezed(small("bert")), squeezed(small("bert"), row_weights=told))
    assert not same(squeezed(small("bert")), squeezed(small("bert"), row_weights=None))


def test_rows_of_a_bare_embedding_are_alike() -> None:
    """Nothing says that they are tokens, or in which order."""
    torch.manual_seed(0)
    a = torch.nn.Sequential(torch.nn.Embedding(300, 16))
    b = torch.nn.Sequential(torch.nn.Embedding(300, 16))
    b.load_state_dict(a.state_dict())
    assert same(squeezed(a), squeezed(b, row_weights=None))


def test_a_tokenizer_knows_better(tokenizer: Tokenizer) -> None:
    told = {TABLE: np.sqrt(nn.token_weights(tokenizer, n=300))}
    ours = squeezed(small("bert"), tokenizer=tokenizer)
    assert same(ours, squeezed(small("bert"), row_weights=told))
    assert not same(ours, squeezed(small("bert")))


def test_the_command_reads_the_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = small("bert")
    model.save_pretrained(tmp_path / "model")
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    call = ["compress", str(tmp_path / "model"), "--ratio", ".4", "--quiet", "--certify", "none"]
    assert main([*call, "--out", str(tmp_path / "a")]) == 0
    assert main([*call, "--out", str(tmp_path / "b"), "--row-weights", "none"]) == 0
    ours = nn.load_pretrained(tmp_path / "a")
    assert same(ours, squeezed(model, tokenizer=tokenizer))
    other = squeezed(small("bert"), row_weights=None)
    assert same(nn.load_pretrained(tmp_path / "b"), other)


def test_a_vocabulary_in_no_order_of_frequency_is_an_error_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small("bert").save_pretrained(tmp_path / "model")
    words = {"[UNK]": 0, **{f"word{i:03}": i + 1 for i in range(200)}}
    made = Tokenizer(kinds.WordPiece(words, unk_token="[UNK]"))
    made.save(str(tmp_path / "model" / "tokenizer.json"))
    call = ["compress", str(tmp_path / "model"), "--ratio", ".4", "--out", str(tmp_path / "out")]
    assert main(call) == 2
    error = capsys.readouterr().err
    assert "order of the alphabet" in error
    assert "--row-weights none" in error
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_larger_than_the_table_is_refused(tokenizer: Tokenizer) -> None:
    tokenizer.add_tokens([f"more{i}" for i in range(200)])
    with pytest.raises(ValueError, match=r"tokenizer, for .*word_embeddings: n is 300"):
        squeezed(small("bert"), tokenizer=tokenizer)


def test_a_tokenizer_beside_other_weights_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match='goes with row_weights="auto"'):
        squeezed(small("bert"), tokenizer=tokenizer, row_weights="frequency")
    with pytest.raises(ValueError, match="goes with size or mixed ranks"):
        squeezed(small("bert"), tokenizer=tokenizer, subspaces=2)
    with pytest.raises(TypeError):
        squeezed(small("bert"), tokenizer=object())
