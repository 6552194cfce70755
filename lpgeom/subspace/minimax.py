"""p = inf: the subspace with a small largest distance, from several starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lpgeom.bounds.evidence import Evidence
from lpgeom.bounds.few import Weights
from lpgeom.bounds.minimax import dual_weights, weighted_bound
from lpgeom.geometry.ellipsoids.dense import FEW as FEW_ENTRIES
from lpgeom.geometry.ellipsoids.john import john_passes, john_weights
from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.lewis import guarantee
from lpgeom.geometry.spectrum import Spectrum, eigen, spectrum
from lpgeom.progress import Progress
from lpgeom.records.subspace import LewisWeights
from lpgeom.rows.array import ArrayRows, gathered
from lpgeom.rows.base import Array, Rows
from lpgeom.rows.vectors import entries, largest, numbers, placed
from lpgeom.subspace.cost import lp_cost
from lpgeom.subspace.damped import continued
from lpgeom.subspace.farthest import Descent, descend
from lpgeom.subspace.solve import Solution

EXCHANGE = 2e7
"""Up to this n d^2 John's weights are found by exchange steps; beyond, by passes to 10%."""

FEW = 3000
"""Rows that the search works on at most, the farthest ones (8d where that is more)."""

ROUNDS = 8
"""How often rows that turn out to be farther are brought in."""

STATION, STATION_TOL = 20.0, 1e-3
"""Exponent whose descent leads to the neighbourhood of a good subspace, and where it stops."""

DONE = 1e-6
"""A distance this close to the lower bound is not searched any further."""

HOPS = 8
"""Random starts, where a start costs next to nothing."""

TINY = 1 << 14
"""Entries of A up to which it does."""

TIGHTEST = 1e-7
"""The descent stops at this promised share of the squared distance at the latest."""


@dataclass(frozen=True)
class MinimaxSolution(Solution):
    """A solution with the weights of the rows that its last step balanced."""

    duals: tuple[Weights, ...] = ()

    def evidence(self, rows: Rows) -> Evidence:
        return replace(super().evidence(rows), duals=self.duals)


@dataclass(frozen=True)
class _Found:
    """A subspace, its largest distance on the rows searched, and the weights of those rows."""

    name: str
    frame: Frame
    cost: float
    n_iter: int = 0
    converged: bool = True
    dual: Weights | None = None


