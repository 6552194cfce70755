"""Where else a descent may end, for 1 <= p < 2: more starts, and hops from the best end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from lpgeom.geometry.grassmann import Frame, largest_sine
from lpgeom.geometry.spectrum import eigen
from lpgeom.rows.array import gathered
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.vectors import beside, fetched
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.irls import Irls, Run

HOPS = 32
"""Hops and samples, at most."""

PATIENCE = 12
"""So many in a row that lead to nothing cheaper end the search; those that lead back to the best
end itself count twice."""

WORK = 2e10
"""Floating-point operations that the search may take, about."""

ROUGH = 1e-3
"""Tolerance of a descent until it is known to lead somewhere."""

HOPELESS = 1e-2
"""A rough descent that ends this share of the cost above the best is not continued."""

SAME = 0.002
"""Sine of the largest principal angle to the best below which it would only find that again."""

THROUGH = "k rows"
"""Name of a start through k of the rows."""

ENTRIES = 1 << 12
"""Entries of A, at most, for rows to be looked at in sets."""

SETS = 1 << 12
"""Sets of rows, at most."""

SETS_WORK = 4e6
"""Products, at most, in the QRs and in the residuals of all rows: some 10 ms."""

CHUNK = 256
"""Subspaces looked at at once: their residuals stay in the cache."""

LOOKED_AT = 32
"""So many of the cheapest ones are looked at, to tell different ones from each other."""

CHEAPEST = 4
"""So many of the cheapest ones are worth a descent."""

Descent = Callable[[Frame, float, float | None], Irls]
"""From a start, to a tolerance, with the first eps (None: its default)."""


@dataclass(frozen=True)
class End:
    """Where a descent ended, and what it started from."""

    name: str
    run: Run


def affordable(n: int, d: int) -> int:
    """Descents of twenty steps that `WORK` pays for."""
    return int(WORK / (20.0 * (n * d * d + 10.0 * d**3)))


def explored(
    rows: Rows,
    p: float,
    frame: Frame,
    cost: float,
    descent: Descent,
    *,
    tol: float,
    max_iter: int,
    rng: np.random.Generator,
    tau: Array | None = None,
    starts: Sequence[Frame] = (),
) -> End | None:
    """The best end of more descents, from robust starts and by hops; None if none beats `cost`.

    Parameters
    ----------
    frame, cost
        The best end so far.
    descent : callable
        ``descent(start, tol, eps)`` is an `Irls` on these rows.
    tol, max_iter
        The tolerance and the steps of descents that lead somewhere.
    tau : ndarray, shape (n,), optional
        Squared lengths in the metric of the Lewis ellipsoid, for the start that uses them.
    starts : sequence of Frame
        To start from as well, where they cost hardly more than the best end, or less.
    """
    best: End | None = None
    tries = affordable(*rows.shape)

    def attempt(name: str, start: Frame, *, cold: bool) -> int:
        """Follow a start; how many failures this counts for."""
        nonlocal best, frame, cost, tries
        tries -= 1
        eps = typical(rows, start) if cold else None
        run, back = follow(descent, start, eps, frame, cost, tol, max_iter)
        if run is None or run.cost >= cost * (1.0 - 1e-9):
            return 2 if back else 1
        best, frame, cost = End(name, run), run.best, run.cost
        return 0

    k = frame.V.shape[1]
    for start in starts:
        there = lp_cost(rows.quadratic_form(start.W), p)
        other = largest_sine(frame.V, start.V) >= SAME
        if there < cost or (other and there <= cost * (1.0 + HOPELESS)):
            attempt(THROUGH, start, cold=True)
    robust = robust_weights(rows, tau).items()
    for cold in (False, True):
        for name, w in islice(robust, max(0, tries)):
            attempt(name, leading(rows, w, k), cold=cold)
    failures = 0
    for turn in range(min(HOPS, tries)):
        if turn % 2 == 0:
            kept = 0.5 if turn % 4 == 0 else 0.9
            name, w = "hop", _some(rows, frame, p, kept, rng)
        else:
            name, w = "few rows", _few(rows, k, rng)
        failed = attempt(name, leading(rows, w, k), cold=turn % 8 >= 4)
        failures = failures + failed if failed else 0
        if failures >= PATIENCE:
            break
    return best


def _sphere(rows: Rows, tau: Array | None) -> Array:
    """All rows of length one (spherical PCA)."""
    return _inverse(rows.squared_norms())


def _short(rows: Rows, tau: Array | None) -> Array:
    """The rows up to the median length."""
    Y2 = rows.squared_norms()
    w: Array = (np.median(Y2[Y2 > 0.0]) >= Y2).astype(np.float64)
    return w


def _tyler(rows: Rows, tau: Array | None) -> Array | None:
    """All rows of length one in the metric of the Lewis ellipsoid: a step of Tyler's estimator."""
    return None if tau is None else _inverse(tau)


