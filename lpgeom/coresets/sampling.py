"""``coreset``: a small weighted subset of the rows that stands for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpgeom.coresets.barrier import barrier_selection, size_for
from lpgeom.coresets.record import Coreset, Provenance
from lpgeom.coresets.sensitivity import (
    Sensitivities,
    every_subspace,
    fixed_subspace,
    lewis_sensitivities,
    ridge_sensitivities,
)
from lpgeom.geometry.spectrum import spectrum
from lpgeom.io import validation
from lpgeom.rows import device
from lpgeom.rows.array import ArrayRows
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.door import Problem, open_anywhere, taken
from lpgeom.rows.vectors import entries, numbers, passed
from lpgeom.threads import limited, sized

Chosen = tuple[NDArray[np.int64], Array, Provenance]
"""Rows, their factors (1 on average), and what is proved."""

Uniforms = Callable[[int], Array]

EXACT = Provenance("exact", 0.0, 0.0, 0.0, math.nan, 1.0)


def coreset(
    A: ArrayLike,
    size: int | None = None,
    eps: float | None = None,
    p: float = 1.0,
    k: int | None = None,
    seed: int = 0,
    *,
    method: str | None = None,
    row_weights: ArrayLike | None = None,
    failure_probability: float = 0.01,
    backend: str = "auto",
) -> Coreset:
    """Some rows of A, weighted so that every subspace costs on them what it costs on all rows.

    For every subspace V, ``sum_j weights_j ||rows_j - rows_j V V^T||^p`` is an unbiased estimate of
    its cost on A, and close to it for all subspaces at once if there are rows enough.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Read in blocks.
    size : int, optional
        Rows to draw. `provenance` then says what eps that is enough for.
    eps : float, optional
        Relative error, in (0, 1), of the cost of every subspace (with method="ridge": of any one
        that does not depend on the draw): as many rows are drawn as the theorem asks for. Give
        either `size` or `eps`.
    p : float
        1 <= p <= 100.
    k : int, optional
        The largest rank of interest, if only ranks up to k matter.
    seed : int
        The same seed and thread count give the same coreset.
    method : {"lewis", "ridge", "deterministic", "norm", "uniform"}, optional
        How rows are chosen. "lewis" (if k is not given): in proportion to their Lewis weights, for
        every rank. "ridge" (if k is given): to ridge Lewis weights, which leave out what a
        rank-k subspace need not tell apart. "deterministic": no chance at all, by barriers; a
        relative error for p = 2, a constant factor for other p; `size` passes over A. "norm":
        to ``||a_i||^p``; "uniform": all alike; both for comparison, with nothing proved.
    row_weights : array_like, shape (n,), optional
        omega >= 0, not all zero.
    failure_probability : float
        How likely each statement in `provenance` may fail.
    backend : {"auto", "cpu", "cuda"}
        The same as in `approx_subspace`; the coreset itself is NumPy's.

    Returns
    -------
    Coreset
        It has all rows, and weights 1 (or omega), if at least n are asked for.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix; numbers out of range; both or neither of `size` and
        `eps`; method="ridge" without k; `eps` with a method that proves none.

    Notes
    -----
    About two passes an iteration for the weights (5 to 15 iterations), and a read of the rows
    drawn. With D near the rank of A ("ridge": at most 2 (k + 1)) the theorems, proved with their
    constants in docs/coresets.md, ask for ``8 D (1 + eps/6) ln(4 n / delta) / eps^2`` rows at p = 1
    for every subspace at once (C4), and ``2 D (1 + eps/3) ln(2 / delta) / eps^2`` for one (C3).
    Sources: Cohen and Peng, "lp row sampling by Lewis weights", STOC 2015; Woodruff and Yasuda,
    "Ridge leverage score sampling for lp subspace approximation", 2024; Batson, Spielman and
    Srivastava, "Twice-Ramanujan sparsifiers", STOC 2009.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((20000, 5)) * [3.0, 2.0, 1.0, 1.0, 1.0]
    >>> c = lpgeom.coreset(A, size=2000)
    >>> V = np.eye(5)[:, :2]
    >>> on_data = lpgeom.cost(A, V)
    >>> on_coreset = lpgeom.cost(c.rows, V, row_weights=c.weights)
    >>> abs(on_coreset / on_data - 1.0) < 0.05
    True
    >>> lpgeom.approx_subspace(c, k=2).ratio < 1.1
    True
    """
    seed = validation.check_seed(seed)
    if (size is None) == (eps is None):
        raise ValueError("give either size or eps" + (", not both" if size is not None else ""))
    if size is not None:
        size = validation.check_positive_int("size", size)
    if eps is not None:
        eps = validation.check_tolerance(eps, "eps")
    delta = validation.check_tolerance(failure_probability, "failure_probability")
    if method is None:
        method = "lewis" if k is None else "ridge"
    validation.check_choice("method", method, tuple(METHODS))
    way = METHODS[method]
    if eps is not None and not way.proves:
        raise ValueError(f'method="{method}" proves no eps; give size')
    with limited():
        problem = open_anywhere(A, p, row_weights, backend=backend)
        n, d = problem.rows.shape
        if k is not None:
            k = validation.check_k(k, d)
        elif way.for_rank:
            raise ValueError(f'method="{method}" is for a rank: give k')
        k = k if way.for_rank else None
        uniforms = np.random.default_rng(seed).random
        with sized(n, d), device.algebra(problem.rows):
            if size is not None and size >= n:
                chosen = _everything(problem)
            else:
                size, chosen = way.choose(problem, Wanted(k, size, eps, uniforms, delta))
    indices, factors, provenance = chosen
    omega = problem.omega
    with device.device_of(problem.A):
        rows = taken(problem.A, indices)
    weights = factors if omega is None else factors * entries(omega, indices)
    return Coreset(
        rows, weights, indices, p=problem.p, k=k, shape=(n, d), size=size, method=method,
        seed=seed, provenance=provenance,
    )  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What is asked of a method: a size, or the one that is enough for eps.

    Attributes
    ----------
    k : int or None
        The largest rank of interest, of methods for a rank.
    size : int or None
    eps : float or None
    uniforms : callable
        ``uniforms(size)``: numbers from [0, 1).
    delta : float
        Failure probability of each statement.
    """

    k: int | None
    size: int | None
    eps: float | None
    uniforms: Uniforms
    delta: float


