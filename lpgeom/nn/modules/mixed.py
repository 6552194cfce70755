"""Rows in groups of different rank: row i of group c is ``lefts[c][places[i]] @ rights[c]``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.nn.modules.split import label_dtype

PLACES = torch.int32


class MixedRank(nn.Module, ABC):
    """What an embedding and an output layer with rows in groups have in common.

    Attributes
    ----------
    lefts : ParameterList of (n_c, k_c)
        In a dense group, k_c = d, the rows themselves.
    rights : ParameterList of (k_c, d)
        In a dense group, which needs none, (0, d).
    labels : Tensor, shape (n,), uint8 or int32
        The group of each row, a buffer.
    places : Tensor, shape (n,), int32
        Which row of its group it is, a buffer.
    """

    lefts: nn.ParameterList
    rights: nn.ParameterList
    labels: Tensor
    places: Tensor

    def _make_groups(
        self, d: int, ranks: Sequence[int], counts: Sequence[int], device: Any, dtype: Any
    ) -> None:
        """Empty factors, the rows of each group one after another."""
        _check_sizes(d, ranks, counts)
        options = {"device": device, "dtype": dtype}
        self.lefts = nn.ParameterList(
            _parameter(torch.empty(n_c, k, **options)) for n_c, k in zip(counts, ranks, strict=True)
        )
        self.rights = nn.ParameterList(
            _parameter(torch.empty(k if k < d else 0, d, **options)) for k in ranks
        )
        kind = label_dtype(len(ranks))
        labels = [torch.full((n_c,), c, dtype=kind, device=device) for c, n_c in enumerate(counts)]
        places = [torch.arange(n_c, dtype=PLACES, device=device) for n_c in counts]
        self.register_buffer("labels", torch.cat(labels))
        self.register_buffer("places", torch.cat(places))

    def _take_groups(
        self,
        lefts: Sequence[Tensor],
        rights: Sequence[Tensor | None],
        labels: Tensor,
        places: Tensor | None,
    ) -> None:
        """Use these factors as they are; they have been checked."""
        d = self._d
        self.lefts = nn.ParameterList(_parameter(left) for left in lefts)
        self.rights = nn.ParameterList(
            _parameter(left.new_empty(0, d) if right is None else right)
            for left, right in zip(lefts, rights, strict=True)
        )
        self.labels = labels.to(label_dtype(len(lefts)))
        self.places = places_of(labels, len(lefts)) if places is None else places.to(PLACES)

    @property
    @abstractmethod
    def _d(self) -> int:
        """Columns of the table."""

    @property
    def ranks(self) -> tuple[int, ...]:
        """k_c of each group; d where rows are kept as they are, 0 where they are zero."""
        return tuple(left.shape[1] for left in self.lefts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each group."""
        return tuple(left.shape[0] for left in self.lefts)

    @property
    def weight(self) -> Tensor:
        """The dense matrix (n, d), multiplied out at each access.

        For code that reads ``layer.weight``; gradients flow to the factors. It cannot be set.
        """
        d = self._d
        rows = [
            left if left.shape[1] == d else left @ right
            for left, right in zip(self.lefts, self.rights, strict=True)
        ]
        return torch.cat(rows).index_select(0, self._slots())

    def _slots(self) -> Tensor:
        """Where each row is if the groups are put one after another."""
        slots, start = self.places.long(), 0
        for c, n_c in enumerate(self.counts):
            slots = slots + start * (self.labels == c)
            start += n_c
        return slots

    def __repr__(self) -> str:
        # In a line, as modules whose factors are no lists.
        return f"{type(self).__name__}({self.extra_repr()})"

    def _learns(self) -> bool:
        return any(left.requires_grad for left in self.lefts)

    def _said(self) -> str:
        return f"ranks={self.ranks}, counts={self.counts}"


def places_of(labels: Tensor, j: int) -> Tensor:
    """Number of rows of the same label before each row."""
    places = torch.zeros_like(labels, dtype=PLACES)
    for c in range(j):
        of_c = labels == c
        places = torch.where(of_c, of_c.cumsum(0).to(PLACES) - 1, places)
    return places


