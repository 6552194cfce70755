"""``lp_regression``: many l_p regressions that share their matrix, each with its duality gap."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from lpgeom.entries.regression_basis import Basis
from lpgeom.entries.regression_block import Block
from lpgeom.io import validation
from lpgeom.io.interchange import as_numpy
from lpgeom.progress import Progress
from lpgeom.rows import device
from lpgeom.rows.base import Array
from lpgeom.rows.place import (
    HOST,
    Place,
    check_matrix,
    device_for,
    largest_entries,
    place_for,
    place_of,
)
from lpgeom.threads import limited

ARRAYS, MOST_ENTRIES = 24, 1 << 25
"""Arrays of a block's size that regressions hold on the device, and the largest size."""


PIVOTS = 200
"""Exchanges of one entry for another, at most; from a point near the solution it takes a few."""

SLACK = 1e-13
"""A multiplier may exceed its weight by this share: rounding."""


@dataclass(frozen=True, eq=False)
class Regression:
    """Solutions of l_p regressions, and how far from optimal each can be.

    Attributes
    ----------
    X : ndarray, shape (n, k)
        Coefficients of problem i in row i.
    cost : ndarray, shape (n,)
        ``sum_j w_ij |B_ij - (V X_i)_j|^p`` (p-th powers).
    lower_bound : ndarray, shape (n,)
        Proved: no coefficients cost less. From a dual vector, for V as it was given, all rounding
        allowed for; 0 where nothing is proved, as where columns of V depend on one another without
        being copies: rounding may then hide a direction that very large coefficients use.
    gap : ndarray, shape (n,)
        ``(cost - lower_bound) / cost``; 0 where the residual is rounding of B.
    n_iter : ndarray of int, shape (n,)
    converged : ndarray of bool, shape (n,)
        Whether the gap came down to the tolerance, as the iteration sees it.
    p : float

    Examples
    --------
    >>> import lpgeom
    >>> fit = lpgeom.lp_regression([[1.0], [1.0], [1.0]], [[1.0, 2.0, 30.0]])
    >>> proved = fit.lower_bound <= fit.cost
    >>> fit.X.shape, bool(proved[0]), bool(fit.converged[0])
    ((1, 1), True, True)
    """

    X: Array = field(repr=False)
    cost: Array = field(repr=False)
    lower_bound: Array = field(repr=False)
    gap: Array
    n_iter: np.ndarray = field(repr=False)
    converged: np.ndarray = field(repr=False)
    p: float


