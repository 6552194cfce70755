"""Accuracy, agreement and divergence of a compressed model against the uncompressed one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def compared(base: list[Matrix], other: list[Matrix], labels: NDArray[np.int64]) -> dict[str, Any]:
    """What changes from `base` to `other`, log-probabilities (texts, classes) of each seed's head.

    All in percent, or points of them, with standard errors over the texts: `accuracy` and `drop`
    (means over seeds), `agreement` (same prediction), and `kl`, the mean Kullback-Leibler
    divergence of the new probabilities from the old ones, in nats.
    """
    right = np.array([p.argmax(1) == labels for p in other], dtype=np.float64)
    was = np.array([p.argmax(1) == labels for p in base], dtype=np.float64)
    same = np.array(
        [p.argmax(1) == q.argmax(1) for p, q in zip(base, other, strict=True)], dtype=np.float64
    )
    found: dict[str, Any] = {
        "accuracy": 100.0 * float(right.mean()),
        "accuracies": [100.0 * float(x.mean()) for x in right],
    }
    for name, values in (
        ("drop", 100.0 * (was - right)),
        ("agreement", 100.0 * same),
        ("kl", np.array([_divergence(p, q) for p, q in zip(base, other, strict=True)])),
    ):
        found[name], found[f"{name}_se"] = mean_and_error(values.mean(axis=0))
    found["correct"] = [packed(x) for x in right]
    return found


def mean_and_error(values: Matrix) -> tuple[float, float]:
    """Mean of independent values and its standard error."""
    n = len(values)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def _divergence(p: Matrix, q: Matrix) -> Matrix:
    """KL(p || q) of each row of log-probabilities; classes of probability 0 do not count."""
    weight = np.exp(p)
    difference = np.subtract(p, q, out=np.zeros_like(p), where=weight > 0.0)
    return np.asarray((weight * difference).sum(axis=1))


def packed(flags: Matrix) -> str:
    """0/1 values as hexadecimal digits, so that differences between methods can be paired."""
    return np.packbits(flags.astype(bool)).tobytes().hex()


def unpacked(text: str, n: int) -> NDArray[np.bool_]:
    """The first n values of `packed`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[:n].astype(bool)
