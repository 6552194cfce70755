"""The last steps of one l_1 regression: from a point near the solution to a vertex that is it."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from lpgeom.rows.base import Array

PIVOTS = 200
"""Exchanges of one entry for another, at most; from a point near the solution it takes a few."""

SLACK = 1e-13
"""A multiplier may exceed its weight by this share: rounding."""


def vertex(Q: Array, b: Array, w: Array, x: Array) -> tuple[Array, Array] | None:
    """(x, y) with ``y . r = sum w |r|``, ``Q^T y = 0`` and ``|y| <= w``, ``r = b - Q x``.

    Some solution of ``min sum w |b - Q x|`` fits k entries J of b exactly, and
    ``y_J = -Q_J^-T Q_rest^T (w sign r)`` proves it where ``|y_J| <= w_J``. An interior point comes
    as near to it as its normal matrix, which spans more orders the nearer it gets, can tell; the
    vertex itself needs no more than Q_J. So J starts as the best independent set of nearly fitted
    entries; while some |y_j| > w_j, entry j leaves and the one where the cost along that edge is
    least, a weighted median, comes in (Barrodale and Roberts, SIAM J. Numer. Anal. 1973).

    Parameters
    ----------
    Q : ndarray, shape (d, k)
        Of full column rank.
    b, w : ndarray, shape (d,)
        w > 0.
    x : ndarray, shape (k,)
        A point near the solution.

    Returns
    -------
    tuple or None
        None where Q_J is singular to working precision or `PIVOTS` were not enough.
    """
    size = np.abs(b - Q @ x)
    near = 1.0 / (size + 1e-16 * size.max() + np.finfo(np.float64).tiny)
    J: NDArray[np.intp] = scipy.linalg.qr((Q * near[:, None]).T, mode="r", pivoting=True)[1]
    J = J[: Q.shape[1]].astype(np.intp)
    for _ in range(PIVOTS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
            factors = scipy.linalg.lu_factor(Q[J], check_finite=False)
        if not np.diagonal(factors[0]).all():
            return None
        x = scipy.linalg.lu_solve(factors, b[J], check_finite=False)
        r = b - Q @ x
        r[J] = 0.0
        y = w * np.sign(r)
        y[J] = -scipy.linalg.lu_solve(factors, Q.T @ y, trans=1, check_finite=False)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return None
        over = np.abs(y[J]) / w[J]
        j = int(over.argmax())
        if over[j] <= 1.0 + SLACK:
            return x, y
        # r_j grows from 0 with the sign of y_j: the cost falls at the rate |y_j| - w_j.
        toward = np.zeros(len(J))
        toward[j] = -np.sign(y[J[j]])
        change = -Q @ scipy.linalg.lu_solve(factors, toward, check_finite=False)
        change[J] = 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = np.where(r * change < 0.0, -r / change, np.inf)
        order = np.argsort(reached)
        rate = w[J[j]] - abs(y[J[j]]) + np.cumsum(2.0 * (w * np.abs(change))[order])
        J[j] = order[int(np.argmax(rate >= 0.0))]
    return None
