"""Lewis weights: the ellipsoid of theory 1, by fixed-point iteration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.geometry.fixed_point import SMALLEST, solve_fixed_point
from lpgeom.geometry.spectrum import Spectrum, spectrum
from lpgeom.io import validation
from lpgeom.rows import device
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.door import open_anywhere
from lpgeom.rows.vectors import compressed, fetched, kept, spread
from lpgeom.threads import limited, sized


@dataclass(frozen=True, eq=False)
class LewisWeights:
    """Lewis weights of the rows of A (theory 1).

    Attributes
    ----------
    weights : ndarray, shape (n,), float64
        w > 0 on nonzero rows, 0 on zero rows; sums to rank(A) at the fixed point.
    M : ndarray, shape (d, d), float64
        ``A^T W^(1-2/p) A`` for these weights, in units of A squared (p-dependent, see theory 1).
    kappa : float
        ``max_i tau_i / w_i^(2/p)``, measured: 1 at the exact fixed point.
    rank : int
        Rank of A; it takes the place of d in every constant.
    p : float
    n_iter : int
    converged : bool

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((60, 5))
    >>> lewis = lpgeom.lewis_weights(A, p=1.0)
    >>> round(float(lewis.weights.sum()), 6), lewis.rank, lewis.M.shape
    (5.0, 5, (5, 5))
    """

    weights: Array = field(repr=False)
    M: Array = field(repr=False)
    kappa: float
    rank: int
    p: float
    n_iter: int
    converged: bool

    def scaled(self, factor: float) -> LewisWeights:
        """Those of the rows times a factor: M is in their squared units."""
        return self if factor == 1.0 else replace(self, M=self.M * factor**2)

    def lifted(self, span: Array | None) -> LewisWeights:
        """Those of rows in coordinates of a span, of the rows themselves."""
        return self if span is None else replace(self, M=span @ self.M @ span.T)


def gram_weights(w: Array, p: float) -> Array:
    """``w^(1-2/p)``, the weights of ``M = A^T W^(1-2/p) A``; 0 where w is 0."""
    alive = w > 0.0
    return np.where(alive, np.where(alive, w, 1.0) ** (1.0 - 2.0 / p), 0.0)


def guarantee(lewis: LewisWeights) -> float:
    """A-priori ratio (of norms) of the Lewis subspace: ``(kappa sum w)^|1/p - 1/2|`` (theory 2).

    Let X be any rank-m projection, ``s_i = ||a_i X|| / w_i^(1/p)`` and ``S_F^2 = tr(X M X) =
    sum w s^2``. Always ``s_i <= sqrt(tau_i) w_i^(-1/p) S_op <= sqrt(kappa) S_F``.

    p <= 2: Hölder gives ``||AX||^p = sum w s^p <= (sum w)^(1-p/2) S_F^p``, and ``sum w s^2 <=
    max(s)^(2-p) sum w s^p`` gives ``||AX||^p >= kappa^(p/2-1) S_F^p``.
    p >= 2: the same two inequalities the other way round, ``||AX||^p <= kappa^(p/2-1) S_F^p`` and
    ``||AX||^p >= (sum w)^(1-p/2) S_F^p``.

    The k leading eigenvectors of M minimise S_F (Ky Fan), so their cost is at most
    ``(kappa sum w)^|1-p/2|`` times the optimum; the p-th root is the ratio. At the fixed point
    kappa = 1 and sum w = rank(A). Weights of any accuracy may stand in, as long as kappa was
    measured.
    """
    total = float(lewis.weights.sum()) * lewis.kappa
    return max(1.0, total) ** abs(1.0 / lewis.p - 0.5)


def a_priori_cost(lewis: LewisWeights, eigvals: Array, m: int) -> float:
    """Upper bound on the cost of the Lewis subspace, from M's eigenvalues (ascending) alone.

    Any subspace that costs no more than this satisfies `guarantee` too.
    """
    S_F = float(np.maximum(eigvals[:m], 0.0).sum()) ** 0.5
    p = lewis.p
    factor = float(lewis.weights.sum()) if p <= 2.0 else 1.0 / lewis.kappa
    return float(factor ** (1.0 - p / 2.0) * S_F**p)


def lewis_iteration(
    rows: Rows,
    p: float,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    start: Spectrum | None = None,
) -> tuple[LewisWeights, Spectrum]:
    """Lewis weights to `tol` in ``max_i |log(tau_i / w_i^(2/p))|``, kappa, and the spectrum of M.

    An iteration takes the next weights from the present ones and ``tau``, M from those, and
    ``tau`` in its metric: two passes. The steps are those of `solve_fixed_point`.
    """
    if start is None:
        start = spectrum(rows)
    r = start.rank
    tau = rows.quadratic_form(start.whitener())
    if p == 2.0:
        return LewisWeights(tau, rows.weighted_gram(), 1.0, r, p, 1, True), start
    alive = rows.squared_norms() > 0.0
    held: tuple[Array, Array, Spectrum] | None = None

    def tau_of(some: Array) -> Array:
        nonlocal held
        g = gram_weights(spread(some, alive), p)
        M = rows.weighted_gram(g)
        spec = spectrum(rows, g, gram=M)
        tau = compressed(rows.quadratic_form(spec.whitener()), alive)
        held = tau, M, spec
        return tau

    first = compressed(tau, alive)
    found = solve_fixed_point(tau_of, first, r, p, tol=tol, max_iter=max_iter)
    if held is None or held[0] is not found.tau:  # the best weights were not the last ones
        tau_of(found.w)
    assert held is not None
    tau, M, spec = held
    kappa = max(1.0, float((tau / found.w ** (2.0 / p)).max()))
    w = kept(spread(found.w, alive))
    return LewisWeights(w, M, kappa, r, p, found.n_iter, found.converged), spec


def lewis_from_metric(
    rows: Rows, p: float, X: Array, *, max_kappa: float = 2.0, max_iter: int = 4
) -> tuple[LewisWeights, Spectrum]:
    """Weights of all rows from a metric found elsewhere (a sample), and what they are worth.

    X is a whitener of the metric, (d, d): ``tau_i = ||a_i X||^2`` and ``w = tau^(p/2)``, then M in
    float64 and kappa measured; again from that M while kappa exceeds `max_kappa`. Weights may be
    computed in float32, since any w > 0 will do; kappa may not come out too small, see
    `measured_kappa`. Full rank only. Two or three passes a round.
    """
    d = rows.shape[1]
    alive = rows.squared_norms() > 0.0
    n_iter = 0
    last = np.inf
    best: tuple[LewisWeights, Spectrum] | None = None
    while True:
        tau = rows.single().quadratic_form(X)
        w = np.maximum(np.maximum(tau, SMALLEST) ** (p / 2.0), SMALLEST)
        w = np.where(alive, w, 0.0)
        w = kept(w * (d / float(w.sum())))
        g = gram_weights(w, p)
        M = rows.weighted_gram(g)
        spec = spectrum(rows, g, gram=M)
        X = spec.whitener()
        kappa = measured_kappa(rows, w, X, p)
        n_iter += 1
        if best is None or kappa < best[0].kappa:
            best = LewisWeights(w, M, kappa, spec.rank, p, n_iter, kappa <= max_kappa), spec
        if kappa <= max_kappa or n_iter >= max_iter or kappa > 0.9 * last:
            return best
        last = kappa


def measured_kappa(rows: Rows, w: Array, X: Array, p: float) -> float:
    """``max_i tau_i / w_i^(2/p)`` from above, ``tau_i = ||a_i X||^2``.

    In float32 first. With unit roundoff u, each entry of ``a_i X`` is off by at most ``gamma
    ||a_i|| ||x_j||``, gamma = (d + 4) u / (1 - (d + 4) u) (inner product, conversion of both
    factors; Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1), hence
    ``sqrt(tau_i)`` by at most ``gamma ||a_i|| ||X||_F``, which is added. Where that would raise
    kappa by over 2%, in float64.
    """
    alive = w > 0.0
    Y = np.where(alive, np.sqrt(rows.squared_norms()), 0.0)
    scale = 2.0 ** -np.round(np.log2(np.abs(X).max()))
    norms = np.where(alive, w, 1.0) ** (1.0 / p) * scale
    d = X.shape[0]
    for view, u in ((rows.single(), 2.0**-24), (rows, 2.0**-53)):
        root = np.where(alive, np.sqrt(view.quadratic_form(X * scale)), 0.0)
        # 3 d eps for the orthogonal reduction of X that the pass may begin with.
        gamma = (d + 4) * u / (1.0 - (d + 4) * u) + 3 * d * 2.0**-53
        slack = gamma * float(np.linalg.norm(X * scale)) * Y
        kappa = float(((root + slack) / norms).max()) ** 2
        if kappa <= 1.02 * float((root / norms).max()) ** 2:
            break
    return max(1.0, kappa)


def lewis_weights(
    A: ArrayLike,
    p: float,
    *,
    row_weights: ArrayLike | None = None,
    backend: str = "auto",
    tol: float = 1e-6,
    max_iter: int = 200,
) -> LewisWeights:
    """Lewis weights of the rows of A: the ellipsoid closest to the ball ``||A x||_p <= 1``.

    They are the w with ``w_i = (a_i^T M^-1 a_i)^(p/2)`` and ``M = A^T W^(1-2/p) A``; then
    ``||M^(1/2) x||`` and ``||A x||_p`` agree up to the factor ``rank^|1/p - 1/2|``, for every x
    (theory 1).

    Parameters
    ----------
    A : array_like, shape (n, d)
        Real, any rank. Float64 arithmetic whatever the dtype; read in blocks.
    p : float
        1 <= p <= 100.
    row_weights : array_like, shape (n,), optional
        omega >= 0; row i enters as ``omega_i^(1/p) a_i``.
    backend : {"auto", "cpu", "cuda"}
        See `approx_subspace`.
    tol : float
        Largest ``|log(tau_i / w_i^(2/p))|`` at which the iteration stops.
    max_iter : int

    Returns
    -------
    LewisWeights
        ``weights`` (n,) sum to ``rank``; zero rows have weight 0. ``M`` (d, d) is in squared units
        of A. ``kappa`` is measured. For rank-deficient A the inverse is the pseudo-inverse and
        rank(A) takes the place of d.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite, nonempty, real matrix; p or weights out of range.
    OverflowError
        M is beyond the range of float64 (entries of A beyond about 1e150).

    Notes
    -----
    Two passes over A an iteration. For p < 4 the error shrinks by |1 - p/2| each or faster (Cohen
    and Peng, "lp row sampling by Lewis weights", STOC 2015); for p >= 4 steps are damped; both are
    accelerated (docs/theory/lewis.md). A `tol` of 1e-10 takes 10 to 20 iterations for p < 4, some
    50 at p = 16.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((200, 5))
    >>> w = lpgeom.lewis_weights(A, p=1.0)
    >>> bool(w.converged), round(float(w.weights.sum()), 6)
    (True, 5.0)
    """
    tol = validation.check_tolerance(tol)
    max_iter = validation.check_positive_int("max_iter", max_iter)
    with limited():
        problem = open_anywhere(A, p, row_weights, backend=backend)
        n, d = problem.rows.shape
        with sized(n, d), device.algebra(problem.rows):
            rows, span = problem.rows.reduced() if n < d else (problem.rows, None)
            pca = spectrum(rows)
            if pca.rank == 0:
                return LewisWeights(np.zeros(n), np.zeros((d, d)), 1.0, 0, problem.p, 0, True)
            found, _ = lewis_iteration(rows, problem.p, tol=tol, max_iter=max_iter, start=pca)
            scaled = found.lifted(span)
    with np.errstate(over="ignore"):
        M = scaled.M * problem.unit * problem.unit
    if not np.isfinite(M).all():
        raise OverflowError("M is in squared units of A and leaves float64; rescale A")
    return replace(scaled, weights=fetched(scaled.weights), M=M)
