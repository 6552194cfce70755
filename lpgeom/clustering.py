"""The record of rows split among several subspaces, and its check."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.interchange import as_numpy
from lpgeom.results import Array, CertificateError, SubspaceResult, norm_ratio, to_cost_units

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

BLOCK = 4096
"""Rows of one block."""

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class ClusterResult:
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

    @property
    def subspaces(self) -> int:
        """How many there are: j."""
        return len(self.bases)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each label, shape (j,)."""
        return np.bincount(self.labels, minlength=self.subspaces)

    @property
    def failure_probability(self) -> float:
        """Of `lower_bound`: at most the sum over the subspaces; 0.0: it holds always."""
        found = (r.certificate for r in self.results if r is not None)
        return min(1.0, sum(c.failure_probability for c in found if c is not None))

    def factors(self, A: ArrayLike) -> tuple[Array, Array]:
        """``left[i] @ right[labels[i]]`` is row i: (n, k) and (j, k, d), n k + j d k numbers.

        Examples
        --------
        >>> import numpy as np, lpgeom
        >>> A = np.random.default_rng(0).standard_normal((50, 6))
        >>> found = lpgeom.approx_subspaces(A, 2, subspaces=3)
        >>> left, right = found.factors(A)
        >>> left.shape, right.shape
        ((50, 2), (3, 2, 6))
        """
        A = as_numpy(A, "A")
        if A.shape != self.shape:
            raise ValueError(f"A has shape {A.shape}; the result is for {self.shape}")
        left = np.empty((len(A), self.k))
        for c, V in enumerate(self.bases):
            index = np.flatnonzero(self.labels == c)
            left[index] = A[index] @ V
        return left, np.ascontiguousarray(self.bases.transpose(0, 2, 1))

    def verify(self, A: ArrayLike, *, rtol: float = 1e-9) -> None:
        """Recompute everything from A: labels, costs, and each certificate on the rows it is about.

        Parameters
        ----------
        A : array_like, shape (n, d)
        rtol : float
            Relative rounding slack between the two computations.

        Raises
        ------
        CertificateError
            If the parts do not fit together, a cost is not the stated one, the total is below what
            the certificates prove, or a certificate does not hold for the rows of its label.
        """
        A = as_numpy(A, "A")
        if A.shape != self.shape:
            raise CertificateError(f"the result is for shape {self.shape}, A has {A.shape}")
        self._check_parts()
        omega = self.row_weights
        lower = 0.0
        for c, result in enumerate(self.results):
            index = np.flatnonzero(self.labels == c)
            certificate = None if result is None else result.certificate
            if certificate is not None:
                self._check_certificate(c, index)
                certificate.verify(A[index], rtol=rtol)
                lower += certificate.lower_bound
                continue
            if result is not None and result.lower_bound > 0.0:
                raise CertificateError(f"label {c} has a lower bound and no certificate")
            weights = np.ones(index.size) if omega is None else omega[index]
            norm, slack = self._norm(A[index], weights, self.bases[c])
            stated = 0.0 if result is None else result.norm_error
            if not abs(stated - norm) <= rtol * norm + slack:
                raise CertificateError(
                    f"the rows of label {c} are stated to have norm error {stated!r}, "
                    f"recomputed {norm!r}"
                )
        if not self.lower_bound <= lower * (1.0 + rtol):
            raise CertificateError(
                f"lower bound stated as {self.lower_bound!r}; the certificates prove {lower!r}"
            )

    def _check_parts(self) -> None:
        """The parts agree with one another."""
        (n, d), j = self.shape, len(self.bases)
        labels = self.labels
        if labels.shape != (n,) or labels.dtype.kind not in "iu":
            raise CertificateError(f"labels are not {n} integers")
        if int(labels.min()) < 0 or int(labels.max()) >= j:
            raise CertificateError(f"labels are not all between 0 and {j - 1}")
        if self.bases.shape != (j, d, self.k) or len(self.results) != j:
            raise CertificateError(f"bases and results are not {j} of rank {self.k}")
        for c, V in enumerate(self.bases):
            defect = float(np.abs(V.T @ V - np.eye(self.k)).max())
            if not defect <= 1e-9:
                raise CertificateError(f"basis {c} is not orthonormal: off by {defect:.3g}")
        parts = [r for r in self.results if r is not None]
        total = float(sum(r.cost for r in parts))
        if total != self.cost and not math.isclose(total, self.cost, rel_tol=1e-12):
            raise CertificateError(f"cost is {self.cost!r}, its parts add up to {total!r}")
        norm = _p_norm([r.norm_error for r in parts], self.p)
        if not math.isclose(norm, self.norm_error, rel_tol=1e-12):
            raise CertificateError(f"norm error is {self.norm_error!r}, its parts make {norm!r}")
        if math.isfinite(self.cost) and self.ratio < norm_ratio(
            self.cost, self.lower_bound, self.p
        ) * (1.0 - 1e-9):
            raise CertificateError(f"ratio {self.ratio!r} is below (cost / lower bound)^(1/p)")
        if not self.cost <= self.single_cost:
            raise CertificateError(f"cost {self.cost!r} is above single_cost {self.single_cost!r}")
        falling = all(b <= a for a, b in zip(self.history, self.history[1:], strict=False))
        if not (self.history and falling and self.history[-1] == self.cost):
            raise CertificateError("history rises, or does not end in the cost")

    def _check_certificate(self, c: int, index: NDArray[np.intp]) -> None:
        """What is stated of one label is what its certificate states, about these rows."""
        result, omega = self.results[c], self.row_weights
        assert result is not None
        certificate = result.certificate
        assert certificate is not None
        if not (
            certificate.p == self.p
            and np.array_equal(certificate.basis, self.bases[c])
            and np.array_equal(result.basis, self.bases[c])
        ):
            raise CertificateError(f"the certificate of label {c} is about another subspace")
        theirs = certificate.row_weights
        if theirs is None or omega is None:
            same = theirs is None and omega is None
        else:
            same = np.array_equal(theirs, omega[index])
        if not same:
            raise CertificateError(f"the certificate of label {c} has other row weights")
        norm = to_cost_units(certificate.scaled_cost ** (1.0 / self.p), certificate.unit, 1.0)
        if not math.isclose(norm, result.norm_error, rel_tol=1e-9):
            raise CertificateError(
                f"label {c} states norm error {result.norm_error!r}, its certificate {norm!r}"
            )
        if result.lower_bound > certificate.lower_bound:
            raise CertificateError(f"label {c} states more than its certificate")

    def _norm(self, A: NDArray[Any], weights: Array, V: Array) -> tuple[float, float]:
        """The p-norm of the distances of some rows from residual vectors, and what rounding may
        hide: as for the rank of a matrix, ``max(n, d) eps`` times its norm, row by row."""
        y = np.zeros(len(A))
        frobenius = 0.0
        for lo in range(0, len(A), BLOCK):
            block = A[lo : lo + BLOCK].astype(np.float64)
            top = float(np.abs(block).max()) or 1.0
            block /= top
            residual = block - (block @ V) @ V.T
            y[lo : lo + BLOCK] = top * np.sqrt(np.einsum("ij,ij->i", residual, residual))
            frobenius = math.hypot(frobenius, top * float(np.linalg.norm(block)))
        root = weights ** (1.0 / self.p)
        off = max(len(A), self.shape[1]) * EPS * frobenius
        return _p_norm(root * y, self.p), _p_norm(root * off, self.p)

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
        lines.append(
            f"  method       {self.method}: {self.n_iter} rounds, {self.seconds:.2f} s"
            + ("" if self.converged else ", not converged")
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"ClusterResult(subspaces={self.subspaces}, k={self.k}, p={self.p:g}, "
            f"shape={self.shape}, cost={self.cost:.6g}, lower_bound={self.lower_bound:.6g}, "
            f"ratio={self.ratio:.6f}, method={self.method!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; inf as a string)."""
        names = (
            "subspaces", "k", "p", "cost", "norm_error", "lower_bound", "ratio",
            "failure_probability", "single_cost", "svd_cost", "method", "n_iter", "converged",
            "seconds", "seed",
        )  # fmt: skip
        values = {name: getattr(self, name) for name in names}
        return {
            "shape": list(self.shape),
            **{name: "inf" if value == math.inf else value for name, value in values.items()},
            "sizes": self.sizes.tolist(),
            "history": ["inf" if cost == math.inf else cost for cost in self.history],
            "results": [None if r is None else r.to_dict() for r in self.results],
        }


def _p_norm(x: Any, p: float) -> float:
    """``(sum x^p)^(1/p)`` for x >= 0, relative to the largest."""
    x = np.asarray(x, dtype=np.float64)
    top = float(x.max(initial=0.0))
    if top == 0.0 or math.isinf(top):
        return top
    return top * float(((x / top) ** p).sum()) ** (1.0 / p)
