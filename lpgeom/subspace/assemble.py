"""What solvers hand on, a candidate and the solution, and the records that are made of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lpgeom.bounds.evidence import Evidence, Weights
from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.lewis import LewisWeights
from lpgeom.records.subspace import (
    Bound,
    Certificate,
    SubspaceResult,
    norm_ratio,
    to_cost_units,
)
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.door import Problem
from lpgeom.rows.vectors import local
from lpgeom.subspace.irls import Run


@dataclass(frozen=True)
class Candidate:
    """A subspace with its residuals on all rows, in their scaled units.

    Attributes
    ----------
    name : str
        What found it: the `method` of the result.
    frame : Frame
    t : ndarray, shape (n,)
        Squared residuals.
    cost : float
    double : bool
        Whether t and cost come from a float64 pass.
    history : tuple of float
        Costs on the way here, never rising; the last is `cost`.
    n_iter : int
    converged : bool
    N : ndarray, shape (d, d), or None
        The weighted Gram of the last step, for `Evidence`.
    duals : tuple of Weights
        For p = inf: weights of the rows that the last step balanced.
    """

    name: str
    frame: Frame
    t: Array
    cost: float
    double: bool
    history: tuple[float, ...]
    n_iter: int = 0
    converged: bool = True
    N: Array | None = None
    duals: tuple[Weights, ...] = ()

    def after(self, history: list[float], n_iter: int, last: Run) -> Candidate:
        """The same as the end of a descent: costs after each step, never rising."""
        return replace(
            self,
            history=falling(history, self.cost),
            n_iter=n_iter,
            converged=last.converged,
            N=last.N,
        )


def falling(costs: list[float], end: float) -> tuple[float, ...]:
    """The least cost after each step, none below the float64 cost of what was found, the last."""
    return (*(max(c, end) for c in np.minimum.accumulate(costs).tolist()), end)


@dataclass(frozen=True)
class Solution:
    """The best candidate, in the scaled units of the rows, and what is promised of it.

    Attributes
    ----------
    found : Candidate
    svd_cost : float
    lewis : LewisWeights or None
        Lewis weights of the rows, if they were needed.
    promise : float
        A-priori ratio of theory 2; inf where it does not hold.
    """

    found: Candidate
    svd_cost: float
    lewis: LewisWeights | None
    promise: float

    def evidence(self, rows: Rows) -> Evidence:
        """What the certificate starts from."""
        found = self.found
        V, W = found.frame.V, found.frame.W
        Y2 = rows.squared_norms()
        return Evidence(V, W, found.t, Y2, self.lewis, found.N, found.duals)


def result_of(
    problem: Problem[Rows],
    solution: Solution,
    statement: Certificate,
    *,
    certified: bool,
    source: str,
    seed: int,
    n_passes: float,
    seconds: float,
) -> SubspaceResult:
    """The record, in user units, of a solution in the scaled units of `problem`.

    `statement` without bounds, where none were wanted, is no certificate; nor is one of rows that
    span no more than k dimensions, whose ratio is known, unless it is `certified`.
    """
    p, unit, found = problem.p, problem.unit, solution.found
    return SubspaceResult(
        statement=statement,
        certified=certified,
        method=found.name + source,
        backend=problem.backend,
        history=tuple(to_cost_units(c, unit, p) for c in found.history),
        n_iter=found.n_iter,
        n_passes=n_passes,
        converged=found.converged,
        seconds=seconds,
        svd_cost=to_cost_units(solution.svd_cost, unit, p),
        seed=seed,
    )


def exact_certificate(problem: Problem, rank: int, V: Array, cost: float = 0.0) -> Certificate:
    """k >= rank(A): the optimum is 0, which a V that spans the rows reaches."""
    bound = Bound("rank", "0", 0.0, witness={"rank": rank})
    return with_bounds(problem, V, cost, [bound], 1.0 if cost == 0.0 else math.inf)


def with_bounds(
    problem: Problem, V: Array, cost: float, bounds: list[Bound] | None, promise: float
) -> Certificate:
    """The certificate of V, at its (scaled) cost, with these bounds.

    It stands alone: what it says of n rows is brought here. And it promises no ratio that no bound
    of it, one that holds always, stands for: rounding may have left less of them, and for p > 2
    bound 3a has weights of its own, kappa away from those of the promise. With None for bounds,
    where none are wanted, row weights stay where they are.
    """
    if bounds:
        always = [b.scaled_value for b in bounds if b.failure_probability == 0.0]
        proved = norm_ratio(cost, max(always, default=0.0), problem.p)
        promise = proved if proved > promise * (1.0 + 1e-9) else promise
    in_units = (replace(b, unit=problem.unit, p=problem.p) for b in bounds or ())
    return Certificate(
        p=problem.p,
        k=V.shape[1],
        shape=problem.rows.shape,
        basis=V,
        scaled_cost=cost,
        bounds=tuple(sorted(in_units, key=lambda b: -b.scaled_value)),
        guarantee=promise,
        unit=problem.unit,
        row_weights=None if bounds is None or problem.omega is None else local(problem.omega),
    )
