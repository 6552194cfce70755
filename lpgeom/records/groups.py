"""Rows in groups, each with a subspace of its own: of one rank, or of different ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.io.interchange import as_numpy
from lpgeom.records import fields
from lpgeom.records.base import LARGEST, Array, p_norm, plain, to_cost_units
from lpgeom.records.check.groups import verify_groups
from lpgeom.records.subspace import SubspaceResult


@dataclass(frozen=True, eq=False)
class Part:
    """One group of rows and its subspace.

    Attributes
    ----------
    basis : ndarray, shape (d, k)
        Orthonormal; the identity where rows are kept as they are, no columns where they become 0.
    result : SubspaceResult or None
        For this group's rows alone. None for ranks 0 and d, and where no row has a positive weight.
    norm, p : float
        Without a result, what rows that become zero cost, as a norm, and the exponent.
    """

    basis: Annotated[Array, fields.array(lambda known: (None, None))] = field(repr=False)
    result: SubspaceResult | None = field(default=None, repr=False)
    norm: fields.Size = 0.0
    p: fields.Exponent = 2.0

    @property
    def rank(self) -> int:
        """The dimension k of the subspace."""
        return int(self.basis.shape[1])

    @property
    def cost(self) -> float:
        """The cost of this group's rows alone, as in `SubspaceResult`."""
        return to_cost_units(1.0, self.norm, self.p) if self.result is None else self.result.cost

    @property
    def norm_error(self) -> float:
        """``cost^(1/p)``."""
        return self.norm if self.result is None else self.result.norm_error

    @property
    def lower_bound(self) -> float:
        """What no subspace of this rank costs less than; without a result it is the cost itself."""
        return self.cost if self.result is None else self.result.lower_bound

    @property
    def ratio(self) -> float:
        """``(cost / lower_bound)^(1/p)``."""
        return 1.0 if self.result is None else self.result.ratio

    @property
    def svd_cost(self) -> float:
        """What the SVD's subspace costs."""
        return self.cost if self.result is None else self.result.svd_cost


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Grouping:
    """Rows in groups, each in the subspace of its part: every figure follows from the parts."""

    labels: Annotated[NDArray[np.int64], fields.index_vector]
    parts: tuple[Part, ...]
    single_cost: fields.Cost
    svd_cost: fields.Cost
    history: tuple[fields.Cost, ...]
    p: fields.Exponent
    shape: fields.Shape
    method: str
    n_iter: fields.Count
    converged: bool
    seconds: fields.Size
    seed: int
    row_weights: fields.RowWeights = None

    _WORD: ClassVar[str]
    """What error messages call a part."""
    _FIGURES: ClassVar[tuple[str, ...]] = (
        "shape", "sizes", "subspaces", "p", "cost", "norm_error", "lower_bound", "ratio",
        "failure_probability", "single_cost", "svd_cost", "method", "n_iter", "converged",
        "seconds", "seed", "history",
    )  # fmt: skip

    @property
    def subspaces(self) -> int:
        """How many there are: j."""
        return len(self.parts)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each label, shape (j,)."""
        return np.bincount(self.labels, minlength=self.subspaces)

    @property
    def results(self) -> tuple[SubspaceResult | None, ...]:
        """The result of each part that has one."""
        return tuple(part.result for part in self.parts)

    @property
    def cost(self) -> float:
        """``sum_i omega_i dist(a_i, V_labels[i])^p``; capped at the largest float."""
        return min(float(sum(part.cost for part in self.parts)), LARGEST)

    @property
    def norm_error(self) -> float:
        """``cost^(1/p)``; finite even where `cost` overflows."""
        return p_norm([part.norm_error for part in self.parts], self.p)

    @property
    def lower_bound(self) -> float:
        """The sum of the parts' lower bounds: it is about these labels only."""
        return min(self.cost, float(sum(part.lower_bound for part in self.parts)))

    @property
    def ratio(self) -> float:
        """``(cost / lower_bound)^(1/p) >= 1``; inf when not certified."""
        norm = self.norm_error
        proved = p_norm([part.norm_error / part.ratio for part in self.parts], self.p)
        return 1.0 if norm <= proved else norm / proved if proved > 0.0 else math.inf

    @property
    def failure_probability(self) -> float:
        """Of `lower_bound`: at most the sum over the groups; 0.0: it holds always."""
        found = (r.certificate for r in self.results if r is not None)
        return min(1.0, sum(c.failure_probability for c in found if c is not None))

    def verify(self, A: ArrayLike, *, rtol: float = 1e-9) -> None:
        """Recompute everything from A, as `Certificate.verify`: labels, costs, each certificate on
        the rows that it is about; and that the parts fit together."""
        fields.check_fields(self)
        verify_groups(self, A, rtol=rtol)

    def _data(self, A: Any) -> NDArray[Any]:
        """The matrix that the result is about."""
        A = as_numpy(A, "A")
        if A.shape != self.shape:
            raise ValueError(f"A has shape {A.shape}; the result is for shape {self.shape}")
        return np.asarray(A)

    def _fault(self) -> str:
        """What of the whole contradicts its parts; empty if nothing does."""
        return ""

    def _method(self) -> str:
        return f"  method       {self.method}: {self.n_iter} rounds, {self.seconds:.2f} s" + (
            "" if self.converged else ", not converged"
        )

    def _repr(self, head: str, more: str = "") -> str:
        return (
            f"{type(self).__name__}({head}, p={self.p:g}, shape={self.shape}, {more}"
            f"cost={self.cost:.6g}, lower_bound={self.lower_bound:.6g}, ratio={self.ratio:.6f}, "
            f"method={self.method!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; inf as a string)."""
        results = [None if r is None else r.to_dict() for r in self.results]
        return plain(self, self._FIGURES) | {"results": results}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ClusterResult(Grouping):
    """j subspaces of dimension k, and which of them stands for each row.

    Costs are p-th powers in user units, ratios are of norms.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        Row i is approximated in subspace ``labels[i]``.
    parts, results : tuple of Part, tuple of SubspaceResult or None
        For each subspace the basis, and the result for the rows of its label alone, certificate
        included: None where no row has a positive weight.
    bases : ndarray, shape (j, d, k), float64
        An orthonormal basis of each subspace. One without rows has some basis.
    cost, norm_error : float
        ``sum_i omega_i dist(a_i, V_labels[i])^p``, and its p-th root, which is always finite.
    lower_bound, ratio : float
        The sum of the lower bounds in `results`. No choice of j subspaces of dimension k costs
        less *with these labels*; other labels may. 0.0 and inf when not certified.
    single_cost, svd_cost : float
        What `approx_subspace` reaches with one subspace of dimension k, and what the SVD's costs.
    history, n_iter, converged : tuple of float, int, bool
        The least cost so far, from `single_cost` on, after each round and the last solves; rounds;
        whether another would bring less than the tolerance.
    p, k, shape, method : float, int, tuple of int, str
        The problem, and what the split came from: the start whose descent ended lowest, "single"
        where nothing beat one subspace, "rank" where one subspace holds all rows.
    seconds, seed, row_weights : float, int, ndarray of shape (n,) or None

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> result = lpgeom.approx_clusters(A, 1, subspaces=2)
    >>> result.bases.shape, result.cost <= result.single_cost
    ((2, 5, 1), True)
    >>> left, right = result.factors(A)
    >>> left.shape, right.shape
    ((60, 1), (2, 1, 5))
    """

    _WORD = "label"
    _FIGURES = (*Grouping._FIGURES, "k")

    @property
    def k(self) -> int:
        """The rank of each."""
        return self.parts[0].rank

    @cached_property
    def bases(self) -> Array:
        """An orthonormal basis of each subspace: (j, d, k)."""
        return np.stack([part.basis for part in self.parts])

    def _fault(self) -> str:
        same = all(part.rank == self.k for part in self.parts)
        return "" if same else f"bases are not {self.subspaces} of rank {self.k}"

    def factors(self, A: ArrayLike) -> tuple[Array, Array]:
        """``left[i] @ right[labels[i]]`` is row i: (n, k) and (j, k, d), n k + j d k numbers."""
        A = self._data(A)
        left = np.empty((len(A), self.k))
        for c, V in enumerate(self.bases):
            index = np.flatnonzero(self.labels == c)
            left[index] = A[index] @ V
        return left, np.ascontiguousarray(self.bases.transpose(0, 2, 1))

    def summary(self) -> str:
        """A few lines of text: the problem, the cost, and how it is certified."""
        n, d = self.shape
        bound = "none computed (certify=False)"
        if any(r is not None and r.certified for r in self.results):
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
        lines.append(f"  sizes        {self.sizes.min()} to {self.sizes.max()} rows")
        return "\n".join([*lines, self._method()])

    def __repr__(self) -> str:
        return self._repr(f"subspaces={self.subspaces}, k={self.k}")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MixedResult(Grouping):
    """Subspaces of different ranks, and which of them stands for each row.

    Costs are p-th powers in user units, ratios are of norms.

    Attributes
    ----------
    labels, parts : ndarray of int64, shape (n,), tuple of Part
        Row i is approximated in the subspace of part ``labels[i]``, which holds the certificate.
    cost, norm_error, lower_bound, ratio : float
        As in `ClusterResult`, of all parts: no choice of subspaces of these ranks costs less than
        the bound *with these labels*; other labels or ranks may.
    budget, storage : int
        Numbers allowed, and those that `factors` has: at most the budget.
    single_rank, single_cost, svd_cost : int, float, float
        The rank of one subspace for all rows within the budget, what `approx_subspace` reaches with
        it, and what the SVD of that rank costs.
    p, shape, method, history, n_iter, converged, seconds, seed, row_weights
        As in `ClusterResult`.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> result = lpgeom.approx_mixed(A, 200)
    >>> result.storage <= 200, result.cost <= result.single_cost
    (True, True)
    >>> lefts, rights = result.factors(A)
    >>> sum(x.size for x in (*lefts, *rights) if x is not None) == result.storage
    True
    """

    budget: fields.Count
    single_rank: fields.Count

    _WORD = "part"
    _FIGURES = (*Grouping._FIGURES, "budget", "storage", "single_rank", "ranks")

    @property
    def ranks(self) -> tuple[int, ...]:
        """The rank k of each."""
        return tuple(part.rank for part in self.parts)

    @property
    def bases(self) -> tuple[Array, ...]:
        """An orthonormal (d, k) for each."""
        return tuple(part.basis for part in self.parts)

    @property
    def storage(self) -> int:
        """Numbers that `factors` has."""
        d, sizes = self.shape[1], self.sizes.tolist()
        return sum(
            m * d if k == d else k * (m + d) if m else 0
            for k, m in zip(self.ranks, sizes, strict=True)
        )

    def _fault(self) -> str:
        over = f"storage is {self.storage}, the budget {self.budget}"
        return over if self.storage > self.budget else ""

    def factors(self, A: ArrayLike) -> tuple[tuple[Array, ...], tuple[Array | None, ...]]:
        """What is stored: for each part (n_c, k_c) and (k_c, d), rows of a label in their order;
        None for a right factor where the rows are kept as they are."""
        A = self._data(A)
        lefts, rights = [], []
        for c, part in enumerate(self.parts):
            rows = A[self.labels == c].astype(np.float64)
            kept = part.rank == self.shape[1]
            lefts.append(rows if kept else rows @ part.basis)
            right = part.basis.T if len(rows) else part.basis.T[:0]
            rights.append(None if kept else np.ascontiguousarray(right))
        return tuple(lefts), tuple(rights)

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
        return "\n".join([*lines, self._method()])

    def __repr__(self) -> str:
        return self._repr(f"ranks={self.ranks}", f"storage={self.storage}, ")
