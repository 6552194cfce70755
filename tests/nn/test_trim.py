"""Tokenizers with fewer tokens: texts of kept tokens have the same tokens before and after."""

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
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers import models as kinds

from lpgeom import nn
from lpgeom.cli import main
from lpgeom.nn import TrimmedTokenizer, token_weights, trim_tokenizer
from lpgeom.nn.plan.tokens import keep_tokens
from lpgeom.nn.plan.trim import script_of

some = settings(deadline=None, derandomize=True, max_examples=40)
WORDS = [a + b + c for a in ("ba", "be", "lo", "ne", "st") for b in ("ra", "n", "") for c in
         ("s", "ing", "er", "")]  # fmt: skip
TEXTS = [" ".join(WORDS[(7 * i + 3 * j * j) % len(WORDS)] for j in range(12)) for i in range(60)]


def made(kind: str) -> Tokenizer:
    if kind == "WordPiece":
        tokenizer = Tokenizer(kinds.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
        trainer: Any = trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]", "[CLS]"])
    elif kind == "Unigram":
        tokenizer = Tokenizer(kinds.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=90, special_tokens=["[UNK]", "[CLS]"], unk_token="[UNK]"
        )
    else:
        tokenizer = Tokenizer(kinds.BPE(unk_token="[UNK]"))
        trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["[UNK]", "[CLS]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if kind == "bytes":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens(["zzz"])
    cls = tokenizer.token_to_id("[CLS]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", cls)]
    )
    tokenizer.enable_padding(pad_id=cls, pad_token="[CLS]")
    return tokenizer


TOKENIZERS = {kind: made(kind) for kind in ("WordPiece", "BPE", "bytes", "Unigram")}


def cut(kind: str, weights: Any, threshold: float = 0.5) -> tuple[Tokenizer, TrimmedTokenizer]:
    found = trim_tokenizer(TOKENIZERS[kind], threshold, weights=weights)
    return Tokenizer.from_str(found.text), found


@some
@given(
    st.sampled_from(sorted(TOKENIZERS)),
    st.integers(0, 10**6),
    st.sampled_from([0.1, 0.4, 0.9, 1.0]),
    st.lists(st.sampled_from([*WORDS, "bera", "stst", "xyz", "zzz", "Ω", "l"]), max_size=9),
)
def test_texts_of_kept_tokens_have_the_same_tokens(
    kind: str, seed: int, gone: float, words: list[str]
) -> None:
    old = TOKENIZERS[kind]
    rng = np.random.default_rng(seed)
    weights = (rng.random(old.get_vocab_size() + 3) >= gone).astype(float)
    weights[0] = 1.0  # [UNK]; all zero are no weights
    new, found = cut(kind, weights)
    assert new.get_vocab_size() == len(found.kept)
    assert sorted(new.get_vocab().values()) == list(range(len(found.kept)))
    assert sum(found.scripts.values()) == old.get_vocab_size() - len(found.kept)
    for token, i in new.get_vocab().items():
        assert old.token_to_id(token) == found.kept[i]
    for text in (" ".join(words), *words):
        before = old.encode(text).ids
        if set(before) <= set(found.kept):
            assert [found.ids[i] for i in before] == new.encode(text).ids


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
def test_nothing_goes_where_all_weigh_enough(kind: str) -> None:
    old = TOKENIZERS[kind]
    new, found = cut(kind, np.ones(old.get_vocab_size()))
    assert found.kept == tuple(range(old.get_vocab_size()))
    assert not found.scripts
    assert json.loads(found.text) == json.loads(old.to_str())
    assert new.get_vocab() == old.get_vocab()


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
def test_what_others_need_stays(kind: str) -> None:
    old = TOKENIZERS[kind]
    new, found = cut(kind, [1.0, *np.zeros(old.get_vocab_size() - 1)])
    assert {"[CLS]", "zzz", "b", "s"} <= set(new.get_vocab())
    assert len(found.kept) < old.get_vocab_size()
    assert new.encode("zzz").ids == [new.token_to_id("[CLS]"), new.token_to_id("zzz")]
    assert new.encode_batch(["b", "zzz b b"])[0].ids[-1] == new.token_to_id("[CLS]")  # padding


def test_a_merge_keeps_its_parts() -> None:
    old = TOKENIZERS["BPE"]
    merges = json.loads(old.to_str())["model"]["merges"]
    longest = max(("".join(merge) for merge in merges), key=len)
    weights = np.zeros(old.get_vocab_size())
    weights[old.token_to_id(longest)] = 1.0
    new, _ = cut("BPE", weights)
    assert new.encode(longest).tokens == ["[CLS]", longest]


def test_bert_s_and_roberta_s_processors() -> None:
    old = made("WordPiece")
    cls, unk = old.get_vocab()["[CLS]"], old.get_vocab()["[UNK]"]
    weights = np.ones(old.get_vocab_size())
    weights[2:8] = 0.0
    for kind in (processors.BertProcessing, processors.RobertaProcessing):
        old.post_processor = processors.Sequence([kind(("[CLS]", cls), ("[UNK]", unk))])
        found = trim_tokenizer(old, 0.5, weights=weights)
        ids = Tokenizer.from_str(found.text).encode("zzz").ids
        assert ids == [found.ids[i] for i in old.encode("zzz").ids]


