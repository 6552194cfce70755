"""What lpgeom returns: frozen records, with no algorithm in them.

Units. Algorithms work on rows scaled by a power of two, with the row weights folded in
(`unit` is the norm that scaled norm 1 stands for). Records keep the scaled numbers, which can
neither overflow nor underflow, and give user units on demand: a cost is a p-th power,
``cost = scaled_cost * unit**p``; a norm is ``scaled_norm * unit``. At p = inf a cost is the largest
distance itself: a norm.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.io.interchange import as_numpy
from lpgeom.records.certified import Certified, Proved, norm_ratio, plain, to_cost_units

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "Array", "Bound", "Certificate", "CertificateError", "Float", "LewisWeights", "SubspaceResult",
    "norm_ratio", "plain", "to_cost_units",
]  # fmt: skip

Float = np.float64
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bound(Proved):
    """One proved lower bound on the cost of every rank-k subspace.

    Attributes
    ----------
    name : str
        Field name of the bound, for example ``"relaxation"``.
    theorem : str
        The section of docs/theory that proves it, for example ``"3d"``.
    scaled_value : float
        The bound in cost units of the scaled rows.
    failure_probability : float
        0.0 for a bound that holds always; otherwise the probability, over the seeded random
        start named in the witness, that the stated value is not a lower bound.
    witness : mapping
        The numbers and (d, d) or smaller float64 arrays from which the bound can be recomputed
        from the data alone.
    unit, p : float
        Norm unit of the scaled rows, and the exponent; they turn `scaled_value` into `value`.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> bound = lpgeom.approx_subspace(A, 2).certificate.bounds[0]
    >>> bound.name, bound.theorem, bound.certainty
    ('relaxation', '3d', 'always')
    """

    name: str
    theorem: str
    scaled_value: float
    failure_probability: float = 0.0
    witness: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unit: float = 1.0
    p: float = 1.0


@dataclass(frozen=True, eq=False)
class LewisWeights:
    """Lewis weights of the rows of A (theory 1).

    Attributes
    ----------
    weights : ndarray, shape (n,), float64
        w > 0 on nonzero rows, 0 on zero rows; sums to rank(A) at the fixed point.
    M : ndarray, shape (d, d), float64
        ``A^T W^(1-2/p) A`` for these weights, in units of A squared (p-dependent, see theory 1).
    kappa : float
        ``max_i tau_i / w_i^(2/p)``, measured: 1 at the exact fixed point.
    rank : int
        Rank of A; it takes the place of d in every constant.
    p : float
    n_iter : int
    converged : bool

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> lewis = lpgeom.lewis_weights(A, p=1.0)
    >>> round(float(lewis.weights.sum()), 6), lewis.rank, lewis.M.shape
    (5.0, 5, (5, 5))
    """

    weights: Array = field(repr=False)
    M: Array = field(repr=False)
    kappa: float
    rank: int
    p: float
    n_iter: int
    converged: bool


@dataclass(frozen=True, eq=False)
class Certificate(Certified[Bound]):
    """Lower bounds on what any rank-k subspace can reach, beside what this one reaches.

    Attributes
    ----------
    p, k : float, int
    shape : tuple of int
        (n, d) of the data certified.
    basis : ndarray, shape (d, k), float64
        The certified subspace (orthonormal columns).
    scaled_cost : float
        Its cost, in scaled units.
    bounds : tuple of Bound
        Every lower bound computed, largest first.
    guarantee : float
        A-priori ratio (of norms) of theory 2 with the measured kappa; inf when not available.
    unit : float
        Norm unit of the scaled rows.
    row_weights : ndarray, shape (n,), or None
        The user's row weights omega.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> certificate = lpgeom.approx_subspace(A, 2).certificate
    >>> certificate.lower_bound <= certificate.cost
    True
    >>> certificate.verify(A)  # an error if it does not hold
    """

    p: float
    k: int
    shape: tuple[int, int]
    basis: Array = field(repr=False)
    scaled_cost: float
    bounds: tuple[Bound, ...]
    guarantee: float = math.inf
    unit: float = 1.0
    row_weights: Array | None = field(default=None, repr=False)

    def verify(self, A: ArrayLike, *, rtol: float = 1e-9) -> None:
        """Recompute cost and bounds from A with independent NumPy code.

        Parameters
        ----------
        A : array_like, shape (n, d)
            The data the certificate speaks of.
        rtol : float
            Relative rounding slack allowed between the two computations.

        Raises
        ------
        CertificateError
            If the basis is not orthonormal, the cost is not the stated one, or a bound does not
            follow from its witness.
        """
        from lpgeom.records.check.verify import verify

        verify(self, A, rtol=rtol)

    def table(self) -> str:
        """The bounds as text, largest first."""
        lines = [f"{'bound':<16}{'theory':<8}{'lower bound':>14}{'cost/bound':>12}  holds"]
        for b in sorted(self.bounds, key=lambda b: -b.scaled_value):
            over = self.scaled_cost / b.scaled_value if b.scaled_value > 0 else math.inf
            over = 1.0 if self.scaled_cost <= b.scaled_value else over
            lines.append(f"{b.name:<16}{b.theorem:<8}{b.value:>14.6g}{over:>12.5f}  {b.certainty}")
        return "\n".join(lines)


class CertificateError(ValueError):
    """A certificate that does not hold for the data it is checked against.

    Examples
    --------
    >>> import dataclasses
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> certificate = lpgeom.approx_subspace(A, 2).certificate
    >>> forged = dataclasses.replace(certificate, scaled_cost=0.5 * certificate.scaled_cost)
    >>> try:
    ...     forged.verify(A)
    ... except lpgeom.CertificateError:
    ...     print("refused")
    refused
    """


@dataclass(frozen=True, eq=False)
class SubspaceResult:
    """A rank-k subspace and how far from optimal it can be.

    Attributes
    ----------
    basis : ndarray, shape (d, k), float64
        Orthonormal basis V of the subspace.
    cost : float
        ``sum_i omega_i ||a_i - a_i V V^T||^p`` (a p-th power, in user units); for p = inf
        ``max_i ||a_i - a_i V V^T||`` (a norm) over the rows with omega_i > 0.
    norm_error : float
        ``cost^(1/p)``; finite even where `cost` overflows.
    lower_bound : float
        Proved lower bound on the cost of every rank-k subspace; 0.0 when not certified.
    ratio : float
        ``(cost / lower_bound)^(1/p) >= 1``; inf when not certified.
    guarantee : float
        The a-priori ratio of theory 2 (of norms), with the measured kappa.
    certificate : Certificate or None
        Every bound by name, with what is needed to re-check it.
    p, k, shape, objective
        The problem solved.
    method, backend : str
        What produced the subspace, and where.
    history : tuple of float
        Cost (user units) after each step of the run that was kept; never rises.
    n_iter : int
        Steps of that run.
    n_passes : float
        Passes over A in the whole call, certificate included; a pass over half of the rows
        counts one half.
    converged : bool
    seconds : float
        Wall time of the call.
    svd_cost : float
        Cost of the SVD's subspace (p = 2 solution) for the same problem, in user units.
    seed : int

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> result = lpgeom.approx_subspace(A, 2)
    >>> result.basis.shape, result.lower_bound <= result.cost <= result.svd_cost
    ((5, 2), True)
    """

    basis: Array = field(repr=False)
    cost: float
    norm_error: float
    lower_bound: float
    ratio: float
    guarantee: float
    certificate: Certificate | None = field(repr=False)
    p: float
    k: int
    shape: tuple[int, int]
    objective: str
    method: str
    backend: str
    history: tuple[float, ...] = field(repr=False)
    n_iter: int
    n_passes: float
    converged: bool
    seconds: float
    svd_cost: float
    seed: int

    @property
    def components(self) -> Array:
        """The basis as rows: (k, d), a view of `basis`."""
        return self.basis.T

    def factors(self, A: ArrayLike) -> tuple[Array, Array]:
        """Low-rank factors ``(A V, V^T)``: (n, k) and (k, d), together (n + d) k numbers.

        Examples
        --------
        >>> import numpy as np, lpgeom
        >>> A = np.random.default_rng(0).standard_normal((50, 6))
        >>> left, right = lpgeom.approx_subspace(A, 2).factors(A)
        >>> left.shape, right.shape
        ((50, 2), (2, 6))
        """
        A = as_numpy(A, "A")
        if A.ndim != 2 or A.shape[1] != self.basis.shape[0]:
            raise ValueError(
                f"A has shape {A.shape}; expected two dimensions with {self.basis.shape[0]} columns"
            )
        return np.asarray(A @ self.basis), self.components.copy()

    def summary(self) -> str:
        """A few lines of text: the problem, the cost, and how it is certified."""
        n, d = self.shape
        head = f"rank-{self.k} subspace of {n} x {d} rows, p = {self.p:g}, {self.objective}"
        lines = [
            head,
            f"  cost         {self.cost:.6g}  (norm {self.norm_error:.6g}; "
            f"SVD's cost {self.svd_cost:.6g})",
        ]
        best = self.certificate.best if self.certificate is not None else None
        if best is None:
            lines.append("  lower bound  none computed (certify=False)")
        else:
            lines.append(
                f"  lower bound  {self.lower_bound:.6g}  ({best.name}, theory {best.theorem}, "
                f"holds {best.certainty})"
            )
            lines.append(f"  ratio        {self.ratio:.6f}  (of norms; 1 is optimal)")
        lines.append(f"  guarantee    {self.guarantee:.4g}  (a-priori ratio, theory 2)")
        lines.append(
            f"  method       {self.method} on {self.backend}: {self.n_iter} steps, "
            f"{self.n_passes:.1f} passes over A, {self.seconds:.2f} s"
            + ("" if self.converged else ", not converged")
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"SubspaceResult(k={self.k}, p={self.p:g}, shape={self.shape}, cost={self.cost:.6g}, "
            f"lower_bound={self.lower_bound:.6g}, ratio={self.ratio:.6f}, method={self.method!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; bounds by name).

        p = inf, for which JSON has no number, is the string "inf".
        """
        bounds = self.certificate.bounds if self.certificate is not None else ()
        return {
            "shape": list(self.shape),
            "k": self.k,
            "p": "inf" if math.isinf(self.p) else self.p,
            "objective": self.objective,
            "cost": self.cost,
            "norm_error": self.norm_error,
            "lower_bound": self.lower_bound,
            "ratio": self.ratio,
            "guarantee": self.guarantee,
            "svd_cost": self.svd_cost,
            "bounds": {
                b.name: {
                    "value": b.value,
                    "theorem": b.theorem,
                    "failure_probability": b.failure_probability,
                }
                for b in bounds
            },
            "method": self.method,
            "backend": self.backend,
            "history": list(self.history),
            "n_iter": self.n_iter,
            "n_passes": self.n_passes,
            "converged": self.converged,
            "seconds": self.seconds,
            "seed": self.seed,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything, certificate included, to an .npz file (no pickle inside).

        The file appears complete or not at all: it is written under a temporary name and moved.
        """
        from lpgeom.records.storage import save_result

        save_result(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> SubspaceResult:
        """Read what `save` wrote. Loading never runs code; a damaged file is a ValueError."""
        from lpgeom.records.storage import load_result

        return load_result(path)
