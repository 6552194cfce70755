"""The record of rows split among several subspaces of one rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.records.grouping import Grouping
from lpgeom.records.subspace import (
    Array,
    CertificateError,
    SubspaceResult,
    norm_ratio,
    to_cost_units,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class ClusterResult(Grouping):
    """j subspaces of dimension k, and which of them stands for each row.

    Costs are p-th powers in user units, ratios are of norms.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        Row i is approximated in subspace ``labels[i]``.
    bases : ndarray, shape (j, d, k), float64
        An orthonormal basis of each subspace. One without rows has some basis.
    results : tuple of SubspaceResult or None
        For each subspace the result for the rows of its label alone, certificate included. None
        where there are no rows of positive weight.
    cost : float
        ``sum_i omega_i dist(a_i, V_labels[i])^p``: the sum of the costs in `results`.
    norm_error : float
        ``cost^(1/p)``; finite even where `cost` overflows.
    lower_bound : float
        The sum of the lower bounds in `results`. No choice of j subspaces of dimension k costs
        less *with these labels*; other labels may. 0.0 when not certified.
    ratio : float
        ``(cost / lower_bound)^(1/p) >= 1``; inf when not certified.
    single_cost : float
        What `approx_subspace` reaches with one subspace of dimension k: at least `cost`.
    svd_cost : float
        What the SVD's subspace of dimension k costs.
    history : tuple of float
        The least cost so far, from `single_cost` on, after each round and the last solves: never
        rises.
    p, k, shape
        The problem solved.
    method : str
        What the split came from: the start whose descent ended lowest, "single" where nothing beat
        one subspace, "rank" where one subspace holds all rows.
    n_iter : int
        Rounds of that descent.
    converged : bool
        Another round would bring less than the tolerance.
    seconds : float
    seed : int
    row_weights : ndarray, shape (n,), or None

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> result = lpgeom.approx_clusters(A, 1, subspaces=2)
    >>> result.bases.shape, result.cost <= result.single_cost
    ((2, 5, 1), True)
    """

    labels: NDArray[np.int64] = field(repr=False)
    bases: Array = field(repr=False)
    results: tuple[SubspaceResult | None, ...] = field(repr=False)
    cost: float
    norm_error: float
    lower_bound: float
    ratio: float
    single_cost: float
    svd_cost: float
    history: tuple[float, ...] = field(repr=False)
    p: float
    k: int
    shape: tuple[int, int]
    method: str
    n_iter: int
    converged: bool
    seconds: float
    seed: int
    row_weights: Array | None = field(default=None, repr=False)

    _WORD = "label"

    def _groups(self) -> Sequence[tuple[Array, SubspaceResult | None]]:
        return list(zip(self.bases, self.results, strict=False))

    def factors(self, A: ArrayLike) -> tuple[Array, Array]:
        """``left[i] @ right[labels[i]]`` is row i: (n, k) and (j, k, d), n k + j d k numbers.

        Examples
        --------
        >>> import numpy as np, lpgeom
        >>> A = np.random.default_rng(0).standard_normal((50, 6))
        >>> found = lpgeom.approx_clusters(A, 2, subspaces=3)
        >>> left, right = found.factors(A)
        >>> left.shape, right.shape
        ((50, 2), (3, 2, 6))
        """
        A = self._data(A)
        left = np.empty((len(A), self.k))
        for c, V in enumerate(self.bases):
            index = np.flatnonzero(self.labels == c)
            left[index] = A[index] @ V
        return left, np.ascontiguousarray(self.bases.transpose(0, 2, 1))

    def _proved(self, c: int, A: NDArray[Any], index: NDArray[np.intp], rtol: float) -> float:
        result = self.results[c]
        certificate = None if result is None else result.certificate
        if result is not None and certificate is not None:
            self._check_certificate(c, index)
            norm = to_cost_units(certificate.scaled_cost ** (1.0 / self.p), certificate.unit, 1.0)
            if not np.array_equal(result.basis, self.bases[c]):
                raise CertificateError(f"the result of label {c} is about another subspace")
            if not math.isclose(norm, result.norm_error, rel_tol=1e-9):
                raise CertificateError(
                    f"label {c} states norm error {result.norm_error!r}, its certificate {norm!r}"
                )
            if result.lower_bound > certificate.lower_bound:
                raise CertificateError(f"label {c} states more than its certificate")
            certificate.verify(A, rtol=rtol)
            return certificate.lower_bound
        if result is not None and result.lower_bound > 0.0:
            raise CertificateError(f"label {c} has a lower bound and no certificate")
        self._check_norm(c, 0.0 if result is None else result.norm_error, A, index, rtol)
        return 0.0

    def _check_parts(self) -> None:
        d, j = self.shape[1], len(self.bases)
        if self.bases.shape != (j, d, self.k) or len(self.results) != j:
            raise CertificateError(f"bases and results are not {j} of rank {self.k}")
        self._check_labels()
        self._check_bases()
        parts = [r for r in self.results if r is not None]
        self._check_sums(float(sum(r.cost for r in parts)), [r.norm_error for r in parts])
        least = norm_ratio(self.cost, self.lower_bound, self.p) * (1.0 - 1e-9)
        if math.isfinite(self.cost) and self.ratio < least:
            raise CertificateError(f"ratio {self.ratio!r} is below (cost / lower bound)^(1/p)")

    def summary(self) -> str:
        """A few lines of text: the problem, the cost, and how it is certified."""
        n, d = self.shape
        sizes = self.sizes
        bound = "none computed (certify=False)"
        if any(r is not None and r.certificate is not None for r in self.results):
            bound = (
                f"{self.lower_bound:.6g}  for every choice of {self.subspaces} subspaces under "
                "these labels"
            )
        lines = [
            f"{self.subspaces} subspaces of rank {self.k} for {n} x {d} rows, p = {self.p:g}",
            f"  cost         {self.cost:.6g}  (one subspace {self.single_cost:.6g}, "
            f"SVD {self.svd_cost:.6g})",
            f"  lower bound  {bound}",
        ]
        if math.isfinite(self.ratio):
            lines.append(f"  ratio        {self.ratio:.6f}  (of norms; under these labels)")
        lines.append(f"  sizes        {int(sizes.min())} to {int(sizes.max())} rows")
        lines.append(self._said_of_method())
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"ClusterResult(subspaces={self.subspaces}, k={self.k}, p={self.p:g}, "
            f"shape={self.shape}, cost={self.cost:.6g}, lower_bound={self.lower_bound:.6g}, "
            f"ratio={self.ratio:.6f}, method={self.method!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; inf as a string)."""
        return self._plain(
            "subspaces", "k", "p", "cost", "norm_error", "lower_bound", "ratio",
            "failure_probability", "single_cost", "svd_cost", "method", "n_iter", "converged",
            "seconds", "seed",
        )  # fmt: skip
