"""Ellipsoids around the ball ``{x : ||A x||_p <= 1}``, and around any symmetric convex body."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lpgeom.geometry.ellipsoids.dense import open_dense
from lpgeom.geometry.ellipsoids.design import optimal_design
from lpgeom.geometry.ellipsoids.mvee import DEFAULT_MAX_ITER
from lpgeom.geometry.ellipsoids.record import Ellipsoid
from lpgeom.geometry.ellipsoids.sandwich import Proved, proved_root
from lpgeom.geometry.ellipsoids.shallow_cut import cut_ball, cut_body
from lpgeom.geometry.fixed_point import solve_fixed_point
from lpgeom.geometry.spectrum import EPS, in_like_units, most_rank, spectrum
from lpgeom.io import validation
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.door import Problem
from lpgeom.rows.place import place_of
from lpgeom.threads import limited, sized

Oracle = Callable[[Array], tuple[float, "ArrayLike"]]

SMALLEST_ROOT, LARGEST_ROOT = 1e-146, 1e153
"""Range of the largest entry of the root: `shape` has its square."""


def loewner_ellipsoid(
    A: ArrayLike | None = None,
    p: float | None = None,
    method: str | None = None,
    *,
    row_weights: ArrayLike | None = None,
    oracle: Oracle | None = None,
    dim: int | None = None,
    tol: float = 1e-6,
    max_iter: int | None = None,
    backend: str = "auto",
) -> Ellipsoid:
    """Ellipsoid around the ball ``{x : ||A x||_p <= 1}`` that is round up to a proved factor.

    For every x ``sqrt(x^T shape x) <= ||A x||_p <= alpha sqrt(x^T shape x)``. The least alpha that
    some ellipsoid has can be as large as ``d^|1/p - 1/2|`` (at A = I, p = 1), which is what
    ``"lewis"`` reaches always.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Real, any rank; one float64 copy is made, and one of the same size for the products.
    p : float
        1 <= p <= 100, or inf.
    method : {"lewis", "shallow-cut", "john"}, optional
        ``"lewis"`` (default for A): Lewis weights; alpha = ``rank^|1/p - 1/2|`` up to `tol`. At
        p = inf Lewis weights are John's.
        ``"shallow-cut"`` (default for a body): the ellipsoid method with shallow cuts of Grötschel,
        Lovász and Schrijver, from ``{||A x||_2 <= const}``. It stops when no semi-axis is longer
        than ``sqrt(rank + 1)`` in the norm of the ball, which proves alpha <=
        ``sqrt(rank (rank + 1))``; the alpha returned is measured and usually far below.
        ``"john"``: the ellipsoid of largest volume in ``{|A x| <= 1}``, grown until it contains
        the ball; alpha = ``sqrt(rank)`` at p = inf, measured for other p (up to
        ``n^(1/p) sqrt(rank)``).
    row_weights : array_like, shape (n,), optional
        omega >= 0; row i enters as ``omega_i^(1/p) a_i`` (p = inf: rows with omega_i > 0 count).
    oracle : callable, optional
        Instead of A and p: x (d,) -> (g(x), s) for the body ``{g <= 1}``; g is a norm, or a gauge
        of a symmetric bounded body with interior, and s (d,) a subgradient of g at x, so that
        ``<s, x> = g(x)`` and ``<s, y> <= g(y)`` for all y. Taken at its word.
    dim : int
        The dimension d of the body.
    tol : float
        ``"lewis"``: largest ``|log(tau_i / w_i^(2/p))|`` of the weights; ``"john"``: excess of tau
        over 1. Not used by ``"shallow-cut"``.
    max_iter : int, optional
        Steps at most; if it is reached `converged` is False, and alpha holds all the same.
    backend : {"auto", "cpu", "cuda"}
        As in `approx_subspace`; p = inf too runs on a device. There are on it up to eight float64
        arrays of A's shape: A is not streamed. Small products, factorizations, and steps over few
        numbers are left to the host. An oracle is asked on the host.

    Returns
    -------
    Ellipsoid
        `shape` in squared units of A, center 0. For A of lower rank than d (singular values above
        ``max(n, d) eps`` of the largest, columns scaled alike) it is singular, and the rank takes
        the place of d. The claim is then about x in the space of the rows, up to rounding of that
        space, and is made only where A has that rank as it is: fewer rows, zero columns, copies,
        and small A whose rank is that in rational arithmetic. Otherwise, or where A is too
        ill-conditioned for float64, `alpha` is inf.

    Raises
    ------
    TypeError, ValueError
        Input that is not a finite, nonempty, real matrix; p, method or weights out of range; A and
        an oracle both; an oracle that breaks its promise or a body that is unbounded.
    OverflowError
        `shape` is beyond the range of float64 (entries of A beyond about 1e150 or below 1e-146).
    ImportError, RuntimeError, MemoryError
        ``backend="cuda"``: CuPy or numba-cuda, a device, or room on it is missing.

    Notes
    -----
    ``"lewis"``: O(n d^2) a step, 5 to 20 steps. ``"shallow-cut"``: O(n d) a step; each lowers the
    log-volume by at least ``1 / (4 (d + 1)^2)``, so there are at most ``4 d (d + 1)^2 log(n)
    |1/p - 1/2|`` (in practice ``d^2 / 2`` for Gaussian rows at p = 1). Sources: Lewis 1978; M.
    Grötschel, L. Lovász, A. Schrijver, "Geometric Algorithms and Combinatorial Optimization", 1988,
    section 4.6; John 1948. Proofs: docs/theory/ellipsoids.md.

    Examples
    --------
    >>> import numpy as np, lpgeom
    >>> A = np.random.default_rng(0).standard_normal((200, 5))
    >>> E = lpgeom.loewner_ellipsoid(A, p=1.0)
    >>> round(E.alpha, 4), round(5**0.5, 4)
    (2.2361, 2.2361)
    >>> measured = E.verify(A)
    >>> bool(1.0 <= measured.lowest <= measured.highest <= E.alpha)
    True

    A body given by its gauge, here the unit ball of the largest absolute entry:

    >>> def largest(x):
    ...     i = np.argmax(np.abs(x))
    ...     return abs(x[i]), np.sign(x[i]) * np.eye(len(x))[i]
    >>> E = lpgeom.loewner_ellipsoid(oracle=largest, dim=3)
    >>> E.p is None, bool(E.alpha <= 12**0.5)
    (True, True)
    """
    tol = validation.check_tolerance(tol)
    limit = validation.check_steps(max_iter, None)
    backend = validation.check_backend(backend)
    if oracle is not None:
        if backend == "cuda":
            raise ValueError('an oracle is asked on the host: leave backend at "auto"')
        if A is not None or p is not None or row_weights is not None:
            raise ValueError("pass either A and p, or oracle and dim")
        if method not in (None, "shallow-cut"):
            raise ValueError(
                f'a body given by an oracle needs method "shallow-cut", not {method!r}'
            )
        if dim is None:
            raise ValueError("oracle needs dim, the dimension of the body")
        return _around_body(oracle, validation.check_positive_int("dim", dim), limit)
    if A is None or p is None:
        raise ValueError("pass A and p, or oracle and dim")
    if dim is not None:
        raise ValueError("dim goes with an oracle; A has its own")
    chosen = "lewis" if method is None else method
    validation.check_choice("method", chosen, tuple(METHODS))
    with limited():
        problem = open_dense(A, p, row_weights, backend)
        return around_rows(problem, chosen, tol, limit)


def around_rows(problem: Problem[Any], method: str, tol: float, limit: int | None) -> Ellipsoid:
    """`loewner_ellipsoid` of input that is checked and opened."""
    n, d = problem.rows.shape
    with sized(n, d), device.algebra(problem.rows):
        rows, units = in_like_units(problem.rows, problem.p)
        found = _around_ball(rows, problem.p, method, tol, limit)
        found = replace(found, R=found.R * units)
        if len(found.R) < d and len(found.R) < most_rank(problem.A, problem.omega):
            found = replace(found, alpha=math.inf)
    return _record(found, d, problem.unit, problem.p, method)


@dataclass(frozen=True)
class _Ball:
    """The ball of ``||D x||_p`` in coordinates y with ``D X0 y = B y`` and B orthonormal.

    Attributes
    ----------
    D, B : ndarray, shapes (n, d) and (n, r), where the rows are
    X0, R0 : ndarray, shapes (d, r) and (r, d)
        ``x = X0 y`` and ``y = R0 x``.
    p : float
    """

    D: Array
    B: Array
    X0: Array
    R0: Array
    p: float

    def proved(self, T: Array, inverse: Array, p: float | None = None, **known: Any) -> Proved:
        """The claim of the metric ``||T^-1 y||``, at this p if no other is given."""
        p = self.p if p is None else p
        return proved_root(self.D, self.X0 @ T, inverse @ self.R0, p, **known)


def _around_ball(rows: Any, p: float, method: str, tol: float, limit: int | None) -> Proved:
    """The road for A: coordinates in which A has orthonormal columns, a method, its proof."""
    n, d = rows.shape
    rows, span = rows.reduced() if n < d else (rows, None)
    pca = spectrum(rows)
    r = pca.rank
    if r == 0:
        return Proved(np.zeros((0, d)), 1.0)
    D = rows.dense()
    X0 = pca.whitener()
    R0 = (pca.U[:, pca.U.shape[1] - r :] * np.sqrt(pca.eigvals[pca.eigvals.size - r :])).T
    ball = _Ball(D, D @ rows.place.xp.asarray(X0), X0, R0, p)
    found = METHODS[method](ball, tol, limit)
    return found if span is None else replace(found, R=found.R @ span.T)


def _metric_roots(C: Array) -> tuple[Array, Array]:
    """(T, T^-1) with ``T^-T T^-1 = C^T C``: upper triangular, by QR where Cholesky fails."""
    try:
        upper = np.linalg.cholesky(device.fetched(C.T @ C)).T
    except np.linalg.LinAlgError:
        upper = device.fetched(np.linalg.qr(C, mode="r"))
    return np.linalg.inv(upper), upper


def _lewis(ball: _Ball, tol: float, limit: int | None) -> Proved:
    p, place = ball.p, place_of(ball.B)
    if math.isinf(p):
        return _john(ball, tol, limit)
    if p == 2.0:
        same = np.eye(len(ball.R0))
        return replace(ball.proved(same, same), n_iter=1)
    tau = place.row_squares(ball.B)
    alive = tau > 0.0
    rows = ball.B if bool(alive.all()) else ball.B[alive]

    def metric(w: Array) -> tuple[Array, Array]:
        return _metric_roots(rows * (w ** (0.5 - 1.0 / p))[:, None])

    def tau_of(w: Array) -> Array:
        return place.row_squares(rows @ place.xp.asarray(metric(w)[0]))

    found = solve_fixed_point(tau_of, tau[alive], rows.shape[1], p, tol=tol, max_iter=limit or 1000)
    return ball.proved(*metric(found.w)).after(found)


def _john(ball: _Ball, tol: float, limit: int | None) -> Proved:
    """John's ellipsoid of {|A x| <= 1}; for p > 2 also the metric with its weights at p.

    The body's own sandwich ``||A x||_inf <= ||A x||_p <= n^(1/p) ||A x||_inf`` is kept where it is
    the better proof.
    """
    B, p = ball.B, ball.p
    design = optimal_design(B, tol, limit or DEFAULT_MAX_ITER)
    w = design.weights * B.shape[1]
    alive = w > 0.0
    metric = _metric_roots(B[alive] * np.sqrt(w[alive])[:, None])
    largest = ball.proved(*metric, math.inf, weights=(w,))
    if math.isinf(p):
        return largest.after(design)
    n = int(np.count_nonzero(place_of(B).row_squares(ball.D)))
    stretch = n ** (1.0 / p) * (1.0 + 4.0 * n * EPS)
    candidates = [ball.proved(*metric), Proved(largest.R, largest.alpha * stretch)]
    if p > 2.0:
        metric = _metric_roots(B[alive] * (w[alive] ** (0.5 - 1.0 / p))[:, None])
        candidates.append(ball.proved(*metric, weights=(w,)))
    return min(candidates, key=lambda c: c.alpha).after(design)


def _shallow_cut(ball: _Ball, tol: float, limit: int | None) -> Proved:
    cut = cut_ball(ball.B, ball.p, limit)
    return ball.proved(cut.L, np.asarray(np.linalg.inv(cut.L)), lower=cut.lower).after(cut)


METHODS: dict[str, Callable[[_Ball, float, int | None], Proved]] = {
    "lewis": _lewis,
    "shallow-cut": _shallow_cut,
    "john": _john,
}


def _around_body(oracle: Oracle, d: int, limit: int | None) -> Ellipsoid:
    cut = cut_body(oracle, d, limit)
    R = np.asarray(np.linalg.inv(cut.L) * cut.lower, dtype=np.float64)
    found = Proved(R, cut.upper / cut.lower).after(cut)
    return _record(found, d, 1.0, None, "shallow-cut")


def _record(found: Proved, d: int, unit: float, p: float | None, method: str) -> Ellipsoid:
    root = found.R * unit
    top = float(np.abs(root).max(initial=0.0))
    if root.size and not SMALLEST_ROOT <= top <= LARGEST_ROOT:
        raise OverflowError("shape is in squared units of A and leaves float64; rescale A")
    shape = root.T @ root
    return Ellipsoid(
        shape=0.5 * (shape + shape.T),
        center=np.zeros(d),
        alpha=found.alpha,
        p=p,
        method=method,
        n_iter=found.n_iter,
        converged=found.converged,
        root=root,
    )
