"""The record of rows split among subspaces of different ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.records.grouping import LARGEST, TINY, Grouping, p_norm
from lpgeom.records.subspace import Array, CertificateError, SubspaceResult, to_cost_units

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["LARGEST", "MixedResult", "Part", "p_norm"]


@dataclass(frozen=True, eq=False)
class Part:
    """One group of rows and its subspace.

    Attributes
    ----------
    basis : ndarray, shape (d, k)
        Orthonormal; the identity where the rows are kept as they are, no columns where they become
        zero.
    cost, norm_error, lower_bound, ratio, svd_cost : float
        Of this group's rows alone, as in `SubspaceResult`. Without a `result` they are exact.
    result : SubspaceResult or None
        None for ranks 0 and d, and where no row has a positive weight.
    """

    basis: Array = field(repr=False)
    cost: float
    norm_error: float
    lower_bound: float
    ratio: float
    svd_cost: float
    result: SubspaceResult | None = field(default=None, repr=False)

    @property
    def rank(self) -> int:
        """k."""
        return int(self.basis.shape[1])

    @classmethod
    def of(cls, result: SubspaceResult) -> Part:
        """What `approx_subspace` found."""
        return cls(
            result.basis, result.cost, result.norm_error, result.lower_bound, result.ratio,
            result.svd_cost, result,
        )  # fmt: skip

    @classmethod
    def free(cls, basis: Array) -> Part:
        """Rows that cost nothing."""
        return cls(basis, 0.0, 0.0, 0.0, 1.0, 0.0)

    @classmethod
    def zero(cls, d: int, cost: float, norm: float) -> Part:
        """Rows that become zero."""
        return cls(np.empty((d, 0)), cost, norm, cost, 1.0, cost)


@dataclass(frozen=True, eq=False)
class MixedResult(Grouping):
    """Subspaces of different ranks, and which of them stands for each row.

    Costs are p-th powers in user units, ratios are of norms.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        Row i is approximated in the subspace of part ``labels[i]``.
    parts : tuple of Part
        For each label the basis, the cost and the certificate for its rows alone.
    cost : float
        ``sum_i omega_i dist(a_i, V_labels[i])^p``.
    norm_error : float
        ``cost^(1/p)``; finite even where `cost` overflows.
    lower_bound : float
        The sum of the parts'. No choice of subspaces of these ranks costs less *with these labels*;
        other labels or ranks may.
    ratio : float
        ``(cost / lower_bound)^(1/p) >= 1``; inf when not certified.
    budget, storage : int
        Numbers allowed, and those that `factors` has: at most the budget.
    single_rank, single_cost, svd_cost : int, float, float
        The rank of one subspace for all rows within the budget, what `approx_subspace` reaches with
        it (at least `cost`), and what the SVD of that rank costs.
    history : tuple of float
        The least cost so far after each round, from `single_cost` on: never rises.
    p, shape, method, n_iter, converged, seconds, seed, row_weights
        As in `ClusterResult`; method "single": nothing beat one subspace.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> result = lpgeom.approx_mixed(A, 200)
    >>> result.storage <= 200, result.cost <= result.single_cost
    (True, True)
    """

    labels: NDArray[np.int64] = field(repr=False)
    parts: tuple[Part, ...] = field(repr=False)
    cost: float
    norm_error: float
    lower_bound: float
    ratio: float
    budget: int
    storage: int
    single_rank: int
    single_cost: float
    svd_cost: float
    history: tuple[float, ...] = field(repr=False)
    p: float
    shape: tuple[int, int]
    method: str
    n_iter: int
    converged: bool
    seconds: float
    seed: int
    row_weights: Array | None = field(default=None, repr=False)

    _WORD = "part"

    def _groups(self) -> Sequence[tuple[Array, SubspaceResult | None]]:
        return [(part.basis, part.result) for part in self.parts]

    @property
    def ranks(self) -> tuple[int, ...]:
        """k of each."""
        return tuple(part.rank for part in self.parts)

    @property
    def bases(self) -> tuple[Array, ...]:
        """An orthonormal (d, k) for each."""
        return tuple(part.basis for part in self.parts)

    @property
    def results(self) -> tuple[SubspaceResult | None, ...]:
        """The result of each that has one; ranks 0 and d need none."""
        return tuple(part.result for part in self.parts)

    def factors(self, A: ArrayLike) -> tuple[tuple[Array, ...], tuple[Array | None, ...]]:
        """What is stored: for each part (n_c, k_c) and (k_c, d), rows of a label in their order.

        The right factor is None where the rows are kept as they are.

        Examples
        --------
        >>> import numpy as np, lpgeom
        >>> A = np.random.default_rng(0).standard_normal((50, 6))
        >>> found = lpgeom.approx_mixed(A, 200, subspaces=3)
        >>> lefts, rights = found.factors(A)
        >>> sum(x.size for x in (*lefts, *rights) if x is not None) == found.storage
        True
        """
        A = self._data(A)
        lefts, rights = [], []
        for c, part in enumerate(self.parts):
            rows = A[self.labels == c].astype(np.float64)
            kept = part.rank == self.shape[1]
            lefts.append(rows if kept else rows @ part.basis)
            right = part.basis.T if len(rows) else part.basis.T[:0]
            rights.append(None if kept else np.ascontiguousarray(right))
        return tuple(lefts), tuple(rights)

    def _proved(self, c: int, A: NDArray[Any], index: NDArray[np.intp], rtol: float) -> float:
        part = self.parts[c]
        self._check_norm(c, part.norm_error, A, index, rtol)
        certificate = None if part.result is None else part.result.certificate
        proved = part.cost if part.rank == 0 else 0.0  # recomputed above
        if certificate is not None:
            self._check_certificate(c, index)
            certificate.verify(A, rtol=rtol)
            proved = certificate.lower_bound
        if not part.lower_bound <= proved:
            raise CertificateError(
                f"part {c} states the lower bound {part.lower_bound!r}, proved is {proved!r}"
            )
        return proved

    def _check_parts(self) -> None:
        n, d = self.shape
        self._check_labels()
        for c, part in enumerate(self.parts):
            V = part.basis
            if V.ndim != 2 or V.shape[0] != d or V.shape[1] > d:
                raise CertificateError(f"basis {c} has shape {V.shape}")
        self._check_bases()
        stored = 0
        for c, (part, m) in enumerate(zip(self.parts, self.sizes.tolist(), strict=True)):
            stored += m * d if part.rank == d else part.rank * (m + d) if m else 0
            self._check_figures(f"part {c}", part)
        if not stored == self.storage <= self.budget:
            raise CertificateError(
                f"storage is stated as {self.storage}, counted {stored}; budget {self.budget}"
            )
        self._check_figures("the whole", self)
        total = min(float(sum(part.cost for part in self.parts)), LARGEST)
        self._check_sums(total, [part.norm_error for part in self.parts])
        omega = self.row_weights
        if omega is not None and not (omega.shape == (n,) and (omega >= 0.0).all()):
            raise CertificateError(f"row weights are not {n} numbers >= 0")

    def _check_figures(self, name: str, stated: Part | MixedResult) -> None:
        """Cost, norm error, lower bound and ratio say the same; powers that leave float64 aside."""
        cost = min(to_cost_units(1.0, stated.norm_error, self.p), LARGEST)
        if not math.isclose(min(stated.cost, LARGEST), cost, rel_tol=1e-9 * self.p, abs_tol=TINY):
            raise CertificateError(
                f"{name} is stated to cost {stated.cost!r}, its norm error {stated.norm_error!r}"
            )
        proved = to_cost_units(1.0 - 1e-9, stated.norm_error / max(stated.ratio, 1.0), self.p)
        if not (stated.ratio >= 1.0 and min(proved, LARGEST) <= stated.lower_bound + TINY):
            raise CertificateError(
                f"{name}: ratio {stated.ratio!r} is not that of cost and lower bound"
            )

    def summary(self) -> str:
        """A few lines of text: the problem, the cost, and how it is certified."""
        n, d = self.shape
        lines = [
            f"{self.subspaces} subspaces for {n} x {d} rows, p = {self.p:g}, {self.storage} "
            f"numbers of {self.budget} allowed",
            f"  ranks        {', '.join(map(str, self.ranks))}",
            f"  rows         {', '.join(map(str, self.sizes.tolist()))}",
            f"  cost         {self.cost:.6g}  (one subspace of rank {self.single_rank} "
            f"{self.single_cost:.6g}, SVD {self.svd_cost:.6g})",
        ]
        if math.isfinite(self.ratio):
            lines.append(f"  lower bound  {self.lower_bound:.6g}  under these labels and ranks")
            lines.append(f"  ratio        {self.ratio:.6f}  (of norms)")
        else:
            lines.append("  lower bound  none computed (certify=False)")
        lines.append(self._said_of_method())
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"MixedResult(ranks={self.ranks}, p={self.p:g}, shape={self.shape}, "
            f"storage={self.storage}, cost={self.cost:.6g}, lower_bound={self.lower_bound:.6g}, "
            f"ratio={self.ratio:.6f}, method={self.method!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; inf as a string)."""
        values = self._plain(
            "subspaces", "budget", "storage", "p", "cost", "norm_error", "lower_bound", "ratio",
            "failure_probability", "single_rank", "single_cost", "svd_cost", "method", "n_iter",
            "converged", "seconds", "seed",
        )  # fmt: skip
        return values | {"ranks": list(self.ranks)}
