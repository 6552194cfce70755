"""What the results of `approx_subspace` and `approx_factors` have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from lpgeom.records.base import Certified, jsonable
from lpgeom.records.fields import Cost, Count, Saved, Size
from lpgeom.records.files import FORMAT_VERSION

C = TypeVar("C", bound=Certified[Any])

FIGURES = ("objective", "cost", "norm_error", "lower_bound", "ratio")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result(Saved, Generic[C]):
    """A statement and how it was come by.

    Every figure follows from the statement; without a certificate its bounds are not spoken of.
    """

    statement: C
    certified: bool
    history: tuple[Cost, ...] = field(repr=False)
    method: str
    backend: str = "cpu"
    n_iter: Count
    converged: bool
    seconds: Size
    svd_cost: Cost
    seed: int

    _FIGURES: ClassVar[tuple[str, ...]] = (
        "shape", "k", "p", *FIGURES, "guarantee", "svd_cost", "method", "backend", "history",
        "n_iter", "converged", "seconds", "seed",
    )  # fmt: skip
    _STATEMENT: ClassVar[type[Any]]
    """What `statement` is."""

    @property
    def certificate(self) -> C | None:
        """The statement, with every bound; None without bounds (certify=False)."""
        return self.statement if self.certified else None

    @property
    def p(self) -> float:
        """The exponent."""
        return self.statement.p

    @property
    def k(self) -> int:
        """The rank."""
        return self.statement.k

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d) of the data."""
        return self.statement.shape

    @property
    def cost(self) -> float:
        """The cost (a p-th power; a norm at p = inf), in user units."""
        return self.statement.cost

    @property
    def norm_error(self) -> float:
        """``cost^(1/p)``; finite even where `cost` overflows."""
        return self.statement.norm_error

    @property
    def lower_bound(self) -> float:
        """Proved: nothing of this rank costs less. 0.0 when not certified."""
        return self.statement.lower_bound if self.certified else 0.0

    @property
    def ratio(self) -> float:
        """``(cost / lower_bound)^(1/p) >= 1``; inf when not certified and not 0."""
        if self.certified:
            return self.statement.ratio
        return math.inf if self.statement.scaled_cost > 0.0 else 1.0

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(k={self.k}, p={self.p:g}, shape={self.shape}, "
            f"cost={self.cost:.6g}, lower_bound={self.lower_bound:.6g}, ratio={self.ratio:.6f}, "
            f"method={self.method!r})"
        )

    def _summary(self, head: str, bound: Sequence[str], passes: str = "") -> str:
        return "\n".join(
            (
                head,
                f"  cost         {self.cost:.6g}  (norm {self.norm_error:.6g}; "
                f"SVD's cost {self.svd_cost:.6g})",
                *bound,
                f"  guarantee    {self.guarantee:.4g}  (a-priori ratio, theory 2)",  # type: ignore[attr-defined]
                f"  method       {self.method} on {self.backend}: {self.n_iter} steps, {passes}"
                f"{self.seconds:.2f} s" + ("" if self.converged else ", not converged"),
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; bounds by name; "inf")."""
        values = {name: getattr(self, name) for name in self._FIGURES}
        values |= {"shape": list(self.shape), "p": jsonable(self.p), "history": list(self.history)}
        bounds = self.statement.bounds if self.certified else ()
        values["bounds"] = {b.name: {x: getattr(b, x) for x in b._FIGURES} for b in bounds}
        return values

    @classmethod
    def _from_file(cls, values: Any, version: int) -> Self:
        if version > 1:
            return super()._from_file(values, version)
        # Figures and parts of the statement stood beside the certificate, which might be missing.
        own = {f.name for f in fields(cls)}
        parts = {f.name: f.default for f in fields(cls._STATEMENT)}
        old = {*parts, *FIGURES, "certificate"} - own
        stated = {name: value for name, value in values.items() if name in old}
        statement = stated.pop("certificate")
        certified = statement is not None
        if not certified:
            norm = stated["norm_error"]
            statement = parts | {name: x for name, x in stated.items() if name in parts}
            statement |= {"scaled_cost": float(norm > 0.0), "unit": norm or 1.0, "bounds": ()}
            del stated["ratio"]
        new = {name: value for name, value in values.items() if name not in old}
        new |= {"statement": statement, "certified": certified}
        found = super()._from_file({"backend": "cpu"} | new, FORMAT_VERSION)
        for name, value in stated.items():
            if not _same(value, getattr(found, name)):
                raise ValueError(f"{name} is not what the certificate says")
        return found


def _same(a: Any, b: Any) -> bool:
    """Equal, but for the rounding of figures."""
    if isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return type(a) is type(b) and (
        a == b or (isinstance(b, float) and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-300))
    )
