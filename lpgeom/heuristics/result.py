"""What every heuristic returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from lpgeom.records.subspace import Array


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
    method: str
    n_iter: int
    converged: bool
    passes: float
    note: str = ""
    history: tuple[float, ...] = field(default=(), repr=False)