def lp_regression(
    V: ArrayLike,
    B: ArrayLike,
    p: float = 1.0,
    *,
    weights: ArrayLike | None = None,
    tol: float = 1e-9,
    max_iter: int = 300,
    backend: str = "auto",
    progress: bool = False,
) -> Regression:
    """Solve ``min_x sum_j w_ij |B_ij - (V x)_j|^p`` for every row i of B.

    Parameters
    ----------
    V : array_like, shape (d, k)
        The matrix all problems share. Its columns may be dependent: X is then one of many.
    B : array_like, shape (n, d) or (d,)
        A right side in each row; a vector is one problem.
    p : float
        1 <= p <= 100.
    weights : array_like, shape (d,) or (n, d), optional
        w >= 0; where it is 0 the entry takes no part.
    tol : float
        A problem ends when its gap, as the iteration sees it, is below this share of its cost.
    max_iter : int
    backend : {"auto", "cpu", "cuda"}
        Where the problems are solved. "cuda": on a CUDA device, to which NumPy arrays are sent, B
        block by block; needs `lpgeom[cuda]`. "cpu": here, with device arrays fetched. "auto": where
        B is, a CuPy array or torch CUDA tensor being used where it lies. Results are NumPy's.
    progress : bool
        A counter of problems on stderr.

    Returns
    -------
    Regression

    Raises
    ------
    TypeError, ValueError
        Entries that are not finite real numbers, shapes that do not match, p out of range, negative
        weights.
    OverflowError
        Coefficients are beyond the range of float64.

    Notes
    -----
    p < 2: a primal-dual interior-point method with a corrector step, 10 to 20 iterations; at p = 1
    a few problems in ten thousand are ended by the simplex method from there. p >= 2:
    Newton's method with a line search, over exponents that double up to p, 2 to 30 iterations. Each
    costs O(d k^2 + k^3) a problem, most of it in one matrix product for a block of problems. Memory
    beyond V, B and the result: some blocks.

    The bound is Hölder's: for y with ``V^T y = 0``, ``(sum w |r|^p)^(1/p) >= y . r / ||y||_*`` with
    the dual norm, evaluated at the returned residual with the y of the iteration; how far ``V^T y``
    is from 0 is measured and allowed for. Sources:
    Portnoy and Koenker, "The Gaussian hare and the Laplacian tortoise", Statistical Science 1997
    (p = 1); Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J.
    Optimization 1992; Adil, Peng and Sachdeva, "Fast, provably convergent IRLS algorithm for p-norm
    linear regression", NeurIPS 2019 (large p).

    Examples
    --------
    >>> import lpgeom
    >>> ones = [[1.0], [1.0], [1.0]]
    >>> fit = lpgeom.lp_regression(ones, [[1.0, 2.0, 30.0]], p=1.0)
    >>> fit.X.round(6).tolist(), fit.cost.round(6).tolist()  # the median
    ([[2.0]], [29.0])
    >>> bool(fit.gap[0] < 1e-8)
    True
    """
    p = validation.check_p(p)
    tol = validation.check_tolerance(tol)
    max_iter = validation.check_positive_int("max_iter", max_iter)
    V, weights = device.fetched(V), device.fetched(weights)
    place = place_for(B, backend)
    if not place.on_device:
        B = device.fetched(B)
    matrix = _finite(V, "V")
    right = device.as_device(B) if device.on_device(B) else as_numpy(B, "B")
    if right.ndim == 1:
        B = right[None]
    with device_for(B, backend):
        right = _finite(B, "B")
        d, n = matrix.shape[0], right.shape[0]
        if right.shape[1] != d:
            turned = ": pass B.T" if right.shape[0] == d else ""
            raise ValueError(
                f"B must have shape (n, {d}), a right side in each row; got {right.shape}{turned}"
            )
        w = None if weights is None else validation.check_entry_weights(weights, (n, d))
        with limited():
            basis = Basis.of(matrix, proving=True).at(place)
            with Progress(progress) as bar:
                bar.stage("lp regression")
                fit = regress(basis, right, p, w, tol, max_iter, bar.step)
    fit = replace(fit, X=place.host(fit.X))
    if not np.isfinite(fit.X).all():
        raise OverflowError("coefficients leave float64; multiply V or B by a power of ten")
    return fit


def _finite(A: Any, name: str) -> Any:
    """A where it lies, as finite numbers in two dimensions."""
    array = check_matrix(A, name)
    largest_entries(array, None, name)
    return array


