"""Seeded matrices, said exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

Matrix = NDArray[np.float64]


def contaminated(
    n: int = 1000,
    d: int = 50,
    k: int = 5,
    factor: float = 10.0,
    seed: int = 0,
    fraction: float = 0.05,
    noise: float = 1e-3,
) -> tuple[Matrix, Matrix]:
    """Inliers near a k-subspace with long outliers: (A, basis of the true subspace).

    Inliers are ``U z + noise * g`` with z standard normal in R^k and g in R^d; `fraction` of the
    rows, chosen at random, are replaced by random directions of length ``factor * sqrt(k)``
    (sqrt(k) is an inlier's root mean square length).

    Parameters
    ----------
    n, d, k : int
        Rows, columns, dimension of the subspace.
    factor : float
        How many times as long as an inlier an outlier is.
    seed : int
        Everything is drawn from ``numpy.random.default_rng(seed)``.
    fraction : float
        Share of the rows that are outliers.
    noise : float
        Standard deviation of an inlier's entries around the subspace.

    Returns
    -------
    tuple of ndarray, shapes (n, d) and (d, k), float64
        The rows, and an orthonormal basis of the subspace.

    Examples
    --------
    >>> from lpgeom import datasets
    >>> A, U = datasets.contaminated(n=200, d=10, k=2, seed=1)
    >>> A.shape, U.shape
    ((200, 10), (10, 2))
    """
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((d, k)))[0]
    A = rng.standard_normal((n, k)) @ U.T + noise * rng.standard_normal((n, d))
    outliers = rng.choice(n, size=round(fraction * n), replace=False)
    directions = rng.standard_normal((len(outliers), d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    A[outliers] = factor * np.sqrt(k) * directions
    return A, U


def heavy_tailed(
    n: int = 2000, d: int = 50, dtype: DTypeLike = np.float64, seed: int = 0
) -> NDArray:
    """Rows of a multivariate t distribution with a power-law spectrum.

    ``a_i = u_i R diag(j^(-1/2)) z_i``: z_i standard normal in R^d, j = 1..d, R orthogonal (QR of a
    Gaussian matrix), ``u_i = sqrt(3 / chi^2_3)`` (three degrees of freedom: row lengths have a
    heavy tail). Everything from ``numpy.random.default_rng(seed)``, made in blocks.

    Parameters
    ----------
    n, d : int
        Rows and columns.
    dtype : dtype
        Of the result.
    seed : int
        Everything is drawn from ``numpy.random.default_rng(seed)``.

    Returns
    -------
    ndarray, shape (n, d)

    Examples
    --------
    >>> from lpgeom import datasets
    >>> datasets.heavy_tailed(100, 6).shape
    (100, 6)
    """
    rng = np.random.default_rng(seed)
    R = np.linalg.qr(rng.standard_normal((d, d)))[0]
    mix = (R / np.sqrt(np.arange(1, d + 1))).T
    A = np.empty((n, d), dtype)
    for lo in range(0, n, 8192):
        hi = min(n, lo + 8192)
        u = np.sqrt(3.0 / rng.chisquare(3.0, hi - lo))
        A[lo:hi] = (rng.standard_normal((hi - lo, d)) @ mix) * u[:, None]
    return A


def power_law(n: int = 2000, d: int = 50, decay: float = 1.0, seed: int = 0) -> Matrix:
    """Gaussian rows whose covariance has eigenvalues ``j^(-2 decay)``, in random directions.

    Parameters
    ----------
    n, d : int
        Rows and columns.
    decay : float
        How fast the spectrum falls.
    seed : int
        Everything is drawn from ``numpy.random.default_rng(seed)``.

    Returns
    -------
    ndarray, shape (n, d), float64

    Examples
    --------
    >>> from lpgeom import datasets
    >>> datasets.power_law(100, 6, decay=2.0).shape
    (100, 6)
    """
    rng = np.random.default_rng(seed)
    R = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return (rng.standard_normal((n, d)) * np.arange(1, d + 1) ** -decay) @ R.T