STARTS: dict[str, Callable[[Rows, Array | None], Array | None]] = {
    "sphere": _sphere,
    "short": _short,
    "Tyler": _tyler,
}
"""Name -> weights (n,) of a Gram in which long rows count less; the search of "auto" for p < 2
begins from the leading eigenvectors of it. Called with the rows and ``tau_i = a_i^T M^-1 a_i`` of
the Lewis metric, or None where that is not known; None: no start here. To add one, put it in."""


def robust_weights(rows: Rows, tau: Array | None) -> dict[str, Array]:
    """The weights of every start that there is for these rows."""
    found = {name: weights(rows, tau) for name, weights in STARTS.items()}
    return {name: w for name, w in found.items() if w is not None}


def _some(rows: Rows, frame: Frame, p: float, kept: float, rng: np.random.Generator) -> Array:
    """Weights of one smoothed step from a subspace, on a random share of the rows.

    On contaminated rows the cost has many local minima, which differ in the outliers that they
    fit. Half of the rows leave some of these out, and keep what most rows agree on; most of the
    rows lead to a neighbour.
    """
    t = rows.quadratic_form(frame.W)
    eps = 0.25 * float(np.mean(t ** (p / 2.0))) ** (2.0 / p)
    drawn = beside(t, rng.random(t.size) < kept)
    return np.where(drawn, np.maximum(t, eps) ** (p / 2.0 - 1.0), 0.0)


