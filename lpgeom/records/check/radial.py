"""Checker of the radial bounds (theory 3g, 3h, 3i).

From Q0 alone the minorant of every row follows again; from the points, the linearisations; from
the slopes, the lines and the minimum over s. That L covers E2 rests on a random start: an
independent one must not find an eigenvalue above it, nor one well above what the first found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lpgeom.records.base import Array, CertificateError
from lpgeom.records.check.data import Checked, Checker, Data, square

if TYPE_CHECKING:
    from lpgeom.records.subspace import Bound

FLOOR = 1e-3
SINGLE_SLACK = 1e-3
NEGLIGIBLE = 1e-70
"""Rows up to this long count as nothing: fourth powers of what is shorter leave float64."""
PRODUCTS = 12
"""Lanczos products of the independent start."""


@dataclass(frozen=True)
class Quadratic:
    """Per row: ``y^p >= const + lin_r r - sq_r r^2 + lin_t t - sq_t t^2``; q_i = inverse Q0 a_i."""

    const: Array
    lin_r: Array
    sq_r: Array
    lin_t: Array
    sq_t: Array
    inverse: Array
    norms: Array


def check_radial(data: Data, bound: Bound) -> Checked:
    """Minimum over s of the highest line, minus s^2 / c0."""
    if not 1.0 <= data.p < 2.0:
        raise CertificateError(f"bound {bound.name!r} is for 1 <= p < 2, not p = {data.p:g}")
    if not bound.witness:
        return Checked(0.0, 0.0, bound.failure_probability)
    w = bound.witness
    Q0, L = square(data, w["Q0"], "Q0"), square(data, w["L"], "L")
    points = np.asarray(w["points"], dtype=np.float64)
    slopes = np.asarray(w["slopes"], dtype=np.float64).ravel()
    owners = np.asarray(w["owners"]).astype(np.intp).ravel()
    if points.ndim != 3 or slopes.shape != owners.shape or not np.isfinite(slopes).all():
        raise CertificateError(f"witness of {bound.name!r} has points and slopes that do not match")
    if owners.size == 0 or owners.min() < 0 or owners.max() >= len(points):
        raise CertificateError(f"witness of {bound.name!r} names points that are not there")
    points = np.stack([square(data, Q, "points") for Q in points])
    rows = _row_quadratics(data, bound.name, Q0, float(w["parameter"]))
    N, c0 = _direction(data, rows, Q0)
    _check_cover(data, rows, Q0, L, N, c0, int(w["seed"]), float(w["ritz"]) / float(w["theta"]))
    values, gradients, size = _linearise(data, rows, Q0, L, N, c0, points)
    lines = np.empty(slopes.size)
    for i, (mu, j) in enumerate(zip(slopes, owners, strict=True)):
        G = gradients[j]
        lines[i] = values[j] - float((G * points[j]).sum()) + data.smallest(G - mu * N)
    spectrum = np.linalg.eigvalsh(N)
    value = _lowest(
        slopes, lines, float(spectrum[: data.m].sum()), float(spectrum[data.k :].sum()), c0
    )
    return Checked(value, data.rounding(size), _failure_probability(data, w))


def _failure_probability(data: Data, w: Mapping[str, Any]) -> float:
    """``1.648 sqrt(D) exp(-sqrt(e) (2 q - 1))``, 1 - e being what theta leaves to the estimate."""
    steps, ritz, theta = int(w["steps"]), float(w["ritz"]), float(w["theta"])
    e = 1.0 - ritz * (1.0 + SINGLE_SLACK) / theta
    if not (steps >= 1 and ritz > 0.0 and 0.0 < e < 1.0):
        raise CertificateError("witness: steps, ritz and theta leave no room for the estimate")
    D = data.d * (data.d + 1) / 2
    return min(1.0, 1.648 * math.sqrt(D) * math.exp(-math.sqrt(e) * (2 * steps - 1)))


def _row_quadratics(data: Data, name: str, Q0: Array, parameter: float) -> Quadratic:
    """Tangent points from Q0, then each row's minorant by the conditions of theory 3g to 3i."""
    n, p = data.n, data.p
    Y, r0, t0 = np.empty(n), np.empty(n), np.empty(n)
    for part, block in data.blocks():
        B = block @ Q0
        Y[part] = np.linalg.norm(block, axis=1)
        r0[part] = np.linalg.norm(B, axis=1)
        t0[part] = np.maximum(np.einsum("ij,ij->i", B, block), 0.0)
    live = Y > NEGLIGIBLE
    y0 = np.where(live, np.clip(0.5 * (r0 + np.sqrt(t0)), FLOOR * Y, Y), 1.0)
    S = np.maximum(np.where(live, Y, 1.0) / y0, 1.0) * (1.0 + 1e-12)
    kappa = _chord_curvature(S, p)
    if name == "radial_quartic":
        C = np.minimum(parameter / S, 0.25 * (p / 2.0 - kappa)) * (1.0 - kappa)
        beta = _largest_beta(S, p, kappa, C)
        gamma = beta - kappa - C
    else:
        C = np.zeros(n)
        weight = p - 2.0 * kappa  # of the y-term that theory 3e leaves
        g = parameter / (2.0 * S)
        if parameter < 1.0 or (name == "radial" and parameter != 1.0):
            raise CertificateError(f"witness parameter {parameter!r} of {name!r} proves nothing")
        b = g if parameter == 1.0 else _two_parameter_root(S, g)
        beta, gamma = kappa + weight * b, weight * g
    if not (np.all(gamma >= 0.0) and np.all(C >= 0.0)):
        raise CertificateError(f"witness parameter {parameter!r} of {name!r} proves nothing")
    alpha = p - 2.0 * beta
    scale = np.where(live, y0**p, 0.0)
    below = np.maximum(r0 * (1.0 + 1e-9), FLOOR * Y)
    return Quadratic(
        scale * (1.0 - alpha - gamma - beta - C),
        scale / y0 * (alpha + 2.0 * gamma),
        scale / y0**2 * gamma,
        scale / y0**2 * (beta + 2.0 * C),
        scale / y0**4 * C,
        np.where(live, 1.0 / np.where(below > 0.0, below, 1.0), 0.0),
        Y,
    )


