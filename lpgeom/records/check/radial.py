"""Checker of the radial bounds (theory 3g, 3h, 3i).

From Q0 alone the minorant of every row follows again; from the points, the linearisations; from
the slopes, the lines and the minimum over s. Whether L covers E2 is found out here: by the whole
operator where it is small, else from a random start that no file chooses.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpgeom.records.base import Array, CertificateError
from lpgeom.records.check.data import Checked, Checker, Data, number, square
from lpgeom.records.check.linear import excess

if TYPE_CHECKING:
    from lpgeom.records.subspace import Bound

FLOOR = 1e-3
SINGLE_SLACK = 1e-3
NEGLIGIBLE = 1e-70
"""Rows up to this long count as nothing: fourth powers of what is shorter leave float64."""

WHOLE, PRODUCTS, LINES, TRIES = 16, 300, 500, 1e6
"""Up to d = WHOLE E2 is taken as a matrix: no more work than products of vectors, of which there
are PRODUCTS at most. Every two of the LINES meet. TRIES of a forger are allowed for."""


class Quadratic(NamedTuple):
    """The minorants of the rows, with ``q_i = inverse_i Q0 a_i`` and their norms."""

    Q0: Array
    minorants: tuple[Array, ...]
    inverse: Array
    norms: Array


def check_radial(data: Data, bound: Bound) -> Checked:
    """Minimum over s of the highest line, minus s^2 / c0, less what rounding may have added."""
    if not 1.0 <= data.p < 2.0:
        raise CertificateError(f"bound {bound.name!r} is for 1 <= p < 2, not p = {data.p:g}")
    w = bound.witness
    if "Q0" not in w:  # nothing was found
        return Checked(0.0)
    Q0, L = square(data, w["Q0"], "Q0"), square(data, w["L"], "L")
    points = np.asarray(w["points"], dtype=np.float64)
    slopes = np.asarray(w["slopes"], dtype=np.float64).ravel()
    owners = np.asarray(w["owners"]).astype(np.intp).ravel()
    matching = points.ndim == 3 and slopes.shape == owners.shape and 0 < owners.size <= LINES
    if not (matching and np.isin(owners, range(len(points))).all() and np.isfinite(slopes).all()):
        raise CertificateError(f"witness of {bound.name!r} has points and slopes that do not match")
    points = np.stack([square(data, Q, "points") for Q in points])
    rows = _row_quadratics(data, bound.name, Q0, number("parameter", w["parameter"]))
    N = _image(data, rows, Q0)
    c0 = float((N * Q0).sum())
    if not c0 > 0.0:
        raise CertificateError("witness Q0 leaves nothing to deflate: <Q0, E Q0> is not positive")
    steps, ritz, theta = (number(x, w[x]) for x in ("steps", "ritz", "theta"))
    ritz, steps = ritz / theta, math.floor(steps)
    D, e = data.d * (data.d + 1) // 2, 1.0 - ritz * (1.0 + SINGLE_SLACK)
    if not (1 <= steps <= D and ritz > 0.0 and 0.0 < e < 1.0):
        raise CertificateError("witness: steps, ritz and theta leave no room for the estimate")
    chance = _chance(D, steps, e)
    _check_cover(data, rows, L, N, c0, chance / TRIES, ritz)
    values, gradients, sizes = _linearise(data, rows, L, N, c0, points)
    spectrum = np.linalg.eigvalsh(N)
    total = float(np.abs(spectrum).sum())
    s_min, s_max = float(spectrum[: data.m].sum()), float(spectrum[data.k :].sum())
    off = data.rounding(total)
    lines, slack = np.empty(slopes.size), np.empty(slopes.size)
    for i, (mu, j) in enumerate(zip(slopes, owners, strict=True)):
        G = gradients[j]
        lines[i] = values[j] - float((G * points[j]).sum()) + data.smallest(G - mu * N)
        slack[i] = data.rounding(sizes[j] + abs(mu) * total + total * total / c0)
    value = lowest(slopes, lines, s_min, s_max, c0)[0]
    low = lowest(slopes, lines - slack, s_min - off, s_max + off, c0)[0]
    return Checked(value, value - low, chance)


def _chance(D: int, steps: int, e: float) -> float:
    return min(1.0, 1.648 * math.sqrt(D) * math.exp(-math.sqrt(max(e, 0.0)) * (2 * steps - 1)))


def _row_quadratics(data: Data, name: str, Q0: Array, parameter: float) -> Quadratic:
    """Tangent points from Q0, and each row's minorant there."""
    Y, r0, t0 = np.empty(data.n), np.empty(data.n), np.empty(data.n)
    for part, block in data.blocks():
        B = block @ Q0
        Y[part] = np.linalg.norm(block, axis=1)
        r0[part] = np.linalg.norm(B, axis=1)
        t0[part] = np.maximum(np.einsum("ij,ij->i", B, block), 0.0)
    y0 = np.clip(0.5 * (r0 + np.sqrt(t0)), FLOOR * Y, Y)
    below = np.maximum(r0 * (1.0 + 1e-9), FLOOR * Y)
    inverse = np.where(Y > NEGLIGIBLE, 1.0 / np.where(below > 0.0, below, 1.0), 0.0)
    return Quadratic(Q0, row_minorants(name, y0, Y, data.p, parameter), inverse, Y)