def _of_rank(
    problem: Problem[Rows],
    wanted: Wanted,
    rank: int,
    enough: Callable[[float], float],
    choose: Callable[[int], Chosen],
) -> tuple[int, Chosen]:
    """As many rows as were asked for or are `enough` for eps; every row, if those are as many."""
    n, size = problem.rows.shape[0], wanted.size
    if rank == 0:  # zero rows cost nothing: one that counts says it all
        indices, factors, _ = _everything(problem)
        return size or 1, (indices[:1], factors[:1], EXACT)
    if size is None:
        assert wanted.eps is not None
        least = enough(wanted.eps)
        if least >= n:
            return n, _everything(problem)
        size = int(least)
    return size, choose(size)


def _by_sensitivities(problem: Problem[Rows], wanted: Wanted) -> tuple[int, Chosen]:
    found, delta = sensitivities_of(problem.rows, problem.p, wanted.k), wanted.delta

    def enough(eps: float) -> float:
        theorems = every_subspace(found, delta) or [fixed_subspace(found, delta)]
        return min(theorem.size(eps) for theorem in theorems)

    return _of_rank(
        problem, wanted, found.rank, enough, lambda size: draw(found, size, wanted.uniforms, delta)
    )


def _by_barriers(problem: Problem[Rows], wanted: Wanted) -> tuple[int, Chosen]:
    rows, p = problem.rows, problem.p
    if not isinstance(rows, ArrayRows):
        raise TypeError(
            'method="deterministic" takes a pass for each row chosen: pass an array in host '
            'memory, or backend="cpu" for one on a device'
        )
    if wanted.size is None and p != 2.0:
        raise ValueError('method="deterministic" proves an eps at p = 2 only; give size')
    rank = spectrum(rows).rank
    return _of_rank(
        problem, wanted, rank, partial(size_for, rank=rank), partial(barrier_selection, rows, p)
    )


