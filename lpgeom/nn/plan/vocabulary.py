"""What a tokenizer's vocabulary says of itself: tokens, special ones, merges, log-probabilities."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

# [unused0], <unused0>, <|reserved_special_token_0|>, <extra_id_0>, madeupword0000: rows that are
# there for later, and no text has them.
_UNUSED = re.compile(r"[\[<]\W*(unused|reserved|extra_id)[\w ]*\W*[\]>]|madeupword\d+")
# Special by their names, as some tokenizers do not mark all of theirs (MPNet's has BERT's too).
_SPECIAL = re.compile(
    r"\[(PAD|UNK|CLS|SEP|MASK|BOS|EOS)\]|</?(s|pad|unk|mask|cls|sep|bos|eos)>|<\|endoftext\|>"
)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")

Encode = Callable[[list[str], bool], list[list[int]]]


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer's vocabulary.

    Parameters
    ----------
    kind : str
        "WordPiece", "BPE", "Unigram", "WordLevel"; "" if the tokenizer does not say.
    ids : mapping
        From tokens to ids, the added ones too.
    special : frozenset of int
        Ids of tokens such as [CLS].
    unused : frozenset of int
        Ids of tokens that no text has.
    encode : callable
        ``encode(texts, special)``: ids of texts, whole and without padding, with the special
        tokens around them or without.
    merged : mapping
        For BPE: from tokens to the number of the first merge that makes them.
    scores : mapping
        For Unigram: from ids to log-probabilities.
    affixes : tuple of str
        What a character may have before or after it: ("##", "").
    """

    kind: str
    ids: Mapping[str, int]
    special: frozenset[int]
    unused: frozenset[int]
    encode: Encode
    merged: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    affixes: tuple[str, str] = ("", "")

    @property
    def n(self) -> int:
        """Rows that the ids need."""
        return max(self.ids.values()) + 1

    def is_character(self, token: str) -> bool:
        """Whether this is one character, or a byte."""
        before, after = self.affixes
        bare = token.removeprefix(before).removesuffix(after)
        return len(token) == 1 or len(bare) == 1 or _BYTE.fullmatch(token) is not None


