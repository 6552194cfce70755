"""What is asked of a weight, the distance it is asked in, and the factors that come back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lpgeom.records.subspace import Array

FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Dtypes of weights that have factors."""


@dataclass(frozen=True)
class Spec:
    """What is minimised for each weight."""

    p: float = 1.0
    objective: str = "rows"
    subspaces: int = 1
    ranks: str = "equal"
    certify: bool | str = True
    seed: int = 0


@dataclass(frozen=True)
class Metric:
    """A layer's own distance between weights: ``||(a - b) root||``.

    Attributes
    ----------
    root, inverse : ndarray, shape (d, d)
        Symmetric square root of the inputs' second moment, and its inverse.
    note : str
    """

    root: Array
    inverse: Array
    note: str = ""


@dataclass(frozen=True)
class Factored:
    """Factors (n, k) and (k, d) or (j, k, d), as stored, and what is proved of them.

    Costs are p-th powers in the weight's own units (those of `Metric`, where there is one); `size`
    is what approximation by zero costs. With ranks of their own the groups' factors are in `lefts`
    and `rights`, as a `MixedRank` module has them, the largest rank first.
    """

    left: Tensor
    right: Tensor
    labels: Tensor | None
    cost: float
    lower_bound: float | None
    svd_cost: float | None
    failure_probability: float
    method: str
    note: str = ""
    size: float = 0.0
    singular_values: tuple[float, ...] = ()
    lefts: tuple[Tensor, ...] = ()
    rights: tuple[Tensor, ...] = ()
    places: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """What is stored, by the names it has in a module."""
        if self.lefts:
            named = {f"lefts.{c}": left for c, left in enumerate(self.lefts)}
            named |= {f"rights.{c}": right for c, right in enumerate(self.rights)}
        else:
            named = {"left": self.left, "right": self.right}
        index = {"labels": self.labels, "places": self.places}
        return named | {name: value for name, value in index.items() if value is not None}

    @property
    def parameters(self) -> int:
        """Numbers in the factors."""
        return sum(x.numel() for x in self.tensors().values() if x.is_floating_point())

    @property
    def nbytes(self) -> int:
        """Of the factors and of what says which row is where."""
        return sum(x.nbytes for x in self.tensors().values())
