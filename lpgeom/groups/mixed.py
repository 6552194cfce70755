"""``approx_mixed``: rows split among subspaces whose ranks one budget of numbers decides."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lpgeom.geometry.grassmann import Frame, completed
from lpgeom.geometry.spectrum import eigen
from lpgeom.groups.allocation import allocated
from lpgeom.groups.base import (
    FactoredRows,
    GroupSolver,
    Labels,
    each,
    is_large,
)
from lpgeom.groups.splits import searched
from lpgeom.io import validation
from lpgeom.progress import Progress
from lpgeom.records.base import LARGEST, p_norm
from lpgeom.records.groups import MixedResult, Part
from lpgeom.records.subspace import to_cost_units
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.blocks import BlockRows
from lpgeom.rows.door import Problem, open_array, plain_rows
from lpgeom.rows.vectors import fetched
from lpgeom.subspace.svd_curve import tails
from lpgeom.threads import limited, sized

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MAX_ITER = 60

PATIENCE, TOL = 4, 1e-3
"""A descent ends after so many rounds that together bring less than this share of the cost."""

SMOOTHING = 1e-2
"""Squared distances below this share of their group's mean weigh no more than those at it."""

FIRST = 0.05
"""Share of the rows, the costliest ones, in the first group at the start; the next groups grow
geometrically."""


def approx_mixed(
    A: ArrayLike,
    budget: int,
    p: float = 1.0,
    *,
    subspaces: int = 4,
    row_weights: ArrayLike | None = None,
    certify: bool | str = True,
    backend: str = "auto",
    seed: int = 0,
    max_iter: int | None = None,
    progress: bool = False,
) -> MixedResult:
    """Several subspaces of different ranks, every row to its own, within a budget of numbers.

    Looks for labels, ranks k_1, ..., k_j and orthonormal V_c of shape (d, k_c) with a small

        cost = sum_i omega_i dist(a_i, V_label(i))^p   subject to   sum_c s_c <= budget,

    where s_c is what the n_c rows of label c take: ``k_c (n_c + d)`` numbers in two factors, or
    ``n_c d`` as they are (k_c = d, cost 0), or none (k_c = 0, the rows become zero). Rows that
    weigh much end in groups of high rank, many light ones share a few dimensions.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points, in memory or a memory map. Floating or integer, any layout.
    budget : int
        Numbers to be stored, at least 1. From n d on every row is kept as it is.
    p : float
        1 <= p <= 100.
    subspaces : int
        j >= 1, at most.
    row_weights : array_like, shape (n,), optional
        omega >= 0, not all zero.
    certify : bool or "tight"
        The same as in `approx_subspace`, for each group's subspace.
    backend : {"auto", "cpu", "cuda"}
        The same as in `approx_subspace`; labels are found here, from distances found there.
    seed : int
        Decides one start on small data, and the tight bounds.
    max_iter : int, optional
        Rounds of the descent, at most; 60 if not given.
    progress : bool
        A counter of rounds on stderr.

    Returns
    -------
    MixedResult
        `labels`, `ranks`, `bases`, the result of each group, `storage`, `cost`, `lower_bound`,
        `ratio`; `factors` gives what is to be stored.

    Raises
    ------
    TypeError, ValueError
        The same as for `approx_subspace`; p = inf is not among the exponents.

    Notes
    -----
    Rounds of three steps: bases, the eigenvectors of each group's (reweighted) Gram; ranks, by
    which the budget goes where a number takes off most of the costs along these eigenvectors
    (`lpgeom.groups.allocation`); labels, each row to the group where its cost plus the price of
    its numbers is least. The least cost seen within the budget counts. The first start groups
    rows by their cost; small A (below 2^20 entries) has a second one, the labels that
    `approx_clusters` looks for at that storage. What is promised: the storage is within the
    budget; the cost never exceeds that of the one subspace `approx_subspace` finds for the same
    storage; the lower bound holds for all subspaces of the ranks returned *under the labels
    returned*. A round takes some ``n d (d + sum_c k_c)`` operations and j eigendecompositions.
    docs/clusters.md has the proofs.
    Related: Chen et al., "GroupReduce: block-wise low-rank approximation for neural language model
    shrinking", NeurIPS 2018, with groups and ranks by frequency at first.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((400, 20))
    >>> omega = 1.0 / np.arange(1, 401)  # the first rows matter most
    >>> found = lpgeom.approx_mixed(A, 4000, p=2.0, row_weights=omega)
    >>> found.storage <= 4000, found.cost < 0.6 * found.single_cost
    (True, True)
    """
    started = time.perf_counter()
    budget = validation.check_positive_int("budget", budget)
    j = validation.check_positive_int("subspaces", subspaces)
    validation.check_choice("certify", certify, (False, True, "tight"))
    seed = validation.check_seed(seed)
    steps = validation.check_steps(max_iter, MAX_ITER)
    problem = open_array(A, p, row_weights, backend=backend)
    n, d = problem.rows.shape
    with device.device_of(problem.A):
        task = _MixedTask(problem, seed, certify, started, budget)
        rank = d if budget >= n * d else budget // (n + d)
        single = task.part(None, rank, certify if j == 1 else False)
        if j == 1 or single.norm_error == 0.0:
            return task.record(single)
        with limited(), sized(n, d), device.algebra(problem.rows), Progress(progress) as bar:
            groups = _Groups(problem, min(j, n), budget)
            found = descend(groups, groups.first(), steps, bar.step)
            k = budget // (n + groups.j * d)
            if k > 0 and not is_large(problem):  # rows that fall into clusters are found by these
                equal = groups.nearest(searched(problem, k, groups.j, seed, None, steps, bar).bases)
                found = min(
                    found, descend(groups, equal, steps, bar.step), key=lambda end: end.cost
                )
            bar.stage("each group")
            parts = tuple(
                task.part(np.flatnonzero(found.labels == c), k, certify)
                for c, k in enumerate(found.ranks)
            )
        norm = p_norm([q.norm_error for q in parts], problem.p)
        less = norm < single.norm_error * (1.0 - 1e-12)  # by more than rounding
        if less and sum(q.cost for q in parts) <= single.cost:
            return task.record(single, parts, found)
        return task.record(task.part(None, rank, certify) if certify else single)


