"""The road that every heuristic shares: check the input, scale it, solve, lift the answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import eigen, spectrum
from lpgeom.io import validation
from lpgeom.rows.array import ArrayRows, dense
from lpgeom.rows.base import Array
from lpgeom.rows.door import open_rows
from lpgeom.subspace.span import Span, in_span
from lpgeom.threads import limited, sized

TINY = 1e-300
"""Squared norms up to this count as zero: their reciprocals leave float64."""

MOST_ENTRIES = 1 << 26
"""Entries of A of which a method may hold copies: 512 MiB each."""

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")

Limits = tuple[int, int, float]
"""(seed, max_iter, tol), checked."""


# ---------------------------------------------------------------- a method, and its entry


class HeuristicMethod(Protocol[R_co]):
    """The one signature of all heuristics."""

    def __call__(
        self,
        A: ArrayLike,
        k: int,
        p: float = 1.0,
        *,
        seed: int = 0,
        max_iter: int | None = None,
        tol: float | None = None,
    ) -> R_co: ...


@dataclass(frozen=True)
class Heuristic(Generic[R]):
    """An entry of `HEURISTICS` or `ENTRYWISE`: a method, and what a comparison has to know of it.

    Attributes
    ----------
    method : callable
        ``method(A, k, p=1.0, *, seed=0, max_iter=None, tol=None)``. It returns a `HeuristicResult`,
        for entries a `HeuristicFactors`; calling the entry calls it.
    seeded : bool
        Whether the answer depends on the seed.
    slow_from : float
        From this much work on it takes minutes, and runs only if named: entries of A for methods
        for rows, n d k^2 for methods for entries.

    Examples
    --------
    >>> import lpgeom
    >>> from lpgeom.heuristics import HEURISTICS, Heuristic, svd
    >>> HEURISTICS["mine"] = Heuristic(svd, slow_from=1e9)
    >>> A = [[3.0, 0.0], [4.0, 0.1], [0.0, 1.0]]
    >>> list(lpgeom.compare(A, 1, methods=["mine"])["method"])
    ['mine']
    >>> del HEURISTICS["mine"]
    """

    method: HeuristicMethod[R]
    seeded: bool = False
    slow_from: float = math.inf

    def __call__(self, *args: Any, **options: Any) -> R:
        return self.method(*args, **options)

    @property
    def slow(self) -> bool:
        """Whether there is a size from which it runs only if named."""
        return self.slow_from < math.inf


def method_of(
    solve: Callable[[Any], Any], road: Callable[..., R], steps: int, small: float
) -> HeuristicMethod[R]:
    """The method that leads input to `solve` and its answer back by ``road(solve, A, k, p,
    limits)``, with the name and the docstring of `solve`.

    `steps` and `small` are the max_iter and tol of a caller who gives none.
    """

    def method(
        A: ArrayLike,
        k: int,
        p: float = 1.0,
        *,
        seed: int = 0,
        max_iter: int | None = None,
        tol: float | None = None,
    ) -> R:
        limits = (
            validation.check_seed(seed),
            validation.check_steps(max_iter, steps),
            small if tol is None else validation.check_tolerance(tol),
        )
        return road(solve, A, k, p, limits)

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(method, name, getattr(solve, name))
    method.__annotations__["return"] = road.__annotations__["return"]
    return method


# ---------------------------------------------------------------- methods for rows


@dataclass(frozen=True, eq=False)
class HeuristicResult:
    """A rank-k subspace from a method that proves nothing about it.

    Attributes
    ----------
    V : ndarray, shape (d, k), float64
        Orthonormal basis.
    method : str
        Name of the method, its key in ``HEURISTICS``.
    n_iter : int
        Steps taken, as the method counts them; 0 for one that has none.
    converged : bool
        False where `max_iter` ended the run.
    passes : float
        Sweeps over A, counted as a pass of `approx_subspace` is: reading all rows once, whatever
        is computed from them; copying A counts.
    note : str
        What a reader of the result should know; empty if nothing.
    history : tuple of float
        The method's own objective after each step, for rows scaled so that the largest |entry|
        lies in [0.5, 1); empty where there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from lpgeom import heuristics
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> result = heuristics.fms(A, 2)
    >>> result.V.shape, result.method
    ((5, 2), 'fms')
    """

    V: Array = field(repr=False)
    method: str = ""
    n_iter: int = 0
    converged: bool = True
    passes: float = 0.0
    note: str = ""
    history: tuple[float, ...] = field(default=(), repr=False)


@dataclass
class RowsTask:
    """One run: the rows scaled to entries below 1, and what the caller asked for.

    For n < d the rows are in coordinates of their span, for methods that only see inner products.
    `swept` counts passes over copies of A, which `rows` does not see.
    """

    rows: ArrayRows
    k: int
    p: float
    seed: int
    max_iter: int
    tol: float
    swept: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """(n, r): rows, and coordinates they are given in."""
        return self.rows.shape

    def dense(self, name: str = "", copies: str = "") -> Array:
        """All rows as one float64 array (a copy; counts as a pass).

        A method that holds further copies says so, and is refused where they take much memory.
        """
        n, d = self.shape
        if copies and n * d > MOST_ENTRIES:
            raise ValueError(
                f"{name} is limited to {MOST_ENTRIES} entries of A, got {n} x {d}: it holds "
                f"{copies} more arrays of that size"
            )
        self.swept += 1.0
        return dense(self.rows)

    def svd_start(self) -> Frame:
        """The SVD's subspace: where most methods start. One pass."""
        return Frame.leading(spectrum(self.rows).U, self.k)


