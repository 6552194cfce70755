"""The records of an entrywise low-rank factorisation: factors, bounds, certificate."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.records.certified import Certified, Proved, plain, to_cost_units
from lpgeom.records.subspace import Array, Certificate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class EntriesBlock:
    """A lower bound for the entries in some columns, from the rows objective on these.

    Attributes
    ----------
    indices : ndarray of int
        The columns J; in a bound with axis "columns", rows.
    certificate : Certificate
        For the rows objective on ``A[:, J]`` (on ``A[J].T``), missing entries being 0, with row
        weights at most ``min over J of omega_ij``.
    """

    indices: NDArray[np.intp] = field(repr=False)
    certificate: Certificate

    def scaled_value(self, unit: float) -> float:
        """What it adds to a bound whose scaled norm 1 stands for `unit`."""
        best = self.certificate.best
        if best is None:
            return 0.0
        p, width = self.certificate.p, self.indices.size
        value = to_cost_units(best.scaled_value, best.unit / unit, p)
        return float(value * min(1.0, width ** (1.0 - p / 2.0)))


@dataclass(frozen=True, eq=False)
class EntriesBound(Proved):
    """A lower bound on the entrywise cost of every matrix of rank k: a sum over disjoint blocks.

    Attributes
    ----------
    name : str
        ``"rows"``, ``"columns"``, or one of them ``", 6 groups"``.
    axis : {"rows", "columns"}
        What the points of the rows objective are.
    blocks : tuple of EntriesBlock
    p, unit : float
        As in `Bound`.
    """

    name: str
    axis: str
    blocks: tuple[EntriesBlock, ...] = field(repr=False)
    p: float
    unit: float

    @property
    def scaled_value(self) -> float:
        """The bound in scaled cost units."""
        return float(sum(block.scaled_value(self.unit) for block in self.blocks))

    @property
    def failure_probability(self) -> float:
        """Probability that a random start misled one of the blocks; 0.0: it holds always."""
        return float(min(1.0, sum(block.certificate.failure_probability for block in self.blocks)))


@dataclass(frozen=True, eq=False)
class EntriesCertificate(Certified[EntriesBound]):
    """Lower bounds on the entrywise cost of every matrix of rank k, beside what this one costs.

    Attributes
    ----------
    p, k, shape
    left, right : ndarray, shapes (n, k) and (k, d)
        The certified factors, in user units.
    scaled_cost : float
    bounds : tuple of EntriesBound
        Largest first.
    unit : float
    row_weights, entry_weights : ndarray or None
        Shapes (n,) and (n, d), as the user gave them.
    missing : {"raise", "ignore"}
        Whether NaN in the data stands for a missing entry.
    """

    p: float
    k: int
    shape: tuple[int, int]
    left: Array = field(repr=False)
    right: Array = field(repr=False)
    scaled_cost: float
    bounds: tuple[EntriesBound, ...]
    unit: float = 1.0
    row_weights: Array | None = field(default=None, repr=False)
    entry_weights: Array | None = field(default=None, repr=False)
    missing: str = "raise"

    def verify(self, A: ArrayLike, *, rtol: float = 1e-9) -> None:
        """Recompute the cost and every bound from A with independent NumPy code.

        Parameters
        ----------
        A : array_like, shape (n, d)
            The data, with NaN for what is missing if `missing` is "ignore".
        rtol : float
            Relative rounding slack allowed between the two computations.

        Raises
        ------
        CertificateError
            Names the first thing that fails.
        """
        from lpgeom.records.check.entries import verify_entries

        verify_entries(self, A, rtol=rtol)

    def table(self) -> str:
        """The bounds as text, largest first."""
        lines = [f"{'bound':<24}{'lower bound':>14}{'cost/bound':>12}  holds"]
        for b in sorted(self.bounds, key=lambda b: -b.scaled_value):
            over = max(1.0, self.scaled_cost / b.scaled_value) if b.scaled_value > 0 else math.inf
            lines.append(f"{b.name:<24}{b.value:>14.6g}{over:>12.5f}  {b.certainty}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class FactorResult:
    """Two factors ``left @ right`` of rank k near A, entry by entry.

    Attributes
    ----------
    left, right : ndarray, shapes (n, k) and (k, d), float64
        `right` has orthonormal rows.
    cost : float
        ``sum_ij omega_i w_ij |A - left @ right|_ij^p`` (a p-th power).
    norm_error : float
        ``cost^(1/p)``.
    lower_bound : float
        Proved: no B of rank k costs less. 0.0 when not certified.
    ratio : float
        ``(cost / lower_bound)^(1/p) >= 1``; inf when not certified.
    guarantee : float
        The a-priori ratio ``(kappa rank)^|1/p-1/2| d^|1/p-1/2|`` of the Lewis projection, which
        this one costs no more than; inf with entry weights or missing entries.
    certificate : EntriesCertificate or None
        ``certificate.verify(A)`` re-checks cost and bounds.
    history : tuple of float
        Cheapest cost so far, step by step: it never rises.
    method : str
        Start (``"svd"``, ``"lewis"``, ``"rows"``, ``"columns"``, ``"clipped"``, ``"random 3"``) and
        what was done from there: ``"admm"``, ``"alternating"``.
    p, k, shape, n_iter, converged, seconds, svd_cost, seed, backend
        As in `SubspaceResult`; `svd_cost` is the entrywise cost of the truncated SVD (missing
        entries filled in from its own fit).

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((30, 5))
    >>> result = lpgeom.approx_factors(A, 2)
    >>> result.left.shape, result.right.shape, result.lower_bound <= result.cost
    ((30, 2), (2, 5), True)
    """

    left: Array = field(repr=False)
    right: Array = field(repr=False)
    cost: float
    norm_error: float
    lower_bound: float
    ratio: float
    guarantee: float
    certificate: EntriesCertificate | None = field(repr=False)
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
    backend: str = "cpu"

    @property
    def objective(self) -> str:
        """ "entries"."""
        return "entries"

    @property
    def basis(self) -> Array:
        """Orthonormal basis of the row space, (d, k): a view of `right`."""
        return self.right.T

    def summary(self) -> str:
        """A few lines of text: the problem, the cost, and how it is certified."""
        n, d = self.shape
        best = None if self.certificate is None else self.certificate.best
        bound = "none computed (certify=False)" if self.certificate is None else "0"
        if best is not None:
            bound = f"{self.lower_bound:.6g}  ({best.name}; ratio of norms {self.ratio:.4f})"
        return "\n".join(
            (
                f"rank-{self.k} factors of {n} x {d}, p = {self.p:g}, entries",
                f"  cost         {self.cost:.6g}  (norm {self.norm_error:.6g}; "
                f"SVD's cost {self.svd_cost:.6g})",
                f"  lower bound  {bound}",
                f"  guarantee    {self.guarantee:.4g}  (a-priori ratio, theory 2)",
                f"  method       {self.method} on {self.backend}: {self.n_iter} steps, "
                f"{self.seconds:.2f} s" + ("" if self.converged else ", not converged"),
            )
        )

    def __repr__(self) -> str:
        return (
            f"FactorResult(k={self.k}, p={self.p:g}, shape={self.shape}, cost={self.cost:.6g}, "
            f"lower_bound={self.lower_bound:.6g}, ratio={self.ratio:.6f}, method={self.method!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; inf as a string)."""
        names = (
            "k", "p", "objective", "cost", "norm_error", "lower_bound", "ratio", "guarantee",
            "svd_cost", "method", "backend", "n_iter", "converged", "seconds", "seed",
        )  # fmt: skip
        bounds = () if self.certificate is None else self.certificate.bounds
        return {
            "shape": list(self.shape),
            **plain(self, names),
            "bounds": {
                b.name: {"value": b.value, "failure_probability": b.failure_probability}
                for b in bounds
            },
            "history": list(self.history),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything, certificate included, to an .npz file (no pickle inside).

        The file appears complete or not at all: it is written under a temporary name and moved.
        """
        from lpgeom.records.storage import save_factors

        save_factors(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> FactorResult:
        """Read what `save` wrote. Loading never runs code; a damaged file is a ValueError."""
        from lpgeom.records.storage import load_factors

        return load_factors(path)