# ---------------------------------------------------------------- the descent


@dataclass(frozen=True)
class RankedLabels:
    """Labels and the rank of each; `cost` in units of the descent, `history` in user units.

    `t` are squared distances by which the rows weigh at the start of a descent.
    """

    labels: Labels
    ranks: list[int]
    t: Array
    cost: float = math.inf
    history: tuple[float, ...] = ()
    n_iter: int = 0
    converged: bool = True


class _Groups(FactoredRows):
    """The rows as the descent sees them.

    Squared lengths are in units of the largest, factors included, and p-th powers of distances at
    most 1; for p > 4, whose powers need a wide range, 10^200.
    """

    def __init__(self, problem: Problem[BlockRows], j: int, budget: int) -> None:
        rows = plain_rows(problem)
        super().__init__(rows.single() if is_large(problem) else rows, problem.factors, problem.p)
        self.j, self.budget = j, budget
        self.n, self.d = rows.shape
        squares = self.scaled(self.lengths)
        self.largest = float(squares.max()) or 1.0
        if self.p > 4.0:
            self.largest *= 10.0 ** (-400.0 / self.p)
        self.unit = problem.unit * math.sqrt(self.largest)
        self.norms = squares / self.largest

    def costs(self, t: Array) -> Array:
        return np.asarray(t ** (self.p / 2.0))

    def first(self) -> RankedLabels:
        """Rows of falling cost, in groups geometrically larger."""
        labels = np.zeros(self.n, dtype=np.intp)
        edges = np.geomspace(max(1.0, FIRST * self.n), self.n, self.j)[:-1]
        order = np.argsort(-self.norms, kind="stable")
        labels[order] = np.searchsorted(edges, np.arange(self.n), side="right")
        return RankedLabels(labels, [0] * self.j, self.norms)

    def nearest(self, bases: Sequence[Array]) -> RankedLabels:
        """Each row with the nearest of subspaces of one rank."""
        ranks = [V.shape[1] for V in bases]
        labels, t = self.moved([completed(V) for V in bases], ranks, 0.0)
        return RankedLabels(labels, ranks, t, float(self.costs(t).sum()))

    def fitted(self, index: Labels, t: Array) -> tuple[Array, Array]:
        """All eigenvectors of a group, the leading first, and the costs along them, rank by rank.

        Rows weigh ``max(t, eps)^(p/2 - 1)``: for p < 2 the eigenvectors then lower the smoothed
        cost at every rank (docs/clusters.md).
        """
        if index.size == 0:
            return np.eye(self.d), np.zeros(self.d + 1)
        own = t[index]
        rows = self.take(index)
        w = None
        if self.p != 2.0 and own.any():
            own = np.maximum(own, SMOOTHING * own.mean())
            w = (own / (own.min() if self.p < 2.0 else own.max())) ** (self.p / 2.0 - 1.0)
        lam, U = eigen(np.asarray(rows.weighted_gram(w), dtype=np.float64))
        curve = np.zeros(self.d + 1)
        if self.p == 2.0:
            curve[: self.d] = np.cumsum(np.maximum(lam, 0.0))[::-1] / self.largest
        else:
            inverse = np.full(self.d, 1.0 / self.largest)
            curve[: self.d] = tails(rows, U.astype(self.rows.dtype), inverse, self.p)[::-1]
        return np.ascontiguousarray(U[:, ::-1]), np.minimum.accumulate(curve)

    def distances(self, V: Array, k: int) -> Array:
        """Squared distances in units of the largest length, factors included."""
        if k >= self.d:
            return np.zeros(self.n)
        if k == 0:
            return self.norms
        return self.scaled(self.squared_distances(Frame(V[:, :k], V[:, k:]))) / self.largest

    def moved(self, U: Sequence[Array], ranks: Sequence[int], price: float) -> tuple[Labels, Array]:
        """Each row to where its cost and the price of its numbers are least together."""
        least = np.full(self.n, np.inf)
        labels = np.zeros(self.n, dtype=np.intp)
        t = np.zeros(self.n)
        for c, k in enumerate(ranks):
            own = self.distances(U[c], k)
            total = self.costs(own) + price * k
            closer = total < least
            least[closer], t[closer], labels[closer] = total[closer], own[closer], c
        return labels, t


