"""The accuracy benchmark: its splits, scores and tables; and compress's default against the SVD."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import performance
from benchmarks.__main__ import main
from benchmarks.accuracy import heads, methods, packages, pages, scores, summary, sums, tasks
from benchmarks.accuracy.corpora import Text
from benchmarks.accuracy.store import Store
from lpgeom.datasets import MissingData

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]), max_size=14).map(
    " ".join
)
SETTINGS = {"test_size": 4, "seeds": [0], "length": 48}


# ---------------------------------------------------------------- splits


@given(st.lists(WORDS, max_size=12), st.lists(WORDS, max_size=6))
def test_no_training_text_has_a_run_of_words_of_a_test_text(
    train: list[str], test: list[str]
) -> None:
    kept = tasks.apart([Text(t, 0) for t in train], [Text(t, 0) for t in test])
    runs = {
        tuple(words[i : i + 8])
        for t in test
        for words in [t.split()]
        for i in range(max(1, len(words) - 7))
    }
    for text in kept:
        words = text.text.split()
        for i in range(max(1, len(words) - 7)):
            assert tuple(words[i : i + 8]) not in runs
    for text in train:  # and nothing is dropped for nothing
        words = text.split()
        shared = [tuple(words[i : i + 8]) in runs for i in range(max(1, len(words) - 7))]
        assert (Text(text, 0) in kept) != any(shared)


def test_the_same_words_are_one_text() -> None:
    texts = [Text("Good film!", 1), Text("good  film", 0), Text("...", 1), Text("bad film", 0)]
    assert tasks.unique(texts) == [texts[0], texts[3]]


def test_groups_stay_on_one_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = [Text(f"word{i} of film {i // 5}", i % 2, f"film {i // 5}") for i in range(200)]
    monkeypatch.setitem(tasks.CORPORA, "rotten", lambda folder: texts)
    split = tasks.split("rotten", tmp_path, 40)
    assert len(split.test) == 40
    assert {t.group for t in split.test}.isdisjoint(t.group for t in split.train)
    assert split == tasks.split("rotten", tmp_path, 40)
    task = tasks.of("rotten", split)
    assert task.classes == 2
    assert task.test_labels.tolist() == [text.label for text in split.test]


def test_ratings_become_classes() -> None:
    assert [tasks.sign(x) for x in (-2.0, -0.5, 0.2, 0.5, 0.6)] == [0, None, None, None, 1]
    assert [tasks.grade(x) for x in (-3.0, -1.0, 0.0, 1.0, 3.9)] == [0, 1, 2, 3, 4]
    split = tasks.Split("movie", [Text("x", 2.0), Text("y", 0.1)], [Text("z", -3.0)], 0)
    task = tasks.of("movie", split)
    assert task.train_labels.tolist() == [1, -1]  # -1: the task leaves it out
    assert task.test_labels.tolist() == [0]


# ---------------------------------------------------------------- scores


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_packed_flags_come_back(flags: list[bool]) -> None:
    array = np.array(flags)
    assert scores.unpacked(scores.packed(array.astype(float)), len(flags)).tolist() == flags


def test_scores_against_a_count_by_hand() -> None:
    p = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]]))
    q = np.log(np.array([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9]]))
    found = scores.compared([p], [q], np.array([0, 1, 0, 0]))
    assert found["accuracy"] == 50.0  # right, wrong, right, wrong
    assert found["drop"] == 50.0
    assert found["agreement"] == 50.0
    assert found["drop_se"] == pytest.approx(100 * np.std([0, 1, 0, 1], ddof=1) / 2)
    kl = np.mean([float((np.exp(a) * (a - b)).sum()) for a, b in zip(p, q, strict=True)])
    assert found["kl"] == pytest.approx(kl)
    same = scores.compared([p], [p], np.array([0, 1, 0, 0]))
    assert (same["drop"], same["agreement"], same["kl"]) == (0.0, 100.0, 0.0)


def test_a_class_without_training_texts_is_never_predicted() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3))
    head = heads.fit(X, np.repeat([0, 2], 20), 4, 1.0, seed=0)
    found = head.log_probabilities(X)
    assert set(found.argmax(axis=1)) <= {0, 2}
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0)
    assert scores.compared([found], [found], np.zeros(40, np.int64))["kl"] == 0.0


# ---------------------------------------------------------------- lines


def _line(method: str, ratio: float, right: list[int], task: str = "movie") -> dict[str, Any]:
    flags = np.array(right, dtype=float)
    return {
        "model": "minilm", "task": task, "method": method, "ratio": ratio, "texts": 4,
        "train_size": 9, "scope": "embeddings", "accuracy": 100.0 * float(flags.mean()),
        "drop": 100.0 * (1.0 - float(flags.mean())), "drop_se": 1.0, "agreement": 90.0,
        "agreement_se": 1.0, "kl": 0.1, "kl_se": 0.1, "cosine": 0.9,
        "correct": [scores.packed(flags)],
    }  # fmt: skip


def test_a_store_goes_on_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    store = Store(path, SETTINGS)
    store.add([_line("svd", 0.28, [1, 1, 0, 1])])
    with open(path, "a") as file:
        file.write('{"model": "minilm", "task": "mov')  # killed here
    again = Store(path, SETTINGS)
    assert again.has("minilm", "movie", "svd", 0.28)
    assert not again.has("minilm", "movie", "svd", 0.4)
    again.add([_line("svd", 0.4, [1, 0, 0, 1])])
    assert [json.loads(text)["ratio"] for text in path.read_text().splitlines()] == [0.28, 0.4]
    other = Store(path, {**SETTINGS, "test_size": 5})
    assert not other.lines  # of other settings: neither used nor lost
    assert len(path.read_text().splitlines()) == 2


def test_excess_over_half_of_the_svd_is_paired() -> None:
    ours, theirs = _line("default", 0.28, [1, 1, 1, 0]), _line("svd", 0.28, [0, 0, 1, 0])
    results = summary.Results([_line("none", 0.0, [1, 1, 1, 1]), ours, theirs])
    value, error = summary.excess(results, ours, theirs)
    each = np.array([-50.0, -50.0, 0.0, 50.0])
    assert value == pytest.approx(each.mean())
    assert error == pytest.approx(each.std(ddof=1) / 2)


def test_tables_are_made_between_markers() -> None:
    lines = [_line("none", 0.0, [1, 1, 1, 1], task) for task in tasks.MAIN]
    for task in tasks.MAIN:
        lines += [
            _line("svd", 0.28, [0, 0, 1, 0], task),
            _line("default", 0.28, [1, 1, 1, 0], task),
        ]
    store, none = (Store(Path(name), SETTINGS, name) for name in ("ratio", "size"))
    store.lines = {store.key(line): line for line in lines}
    known = pages.tables(store, none)
    page = "text\n<!-- table: methods minilm 0.28 -->\nold\n<!-- end -->\nmore\n"
    made = performance.filled(page, known)
    assert "old" not in made
    assert "| SVD | `svd` | 75.00 ± 0.53 |" in made
    assert performance.filled(made, known) == made
    with pytest.raises(ValueError, match="no table 'methods mpnet 0.28'"):
        performance.filled(page.replace("minilm", "mpnet"), known)


def test_the_pages_have_the_figures_of_the_lines() -> None:
    """Every marked table is made from the lines that are committed."""
    settings = {"test_size": 500, "seeds": [0, 1, 2], "length": 48}
    known = pages.tables(
        Store(summary.LINES, settings), Store(sums.LINES, settings, "size")
    )  # fmt: skip
    for path in pages.PAGES:
        page = path.read_text(encoding="utf-8")
        assert performance.MARKED.search(page)
        assert performance.filled(page, known) == page, "python -m benchmarks accuracy --docs"


# ---------------------------------------------------------------- methods


def test_the_default_is_what_compress_does_unasked() -> None:
    from lpgeom.nn.plan.options import Options

    method = methods.DEFAULT
    asked = Options.checked(ratio=0.28)
    told = Options.checked(ratio=0.28, **method.options, tokenizer="x")
    names = ("p", "objective", "subspaces", "ranks", "certify", "seed")
    assert all(getattr(asked, name) == getattr(told, name) for name in names)
    assert (asked.ranks, asked.subspaces, asked.p) == ("mixed", 8, 2.0)
    assert method.weights == "t"
    assert told.asks_for_tokens


@pytest.mark.slow
def test_the_default_is_better_than_the_svd(tmp_path: Path) -> None:
    """A real model on real texts: MiniLM, movie reviews, 60% of the embedding removed."""
    try:
        packages.fetch("vader", packages.cache())
    except MissingData as error:
        pytest.skip(f"no texts: {error}")
    path = tmp_path / "lines.jsonl"
    assert main(["accuracy", "--quick", "--lines", str(path)]) == 0
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    by = {(q["task"], q["method"]): q for q in lines}
    for task in ("movie", "movie-graded"):
        svd, ours = by[task, "svd"], by[task, "default"]
        assert ours["share_of_layers"] >= 0.6
        assert ours["agreement"] > svd["agreement"] + 4.0  # 96 and 90 to 78 and 62
        assert ours["drop"] <= svd["drop"]
        assert ours["kl"] < 0.5 * svd["kl"]
    assert main(["accuracy", "--quick", "--lines", str(path)]) == 0  # nothing is run again
    assert len(path.read_text().splitlines()) == len(lines)
