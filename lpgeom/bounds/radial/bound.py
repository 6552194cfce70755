"""Radial bounds (theory 3g, 3h, 3i): the tightest, for 1 <= p < 2; they hold with high probability.

A `RadialForm` gives ``cost(Q) >= value(Q)``, concave in Q, hence useless on the Fantope. Two facts
repair it. For a projection ``<L, Q - Q^2> = 0``, so adding ``<L, Q^2 - Q>`` changes nothing on
projections; and it makes the minorant convex wherever ``tr(L X^2) >= E(X)`` for all symmetric X.
One direction is left out of that: with ``N = E(Q0)``, ``c0 = <Q0, N>``, the form
``E2(X) = E(X) - <N, X>^2 / c0`` is still >= 0 (Cauchy-Schwarz), L only has to cover E2, and

    cost(Q) >= h(Q) - <N, Q>^2 / c0,   h(Q) = value(Q) + <N, Q>^2 / c0 + <L, Q^2 - Q>  convex.

A convex function lies above each of its linearisations: at any Q_j, with G_j the gradient of h and
any mu, ``h(Q) >= line_j(mu) + mu s``, ``s = <N, Q>``, where ``line_j(mu) = h(Q_j) - <G_j, Q_j> +
(sum of the m smallest eigenvalues of G_j - mu N)``. So the bound is the minimum over one scalar s
of ``max_j,mu (line_j(mu) + mu s) - s^2 / c0``: concave between the breakpoints of the maximum,
hence attained at one of them or at an end of the range of s.

L is a function of the gradient: where an eigenvalue of the gradient is far from the cut mu*, L may
be as large as that gap at no loss (water-filling leaves q = 0 or 1); at the cut it is tau. One
eigenvalue computation says by how much it must be scaled to cover E2. Lanczos underestimates it:
after q steps from a start that is uniform on the sphere of a D-dimensional space, the top
eigenvalue is at most ``estimate / (1 - e)`` except with probability at most ``1.648 sqrt(D)
exp(-sqrt(e) (2 q - 1))`` (Kuczynski and Wozniakowski, SIAM J. Matrix Anal. Appl. 13, 1992, theorem
4.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import eigh_tridiagonal

from lpgeom.bounds.radial.form import RadialForm
from lpgeom.bounds.relaxation import next_reference
from lpgeom.bounds.rounding import EPS, allowance
from lpgeom.geometry.fantope import largest_sum, smallest_sum
from lpgeom.geometry.spectrum import eigen, eigenvalues
from lpgeom.records.check.radial import SINGLE_SLACK, lowest
from lpgeom.records.subspace import Bound
from lpgeom.rows.base import Array, Rows

FAILURE = 1e-9
"""Failure probability of the eigenvalue bound."""

STEPS = 30
"""Lanczos products: most of the time; they bring the eigenvalue within 21% at d = 384."""

FINAL = 3
"""Random stream of the Lanczos start on which the bound rests: no other number is drawn from
``default_rng([seed, FINAL])``, so the start is independent of the operator."""

SMALL = 1 << 18
"""Below this many entries of A every pass is in float64: there is no time to be saved."""

SAMPLE = 24
"""L is scaled on SAMPLE d rows while the reference is tuned."""

SKETCH = 6
"""Lanczos products for that; they fall short of the top by about what the sample overstates."""

SKETCHED = (0, 1, 3, 5)
"""Rounds of tuning in which L is scaled anew."""

TUNING = 6
"""Rounds of tuning."""

DAMPING = 0.45
"""Share of each step of the reference that is taken: minorant and minimiser chase each other."""

HEADROOM = 1.15
"""The tuned L over the sketched eigenvalue."""

REFINE = 3
"""Linearisations added at most where the bound is attained."""

THEOREM = {"radial": "3g", "radial_two": "3h", "radial_quartic": "3i"}
PARAMETER = {"radial": 1.0, "radial_two": 1.5, "radial_quartic": 0.045}
"""Parameter of each family (`row_minorants`), best of a few on word embeddings."""

Features = tuple[Array, Array]


def radial_bound(
    rows: Rows,
    relaxed: Bound,
    k: int,
    p: float,
    *,
    seed: int,
    progress: bool = False,
    name: str = "radial_quartic",
) -> Bound:
    """The radial bound of that name, for 1 <= p < 2.

    `relaxed` is the bound of theory 3d or 3e; its Q0 starts the search. About 40 Lanczos products
    of four half passes in float32, and some 40 more passes.
    """
    n, d = rows.shape
    start, m = np.asarray(relaxed.witness["Q0"]), d - k
    view = rows.single() if n * d > SMALL else rows
    empty = Bound(name, THEOREM[name], 0.0, p=p)
    steps = min(STEPS, d * (d + 1) // 2)
    e = loss(d, steps, FAILURE)
    if e >= 0.9:
        return empty
    tuned = _tune(rows, view, start, m, p, name, seed)
    if tuned is None:
        return empty
    Q, shape = tuned
    problem = Problem.at(RadialForm(rows, Q, p, name, PARAMETER[name], view), rows, shape, m)
    if problem is None:
        return empty
    ritz = _coverage(problem, view, steps, [seed, FINAL], progress)
    if not ritz > 0.0:
        return empty
    # Where L is small beside E, rounding of E X may hide what the check asks for.
    off = allowance(n, d, problem.form.bend(rows)) / float(eigen(problem.L)[0][0])
    if not 0.0 <= off < math.inf:
        return empty
    theta = ritz / (1.0 - e) * (1.0 + SINGLE_SLACK)
    problem = problem.scaled(theta + off)
    cuts = _cuts(problem, rows, view, Q)
    value = lowest_value(cuts, problem.N, problem.c0, m)
    if not value > 0.0:
        return empty
    witness = {
        "Q0": Q,
        "L": problem.L,
        "parameter": PARAMETER[name],
        "steps": steps,
        "ritz": ritz,
        "theta": theta,
        "seed": seed,
        "points": np.stack([c.Q for c in cuts]),
        "slopes": np.array([mu for c in cuts for mu in c.slopes]),
        "owners": np.array([j for j, c in enumerate(cuts) for _ in c.slopes], dtype=np.float64),
    }
    return Bound(name, THEOREM[name], value, FAILURE, witness, p=p)


@dataclass(frozen=True)
class Problem:
    """h = value + <N, Q>^2 / c0 + <L, Q^2 - Q>, to be minimised over the Fantope of trace m."""

    form: RadialForm
    N: Array
    c0: float
    L: Array
    m: int

    @staticmethod
    def at(form: RadialForm, rows: Rows, L: Array, m: int) -> Problem | None:
        """With ``N = E(Q0)``; None where E vanishes at Q0 (nothing is left to bound)."""
        N = form.image(rows, *form.at_reference)
        c0 = float((N * form.Q0).sum())
        return Problem(form, N, c0, L, m) if c0 > 0.0 else None

    def scaled(self, factor: float) -> Problem:
        """The same with L times a factor."""
        return Problem(self.form, self.N, self.c0, factor * self.L, self.m)

    def slope(self, rows: Rows, Q: Array, features: Features) -> tuple[float, Array, float]:
        """(h, its gradient, size of the terms) at Q: two Grams."""
        s = float((self.N * Q).sum())
        LQ = self.L @ Q
        G = self.form.gradient(rows, *features) + (2.0 * s / self.c0) * self.N + LQ + LQ.T - self.L
        bend = float((self.L * (Q @ Q - Q)).sum())
        h = self.form.value(*features) + s * s / self.c0 + bend
        norm = 1.0 + float(np.linalg.norm(Q))
        most = float(np.linalg.norm(self.N)) * norm
        size = 2.0 * norm * self.form.magnitude(rows) + 3.0 * most * most / self.c0
        return h, 0.5 * (G + G.T), size + 3.0 * float(np.linalg.norm(self.L)) * norm * norm

    def descend(
        self, rows: Rows, Q: Array, features: Features, mu: float, steps: int
    ) -> tuple[Array, Features]:
        """Towards the minimiser of ``h - mu <N, Q>``, by exact line searches.

        The features are linear in Q, so a step costs two Grams and the features of its direction.
        """
        for _ in range(steps):
            _, G, _ = self.slope(rows, Q, features)
            G = G - mu * self.N
            LQ = self.L @ Q
            X = next_reference(2.0 * self.L, G - LQ - LQ.T, self.m) - Q
            descent = float((G * X).sum())
            if descent >= 0.0:
                break
            r, t = self.form.features(rows, X)
            s = float((self.N * X).sum())
            bend = float((self.L * (X @ X)).sum()) - self.form.square(r, t) + s * s / self.c0
            step = 1.0 if bend <= 0.0 else min(1.0, -0.5 * descent / bend)
            Q = Q + step * X
            features = (features[0] + step * r, features[1] + step * t)
        return Q, features


def _tune(
    rows: Rows, view: Rows, Q: Array, m: int, p: float, name: str, seed: int
) -> tuple[Array, Array] | None:
    """Reference Q and shape of L: fixed point of minorant at Q, L from its gradient, step of Q.

    In single precision, damped; nothing here needs to be exact.
    """
    n, d = rows.shape
    sample, share = view, 1.0
    if n > 2 * SAMPLE * d:
        chosen = np.random.default_rng([seed, 1]).choice(n, SAMPLE * d, replace=False)
        sample, share = view.take(np.sort(chosen)), SAMPLE * d / n
    smooth: Array | None = None
    tau, theta = 0.0, 1.0
    L = np.eye(d)
    for step in range(TUNING):
        form = RadialForm(view, Q, p, name, PARAMETER[name], view)
        G = form.gradient(view, *form.at_reference)
        smooth = G if smooth is None else 0.4 * smooth + 0.6 * G
        lam, U = eigen(smooth)
        gap = np.abs(lam - 0.5 * (lam[m - 1] + lam[m]))
        if step == 0:
            tau = max(0.5 * float(np.median(gap)), 1e-12 * float(gap.max()))
        L = (U * np.sqrt(gap**2 + tau**2)) @ U.T
        problem = Problem.at(form, view, L, m)
        if problem is None:
            return None
        if step in SKETCHED:
            part = problem
            if sample is not view:
                sampled = RadialForm(sample, Q, p, name, PARAMETER[name], sample)
                part = Problem(sampled, share * problem.N, share * problem.c0, L, m)
            theta = HEADROOM / share * _coverage(part, sample, SKETCH, [seed, 2, step], False)
        problem = problem.scaled(max(theta, 1e-6))
        mu = 2.0 * float((problem.N * Q).sum()) / problem.c0
        target, _ = problem.descend(view, Q, form.at_reference, mu, 1)
        L = problem.L
        Q = Q + DAMPING * (target - Q)
    return 0.5 * (Q + Q.T), L


def _coverage(problem: Problem, rows: Rows, steps: int, stream: list[int], progress: bool) -> float:
    """Top Ritz value of E2 in the metric ``tr(L X^2)``."""
    lam, U = eigen(problem.L)
    lam = np.maximum(lam, 1e-12 * lam[-1])
    # In the eigenbasis of L, tr(L X^2) = sum of X_ij^2 (lam_i + lam_j) / 2.
    half = np.sqrt(2.0 / (lam[:, None] + lam[None, :]))
    N, c0 = problem.N, problem.c0

    def scaled(Z: Array) -> Array:
        # There and back: eigenvectors are known up to their signs, and the start must not be.
        return U @ ((U.T @ Z @ U) * half) @ U.T

    def operator(Z: Array) -> Array:
        X = scaled(Z)
        image = problem.form.apply(rows, X) - N * (float((N * X).sum()) / c0)
        out: Array = scaled(image)
        return 0.5 * (out + out.T)

    bar = None
    if progress:
        from tqdm import tqdm

        bar = tqdm(range(steps), desc="radial bound", unit="product", leave=False)
    return top_ritz_value(operator, uniform_start(lam.size, stream), steps, bar)


def _cuts(problem: Problem, rows: Rows, view: Rows, Q: Array) -> list[Cut]:
    """Linearisations at minimisers of ``h - mu <N, Q>``, mu chosen where the bound is attained."""
    N, c0, m = problem.N, problem.c0, problem.m
    total = float(np.abs(eigenvalues(N)).sum())
    cuts: list[Cut] = []
    points: list[tuple[Array, Features]] = []

    def cut(mu: float, start: tuple[Array, Features], steps: int) -> None:
        point, features = problem.descend(view, *start, mu, steps)
        points.append((point, features))
        h, G, size = problem.slope(rows, point, problem.form.features(rows, point))
        size += total * (abs(mu) + total / c0)
        new = Cut(point, h - float((G * point).sum()) - allowance(*rows.shape, size), G)
        cuts.append(new)
        new.add(mu, N, m)

    centre = 2.0 * float((N * Q).sum()) / c0
    cut(centre, (Q, problem.form.at_reference), 3)
    cut(0.6 * centre, points[0], 2)
    cut(1.4 * centre, points[0], 1)
    for _ in range(REFINE):
        value, low, high = attained(cuts, N, c0, m)
        if low is None:  # the lowest s lies below every slope tried
            low = (high or 0.0) - centre
        if high is None:
            high = low + centre
        mu = 0.5 * (low + high)
        nearest = min(range(len(cuts)), key=lambda j: abs(cuts[j].slopes[0] - mu))
        cut(mu, points[nearest], 2)
        gain = attained(cuts, N, c0, m)[0] - value
        if gain < 1e-4 * abs(value):
            break
    slopes = [c.slopes[0] for c in cuts]
    for j, c in enumerate(cuts):  # each linearisation is worth more than its own line
        for i, mu in enumerate(slopes):
            if i != j:
                c.add(mu, N, m)
    return cuts


@dataclass
class Cut:
    """``h(Q) >= constant + <G, Q>`` for all Q, by linearisation at a point Q.

    Each slope mu makes a line: ``h(Q) >= line + mu s`` for every rank-m projection Q, s = <N, Q>.
    """

    Q: Array
    constant: float
    G: Array
    slopes: list[float] = field(default_factory=list)
    lines: list[float] = field(default_factory=list)

    def add(self, mu: float, N: Array, m: int) -> None:
        """Add the line of slope mu: one eigenvalue computation."""
        self.slopes.append(mu)
        self.lines.append(self.constant + smallest_sum(self.G - mu * N, m))


def lowest_value(cuts: list[Cut], N: Array, c0: float, m: int) -> float:
    """Minimum over s of ``max (line + mu s) - s^2 / c0``, lowered by its own rounding."""
    slopes, lines = _lines(cuts)
    value, s = lowest(slopes, lines, smallest_sum(N, m), largest_sum(N, m), c0)
    size = float(np.abs(lines).max() + np.abs(slopes).max() * abs(s)) + s * s / c0
    return value - 64.0 * EPS * size


def attained(
    cuts: list[Cut], N: Array, c0: float, m: int
) -> tuple[float, float | None, float | None]:
    """The minimum over s, and the slopes next to it from below and above (None: no line there)."""
    slopes, lines = _lines(cuts)
    value, s = lowest(slopes, lines, smallest_sum(N, m), largest_sum(N, m), c0)
    height = lines + slopes * s
    meeting = slopes[height >= height.max() - 1e-9 * np.abs(height).max()]
    low, high = float(meeting.min()), float(meeting.max())
    if low < high:
        return value, low, high
    # At an end of the range only one line is active: the missing slope lies on the far side.
    return (value, None, low) if s * 2.0 / c0 < low else (value, low, None)


def _lines(cuts: list[Cut]) -> tuple[Array, Array]:
    slopes = np.array([mu for c in cuts for mu in c.slopes])
    return slopes, np.array([line for c in cuts for line in c.lines])


def uniform_start(d: int, stream: int | list[int]) -> Array:
    """A symmetric (d, d) matrix, uniform on the unit sphere of the Frobenius norm.

    The theorem needs it independent of the operator: `stream` must seed nothing else.
    """
    G = np.random.default_rng(stream).standard_normal((d, d))
    # (G + G^T) / 2 is the projection of an isotropic Gaussian on the symmetric matrices.
    Z: Array = 0.5 * (G + G.T)
    return Z / np.linalg.norm(Z)


def top_ritz_value(
    operator: Callable[[Array], Array], start: Array, steps: int, bar: Iterable[int] | None = None
) -> float:
    """Largest Ritz value after `steps` products, with full reorthogonalisation."""
    basis = [start.ravel()]
    diagonal: list[float] = []
    off: list[float] = []
    for _ in range(steps) if bar is None else bar:
        w = operator(basis[-1].reshape(start.shape)).ravel()
        diagonal.append(float(w @ basis[-1]))
        for _twice in range(2):
            for z in basis:
                w = w - (w @ z) * z
        norm = float(np.linalg.norm(w))
        if norm <= 1e-12 * max(abs(diagonal[0]), 1e-300):
            break  # an invariant subspace: the Ritz values are eigenvalues
        off.append(norm)
        basis.append(w / norm)
    size = len(diagonal)
    values = eigh_tridiagonal(np.array(diagonal), np.array(off[: size - 1]), eigvals_only=True)
    return float(values[-1])


def loss(d: int, steps: int, failure_probability: float) -> float:
    """The e for which the failure probability after `steps` products is the one given.

    1.0 or more: too few steps to say anything.
    """
    D = d * (d + 1) / 2
    root = math.log(1.648 * math.sqrt(D) / failure_probability) / (2 * steps - 1)
    return root * root