def regress(
    basis: Basis,
    B: Any,
    p: float,
    weights: Any,
    tol: float,
    max_iter: int,
    tick: Callable[[str], None] | None = None,
    start: Any = None,
) -> Regression:
    """`lp_regression` of checked input, in blocks over the threads that are allowed.

    Where `basis` is: blocks of B and of the weights are sent there. X stays there; all else is
    NumPy's. `start`: coefficients (n, k) near the solution, of which Newton's method makes use.

    Raises
    ------
    MemoryError
        Not even one problem fits on the device.
    """
    place = place_of(basis.Q)
    n, d = B.shape
    rank = basis.Q.shape[1]
    X, cost, lower = place.xp.empty((n, basis.back.shape[0])), np.empty(n), np.empty(n)
    gap, seen, n_iter = np.empty(n), np.empty(n), np.zeros(n, dtype=np.int64)
    entries = block_entries(place, d, rank)
    if place.on_device and entries < d:
        raise MemoryError(
            f"a regression of {d} entries in {rank} coefficients needs more device memory than is "
            f'free; {entries} entries would fit; backend="cpu" works in host memory'
        )
    if place.on_device and rank == 0:  # nothing to fit
        B, weights = (None if v is None else place.host(v) for v in (B, weights))
        fit = regress(basis.at(HOST), B, p, weights, tol, max_iter, tick)
        return replace(fit, X=place.xp.asarray(fit.X))
    step = max(1, entries // d)

    @np.errstate(over="ignore", invalid="ignore")  # X may be too large for a float
    def work(i: int, workers: int, stopped: Callable[[], bool]) -> None:
        for lo in range(i * step, n, workers * step):
            if stopped():
                return
            part = slice(lo, min(lo + step, n))
            b, w = place.array(B[part], np.float64), None
            if weights is not None:
                w = weights if weights.ndim == 1 else weights[part]
                w = np.broadcast_to(place.array(w, np.float64), b.shape)
            x = None if start is None else start[part] @ basis.forth.T
            block = Block(basis, b, w, p, x)
            block.solve(tol, max_iter)
            X[part], cost[part], lower[part], gap[part], seen[part], n_iter[part] = _told(block)
            # Rounding can spoil a last step, and few entries seen make columns nearly dependent:
            # once more, with a basis for these entries. One problem is work for the host.
            bad = np.flatnonzero(seen[part] > _allowed(tol))
            here = basis.at(HOST) if bad.size else basis
            for j in bad:
                one = None if w is None else place.host(w[j])
                x, *rest = _once_more(here, place.host(b[j]), one, p, tol, max_iter)
                if rest[3][0] < seen[lo + j]:
                    X[lo + j] = place.xp.asarray(x[0])
                    for values, own in zip((cost, lower, gap, seen, n_iter), rest, strict=True):
                        values[lo + j] = own[0]
            if tick is not None and i == 0:
                tick(f"{part.stop} of {n}")

    place.run(work, float(n) * d * max(1, rank))
    return Regression(X, cost, lower, gap, n_iter, seen <= _allowed(tol), p)


def block_entries(place: Place, d: int, r: int) -> int:
    """Entries of a block of regressions of d entries in r coefficients."""
    if not place.on_device:
        # With a dozen arrays of that size the cache holds it; normal matrices are 8 MiB at most.
        return min(1 << 15, d * ((1 << 20) // max(1, r * r)))
    # Half of what is free; a normal matrix is stored twice.
    room = device.free_bytes() // 16
    return min(MOST_ENTRIES, int(room / (ARRAYS + 2.0 * r * r / d)))


def _allowed(tol: float) -> float:
    """Largest gap of a problem that counts as solved."""
    return max(10.0 * tol, 1e-12)


def _told(block: Block) -> tuple[Any, Array, Array, Array, Array, Any]:
    """X; cost, bound and gap, proved for V where it is known; the gap for the basis; n_iter."""
    X = (block.x * block.unit[:, None]) @ block.basis.back.T
    own = block.certified()
    judged = own if block.basis.given is None else block.proved()
    gap = np.where(block.place.host(block.dependent), np.inf, own[2])
    return X, *judged, gap, block.place.host(block.n_iter)


def _once_more(
    basis: Basis, b: Array, w: Array | None, p: float, tol: float, max_iter: int
) -> tuple[Any, Array, Array, Array, Array, Any]:
    """What is told of one problem solved on the host, with a basis for the entries that are seen;
    at p = 1 ended at a vertex where that proves more."""
    if w is not None and w.any() and not w.all():
        at = w > 0.0
        basis, b, w = basis.seen(at), b[at], w[at]
    block = Block(basis, b[None], None if w is None else w[None], p)
    x = block.solve(0.01 * tol, max_iter)
    gap = block.certified()[2][0]
    if p == 1.0 and gap > 0.0 and block.n_iter[0] < max_iter and x.size:
        end = vertex(basis.Q, block.b[0], block.w[0], x[0])
        if end is not None:
            before = x, block.y
            block.x, block.y = end[0][None], end[1][None]
            if not block.certified()[2][0] < gap:
                block.x, block.y = before
    return _told(block)


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
        It has full column rank.
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
