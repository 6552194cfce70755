"""GLUE's metrics and scores, against plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.glue import metrics, scores
from benchmarks.glue.tasks import TASKS, Row


def naive_f1(labels: list[int], said: list[int]) -> float:
    hits = sum(a == b == 1 for a, b in zip(labels, said, strict=True))
    if hits == 0:
        return 0.0
    precision, recall = hits / sum(said), hits / sum(labels)
    return 2 * precision * recall / (precision + recall)


def naive_matthews(labels: list[int], said: list[int]) -> float:
    counts = {(a, b): 0 for a in (0, 1) for b in (0, 1)}
    for pair in zip(labels, said, strict=True):
        counts[pair] += 1
    tn, fp, fn, tp = (counts[key] for key in ((0, 0), (0, 1), (1, 0), (1, 1)))
    square = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(square) if square else 0.0


def naive_pearson(x: list[float], y: list[float]) -> float:
    a, b = math.fsum(x) / len(x), math.fsum(y) / len(y)
    xx = math.fsum((u - a) ** 2 for u in x)
    yy = math.fsum((v - b) ** 2 for v in y)
    xy = math.fsum((u - a) * (v - b) for u, v in zip(x, y, strict=True))
    return xy / math.sqrt(xx * yy)


def naive_ranks(x: list[float]) -> list[float]:
    return [sum(v < u for v in x) + (sum(v == u for v in x) + 1) / 2 for u in x]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1))
def test_metrics_of_classes(pairs: list[tuple[int, int]]) -> None:
    labels, said = ([pair[i] for pair in pairs] for i in (0, 1))
    y, p = np.array(labels), np.array(said)
    assert metrics.accuracy(y, p) == sum(a == b for a, b in pairs) / len(pairs)
    assert metrics.f1(y, p) == pytest.approx(naive_f1(labels, said))
    assert metrics.matthews(y, p) == pytest.approx(naive_matthews(labels, said), abs=1e-12)


grid = st.integers(-20, 20).map(lambda k: k / 4)


@settings(deadline=None)
@given(st.lists(st.tuples(grid, grid), min_size=2))
def test_correlations(pairs: list[tuple[float, float]]) -> None:
    x, y = ([pair[i] for pair in pairs] for i in (0, 1))
    X, Y = np.array(x), np.array(y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert metrics.pearson(X, Y) == metrics.spearman(X, Y) == 0.0
        return
    assert metrics.pearson(X, Y) == pytest.approx(naive_pearson(x, y), abs=1e-12)
    ranked = naive_pearson(naive_ranks(x), naive_ranks(y))
    assert metrics.spearman(X, Y) == pytest.approx(ranked, abs=1e-12)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.integers(2, 20), elements=st.floats(-1e150, 1e150)))
def test_a_correlation_is_within_one_whatever_the_scale(x: np.ndarray) -> None:
    if (x != x[0]).any():
        assert metrics.pearson(x, x) == pytest.approx(1.0)
        assert metrics.pearson(x, -x) == pytest.approx(-1.0)


def of_classes(said: Sequence[int], classes: int = 2) -> np.ndarray:
    """Log-probabilities of a model that is rather sure."""
    P = np.full((len(said), classes), 0.1 / (classes - 1))
    P[np.arange(len(said)), said] = 0.9
    return np.log(P)


def test_scores_by_hand() -> None:
    labels = [0, 1, 1, 0, 1, 0]
    dev = {"": [Row(str(i), "x", label) for i, label in enumerate(labels)]}
    was, now = [0, 1, 1, 0, 1, 1], [0, 1, 0, 0, 0, 1]
    found = scores.scored(TASKS["mrpc"], dev, [of_classes(was)], [of_classes(now)])
    assert found["metrics"]["accuracy"] == pytest.approx(100 * 3 / 6)
    assert found["metrics"]["f1"] == pytest.approx(100 * naive_f1(labels, now))
    assert found["score_before"] == pytest.approx(50 * (5 / 6 + naive_f1(labels, was)))
    assert found["drop"] == pytest.approx(found["score_before"] - found["score"])
    assert found["agreement"] == pytest.approx(100 * 4 / 6)
    assert found["kl"] == pytest.approx(2 / 6 * (0.9 - 0.1) * np.log(9))
    assert found["drop_se"] > 0.0
    itself = scores.scored(TASKS["mrpc"], dev, [of_classes(was)], [of_classes(was)])
    assert itself["drop"] == itself["drop_se"] == itself["kl"] == 0.0


def test_mnli_is_the_mean_of_its_two_parts() -> None:
    dev = {"matched": [Row("", "", 0)] * 4, "mismatched": [Row("", "", 2)] * 2}
    was, now = [0, 0, 0, 0, 2, 2], [0, 1, 0, 0, 2, 1]
    found = scores.scored(TASKS["mnli"], dev, [of_classes(was, 3)], [of_classes(now, 3)])
    assert found["metrics"] == {"accuracy_matched": 75.0, "accuracy_mismatched": 50.0}
    assert found["score"] == 62.5
    assert found["drop"] == 37.5
    by_part = [np.std([0, 100, 0, 0], ddof=1) / 2, np.std([0, 100], ddof=1) / np.sqrt(2)]
    assert found["drop_se"] == pytest.approx(np.hypot(*by_part) / 2)


def test_numbers_have_no_agreement_and_seeds_are_averaged() -> None:
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 80)
    dev = {"": [Row("a", "b", label) for label in labels]}
    base = [labels + rng.normal(size=80) * s for s in (0.1, 0.3)]
    other = [labels + rng.normal(size=80) * s for s in (1.0, 2.0)]
    found = scores.scored(TASKS["stsb"], dev, base, other)
    assert "agreement" not in found
    assert "accuracy" not in found
    pearsons = [naive_pearson(list(labels), list(values)) for values in other]
    assert found["metrics"]["pearson"] == pytest.approx(100 * np.mean(pearsons))
    assert len(found["drops"]) == 2
    assert found["drop"] == pytest.approx(np.mean(found["drops"]))


def test_the_bootstrap_agrees_with_the_error_of_a_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    labels, was, now = rng.integers(0, 2, (3, 300))
    dev = {"": [Row("a", None, label) for label in labels]}
    exact = scores.scored(TASKS["sst2"], dev, [of_classes(was)], [of_classes(now)])["drop_se"]
    drawn = scores.bootstrap(TASKS["sst2"], labels, [was], [now], [np.arange(300)])
    assert drawn == pytest.approx(exact, rel=0.1)
