"""Tokens that a tokenizer can do without, and the tokenizer without them. No torch here.

What is kept is closed, so that a text whose tokens are all kept has the same tokens before and
after.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lpgeom.io import validation
from lpgeom.io.atomic import write_atomically
from lpgeom.nn.plan.token_weights import vocabulary_weights
from lpgeom.nn.plan.vocabulary import Vocabulary, from_json, read_tokenizer, tokenizer_file

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

KINDS = ("WordPiece", "BPE", "Unigram")

OTHERS = (
    "vocab.txt", "vocab.json", "merges.txt", "added_tokens.json", "spiece.model",
    "sentencepiece.bpe.model", "tokenizer.model", "source.spm", "target.spm",
)  # fmt: skip
"""Files beside a tokenizer.json that say the same as it."""


@dataclass(frozen=True)
class TrimmedTokenizer:
    """A tokenizer with fewer tokens.

    Attributes
    ----------
    text : str
        What is to be in its tokenizer.json.
    kept : tuple of int
        The old ids, in the order of the new ones.
    scripts : mapping
        Of the tokens that are gone: the script that most of a token's letters are of, and how many
        tokens it is of; "none" for those without letters.
    threshold : float
        Tokens of less weight are gone, but for those that others need.

    Examples
    --------
    >>> from lpgeom.nn import TrimmedTokenizer
    >>> TrimmedTokenizer("{}", (0, 2, 5), {"Latin": 3}, 0.5).ids
    {0: 0, 2: 1, 5: 2}
    """

    text: str
    kept: tuple[int, ...]
    scripts: Mapping[str, int]
    threshold: float

    @property
    def ids(self) -> dict[int, int]:
        """From old ids to new ones."""
        return {old: new for new, old in enumerate(self.kept)}

    @property
    def vocabulary(self) -> Vocabulary:
        """What it has, as `token_weights` reads it."""
        return from_json(self.text, (), "the trimmed tokenizer")

    def to_dict(self) -> dict[str, Any]:
        """What a report says of it."""
        gone = sum(self.scripts.values())
        return {"threshold": self.threshold, "tokens": gone, "scripts": dict(self.scripts)}

    def save(self, folder: Path) -> None:
        """Write its tokenizer.json into a directory, where vocabularies of other formats, which
        have the old ids, go, and other files of JSON get the new ones."""
        for name in OTHERS:
            (folder / name).unlink(missing_ok=True)
        for name in ("tokenizer_config.json", "generation_config.json"):
            path = folder / name
            if path.is_file():
                values = json.loads(path.read_text(encoding="utf-8"))
                text = json.dumps(self._renumbered(values), ensure_ascii=False, indent=2)
                write_atomically(path, methodcaller("write", text.encode()))
        data = self.text.encode()
        write_atomically(folder / "tokenizer.json", methodcaller("write", data))

    def _renumbered(self, values: dict[str, Any]) -> dict[str, Any]:
        ids = self.ids
        for name, value in values.items():
            if name == "added_tokens_decoder":
                known = {i: token for i, token in value.items() if int(i) in ids}
                values[name] = {str(ids[int(i)]): token for i, token in known.items()}
            elif name.endswith("_token_id"):
                values[name] = renumbered(value, ids)
        return values


def renumbered(value: Any, ids: Mapping[int, int]) -> Any:
    """The new id of one, or of each in a list; None of one that is gone."""
    if isinstance(value, list):
        return [ids[old] for old in value if old in ids]
    return ids.get(value) if isinstance(value, int) else value


def trim_tokenizer(
    tokenizer: Any, threshold: float | None = None, *, weights: ArrayLike | None = None
) -> TrimmedTokenizer:
    """A tokenizer without the tokens of less weight than a threshold.

    Kept whatever they weigh: special and added tokens, bytes and single characters, what the merges
    of kept tokens are made of (BPE), and the least probable piece (Unigram), from which the price
    of an unknown character is derived. A text whose tokens are all kept therefore has the same
    tokens before and after: WordPiece takes the longest piece that there is, and the one it took is
    there; BPE does the merges of a text in their order, and all parts of what they make are there;
    the most probable pieces of Unigram stay the most probable.

    Parameters
    ----------
    tokenizer : tokenizer or path
        A tokenizer of transformers or tokenizers, or the path of a tokenizer.json, of WordPiece,
        BPE or Unigram. Left as it is.
    threshold : float, optional
        If not given: the tokens that weigh least go, which are those that no text has.
    weights : array_like, shape (n,), optional
        Of the rows of the embedding, one for each id at least: `token_weights` of texts, say. If
        not given: ``token_weights(tokenizer)``.

    Returns
    -------
    TrimmedTokenizer

    Raises
    ------
    TypeError, ValueError
        A tokenizer of another kind, or without a tokenizer.json; too few weights.

    Examples
    --------
    >>> from tokenizers import Tokenizer, models
    >>> from lpgeom.nn import trim_tokenizer
    >>> tokens = ["[UNK]", "[unused0]", "a", "the", "мир", "cat", "##s"]
    >>> vocab = {token: number for number, token in enumerate(tokens)}
    >>> tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    >>> found = trim_tokenizer(tokenizer, 0.5, weights=[0, 0, 1, 1, 0, 1, 1])
    >>> found.kept, found.scripts
    ((0, 2, 3, 5, 6), {'Latin': 1, 'Cyrillic': 1})
    >>> Tokenizer.from_str(found.text).encode("cats").ids
    [3, 4]
    """
    vocabulary = read_tokenizer(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(tokenizer, str | Path):
        text = tokenizer_file(Path(tokenizer)).read_text(encoding="utf-8")
    elif hasattr(backend, "to_str"):
        text = backend.to_str()
    else:
        raise TypeError(f"trim: a {type(tokenizer).__name__} has no tokenizer.json")
    if weights is None:
        weights = vocabulary_weights(vocabulary, vocabulary.n)
    weights = validation.check_weights(weights, np.size(weights))
    assert weights is not None
    if weights.size < vocabulary.n:
        raise ValueError(f"weights are {weights.size}, but there are ids up to {vocabulary.n - 1}")
    if threshold is None:
        threshold = float(np.nextafter(weights[: vocabulary.n].min(), np.inf))
    stored = json.loads(text)
    if vocabulary.kind not in KINDS:
        raise ValueError(
            f"trimming goes with tokenizers of {', '.join(KINDS)}; this is of "
            f"{vocabulary.kind or 'an unknown kind'}"
        )
    model, added = stored["model"], stored.get("added_tokens") or []
    keep = {i for i in vocabulary.ids.values() if weights[i] >= threshold}
    keep |= vocabulary.special | {token["id"] for token in added}
    keep |= {i for token, i in vocabulary.ids.items() if vocabulary.is_character(token)}
    if vocabulary.kind == "BPE":
        keep = _with_parts(keep, vocabulary.ids, _merges(model), vocabulary.affixes[0])
    if vocabulary.kind == "Unigram":
        keep.add(min(vocabulary.scores, key=lambda i: vocabulary.scores[i]))
        if model.get("unk_id") is not None:
            keep.add(model["unk_id"])
    elif model.get("unk_token") in vocabulary.ids:
        keep.add(vocabulary.ids[model["unk_token"]])
    kept = tuple(sorted(keep))
    new = {old: i for i, old in enumerate(kept)}
    by_bytes = '"ByteLevel"' in json.dumps([stored.get("pre_tokenizer"), stored.get("decoder")])
    gone = Counter(
        script_of(_text(token) if by_bytes else token)
        for token, i in sorted(vocabulary.ids.items())
        if i not in new
    )
    _renumber(stored, new, vocabulary)
    return TrimmedTokenizer(
        json.dumps(stored, ensure_ascii=False, indent=2), kept, dict(gone.most_common()), threshold
    )


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges, which are "a b" before tokenizers 0.20 and ["a", "b"] since."""
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model.get("merges") or ())
    return [(left, right) for left, right in pairs]


