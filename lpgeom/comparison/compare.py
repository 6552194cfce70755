"""Provable against heuristic: every method on the same matrix, under the same lower bound."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.comparison.judges import JUDGES, Judge
from lpgeom.geometry.grassmann import largest_sine
from lpgeom.heuristics.base import HeuristicResult
from lpgeom.heuristics.entrywise.base import HeuristicFactors
from lpgeom.io import validation
from lpgeom.io.tables import frame
from lpgeom.progress import Progress
from lpgeom.records.factors import FactorResult
from lpgeom.records.subspace import Array, CertificateError, SubspaceResult, norm_ratio

OURS = "lpgeom"
"""Name of `approx_subspace`, or for entries of `approx_factors`, among the methods."""

COLUMNS = (
    "k", "method", "seed", "cost", "norm_error", "lower_bound", "ratio", "cost_over_svd",
    "cost_over_best", "angle_deg", "seconds", "passes", "n_iter", "converged", "note",
)  # fmt: skip

_EPS = float(np.finfo(np.float64).eps)

Method = Callable[[Any, int, float, int], Any]


@dataclass(frozen=True)
class _Trial:
    """What one method found at one rank with one seed; basis is None if it found nothing."""

    method: str
    seed: int
    basis: Array | None = None
    cost: float = math.nan
    seconds: float = math.nan
    passes: float = math.nan
    n_iter: int = 0
    converged: bool = False
    note: str = ""


def compare(
    A: ArrayLike,
    k: int | Sequence[int],
    p: float = 1.0,
    methods: Sequence[str | Callable] | None = None,
    seeds: Sequence[int] = (0,),
    *,
    objective: str = "rows",
    truth: ArrayLike | None = None,
    certify: bool | str = True,
    progress: bool = False,
) -> Any:
    """Run `approx_subspace` and heuristics on a matrix, and certify all of them by one bound.

    A lower bound speaks about every subspace of that rank, wherever it came from. So the best one
    that `approx_subspace` proves gives each method its certified ratio. With objective "entries"
    the same for rank-k factors and `approx_factors`.

    Parameters
    ----------
    A : array_like, shape (n, d)
        The same as in `approx_subspace`. Every method gets a read-only view.
    k : int or sequence of int
        Rank, or several.
    p : float
        Exponent of the cost, 1 <= p <= 100 or (for rows) inf: then the cost is the largest
        distance. Methods with an objective of their own are still judged by this one; those that
        minimise a sum of p-th powers ("fms", "grassmann_descent") fail at p = inf, with a note.
    methods : sequence of str or callable, optional
        Names of `lpgeom.heuristics.HEURISTICS`, for entries of
        `lpgeom.heuristics.entrywise.ENTRYWISE`, or "lpgeom"; or callables ``f(A, k, p, seed)`` that
        return a basis of shape (d, k), for entries a pair of factors (n, k) and (k, d). Without it,
        all of them, except those too slow for the size (for rows `lpgeom.heuristics.SLOW` from 2^20
        entries of A on, "cvxpy_reaper" always; for entries `entrywise.CUBIC` from n d k^2 = 1e10
        on): these run if named.
    seeds : sequence of int
        Methods without randomness run for the first one only.
    objective : {"rows", "entries"}
        The cost: ``sum_i ||a_i - a_i V V^T||^p``, or ``sum_ij |A - left @ right|_ij^p``.
    truth : array_like, shape (d, r), optional
        Basis of a known subspace.
    certify : {True, "tight", False}
        The same as in `approx_subspace`.
    progress : bool
        A counter of runs on stderr.

    Returns
    -------
    pandas.DataFrame, or lpgeom.io.tables.Table if pandas is not installed
        One row for each rank, method and seed:

        - ``cost`` (p-th powers, recomputed in float64 from basis or factors), ``norm_error``;
        - ``lower_bound`` (cost units), ``ratio``: certified, of norms, (cost / lower_bound)^(1/p);
        - ``cost_over_svd``, ``cost_over_best`` (of the best cost of that rank);
        - ``angle_deg``: largest of the min(k, r) principal angles to `truth`, in degrees;
        - ``seconds``, ``passes`` over A (NaN if not known), ``n_iter``, ``converged``;
        - ``note``: what a method says about itself; why it failed, if it did. A method that fails
          has a row with NaN.

        ``attrs``: "objective", "p", "shape", "bounds" (rank -> name, value and certainty of the
        bound used), "left_out" (methods too slow to run unasked).

    Raises
    ------
    CertificateError
        A method costs less than the lower bound: one of the two is wrong.
    TypeError, ValueError
        Input that `approx_subspace` would refuse, an unknown method, no seeds.

    Examples
    --------
    >>> import lpgeom
    >>> from lpgeom import datasets
    >>> data = datasets.load("contaminated", n=200, d=10, k=2)
    >>> methods = ["lpgeom", "svd", "fms"]
    >>> table = lpgeom.compare(data.A, 2, methods=methods, truth=data.truth)
    >>> list(table["method"])
    ['lpgeom', 'fms', 'svd']
    >>> [bool(angle < 0.1) for angle in table["angle_deg"]]
    [True, True, False]
    """
    validation.check_choice("objective", objective, tuple(JUDGES))
    judge = JUDGES[objective]
    A = validation.check_matrix(A)
    p = validation.check_p(p, infinite=judge.infinite)
    ranks = [validation.check_k(rank, A.shape[1]) for rank in np.atleast_1d(np.asarray(k)).tolist()]
    seeds = [validation.check_seed(seed) for seed in seeds]
    if not seeds:
        raise ValueError("seeds is empty: name at least one")
    validation.check_choice("certify", certify, (False, True, "tight"))
    basis = None if truth is None else validation.check_basis(truth, A.shape[1])
    chosen, left_out = _chosen(judge, methods, (A.shape[0], A.shape[1]), ranks)
    view = A.view()
    view.flags.writeable = False
    rows: list[dict[str, Any]] = []
    bounds: dict[int, dict[str, Any]] = {}
    with Progress(progress) as bar:
        for rank in ranks:
            bar.stage(f"k = {rank}: {OURS}")
            own = [
                judge.own(view, rank, p, seed=seed, certify=certify)
                for seed in (seeds if OURS in chosen else seeds[:1])
            ]
            runs = [_of_result(r, judge, view) for r in own] if OURS in chosen else []
            for name, method in chosen.items():
                if name == OURS:
                    continue
                once = name in judge.methods and not judge.methods[name].seeded
                for seed in seeds[:1] if once else seeds:
                    bar.stage(f"k = {rank}: {name}")
                    runs.append(_run(name, method, judge, view, rank, p, seed))
                    bar.step()
            bound = max(
                (r.certificate.best for r in own if r.certificate and r.certificate.best),
                key=lambda bound: bound.value,
                default=None,
            )
            lower = 0.0 if bound is None else bound.value
            if bound is not None:
                bounds[rank] = {"name": bound.name, "value": lower, "certainty": bound.certainty}
            # At rank(A) and above the optimum is 0, which other methods reach up to rounding.
            rounding = (max(A.shape) * _EPS) * judge.size(view, p)
            if own[0].norm_error > rounding:
                rounding = 0.0
            rows += _judged(runs, rank, p, lower, own[0].svd_cost, rounding, basis)
    attrs = {
        "objective": objective, "p": p, "shape": A.shape, "bounds": bounds, "left_out": left_out,
    }  # fmt: skip
    return frame({name: [row[name] for row in rows] for name in COLUMNS}, attrs)


def _chosen(
    judge: Judge,
    methods: Sequence[str | Callable] | None,
    shape: tuple[int, int],
    ranks: Sequence[int],
) -> tuple[dict[str, Method], tuple[str, ...]]:
    """Name -> method, and the names that were left out for the size."""
    slow: set[str] = set()
    if methods is None:
        slow = judge.slow(shape, ranks)
        methods = [OURS, *(name for name in judge.methods if name not in slow)]
    if isinstance(methods, str):
        raise TypeError(f"methods must be a sequence of names, not one string: [{methods!r}]")
    chosen: dict[str, Method] = {}
    for method in methods:
        if isinstance(method, str):
            chosen[method] = _by_name(judge, method)
        elif callable(method):
            chosen[getattr(method, "__name__", repr(method))] = method
        else:
            raise TypeError(f"a method is a name or a callable, not {type(method).__name__}")
    if not chosen:
        raise ValueError("methods is empty: name at least one")
    return chosen, tuple(sorted(slow))


def _by_name(judge: Judge, name: str) -> Method:
    if name == OURS:
        return lambda A, k, p, seed: judge.own(A, k, p, seed=seed, certify=False)
    if name not in judge.methods:
        raise ValueError(
            f"there is no method {name!r} for {judge.objective}; known: "
            f"{', '.join([OURS, *judge.methods])}"
        )
    heuristic = judge.methods[name]
    return lambda A, k, p, seed: heuristic(A, k, p, seed=seed)


def _of_result(r: SubspaceResult | FactorResult, judge: Judge, A: Array) -> _Trial:
    basis, cost = judge.measured(A, r, r.k, r.p)
    passes = float(r.n_passes) if isinstance(r, SubspaceResult) else math.nan
    note = r.method + ("" if r.certificate is None else ", certificate included")
    return _Trial(OURS, r.seed, basis, cost, r.seconds, passes, r.n_iter, r.converged, note)


def _run(name: str, method: Method, judge: Judge, A: Array, k: int, p: float, seed: int) -> _Trial:
    """One method, timed; what it raises becomes its note."""
    started = time.perf_counter()
    try:
        found = method(A, k, p, seed)
        seconds = time.perf_counter() - started
        basis, cost = judge.measured(A, found, k, p)
    except CertificateError:
        raise
    except (ArithmeticError, ImportError, MemoryError, RuntimeError, TypeError, ValueError) as e:
        note = " ".join(f"{type(e).__name__}: {e}".split())
        return _Trial(name, seed, seconds=time.perf_counter() - started, note=note)
    if not isinstance(found, HeuristicResult | HeuristicFactors):
        return _Trial(name, seed, basis, cost, seconds)
    passes = found.passes if isinstance(found, HeuristicResult) else math.nan
    return _Trial(
        name, seed, basis, cost, seconds, passes, found.n_iter, found.converged, found.note
    )


def _judged(
    runs: Sequence[_Trial],
    k: int,
    p: float,
    lower: float,
    svd_cost: float,
    rounding: float,
    truth: Array | None,
) -> Iterator[dict[str, Any]]:
    """The rows of one rank, cheapest first; norms up to `rounding` count as 0."""
    runs = [replace(r, cost=0.0) if _norm(r.cost, p) <= rounding else r for r in runs]
    costs = [run.cost for run in runs if run.basis is not None]
    best = min(costs, default=math.nan)
    if best < lower * (1.0 - 1e-9):
        cheapest = min((r for r in runs if r.basis is not None), key=lambda r: r.cost).method
        raise CertificateError(
            f"rank {k}: {cheapest} costs {best!r}, below the lower bound {lower!r}"
        )
    for run in sorted(runs, key=lambda run: (math.isnan(run.cost), run.cost)):
        found = run.basis is not None
        yield {
            **{name: value for name, value in vars(run).items() if name in COLUMNS},
            "k": k,
            "norm_error": _norm(run.cost, p),
            "lower_bound": lower,
            "ratio": norm_ratio(run.cost, lower, p) if found else math.nan,
            "cost_over_svd": _over(run.cost, svd_cost),
            "cost_over_best": _over(run.cost, best),
            "angle_deg": _angle(run.basis, truth),
        }


def _norm(cost: float, p: float) -> float:
    """The norm error of a cost; NaN of NaN."""
    return cost if math.isinf(p) else cost ** (1.0 / p)


def _over(cost: float, other: float) -> float:
    """cost / other, with 0 / 0 = 1."""
    if math.isnan(cost) or cost == other:
        return cost if math.isnan(cost) else 1.0
    return cost / other if other > 0.0 else math.inf


def _angle(V: Array | None, U: Array | None) -> float:
    """Largest of the min(k, r) principal angles, in degrees; NaN where there is no truth."""
    if V is None or U is None:
        return math.nan
    if V.shape[1] < U.shape[1]:
        V, U = U, V
    return math.degrees(math.asin(largest_sine(np.linalg.qr(V)[0], U)))