def row_minorants(name: str, y0: Array, Y: Array, p: float, parameter: float) -> tuple[Array, ...]:
    """``y^p >= c + l r - g r^2 + l' t - g' t^2``: c, l, g, l', g' of a family at tangent points
    0 < y0 <= Y, zero where Y is `NEGLIGIBLE`."""
    live = Y > NEGLIGIBLE
    y = np.where(live, y0, 1.0)
    S = np.maximum(np.where(live, Y, 1.0) / y, 1.0) * (1.0 + 1e-12)
    beta, gamma, C = coefficients(name, S, p, parameter)
    alpha, y_p = p - 2.0 * beta, np.where(live, y**p, 0.0)
    linear_r, linear_t = y_p / y * (alpha + 2.0 * gamma), y_p / y**2 * (beta + 2.0 * C)
    constant = y_p * (1.0 - alpha - gamma - beta - C)
    return constant, linear_r, y_p / y**2 * gamma, linear_t, y_p / y**4 * C


def coefficients(name: str, S: Array, p: float, parameter: float) -> tuple[Array, Array, Array]:
    """beta, gamma and C of a family at S = Y / y0 (theory 3g to 3i), kappa rounded down."""
    kappa = np.maximum(excess(S, p) * (1.0 - 1e-7), 0.0) if p > 1.0 else np.zeros_like(S)
    if name == "radial_quartic":
        # At p near 2, where kappa nearly is beta, there is little left for C to do.
        C = np.minimum(parameter / S, 0.25 * (p / 2.0 - kappa)) * (1.0 - kappa)
        beta = _largest_beta(S, p, kappa, C)
        gamma = beta - kappa - C
    else:
        C = np.zeros_like(S)
        weight = p - 2.0 * kappa  # of the y-term that theory 3e leaves
        g = parameter / (2.0 * S)
        if parameter < 1.0 or (name == "radial" and parameter != 1.0):
            raise CertificateError(f"witness parameter {parameter!r} of {name!r} proves nothing")
        b = g if parameter == 1.0 else _two_parameter_root(S, g)
        beta, gamma = kappa + weight * b, weight * g
    if not (np.all(gamma >= 0.0) and np.all(C >= 0.0) and np.all(2.0 * beta <= p)):
        raise CertificateError(f"witness parameter {parameter!r} of {name!r} proves nothing")
    return beta, gamma, C


