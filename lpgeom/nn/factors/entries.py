"""One weight of a linear layer into entries of few bits: candidates, and the one that is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lpgeom.nn.factors.factored import Factored, Spec
from lpgeom.nn.factors.rounded import Rounded
from lpgeom.quantized.feedback import fed_back
from lpgeom.quantized.rounding import nbytes_of, rounded
from lpgeom.records.subspace import Array

Choice = tuple[int, int | None]
"""Bits of an entry, and how many share a scale; None: a row."""

WIDTHS: tuple[Choice, ...] = (
    (2, 32), (3, None), (3, 128), (3, 64), (3, 32), (4, None), (4, 128), (4, 64), (4, 32),
    (5, None), (5, 64), (6, None), (6, 64), (7, None), (8, None),
)  # fmt: skip
"""What a layer may be stored in."""

USUAL: Choice = (4, 64)
"""What a layer is tried in."""

ROWS = 64
"""Rows from which the candidates' errors are told, about."""


def least_bytes(n: int, d: int) -> int:
    """The fewest bytes of a candidate."""
    return min(nbytes_of(n, d, bits, min(d, group or d)) for bits, group in WIDTHS)


def candidates(weight: Tensor, spec: Spec) -> list[tuple[int, float, Choice]]:
    """(bytes, share of the cost that is lost, choice) of a weight (n, d), with rising bytes.

    The shares are those of `ROWS` rows rounded to nearest levels; with a metric, times what feeding
    errors back leaves of them at `USUAL`.
    """
    n, d = weight.shape
    W = _numbers(weight)[:: max(1, n // ROWS)]
    spread = None if spec.metric is None else spec.metric.spread
    h = None if spread is None else np.maximum(np.diag(spread), 0.0)
    left = 1.0 / (cost_of(W, np.zeros_like(W), spec) or 1.0)
    if spread is not None:
        nearest = cost_of(W, rounded(W, *USUAL, column_weights=h).dense(), spec)
        left *= cost_of(W, fed_back(W, *USUAL, spread).dense(), spec) / (nearest or 1.0)
    found = {}
    for bits, group in WIDTHS:
        nbytes = nbytes_of(n, d, bits, min(d, group or d), weight.element_size())
        if nbytes < n * d * weight.element_size() and nbytes not in found:
            Q = rounded(W, bits, group, column_weights=h).dense()
            found[nbytes] = (nbytes, left * cost_of(W, Q, spec), (bits, group))
    return [found[nbytes] for nbytes in sorted(found)]


def coded_entries(weight: Tensor, choice: Choice, spec: Spec) -> Factored:
    """A weight (n, d) in so many bits, real numbers in its dtype and on its device.

    Where there is a metric that knows the inputs' mean, ``shift`` is what the bias has to gain for
    outputs to keep theirs.

    Raises
    ------
    ValueError
        Entries that are not finite.
    """
    W = _numbers(weight)
    metric = spec.metric
    found = rounded(W, *choice) if metric is None else fed_back(W, *choice, metric.spread)
    held: Any = Rounded.of(found, weight.dtype, weight.device)
    stored = held.dense().double().cpu().numpy()
    if metric is not None and metric.mean is not None:
        shift = (W - stored) @ metric.mean
        held.shift = torch.from_numpy(shift).to(weight.device, weight.dtype)
    int8, int4 = (cost_of(W, _nearest(W, bits), spec) for bits in (8, 4))
    return Factored(
        factors=held,
        int8_cost=int8,
        int4_cost=int4,
        cost=cost_of(W, stored, spec),
        size=cost_of(W, np.zeros_like(W), spec),
        lower_bound=None,
        svd_cost=None,
        failure_probability=0.0,
        method="nearest" if metric is None else "fed back",
        spectrum=(),
    )


def cost_of(W: Array, Q: Array, spec: Spec) -> float:
    """``sum_i ||w_i - q_i||^p``; with a metric, of the outputs' errors but for their mean, which
    the bias takes where it can."""
    E = np.asarray(W, np.float64) - Q
    if spec.metric is None:
        squares = np.einsum("ij,ij->i", E, E)
    else:
        squares = np.einsum("ij,ij->i", E @ spec.metric.spread, E)
    return float((np.maximum(squares, 0.0) ** (0.5 * spec.p)).sum())


def _nearest(W: Array, bits: int, group: int = 32) -> Array:
    """Every entry to the nearest of ``2^bits - 1`` equal steps around 0, a scale of float16 for
    each group of a row: what one would do without this library."""
    n, d = W.shape
    unit = 2.0 ** np.frexp(np.abs(W).max(initial=0.0))[1]  # float16 has no room for tiny weights
    padded = np.pad(W / unit, ((0, 0), (0, -d % group))).reshape(n, -1, group)
    top = (1 << bits - 1) - 1
    scale = (np.abs(padded).max(axis=2, keepdims=True) / top).astype(np.float16).astype(W.dtype)
    steps = np.rint(np.divide(padded, scale, out=np.zeros_like(padded), where=scale > 0.0))
    found: Array = (np.clip(steps, -top, top) * scale * unit).reshape(n, -1)[:, :d]
    return found


def _numbers(weight: Tensor) -> Array:
    """A weight as NumPy has it."""
    W = weight.detach().cpu()
    return (W if W.dtype == torch.float64 else W.float()).numpy()
