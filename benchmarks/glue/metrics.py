"""GLUE's metrics of a task's labels and a model's predictions, between -1 and 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray
Metric = Callable[[Values, Values], float]


def accuracy(labels: Values, predictions: Values) -> float:
    """Share of predictions that are right.

    Examples
    --------
    >>> accuracy(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    0.75
    """
    return float(np.mean(labels == predictions))


def f1(labels: Values, predictions: Values) -> float:
    """Harmonic mean of precision and recall of class 1; 0 if there is no right prediction of it.

    Examples
    --------
    >>> round(f1(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])), 4)
    0.6667
    """
    hits = np.count_nonzero((labels == 1) & (predictions == 1))
    named = np.count_nonzero(labels == 1) + np.count_nonzero(predictions == 1)
    return float(2.0 * hits / named) if hits else 0.0


def matthews(labels: Values, predictions: Values) -> float:
    """Matthews' correlation of two classes; 0 if either side has one class only.

    Examples
    --------
    >>> round(matthews(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])), 4)
    0.5774
    """
    return pearson(labels == 1, predictions == 1)


def pearson(labels: Values, predictions: Values) -> float:
    """Pearson's correlation; 0 where it is undefined, one side being constant.

    Examples
    --------
    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 4.0])), 4)
    0.6547
    """
    x, y = labels.astype(np.float64), predictions.astype(np.float64)
    # A mean may be off by a rounding, which would make a constant look like a signal.
    if (x == x[0]).all() or (y == y[0]).all():
        return 0.0
    x, y = _unit(x), _unit(y)
    return float(np.clip(x @ y, -1.0, 1.0))


def _unit(x: Values) -> Values:
    """Centred, of length one."""
    centred = x - x.mean()
    centred /= np.abs(centred).max()  # squares of tiny differences would underflow
    return np.asarray(centred / np.linalg.norm(centred))


def spearman(labels: Values, predictions: Values) -> float:
    """Pearson's correlation of the ranks, ties having their mean rank.

    Examples
    --------
    >>> round(spearman(np.array([1.0, 2.0, 9.0]), np.array([2.0, 1.0, 4.0])), 4)
    0.5
    """
    from scipy.stats import rankdata

    return pearson(rankdata(labels), rankdata(predictions))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
