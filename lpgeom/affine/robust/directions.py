"""Directions along which rows are compared with the middle of all rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lpgeom.rows.base import Array

COUNT = 300
"""Directions of each of the two random kinds."""

MOST = 10
"""Rows that a normal is made orthogonal to, at most: of more, some are outliers nearly always."""

STARTS, STEPS = 20, 30
"""Starts and steps towards a largest and a smallest kurtosis."""

WIDEST = 20
"""Principal axes, at most, that these are looked for in."""

Draw = Callable[[tuple[int, ...]], Array]
"""Rows drawn at random by their weights, shape (\\*shape, d); a fixed centre as the first of each
set."""


def through_pairs(B: Array, w: Array, k: int, draw: Draw, rng: np.random.Generator) -> Array:
    """From one row to another.

    Source: M. Hubert, P. J. Rousseeuw and K. Vanden Branden, "ROBPCA: a new approach to robust
    principal component analysis", Technometrics 47, 2005.
    """
    return _normals(draw((COUNT, 2)))


def off_flats(B: Array, w: Array, k: int, draw: Draw, rng: np.random.Generator) -> Array:
    """From one row to the flat through a few others, 2 to k + 1 of them.

    Where these are regular and the first is not, the direction has little of the subspace in it,
    along which regular rows are spread: a far cluster of rows is then many of their deviations
    away, even if it is nearly half of all rows.
    """
    top = min(k, MOST, B.shape[1] - 1)
    sizes = [COUNT // top + (q < COUNT % top) for q in range(top)] if top > 0 else []
    return np.concatenate(
        [np.empty((0, B.shape[1]))]
        + [_normals(draw((size, q + 3))) for q, size in enumerate(sizes) if size]
    )


def of_extreme_kurtosis(B: Array, w: Array, k: int, draw: Draw, rng: np.random.Generator) -> Array:
    """Along which the rows' kurtosis is largest, or smallest, within leading principal axes.

    Rows in two groups of like size have the least kurtosis there is along the line between them,
    and few rows far out a large one. Fixed-point steps on whitened rows y = Z w: to
    ``E[z y^3]`` for a maximum, to ``3 w - E[z y^3]`` for a minimum. Sources: D. Peña and F. J.
    Prieto, "Combining random and specific directions for outlier detection and robust estimation
    in high-dimensional multivariate data", J. Computational and Graphical Statistics 16, 2007; A.
    Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE
    Trans. Neural Networks 10, 1999.
    """
    share = w / w.sum()
    C = B - share @ B
    lam, U = np.linalg.eigh((C * share[:, None]).T @ C)
    q = min(2 * k + 2, WIDEST, max(len(B) // 5, 1), int((lam > 1e-12 * lam[-1]).sum()))
    if q < 2:
        return U[:, -1:].T
    Z = C @ U[:, -q:]
    Y, whitener = _whitened(Z, w)
    most = _kurtosis_steps(Y, w, rng.standard_normal((Y.shape[1], STARTS)), least=False)
    return np.concatenate([_unit((whitener @ most).T), least_kurtosis(Z, w, rng)[1]]) @ U[:, -q:].T


def least_kurtosis(Z: Array, w: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Unit directions from the mean to rows, where rows are whitened, and of least kurtosis from
    there, each (m, q).

    From the mean of all to a row of one of two groups is nearly the line between them; from
    anywhere else the steps end at a largest kurtosis nearly always.
    """
    Y, whitener = _whitened(Z, w)
    begun = Y[rng.choice(len(Y), STARTS, p=w / w.sum())].T
    ended = _kurtosis_steps(Y, w, begun, least=True)
    return _unit((whitener @ begun).T), _unit((whitener @ ended).T)


def _whitened(Z: Array, w: Array) -> tuple[Array, Array]:
    """Rows less their mean, with covariance 1, and the map to them, (n, q) and (r, q)."""
    share = w / w.sum()
    C = Z - share @ Z
    lam, U = np.linalg.eigh((C * share[:, None]).T @ C)
    sound = lam > 1e-12 * lam[-1]
    whitener = U[:, sound] / np.sqrt(lam[sound])
    return C @ whitener, whitener


def _kurtosis_steps(Y: Array, w: Array, X: Array, *, least: bool) -> Array:
    """Fixed-point steps from the columns of X, (q, m), on whitened rows Y."""
    weighted = (Y * (w / w.sum())[:, None]).T
    X = X.copy()
    for _ in range(STEPS):
        X[:, ~X.any(axis=0)] = 1.0  # a kurtosis of exactly 3, or the mean
        X /= np.sqrt(np.einsum("ij,ij->j", X, X))
        y = Y @ X
        pull = weighted @ (y * y * y)
        X = 3.0 * X - pull if least else pull
    return X


DIRECTIONS: list[Callable[[Array, Array, int, Draw, np.random.Generator], Array]] = [
    through_pairs,
    off_flats,
    of_extreme_kurtosis,
]
"""Functions of the rows (n, d), their weights, k, a way to draw rows and a generator, to unit
directions (m, d). To look along others, put a function in."""


def _normals(points: Array) -> Array:
    """Unit vectors from the last point of each set to the flat through the others."""
    D = (points[:, 1:] - points[:, :1]).transpose(0, 2, 1)
    Q, R = np.linalg.qr(D)
    size = np.abs(R[:, -1, -1])
    # A set of dependent points has no such direction, or one made of rounding.
    sound = size > 1e-10 * np.sqrt(np.einsum("sij,sij->s", D, D))
    return np.ascontiguousarray(Q[sound, :, -1])


def _unit(D: Array) -> Array:
    """The rows that are not zero, at length 1."""
    norms = np.sqrt(np.einsum("ij,ij->i", D, D))
    sound = np.isfinite(norms) & (norms > 0.0)
    return np.asarray(D[sound] / norms[sound, None])