def _chord_curvature(S: Array, p: float) -> Array:
    """Largest kappa with ``y^p >= 1 + p (y - 1) + kappa (y - 1)^2`` on [0, S] (it is at y = S)."""
    if p == 1.0:
        return np.zeros_like(S)
    e = np.maximum(S - 1.0, 1e-3)
    far = ((1.0 + e) ** p - 1.0 - p * e) / e**2
    e = S - 1.0
    near = p * (p - 1.0) * (0.5 + (p - 2.0) * e / 6.0 + (p - 2.0) * (p - 3.0) * e * e / 24.0)
    return np.maximum(np.where(e < 1e-3, near, far) * (1.0 - 1e-7), 0.0)


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
    low, high = np.zeros_like(S), g.copy()
    # The left side is convex in b; its larger root is the largest b that satisfies <=.
    turn = np.clip(0.5 - 0.5 * g * (S * S - 1.0), 0.0, g)
    low = turn
    for _ in range(60):
        b = 0.5 * (low + high)
        holds = b * (S * S - 1.0) + (1.0 - 2.0 * b) ** 2 / (4.0 * g) <= S - 1.0
        low, high = np.where(holds, b, low), np.where(holds, high, b)
    return low


def _direction(data: Data, rows: Quadratic, Q0: Array) -> tuple[Array, float]:
    """``N = E(Q0)`` and ``c0 = <Q0, N>``."""
    N = _image(data, rows, Q0, Q0)
    c0 = float((N * Q0).sum())
    if not c0 > 0.0:
        raise CertificateError("witness Q0 leaves nothing to deflate: <Q0, E Q0> is not positive")
    return N, c0


def _image(data: Data, rows: Quadratic, Q0: Array, X: Array) -> Array:
    """``E X = sum sq_r r sym(q a^T) + sq_t t a a^T`` with ``r = q . X a``, ``t = a . X a``."""
    G = np.zeros((data.d, data.d))
    for part, block in data.blocks():
        q = (block @ Q0) * rows.inverse[part, None]
        Xa = block @ X
        r = np.einsum("ij,ij->i", q, Xa) * rows.sq_r[part]
        t = np.einsum("ij,ij->i", block, Xa) * rows.sq_t[part]
        G += (q * r[:, None] + block * t[:, None]).T @ block
    return 0.5 * (G + G.T)


