"""Compile ahead of the first call."""

from __future__ import annotations

import numpy as np


def warmup() -> None:
    """Compile every kernel for float32 and float64 input and cache it on disk.

    The first call in a fresh installation otherwise pays for it (a few seconds); later processes
    read the cache.

    Examples
    --------
    >>> import lpgeom
    >>> lpgeom.warmup()
    """
    from lpgeom.affine.affine import approx_affine
    from lpgeom.entries.splitting import split
    from lpgeom.geometry.ellipsoids.john import john_ellipsoid
    from lpgeom.geometry.ellipsoids.lp_svd import lp_svd
    from lpgeom.geometry.ellipsoids.mvee import min_volume_ellipsoid
    from lpgeom.quantized.feedback import fed_back
    from lpgeom.subspace.approx import approx_rows

    A = np.random.default_rng(0).standard_normal((64, 8))
    weights = np.ones(64)
    for dtype in (np.float32, np.float64):
        for p in (1.0, 1.5, 3.0):
            approx_rows(A.astype(dtype), 3, p)
        approx_rows(A.astype(dtype), 3, 1.0, row_weights=weights)
        split(A.astype(dtype), A[:, :3], np.eye(3, 8), 1.0, max_iter=2)
        fed_back(A.astype(dtype), 4, None, A.T @ A)
    approx_rows(A, 3, np.inf)
    approx_affine(A, 3, support_fraction=0.5, certify=False)
    min_volume_ellipsoid(A)
    john_ellipsoid(A)
    lp_svd(A, 1.0, "shallow-cut")