def are_places(labels: Tensor, places: Tensor, counts: Sequence[int]) -> bool:
    """Whether each group of that many rows has each of its places once."""
    total = sum(counts)
    if labels.shape != (total,) or places.shape != (total,):
        return False
    sizes = torch.tensor(list(counts), dtype=torch.int64)
    of, at = labels.long().cpu(), places.long().cpu()
    if total and not 0 <= int(of.min()) <= int(of.max()) < len(sizes):
        return False
    if bool((at < 0).any()) or bool((at >= sizes[of]).any()):
        return False
    slots = (torch.cumsum(sizes, 0) - sizes)[of] + at
    return len(torch.unique(slots)) == total


def check_groups(
    lefts: Sequence[Tensor],
    rights: Sequence[Tensor | None],
    labels: Tensor,
    places: Tensor | None,
) -> tuple[int, int]:
    """(n, d) of factors that go together.

    Raises
    ------
    ValueError
        If they do not.
    """
    if len(lefts) < 1 or len(lefts) != len(rights):
        raise ValueError(
            f"there must be a left and a right factor (or None) for each group, got {len(lefts)} "
            f"and {len(rights)}"
        )
    for name, factors in (("left", lefts), ("right", rights)):
        for c, factor in enumerate(factors):
            if factor is not None and factor.ndim != 2:
                raise ValueError(
                    f"group {c}: the {name} factor must be a matrix, got shape "
                    f"{tuple(factor.shape)}"
                )
    # The right factors know; where there are none, rows are kept as they are.
    known = [right.shape[1] for right in rights if right is not None]
    d = known[0] if known else max(left.shape[1] for left in lefts)
    if d == 0:
        raise ValueError("no factor tells how long a row is; give a right one of shape (0, d)")
    dtypes = {x.dtype for x in (*lefts, *rights) if x is not None}
    if len(dtypes) > 1 or not lefts[0].dtype.is_floating_point:
        raise ValueError(
            f"the factors must have one floating dtype, got {', '.join(sorted(map(str, dtypes)))}"
        )
    for c, (left, right) in enumerate(zip(lefts, rights, strict=True)):
        k = left.shape[1]
        none = right is None or tuple(right.shape) == (0, d)
        fits = none if k in (0, d) else right is not None and tuple(right.shape) == (k, d)
        if not fits:
            got = None if right is None else tuple(right.shape)
            raise ValueError(
                f"group {c}: left must be (n_c, k) and right (k, {d}), or None for k = {d} and "
                f"k = 0; got {tuple(left.shape)} and {got}"
            )
    counts = [len(left) for left in lefts]
    n = sum(counts)
    for name, value in (("labels", labels), ("places", places)):
        if value is not None and (
            value.shape != (n,) or value.dtype.is_floating_point or value.dtype == torch.bool
        ):
            raise ValueError(
                f"{name} must be {n} integers, got shape {tuple(value.shape)}, {value.dtype}"
            )
    if not labels.is_meta:
        if n and not 0 <= int(labels.min()) <= int(labels.max()) < len(lefts):
            raise ValueError(f"labels must lie between 0 and {len(lefts) - 1}")
        found = torch.bincount(labels.long(), minlength=len(lefts)).tolist()
        if found != counts:
            raise ValueError(f"labels give the groups {found} rows, the left factors {counts}")
        if places is not None and not are_places(labels, places, counts):
            raise ValueError("places must number the rows of each group, from 0")
    return n, d


def _check_sizes(d: int, ranks: Sequence[int], counts: Sequence[int]) -> None:
    for name, values in (("ranks", ranks), ("counts", counts)):
        if isinstance(values, str) or not all(type(value) is int for value in values):
            raise TypeError(f"{name} must be whole numbers, one for each group, got {values!r}")
    if len(ranks) < 1 or len(ranks) != len(counts):
        raise ValueError(f"ranks and counts must be as many, got {len(ranks)} and {len(counts)}")
    if not all(0 <= k <= d for k in ranks):
        raise ValueError(f"ranks must lie between 0 and {d}, got {tuple(ranks)}")
    if not all(0 <= n_c < 2**31 for n_c in counts):
        raise ValueError(f"counts must be at least 0 and below 2^31, got {tuple(counts)}")


def scale_of(k: int) -> float:
    """k^(-1/2), and 1 for k = 0."""
    return 1.0 / math.sqrt(max(1, k))


def _parameter(value: Tensor) -> nn.Parameter:
    if isinstance(value, nn.Parameter):
        return value
    # Where there is nothing to learn, no optimizer and no DDP shall wait for a gradient.
    return nn.Parameter(value, requires_grad=len(value) > 0)
