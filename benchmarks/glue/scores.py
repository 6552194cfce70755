"""GLUE's scores of outputs before and after compression, and how far chance may move them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..accuracy.scores import compared, mean_and_error
from .metrics import METRICS
from .tasks import Row, Task

Outputs = Sequence[NDArray[np.float64]]
"""Of each seed's model: log-probabilities (texts, classes), or numbers (texts,)."""

RESAMPLES = 1000


def scored(
    task: Task, dev: Mapping[str, Sequence[Row]], base: Outputs, other: Outputs
) -> dict[str, Any]:
    """What changes from `base` to `other`; the texts are those of all parts, one after the other.

    All in percent, or points of them, and means over seeds: `metrics` and `score`, their mean,
    which is GLUE's; `drop`, the points of the score lost, and `drops` of each seed. `drop_se` is
    its standard error over the texts, the seeds' models taken as given: where the score is an
    accuracy that of a mean, else that of `RESAMPLES` paired bootstrap samples, drawn within parts.
    Where there are classes also `accuracy`, `accuracy_drop`, `agreement`, `kl` and `correct`, as in
    `benchmarks.accuracy.scores`.
    """
    labels = [np.array([row.label for row in rows]) for rows in dev.values()]
    ends = np.cumsum([len(part) for part in labels])
    places = [np.arange(end - len(part), end) for part, end in zip(labels, ends, strict=True)]
    flat = np.concatenate(labels)
    was, now = _predictions(task, base), _predictions(task, other)
    before, after = (_scores(task, flat, p, places) for p in (was, now))
    drops = before - after
    found: dict[str, Any] = {
        "texts": len(flat),
        "metrics": _named(task, flat, now, places),
        "score": float(after.mean()),
        "score_before": float(before.mean()),
        "scores": after.tolist(),
        "drop": float(drops.mean()),
        "drops": drops.tolist(),
    }
    if task.labels:
        classes = flat.astype(np.int64)
        both = compared(list(base), list(other), classes)
        found["accuracy_drop"] = both.pop("drop")
        found["accuracy_drop_se"] = both.pop("drop_se")
        found |= both
    if task.metrics == ("accuracy",):
        lost = [
            100.0 * np.mean([(p[at] == flat[at]) * 1.0 - (q[at] == flat[at])
                             for p, q in zip(was, now, strict=True)], axis=0)
            for at in places
        ]  # fmt: skip
        errors = [mean_and_error(values)[1] for values in lost]
        found["drop_se"] = float(np.sqrt(np.square(errors).sum()) / len(errors))
    else:
        found["drop_se"] = bootstrap(task, flat, was, now, places)
    return found


def bootstrap(
    task: Task,
    labels: NDArray,
    was: Sequence[NDArray],
    now: Sequence[NDArray],
    places: Sequence[NDArray[np.intp]],
) -> float:
    """Standard deviation of the mean drop over resampled texts, the same for both sides."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        drawn = [rng.choice(at, len(at)) for at in places]
        drop = _scores(task, labels, was, drawn) - _scores(task, labels, now, drawn)
        found.append(drop.mean())
    return float(np.std(found, ddof=1))


def _predictions(task: Task, outputs: Outputs) -> list[NDArray]:
    return [values.argmax(axis=1) if task.labels else values for values in outputs]


def _scores(
    task: Task, labels: NDArray, predictions: Sequence[NDArray], places: Sequence[NDArray]
) -> NDArray[np.float64]:
    """The score of each seed's predictions: the mean over metrics and parts."""
    return np.array(
        [
            100.0 * np.mean([METRICS[m](labels[at], p[at]) for at in places for m in task.metrics])
            for p in predictions
        ]
    )


def _named(
    task: Task, labels: NDArray, predictions: Sequence[NDArray], places: Sequence[NDArray]
) -> dict[str, float]:
    """Each metric on each part, the mean over seeds."""
    return {
        f"{metric}_{part}" if part else metric: 100.0
        * float(np.mean([METRICS[metric](labels[at], p[at]) for p in predictions]))
        for part, at in zip(task.parts, places, strict=True)
        for metric in task.metrics
    }
