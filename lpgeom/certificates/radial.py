"""Radial bounds (theory 3g, 3h, 3i): the tightest, for 1 <= p < 2; they hold with high probability.

`radial_form` gives ``cost(Q) >= value(Q)``, concave in Q, hence useless on the Fantope. Two facts
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
eigenvalue computation (`lanczos`) says by how much it must be scaled to cover E2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpgeom.certificates.evidence import Evidence
from lpgeom.certificates.lanczos import loss, top_ritz_value, uniform_start
from lpgeom.certificates.radial_form import RadialForm
from lpgeom.certificates.relaxation import next_reference
from lpgeom.certificates.rounding import EPS
from lpgeom.geometry.fantope import largest_sum, smallest_sum
from lpgeom.results import Bound
from lpgeom.rows.base import Array, Rows

FAILURE = 1e-9
"""Failure probability of the eigenvalue bound."""

STEPS = 40
"""Lanczos products: they cost most of the time, and bring the eigenvalue within 13% at d = 384."""

SINGLE_SLACK = 1e-3
"""L is raised by this fraction for products taken in float32 (relative error about 1e-5)."""

SAMPLE = 24
"""The reference is tuned on about SAMPLE d rows."""

TUNING = 10
HEADROOM = 1.15
TARGET = 0.9
DAMPING = 0.4

THEOREM = {"radial": "3g", "radial_two": "3h", "radial_quartic": "3i"}
PARAMETER = {"radial": 1.0, "radial_two": 1.5, "radial_quartic": 0.045}


@dataclass(frozen=True)
class Reference:
    """What the tuning found: a matrix Q and the shape of L."""

    Q: Array
    L: Array


def radial_bounds(
    rows: Rows,
    evidence: Evidence,
    k: int,
    p: float,
    *,
    seed: int,
    progress: bool = False,
    relaxed: Bound | None = None,
    names: tuple[str, ...] = ("radial_quartic",),
) -> list[Bound]:
    """Radial bounds by name, for 1 <= p < 2.

    About 40 Lanczos products of four float32 passes each, and some 20 more passes. `relaxed` is
    the bound of theory 3d or 3e, whose Q0 starts the search.
    """
    del evidence  # the start is the relaxation's
    if relaxed is None or "Q0" not in relaxed.witness:
        return []
    start = np.asarray(relaxed.witness["Q0"])
    m = rows.shape[1] - k
    return [_radial_bound(rows, start, m, p, name, seed, progress) for name in names]


def _radial_bound(
    rows: Rows, start: Array, m: int, p: float, name: str, seed: int, progress: bool
) -> Bound:
    n, d = rows.shape
    parameter = PARAMETER[name]
    reference = _tune(rows, start, m, p, name, seed)
    form = RadialForm(rows, reference.Q, p, name, parameter)
    N = form.apply(rows, reference.Q)
    c0 = float((N * reference.Q).sum())
    view = rows.single() if n * d > 1 << 18 else rows
    steps = min(STEPS, d * (d + 1) // 2)
    ritz = _coverage(form, view, N, c0, reference.L, steps, seed, progress)
    e = loss(d, steps, FAILURE)
    exact = steps >= d * (d + 1) // 2
    if e >= 0.9 and not exact:
        return _bound(name, 0.0, {}, p)
    theta = ritz / (1.0 - (0.0 if exact else e)) * (1.0 + SINGLE_SLACK)
    L = theta * reference.L
    cuts = _cuts(form, rows, view, N, c0, L, reference.Q, m)
    value = minimise_over_s(cuts, N, c0, m)
    witness = {
        "Q0": reference.Q,
        "L": L,
        "parameter": parameter,
        "steps": steps,
        "ritz": ritz,
        "seed": seed,
        "points": np.stack([c.Q for c in cuts]),
        "slopes": np.array([mu for c in cuts for mu in c.slopes]),
        "owners": np.array([j for j, c in enumerate(cuts) for _ in c.slopes], dtype=np.float64),
    }
    return _bound(name, max(value, 0.0), witness, p)


def _bound(name: str, value: float, witness: dict[str, object], p: float) -> Bound:
    probability = FAILURE if value > 0.0 else 0.0
    return Bound(name, THEOREM[name], value, probability, witness if value > 0.0 else {}, p=p)


# --- the shape of L, and the reference ------------------------------------------------------


def _tune(rows: Rows, Q: Array, m: int, p: float, name: str, seed: int) -> Reference:
    """Fixed point of: minorant at Q, L from its gradient, a step of Q towards the minimiser.

    On a sample of rows in single precision; nothing here needs to be exact.
    """
    n, d = rows.shape
    view = rows.single() if n * d > 1 << 18 else rows
    share = 1.0
    sample = view
    if n > 2 * SAMPLE * d:
        chosen = np.random.default_rng(seed).choice(n, SAMPLE * d, replace=False)
        sample = view.take(np.sort(chosen))
        share = SAMPLE * d / n
    smooth: Array | None = None
    tau = 0.0
    L = np.eye(d)
    for step in range(TUNING):
        form = RadialForm(view, Q, p, name, PARAMETER[name])
        r, t = form.features(view, Q)
        G = form.gradient(view, r, t)
        N = form.apply(view, Q)
        c0 = max(float((N * Q).sum()), 1e-300)
        smooth = G if smooth is None else 0.4 * smooth + 0.6 * G
        lam, U = np.linalg.eigh(smooth)
        gap = np.abs(lam - 0.5 * (lam[m - 1] + lam[m]))
        if step == 0:
            tau = 0.5 * float(np.median(gap))
        L = (U * np.sqrt(gap**2 + tau**2)) @ U.T
        part = form if sample is view else RadialForm(sample, Q, p, name, PARAMETER[name])
        ritz = _coverage(part, sample, N * share, c0 * share, L, 7, seed + step + 1, False) / share
        L = HEADROOM * ritz * L
        tau *= min(max(HEADROOM * ritz / TARGET, 0.5), 2.0) ** 0.5
        mu = 2.0 * float((N * Q).sum()) / c0
        Q = Q + DAMPING * (_descend(form, view, N, c0, L, Q, m, mu, 1) - Q)
    return Reference(Q, L)


def _coverage(
    form: RadialForm,
    rows: Rows,
    N: Array,
    c0: float,
    L: Array,
    steps: int,
    seed: int,
    progress: bool,
) -> float:
    """Top Ritz value of E2 in the metric ``tr(L X^2)``."""
    lam, U = np.linalg.eigh(L)
    lam = np.maximum(lam, 1e-12 * lam[-1])
    # In the eigenbasis of L, tr(L X^2) = sum of X_ij^2 (lam_i + lam_j) / 2.
    half = np.sqrt(2.0 / (lam[:, None] + lam[None, :]))

    def operator(Z: Array) -> Array:
        X = U @ (Z * half) @ U.T
        image = form.apply(rows, X) - N * (float((N * X).sum()) / c0)
        out: Array = (U.T @ image @ U) * half
        return 0.5 * (out + out.T)

    bar = None
    if progress:
        from tqdm import tqdm

        bar = tqdm(range(steps), desc="radial bound", unit="product", leave=False)
    return top_ritz_value(operator, uniform_start(L.shape[0], seed), steps, bar)


# --- linearisations of h ---------------------------------------------------------------------


@dataclass
class Cut:
    """``h(Q) >= constant + <G, Q>`` for all Q, by linearisation at a point Q."""

    Q: Array
    constant: float
    G: Array
    slopes: list[float]
    lines: list[float]

    def add(self, mu: float, N: Array, m: int) -> None:
        """The line ``h >= value + mu s`` on all rank-m projections."""
        self.slopes.append(mu)
        self.lines.append(self.constant + smallest_sum(self.G - mu * N, m))


def _slope(
    form: RadialForm, rows: Rows, N: Array, c0: float, L: Array, Q: Array
) -> tuple[float, Array, float]:
    """(h, gradient of h, rounding allowance) at Q."""
    r, t = form.features(rows, Q)
    s = float((N * Q).sum())
    LQ = L @ Q
    G = form.gradient(rows, r, t) + (2.0 * s / c0) * N + LQ + LQ.T - L
    h = form.value(r, t) + s * s / c0 + float((L * (Q @ Q - Q)).sum())
    n, d = rows.shape
    allowance = 4.0 * EPS * (np.sqrt(n) + d) * (form.magnitude(r, t) + s * s / c0)
    return h, 0.5 * (G + G.T), allowance


def _descend(
    form: RadialForm,
    rows: Rows,
    N: Array,
    c0: float,
    L: Array,
    Q: Array,
    m: int,
    mu: float,
    steps: int,
) -> Array:
    """Towards the minimiser of ``h(Q) - mu <N, Q>`` over the Fantope, exact line searches."""
    for _ in range(steps):
        _, G, _ = _slope(form, rows, N, c0, L, Q)
        G = G - mu * N
        LQ = L @ Q
        X = next_reference(2.0 * L, G - LQ - LQ.T, m) - Q
        descent = float((G * X).sum())
        if descent >= 0.0:
            break
        s = float((N * X).sum())
        bend = float((L * (X @ X)).sum()) - form.square(*form.features(rows, X)) + s * s / c0
        Q = Q + (1.0 if bend <= 0.0 else min(1.0, -0.5 * descent / bend)) * X
    return Q


def _cuts(
    form: RadialForm,
    rows: Rows,
    view: Rows,
    N: Array,
    c0: float,
    L: Array,
    Q: Array,
    m: int,
) -> list[Cut]:
    """Linearisations at minimisers of ``h - mu <N, Q>``, mu chosen where the bound is attained."""
    cuts: list[Cut] = []

    def cut(mu: float, start: Array, steps: int) -> None:
        point = _descend(form, view, N, c0, L, start, m, mu, steps)
        h, G, allowance = _slope(form, rows, N, c0, L, point)
        new = Cut(point, h - float((G * point).sum()) - allowance, G, [], [])
        new.add(mu, N, m)
        cuts.append(new)

    s = float((N * Q).sum())
    centre = 2.0 * s / c0
    cut(centre, Q, 4)
    for factor, origin in ((0.6, 0), (1.4, 0), (0.2, 1)):
        cut(factor * centre, cuts[origin].Q, 2)
    for _ in range(4):
        _, low, high = _attained(cuts, N, c0, m)
        if low is None or high is None or high - low < 0.05 * centre:
            break
        mu = 0.5 * (low + high)
        nearest = min(cuts, key=lambda c: abs(c.slopes[0] - mu))
        cut(mu, nearest.Q, 2)
    for c in cuts:  # each linearisation is worth more than the one line it was made for
        for mu in sorted({x.slopes[0] for x in cuts}):
            if mu != c.slopes[0]:
                c.add(mu, N, m)
    return cuts


def minimise_over_s(cuts: list[Cut], N: Array, c0: float, m: int) -> float:
    """Minimum over s of ``max (line + mu s) - s^2 / c0``, lowered by its rounding."""
    value, _, _ = _attained(cuts, N, c0, m)
    return value - 64.0 * EPS * abs(value)


def _attained(
    cuts: list[Cut], N: Array, c0: float, m: int
) -> tuple[float, float | None, float | None]:
    """The minimum over s, and the slopes that meet there."""
    slopes = np.array([mu for c in cuts for mu in c.slopes])
    lines = np.array([v for c in cuts for v in c.lines])
    value, s = lowest(slopes, lines, smallest_sum(N, m), largest_sum(N, m), c0)
    height = lines + slopes * s
    active = slopes[height >= height.max() - 1e-9 * abs(height.max())]
    at_end = active.size < 2 or active.max() == active.min()
    if at_end:
        mu = float(active[0])
        below, above = slopes[slopes < mu], slopes[slopes > mu]
        if s * 2.0 / c0 < mu and below.size:
            return value, float(below.max()), mu
        return value, mu, float(above.min()) if above.size else None
    return value, float(active.min()), float(active.max())


def lowest(
    slopes: Array, lines: Array, s_min: float, s_max: float, c0: float
) -> tuple[float, float]:
    """Minimum over [s_min, s_max] of ``max_j (lines_j + slopes_j s) - s^2 / c0``, and where.

    Between two breakpoints of the maximum the function is concave, so breakpoints and ends are
    enough; every pair of lines is tried, so no breakpoint is missed.
    """
    i, j = np.triu_indices(slopes.size, 1)
    apart = slopes[j] != slopes[i]
    s = (lines[i] - lines[j])[apart] / (slopes[j] - slopes[i])[apart]
    s = np.concatenate([[s_min, s_max], s[(s > s_min) & (s < s_max)]])
    values = (lines[None, :] + np.outer(s, slopes)).max(axis=1) - s * s / c0
    best = int(np.argmin(values))
    return float(values[best]), float(s[best])
