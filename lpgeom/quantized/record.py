"""``QuantizedResult``: rows in few bits, what they cost, and what no rows of these ranks cost less
than."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.io import validation
from lpgeom.kernels.cpu import decode_rows
from lpgeom.quantized.coder import overhead
from lpgeom.quantized.layout import REAL, WIDEST, Bytes, Ints, Layout, layout
from lpgeom.quantized.measure import (
    blocks,
    cast_distances,
    digest,
    distances,
    lengths,
    weighted_norm,
)
from lpgeom.quantized.proof import proved
from lpgeom.quantized.quantizers import QUANTIZERS, STATES, codebooks
from lpgeom.quantized.scales import Scales
from lpgeom.records import fields
from lpgeom.records.base import (
    LARGEST,
    Array,
    CertificateError,
    norm_ratio,
    plain,
    to_cost_units,
)
from lpgeom.records.check.data import check_cost
from lpgeom.records.fields import Known, Saved

Halves = NDArray[np.float16]


def _array(types: Any, shape: Callable[[Known], tuple[int | None, ...]]) -> fields.Check:
    """A plain finite array of one of these types, of a shape that follows from the fields before
    it."""
    types = types if isinstance(types, tuple) else (types,)

    def check(value: Any, known: Known) -> Any:
        wanted = shape(known)
        good = type(value) is np.ndarray and value.dtype in types and value.ndim == len(wanted)
        if not good or any(a not in (b, None) for a, b in zip(wanted, value.shape, strict=True)):
            raise fields.Unfit(f"a {np.dtype(types[0]).name} array of shape {wanted}")
        if not np.isfinite(value).all():
            raise fields.Unfit("finite")
        return value

    return check


REALS = (np.float16, np.float32)


def _of_groups(known: Known) -> tuple[int | None, ...]:
    return tuple(known["bits"].shape)


def _books(known: Known) -> tuple[int | None, ...]:
    return (None, STATES)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class QuantizedResult(Saved):
    """Rows in few bits: ``row i = scales[i] * (y_i @ basis.T)``, y_i in codes of its group.

    Costs are p-th powers in user units, ratios are of norms; `nbytes` are bytes.

    Attributes
    ----------
    shape, p : tuple of int, float
        (n, d) of the table, and the exponent.
    labels : ndarray of uint8, shape (n,)
        The group of each row.
    bits : ndarray of uint8, shape (groups, components)
        How many bits each component takes in the rows of each group: 0 to 8; or 0 and 32, which
        are float32 numbers.
    basis : ndarray of float16 (beside float32 numbers of float32), shape (d, components)
        What components are multiplied by.
    means, deviations : ndarray of float16, shape (groups, components)
        A component is its mean plus its deviation times a level.
    levels : ndarray of float16, shape (books, 256)
        A codebook for each width that occurs, narrow ones first, or none: those of a standard
        normal number then (`lpgeom.quantized.quantizers`). The byte that ends with a component's
        last bit says which of the 256.
    scale_codes, ladder : ndarray of uint8, shape (n,), tuple of float
        The scale of row i is 0 where its code is 0, else ``least * exp((code - 1) * step)``.
    codes : ndarray of uint8, shape (bytes,)
        Group by group, row by row, whole bytes a row: the components in the order of falling width,
        the most significant bit first.
    norm_error, truncation_norm, int8_norm, int4_norm : float
        p-th roots of the costs: of these rows; of real-valued factors of the same ranks and labels,
        in the subspaces that hold the codes; of each entry rounded to the nearest of 8 and of 4
        bits in groups of 32 that share a float16 scale.
    lower_bound, failure_probability : float
        Proved with `certify`: no rows of these ranks under these labels cost less, whatever they
        take. 0.0 if not certified.
    certified : bool
        Whether that was asked for.
    quantizer, seed, seconds, n_iter : str, int, float, int
    weights_digest : str
        SHA-256 of the row weights, empty without any: `verify` has to be given the same.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((2000, 12)) * np.geomspace(1, 0.01, 12)
    >>> found = lpgeom.approx_quantized(A, 12_000)
    >>> found.nbytes <= 12_000, found.dense().shape
    (True, (2000, 12))
    >>> found.verify(A)
    """

    shape: fields.Shape
    p: fields.Exponent
    labels: Annotated[Bytes, _array(np.uint8, lambda known: known["shape"][:1])]
    bits: Annotated[Bytes, _array(np.uint8, lambda known: (None, None))]
    basis: Annotated[Any, _array(REALS, lambda k: (k["shape"][1], k["bits"].shape[1]))]
    means: Annotated[Halves, _array(np.float16, _of_groups)]
    deviations: Annotated[Halves, _array(np.float16, _of_groups)]
    levels: Annotated[Halves, _array(np.float16, _books)]
    scale_codes: Annotated[Bytes, _array(np.uint8, lambda known: known["shape"][:1])]
    ladder: tuple[fields.Size, ...]
    codes: Annotated[Bytes, _array(np.uint8, lambda known: (None,))] = field(repr=False)
    norm_error: fields.Size
    truncation_norm: fields.Size
    int8_norm: fields.Size
    int4_norm: fields.Size
    lower_bound: fields.Cost
    failure_probability: fields.Size
    certified: bool
    quantizer: str
    n_iter: fields.Count
    seconds: fields.Size
    seed: int
    weights_digest: str

    def __post_init__(self) -> None:
        # Whatever a file says, what is decoded lies within the codes.
        if self.labels.size and not (self.bits.size or self.bits.shape[0]):
            raise ValueError("rows without a group")
        if int(self.labels.max(initial=0)) >= max(1, len(self.bits)):
            raise ValueError(f"labels are not below {len(self.bits)}")
        real = self.bits == REAL
        if int(self.bits[~real].max(initial=0)) > WIDEST or len(self.levels) not in (
            0,
            self.widths.size,
        ):
            raise ValueError(f"levels are not of the widths {self.widths.tolist()}, 8 at most")
        if self.quantizer not in QUANTIZERS:
            raise ValueError(f"an unknown quantizer {self.quantizer!r}")
        if real.any() and self.bits[~real].any():
            raise ValueError(f"widths of {REAL} bits beside other ones")
        if self.codes.size != self._layout.nbytes:
            raise ValueError(f"{self.codes.size} bytes of codes, not {self._layout.nbytes}")
        if len(self.ladder) != 2 or not self.ladder[0] > 0.0:
            raise ValueError("the ladder of scales is not two numbers, the first above 0")

    @cached_property
    def _layout(self) -> Layout:
        return layout(self.bits, self.sizes)

    @cached_property
    def _addresses(self) -> Ints:
        return self._layout.addresses(self.labels)

    @property
    def groups(self) -> int:
        """How many groups of rows there are."""
        return len(self.bits)

    @property
    def sizes(self) -> Ints:
        """Rows of each group."""
        return np.bincount(self.labels, minlength=len(self.bits))

    @property
    def ranks(self) -> tuple[int, ...]:
        """The dimension of the subspace in which the rows of each group lie: components that have
        bits, and one more where the others have a mean."""
        constant = np.where(self.bits > 0, 0.0, self.means).any(axis=1)
        return tuple(((self.bits > 0).sum(axis=1) + constant).tolist())

    @property
    def widths(self) -> Bytes:
        """The widths that occur, from 1 to 8 bits."""
        found = np.unique(self.bits)
        return found[(found > 0) & (found <= WIDEST)]

    @cached_property
    def codebooks(self) -> NDArray[np.float32]:
        """The 256 values of each width, shape (9, 256)."""
        books = codebooks(self.quantizer)
        if len(self.levels):
            books[self.widths] = self.levels
        return books

    @property
    def scales(self) -> Array:
        """The scale of each row, shape (n,)."""
        return Scales(*self.ladder).values(self.scale_codes)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; a file that `save` writes has at most 4096 more."""
        n, (d, r) = self.shape[0], self.basis.shape
        more = self.basis.nbytes - 2 * d * r  # where it is in float32
        return overhead(n, d, r, self.groups, len(self.levels)) + more + self.codes.size

    @property
    def cost(self) -> float:
        """``sum_i omega_i ||a_i - row_i||^p``; capped at the largest float."""
        return min(to_cost_units(1.0, self.norm_error, self.p), LARGEST)

    @property
    def truncation_cost(self) -> float:
        """What the subspaces of these ranks cost that hold the codes: ranks without bits."""
        return min(to_cost_units(1.0, self.truncation_norm, self.p), LARGEST)

    @property
    def int8_cost(self) -> float:
        """The cost of every entry rounded to 8 bits, in groups of 32: 8.5 bits an entry."""
        return min(to_cost_units(1.0, self.int8_norm, self.p), LARGEST)

    @property
    def int4_cost(self) -> float:
        """The cost of every entry rounded to 4 bits, in groups of 32: 4.5 bits an entry."""
        return min(to_cost_units(1.0, self.int4_norm, self.p), LARGEST)

    @property
    def ratio(self) -> float:
        """``(cost / lower_bound)^(1/p) >= 1``: what ranks and bits cost together; inf where
        nothing is proved."""
        return norm_ratio(self.cost, self.lower_bound, self.p)

    def rows(self, indices: ArrayLike) -> Array:
        """Some rows, shape (m, d), float64. ``O(m d components)``."""
        index = np.arange(self.shape[0])[np.asarray(indices)]
        return self._decoded(np.atleast_1d(index).ravel()).reshape(*index.shape, self.shape[1])

    def _decoded(self, index: Ints) -> Array:
        y, basis = self._components(index, np.float64), self.basis.astype(np.float64)
        found = np.empty((index.size, self.shape[1]))
        labels = self.labels[index]
        for c in np.unique(labels):
            own = np.flatnonzero(labels == c)
            used = self.bits[c] > 0
            rest = basis[:, ~used] @ self.means[c, ~used].astype(np.float64)
            mine = y[own] if used.all() else y[np.ix_(own, used)]
            found[own] = mine @ basis[:, used].T + rest
        found *= self.scales[index][:, None].astype(np.float64)
        return found

    def distances_to(self, here: slice, rows: NDArray[Any]) -> Array:
        """``||rows_i - row_i||`` of the rows in a block."""
        return distances(rows, self._decoded(np.arange(self.shape[0])[here]))

    def _components(self, index: Ints, dtype: Any) -> NDArray[Any]:
        """The components of some rows, shape (m, components)."""
        lay, sizes = self._layout, self.deviations.astype(dtype)
        y = np.zeros((index.size, self.bits.shape[1]), dtype)
        if (self.bits == REAL).any():
            for c, order in enumerate(lay.order):
                own = np.flatnonzero(self.labels[index] == c)
                places = self._addresses[index[own], None] + np.arange(lay.strides[c])
                y[np.ix_(own, order)] = self.codes[places].view("<f4")
            return y
        decode_rows(
            y, self.codes, self._addresses[index], self.labels[index], lay.byte, lay.shift,
            lay.mask, self.bits, self.codebooks, sizes, self.means.astype(dtype),
        )  # fmt: skip
        return y

    def dense(self, dtype: Any = np.float64) -> NDArray[Any]:
        """The whole table, shape (n, d)."""
        out = np.empty(self.shape, dtype=dtype)
        for here in blocks(*self.shape):
            out[here] = self.rows(np.arange(self.shape[0])[here])
        return out

    def verify(
        self, A: ArrayLike, *, row_weights: ArrayLike | None = None, rtol: float = 1e-9
    ) -> None:
        """Recompute the costs, those of the casts, too, and the lower bound, from A.

        Parameters
        ----------
        A : array_like, shape (n, d)
            The rows that were coded.
        row_weights : array_like, shape (n,), optional
            Those that were given then: they are not kept, being larger than the codes.
        rtol : float
            Relative difference of the costs that passes.

        Raises
        ------
        CertificateError
            If something stated does not hold for A.
        """
        fields.check_fields(self)
        if isinstance(A, np.ma.MaskedArray):
            raise CertificateError("A is masked: what is behind a mask is not said")
        A = validation.check_matrix(A)
        if A.shape != self.shape:
            raise CertificateError(f"A has shape {A.shape}; the result is for {self.shape}")
        omega = validation.check_weights(row_weights, self.shape[0])
        if digest(omega) != self.weights_digest:
            raise CertificateError("the result is about other row weights")
        truncation, bound, chance = proved(self, A.__getitem__, omega, self.certified)
        counted = A if omega is None else A[omega > 0.0]
        e = min(max(int(np.frexp(np.abs(counted).max(initial=0.0))[1]), -1020), 1020)

        def scaled(here: slice) -> Array:
            return np.ldexp(A[here].astype(np.float64), -e)

        casts = cast_distances(scaled, self.shape, omega)
        int8, int4 = (math.ldexp(weighted_norm(t, omega, self.p), e) for t in casts)
        off = [self.distances_to(here, A[here]) for here in blocks(*A.shape)]
        norm = weighted_norm(np.concatenate(off), omega, self.p)
        slack = 1e-11 * weighted_norm(lengths(A), omega, self.p)
        for stated, found in (
            (self.norm_error, norm), (self.truncation_norm, truncation),
            (self.int8_norm, int8), (self.int4_norm, int4),
        ):  # fmt: skip
            norms = (max(0.0, found - slack), found, found + slack)
            check_cost(stated, norms, math.inf, rtol, 1.0)
        for name, stated, found, holds in (
            ("lower bound", self.lower_bound, bound, self.lower_bound <= bound),
            ("failure probability", self.failure_probability, chance,
             chance <= self.failure_probability),
        ):  # fmt: skip
            if not holds:
                raise CertificateError(f"{name} is stated as {stated!r}, recomputed {found!r}")

    def summary(self) -> str:
        """A few lines of text: the bytes, the cost beside others', and how it is certified."""
        n, d = self.shape
        bound = f"{self.lower_bound:.6g}" if self.certified else "none computed (certify=False)"
        per = 8.0 * self.nbytes / (n * d)
        return "\n".join([
            f"{n} x {d} rows in {self.nbytes} bytes ({per:.2f} bits an entry), p = {self.p:g}",
            f"  groups       {self.groups}, of {self.sizes.min()} to {self.sizes.max()} rows",
            f"  ranks        {', '.join(map(str, self.ranks))}",
            f"  cost         {self.cost:.6g}  (ranks alone {self.truncation_cost:.6g}; int8 "
            f"{self.int8_cost:.6g} at 8.5 bits, int4 {self.int4_cost:.6g} at 4.5)",
            f"  lower bound  {bound}",
            f"  method       {self.quantizer}: {self.n_iter} rounds, {self.seconds:.2f} s",
        ])  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"QuantizedResult(shape={self.shape}, p={self.p:g}, nbytes={self.nbytes}, "
            f"groups={self.groups}, cost={self.cost:.6g}, lower_bound={self.lower_bound:.6g})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON (arrays left out; inf as a string)."""
        return plain(
            self,
            ("shape", "p", "nbytes", "groups", "sizes", "ranks", "cost", "norm_error",
             "truncation_cost", "int8_cost", "int4_cost", "lower_bound", "ratio",
             "failure_probability", "certified", "quantizer", "n_iter", "seconds", "seed"),
        )  # fmt: skip
