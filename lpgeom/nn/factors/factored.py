"""What is asked of a weight, the distance it is asked in, and the factors that come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from lpgeom.nn.factors.held import Held
from lpgeom.records.subspace import Array

FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Dtypes of weights that have factors."""


@dataclass(frozen=True)
class Metric:
    """A layer's own distance between weights: ``||(a - b) root||``.

    Attributes
    ----------
    root, inverse : ndarray, shape (d, d)
        Symmetric square root of the inputs' second moment, and its inverse.
    note : str
    mean : ndarray, shape (d,), or None
        The inputs' mean, where the layer has a bias of its own: the mean of an output's error can
        then be taken off.
    """

    root: Array
    inverse: Array
    note: str = ""
    mean: Array | None = None

    @cached_property
    def spread(self) -> Array:
        """The second moment about the mean, or about 0 where there is none."""
        moment = self.root @ self.root.T
        return moment if self.mean is None else moment - np.outer(self.mean, self.mean)


@dataclass(frozen=True)
class Spec:
    """What is minimised for each weight: how much its rows count and in which metric, too."""

    p: float = 1.0
    objective: str = "rows"
    subspaces: int = 1
    ranks: str = "equal"
    certify: bool | str = True
    seed: int = 0
    row_weights: Array | None = field(default=None, repr=False)
    metric: Metric | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Proved:
    """What a solver says of the factors it found, in costs of the weight's own units.

    Costs are p-th powers, in the units of `Metric` where there is one.
    """

    lower_bound: float | None
    svd_cost: float | None
    failure_probability: float
    method: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Factored(Proved):
    """What a weight becomes, as it is stored, and what is proved of it.

    `size` is what approximation by zero costs. Groups with ranks of their own have the largest rank
    first. The other fields are called as those of a `LayerReport`.
    """

    factors: Held
    cost: float
    size: float
    spectrum: tuple[float, ...]
    truncation_cost: float | None = None
    int8_cost: float | None = None
    int4_cost: float | None = None
