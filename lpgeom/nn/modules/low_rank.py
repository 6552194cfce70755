"""Rows in groups, each with two factors of its own rank: what all modules in factors share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from lpgeom.io import validation
from lpgeom.nn.factors.groups import Factors, Pair
from lpgeom.nn.modules.compressed import Compressed


class LowRank(Compressed):
    """A matrix (n, d) in factors.

    Where all rows have the same right factor, row i is ``left[i] @ right``. Of several groups, row
    i is ``lefts[c][places[i]] @ rights[c]`` with c = ``labels[i]``: rows of a group of rank d are
    kept as they are, those of a group of rank 0 are zero.

    Attributes
    ----------
    left, right : Parameter, shapes (n, k) and (k, d)
        The factors where there is one group.
    lefts, rights : ParameterList of (n_c, k_c) and (k_c, d)
        The factors where there are several; in a group of rank d, the rows themselves and (0, d).
    labels : Tensor, shape (n,), uint8 or int32, or None
        The group of each row, a buffer; None if there is one.
    places : Tensor, shape (n,), int32, or None
        Which row of its group it is, a buffer.
    rank, subspaces : int
        The largest rank, and the number of groups.
    """

    how = "in factors"

    # Not the factors' types: torch.jit reads what stands here, and knows no Parameter.
    rank: int
    subspaces: int

    def _make_factors(
        self,
        n: int,
        d: int,
        rank: int | Sequence[int],
        subspaces: int,
        counts: Sequence[int] | None,
        device: Any,
        dtype: torch.dtype | None,
    ) -> None:
        """Empty factors.

        Rows are given to equal subspaces in turn; with `counts`, to one group after another.
        """
        options = {"device": device, "dtype": dtype}
        labels = None
        if counts is None:
            k = validation.check_positive_int("rank", rank)
            j = validation.check_positive_int("subspaces", subspaces)
            counts = [len(range(c, n, j)) for c in range(j)]
            ranks: Sequence[int] = [k if j == 1 else min(k, d)] * j
            if j > 1:
                labels = torch.arange(n, device=device) % j
        else:
            ranks = _checked_sizes(n, d, rank, counts)
            parts = [torch.full((n_c,), c, device=device) for c, n_c in enumerate(counts)]
            labels = torch.cat(parts)
        lefts = (torch.empty(n_c, k, **options) for n_c, k in zip(counts, ranks, strict=True))
        kept = d if labels is not None else 0  # the rank of rows that need no right factor
        rights = (torch.empty(0 if k == kept else k, d, **options) for k in ranks)
        self.take(Factors.grouped(lefts, rights, labels))

    def take(self, factors: Factors) -> None:
        """Use these factors as they are."""
        held: Any = factors.as_parameters()
        if factors.labels is None:
            (self.left,), (self.right,) = held.lefts, held.rights
        else:
            self.lefts = nn.ParameterList(held.lefts).train(self.training)
            self.rights = nn.ParameterList(held.rights).train(self.training)
        self.labels: Tensor | None
        self.places: Tensor | None
        self.register_buffer("labels", factors.labels)
        self.register_buffer("places", factors.places)
        self.rank, self.subspaces = factors.rank, len(factors.lefts)

    @property
    def factors(self) -> Factors:
        """All factors, and what says which row is where."""
        if self.labels is None:
            return Factors((self.left,), (self.right,))
        return Factors(tuple(self.lefts), tuple(self.rights), self.labels, self.places)

    @property
    def held(self) -> Factors:
        """The factors."""
        return self.factors

    @property
    def pairs(self) -> list[Pair]:
        """The factors of each group."""
        return self.factors.pairs

    @property
    def ranks(self) -> tuple[int, ...]:
        """k_c of each group; d where rows are kept as they are, 0 where they are zero."""
        return self.factors.ranks

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each group."""
        return self.factors.counts

    @property
    def weight(self) -> Tensor:
        """The dense matrix (n, d), multiplied out at each access."""
        rows = [pair.dense() for pair in self.pairs]
        return rows[0] if self.labels is None else torch.cat(rows).index_select(0, self._slots())

    def _slots(self) -> Tensor:
        """Where each row is if the groups are put one after another."""
        assert self.labels is not None
        assert self.places is not None
        starts = [0, *accumulate(len(left) for left in self.lefts)][:-1]
        start = torch.tensor(starts, device=self.labels.device)
        return self.places + start.index_select(0, self.labels.int())

    def learns(self) -> bool:
        """Whether a left factor asks for gradients."""
        return any(left.requires_grad for left in self.factors.lefts)

    def said(self) -> str:
        """The ranks, as print shows them."""
        ranks = self.ranks
        if len(set(ranks)) > 1:
            return f"ranks={ranks}, counts={self.counts}"
        return f"rank={ranks[0]}" + (f", subspaces={len(ranks)}" if len(ranks) > 1 else "")

    def __repr__(self) -> str:
        # In a line, also where the factors are lists.
        return f"{type(self).__name__}({self.extra_repr()})"

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Load, also what equal subspaces were stored as, and rows in groups of other sizes."""
        if self.labels is not None:
            if f"{prefix}left" in state_dict and f"{prefix}right" in state_dict:
                regroup(state_dict, prefix)
            values = [state_dict.get(f"{prefix}lefts.{c}") for c in range(self.subspaces)]
            if (
                all(isinstance(value, Tensor) and value.ndim == 2 for value in values)
                and tuple(value.shape[1] for value in values) == self.ranks
                and sum(len(value) for value in values) == len(self.labels)
            ):
                learns = self.learns()
                for pair, value in zip(self.pairs, values, strict=True):
                    if pair.left.shape != value.shape:
                        pair.left.data = pair.left.new_empty(value.shape)
                        pair.left.requires_grad_(learns and len(value) > 0)
        super()._load_from_state_dict(state_dict, prefix, *args)


def regroup(state: dict[str, Any], prefix: str) -> Factors:
    """Put groups of equal rank in the place of one left factor and a stack of right ones.

    So equal subspaces were stored before: `left` (n, k), `right` (j, k, d) and `labels`.

    Raises
    ------
    KeyError, ValueError
        Factors that are not there, or do not go together.
    """
    names = [f"{prefix}{name}" for name in ("left", "right", "labels")]
    made = Factors.checked(*(state[name] for name in names))
    for name in names:
        del state[name]
    state.update({f"{prefix}{name}": value for name, value in made.tensors().items()})
    return made


def _checked_sizes(n: int, d: int, ranks: Any, counts: Any) -> Sequence[int]:
    """The ranks of groups of these sizes.

    Raises
    ------
    TypeError, ValueError
        Where there are no such groups of n rows of length d.
    """
    for name, values in (("ranks", ranks), ("counts", counts)):
        sequence = isinstance(values, Sequence) and not isinstance(values, str)
        if not sequence or not all(type(value) is int for value in values):
            raise TypeError(f"{name} must be whole numbers, one for each group, got {values!r}")
    if len(ranks) < 1 or len(ranks) != len(counts):
        raise ValueError(f"ranks and counts must be as many, got {len(ranks)} and {len(counts)}")
    if not all(0 <= k <= d for k in ranks):
        raise ValueError(f"ranks must lie between 0 and {d}, got {tuple(ranks)}")
    if not all(0 <= n_c < 2**31 for n_c in counts):
        raise ValueError(f"counts must be at least 0 and below 2^31, got {tuple(counts)}")
    if sum(counts) != n:
        raise ValueError(f"counts must add up to {n} rows, got {sum(counts)}")
    return list(ranks)


def scale_of(k: int) -> float:
    """The standard deviation ``k^(-1/2)`` of a factor's entries, and 1 for k = 0."""
    return float(max(1, k)) ** -0.5
