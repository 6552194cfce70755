"""``CostCurve``: cost and lower bound over the rank, as a frozen record with no algorithm in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.records.base import Array, CertificateError, jsonable, norm_ratio
from lpgeom.records.check.verify import check_total
from lpgeom.records.fields import Cost, Saved, Size, check_fields
from lpgeom.records.subspace import SubspaceResult


@dataclass(frozen=True, eq=False)
class CostCurve(Saved):
    """What subspaces of several ranks cost, and what no subspace of these ranks can cost less than.

    Costs are p-th powers in user units (at p = inf largest distances: norms), one for each rank of
    `ks`. They never rise with k, and neither do the lower bounds: a bound on rank k + 1 holds for
    rank k too.

    Attributes
    ----------
    results : tuple of SubspaceResult
        One for each rank, ascending, each with its certificate.
    total : float
        What rank 0 costs: ``sum_i omega_i ||a_i||^p``, the largest norm at p = inf.
    n_passes, seconds : float
        Passes over A in the whole call, and its wall time.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> curve = lpgeom.cost_curve(A, 1.0, [1, 3])
    >>> curve.ks.tolist(), bool((curve.lower_bound <= curve.cost).all())
    ([1, 3], True)
    """

    results: tuple[SubspaceResult, ...] = field(repr=False)
    total: Cost
    n_passes: Size
    seconds: Size

    _WORD = "cost curve"

    @property
    def ks(self) -> NDArray[np.int64]:
        """The ranks, ascending, each once: (r,) int64."""
        return np.array([r.k for r in self.results], dtype=np.int64)

    @property
    def p(self) -> float:
        """The exponent."""
        return self.results[0].p

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.results[0].shape

    @property
    def cost(self) -> Array:
        """Cost of the subspace found for each rank, (r,)."""
        return np.array([r.cost for r in self.results])

    @property
    def norm_error(self) -> Array:
        """``cost^(1/p)``, finite even where the cost is not, (r,)."""
        return np.array([r.norm_error for r in self.results])

    @property
    def svd_cost(self) -> Array:
        """Cost of the truncated SVD, (r,)."""
        return np.array([r.svd_cost for r in self.results])

    @property
    def lower_bound(self) -> Array:
        """Proved lower bound on the cost of every subspace of rank k, (r,); 0 if not certified: the
        largest of those of the certificates for this rank and for larger ones."""
        own = np.array([r.lower_bound for r in self.results])
        return np.asarray(np.maximum.accumulate(own[::-1])[::-1])

    @property
    def failure_probability(self) -> Array:
        """How likely `lower_bound` fails: summed over certificates for this rank and larger."""
        own = np.array([r.statement.failure_probability for r in self.results])
        return np.asarray(np.minimum(np.cumsum(own[::-1])[::-1], 1.0))

    @property
    def ratio(self) -> Array:
        """``(cost / lower_bound)^(1/p) >= 1`` for each rank, (r,); inf if not certified."""
        found = []
        for r, lower in zip(self.results, self.lower_bound, strict=True):
            whole = norm_ratio(r.cost, float(lower), r.p) if math.isfinite(r.cost) else math.inf
            found.append(min(r.ratio, whole))
        return np.array(found)

    @property
    def certified(self) -> bool:
        """Whether there are lower bounds."""
        return all(r.certificate is not None for r in self.results)

    def __len__(self) -> int:
        return len(self.results)

    def at(self, k: int) -> SubspaceResult:
        """The result of rank k; a KeyError says which ranks are on the curve."""
        for result in self.results:
            if result.k == k:
                return result
        raise KeyError(f"rank {k} is not on this curve; there are {self.ks.tolist()}")

    def rank_for(self, share: float) -> tuple[int | None, int | None]:
        """Ranks that leave at most this share of the cost of rank 0: (least, found).

        In cost units: 0.05 means ``cost <= 0.05 total``. `least` is the smallest rank of the curve
        that may do it: of every smaller one there it is proved that no subspace does. `found` is
        the smallest whose subspace does it. None where none does.

        Examples
        --------
        >>> import numpy as np, lpgeom
        >>> A = np.random.default_rng(0).normal(size=(200, 12)) * 0.7 ** np.arange(12)
        >>> curve = lpgeom.cost_curve(A, p=1.0, ks=range(1, 12))
        >>> least, found = curve.rank_for(0.2)
        >>> least <= found
        True
        """
        limit = share * self.total
        may, does = self.lower_bound <= limit, self.cost <= limit
        least, found = (int(self.ks[np.argmax(x)]) if x.any() else None for x in (may, does))
        return least, found

    def verify(self, A: ArrayLike, *, rtol: float = 1e-9) -> None:
        """As `Certificate.verify`, of every rank and of the total; the error names the rank."""
        check_fields(self)
        self._check_ranks(CertificateError)
        for r in self.results:
            if r.certificate is None:
                raise CertificateError(f"rank {r.k} has no certificate")
            try:
                r.certificate.verify(A, rtol=rtol)
            except CertificateError as error:
                raise CertificateError(f"rank {r.k}: {error}") from error
        check_total(self.total, self.results[0].statement, A, rtol)

    def _check_ranks(self, error: type[ValueError]) -> None:
        """One problem, and each rank once."""
        if not self.results or any((r.shape, r.p) != (self.shape, self.p) for r in self.results):
            raise error("the results of a curve speak of different problems")
        if (np.diff(self.ks) <= 0).any():
            raise error(f"the ranks {self.ks.tolist()} are not ascending")

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each rank; `lpgeom.io.tables.Table` without pandas.

        Columns: k, cost, norm_error, lower_bound, ratio, share (cost over that of rank 0),
        svd_cost, cost_over_svd, bound (the name of the lower bound), method, n_iter, converged.
        ``attrs``: "p", "shape", "total".
        """
        from lpgeom.io.tables import frame  # for those who ask for a table

        names = ("cost", "norm_error", "lower_bound", "ratio")
        bests = (r.certificate and r.certificate.best for r in self.results)
        columns = {
            "k": self.ks.tolist(),
            **{name: getattr(self, name).tolist() for name in names},
            "share": [_over(c, self.total) for c in self.cost.tolist()],
            "svd_cost": self.svd_cost.tolist(),
            "cost_over_svd": [_over(r.cost, r.svd_cost) for r in self.results],
            "bound": [getattr(best, "name", "") for best in bests],
            **{x: [getattr(r, x) for r in self.results] for x in ("method", "n_iter", "converged")},
        }
        return frame(columns, {"p": self.p, "shape": self.shape, "total": self.total})

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; p = inf is "inf")."""
        names = ("ks", "cost", "lower_bound", "ratio", "svd_cost", "failure_probability")
        return {
            "shape": list(self.shape),
            "p": jsonable(self.p),
            "total": self.total,
            **{name: getattr(self, name).tolist() for name in names},
            "n_passes": self.n_passes,
            "seconds": self.seconds,
            "results": [r.to_dict() for r in self.results],
        }

    def summary(self) -> str:
        """A few lines of text: the problem, and a table over the ranks."""
        n, d = self.shape
        lines = [
            f"cost over {len(self)} ranks of {n} x {d} rows, p = {self.p:g}; rank 0 costs "
            f"{self.total:.6g}",
            f"{'k':>6}{'cost':>14}{'share':>10}{'lower bound':>14}{'ratio':>10}{'cost/SVD':>10}",
        ]
        for r, lower, ratio in zip(self.results, self.lower_bound, self.ratio, strict=True):
            bound = f"{lower:>14.6g}{ratio:>10.5f}" if r.certificate else f"{'-':>14}{'-':>10}"
            share, over = _over(r.cost, self.total), _over(r.cost, r.svd_cost)
            lines.append(f"{r.k:>6}{r.cost:>14.6g}{share:>10.5f}{bound}{over:>10.5f}")
        lines.append(f"  {self.n_passes:.1f} passes over A, {self.seconds:.2f} s")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"CostCurve({len(self)} ranks from {self.ks[0]} to {self.ks[-1]}, p={self.p:g}, "
            f"shape={self.shape}, largest ratio={self.ratio.max():.6f})"
        )

    @classmethod
    def _from_file(cls, values: Any, version: int) -> Self:
        results = values["results"]
        if not isinstance(results, list | tuple) or not results:
            raise ValueError("CostCurve.results is not a sequence of results")
        results = [SubspaceResult._from_file(result, version) for result in results]
        curve = super()._from_file({**values, "results": results}, version)
        curve._check_ranks(ValueError)
        return curve


def _over(a: float, b: float) -> float:
    """a / b with 0 / 0 = 1, and inf where b alone is 0; inf / inf is NaN."""
    if a == b:
        return 1.0 if math.isfinite(a) else math.nan
    return a / b if b > 0.0 else math.inf
