"""One model on some tasks: heads on the uncompressed encoder, then each method's scores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import heads, tasks
from .encoders import LENGTH, Encoder
from .methods import Method
from .scores import compared, mean_and_error
from .sized import Sized

Features = NDArray[np.float32]

SEEDS = (0, 1, 2)
CALIBRATION_TEXTS = 256


@dataclass
class Probe:
    """A task with the heads fitted for it and what they say without compression."""

    task: tasks.Task
    heads: list[heads.Head]
    features: Features
    base: list[NDArray[np.float64]]

    @classmethod
    def of(cls, encoder: Encoder, task: tasks.Task, cache: Path) -> Probe:
        """Heads of `SEEDS` on the uncompressed features of the task's split."""
        train, test = features(encoder, task.split, cache)
        used, seen = task.train_labels >= 0, task.test_labels >= 0
        X, y = train[used], task.train_labels[used]
        made_of = [
            *train_texts(task.split),
            *map(str, y),
            repr((SEEDS, heads.SHARE, heads.PENALTIES)),
        ]
        path = cache / f"heads-{encoder.name}-{task.name}-{_digest(made_of)}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                weights, biases = stored["weights"], stored["biases"]
            fitted = [heads.Head(w, b) for w, b in zip(weights, biases, strict=True)]
        else:
            C = heads.penalty(X, y)
            fitted = [heads.fit(X, y, task.classes, C, seed) for seed in SEEDS]
            _save(
                path,
                weights=np.array([head.weight for head in fitted]),
                biases=np.array([head.bias for head in fitted]),
            )
        return cls(
            task, fitted, test[seen], [head.log_probabilities(test[seen]) for head in fitted]
        )

    def itself(self) -> dict[str, Any]:
        """The scores without compression."""
        everywhere = np.zeros((len(self.task.test_labels), self.features.shape[1]), np.float32)
        everywhere[self.task.test_labels >= 0] = self.features
        return self.scores(everywhere)

    def scores(self, features: Features) -> dict[str, Any]:
        """Of other features of the split's test texts."""
        seen = self.task.test_labels >= 0
        other = [head.log_probabilities(features[seen]) for head in self.heads]
        cosine = np.einsum("ij,ij->i", self.features, features[seen]).astype(np.float64)
        near, error = mean_and_error(cosine)
        return {
            "texts": int(seen.sum()),
            **compared(self.base, other, self.task.test_labels[seen]),
            "cosine": near,
            "cosine_se": error,
        }


def calibration_texts(cache: Path) -> list[str]:
    """Unlabelled texts of the corpora that only choices of defaults are made on."""
    texts = [
        text.text
        for name in tasks.TUNING
        for text in tasks.split(tasks.TASKS[name][0], cache, 100).train
    ]
    return texts[:: max(1, len(texts) // CALIBRATION_TEXTS)]


def features(encoder: Encoder, split: tasks.Split, cache: Path) -> tuple[Features, Features]:
    """Of the training and the test texts, without compression; kept in the cache folder."""
    texts = [*train_texts(split), *(text.text for text in split.test)]
    path = cache / f"features-{encoder.name}-{split.corpus}-{_digest([*texts, str(LENGTH)])}.npz"
    if not path.exists():
        _save(path, both=encoder.encode(texts))
    with np.load(path, allow_pickle=False) as stored:
        both = stored["both"]
    return both[: len(split.train)], both[len(split.train) :]


def train_texts(split: tasks.Split) -> list[str]:
    """The training texts of a split."""
    return [text.text for text in split.train]


def _digest(parts: Sequence[str]) -> str:
    """What a file in the cache depends on, in a few characters."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _save(path: Path, **arrays: NDArray) -> None:
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)


def lines_of(
    encoder: Encoder,
    probes: Sequence[Probe],
    method: Method | Sized,
    told: str,
    share: Any,
    calibration: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """A result line for each task; `told` is what the share is called, ratio or size."""
    smaller, about = method.applied(encoder, share, calibration)
    for line in scores_of(smaller, probes):
        yield {"method": method.name, told: share, **about, **line}


def scores_of(encoder: Encoder, probes: Sequence[Probe]) -> Iterator[dict[str, Any]]:
    """The scores of a compressed encoder on each task; a corpus is encoded once."""
    encoded: dict[str, Features] = {}
    for probe in probes:
        split = probe.task.split
        if split.corpus not in encoded:
            encoded[split.corpus] = encoder.encode([text.text for text in split.test])
        scores = probe.scores(encoded[split.corpus])
        yield {"model": encoder.name, "task": probe.task.name, **scores}
