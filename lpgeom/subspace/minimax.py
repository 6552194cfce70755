"""p = inf: the subspace with a small largest distance, from several starts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lpgeom.bounds.evidence import Weights
from lpgeom.bounds.minimax import dual_weights, weighted_bound
from lpgeom.geometry.ellipsoids.dense import FEW as FEW_ENTRIES
from lpgeom.geometry.ellipsoids.john import john_passes, john_weights
from lpgeom.geometry.grassmann import Frame
from lpgeom.geometry.lewis import LewisWeights
from lpgeom.geometry.spectrum import eigen, spectrum
from lpgeom.kernels.cpu.simplex import pairwise_descent
from lpgeom.rows.array import ArrayRows, dense, gathered
from lpgeom.rows.base import Array
from lpgeom.rows.vectors import entries, largest, numbers, placed
from lpgeom.subspace.assemble import Candidate, falling
from lpgeom.subspace.cost import cheapest, lp_cost
from lpgeom.subspace.damped import continued
from lpgeom.subspace.irls import Tick
from lpgeom.subspace.solve import Solver, Starts

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

MOST_ACTIVE = 300
"""Rows that a step looks at, the farthest ones."""

NEAR = 0.25
"""Rows with less than this share of the largest squared distance are left out of a step."""

LONGEST, SHORTEST = 1e-3, 1e9
"""Range of the damping."""


class MinimaxSolver(Solver):
    """Best of the SVD, John's subspace, and descents on the largest distance.

    Only the farthest rows decide, so for many rows the search runs on those that are far from the
    SVD's or John's subspace or from a subspace found; rows that turn out to be farther join.

    Parameters
    ----------
    rows : Rows
        Their rank exceeds k. The farthest are fetched and looked at one by one.
    pca, k, p, seed, max_iter, tol, bar
        See `Solver`, with p = inf.
    """

    def __post_init__(self) -> None:
        # Most steps wait for the one before.
        near = self.rows.here(FEW_ENTRIES)
        if near is not self.rows or self.pca.single:
            self.pca = spectrum(near)
        self.rows, self.tol = near, max(self.tol, TIGHTEST)
        super().__post_init__()

    def lewis(self, t: Array) -> tuple[LewisWeights, Array, Frame]:
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

    def owed(self, lewis: LewisWeights, lam: Array) -> float:
        """Upper bound on the largest distance from John's subspace, from M's eigenvalues.

        ``||a_i Q||^2 <= tau_i ||M^(1/2) Q||^2``, the latter at most the sum of the m smallest.
        """
        smallest = np.maximum(lam[: lam.size - self.k], 0.0)
        return math.sqrt(lewis.kappa * float(smallest.sum()))

    def descents(self, starts: Starts) -> list[Candidate]:
        """The best of the two subspaces and the ends of descents from them."""
        return [self._widened(starts, search=False)]

    def searched(self, starts: Starts) -> list[Candidate]:
        """The same with the relaxation, and random subspaces, as further starts."""
        return [self._widened(starts, search=True)]

    def _widened(self, starts: Starts, *, search: bool) -> Candidate:
        """The best of rounds: all descents on some rows, then one as more of them join."""
        svd, own = self.svd, self.evaluate("lewis", starts.ellipsoid)
        n, d = self.rows.shape
        room = max(FEW, 8 * d)
        index = np.arange(n)
        if n > room:
            score = np.maximum(svd.t / svd.cost**2, own.t / max(own.cost**2, 1e-300))
            index = np.union1d(largest(score, room)[0], largest(starts.lewis.weights, d)[0])
        best = cheapest([svd, own])
        costs = [svd.cost, own.cost]
        found: Candidate | None = None
        for turn in range(ROUNDS):
            part = ArrayRows(gathered(self.rows, index))
            if found is None:
                ends = [self._descent(part, c.name, c.frame, far=True) for c in (svd, own)]
                if search:
                    ends = self._searched(part, ends, entries(starts.lewis.weights, index))
                found = cheapest(ends)
            else:
                self.bar.stage("descent with more rows")
                again = self._descent(part, found.name, found.frame, far=False)
                found = replace(again, name=found.name)
            there = found.cost  # the largest distance of the rows searched
            t = self.rows.quadratic_form(found.frame.W)
            duals = tuple(weights.among(index) for weights in found.duals)
            found = replace(found, t=t, cost=lp_cost(t, math.inf), duals=duals)
            costs.append(found.cost)
            best = cheapest([best, found])
            few = max(100, d)
            outside, t_far = largest(t, index.size + few)  # as many outside are among them
            new = (t_far > there**2 * (1.0 + 1e-9)) & ~np.isin(outside, index)
            if not new.any() or turn == ROUNDS - 1:
                break
            joins = outside[new][largest(t_far[new], few)[0]]
            index = np.union1d(index, joins)
        return replace(best, history=falling(costs, best.cost))

    def _searched(self, part: ArrayRows, found: list[Candidate], w: Array) -> list[Candidate]:
        """`found` and the ends of further descents, on rows whose John weights are w."""
        n, d = part.shape
        self.bar.stage("relaxation")
        best = cheapest(found)
        known = [*best.duals, *([Weights.of(w)] if w.any() else [])]
        weights, G = dual_weights(part, known, self.k, best.t, "fast")
        bound = weighted_bound("minimax", "3k", part, weights, self.k).scaled_value
        frame = Frame.leading(eigen(G)[1], self.k)
        found.append(self._descent(part, "relaxation", frame, far=False))
        for _ in range(HOPS if n * d <= TINY else 0):
            if min(c.cost for c in found) <= bound * (1.0 + DONE):
                break
            frame = Frame.spanned_by(self.rng.standard_normal((d, self.k)))
            found.append(self._descent(part, "random", frame, far=True))
        return [replace(c, duals=(weights,)) for c in found]

    def _descent(self, part: ArrayRows, start: str, frame: Frame, *, far: bool) -> Candidate:
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
        end = descend(part, frame, t, max_iter=steps, tol=self.tol, tick=self.bar.step)
        return replace(end, name=f"minimax from {start}", n_iter=n_iter + end.n_iter)


def solver_for(p: float) -> type[Solver]:
    """The class that solves for this p, called with rows whose rank exceeds k."""
    return MinimaxSolver if math.isinf(p) else Solver


def descend(
    rows: ArrayRows,
    start: Frame,
    t: Array,
    *,
    max_iter: int,
    tol: float,
    tick: Tick | None = None,
) -> Candidate:
    """Lower ``max_i t_i`` step by step; it never rises.

    With ``alpha_i = V^T a_i`` and ``beta_i = W^T a_i``, the subspace spanned by ``V + W D`` leaves
    row i at a squared distance of at most ``||beta_i - D alpha_i||^2``: that is its distance from
    one point of the subspace. A step minimises ``max_i (t_i - 2 beta_i^T D alpha_i) + c tr(D K
    D^T)`` over the rows that are nearly the farthest, K a weighted mean of ``alpha alpha^T``. The
    dual has one weight a row, ``max t^T w - w^T H w`` over the simplex, ``H_ij = (beta_i . beta_j)
    alpha_i^T (c K)^-1 alpha_j``, and ``D = sum w_i beta_i ((c K)^-1 alpha_i)^T``. Where the
    largest distance does not fall, c grows and the step is taken again, shorter. It ends once a
    step promises less than the share `tol` of the largest distance.

    One pass over the rows a trial. `duals` of the end are the rows and weights (sum 1) of the last
    step, under which the subspace is stationary when converged.
    """
    V, W = start.V, start.W
    k = V.shape[1]
    top = float(t.max())
    history = [float(np.sqrt(top))]
    damping = 1.0
    weight_of = np.zeros(len(t))
    converged = top == 0.0
    index, w = np.zeros(0, dtype=np.intp), np.zeros(0)
    while not converged and len(history) <= max_iter:
        count = min(MOST_ACTIVE, len(t))
        index = np.argpartition(t, len(t) - count)[len(t) - count :]
        index = np.sort(index[t[index] >= NEAR * top])
        B = dense(rows.take(index))
        alpha, beta = B @ V, B @ W
        b = t[index] / top
        w = weight_of[index] + 1e-3 / len(index)
        w /= w.sum()
        K = (alpha * w[:, None]).T @ alpha / top
        K += (1e-10 * np.trace(K) / k + 1e-30) * np.eye(k)
        H0 = (beta @ beta.T / top) * (alpha @ np.linalg.solve(K, alpha.T) / top)
        moved = False
        while damping <= SHORTEST:
            H = H0 / damping
            gap = pairwise_descent(H, b, w, 0.1 * tol, 0.05, 20 * len(w) + 1000)
            promise = 1.0 - float(b @ w - w @ H @ w) - gap
            if promise <= tol:
                converged = True
                break
            D = (beta * w[:, None]).T @ np.linalg.solve(damping * K, alpha.T).T / top
            trial = Frame.spanned_by(V + W @ D)
            t_trial = rows.quadratic_form(trial.W)
            if float(t_trial.max()) < top * (1.0 - 0.1 * promise):
                moved = True
                break
            damping *= 4.0
        if not moved:
            break
        damping = max(damping / 3.0, LONGEST)
        V, W, t = trial.V, trial.W, t_trial
        top = float(t.max())
        weight_of[:] = 0.0
        weight_of[index] = w
        history.append(float(np.sqrt(top)))
        if tick is not None:
            tick(f"largest distance {history[-1]:.6g}")
    used = w > 0.0
    duals = (Weights(index[used], w[used]),) if used.any() else ()
    steps = len(history) - 1
    return Candidate(
        "minimax", Frame(V, W), t, history[-1], True, tuple(history), steps, converged, duals=duals
    )