def test_other_tokenizers_are_refused() -> None:
    tokenizer = Tokenizer(kinds.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(
        ValueError, match="trimming goes with tokenizers of WordPiece, BPE, Unigram"
    ):
        trim_tokenizer(tokenizer, 0.5, weights=np.ones(2))


def test_scripts() -> None:
    cases = {"##ing": "Latin", "▁мир": "Cyrillic", "。": "none", "日本a": "Cjk", "12": "none"}
    assert {token: script_of(token) for token in cases} == cases
    by_bytes = Tokenizer(kinds.BPE(unk_token="[UNK]"))
    by_bytes.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["[UNK]"])
    by_bytes.train_from_iterator(["мир мир мир мирный мирный"] * 9, trainer)
    weights = np.zeros(by_bytes.get_vocab_size())
    weights[0] = 1.0
    found = trim_tokenizer(by_bytes, 0.5, weights=weights)
    assert found.scripts["Cyrillic"] > 3


def test_without_a_threshold_what_no_text_has_goes(tmp_path: Path) -> None:
    tokens = ["[UNK]", "[unused0]", "a", "the", "cat", "##s", "[unused1]"]
    vocab = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(kinds.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = token_weights(tokenizer, ["the cats", "a the"])
    found = trim_tokenizer(tokenizer, weights=weights)
    assert found.kept == (0, 2, 3, 4, 5)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert trim_tokenizer(tmp_path, weights=weights) == found
    with pytest.raises(ValueError, match="weights are 3, but there are ids up to 6"):
        trim_tokenizer(tokenizer, weights=np.ones(3))


def for_model(n: int) -> Tokenizer:
    """A tokenizer of n - 9 tokens; the model has some rows more."""
    words = [f"w{i * 37 % n:03d}" for i in range(n - 39)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", *(f"[unused{i}]" for i in range(20)), *"abcdefg", *words]
    tokenizer = Tokenizer(
        kinds.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize("family", ["bert", "distilbert", "gpt2"])
def test_a_model_without_the_tokens_that_go(family: str) -> None:
    model, whole = small(family), small(family)
    n = model.config.vocab_size
    found = trim_tokenizer(for_model(n), 0.003)
    old = torch.tensor([found.kept[9:16]])
    with torch.no_grad():
        before = whole(input_ids=old).logits
        cut = keep_tokens(model, found.ids)
        new = torch.tensor([[found.ids[int(i)] for i in old[0]]])
        after = model(input_ids=new).logits
        torch.testing.assert_close(after, before[..., list(found.kept)])
    assert model.config.vocab_size == len(found.kept) < n
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    cut.undo()
    assert model.config.to_dict() == whole.config.to_dict()
    for one, other in zip(model.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match=f"ids up to {n}, the embedding {n} rows"):
        keep_tokens(model, {0: 0, n: 1})


def test_compress_trims_first(tmp_path: Path) -> None:
    model = small("bert")
    n = model.config.vocab_size
    tokenizer = for_model(n)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    (tmp_path / "model" / "vocab.txt").write_text("old ids")
    more = {"[UNK]": 1, "gone": 5}
    decoder = {str(i): {"content": token} for token, i in more.items()}
    config = tmp_path / "model" / "tokenizer_config.json"
    config.write_text(json.dumps({"added_tokens_decoder": decoder, "pad_token_id": 0}))
    table = model.get_input_embeddings().weight
    asked: dict[str, Any] = {"size": 0.3, "tokenizer": tokenizer, "progress": False}
    plan = nn.compress(model, trim=True, dry_run=True, **asked)
    assert model.get_input_embeddings().weight is table
    with pytest.raises(ValueError, match="the least is"):
        nn.compress(model, trim=True, **asked | {"size": 20_001, "layers": "all"})
    assert model.get_input_embeddings().weight is table
    report = nn.compress(model, trim=True, **asked)
    layer = report.layers[0]
    assert plan.trimmed == report.trimmed
    assert report.trimmed is not None
    gone = report.trimmed["tokens"]
    assert gone >= 20
    assert f"{gone} tokens that weigh less" in str(report)
    assert layer.shape[0] == n - 9 - gone
    assert 0.28 * table.nbytes < layer.bytes_after <= 0.3 * table.nbytes  # of all its rows
    assert (
        report.bytes_before == plan.bytes_before == nn.compress(small("bert"), **asked).bytes_before
    )
    arguments = [str(tmp_path / "model"), "--size", "0.3", "--trim", "--quiet"]
    assert main(["compress", *arguments, "--out", str(tmp_path / "out")]) == 0
    nn.save_pretrained(model, tmp_path / "saved", report=report)
    ids = torch.tensor([[3, 9, 11]])
    for name in ("out", "saved"):
        again = nn.load_pretrained(tmp_path / name)
        assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
        text = (tmp_path / name / "tokenizer.json").read_text()
        assert json.loads(text) == json.loads(report.tokenizer)
    assert not (tmp_path / "out" / "vocab.txt").exists()
    held = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert held["added_tokens_decoder"] == {"1": {"content": "[UNK]"}}


def test_what_trim_goes_with() -> None:
    tokenizer = for_model(300)
    for wrong, message in (
        ({"trim": True, "size": 0.5}, "trim goes with a tokenizer"),
        ({"trim": True, "ratio": 0.5, "tokenizer": tokenizer}, "trim goes with size"),
        ({"trim": 3.0, "size": 0.5, "tokenizer": tokenizer}, "trim must lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.compress(small("bert"), progress=False, **wrong)  # type: ignore[arg-type]
    model = torch.nn.Sequential(torch.nn.Embedding(300, 16))
    with pytest.raises(TypeError, match="no get_input_embeddings"):
        nn.compress(model, size=0.5, tokenizer=tokenizer, trim=True, progress=False)
