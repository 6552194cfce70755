"""One subspace: a bound, the certificate that states them, and the result of `approx_subspace`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.io.interchange import as_numpy
from lpgeom.records import fields
from lpgeom.records.base import (
    Array,
    CertificateError,
    Certified,
    Proved,
    norm_ratio,
    to_cost_units,
)
from lpgeom.records.check.verify import verify
from lpgeom.records.result import Result

__all__ = [
    "Array", "Bound", "Certificate", "CertificateError", "SubspaceResult", "norm_ratio",
    "to_cost_units",
]  # fmt: skip


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
        from the data alone; in coordinates of the columns of its `span` (d, r), if it has one.
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
    failure_probability: Annotated[float, fields.real(0.0, 1.0)] = 0.0
    witness: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unit: fields.Size = 1.0
    p: fields.Exponent = 1.0

    _FIGURES: ClassVar[tuple[str, ...]] = ("value", "theorem", "failure_probability")


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

    p: fields.Exponent
    k: fields.Rank
    shape: fields.Shape
    basis: Annotated[Array, fields.array(lambda known: (known["shape"][1], known["k"]))] = field(
        repr=False
    )
    scaled_cost: fields.Size
    bounds: tuple[Bound, ...]
    guarantee: fields.Cost = math.inf
    unit: fields.Size = 1.0
    row_weights: fields.RowWeights = field(default=None, repr=False)

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
        verify(self, A, rtol=rtol)
        fields.check_fields(self)

    def table(self) -> str:
        """The bounds as text, largest first."""
        names = (f"{b.name:<16}{b.theorem:<8}" for b in self.bounds)
        return self._lines(f"{'bound':<16}{'theory':<8}", names)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SubspaceResult(Result[Certificate]):
    """A rank-k subspace and how far from optimal it can be.

    Attributes
    ----------
    basis : ndarray, shape (d, k), float64
        Orthonormal basis V of the subspace.
    cost, norm_error : float
        ``sum_i omega_i ||a_i - a_i V V^T||^p`` (a p-th power, in user units); for p = inf
        ``max_i ||a_i - a_i V V^T||`` (a norm) over the rows with omega_i > 0. Its p-th root, finite
        even where the cost overflows.
    lower_bound, ratio : float
        Proved lower bound on the cost of every rank-k subspace, 0.0 when not certified;
        ``(cost / lower_bound)^(1/p) >= 1``, inf when not certified.
    guarantee : float
        The a-priori ratio of theory 2 (of norms), with the measured kappa.
    certificate : Certificate or None
        Every bound by name, and what re-checks it; None with ``certify=False``.
    p, k, shape, objective
    statement, certified : Certificate, bool
        What all of the above follow from: the basis, its cost, the bounds. It is the certificate if
        `certified`; else it has no bounds that count, and says nothing of row weights.
    method, backend : str
        What produced the subspace, and where.
    history, n_iter : tuple of float, int
        Cost (user units) after each step of the run that was kept, which never rises; its steps.
    n_passes, seconds : float
        Passes over A in the whole call, certificate included (one over half of the rows counts one
        half), and its wall time.
    svd_cost : float
        Cost of the SVD's subspace (p = 2 solution) for the same problem, in user units.
    converged, seed : bool, int

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> result = lpgeom.approx_subspace(A, 2)
    >>> result.basis.shape, result.lower_bound <= result.cost <= result.svd_cost
    ((5, 2), True)
    """

    statement: Certificate
    n_passes: fields.Size

    _FIGURES = (*Result._FIGURES, "n_passes")
    _STATEMENT = Certificate

    @property
    def objective(self) -> str:
        """ "rows"."""
        return "rows"

    @property
    def basis(self) -> Array:
        """Orthonormal basis V of the subspace: (d, k)."""
        return self.statement.basis

    @property
    def guarantee(self) -> float:
        """The a-priori ratio of theory 2 (of norms), with the measured kappa."""
        return self.statement.guarantee

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
        (n, d), best = self.shape, self.statement.best
        bound = ["  lower bound  none computed (certify=False)"]
        if self.certified and best is not None:
            bound = [
                f"  lower bound  {self.lower_bound:.6g}  ({best.name}, theory {best.theorem}, "
                f"holds {self.statement.certainty})",
                f"  ratio        {self.ratio:.6f}  (of norms; 1 is optimal)",
            ]
        head = f"rank-{self.k} subspace of {n} x {d} rows, p = {self.p:g}, {self.objective}"
        return self._summary(head, bound, f"{self.n_passes:.1f} passes over A, ")