def _made(left: str, right: str, before: str) -> str:
    return left + right.removeprefix(before)


def _with_parts(
    keep: set[int], ids: Mapping[str, int], merges: Iterable[tuple[str, str]], before: str
) -> set[int]:
    """What is kept, and all that any merge makes it of: a text may come by each of them."""
    parts: dict[int, set[int]] = {}
    for left, right in merges:
        made = ids.get(_made(left, right, before))
        if made is not None and left in ids and right in ids:
            parts.setdefault(made, set()).update((ids[left], ids[right]))
    found, ahead = set(keep), list(keep)
    while ahead:
        more = parts.get(ahead.pop(), set()) - found
        found |= more
        ahead += more
    return found


def _renumber(stored: dict[str, Any], new: Mapping[int, int], vocabulary: Vocabulary) -> None:
    """Leave out, everywhere in a tokenizer.json, what has no new id, and write the new ones."""
    model, ids = stored["model"], vocabulary.ids
    if isinstance(model["vocab"], dict):
        model["vocab"] = {t: new[i] for t, i in model["vocab"].items() if i in new}
    else:
        model["vocab"] = [pair for i, pair in enumerate(model["vocab"]) if i in new]
        if model.get("unk_id") is not None:
            model["unk_id"] = new[model["unk_id"]]
    if model.get("merges"):
        before = vocabulary.affixes[0]
        model["merges"] = [
            merge
            for merge, (left, right) in zip(model["merges"], _merges(model), strict=True)
            if all(ids.get(t) in new for t in (left, right, _made(left, right, before)))
        ]
    for token in stored.get("added_tokens") or []:
        token["id"] = new[token["id"]]
    if stored.get("padding"):
        stored["padding"]["pad_id"] = new[stored["padding"]["pad_id"]]
    _processors(stored.get("post_processor"), new)


def _processors(value: Any, new: Mapping[int, int]) -> None:
    """New ids in a post-processor: of templates, of BERT's and RoBERTa's, and of several."""
    if not isinstance(value, dict):
        return
    for inner in value.get("processors") or []:
        _processors(inner, new)
    for special in (value.get("special_tokens") or {}).values():
        special["ids"] = [new[i] for i in special["ids"]]
    for name in ("sep", "cls"):
        if isinstance(value.get(name), list):
            value[name][1] = new[value[name][1]]


def script_of(token: str) -> str:
    """The script that most letters of a token are of, by their names in Unicode; "none" if there
    are none."""
    names = [unicodedata.name(c, "").split(" ")[0].capitalize() for c in token if c.isalpha()]
    return Counter(names).most_common(1)[0][0] if names else "none"


def _text(token: str) -> str:
    """What bytes stand for that a byte-level tokenizer writes as characters: those that print as
    themselves, the others from 256 on."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    back = {chr(b): b for b in shown} | {chr(256 + i): b for i, b in enumerate(hidden)}
    return bytes(back[c] for c in token if c in back).decode("utf-8", "ignore")