def _linearise(
    data: Data, rows: Quadratic, Q0: Array, L: Array, N: Array, c0: float, points: Array
) -> tuple[Array, Array, float]:
    """h and its gradient at every point, in one pass; the total size of the terms."""
    values = np.zeros(len(points))
    G = np.zeros_like(points)
    size = 0.0
    for part, block in data.blocks():
        q = (block @ Q0) * rows.inverse[part, None]
        c, lr, sr = rows.const[part], rows.lin_r[part], rows.sq_r[part]
        lt, st, Y = rows.lin_t[part], rows.sq_t[part], rows.norms[part]
        size += float((np.abs(c) + lr * Y + (sr + lt) * Y**2 + st * Y**4).sum())
        for j, Q in enumerate(points):
            Qa = block @ Q
            r = np.einsum("ij,ij->i", q, Qa)
            t = np.einsum("ij,ij->i", block, Qa)
            values[j] += float((c + lr * r - sr * r * r + lt * t - st * t * t).sum())
            weighted = q * (lr - 2.0 * sr * r)[:, None] + block * (lt - 2.0 * st * t)[:, None]
            G[j] += weighted.T @ block
    for j, Q in enumerate(points):
        s = float((N * Q).sum())
        values[j] += s * s / c0 + float((L * (Q @ Q - Q)).sum())
        G[j] = 0.5 * (G[j] + G[j].T) + (2.0 * s / c0) * N + L @ Q + Q @ L - L
        size += s * s / c0 + float(np.abs(L * (Q @ Q)).sum() + np.abs(L * Q).sum())
    return values, G, size


def _check_cover(
    data: Data,
    rows: Quadratic,
    Q0: Array,
    L: Array,
    N: Array,
    c0: float,
    seed: int,
    stated: float,
) -> None:
    """Krylov vectors of E2 in the metric ``tr(L X^2)``, from another start, in float64."""
    lam, U = np.linalg.eigh(L)
    if not lam[0] > 0.0:
        raise CertificateError("witness L is not positive definite")
    half = np.sqrt(2.0 / np.add.outer(lam, lam))
    rng = np.random.default_rng([abs(seed), 0x5E1F])
    Z = rng.standard_normal((data.d, data.d))
    basis = [(Z + Z.T).ravel() / np.linalg.norm(Z + Z.T)]
    images = []
    for _ in range(min(PRODUCTS, data.d * (data.d + 1) // 2)):
        X = U @ (basis[-1].reshape(half.shape) * half) @ U.T
        image = _image(data, rows, Q0, X) - N * (float((N * X).sum()) / c0)
        images.append(((U.T @ image @ U) * half).ravel())
        rest = images[-1].copy()
        for _twice in range(2):
            for z in basis:
                rest -= (rest @ z) * z
        if np.linalg.norm(rest) <= 1e-10 * np.linalg.norm(images[-1]):
            break
        basis.append(rest / np.linalg.norm(rest))
    K = np.stack(basis[: len(images)])
    T = K @ np.stack(images).T
    found = float(np.linalg.eigvalsh(0.5 * (T + T.T))[-1])
    if found > 1.0 + 1e-6:
        raise CertificateError(f"witness L does not cover E2: an eigenvalue of {found:.6g} is over")
    if found > stated * 1.2:
        raise CertificateError(
            f"witness ritz is too small: {stated:.6g} of theta, another start finds {found:.6g}"
        )


def _lowest(slopes: Array, lines: Array, s_min: float, s_max: float, c0: float) -> float:
    """Minimum over [s_min, s_max] of ``max (lines + slopes s) - s^2 / c0``.

    Walks along the upper envelope from s_min: concave pieces are lowest where they end.
    """
    s, lowest = s_min, math.inf
    active = int(np.lexsort((slopes, lines + slopes * s))[-1])
    while True:
        lowest = min(lowest, float((lines + slopes * s).max()) - s * s / c0)
        if s >= s_max:
            return lowest
        steeper = slopes > slopes[active]
        crossing = np.full(slopes.size, math.inf)
        crossing[steeper] = (lines[active] - lines[steeper]) / (slopes[steeper] - slopes[active])
        following = int(np.lexsort((-slopes, crossing))[0])
        if not crossing[following] < s_max:
            s = s_max
            continue
        s = max(s, float(crossing[following]))
        active = following


CHECKERS: dict[str, Checker] = {
    "radial": check_radial,
    "radial_two": check_radial,
    "radial_quartic": check_radial,
}