def read_tokenizer(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a tokenizer of transformers or tokenizers, or of a tokenizer.json.

    One that has been read comes back as it is.
    """
    if isinstance(tokenizer, Vocabulary):
        return tokenizer
    if isinstance(tokenizer, str | Path):
        text = tokenizer_file(Path(tokenizer)).read_text(encoding="utf-8")
        return from_json(text, (), f"tokenizer {str(tokenizer)!r}")
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(backend, "to_str"):
        special = getattr(tokenizer, "all_special_ids", ())
        return from_json(backend.to_str(), special, "tokenizer")
    if hasattr(tokenizer, "get_vocab"):
        return _from_slow(tokenizer)
    raise TypeError(
        "tokenizer must be a tokenizer of transformers or tokenizers, or the path of a "
        f"tokenizer.json or of a directory with one; got {type(tokenizer).__name__}"
    )


def tokenizer_file(path: Path) -> Path:
    """The tokenizer.json that a path is, or has."""
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file():
        return file
    what = "is a directory without a tokenizer.json" if path.is_dir() else "is no file"
    raise FileNotFoundError(
        f"tokenizer {str(path)!r} {what}: pass the tokenizer itself, as "
        "transformers.AutoTokenizer.from_pretrained gives it"
    )


def from_json(text: str, special: Sequence[int], name: str) -> Vocabulary:
    """From what tokenizers writes (tokenizer.json)."""
    try:
        stored = json.loads(text)
        model = stored["model"]
        vocab = model["vocab"]
        if isinstance(vocab, dict):
            ids, scores = dict(vocab), {}
            # Old files do not name the type.
            kind = model.get("type") or ("BPE" if "merges" in model else "")
        else:
            ids = {piece: i for i, (piece, _) in enumerate(vocab)}
            scores = {i: float(score) for i, (_, score) in enumerate(vocab)}
            kind = "Unigram"
        added = stored.get("added_tokens") or []
        ids.update({token["content"]: token["id"] for token in added})
        marked = {*special, *(token["id"] for token in added if token.get("special"))}
        # "a b" before tokenizers 0.20, ["a", "b"] since.
        merges = [m.split(" ") if isinstance(m, str) else m for m in model.get("merges") or ()]
        before = model.get("continuing_subword_prefix") or ""
        merged = _merged(merges, before)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{name} is not a tokenizer.json: it needs an object 'model' with a 'vocab' "
            f"({type(error).__name__}: {error})"
        ) from error
    if not all(type(i) is int and 0 <= i < 2**31 for i in ids.values()):
        raise ValueError(f"{name} has ids that are no whole numbers from 0 on")
    affixes = before, model.get("end_of_word_suffix") or ""
    return _vocabulary(
        name, kind, ids, marked, _encoder(text), merged=merged, scores=scores, affixes=affixes
    )


def _from_slow(tokenizer: Any) -> Vocabulary:
    """From a tokenizer written in Python, which tells little more than its tokens."""
    ids = dict(tokenizer.get_vocab())
    merges = getattr(tokenizer, "bpe_ranks", None)
    if merges:
        kind, before = "BPE", ""
    elif hasattr(tokenizer, "sp_model"):
        kind, before = "SentencePiece", ""
    else:
        before = "##" if any(token.startswith("##") and len(token) > 2 for token in ids) else ""
        kind = "WordPiece" if before else ""

    def encode(texts: list[str], special: bool) -> list[list[int]]:
        if not callable(tokenizer):
            raise TypeError(f"tokenizer cannot be called on texts ({type(tokenizer).__name__})")
        return list(tokenizer(texts, add_special_tokens=special)["input_ids"])

    merged = _merged(sorted(merges, key=merges.__getitem__), "") if merges else {}
    marked = getattr(tokenizer, "all_special_ids", ())
    return _vocabulary("tokenizer", kind, ids, marked, encode, merged=merged, affixes=(before, ""))


def _vocabulary(
    name: str, kind: str, ids: Mapping[str, int], marked: Iterable[int], encode: Encode, **rest: Any
) -> Vocabulary:
    """A vocabulary of that many tokens; the unused ones are not special, marked or not."""
    if not ids:
        raise ValueError(f"{name} has an empty vocabulary")
    unused = _matching(_UNUSED, ids)
    special = _matching(_SPECIAL, ids).union(marked) - unused
    return Vocabulary(kind, ids, special, unused, encode, **rest)


def _merged(merges: Iterable[Sequence[str]], before: str) -> dict[str, int]:
    made: dict[str, int] = {}
    for number, (left, right) in enumerate(merges):
        made.setdefault(left + right.removeprefix(before), number)
    return made


def _matching(pattern: re.Pattern[str], ids: Mapping[str, int]) -> frozenset[int]:
    return frozenset(i for token, i in ids.items() if pattern.fullmatch(token))


def _encoder(text: str) -> Encode:
    """A tokenizer of its own: the caller's may cut texts at a length, or pad them."""

    @cache
    def own() -> Any:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise ImportError(
                "counting tokens of texts needs tokenizers: pip install 'lpgeom[hf]'"
            ) from error
        made = Tokenizer.from_str(text)
        made.no_truncation()
        made.no_padding()
        return made

    def encode(texts: list[str], special: bool) -> list[list[int]]:
        return [found.ids for found in own().encode_batch(texts, add_special_tokens=special)]

    return encode


def share_in_order(tokens: Sequence[str]) -> float:
    """The share of neighbours in the order of code points: 1 if sorted, 1/2 in most others."""
    steps = [left < right for left, right in pairwise(tokens)]
    return sum(steps) / len(steps) if steps else 1.0