BasisFound = HeuristicResult
"""What a solver of tasks gives back: V in the task's coordinates, without `method` and `passes`."""


def heuristic(
    *, steps: int = 1, tol: float = 1e-8, invariant: bool = True
) -> Callable[[Callable[[RowsTask], BasisFound]], HeuristicMethod[HeuristicResult]]:
    """Make a solver of tasks a heuristic for rows: a function of their one signature.

    `steps` and `tol` are its own max_iter and tol. `invariant`: whether it commutes with rotations
    of the coordinates.
    """

    def road(
        solve: Callable[[RowsTask], BasisFound], A: ArrayLike, k: int, p: float, limits: Limits
    ) -> HeuristicResult:
        name = solve.__name__
        with limited():
            # Methods that do not use p let p = inf in; those that do refuse it themselves.
            problem = open_rows(A, p, infinite=True)
            n, d = problem.rows.shape
            k = validation.check_k(k, d)
            if not problem.A.any():
                return HeuristicResult(np.eye(d, k), name, note="all rows are zero")
            with sized(n, d):
                problem, span = in_span(problem) if invariant else (problem, Span(None))
                task = RowsTask(problem.rows, k, problem.p, *limits)
                if k >= problem.rows.shape[1]:
                    V = span.lifted(np.eye(problem.rows.shape[1]), k)
                    found = BasisFound(V, note="k >= n: spans the rows")
                else:
                    found = solve(task)
                    found = replace(found, V=span.lifted(found.V))
                passes = task.rows.n_passes + task.swept
        return replace(found, V=np.ascontiguousarray(found.V), method=name, passes=passes)

    return lambda solve: method_of(solve, road, steps, tol)


def monotone(
    task: RowsTask,
    state: S,
    value: float,
    step: Callable[[S], tuple[S, float]],
    basis: Callable[[S], Array],
    *,
    rising: bool = False,
) -> BasisFound:
    """Steps whose value never rises (or never falls), until one changes it by less than tol of it.

    A value that is inf at first is none yet, and not part of the history.
    """
    history = [value] if value < math.inf else []
    converged = value == 0.0
    n_iter = 0
    while not converged and n_iter < task.max_iter:
        trial, new = step(state)
        n_iter += 1
        gain = new - value if rising else value - new
        if gain < 0.0:  # by rounding
            converged = True
            break
        state, value = trial, new
        history.append(value)
        converged = gain <= task.tol * value
    V = basis(state)
    return BasisFound(V, n_iter=n_iter, converged=converged, history=tuple(history))


def leading(G: Array, k: int) -> Array:
    """The k leading eigenvectors of a symmetric G, (d, k)."""
    return np.ascontiguousarray(eigen(G)[1][:, len(G) - k :])
