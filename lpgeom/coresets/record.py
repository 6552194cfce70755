"""``Coreset``: some rows with weights, where they came from, and what is proved of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Provenance:
    """What is proved of a coreset (docs/coresets.md).

    Attributes
    ----------
    theorem : str
        The section of docs/coresets.md that proves it; ``"exact"`` when every row was kept,
        ``"none"`` for sampling that is there for comparison.
    eps : float
        ``|cost of the coreset - cost of the data| <= eps * cost of the data`` for every subspace at
        once; inf where no such statement is proved. Above 1 it bounds the cost from above only.
    eps_fixed : float
        The same for one subspace (of rank k at most, where k was given) that does not depend on
        the draw.
    failure_probability : float
        How likely each of the two statements fails, over the draw; 0.0: it always holds.
    sensitivity : float
        The bound on the total sensitivity that both rest on; nan without one.
    distortion : float
        Every subspace's cost on the coreset lies within this factor of its cost on the data,
        above and below; ``1 / (1 - eps)`` where eps < 1.
    """

    theorem: str
    eps: float
    eps_fixed: float
    failure_probability: float
    sensitivity: float = math.nan
    distortion: float = math.inf

    @classmethod
    def within(
        cls, theorem: str, eps: float, eps_fixed: float, delta: float, total: float = math.nan
    ) -> Provenance:
        """What a relative error proves, with failure probability delta."""
        distortion = 1.0 / (1.0 - eps) if eps < 1.0 else math.inf
        return cls(theorem, eps, eps_fixed, delta, total, distortion)

    @property
    def statement(self) -> str:
        """What is proved, as a sentence."""
        if self.theorem == "exact":
            return "every row is there: costs are those of the data"
        if self.theorem == "none":
            return "no bound: sampled for comparison"
        sure = (
            "always"
            if self.failure_probability == 0.0
            else f"with probability >= 1 - {self.failure_probability:.2g}"
        )
        parts = []
        if self.eps < 1.0:
            parts.append(f"within {self.eps:.3g} of the cost of every subspace")
        elif math.isfinite(self.distortion):
            parts.append(f"within a factor {self.distortion:.3g} of the cost of every subspace")
        if self.eps_fixed < min(1.0, self.eps):
            parts.append(f"within {self.eps_fixed:.3g} for any one subspace fixed beforehand")
        if not parts:
            return "nothing: too few rows for the theorem, or too ill-conditioned for float64"
        return f"{'; '.join(parts)}; {sure} ({self.theorem})"


@dataclass(frozen=True, eq=False)
class Coreset:
    """Weighted rows that stand for all rows: ``sum_j weights_j ||rows_j - rows_j V V^T||^p``.

    Attributes
    ----------
    rows : ndarray, shape (s, d), float32 or float64
        Rows of the data, unchanged; s is at most `size`, as rows drawn twice are there once.
    weights : ndarray, shape (s,), float64
        > 0, in units of the data's row weights: pass them on as `row_weights`.
    indices : ndarray, shape (s,), int64
        Where the rows stood, ascending.
    p : float
    k : int or None
        The largest rank the coreset was made for; None: every rank.
    shape : tuple of int
        (n, d) of the data.
    size : int
        Rows asked for (the number of draws).
    method : str
    seed : int
    provenance : Provenance
        What is proved of it.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((500, 5))
    >>> c = lpgeom.coreset(A, size=100)
    >>> len(c) <= 100, c.shape, bool((c.rows == A[c.indices]).all())
    (True, (500, 5), True)
    """

    rows: NDArray[Any] = field(repr=False)
    weights: Array = field(repr=False)
    indices: NDArray[np.int64] = field(repr=False)
    p: float
    k: int | None
    shape: tuple[int, int]
    size: int
    method: str
    seed: int
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        n, d = self.shape
        rank = "" if self.k is None else f", k={self.k}"
        return (
            f"Coreset({len(self)} of {n} x {d} rows, p={self.p:g}{rank}, method={self.method!r}: "
            f"{self.provenance.statement})"
        )


def unpacked(A: Any, k: Any, p: Any, row_weights: Any) -> tuple[Any, Any, Any, str]:
    """``(A, p, row_weights, source)`` for a solver: what a coreset holds, and words for it.

    Data pass through, with p = 1 where none is given, and no words.

    Raises
    ------
    ValueError
        A coreset made for another p or for smaller ranks; row weights beside its own.
    """
    if not isinstance(A, Coreset):
        return A, 1.0 if p is None else p, row_weights, ""
    if row_weights is not None:
        raise ValueError("a coreset has weights of its own; give row_weights to lpgeom.coreset")
    if p is not None and p != A.p:
        raise ValueError(f"the coreset was made for p = {A.p:g}, not for p = {p!r}")
    if isinstance(k, int):
        check_rank(A, k)
    return A.rows, A.p, A.weights, f" on a coreset of {len(A)} of {A.shape[0]} rows"


def check_rank(A: Any, k: int) -> None:
    """ValueError for a coreset made for smaller ranks; data pass."""
    if isinstance(A, Coreset) and A.k is not None and k > A.k:
        raise ValueError(f"the coreset was made for ranks up to {A.k}, not for k = {k}")
