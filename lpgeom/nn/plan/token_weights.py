"""How much each row of a word embedding counts, from the tokenizer that names its rows, or when
nothing is known but their order."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from itertools import chain, islice
from typing import Any

import numpy as np

from lpgeom.io.validation import check_positive_int, check_weights
from lpgeom.nn.plan.vocabulary import Vocabulary, read_tokenizer, share_in_order
from lpgeom.records.subspace import Array

FLOOR = 50
SOURCES = ("rank", "unigram", "wordfreq")
# A sorted list has all its neighbours in order; WordPiece's, where equal counts come sorted, 0.6.
SORTED = 0.95
# Below this a list may be in order by chance.
FEW = 50
# wordfreq counts no punctuation, and ignores case; most words are seldom at a sentence's start.
PUNCTUATION = ".,'\"-:;()!?"
CAPITALISED = 0.1
# Languages in which words follow each other without a space.
UNSPACED = ("zh", "ja")
BATCH = 1000


def token_weights(
    tokenizer: Any,
    source: Any = "rank",
    *,
    n: int | None = None,
    floor: int = FLOOR,
    language: str = "en",
    words: int = 50_000,
) -> Array:
    """Row weights for a word embedding: how often each token occurs, as far as can be told.

    For ``compress(model, ..., row_weights=token_weights(tokenizer))``. By default the vocabulary
    itself tells, by its order; no text is needed.

    Parameters
    ----------
    tokenizer : tokenizer or path
        One of transformers or tokenizers, a tokenizer.json, or a directory that holds one.
    source : "rank", "unigram", "wordfreq", array_like, mapping or iterable of str
        "rank": Zipf's law, 1 / max(r, floor) for the r-th word of a vocabulary in the order of its
        frequency. WordPiece is: r counts from the first token of several characters that is neither
        special nor unused (1996, "the", in BERT's). In BPE merges are, whatever the ids; if the ids
        are nearly in the order of the merges without being equal to it, as in RoBERTa, they are
        taken to be an order by counts, and used. Characters and bytes get the top weight.

        "unigram": the probabilities in a SentencePiece Unigram model.

        "wordfreq": the frequencies of the package of that name, of the `words` most frequent words
        of a language, each after a space, as tokens. The package ignores case: a tenth of each is
        taken as capitalised, or all but a tenth where that takes fewer tokens (names).
        Punctuation, which it leaves out, gets the top weight.

        Else counts: an array of length n, a mapping from tokens or ids to counts, or texts, which
        are tokenised whole, with the special tokens that the tokenizer adds.
    n : int, optional
        Rows of the embedding, if there are more of them than tokens.
    floor : int
        Rank up to which all tokens count alike.
    language, words
        For "wordfreq".

    Returns
    -------
    array (n,), float64
        The largest is 1 / floor, and none is 0. Frequencies f of all sources but "rank" are made
        to range like ranks: min(f, c) + c floor / N, where c is the floor-th largest and N the size
        of the vocabulary.

        Special tokens ([CLS]) get the top weight, except that counts are taken as they are. Unused
        tokens ([unused0], <extra_id_0>) and rows beyond the vocabulary get the smallest.

    Examples
    --------
    >>> from tokenizers import Tokenizer, models
    >>> from lpgeom.nn import token_weights
    >>> tokens = ["[UNK]", "[unused0]", "a", "the", "of", "cat", "##s"]
    >>> vocab = {token: number for number, token in enumerate(tokens)}
    >>> tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    >>> token_weights(tokenizer, floor=1, n=8).round(2)
    array([1.  , 0.33, 1.  , 1.  , 1.  , 0.5 , 0.33, 0.33])
    """
    floor = check_positive_int("floor", floor)
    words = check_positive_int("words", words)
    if isinstance(source, str) and source not in SOURCES:
        raise ValueError(
            f"source must be one of {', '.join(map(repr, SOURCES))}, or counts, or a list of "
            f"texts; got {source!r}"
        )
    vocabulary = read_tokenizer(tokenizer)
    n = vocabulary.n if n is None else check_positive_int("n", n)
    if n < vocabulary.n:
        raise ValueError(f"n is {n}, but the tokenizer has ids up to {vocabulary.n - 1}")
    if isinstance(source, str) and source == "rank":
        return _by_rank(vocabulary, n, floor)
    if isinstance(source, str) and source == "unigram":
        frequencies, top = _unigram(vocabulary, n)
    elif isinstance(source, str):
        frequencies, top = _wordfreq(vocabulary, n, language, words)
    else:
        frequencies, top = _counts(vocabulary, n, source), []
    return _like_ranks(frequencies, top, vocabulary.n, floor)


def frequency_weights(n: int, first: int | None = None, floor: int = FLOOR) -> Array:
    """Row weights ``1 / max(i - first, floor)``: how often token i occurs, by Zipf's law.

    For vocabularies in the order of their frequency, as WordPiece and BPE make them, after `first`
    rows of special tokens, bytes and single characters, which count as much as the `floor` most
    frequent words.

    Parameters
    ----------
    n : int
    first : int, optional
        min(1000, n // 30) if not given: BERT's vocabularies begin with 1000 special and unused
        tokens.
    floor : int
        The rank up to which all tokens count alike.

    Returns
    -------
    ndarray, shape (n,), float64

    Examples
    --------
    >>> from lpgeom.nn.plan.token_weights import frequency_weights
    >>> w = frequency_weights(30522)
    >>> float(w[0]), round(1 / float(w[30521]))
    (0.02, 29521)
    """
    start = min(1000, n // 30) if first is None else first
    return 1.0 / np.maximum(np.arange(n) - start, floor).astype(np.float64)


def vocabulary_weights(tokenizer: Any, n: int) -> Array:
    """`token_weights` by what the vocabulary holds: probabilities, else ranks."""
    vocabulary = read_tokenizer(tokenizer)
    unigram = vocabulary.kind == "Unigram"
    return token_weights(vocabulary, "unigram" if unigram else "rank", n=n)


def _like_ranks(frequencies: Array, top: list[int], size: int, floor: int) -> Array:
    """Frequencies cut and smoothed to where Zipf's law has the ranks `floor` and `size`.

    By that law the last of N tokens has floor / N of the frequency of the floor-th: this is added,
    so that what was not seen counts a little.
    """
    given = np.sort(frequencies[frequencies > 0.0])
    cap = given[-min(floor, len(given))]
    relative = np.minimum(frequencies / cap, 1.0)
    relative[top] = 1.0
    smoothed = relative + floor / size
    return smoothed / smoothed.max() / floor


# --------------------------------------------------------------------------------------- by rank


def _by_rank(vocabulary: Vocabulary, n: int, floor: int) -> Array:
    characters, words = _in_order(vocabulary)
    weights = np.full(n, 1.0 / max(len(words) - 1, floor))
    weights[words] = 1.0 / np.maximum(np.arange(len(words)), floor)
    weights[[*characters, *vocabulary.special]] = 1.0 / floor
    return weights


def _in_order(vocabulary: Vocabulary) -> tuple[list[int], list[int]]:
    """(ids of the characters before all words, ids of words, most frequent first)."""
    if vocabulary.kind in ("Unigram", "SentencePiece"):
        raise ValueError(
            f'source="rank" does not fit a {vocabulary.kind} model, which has probabilities '
            'instead: give row_weights=nn.token_weights(tokenizer, "unigram"), a fast tokenizer'
        )
    out = vocabulary.special | vocabulary.unused
    by_id = sorted(vocabulary.ids, key=vocabulary.ids.__getitem__)
    tokens = [t for t in by_id if vocabulary.ids[t] not in out]
    made = vocabulary.merged
    if made and not _ids_are_counts(vocabulary, [t for t in tokens if t in made]):
        words = sorted((t for t in tokens if t in made), key=made.__getitem__)
        characters = [t for t in tokens if t not in made and vocabulary.is_character(t)]
    else:
        long = (j for j, t in enumerate(tokens) if not vocabulary.is_character(t))
        first = next(long, len(tokens))
        characters, words = tokens[:first], tokens[first:]
        bare = [t.removeprefix(vocabulary.affixes[0]) for t in words]
        if len(words) >= FEW and max(share_in_order(words), share_in_order(bare)) > SORTED:
            raise ValueError(
                'source="rank" needs a vocabulary in the order of its frequency, and this one is '
                "in the order of the alphabet: give row_weights=nn.token_weights(tokenizer, "
                '"wordfreq"), or with counts or texts of your own'
            )
    return [vocabulary.ids[t] for t in characters], [vocabulary.ids[t] for t in words]


def _ids_are_counts(vocabulary: Vocabulary, tokens: list[str]) -> bool:
    """Whether ids, which here ascend, are in an order by counts, which says more than merges.

    RoBERTa's ids are those of GPT-2 sorted by counts, which correlates with the order of the merges
    without being it (GPT-2's tokens, sorted by their counts in English: 0.6). Ids in the order of
    the merges correlate at 1 (0.997 in Llama's, where a few were moved), those in the order of the
    alphabet at 0.1 or less.
    """
    if len(tokens) < FEW:
        return False
    ranks = np.argsort(np.argsort([vocabulary.merged[t] for t in tokens]))
    return bool(0.3 < np.corrcoef(ranks, np.arange(len(ranks)))[0, 1] < 0.98)


# ----------------------------------------------------------------------------------- frequencies


def _unigram(vocabulary: Vocabulary, n: int) -> tuple[Array, list[int]]:
    """(probabilities, ids for the top weight).

    Control tokens, and symbols that whoever trained the model had taken in, have score 0, which is
    no log-probability. In ALBERT the latter are punctuation, which is frequent.
    """
    if vocabulary.kind != "Unigram":
        is_ranked = vocabulary.kind in ("WordPiece", "BPE", "WordLevel")
        raise ValueError(
            'source="unigram" needs a fast tokenizer with a SentencePiece Unigram model; this is '
            + (f"{vocabulary.kind}: " if vocabulary.kind else "another: ")
            + ('use source="rank"' if is_ranked else 'use the fast tokenizer, or "wordfreq"')
        )
    frequencies = np.zeros(n)
    named = {i for i, score in vocabulary.scores.items() if score >= 0.0}
    top = (named | vocabulary.special) - vocabulary.unused
    pieces = [i for i in vocabulary.scores if i not in named | vocabulary.special]
    if not pieces:
        raise ValueError("tokenizer has no scores below 0: they are not log-probabilities")
    scores = np.array([vocabulary.scores[i] for i in pieces])
    frequencies[pieces] = np.exp(scores - scores.max())
    frequencies[list(vocabulary.unused)] = 0.0
    return frequencies, sorted(top)


def _wordfreq(vocabulary: Vocabulary, n: int, language: str, words: int) -> tuple[Array, list[int]]:
    """(frequencies of tokens, summed over words, and ids for the top weight)."""
    try:
        wordfreq = import_module("wordfreq")
    except ModuleNotFoundError as error:
        raise ImportError(
            'source="wordfreq" needs the package wordfreq: pip install wordfreq'
        ) from error
    try:
        every = wordfreq.get_frequency_dict(language)
    except LookupError as error:
        raise ValueError(f"language: wordfreq has no list for {language!r} ({error})") from error
    # "00" stands for all numbers of two digits, and so on.
    listed = [(word, f) for word, f in every.items() if "00" not in word]
    listed = sorted(listed, key=lambda pair: -pair[1])[:words]
    spaced = language.lower().split("-")[0] not in UNSPACED
    plain = _inside(vocabulary, [word for word, _ in listed], spaced)
    upper = _inside(vocabulary, [word[:1].upper() + word[1:] for word, _ in listed], spaced)
    frequencies = np.zeros(n)
    for (_, f), low, high in zip(listed, plain, upper, strict=True):
        share = 1.0 - CAPITALISED if len(high) < len(low) else CAPITALISED
        np.add.at(frequencies, low, f * (1.0 - share))
        np.add.at(frequencies, high, f * share)
    if not frequencies.any():
        raise ValueError(f"tokenizer finds no tokens in the words of {language!r}")
    marks = chain.from_iterable(_inside(vocabulary, list(PUNCTUATION), spaced=False))
    return frequencies, sorted(vocabulary.special.union(marks))


def _inside(vocabulary: Vocabulary, words: list[str], spaced: bool) -> list[list[int]]:
    """Ids of words in running text, which are not those of a text of one word."""
    before = "a"
    (start,) = vocabulary.encode([before], False)
    found = vocabulary.encode([before + " " * spaced + word for word in words], False)
    odd = [j for j, ids in enumerate(found) if ids[: len(start)] != start]
    alone = iter(vocabulary.encode([words[j] for j in odd], False) if odd else ())
    for j in odd:  # grown together with what is before it
        found[j] = [*start, *next(alone)]
    return [ids[len(start) :] for ids in found]


# ---------------------------------------------------------------------------------------- counts


def _counts(vocabulary: Vocabulary, n: int, source: Any) -> Array:
    """Counts of all ids, from an array, a mapping or texts."""
    if isinstance(source, Mapping):
        counts = _from_mapping(vocabulary, n, source)
    else:
        texts, values = _opened(source)
        counts = values if texts is None else _of_texts(vocabulary, n, texts)
    try:
        checked = check_weights(counts, n)
    except (TypeError, ValueError) as error:
        raise type(error)(f"source: {error}".replace("row_weights", "counts")) from error
    assert checked is not None
    return checked


def _opened(source: Any) -> tuple[Iterator[Any] | None, Any]:
    """(texts, None) or (None, numbers): the first item tells."""
    try:
        items = iter(source)
    except TypeError as error:
        raise TypeError(
            f"source must be a name ({', '.join(map(repr, SOURCES))}), an array of counts, a "
            f"mapping, or texts; got {type(source).__name__}"
        ) from error
    for first in items:
        if isinstance(first, str):
            return chain([first], items), None
        return None, source if hasattr(source, "__array__") else [first, *items]
    raise ValueError("source is empty: no counts and no texts")


def _from_mapping(vocabulary: Vocabulary, n: int, source: Mapping[Any, Any]) -> Array:
    counts = np.zeros(n)
    unknown = []
    for key, value in source.items():
        i = vocabulary.ids.get(key, -1) if isinstance(key, str) else key
        if isinstance(i, bool) or not isinstance(i, int | np.integer):
            raise TypeError(f"source must map tokens or ids to counts; {key!r} is neither")
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"source has {value!r} for {key!r}, which is no count")
        if 0 <= i < n:
            counts[int(i)] += float(value)
        else:
            unknown.append(key)
    if unknown:
        raise ValueError(
            f"source counts {len(unknown)} tokens that the tokenizer does not have, such as "
            f"{unknown[0]!r}"
        )
    return counts


def _of_texts(vocabulary: Vocabulary, n: int, texts: Iterable[Any]) -> Array:
    counts = np.zeros(n, dtype=np.int64)
    rest = iter(texts)
    while batch := list(islice(rest, BATCH)):
        for text in batch:
            if not isinstance(text, str):
                raise TypeError(f"source has {text!r} among its texts, which is no str")
        found = vocabulary.encode(batch, True)
        flat = np.fromiter(chain.from_iterable(found), dtype=np.int64)
        counts += np.bincount(flat, minlength=n)
    return counts.astype(np.float64)
