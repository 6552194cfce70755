"""Rows split among several subspaces: row i is ``left[i] @ right[labels[i]]``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def label_dtype(subspaces: int) -> torch.dtype:
    """The smallest integer type for that many labels."""
    return torch.uint8 if subspaces <= 256 else torch.int32


def check_factors(left: Tensor, right: Tensor, labels: Tensor | None) -> tuple[int, int, int, int]:
    """(n, k, d, j) of factors that go together.

    Raises
    ------
    ValueError
        If they do not.
    """
    dims = 2 if labels is None else 3
    if left.ndim != 2 or right.ndim != dims or left.shape[1] != right.shape[-2]:
        raise ValueError(
            f"left must be (n, k) and right {'(k, d)' if dims == 2 else '(j, k, d)'}; got "
            f"{tuple(left.shape)} and {tuple(right.shape)}"
        )
    if left.dtype != right.dtype or not left.dtype.is_floating_point:
        raise ValueError(
            f"the factors must have one floating dtype, got {left.dtype}, {right.dtype}"
        )
    n, k = left.shape
    if k < 1:
        raise ValueError("the factors must have rank 1 at least, got 0")
    if labels is None:
        return n, k, right.shape[1], 1
    j = right.shape[0]
    if j < 2:
        raise ValueError(f"labels go with two subspaces or more, got factors of {j}")
    if labels.shape != (n,) or labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise ValueError(
            f"labels must be {n} integers, got shape {tuple(labels.shape)}, {labels.dtype}"
        )
    if not labels.is_meta and n and not 0 <= int(labels.min()) <= int(labels.max()) < j:
        raise ValueError(f"labels must lie between 0 and {j - 1}")
    return n, k, right.shape[2], j


def dense_rows(left: Tensor, right: Tensor, labels: Tensor | None) -> Tensor:
    """All rows multiplied out, (n, d)."""
    return left @ right if labels is None else rows_times(left, right, labels)


def rows_times(z: Tensor, right: Tensor, labels: Tensor) -> Tensor:
    """``z[i] @ right[labels[i]]`` for rows z (m, k), right (j, k, d), labels (m,)."""
    if _fixed_shapes(labels):  # j times the work, nothing to sort
        one_hot = F.one_hot(labels.long(), right.shape[0]).to(z.dtype)
        wide = (one_hot[:, :, None] * z[:, None, :]).flatten(1)
        return wide @ right.flatten(0, 1)
    order, counts = sorted_by_label(labels, right.shape[0])
    parts = z[order].split(counts)
    products = [part @ right[c] for c, part in enumerate(parts) if len(part)]
    if not products:
        return z @ right[0]
    return torch.empty_like(joined := torch.cat(products)).index_copy(0, order, joined)


def _fixed_shapes(labels: Tensor) -> bool:
    """Whether no shape may depend on the labels' values: in graphs, and where there are none."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or labels.is_meta


def sorted_by_label(labels: Tensor, j: int) -> tuple[Tensor, list[int]]:
    """(rows in order of their labels, number of rows of each label)."""
    labels = labels.long()
    return torch.argsort(labels, stable=True), torch.bincount(labels, minlength=j).tolist()


class Labels:
    """The labels of a layer's output features."""

    def __init__(self, labels: Tensor, j: int) -> None:
        self.labels, self.j = labels, j

    def gathered(self, inner: Tensor, left: Tensor) -> Tensor:
        """``inner[..., labels[i], :] . left[i]`` for inner (..., j, k), left (n, k): (..., n)."""
        if _fixed_shapes(self.labels):
            one_hot = F.one_hot(self.labels.long(), self.j).to(left.dtype)
            wide = (one_hot[:, :, None] * left[:, None, :]).flatten(1)
            return F.linear(inner.flatten(-2), wide)
        order, counts = sorted_by_label(self.labels, self.j)
        parts = left[order].split(counts)
        output = torch.cat([F.linear(inner[..., c, :], part) for c, part in enumerate(parts)], -1)
        return output[..., torch.argsort(order)]
