"""``approx_clusters``: rows split among several subspaces, each solved and certified."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lpgeom.groups.base import GroupSolver, Labels, each, is_large
from lpgeom.groups.splits import Searched, searched
from lpgeom.io import validation
from lpgeom.progress import Progress
from lpgeom.records.base import LARGEST, p_norm
from lpgeom.records.groups import ClusterResult, Part
from lpgeom.records.subspace import SubspaceResult
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.blocks import Stop
from lpgeom.rows.door import open_array, plain_rows
from lpgeom.rows.pairs import row_dots
from lpgeom.threads import limited, requested_threads, sized

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

T = TypeVar("T")

RESOLVES = 4
"""Solves of a subspace at most, each after rows have moved to where they are nearest; one on large
data."""

DEFAULT_MAX_ITER, LARGE_MAX_ITER = 100, 40


def approx_clusters(
    A: ArrayLike,
    k: int,
    p: float = 1.0,
    *,
    subspaces: int,
    row_weights: ArrayLike | None = None,
    certify: bool | str = True,
    backend: str = "auto",
    seed: int = 0,
    restarts: int | None = None,
    max_iter: int | None = None,
    progress: bool = False,
) -> ClusterResult:
    """Several rank-k subspaces, every row to its own, of small l_p cost (projective clustering).

    Looks for labels and orthonormal V_1, ..., V_j of shape (d, k) with a small

        cost = sum_i omega_i dist(a_i, V_label(i))^p,

    and certifies each subspace for the rows of its label. It takes n k + j d k numbers to store the
    rows so, against n k + d k for one subspace.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Rows are points, in memory or a memory map. Floating or integer, any layout. Reported
        numbers come from float64 passes whatever the dtype.
    k : int
        1 <= k <= d - 1.
    p : float
        1 <= p <= 100.
    subspaces : int
        j >= 1. For 1 this is `approx_subspace`; from as many as there are different rows over k
        on the cost is 0.
    row_weights : array_like, shape (n,), optional
        omega >= 0, not all zero. A row of weight 0 gets the label of the subspace nearest to it.
    certify : bool or "tight"
        The same as in `approx_subspace`, for each subspace.
    backend : {"auto", "cpu", "cuda"}
        The same as in `approx_subspace`; labels are found here, from distances found there.
    seed : int
        For the starts, samples, and tight bounds. The same seed gives the same result; other
        numbers of threads agree up to rounding.
    restarts : int, optional
        Starts tried. If not given: 5 for large A, up to 24 for small ones.
    max_iter : int, optional
        Rounds of one descent, at most. If not given: 40 for large A, 100 for small ones.
    progress : bool
        A counter of rounds on stderr.

    Returns
    -------
    ClusterResult
        `labels`, `bases`, the result of each subspace, `cost`, `lower_bound`, `ratio`.

    Raises
    ------
    TypeError, ValueError
        The same as for `approx_subspace`; p = inf is not among the exponents.

    Notes
    -----
    What is promised (docs/clusters.md has the proofs): the cost never exceeds that of the one
    subspace `approx_subspace` finds for the same arguments, and never rises along `history`; the
    lower bound holds for every choice of j subspaces *under the labels returned*, not for other
    labels. Already whether j subspaces of dimension 2 can hold all rows in R^3 is NP-hard to tell.
    A round costs about ``2 n d (j min(k, d - k) + d)`` operations and j eigendecompositions.
    Sources: Bradley and Mangasarian, "k-plane clustering", J. Global Optim. 16 (2000); Tseng,
    "Nearest q-flat to m points", J. Optim. Theory Appl. 105 (2000); Maalouf, Lang, Rus, Feldman,
    "Deep learning meets projective clustering", ICLR 2021.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> lines = rng.standard_normal((3, 8))  # three lines in R^8
    >>> A = rng.standard_normal((300, 1)) * lines[np.arange(300) % 3]
    >>> A += 0.01 * rng.standard_normal(A.shape)
    >>> found = lpgeom.approx_clusters(A, k=1, subspaces=3)
    >>> found.bases.shape, found.cost < 0.1 * found.single_cost, found.ratio < 1.1
    ((3, 8, 1), True, True)
    """
    started = time.perf_counter()
    j = validation.check_positive_int("subspaces", subspaces)
    validation.check_choice("certify", certify, (False, True, "tight"))
    seed = validation.check_seed(seed)
    restarts = None if restarts is None else validation.check_positive_int("restarts", restarts)
    problem = open_array(A, p, row_weights, backend=backend)
    usual = LARGE_MAX_ITER if is_large(problem) else DEFAULT_MAX_ITER
    steps = validation.check_steps(max_iter, usual)
    k = validation.check_k(k, problem.rows.shape[1])
    task = _ClusterTask(problem, seed, certify, started, k, j)
    with device.device_of(problem.A):
        single = task.solved(None, k, certify if j == 1 else False)
        if j == 1 or single.method == "rank":
            return task.of_single(single)
        there = device.algebra(problem.rows)
        with limited(), sized(*problem.rows.shape), there, Progress(progress) as bar:
            found = searched(problem, k, j, seed, restarts, steps, bar)
            bar.stage("each subspace")
            return task.of_split(found, single)


@dataclass(frozen=True)
class _ClusterTask(GroupSolver):
    """What is asked for; it leads from labels to results, and to the record of them."""

    k: int
    j: int

    def of_single(self, single: SubspaceResult) -> ClusterResult:
        """Every row in the one subspace, which each label has a copy of."""
        results = (single, *[None] * (self.j - 1))
        return ClusterResult(
            labels=np.zeros(single.shape[0], dtype=np.int64),
            parts=tuple(Part(single.basis, result) for result in results),
            single_cost=single.cost,
            svd_cost=single.svd_cost,
            history=(min(single.cost, LARGEST),),  # as the record's cost is
            p=self.problem.p,
            shape=single.shape,
            method=single.method if single.method == "rank" else "single",
            n_iter=single.n_iter,
            converged=single.converged,
            seconds=time.perf_counter() - self.started,
            seed=self.seed,
            row_weights=self.problem.omega,
        )

    def of_split(self, found: Searched, single: SubspaceResult) -> ClusterResult:
        """Labels by distance, each label's rows solved, and rows moved while that pays."""
        p = self.problem.p
        large = is_large(self.problem)
        bases = found.bases
        history = [single.cost, *found.history]
        labels: Labels | None = None
        results: list[SubspaceResult | None] = [None] * self.j
        norm = math.inf
        settled = large
        for _ in range(1 if large else RESOLVES):
            moved, y = self._nearest(bases)
            here = p_norm(y, p) * self.problem.unit
            if labels is not None and here >= norm * (1.0 - 1e-10 / p):
                settled = True
                break
            rows_of = [np.flatnonzero(moved == c) for c in range(self.j)]
            changed = [
                c
                for c, index in enumerate(rows_of)
                if labels is None or not np.array_equal(index, np.flatnonzero(labels == c))
            ]
            changed.sort(key=lambda c: -rows_of[c].size)  # the longest first
            solved = _side_by_side(
                [partial(self._of_label, rows_of[c], bases[c], y) for c in changed],
                self.problem.backend,
            )
            for c, result in zip(changed, solved, strict=True):
                results[c] = result
            labels = moved
            bases = [V if r is None else r.basis for V, r in zip(bases, results, strict=True)]
            norm = p_norm([r.norm_error for r in results if r is not None], p)
            history.append(sum(r.cost for r in results if r is not None))
        assert labels is not None
        if not (norm <= single.norm_error and history[-1] <= single.cost):
            return self.of_single(
                self.solved(None, self.k, self.certify) if self.certify else single
            )
        falling = np.maximum(np.minimum.accumulate(history), history[-1])
        return replace(
            self.of_single(single),
            labels=labels.astype(np.int64),
            parts=tuple(Part(V, result) for V, result in zip(bases, results, strict=True)),
            history=tuple(np.minimum(falling, LARGEST).tolist()),
            method=f"k-subspaces from {found.name}",
            n_iter=found.n_iter,
            converged=found.converged and settled,
        )

    def _of_label(self, index: Labels, V: Array, y: Array) -> SubspaceResult | None:
        """The result for some rows: `approx_subspace`'s, or V where that is cheaper.

        The certificate's bounds are about every subspace, so that it serves V as well.
        """
        if not self.counts(index):
            return None
        p = self.problem.p
        result = self.solved(index, self.k, self.certify)
        norm = p_norm(y[index], p) * self.problem.unit
        if norm >= result.norm_error:
            return result
        scaled = (norm / result.statement.unit) ** p
        statement = replace(result.statement, basis=V, scaled_cost=scaled)
        history = (*(max(c, statement.cost) for c in result.history), statement.cost)
        return replace(result, statement=statement, method="k-subspaces", history=history)

    def _nearest(self, bases: list[Array]) -> tuple[Labels, Array]:
        """The label of the nearest basis, and the distance times the row factor.

        From residual vectors in float64: bases need no complements, which for n < d are large.
        """
        rows = plain_rows(self.problem)
        xp, host = rows.place.xp, rows.place.host
        placed = [xp.asarray(V) for V in bases]
        n = rows.shape[0]
        least = np.full(n, np.inf)
        labels = np.zeros(n, dtype=np.intp)

        def work(worker: int, workers: int, stopped: Stop) -> None:
            for lo, hi, block, c in rows.blocks(worker, workers, stopped):
                for label, V in enumerate(placed):
                    residual = block - (block @ V) @ V.T
                    t = host(c * row_dots(rows.place, residual, residual))
                    closer = t < least[lo:hi]
                    least[lo:hi][closer] = t[closer]
                    labels[lo:hi][closer] = label

        rows.run(work)
        f = self.problem.factors
        return labels, np.sqrt(least) if f is None else f * np.sqrt(least)


def _side_by_side(jobs: Sequence[Callable[[], T]], backend: str) -> list[T]:
    """What each job returns: a worker for each, so that none depends on the number of threads."""
    # Where the user asked for threads, every solve sets the BLAS's, which are everyone's.
    if backend == "cuda" or requested_threads() is not None:
        return [job() for job in jobs]
    return each(lambda c: jobs[c](), len(jobs), math.inf)
