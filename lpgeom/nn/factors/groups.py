"""Rows in groups, each with factors of its own rank: row i is a row of ``lefts[c] @ rights[c]``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpgeom.nn.factors.held import Held

PLACES = torch.int32


@dataclass
class Pair:
    """The factors of one group of rows: ``left @ right``, or `left` itself where rows are kept.

    Modules ask nothing else of a group's numbers. Factors that are kept in another way, in a few
    bits for instance, take this class's place by answering the same: `looked_up`, `rows`, `times`
    and `dense`.

    Attributes
    ----------
    left : Tensor, shape (n_c, k_c)
        Where rows are kept, the rows themselves: k_c = d.
    right : Tensor, shape (k_c, d)
        Where rows are kept, which needs none, (0, d).
    """

    left: Tensor
    right: Tensor

    @property
    def kept(self) -> bool:
        """Whether the rows are kept as they are."""
        return self.right.shape[0] < self.left.shape[1]

    def looked_up(self, at: Tensor, padding: int | None = None, **options: bool) -> Tensor:
        """Rows of the left factor, as `torch.nn.functional.embedding` gives them."""
        return F.embedding(at, self.left, padding, **options)

    def rows(self, inner: Tensor) -> Tensor:
        """Rows of the left factor (m, k_c) to rows of the table (m, d)."""
        # In autocast a product is of another dtype than rows that are kept.
        return inner if self.kept else torch.matmul(inner, self.right).to(inner.dtype)

    def times(self, x: Tensor) -> Tensor:
        """``x W^T`` for these rows W: (..., d) to (..., n_c)."""
        return F.linear(x if self.kept else F.linear(x, self.right), self.left)

    def dense(self) -> Tensor:
        """The rows multiplied out, (n_c, d)."""
        return self.left if self.kept else self.left @ self.right


@dataclass(eq=False)
class Factors(Held):
    """The factors of a matrix (n, d), as a module holds them.

    Attributes
    ----------
    lefts, rights : tuple of Tensor
        One of each for every group, as a `Pair` has them.
    labels : Tensor, shape (n,), uint8 or int32, or None
        The group of each row; None: there is one group, with all rows in their order.
    places : Tensor, shape (n,), int32, or None
        Which row of its group it is.
    """

    lefts: tuple[Tensor, ...]
    rights: tuple[Tensor, ...]
    labels: Tensor | None = None
    places: Tensor | None = None

    form = "factors"

    @staticmethod
    def checked(
        left: Tensor | Sequence[Tensor],
        right: Tensor | Sequence[Tensor | None],
        labels: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Factors:
        """Factors that go together: of one group, of equal subspaces, or of each group.

        Parameters
        ----------
        left, right : Tensor or sequence of Tensor
            (n, k) and (k, d); with labels (n, k) and (j, k, d), which are split; or one of each for
            every group, where None stands for the right factor of a group of rank d or 0.
        labels, places : Tensor, optional
            Without places, rows of a group are in the order in which their labels come.

        Raises
        ------
        ValueError
            Shapes or dtypes that do not go together, labels or places out of range.
        """
        if isinstance(left, Tensor) and isinstance(right, Tensor):
            _check_equal(left, right, labels)
            if labels is None:
                return Factors((left,), (right,))
            kept = right.shape[1] >= right.shape[2]  # then the rows are multiplied out
            pairs = [Pair(left[labels == c], R.contiguous()) for c, R in enumerate(right)]
            return Factors.grouped(
                (pair.dense() if kept else pair.left for pair in pairs),
                (pair.right[:0] if kept else pair.right for pair in pairs),
                labels,
            )
        if labels is None:
            raise ValueError("factors of several groups go with labels")
        rights = _checked_rights(left, right, labels, places)
        return Factors.grouped(left, rights, labels, places)

    @staticmethod
    def grouped(
        lefts: Iterable[Tensor],
        rights: Iterable[Tensor],
        labels: Tensor | None,
        places: Tensor | None = None,
    ) -> Factors:
        """Factors of each group; the rows of one are in their order if no places are given."""
        made = Factors(tuple(lefts), tuple(rights))
        if labels is not None:
            j = len(made.lefts)
            made.labels = labels.to(label_dtype(j))
            made.places = places_of(labels, j) if places is None else places.to(PLACES)
        return made

    @property
    def pairs(self) -> list[Pair]:
        """The factors of each group."""
        return [Pair(left, right) for left, right in zip(self.lefts, self.rights, strict=True)]

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d) of the matrix."""
        return sum(self.counts), self.rights[0].shape[1]

    @property
    def ranks(self) -> tuple[int, ...]:
        """k_c of each group: d where rows are kept as they are, 0 where they are zero."""
        return tuple(left.shape[1] for left in self.lefts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of rows of each group."""
        return tuple(left.shape[0] for left in self.lefts)

    @property
    def rank(self) -> int:
        """The largest rank of a group, 1 at least."""
        return max(1, *self.ranks)

    @property
    def first(self) -> Tensor:
        """The first left factor."""
        return self.lefts[0]

    @property
    def sizes(self) -> dict[str, Any]:
        """The options `rank` and `counts` that make a module of these sizes."""
        if self.labels is None:
            return {"rank": self.rank, "counts": None}
        return {"rank": self.ranks, "counts": self.counts}

    @property
    def outline(self) -> dict[str, Any]:
        """The number of groups, and where there are several their ranks and counts."""
        plain = self.labels is None
        groups = {} if plain else {"ranks": self.ranks, "counts": self.counts}
        return {"subspaces": len(self.lefts), **groups}

    @property
    def parameters(self) -> int:
        """How many numbers the factors have."""
        return sum(x.numel() for x in (*self.lefts, *self.rights))

    def tensors(self) -> dict[str, Tensor]:
        """What is stored, by the names it has in a module."""
        if self.labels is None or self.places is None:
            return {"left": self.lefts[0], "right": self.rights[0]}
        named = {f"lefts.{c}": left for c, left in enumerate(self.lefts)}
        named |= {f"rights.{c}": right for c, right in enumerate(self.rights)}
        return named | {"labels": self.labels, "places": self.places}

    def without_data(self) -> Factors:
        """The same on the meta device."""
        sides = (tuple(x.to("meta") for x in side) for side in (self.lefts, self.rights))
        index = (x if x is None else x.to("meta") for x in (self.labels, self.places))
        return Factors(*sides, *index)

    def as_parameters(self, grad: bool = True) -> Factors:
        """The same with Parameters; what is one stays itself, so that what is shared stays so.

        Where there is nothing to learn no optimizer and no DDP shall wait for a gradient.
        """
        lefts, rights = (
            tuple(_parameter(x, grad) for x in side) for side in (self.lefts, self.rights)
        )
        return Factors(lefts, rights, self.labels, self.places)


def _parameter(value: Tensor, grad: bool) -> nn.Parameter:
    if isinstance(value, nn.Parameter):
        return value
    return nn.Parameter(value, requires_grad=grad and len(value) > 0)


def label_dtype(groups: int) -> torch.dtype:
    """The smallest integer type for that many labels."""
    return torch.uint8 if groups <= 256 else torch.int32


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


def _check_equal(left: Tensor, right: Tensor, labels: Tensor | None) -> None:
    """Raise a ValueError unless factors of one rank go together."""
    dims = 2 if labels is None else 3
    if left.ndim != 2 or right.ndim != dims or left.shape[1] != right.shape[-2]:
        raise ValueError(
            f"left must be (n, k) and right {'(k, d)' if dims == 2 else '(j, k, d)'}; got "
            f"{tuple(left.shape)} and {tuple(right.shape)}"
        )
    _check_dtypes((left, right))
    if left.shape[1] < 1:
        raise ValueError("the factors must have rank 1 at least, got 0")
    if labels is not None:
        if len(right) < 2:
            raise ValueError(f"labels go with two subspaces or more, got factors of {len(right)}")
        _check_index("labels", labels, len(left), len(right))


def _checked_rights(
    lefts: Sequence[Tensor],
    rights: Sequence[Tensor | None],
    labels: Tensor,
    places: Tensor | None,
) -> tuple[Tensor, ...]:
    """The right factors of groups that go together, (0, d) for None; else a ValueError."""
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
    _check_dtypes([x for x in (*lefts, *rights) if x is not None])
    shapes = [None if right is None else tuple(right.shape) for right in rights]
    for c, (left, got) in enumerate(zip(lefts, shapes, strict=True)):
        k = left.shape[1]
        if got not in ([None, (0, d)] if k in (0, d) else [(k, d)]):
            raise ValueError(
                f"group {c}: left must be (n_c, k) and right (k, {d}), or None for k = {d} and "
                f"k = 0; got {tuple(left.shape)} and {got}"
            )
    counts = [len(left) for left in lefts]
    _check_index("labels", labels, sum(counts), len(lefts))
    if places is not None:
        _check_index("places", places, sum(counts), None)
    if not labels.is_meta:
        found = torch.bincount(labels.long(), minlength=len(lefts)).tolist()
        if found != counts:
            raise ValueError(f"labels give the groups {found} rows, the left factors {counts}")
        if places is not None and not are_places(labels, places, counts):
            raise ValueError("places must number the rows of each group, from 0")
    both = zip(lefts, rights, strict=True)
    return tuple(left.new_empty(0, d) if right is None else right for left, right in both)


def _check_dtypes(factors: Sequence[Tensor]) -> None:
    dtypes = {x.dtype for x in factors}
    if len(dtypes) > 1 or not factors[0].dtype.is_floating_point:
        raise ValueError(
            f"the factors must have one floating dtype, got {', '.join(sorted(map(str, dtypes)))}"
        )


def _check_index(name: str, values: Tensor, n: int, j: int | None) -> None:
    """Raise a ValueError unless these are n integers, below j where it is given."""
    if values.shape != (n,) or values.dtype.is_floating_point or values.dtype == torch.bool:
        raise ValueError(
            f"{name} must be {n} integers, got shape {tuple(values.shape)}, {values.dtype}"
        )
    if j is None or values.is_meta or not n:
        return
    if not 0 <= int(values.min()) <= int(values.max()) < j:
        raise ValueError(f"{name} must lie between 0 and {j - 1}")