def _by_norm(problem: Problem[Rows], wanted: Wanted) -> tuple[int, Chosen]:
    share = problem.rows.squared_norms() ** (problem.p / 2.0)
    return _unproved(share, wanted) if numbers(share.sum())[0] > 0.0 else _alike(problem, wanted)


def _alike(problem: Problem[Rows], wanted: Wanted) -> tuple[int, Chosen]:
    omega = problem.omega
    share = np.ones(problem.rows.shape[0]) if omega is None else (omega > 0.0).astype(np.float64)
    return _unproved(share, wanted)


def _unproved(share: Array, wanted: Wanted) -> tuple[int, Chosen]:
    assert wanted.size is not None
    chosen = stratified(share, wanted.uniforms(wanted.size))
    return wanted.size, (*chosen, Provenance("none", math.inf, math.inf, 1.0))


def sensitivities_of(rows: Rows, p: float, k: int | None) -> Sensitivities:
    """For every rank, or for ranks up to k."""
    return lewis_sensitivities(rows, p) if k is None else ridge_sensitivities(rows, p, k)


def stratified(weights: Array, uniforms: Array) -> tuple[NDArray[np.int64], Array]:
    """Rows drawn in proportion to `weights`, ascending, and ``draws / (size * prob)`` of each.

    The rows lie on [0, 1) one after another, each as long as its probability; draw j falls
    uniformly, by ``uniforms[j]``, into the j-th of `size` equal parts. Row i is expected
    ``size * prob_i`` times, so that its factor is 1 on average; and the sum over independent draws
    varies no more than that of as many draws from the whole.
    """
    size = len(uniforms)
    found, total = passed(weights, (np.arange(size) + uniforms) / size)
    indices, draws = np.unique(found, return_counts=True)
    return indices.astype(np.int64), draws * (total / entries(weights, indices)) / size


def draw(sensitivities: Sensitivities, size: int, uniforms: Uniforms, delta: float) -> Chosen:
    """`size` draws in proportion to the sensitivities, and what is proved of them."""
    indices, factors = stratified(sensitivities.weights, uniforms(size))
    one = fixed_subspace(sensitivities, delta)
    theorem, eps = min(
        ((t.name, t.eps(size)) for t in every_subspace(sensitivities, delta)),
        key=lambda named: named[1],
        default=(one.name, math.inf),
    )
    return (
        indices,
        factors,
        Provenance.within(theorem, eps, one.eps(size), delta, sensitivities.total),
    )


def _everything(problem: Problem[Rows]) -> Chosen:
    n = problem.rows.shape[0]
    kept = np.arange(n) if problem.omega is None else np.flatnonzero(np.asarray(problem.omega))
    return kept.astype(np.int64), np.ones(len(kept)), EXACT


@dataclass(frozen=True)
class Selection:
    """A way to choose rows: ``choose(problem, wanted)`` gives their number and what is `Chosen`.

    `proves`: whether a size can be told from an eps. `for_rank`: whether it needs k.
    """

    choose: Callable[[Problem[Rows], Wanted], tuple[int, Chosen]]
    proves: bool = True
    for_rank: bool = False


METHODS = {
    "lewis": Selection(_by_sensitivities),
    "ridge": Selection(_by_sensitivities, for_rank=True),
    "deterministic": Selection(_by_barriers),
    "norm": Selection(_by_norm, proves=False),
    "uniform": Selection(_alike, proves=False),
}
"""Ways by name; a new one is an entry here."""