def _largest_beta(S: Array, p: float, kappa: Array, C: Array) -> Array:
    """Largest beta for which ``delta - delta* <= c delta (sqrt 3 + delta)`` up to delta = S - 1.

    As gamma = beta - kappa - C grows, c and delta* fall: the condition holds up to one beta.
    """
    low, high = kappa + 1.001 * C + 1e-12, np.full_like(S, p / 2.0)
    for _ in range(60):
        beta = 0.5 * (low + high)
        gamma = np.maximum(beta - kappa - C, 1e-300)
        c = np.sqrt(C / gamma)
        start = (p - 2.0 * beta) / (2.0 * gamma)
        # f(delta) = c delta^2 + (sqrt 3 c - 1) delta + delta* over [0, S - 1] is lowest at:
        vertex = np.clip((1.0 - math.sqrt(3.0) * c) / (2.0 * np.maximum(c, 1e-300)), 0.0, S - 1.0)
        lowest = c * vertex**2 + (math.sqrt(3.0) * c - 1.0) * vertex + start
        holds = lowest >= 0.0
        low, high = np.where(holds, beta, low), np.where(holds, high, beta)
    return low


def _two_parameter_root(S: Array, g: Array) -> Array:
    """The b <= g with ``b (S^2 - 1) + (1 - 2 b)^2 / (4 g) = S - 1`` (theory 3h)."""
    mid, tail = S * S - 1.0 - 1.0 / g, 1.0 / (4.0 * g) - (S - 1.0)
    disc = np.sqrt(np.maximum(mid * mid - 4.0 * tail / g, 0.0))
    b = np.where(mid >= 0.0, -2.0 * tail / np.maximum(mid + disc, 1e-300), (disc - mid) * g / 2.0)
    return b.clip(0.0, np.minimum(g, 0.5)) * (1.0 - 1e-9)


def _image(data: Data, rows: Quadratic, X: Array) -> Array:
    """``E X = sum g r sym(q a^T) + g' t a a^T`` with ``r = q . X a``, ``t = a . X a``."""
    G = np.zeros((data.d, data.d))
    for part, block in data.blocks():
        q, Xa = (block @ rows.Q0) * rows.inverse[part, None], block @ X
        r = np.einsum("ij,ij->i", q, Xa) * rows.minorants[2][part]
        t = np.einsum("ij,ij->i", block, Xa) * rows.minorants[4][part]
        G += (q * r[:, None] + block * t[:, None]).T @ block
    return 0.5 * (G + G.T)


def _linearise(
    data: Data, rows: Quadratic, L: Array, N: Array, c0: float, points: Array
) -> tuple[Array, Array, Array]:
    """h and its gradient at every point, in one pass, and the total size of the terms of each: a
    gradient's count once for its eigenvalues, and ``||Q||`` times for ``<G, Q>``."""
    values, sizes = np.zeros(len(points)), np.zeros(len(points))
    norms = 1.0 + np.linalg.norm(points, axis=(1, 2))
    G = np.zeros_like(points)
    for part, block in data.blocks():
        q, Y = (block @ rows.Q0) * rows.inverse[part, None], rows.norms[part]
        c, lr, sr, lt, st = (x[part] for x in rows.minorants)
        for j, Q in enumerate(points):
            Qa = block @ Q
            r = np.einsum("ij,ij->i", q, Qa)
            t = np.einsum("ij,ij->i", block, Qa)
            terms = np.stack([c, lr * r, -sr * r * r, lt * t, -st * t * t])
            wr, wt = lr - 2.0 * sr * r, lt - 2.0 * st * t
            values[j] += float(terms.sum())
            G[j] += (q * wr[:, None] + block * wt[:, None]).T @ block
            weight = float((np.abs(wr) * Y + np.abs(wt) * Y * Y).sum())
            sizes[j] += float(np.abs(terms).sum()) + norms[j] * weight
    for j, Q in enumerate(points):
        s = float((N * Q).sum())
        values[j] += s * s / c0 + float((L * (Q @ Q - Q)).sum())
        G[j] = 0.5 * (G[j] + G[j].T) + (2.0 * s / c0) * N + L @ Q + Q @ L - L
        most = float(np.linalg.norm(N)) * norms[j]
        sizes[j] += 3.0 * most * most / c0 + 3.0 * float(np.linalg.norm(L)) * norms[j] ** 2
    return values, G, sizes


