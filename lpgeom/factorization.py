"""The record of an entrywise low-rank factorisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from lpgeom.results import Array, Certificate


@dataclass(frozen=True, eq=False)
class FactorResult:
    """Two factors ``left @ right`` of rank k near A, entry by entry.

    Attributes
    ----------
    left, right : ndarray, shapes (n, k) and (k, d), float64
        `right` has orthonormal rows.
    cost : float
        ``sum_ij omega_i |A - left @ right|_ij^p`` (a p-th power).
    norm_error : float
        ``cost^(1/p)``.
    lower_bound : float
        Proved: no B of rank k costs less. It comes from the rows objective and is loose, up to
        ``d^|1/p - 1/2|`` in norms. 0.0 when not certified.
    ratio : float
        ``(cost / lower_bound)^(1/p) >= 1``; inf when not certified.
    guarantee : float
        The a-priori ratio ``(kappa rank)^|1/p-1/2| d^|1/p-1/2|`` of the Lewis projection, which
        this one costs no more than.
    certificate : Certificate or None
        Of the rows objective, for `lower_bound`; ``certificate.verify(A)`` re-checks it.
    history : tuple of float
        Cheapest cost so far, step by step: it never rises.
    method : str
        ``"svd"``, ``"lewis"``, ``"rows"``, or ``"admm from ..."`` one of them.
    p, k, shape, n_iter, converged, seconds, svd_cost, seed
        As in `SubspaceResult`; `svd_cost` is the entrywise cost of the truncated SVD.
    """

    left: Array = field(repr=False)
    right: Array = field(repr=False)
    cost: float
    norm_error: float
    lower_bound: float
    ratio: float
    guarantee: float
    certificate: Certificate | None = field(repr=False)
    history: tuple[float, ...] = field(repr=False)
    method: str
    p: float
    k: int
    shape: tuple[int, int]
    n_iter: int
    converged: bool
    seconds: float
    svd_cost: float
    seed: int

    def summary(self) -> str:
        """A few lines of text: the problem, the cost, and how it is certified."""
        n, d = self.shape
        bound = (
            "none computed (certify=False)"
            if self.certificate is None
            else f"{self.lower_bound:.6g}  (ratio of norms {self.ratio:.4f})"
        )
        return "\n".join(
            (
                f"rank-{self.k} factors of {n} x {d}, p = {self.p:g}, entries",
                f"  cost         {self.cost:.6g}  (norm {self.norm_error:.6g}; "
                f"SVD's cost {self.svd_cost:.6g})",
                f"  lower bound  {bound}",
                f"  guarantee    {self.guarantee:.4g}  (a-priori ratio, theory 2)",
                f"  method       {self.method}: {self.n_iter} steps, {self.seconds:.2f} s"
                + ("" if self.converged else ", not converged"),
            )
        )

    def __repr__(self) -> str:
        return (
            f"FactorResult(k={self.k}, p={self.p:g}, shape={self.shape}, cost={self.cost:.6g}, "
            f"svd_cost={self.svd_cost:.6g}, method={self.method!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; inf is the string "inf")."""
        names = (
            "p", "k", "cost", "norm_error", "lower_bound", "ratio", "guarantee", "svd_cost",
            "method", "n_iter", "converged", "seconds", "seed",
        )  # fmt: skip
        values = {name: getattr(self, name) for name in names}
        values = {k: "inf" if v == math.inf else v for k, v in values.items()}
        return {"shape": list(self.shape), **values, "history": list(self.history)}