def _few(rows: Rows, k: int, rng: np.random.Generator) -> Array:
    """Weights that leave hardly more than k rows, of length one.

    Where the rows lie on several subspaces, all of these may be from the same one.
    """
    Y2 = rows.squared_norms()
    lengths = fetched(Y2)
    alive = np.flatnonzero(lengths > 1e-300)  # of the others the inverse is no float
    chosen = rng.choice(alive, size=min(alive.size, 1 + k + k // 5), replace=False)
    w = np.zeros_like(lengths)
    w[chosen] = 1.0 / lengths[chosen]
    return beside(Y2, w)


def typical(rows: Rows, frame: Frame) -> float:
    """A tenth of the median squared residual: an eps at which a robust start stays what it is.

    The default, a share of the mean, is one of the outliers', and rows that fit well all weigh
    the same there.
    """
    t = rows.quadratic_form(frame.W)
    positive = t[t > 0.0]
    return 0.1 * float(np.median(positive)) if positive.size else 0.0


def follow(
    descent: Descent,
    start: Frame,
    eps: float | None,
    best: Frame,
    cost: float,
    tol: float,
    max_iter: int,
) -> tuple[Run | None, bool]:
    """The descent from a start to its end, or None once it seems to lead to nothing below `cost`,
    the cost of `best`; and whether it was leading back to `best`."""
    irls = descent(start, ROUGH, eps)
    run = irls.run(max_iter)
    back = run.cost >= cost and largest_sine(best.V, run.best.V) < SAME
    if back or run.cost > cost * (1.0 + HOPELESS):
        return None, back
    irls.tol = tol
    irls.converged = False
    return irls.run(max_iter), False


def leading(rows: Rows, w: Array, k: int) -> Frame:
    """The k leading eigenvectors of ``sum_i w_i a_i a_i^T``."""
    return Frame.leading(eigen(rows.weighted_gram(w))[1], k)


def _inverse(x: Array) -> Array:
    """1 / x, and 0 where x is 0; scaled to a largest entry of 1."""
    positive = x > 0.0
    low = float(x[positive].min())
    return np.where(positive, low / np.where(positive, x, 1.0), 0.0)


def through_rows(rows: Rows, k: int, p: float, count: int = CHEAPEST) -> list[Frame]:
    """The cheapest subspaces through k rows, best first; none where too many would have to be
    looked at.

    For p = 1 and k = d - 1 the first of them is an optimum. A set of dependent rows stands for some
    subspace that holds them. Zero rows and repeated ones are left out: they make no new subspace.

    Parameters
    ----------
    rows : Rows
        n rows in R^d.
    k : int
        1 <= k < d.
    p : float
        1 <= p < 2.
    count : int
        Subspaces to give, at most, of which no two are the same by the measure of the search.

    Returns
    -------
    list of Frame

    Notes
    -----
    One pass; C(n, k) full QRs of d x k and as many products of (n, d) with (d, d - k), within
    `SETS` and `SETS_WORK`. Nothing is drawn by lot.
    """
    n, d = rows.shape
    near = rows.local() if n * d <= ENTRIES else None
    if near is None:
        return []
    A = gathered(near, np.flatnonzero(fetched(near.squared_norms()) > 0.0))
    return [frame for _, frame in cheapest_spans(A, k, p, count=count)]


def cheapest_spans(
    A: Array,
    k: int,
    p: float,
    *,
    omega: Array | None = None,
    affine: bool = False,
    count: int = CHEAPEST,
) -> list[tuple[Array, Frame]]:
    """As `through_rows`, of weighted rows in memory: (0, V), or (c, V) of spans through k + 1 rows.

    An affine hyperplane that is optimal at p = 1 holds d of the rows, too: of the pairs (normal v,
    offset b) with ``sum omega_i |a_i v - b| <= 1``, a polytope, one with the longest v is a vertex.
    """
    n, d = A.shape
    different = np.unique(A, axis=0)
    size = math.comb(len(different), k + affine)
    if not 0 < size <= SETS or size * d * (n * (d - k) + d * d) > SETS_WORK:
        return []
    sets = np.array(list(combinations(range(len(different)), k + affine)))

    def spans(chosen: NDArray[np.intp]) -> tuple[Array, Array]:
        points = different[chosen]
        c = points[:, :1] if affine else np.zeros((len(chosen), 1, d))
        X = points[:, 1:] - c if affine else points
        # Orthogonal (d, d) matrices whose first k columns hold these.
        return c, np.linalg.qr(X.transpose(0, 2, 1), mode="complete")[0]

    def costs(c: Array, Q: Array) -> Array:
        W = Q[:, :, k:]
        Y = A @ W - c @ W
        t = np.einsum("sij,sij->si", Y, Y) ** (p / 2.0)
        return np.asarray(t.sum(axis=1) if omega is None else t @ omega)

    cost = np.concatenate(
        [costs(*spans(sets[lo : lo + CHUNK])) for lo in range(0, len(sets), CHUNK)]
    )
    order = np.argsort(cost, kind="stable")[:LOOKED_AT]
    near = SAME * math.sqrt(float(np.einsum("ij,ij->", A, A)) / n)
    found: list[tuple[Array, Frame]] = []
    for (c,), Q in zip(*spans(sets[order]), strict=True):
        frame = Frame.cut(Q, k)
        if all(
            largest_sine(V.V, frame.V) >= SAME or np.linalg.norm((c - o) @ frame.W) > near
            for o, V in found
        ):
            found.append((c, frame))
        if len(found) == count:
            break
    return found
