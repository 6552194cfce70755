"""A subspace found on part of the data, improved by reweighted passes over all of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.spectrum import eigen
from lpgeom.io import validation
from lpgeom.rows import device
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.door import open_anywhere
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.irls import floored
from lpgeom.threads import limited, sized

LOOK = 1000
"""Rows looked at to see how long residuals are."""


def refine(
    A: ArrayLike,
    basis: ArrayLike,
    p: float = 1.0,
    passes: int = 1,
    *,
    row_weights: ArrayLike | None = None,
    backend: str = "auto",
) -> Array:
    """Improve a subspace, such as one found on a coreset, by a few passes over the data.

    Each pass takes the residuals of the subspace, weights the rows by them, and moves to the k
    leading eigenvectors of ``sum_i max(t_i, e)^(p/2-1) a_i a_i^T`` with ``t_i = ||a_i - a_i V
    V^T||^2``, all in one read of A (row weights enter as ``omega_i^(1/p) a_i``). It never raises
    the smoothed cost ``sum_i phi(t_i)``, where phi is ``t^(p/2)`` from e on and its tangent below
    (theory 4); e is a quarter of the squared mean residual, and a tenth of that after each pass.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Read in blocks, float64 arithmetic. A Dask array, and what is in chunked storage, stay where
        they are.
    basis : array_like, shape (d, k)
    p : float
        1 <= p <= 2. At p = 2 the first pass leads to the optimum.
    passes : int
    row_weights : array_like, shape (n,), optional
        omega >= 0.
    backend : {"auto", "cpu", "cuda"}
        See `approx_subspace`.

    Returns
    -------
    ndarray, shape (d, k)
        Orthonormal. `certify` tells what it costs and how far from optimal it can be.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite real matrix; a basis of the wrong shape or not of full rank;
        p > 2, where the step need not descend.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((20000, 8)) * np.arange(1, 9)
    >>> found = lpgeom.approx_subspace(lpgeom.coreset(A, size=200), k=3)
    >>> V = lpgeom.refine(A, found.basis)
    >>> lpgeom.cost(A, V) < lpgeom.cost(A, found.basis)
    True
    """
    passes = validation.check_positive_int("passes", passes)
    with limited():
        problem = open_anywhere(A, p, row_weights, backend=backend)
        rows, p = problem.rows, problem.p
        if p > 2.0:
            raise ValueError(f"refine is for p <= 2, where its steps descend; got {p:g}")
        n, d = rows.shape
        frame = Frame.of(validation.check_basis(basis, d))
        with sized(n, d), device.algebra(rows):
            floor = _first_floor(rows, frame, p)
            for _ in range(passes):
                M = rows.reweighted_gram(frame.W, floored(floor, p))[1]
                frame = Frame.leading(eigen(M)[1], frame.V.shape[1])
                floor *= 0.1
    return frame.V


def _first_floor(rows: Rows, frame: Frame, p: float) -> float:
    """A quarter of the squared p-mean residual, from evenly spaced rows."""
    n = rows.shape[0]
    some = rows.take(np.unique(np.linspace(0, n - 1, min(n, LOOK)).astype(np.intp)))
    t = some.quadratic_form(frame.W)
    mean = (lp_cost(t, p) / len(t)) ** (2.0 / p)
    # All of them may fit exactly, and others not.
    return max(0.25 * mean, 1e-24)
