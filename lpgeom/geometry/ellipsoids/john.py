"""John's ellipsoid of ``{x : |A x| <= 1}``: Lewis weights at p = inf."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.geometry.ellipsoids.dense import open_points
from lpgeom.geometry.ellipsoids.design import optimal_design, variances
from lpgeom.geometry.ellipsoids.hull import hull_of
from lpgeom.geometry.ellipsoids.mvee import DEFAULT_MAX_ITER, recorded
from lpgeom.geometry.ellipsoids.record import Ellipsoid
from lpgeom.geometry.spectrum import EPS, Spectrum, most_rank, spectrum
from lpgeom.io import validation
from lpgeom.rows import device
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.vectors import kept, numbers
from lpgeom.threads import limited, sized


def john_weights(
    A: Array, *, tol: float = 1e-9, max_iter: int = DEFAULT_MAX_ITER
) -> tuple[Array, Array]:
    """w >= 0 with sum rank(A), and ``tau_i = a_i^T M^+ a_i <= 1 + tol``, ``M = A^T W A``.

    The polar of ``{|A x| <= 1}`` is the hull of the rows and their negatives; John's ellipsoid of
    the one is the polar of the smallest ellipsoid around the other, which shares its weights up to
    the factor r: ``w = r u``, ``tau = omega / r`` (`optimal_design`). At the optimum tau = 1 where
    w > 0. `tau` is computed from w for all rows, whether or not tol was reached. Zero rows have
    w = tau = 0. A is finite; O(n d^2) and O(n r) a step.
    """
    top = float(np.abs(A).max())
    w, tau = np.zeros(len(A)), np.zeros(len(A))
    if top == 0.0:
        return w, tau
    hull = hull_of(
        np.ldexp(np.asarray(A, dtype=np.float64), -math.frexp(top)[1]), centred=True, singular=True
    )
    found = optimal_design(hull.Z, tol, max_iter)
    return found.weights * hull.rank, found.variance / hull.rank


def john_passes(
    rows: Rows, *, tol: float = 0.1, max_iter: int = 30, start: Spectrum | None = None
) -> tuple[Array, Array, Array]:
    """w, tau and M for rows too many for exchange steps: ``w <- w tau``, two passes a step.

    ``sum w`` stays the rank, and log det M never falls (Titterington 1976); the mean of T iterates
    has ``max tau <= 1 + log(n/r)/T`` about (Cohen, Cousins, Lee, Yang, "A near-optimal algorithm
    for approximating the John ellipsoid", COLT 2019). Whatever w is returned, tau is measured for
    it. Stops at ``max tau <= 1 + tol``; of the last iterate and the mean the better is returned.
    """
    pca = spectrum(rows) if start is None else start
    r = pca.rank
    w = np.where(rows.squared_norms() > 0.0, 1.0, 0.0)
    w = kept(w * (r / numbers(w.sum())[0]))
    total = np.zeros_like(w)

    def measured(w: Array) -> tuple[Array, Array]:
        M = rows.weighted_gram(w)
        return rows.quadratic_form(spectrum(rows, w, gram=M).whitener()), M

    for _ in range(max_iter):
        tau, M = measured(w)
        if numbers(tau.max())[0] <= 1.0 + tol:
            return w, tau, M
        total = kept(total + w)
        w = w * tau
        w = kept(w * (r / numbers(w.sum())[0]))
    last = (w, *measured(w))
    mean = kept(total * (r / numbers(total.sum())[0]))
    averaged = (mean, *measured(mean))
    return min(last, averaged, key=lambda found: numbers(found[1].max())[0])


def john_ellipsoid(
    A: ArrayLike, *, eps: float = 1e-6, max_iter: int | None = None, backend: str = "auto"
) -> Ellipsoid:
    """Ellipsoid of largest volume inside ``{x : |a_i^T x| <= 1 for all i}``.

    ``E = {x : x^T shape x <= 1}`` with ``shape = max(tau) sum_i w_i a_i a_i^T``: E lies in the body
    and the body in ``alpha E``,

        ``||A x||_inf <= sqrt(x^T shape x) <= alpha ||A x||_inf``,

    alpha = sqrt(rank) at the optimum (John 1948). For the ellipsoid *around* the body use
    ``loewner_ellipsoid(A, p=inf, method="john")``, which is ``alpha E``.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Real and finite; any rank. Zero rows bound nothing and are ignored.
    eps : float
        Gap in log-volume (within the span of the rows) to reach.
    max_iter : int, optional
        Exchange steps at most; 200,000 if not given.
    backend : {"auto", "cpu", "cuda"}
        As in `min_volume_ellipsoid`.

    Returns
    -------
    Ellipsoid
        `shape` in squared units of A, singular where A is (the body is unbounded there). `gap` is
        the proved distance of the log-volume from the largest one, `alpha` the proved factor
        above, both with the inflation for rounding; `alpha` is inf where A is too ill-conditioned
        for float64, or of lower rank only by rounding. `p` is None: `Ellipsoid.verify` is about
        ellipsoids around a ball.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite, nonempty, real matrix; eps or max_iter out of range.
    OverflowError
        `shape` is beyond the range of float64 (columns of A beyond about 1e±150).
    ImportError, RuntimeError, MemoryError
        ``backend="cuda"``: CuPy or numba-cuda, a device, or room on it is missing.

    Notes
    -----
    Polar to the smallest centred ellipsoid around the rows, and found by the same exchange steps
    (`min_volume_ellipsoid`). Sources: F. John, "Extremum problems with inequalities as subsidiary
    conditions", 1948; Cohen, Cousins, Lee, Yang, COLT 2019. Proofs: docs/theory/mvee.md.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> box = [[1.0, 0.0], [0.0, 0.5]]  # |x| <= 1, |y| <= 2
    >>> E = lpgeom.john_ellipsoid(box)
    >>> E.shape.round(6).tolist(), round(E.alpha, 6)
    ([[1.0, 0.0], [0.0, 0.25]], 1.414214)
    """
    eps = validation.check_tolerance(eps, "eps")
    steps = validation.check_steps(max_iter, DEFAULT_MAX_ITER)
    P, e = open_points(A, "A", backend)
    n, d = P.shape
    with limited(), sized(n, d), device.device_of(P):
        hull = hull_of(P, centred=True, singular=True)
        r = hull.rank
        if r == 0:
            F, alpha, gap, n_iter, converged = np.zeros((0, d)), 1.0, 0.0, 0, True
        else:
            found = optimal_design(hull.Z, eps / r, steps)
            L = np.linalg.cholesky(device.fetched((hull.Z * found.weights[:, None]).T @ hull.Z))
            R = L.T @ hull.G.T
            # |a x|^2 <= reach |R x|^2, and |R x|^2 = sum u (a x)^2 <= ||A x||_inf^2.
            reach = float(variances(hull.Z, found.weights)[0].max())
            slack = _relative_rounding(R, n)
            F = R * (math.sqrt(reach) * (1.0 + slack))
            alpha = max(1.0, math.sqrt(reach) * (1.0 + slack) ** 2)
            gap = max(r * math.log(alpha / math.sqrt(r)), 0.0)
            if slack >= 0.5 or (r < d and r < most_rank(P)):  # nothing is proved of what is dropped
                alpha = math.inf
            n_iter, converged = found.n_iter, found.converged
    return recorded(
        F, np.zeros(d), e, "squared units of A", "john",
        alpha=alpha, gap=gap, n_iter=n_iter, converged=converged,
    )  # fmt: skip


def _relative_rounding(R: Array, n: int) -> float:
    """How far ``|R x|`` may be from exact, as a share of it, for x in the span of R's rows.

    R is off by at most ``(sqrt(n) + d + 8) eps ||R||`` (its factors, their product), and
    ``|R x| >= sigma_r |x|``. That holds in any units of the columns: `hull_of` works on columns
    scaled by powers of two, so that R D, for D of powers of two, is what it finds for P D.
    """
    _, e = np.frexp(np.abs(R).max(axis=0))
    s = np.linalg.svd(np.ldexp(R, -e), compute_uv=False)
    return (math.sqrt(n) + R.shape[1] + 8.0) * EPS * float(s[0] / s[-1])