def descend(
    groups: _Groups, start: RankedLabels, max_iter: int, tick: Callable[[str], None]
) -> RankedLabels:
    """Rounds of bases, ranks and labels until they bring no more; the best within the budget, of
    which the start is one."""
    best, labels, t = start, start.labels, start.t
    history: list[float] = []
    converged = False
    n_iter = 0
    with np.errstate(under="ignore"):
        while True:
            index = [np.flatnonzero(labels == c) for c in range(groups.j)]
            fits = each(lambda c: groups.fitted(index[c], t), groups.j, groups.size)  # noqa: B023
            counts = [i.size for i in index]
            curves = [curve for _, curve in fits]
            ranks, price = allocated(curves, counts, groups.d, groups.budget)
            cost = sum(float(curve[k]) for curve, k in zip(curves, ranks, strict=True))
            if cost < best.cost:
                best = RankedLabels(labels, ranks, t, cost)
            history.append(best.cost)
            tick(f"cost {best.cost:.6g}")
            if len(history) > PATIENCE:
                converged = history[-1] > (1.0 - TOL) * history[-1 - PATIENCE]
            if converged or best.cost == 0.0 or n_iter >= max_iter:
                break
            n_iter += 1
            labels, t = groups.moved([U for U, _ in fits], ranks, price)
    return replace(
        best,
        history=tuple(to_cost_units(h, groups.unit, groups.p) for h in history),
        n_iter=n_iter,
        converged=converged or best.cost == 0.0,
    )


# ---------------------------------------------------------------- each group's result


@dataclass(frozen=True)
class _MixedTask(GroupSolver):
    """What is asked for; it leads from rows to parts, and to the record of them."""

    budget: int

    def part(self, index: Labels | None, k: int, certify: bool | str) -> Part:
        """Some rows (None: all) in one subspace of rank k."""
        d = self.problem.rows.shape[1]
        if k >= d or not (index is None or self.counts(index)):
            return Part(np.eye(d)[:, :k])
        if k > 0:
            result = self.solved(index, k, certify)
            return Part(result.basis, result)
        A, omega = self.rows_of(index)
        # Its own scale: nothing underflows.
        own = open_array(A, self.problem.p, omega, backend=self.problem.backend)
        norm = p_norm(np.sqrt(fetched(own.rows.squared_norms())), own.p) * own.unit
        return Part(np.empty((d, 0)), norm=norm, p=own.p)

    def record(
        self, single: Part, parts: tuple[Part, ...] = (), found: RankedLabels | None = None
    ) -> MixedResult:
        """The rows in their groups; without `parts` in the one subspace."""
        n, d = self.problem.rows.shape
        found = found or RankedLabels(np.zeros(n, np.intp), [single.rank], np.zeros(n))
        method, parts = "mixed ranks" if parts else "single", parts or (single,)
        cost = min(sum(q.cost for q in parts), LARGEST)
        history = [single.cost, *found.history, cost]
        return MixedResult(
            labels=found.labels.astype(np.int64),
            parts=parts,
            budget=self.budget,
            single_rank=single.rank,
            single_cost=single.cost,
            svd_cost=single.svd_cost,
            history=tuple(np.maximum(np.minimum.accumulate(history), cost).tolist()),
            p=self.problem.p,
            shape=(n, d),
            method=method,
            n_iter=found.n_iter,
            converged=found.converged,
            seconds=time.perf_counter() - self.started,
            seed=self.seed,
            row_weights=self.problem.omega,
        )
