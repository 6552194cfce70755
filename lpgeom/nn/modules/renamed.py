"""`MixedRankEmbedding` and `MixedRankLinear`, as they were called while they were classes of
their own: rows in groups are now those of `LowRankEmbedding` and `LowRankLinear`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lpgeom.nn.modules.embedding import LowRankEmbedding
from lpgeom.nn.modules.linear import LowRankLinear


class _Renamed(type):
    """A class whose calls make its successor, with the arguments in the order they had."""

    successor: Any

    def __call__(
        cls, first: int, second: int, ranks: Sequence[int], counts: Sequence[int], *args: Any,
        **options: Any,
    ) -> Any:  # fmt: skip
        return cls.successor(first, second, ranks, *args, counts=counts, **options)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.successor) and instance.labels is not None

    def from_factors(
        cls, lefts: Sequence[Tensor], rights: Sequence[Tensor | None], labels: Tensor, *args: Any,
        **options: Any,
    ) -> Any:  # fmt: skip
        """The successor's, with the labels in the third place."""
        return cls.successor.from_factors(lefts, rights, *args, labels=labels, **options)


class MixedRankEmbedding(metaclass=_Renamed):
    """`LowRankEmbedding` with rows in groups.

    .. deprecated:: 0.1
       Use ``LowRankEmbedding(n, d, ranks, counts=counts)``, and ``labels=`` in `from_factors`.
    """

    successor = LowRankEmbedding


class MixedRankLinear(metaclass=_Renamed):
    """`LowRankLinear` with output features in groups.

    .. deprecated:: 0.1
       Use ``LowRankLinear(d, n, ranks, counts=counts)``, and ``labels=`` in `from_factors`.
    """

    successor = LowRankLinear
