"""The entrywise problem: A scaled, row weights folded in, and what each entry weighs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom.entries.run import entries_cost, parts
from lpgeom.geometry.spectrum import leading
from lpgeom.io import validation
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.door import open_anywhere
from lpgeom.rows.place import Place, check_matrix, place_for, place_of
from lpgeom.rows.vectors import beside

MOST = 1e280
"""Larger weights of entries count as this in a lower bound: costs beyond it leave float64."""

FILLS = 100
"""Rounds of filling in what is missing from the last low-rank fit, at most."""

FILL_TOL = 1e-6
"""Filling in ends when the error on what is there changes by less than this share."""


@dataclass(frozen=True)
class Entries:
    """Find rank-k ``left @ right`` of small ``sum W |B - left @ right|^p``.

    A, B and W are on one place, the host or a CUDA device, as are the factors that methods take.

    Attributes
    ----------
    A : ndarray, shape (n, d)
        The user's data, missing entries as 0.
    B : ndarray, shape (n, d), float64
        ``factor * scale * A``, row by row.
    W : ndarray, shape (n, d), or None
        Weights of entries, the largest 1; 0 where one is missing.
    row_weights : ndarray, shape (n,), or None
    entry_weights : ndarray, shape (n, d), or None
        What the user gave, on the host; `factors` are the p-th roots of the row weights, the
        largest 1.
    factors : ndarray, shape (n,), or None
    scale : float
    unit : float
        The norm that norm 1 stands for in `B` and `W`.
    """

    A: Any
    B: Any
    W: Any
    row_weights: Array | None
    entry_weights: Array | None
    factors: Array | None
    scale: float
    unit: float
    p: float
    k: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.B.shape[0], self.B.shape[1]

    @property
    def place(self) -> Place:
        """Where the arrays are."""
        return place_of(self.B)

    def cost(self, left: Any, right: Any) -> float:
        """``sum W |B - left right|^p`` in float64; inf where that overflows."""
        return entries_cost(self.B, left, right, self.p, self.W)

    @cached_property
    def rounding(self) -> float:
        """A cost that is nothing but rounding of B."""
        (n, d), zeros = self.shape, self.place.xp.zeros
        eps = 4.0 * max(n, d) * float(np.finfo(np.float64).eps)
        return eps**self.p * self.cost(zeros((n, 1)), zeros((1, d)))

    def least_weights(self, J: NDArray[np.intp], axis: str) -> Array | None:
        """``min over j in J of omega_i W_ij`` in the user's units, for each row i; None for 1.

        With axis "columns", J are rows and there is one number for each column.
        """
        if self.W is None and self.row_weights is None and self.entry_weights is None:
            return None

        def part(array: Any, there: Any = J) -> Any:
            return array[:, there] if axis == "rows" else array[there]

        given = self.entry_weights
        weights = part(np.broadcast_to(1.0, self.shape) if given is None else given)
        if self.W is not None:
            counts = part(self.W, beside(self.W, J)) > 0.0
            weights = np.where(self.place.host(counts), weights, 0.0)
        if self.row_weights is not None:
            omega = part(np.broadcast_to(self.row_weights[:, None], self.shape))
            with np.errstate(over="ignore"):
                weights = np.minimum(weights * omega, MOST)
        return np.asarray(weights.min(axis=1 if axis == "rows" else 0))

    def is_exact(self, left: Any, right: Any) -> bool:
        """Whether every residual that counts is rounding of what it is the difference of."""
        eps = 4.0 * max(self.shape) * float(np.finfo(np.float64).eps)
        for part in parts(self.B):
            size = np.abs(self.B[part]) + np.abs(left[part]) @ np.abs(right)
            fits = np.abs(self.B[part] - left[part] @ right) <= eps * size
            if not (fits.all() if self.W is None else fits[self.W[part] > 0.0].all()):
                return False
        return True

    def largest(self, left: Any, right: Any) -> float:
        """The largest residual of an entry that counts."""
        top = 0.0
        for part in parts(self.B):
            r = np.abs(self.B[part] - left[part] @ right)
            top = max(top, float(r.max() if self.W is None else (r * (self.W[part] > 0.0)).max()))
        return top

    def centred(self) -> Entries:
        """For p > 2, rescaled so that the SVD's largest residual is near 1.

        High powers of residuals far from 1 would leave the range of float64.
        """
        if self.p <= 2.0:
            return self
        top = self.largest(*self.projected(self.k))
        if top == 0.0:
            return self
        # The scale itself has to be a float, and so have the squares of entries.
        room = min(1020 - math.frexp(self.scale)[1], 480)
        factor = math.ldexp(1.0, min(-math.frexp(top)[1], room))
        return replace(self, B=self.B * factor, scale=self.scale * factor, unit=self.unit / factor)

    def projected(self, k: int, limit: float = math.inf) -> tuple[Any, Any]:
        """The SVD's factors of B, its entries cut off at `limit`.

        Where entries are missing, they are filled in from the fit again and again (expectation
        and maximisation for Gaussian noise).
        """
        C = self.B if math.isinf(limit) else np.clip(self.B, -limit, limit)
        if self.W is None or self.W.all():
            V = _leading(C, k)
            return C @ V, V.T
        missing = self.W == 0.0
        C = np.where(missing, 0.0, C)
        error = math.inf
        for _ in range(FILLS):
            V = _leading(C, k)
            left = C @ V
            fit = left @ V.T
            before, error = error, float((np.where(missing, 0.0, C - fit) ** 2).sum())
            if before - error <= FILL_TOL * before:
                break
            C = np.where(missing, fit, C)
        return left, V.T

    def typical(self) -> float:
        """The median size of the entries that count."""
        rows = np.any(self.B != 0.0, axis=1)
        size = np.abs(self.B[rows])
        if self.W is not None:
            size = size[self.W[rows] > 0.0]
        return (float(np.median(size)) or float(size.mean())) if size.size else 0.0

    def in_user_units(self, left: Array, right: Array) -> Array:
        """The left factor for A, where it is one for B; both on the host."""
        left = left / self.scale
        if self.factors is None:
            return left
        f = self.factors
        left = np.where(f[:, None] > 0.0, left / np.where(f > 0.0, f, 1.0)[:, None], 0.0)
        idle = f == 0.0  # these count for nothing: their projections
        rows = self.place.host(self.A[beside(self.A, np.flatnonzero(idle))])
        rows = np.asarray(rows, dtype=np.float64)
        e = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1][:, None]  # they may hold anything
        with np.errstate(over="ignore"):
            far = np.ldexp(np.ldexp(rows, -e) @ right.T, e)
        left[idle] = np.clip(far, -np.finfo(np.float64).max, np.finfo(np.float64).max)
        return left


def open_entries(
    A: Any,
    k: Any,
    p: Any,
    row_weights: Any,
    entry_weights: Any,
    missing: Any,
    backend: str = "cpu",
) -> Entries:
    """Check the input; `B` has entries below 1. `backend` as in `approx_factors`.

    Raises
    ------
    MemoryError
        The arrays of a descent do not fit on the device.
    """
    validation.check_choice("missing", missing, ("raise", "ignore"))
    row_weights, entry_weights = device.fetched(row_weights), device.fetched(entry_weights)
    place = place_for(A, backend)
    if not place.on_device:
        A = device.fetched(A)
    there = device.on_device(A)
    array = check_matrix(A, missing=missing == "ignore")
    W = given = None
    if entry_weights is not None:
        given = validation.check_entry_weights(entry_weights, array.shape, "entry_weights")
        given = np.array(np.broadcast_to(given, array.shape))
    ignored = missing == "ignore" and array.dtype.kind == "f"
    if place.on_device:
        _check_room(array, given is not None or ignored, there)
        array = device.sent(array, place.sweep_rows(array.shape[1])) if not there else array
    if given is not None:
        W = place.xp.array(given)
        hidden = array.dtype.kind == "f" and not ignored and np.isnan(array[W == 0.0]).any()
        if hidden and not np.isnan(array[W > 0.0]).any():
            raise ValueError(
                'A has NaN, where entry_weights are 0 alone: missing="ignore" takes NaN for a '
                "missing entry"
            )
    if ignored and (gone := np.isnan(array)).any():
        W = place.xp.ones(array.shape) if W is None else W
        W[gone] = 0.0
        array = np.where(gone, array.dtype.type(0), array)
    if W is not None and not W.any():
        raise ValueError("no entry counts: all are missing or have weight 0")
    problem = open_anywhere(array, p, row_weights, backend=place.backend)
    k = validation.check_k(k, array.shape[1])
    unit = problem.unit
    B = problem.rows.dense()
    if W is not None:
        top = float(W.max())
        if problem.factors is not None:
            top = float((W * place.xp.asarray(problem.factors > 0.0)[:, None]).max())
            if top == 0.0:
                raise ValueError("no entry counts: where entry_weights are not 0, row_weights are")
        W = W / top
        unit *= top ** (1.0 / problem.p)
        B[W == 0.0] = 0.0
        if W.all() and (W == 1.0).all():
            W = None
    return Entries(
        array, B, W, problem.omega, given, problem.factors, problem.scale, unit, problem.p, k
    )


def _check_room(A: Any, weighted: bool, there: bool) -> None:
    """Whether the arrays of a descent fit on the device.

    B, two more of its size for ADMM, and for n < d what is turned; some are made before others are
    given up.
    """
    n, d = A.shape
    own = 0 if there else n * d * (4 if A.dtype == np.float32 else 8)
    arrays = 6 + (2 if weighted else 0)
    wanted, free = own + 8 * n * d * arrays, device.free_bytes()
    if wanted > free:
        rows = free // (wanted // n + 1)
        raise MemoryError(
            f"entries of shape ({n}, {d}) need {wanted / 2**20:.0f} MiB of device memory, "
            f"{free / 2**20:.0f} MiB are free; {rows} rows of {d} columns would fit; "
            'backend="cpu" works in host memory'
        )


def _leading(C: Any, k: int) -> Any:
    """The k leading right singular vectors, (d, k)."""
    n, d = C.shape
    place = place_of(C)
    if n < d:
        V = np.linalg.svd(C, full_matrices=k > n)[2][:k].T
        return place.array(V)
    return place.array(leading(C.T @ C, k))
