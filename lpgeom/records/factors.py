"""The records of an entrywise low-rank factorisation: factors, bounds, certificate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.records import fields
from lpgeom.records.base import Array, Certified, Proved, jsonable, to_cost_units
from lpgeom.records.check.entries import verify_entries
from lpgeom.records.result import Result
from lpgeom.records.subspace import Certificate


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

    indices: Annotated[NDArray[np.intp], fields.index_vector] = field(repr=False)
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
    axis: Annotated[str, fields.one_of("rows", "columns")]
    blocks: tuple[EntriesBlock, ...] = field(repr=False)
    p: fields.Exponent
    unit: fields.Size

    _FIGURES: ClassVar[tuple[str, ...]] = ("value", "failure_probability")

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

    p: Annotated[float, fields.real(1.0)]
    k: fields.Rank
    shape: fields.Shape
    left: Annotated[Array, fields.array(lambda known: (known["shape"][0], known["k"]))] = field(
        repr=False
    )
    right: Annotated[Array, fields.array(lambda known: (known["k"], known["shape"][1]))] = field(
        repr=False
    )
    scaled_cost: fields.Size
    bounds: tuple[EntriesBound, ...]
    unit: fields.Size = 1.0
    row_weights: fields.RowWeights = field(default=None, repr=False)
    entry_weights: Annotated[Array, fields.array(lambda known: known["shape"])] | None = field(
        default=None, repr=False
    )
    missing: str = "raise"

    def verify(self, A: ArrayLike, *, rtol: float = 1e-9) -> None:
        """As `Certificate.verify`; A has NaN for what is missing if `missing` is "ignore"."""
        verify_entries(self, A, rtol=rtol)
        fields.check_fields(self)

    def table(self) -> str:
        """The bounds as text, largest first."""
        return self._lines(f"{'bound':<24}", (f"{b.name:<24}" for b in self.bounds))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FactorResult(Result[EntriesCertificate]):
    """Two factors ``left @ right`` of rank k near A, entry by entry.

    Attributes
    ----------
    left, right : ndarray, shapes (n, k) and (k, d), float64
        `right` has orthonormal rows.
    cost, norm_error : float
        ``sum_ij omega_i w_ij |A - left @ right|_ij^p`` (a p-th power), and its p-th root.
    lower_bound, ratio : float
        Proved: no B of rank k costs less; 0.0 when not certified. ``(cost / lower_bound)^(1/p) >=
        1``; inf when not certified.
    guarantee : float
        The a-priori ratio ``(kappa rank)^|1/p-1/2| d^|1/p-1/2|`` of the Lewis projection, which
        this one costs no more than; inf with entry weights or missing entries.
    certificate : EntriesCertificate or None
    history : tuple of float
        Cheapest cost so far, step by step.
    method : str
        Start (``"svd"``, ``"lewis"``, ``"rows"``, ``"columns"``, ``"clipped"``, ``"random 3"``) and
        what was done from there: ``"admm"``, ``"alternating"``.
    p, k, shape, n_iter, converged, seconds, svd_cost, seed, backend
        As in `SubspaceResult`; `svd_cost` is the entrywise cost of the truncated SVD (missing
        entries filled in from its own fit).
    statement, certified : EntriesCertificate, bool

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((30, 5))
    >>> result = lpgeom.approx_factors(A, 2)
    >>> result.left.shape, result.right.shape, result.lower_bound <= result.cost
    ((30, 2), (2, 5), True)
    """

    statement: EntriesCertificate
    guarantee: fields.Cost

    _STATEMENT = EntriesCertificate
    _WORD = "factorisation"

    @property
    def objective(self) -> str:
        """ "entries"."""
        return "entries"

    @property
    def left(self) -> Array:
        """The left factor, in user units: (n, k)."""
        return self.statement.left

    @property
    def right(self) -> Array:
        """The right factor: (k, d), orthonormal rows."""
        return self.statement.right

    @property
    def basis(self) -> Array:
        """Orthonormal basis of the row space, (d, k): a view of `right`."""
        return self.right.T

    def summary(self) -> str:
        """A few lines of text: the problem, the cost, and how it is certified."""
        (n, d), best = self.shape, self.statement.best
        bound = "0" if self.certified else "none computed (certify=False)"
        if self.certified and best is not None:
            bound = f"{self.lower_bound:.6g}  ({best.name}; ratio of norms {self.ratio:.4f})"
        head = f"rank-{self.k} factors of {n} x {d}, p = {self.p:g}, entries"
        return self._summary(head, [f"  lower bound  {bound}"])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; inf as a string)."""
        return {name: jsonable(value) for name, value in super().to_dict().items()}
