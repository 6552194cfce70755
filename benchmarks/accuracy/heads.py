"""Classifiers on top of the uncompressed encoder; frozen before anything is compressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

SHARE = 0.7
"""Share of the training texts that a seed's head is fitted to."""
PENALTIES = (1.0, 10.0, 100.0)
"""Inverse strengths of the penalty tried, by cross-validation on the training texts."""


@dataclass(frozen=True)
class Head:
    """Logistic regression: ``softmax(x @ weight + bias)``."""

    weight: Matrix
    bias: NDArray[np.float64]

    def log_probabilities(self, features: NDArray) -> Matrix:
        """(texts, classes)."""
        scores = features.astype(np.float64) @ self.weight + self.bias
        scores -= scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def penalty(features: NDArray, labels: NDArray[np.int64]) -> float:
    """The penalty of `PENALTIES` that does best on three folds of the training texts."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    X = features.astype(np.float64)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    scores = [
        cross_val_score(_model(C), X, labels, cv=folds, error_score="raise").mean()
        for C in PENALTIES
    ]
    return PENALTIES[int(np.argmax(scores))]


def fit(features: NDArray, labels: NDArray[np.int64], classes: int, C: float, seed: int) -> Head:
    """A head for one seed, which chooses the training texts it sees."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(len(labels))[: round(SHARE * len(labels))]
    fitted = _model(C).fit(features[index].astype(np.float64), labels[index])
    weight = np.zeros((features.shape[1], classes))
    bias = np.full(classes, -np.inf)  # classes that no training text of this seed has
    if len(fitted.classes_) == 2:
        low, high = fitted.classes_
        weight[:, high], bias[high], bias[low] = fitted.coef_[0], fitted.intercept_[0], 0.0
    else:
        weight[:, fitted.classes_] = fitted.coef_.T
        bias[fitted.classes_] = fitted.intercept_
    return Head(weight, bias)


def _model(C: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=1000)