class MinimaxSolver:
    """Best of the SVD, John's subspace, and descents on the largest distance.

    Only the farthest rows decide, so for many rows the search runs on those that are far from the
    SVD's or John's subspace or from a subspace found; rows that turn out to be farther join.

    Parameters
    ----------
    rows : Rows
        Their rank exceeds k. The farthest are fetched and looked at one by one.
    pca : Spectrum
        Of the plain Gram of the rows.
    k, seed, max_iter, tol
        As in `approx_subspace`.
    bar : Progress
    """

    def __init__(
        self,
        rows: Rows,
        pca: Spectrum,
        k: int,
        *,
        seed: int,
        max_iter: int = 200,
        tol: float = 1e-7,
        bar: Progress | None = None,
    ) -> None:
        # Most steps wait for the one before.
        self.rows = rows.here(FEW_ENTRIES)
        self.pca = pca if self.rows is rows and not pca.single else spectrum(self.rows)
        self.k = k
        self.tol = max(tol, TIGHTEST)
        self.max_iter = max_iter
        self.bar = Progress(False) if bar is None else bar
        self.rng = np.random.default_rng(seed)

    def john(self) -> tuple[LewisWeights, Array, Frame]:
        """John's weights (kappa is the largest tau), the eigenvalues of M, and its subspace."""
        self.bar.stage("John weights")
        n, d = self.rows.shape
        if float(n) * d * d <= EXCHANGE:
            w, tau = john_weights(gathered(self.rows, np.arange(n)), tol=1e-4)
            w = placed(self.rows, w)
            M = self.rows.weighted_gram(w)
        else:
            w, tau, M = john_passes(self.rows, start=self.pca, max_iter=12)
        spec = spectrum(self.rows, w, gram=M)
        (largest_tau,) = numbers(tau.max())
        kappa = max(1.0, largest_tau * (1.0 + 1e-9))
        john = LewisWeights(w, M, kappa, self.pca.rank, math.inf, 0, kappa <= 1.1)
        return john, spec.eigvals, Frame.leading(spec.U, self.k)

    def solve(self, method: str) -> MinimaxSolution:
        """Run `method` ("auto", "irls", "lewis" or "svd")."""
        svd = Frame.leading(self.pca.U, self.k)
        t_svd = self.rows.quadratic_form(svd.W)
        svd_cost = lp_cost(t_svd, math.inf)
        john, lam, ellipsoid = self.john()
        t_john = self.rows.quadratic_form(ellipsoid.W)
        own = _Found("lewis", ellipsoid, lp_cost(t_john, math.inf))
        plain = _Found("svd", svd, svd_cost)
        costs = [svd_cost]
        if method == "svd":
            best, t = plain, t_svd
        elif method == "lewis":
            best, t, costs = own, t_john, [own.cost]
        else:
            best, t, costs = self._searched(plain, own, t_svd, t_john, john, method)
        owed = a_priori_norm(john, lam, lam.size - self.k)
        promise = guarantee(john)
        if best.cost > owed and best.cost > own.cost:
            if method == "svd":
                promise = math.inf
            else:
                best, t = own, t_john
        return MinimaxSolution(
            best.frame,
            t,
            best.cost,
            svd_cost,
            john,
            promise,
            best.name,
            tuple(max(c, best.cost) for c in np.minimum.accumulate([*costs, best.cost]).tolist()),
            best.n_iter,
            best.converged,
            duals=() if best.dual is None else (best.dual,),
        )

    def _searched(
        self, svd: _Found, own: _Found, t_svd: Array, t_john: Array, john: LewisWeights, method: str
    ) -> tuple[_Found, Array, list[float]]:
        """The best subspace, its squared distances, and the largest distance of each round."""
        n, d = self.rows.shape
        room = max(FEW, 8 * d)
        index = np.arange(n)
        if n > room:
            tops = numbers(t_svd.max(), t_john.max())
            score = np.maximum(t_svd / tops[0], t_john / max(tops[1], 1e-300))
            index = np.union1d(largest(score, room)[0], largest(john.weights, d)[0])
        best, t = min(((svd, t_svd), (own, t_john)), key=lambda pair: pair[0].cost)
        costs = [svd.cost, own.cost]
        starts: list[_Found] | None = None
        for turn in range(ROUNDS):
            part = ArrayRows(gathered(self.rows, index))
            if starts is None:
                found = self._portfolio(part, svd, own, john, index, method)
            else:
                self.bar.stage("descent with more rows")
                found = replace(
                    self._descent(part, starts[0].name, starts[0].frame, far=False),
                    name=starts[0].name,
                )
            if found.dual is not None:
                found = replace(found, dual=found.dual.among(index))
            t_all = self.rows.quadratic_form(found.frame.W)
            value = lp_cost(t_all, math.inf)
            costs.append(value)
            if value < best.cost:
                best, t = replace(found, cost=value), t_all
            few = max(100, d)
            outside, t_far = largest(t_all, index.size + few)  # as many outside are among them
            new = (t_far > found.cost**2 * (1.0 + 1e-9)) & ~np.isin(outside, index)
            if not new.any() or turn == ROUNDS - 1:
                break
            starts = [found]
            joins = outside[new][largest(t_far[new], few)[0]]
            index = np.union1d(index, joins)
        return best, t, costs

    def _portfolio(
        self,
        part: ArrayRows,
        svd: _Found,
        own: _Found,
        john: LewisWeights,
        index: NDArray[np.intp],
        method: str,
    ) -> _Found:
        """Descents from every start, on the rows in `part`; the best end."""
        found = [
            self._descent(part, "svd", svd.frame, far=True),
            self._descent(part, "lewis", own.frame, far=True),
        ]
        n, d = part.shape
        if method == "auto":
            self.bar.stage("relaxation")
            best = min(found, key=lambda f: f.cost)
            w = entries(john.weights, index)
            candidates = [c for c in (best.dual, Weights.of(w) if w.any() else None) if c]
            t = part.quadratic_form(best.frame.W)
            weights, G = dual_weights(part, candidates, self.k, t, "fast")
            bound = weighted_bound("minimax", "3k", part, weights, self.k).scaled_value
            frame = Frame.leading(eigen(G)[1], self.k)
            found.append(self._descent(part, "relaxation", frame, far=False))
            for _ in range(HOPS if n * d <= TINY else 0):
                if min(f.cost for f in found) <= bound * (1.0 + DONE):
                    break
                X = self.rng.standard_normal((d, self.k))
                Q = np.linalg.qr(X, mode="complete")[0]
                frame = Frame(Q[:, : self.k].copy(), Q[:, self.k :].copy())
                found.append(self._descent(part, "random", frame, far=True))
            found = [replace(f, dual=weights) for f in found]
        return min(found, key=lambda f: f.cost)

    def _descent(self, part: ArrayRows, start: str, frame: Frame, *, far: bool) -> _Found:
        """Through a large exponent if `far`, then on the largest distance itself."""
        self.bar.stage(f"descent from {start}")
        d = part.shape[1]
        t = part.quadratic_form(frame.W)
        # Steps cost d^3 and a pass: at a few hundred columns not all of them are affordable.
        steps = max(20, min(self.max_iter, int(self.max_iter * (100.0 / d) ** 2)))
        n_iter = 0
        if far and float(t.max()) > 0.0:
            factor = math.ldexp(1.0, -round(0.5 * math.log2(float(t.max()))))
            scaled = part.scaled(factor)
            run = continued(
                scaled, frame, STATION, max_iter=steps, tol=STATION_TOL, tick=self.bar.step
            )
            reached = part.quadratic_form(run.frame.W)
            n_iter = run.n_iter
            if reached.max() < t.max():
                frame, t = run.frame, reached
        end: Descent = descend(part, frame, t, max_iter=steps, tol=self.tol, tick=self.bar.step)
        used = end.weights > 0.0
        dual = Weights(end.index[used], end.weights[used]) if used.any() else None
        n_iter += len(end.history) - 1
        return _Found(f"minimax from {start}", end.frame, end.cost, n_iter, end.converged, dual)


def a_priori_norm(john: LewisWeights, eigvals: Array, m: int) -> float:
    """Upper bound on the largest distance from John's subspace, from M's eigenvalues (ascending).

    ``||a_i Q||^2 <= tau_i ||M^(1/2) Q||^2``, the latter at most the sum of the m smallest.
    """
    return math.sqrt(john.kappa * float(np.maximum(eigvals[:m], 0.0).sum()))