def _check_cover(
    data: Data, rows: Quadratic, L: Array, N: Array, c0: float, wanted: float, stated: float
) -> None:
    """``tr(L X^2) >= E2(X)``: the largest eigenvalue of E2 in that metric is at most 1, always or
    but for a chance of `wanted` over the checker's start; and not far above what is `stated`."""
    d, D = data.d, data.d * (data.d + 1) // 2
    lam, U = np.linalg.eigh(L)
    if not lam[0] > 0.0:
        raise CertificateError("witness L is not positive definite")
    half = np.sqrt(2.0 / np.add.outer(lam, lam))
    size = (rows.minorants[2] * rows.norms**2 + rows.minorants[4] * rows.norms**4).sum()
    off = data.rounding(float(size)) / float(lam[0])

    def operator(Z: Array) -> Array:
        X = U @ (Z * half) @ U.T
        image = _image(data, rows, X) - N * (float((N * X).sum()) / c0)
        image = (U.T @ image @ U) * half
        return 0.5 * (image + image.T)

    if d <= WHOLE:
        i, j = np.triu_indices(d)
        basis = np.zeros((D, d, d))
        basis[np.arange(D), i, j] = basis[np.arange(D), j, i] = np.where(i == j, 1.0, 0.5**0.5)
        T = np.einsum("aij,bij->ab", basis, np.stack([operator(Z) for Z in basis]))
        found, chance = float(np.linalg.eigvalsh(0.5 * (T + T.T))[-1]) + off, 0.0
    else:
        of = hashlib.blake2b(N.tobytes() + L.tobytes() + rows.Q0.tobytes(), digest_size=16)
        Z = np.random.default_rng(int(of.hexdigest(), 16)).standard_normal((d, d))
        start = (Z + Z.T) / float(np.linalg.norm(Z + Z.T))
        found, chance = _estimate(operator, start, off, wanted)
    if not (found <= min(1.0, 1.1 * stated) and chance <= wanted):
        raise CertificateError(
            f"witness L does not cover E2: eigenvalues reach {found:.6g}, where {stated:.6g} is "
            f"stated, rounding included, and are larger at a chance of {chance:.3g}"
        )


def _estimate(
    operator: Callable[[Array], Array], Z: Array, off: float, wanted: float
) -> tuple[float, float]:
    """The largest Ritz value, raised by `off`, of as many Lanczos products from Z as it takes to
    know that no eigenvalue is above 1, but for a chance of `wanted`; and the chance reached.
    """
    D = len(Z) * (len(Z) + 1) // 2
    vectors: list[Array] = []
    T = np.zeros((PRODUCTS + 1, PRODUCTS + 1))
    found, chance = math.inf, 1.0
    for q in range(min(PRODUCTS, D)):
        vectors.append(Z)
        image = operator(Z)
        T[q, q] = (image * Z).sum()
        found = float(np.linalg.eigvalsh(T[: q + 1, : q + 1])[-1]) + off
        chance = _chance(D, q + 1, 1.0 - found)
        if chance <= wanted or found > 1.0:
            break
        for _twice in range(2):
            for z in vectors:
                image = image - (image * z).sum() * z
        norm = float(np.linalg.norm(image))
        T[q, q + 1] = T[q + 1, q] = norm
        Z = image / (norm or 1.0)
    return found, chance


def lowest(
    slopes: Array, lines: Array, s_min: float, s_max: float, c0: float
) -> tuple[float, float]:
    """Minimum over [s_min, s_max] of ``max (lines + slopes s) - s^2 / c0``, and where: at an end,
    or at a breakpoint of the maximum, between which it is concave. Every pair of lines is tried."""
    i, j = np.triu_indices(slopes.size, 1)
    apart = slopes[j] != slopes[i]
    s = (lines[i] - lines[j])[apart] / (slopes[j] - slopes[i])[apart]
    s = np.concatenate([[s_min, s_max], s[(s > s_min) & (s < s_max)]])
    values = (lines[None, :] + np.outer(s, slopes)).max(axis=1) - s * s / c0
    best = int(np.argmin(values))
    return float(values[best]), float(s[best])


CHECKERS: dict[str, Checker] = dict.fromkeys(
    ("radial", "radial_two", "radial_quartic"), check_radial
)
