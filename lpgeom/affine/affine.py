"""``approx_affine``: subspaces c + span V, found as linear ones of lifted rows."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.affine.around import Around, in_few
from lpgeom.affine.joint import joint_descent, mean_norm, power_of_two, residual_cost
from lpgeom.affine.lift import certify_affine, lifted, section
from lpgeom.affine.result import AffineResult
from lpgeom.affine.robust.support import Support, supported
from lpgeom.geometry.grassmann import complement, widened
from lpgeom.geometry.median import lp_median, median_bound
from lpgeom.geometry.spectrum import LARGE
from lpgeom.io import validation
from lpgeom.records.subspace import Certificate, SubspaceResult, norm_ratio
from lpgeom.rows.base import Array
from lpgeom.subspace.approx import approx_rows
from lpgeom.subspace.certify import certify as certify_given
from lpgeom.subspace.certify import cost as given_cost
from lpgeom.subspace.exact import EXACT
from lpgeom.subspace.search import ENTRIES, THROUGH, cheapest_spans
from lpgeom.subspace.solve import METHODS

CENTRES = ("median", "mean", None)

FULL = "full"
"""Name of the method for k = d: the subspace is all of the space."""

SEARCH_LIFT = 8.0
"""s for the search, in mean distances of the rows from the centre: the section of A3 then costs a
few thousandths more than the lifted subspace at most, which the joint descent makes up for."""

CLOSE = 1.1
"""With support_fraction="auto" all rows count if the subspace that is best for all of them costs
those kept at most this much more (as norms) than the one found for these alone."""

LARGEST = 1e300
"""Entries above leave no room for differences and for s."""


def approx_affine(
    A: ArrayLike,
    k: int,
    p: float = 1.0,
    *,
    centre: str | ArrayLike | None = "median",
    refine: bool = True,
    method: str = "auto",
    row_weights: ArrayLike | None = None,
    support_fraction: float | str | None = None,
    certify: bool | str = True,
    seed: int = 0,
) -> AffineResult:
    """Affine subspace of dimension k of small l_p cost, with a proof of how good it is.

    Minimises ``sum_i omega_i dist(a_i, c + span V)^p`` over c and V together (centre="median"), or
    over V alone for a given c.

    Parameters
    ----------
    A : array_like, shape (n, d)
        In memory; copied.
    k : int
        1 <= k <= d. For rows within an affine subspace of dimension k the cost is 0.
    p : float
        1 <= p <= 100.
    centre : {"median", "mean", None} or array_like, shape (d,)
        "median": part of the problem. "mean": the weighted mean. None: the origin. Or a point.
    refine : bool
        Only for "median". If False the centre is the `lp_median` of the rows, and the subspace is
        the best found through it: simpler, and without an a-priori ratio (A5).
    method : {"auto", "irls", "lewis", "svd"}
        See `approx_subspace`.
    row_weights : array_like, shape (n,), optional
    support_fraction : float, "auto" or None
        None: all rows count, and a tenth of them in one far cluster may turn the subspace. A share
        in [0.5, 1]: the rest of the rows may lie anywhere. Rows too far off a subspace that this
        share of them agrees on do not count (`supported`); cost, bounds and ratios are of the
        others, `support`. "auto": the same with 0.5, unless the subspace that is found for all rows
        costs those kept at most `CLOSE` times as much (as norms), and then all rows count.
    certify : bool or "tight"
    seed : int

    Returns
    -------
    AffineResult

    Raises
    ------
    TypeError, ValueError
        Those of `approx_subspace`; p = inf; entries above 1e300; a support_fraction out of range.

    Notes
    -----
    `approx_subspace` on the lifted rows, then reweighted steps on centre and subspace together,
    then Newton steps on the centre. For few rows and p < 2 the spans of k + 1 rows are tried, too
    (methods that search): at p = 1, k = d - 1 one of them is an optimum. The cheapest of all is
    kept, PCA among them, so that the result never costs more than PCA. The certificate is the best
    of a few values of s. With a support the descent begins at that of `supported` and at PCA of the
    rows kept, and there is no other search.

    Examples
    --------
    >>> import numpy as np
    >>> import lpgeom
    >>> rng = np.random.default_rng(0)
    >>> A = 5.0 + rng.standard_normal((300, 2)) @ rng.standard_normal((2, 6))
    >>> A += 0.01 * rng.standard_normal(A.shape)
    >>> A[:30] = 40.0 + 10.0 * rng.standard_normal((30, 6))
    >>> found = lpgeom.approx_affine(A, 2)
    >>> found.ratio < 1.1, found.cost < found.pca_cost
    (True, True)
    """
    array = validation.check_matrix(A)
    p = validation.check_p(p)
    n, d = array.shape
    k = validation.check_k(k, d, whole=True)
    seed = validation.check_seed(seed)
    validation.check_choice("certify", certify, (False, True, "tight"))
    refine = validation.check_flag("refine", refine)
    omega = validation.check_weights(row_weights, n)
    share = check_support_fraction(support_fraction)
    rows = _in_range(array, omega)

    def searched(rows: Array, k: int, centre: Any) -> tuple[_Found, NDArray[np.bool_] | None]:
        def best(weights: Array | None, start: Support | None = None) -> _Found:
            # Through a given centre there is no better start than the search's own.
            free = refine and isinstance(centre, str) and centre == "median"
            inside = _in_range(rows, weights)
            problem = _Problem(inside, weights, k, p, method, seed, start if free else None)
            return problem.best(centre, free)

        if share is None or k == rows.shape[1]:
            return best(omega), None
        point = None if isinstance(centre, str) else centre_of(rows, omega, p, centre)
        start = supported(rows, omega, k, share, point=point, seed=seed)
        weights = np.where(start.kept, 1.0 if omega is None else omega, 0.0)
        found = best(weights, start)
        if support_fraction == "auto":
            whole = best(omega)
            costs = [residual_cost(rows, f.centre, f.basis, weights, p) for f in (whole, found)]
            if costs[0] <= CLOSE * costs[1]:
                return whole, None
        return found, start.kept

    if n < d:
        name = centre if isinstance(centre, str) else None
        around = Around.of(rows, None if name else centre_of(rows, omega, p, centre))
        found, support = searched(around.rows, min(k, n), name)
        c, V = around.lifted(found.centre, found.basis, k)
        full = found.method == FULL
        found = replace(found, centre=c, basis=V, method=EXACT if full else found.method)
    else:
        found, support = searched(rows, k, centre)
    if support is not None:
        omega = np.where(support, 1.0 if omega is None else omega, 0.0)
    result = _judged(
        found, _in_range(array, omega), omega, p, linear=centre is None, certify=certify, seed=seed
    )
    return replace(result, support=support)


def check_support_fraction(support_fraction: Any) -> float | None:
    """The share of the rows to agree on; None where all rows count."""
    if support_fraction is None:
        return None
    if isinstance(support_fraction, str):
        validation.check_choice("support_fraction", support_fraction, ("auto",))
        return 0.5
    given = isinstance(support_fraction, numbers.Real) and not isinstance(support_fraction, bool)
    if not given or not 0.5 <= support_fraction <= 1.0:
        raise ValueError(
            f"support_fraction must be None, 'auto' or from 0.5 to 1; got {support_fraction!r}"
        )
    return float(support_fraction) if support_fraction < 1.0 else None


def rejudged(
    result: AffineResult,
    A: ArrayLike,
    *,
    row_weights: ArrayLike | None = None,
    certify: bool | str = True,
) -> AffineResult:
    """The same subspace with its cost and bounds on rows that say the same in another form.

    `A` may hold the rows in another order, or repeat what had been one row of a larger weight: the
    problem must be the same one, for `guarantee` is kept.
    """
    array = validation.check_matrix(A)
    omega = validation.check_weights(row_weights, len(array))
    rows = _in_range(array, omega)
    return _judged(
        result, rows, omega, result.p, linear=result.linear, certify=certify, seed=result.seed
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """What a search hands on: as the fields of `AffineResult` of these names."""

    centre: Array
    basis: Array
    guarantee: float
    method: str
    n_iter: int
    converged: bool


class _Problem:
    def __init__(
        self,
        rows: Array,
        omega: Array | None,
        k: int,
        p: float,
        method: str,
        seed: int,
        start: Support | None,
    ) -> None:
        self.rows, self.omega, self.k, self.p = rows, omega, k, p
        self.method, self.seed, self.start = method, seed, start
        self.large = rows.size >= LARGE

    def best(self, centre: str | ArrayLike | None, free: bool) -> _Found:
        """The subspace for the centre that is asked for."""
        c0 = centre_of(self.rows, self.omega, self.p, centre)
        if self.k == self.rows.shape[1]:
            return _Found(c0, np.eye(self.k), 1.0, FULL, 0, True)
        if free:
            return self.free(c0)
        return self.through(c0, centre if isinstance(centre, str) else "origin")

    def through(self, c: Array, name: str) -> _Found:
        """The best subspace through a given centre."""
        r = self._linear(self.rows - c, self.k)
        # A4: what the mean costs at most. No other centre comes with a promise (A5).
        factor = {"mean": 2.0 ** abs(1.0 - 2.0 / self.p), "origin": 1.0}.get(name, math.inf)
        promise = 1.0 if r.method == EXACT else r.guarantee * factor
        return _Found(c, r.basis, promise, r.method, r.n_iter, r.converged)

    def _linear(self, rows: Array, k: int) -> SubspaceResult:
        """The best linear subspace of rows that are made of those given."""
        return approx_rows(
            rows, k, self.p,
            method=self.method if self.start is None else "svd",
            row_weights=self.omega, certify=False, seed=self.seed,
        )  # fmt: skip

    def free(self, c0: Array) -> _Found:
        """Centre and subspace together, from the lift around c0."""
        B = self.rows - c0
        unit = power_of_two(B)
        if unit == 0.0:
            return self.through(c0, "median")
        B /= unit
        norms = np.sqrt(np.einsum("ij,ij->i", B, B))
        lift = SEARCH_LIFT * mean_norm(norms, self.omega, self.p)
        r = self._linear(lifted(B, np.zeros(B.shape[1]), lift), self.k + 1)
        if r.method == EXACT:
            return self.through(c0, "median")
        cut = section(r.basis, lift)
        starts = []
        if cut is not None:
            starts.append((cut[0], cut[1], r.guarantee / math.sqrt(cut[2]), r.method))
        mean = _mean(B, self.omega)
        starts.append((mean, _principal(B, mean, self.omega, self.k), math.inf, "pca"))
        if self.start is not None:
            c = (self.start.centre - c0) / unit
            starts.append((c, self.start.basis, math.inf, "support"))
        elif not self.large:  # a search through the centre alone may meet a better local minimum
            through = self.through(c0, "median")
            starts.append((np.zeros(len(mean)), through.basis, math.inf, through.method))
        promise = starts[0][2]  # kept by whatever costs no more
        ends = [self._descended(B, min(starts, key=lambda start: self._cost(B, *start[:2])))]
        if METHODS[self.method].searches and self.p < 2.0 and B.size <= ENTRIES:
            spans = cheapest_spans(B, self.k, self.p, omega=self.omega, affine=True)
            ends += [self._descended(B, (c, V.V, math.inf, THROUGH)) for c, V in spans]
        c, V, name, _ = min(ends, key=lambda end: self._cost(B, *end[:2]))
        n_iter = r.n_iter + sum(steps for *_, steps in ends)
        return _Found(c * unit + c0, V, promise, f"{name}, lifted", n_iter, r.converged)

    def _cost(self, B: Array, c: Array, V: Array) -> float:
        return residual_cost(B, c, V, self.omega, self.p)

    def _descended(
        self, B: Array, start: tuple[Array, Array, float, str]
    ) -> tuple[Array, Array, str, int]:
        c, V, _, name = start
        c, V, steps = joint_descent(
            B, c, V, self.omega, self.p,
            tol=1e-7 if self.large else 1e-12, max_iter=20 if self.large else 150,
        )  # fmt: skip
        return self._centred(B, c, V), V, name, steps

    def _centred(self, B: Array, c: Array, V: Array) -> Array:
        """The best centre for V; within span V, where it is free, the median of the projections."""
        W = complement(V)
        tol = 1e-6 if self.large else 1e-10
        off = lp_median(B @ W, self.p, row_weights=self.omega, tol=tol)
        along = lp_median(B @ V, self.p, row_weights=self.omega, tol=tol)
        moved = W @ off.point
        if self._cost(B, moved, V) > self._cost(B, c, V):
            moved = W @ (W.T @ c)
        return np.asarray(moved + V @ along.point)


def _judged(
    found: _Found | AffineResult,
    rows: Array,
    omega: Array | None,
    p: float,
    *,
    linear: bool,
    certify: bool | str,
    seed: int,
) -> AffineResult:
    """Cost and bounds of what was found, about the centre as it is stored."""
    centre, V, exact = found.centre, found.basis, found.method in (EXACT, FULL)
    d, k = V.shape
    B = rows - centre
    cost = pca_cost = 0.0
    off = ratio = linear_ratio = 1.0
    own: Certificate | None = None
    affine: Certificate | None = None
    lift = 0.0
    if k < d:
        mean = np.zeros(d) if linear else _mean(rows, omega)
        pca = _principal(rows, mean, omega, k)
        pca_cost = given_cost(rows - mean, pca, p, row_weights=omega)
        if not exact:
            cost = given_cost(B, V, p, row_weights=omega)
            off = judge_centre(B, V, omega, p)
            ratio = linear_ratio = math.inf
    if k < d and certify:
        level = "tight" if certify == "tight" else "fast"
        own = affine = certify_given(B, V, p, level, row_weights=omega, seed=seed)
        if not linear:
            affine, lift = certify_affine(rows, centre, V, p, level, row_weights=omega, seed=seed)
        if not exact:
            cost, ratio = affine.cost, affine.ratio
            # A bound on all affine subspaces holds for those through the centre.
            linear_ratio = min(ratio, own.ratio)
    return AffineResult(
        centre=centre,
        basis=V,
        cost=cost,
        lower_bound=affine.lower_bound if affine is not None else 0.0,
        ratio=ratio,
        linear_ratio=linear_ratio,
        centre_ratio=off,
        guarantee=1.0 if cost == 0.0 else found.guarantee,
        certificate=affine,
        linear_certificate=own,
        lift=lift,
        pca_cost=pca_cost,
        linear=linear,
        p=p,
        k=k,
        shape=(rows.shape[0], rows.shape[1]),
        method=found.method,
        n_iter=found.n_iter,
        converged=found.converged,
        seed=seed,
    )


def judge_centre(B: Array, V: Array, omega: Array | None, p: float) -> float:
    """Ratio of the centre 0 of the rows B to the best one for the subspace V (A1)."""
    n, d = B.shape
    residuals = B @ complement(V) if n >= d else in_few(B - (B @ V) @ V.T)
    residuals /= power_of_two(residuals) or 1.0
    cost, lower, ratio = median_bound(residuals, np.zeros(residuals.shape[1]), p, row_weights=omega)
    if ratio < 1.0 + 1e-6:
        return ratio
    # Dual vectors made at a poor centre prove little: those of the best one do.
    best = lp_median(residuals, p, row_weights=omega, tol=1e-6)
    return norm_ratio(cost, max(lower, best.lower_bound), p)


def _in_range(array: NDArray[Any], omega: Array | None) -> Array:
    """float64, or an error where differences and sums of entries would leave its range.

    Rows of weight 0 may hold anything: one that counts takes the place of each.
    """
    top = validation.largest_entries(array, omega)[1]
    if top > LARGEST:
        raise ValueError(
            f"entries of A reach {top:.3g}; divide A by a power of ten (1e300 at most)"
        )
    rows = np.asarray(array, dtype=np.float64)
    if omega is None or omega.all():
        return rows
    counts = omega > 0.0
    return np.where(counts[:, None], rows, rows[np.argmax(counts)])


def centre_of(rows: Array, omega: Array | None, p: float, centre: str | ArrayLike | None) -> Array:
    """The point that `centre` of `approx_affine` stands for."""
    if not (centre is None or isinstance(centre, str)):
        return validation.check_point("centre", centre, rows.shape[1])
    validation.check_choice("centre", centre, CENTRES)
    if centre == "median":
        return lp_median(rows, p, row_weights=omega).point
    return _mean(rows, omega) if centre == "mean" else np.zeros(rows.shape[1])


def _mean(rows: Array, omega: Array | None) -> Array:
    return np.asarray(np.average(rows, axis=0, weights=omega))


def _principal(rows: Array, mean: Array, omega: Array | None, k: int) -> Array:
    """The k leading principal axes about a point."""
    B = rows - mean
    unit = power_of_two(B) or 1.0
    B /= unit
    weights = np.ones(len(B)) if omega is None else omega / omega.max()
    if B.shape[0] < B.shape[1]:
        V = np.linalg.svd(B * np.sqrt(weights)[:, None], full_matrices=False)[2][:k].T
        return np.ascontiguousarray(widened(V, k))
    U = np.linalg.eigh((B * weights[:, None]).T @ B)[1]
    return np.ascontiguousarray(U[:, ::-1][:, :k])
