"""Naive implementations by plain loops, from the definitions. Imports nothing from lpgeom.

Slow on purpose: every fast path is compared with what can be read here in one sitting. Plain
unweighted rows; a row weight omega enters as the row factor ``omega^(1/p)`` (`weighted`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def weighted(A: Array, omega: Array, p: float) -> Array:
    """Rows ``omega_i^(1/p) a_i``."""
    return np.array([w ** (1.0 / p) * a for w, a in zip(omega, A, strict=True)])


def norm(x: Array) -> float:
    return math.sqrt(sum(float(v) * float(v) for v in x))


def residuals(A: Array, V: Array) -> list[float]:
    """``||a_i - a_i V V^T||`` for orthonormal V."""
    return [norm(a - V @ (V.T @ a)) for a in A]


def cost_rows(A: Array, V: Array, p: float) -> float:
    return math.fsum(y**p for y in residuals(A, V))


def cost_entries(A: Array, B: Array, p: float) -> float:
    n, d = A.shape
    return math.fsum(abs(float(A[i, j] - B[i, j])) ** p for i in range(n) for j in range(d))


def gram(A: Array, w: list[float] | Array) -> Array:
    """``sum_i w_i a_i a_i^T``."""
    d = A.shape[1]
    G = np.zeros((d, d))
    for wi, a in zip(w, A, strict=True):
        for j in range(d):
            for i in range(d):
                G[j, i] += wi * a[j] * a[i]
    return G


def leverages(A: Array, M: Array) -> list[float]:
    """``tau_i = a_i^T M^+ a_i``."""
    inverse = np.linalg.pinv(M, hermitian=True)
    return [float(a @ inverse @ a) for a in A]


def lewis_weights(A: Array, p: float, steps: int = 500) -> list[float]:
    """The fixed point ``w = tau^(p/2)``, ``M = A^T W^(1-2/p) A``, by damped iteration."""
    w = [1.0 if norm(a) > 0.0 else 0.0 for a in A]
    for _ in range(steps):
        M = gram(A, [x ** (1.0 - 2.0 / p) if x > 0.0 else 0.0 for x in w])
        tau = leverages(A, M)
        if p < 4.0:
            w = [t ** (p / 2.0) if x > 0.0 else 0.0 for x, t in zip(w, tau, strict=True)]
        else:
            w = [
                math.sqrt(x ** (2.0 - 2.0 / p) * t) if x > 0.0 else 0.0
                for x, t in zip(w, tau, strict=True)
            ]
    return w


def kappa(A: Array, w: list[float] | Array, p: float) -> float:
    """``max_i tau_i / w_i^(2/p)`` over the rows of positive weight."""
    M = gram(A, [x ** (1.0 - 2.0 / p) if x > 0.0 else 0.0 for x in w])
    return max(t / x ** (2.0 / p) for t, x in zip(leverages(A, M), w, strict=True) if x > 0.0)


def smallest_sum(G: Array, m: int) -> float:
    return float(np.sort(np.linalg.eigvalsh(G))[:m].sum())


def lewis_trace(A: Array, w: list[float] | Array, k: int, p: float) -> float:
    """3a."""
    M = gram(A, [x ** (1.0 - 2.0 / p) if x > 0.0 else 0.0 for x in w])
    tail = smallest_sum(M, A.shape[1] - k)
    if p <= 2.0:
        return max(tail, 0.0) ** (p / 2.0) / kappa(A, w, p) ** ((2.0 - p) / 2.0)
    return float(sum(w)) ** (1.0 - p / 2.0) * max(tail, 0.0) ** (p / 2.0)


def lewis_sharpened(A: Array, w: list[float] | Array, k: int, p: float) -> float:
    """3b, its scalar minimum by a fine grid (from above: the grid misses the true minimum)."""
    M = gram(A, [x ** (1.0 - 2.0 / p) if x > 0.0 else 0.0 for x in w])
    lam = np.maximum(np.sort(np.linalg.eigvalsh(M))[::-1], 0.0)
    T = float(lam[k + 1 :].sum())
    grid = np.linspace(lam[k], lam[0], 200001)
    grid = grid[grid > 0.0]
    if grid.size == 0:
        return 0.0
    least = min(float(np.min((grid + T) * grid ** (p / 2.0 - 1.0))), math.inf)
    return least / kappa(A, w, p) ** ((2.0 - p) / 2.0)


def chord(A: Array, k: int, p: float) -> float:
    """3c."""
    Y = [norm(a) for a in A]
    return smallest_sum(gram(A, [y ** (p - 2.0) if y > 0 else 0.0 for y in Y]), A.shape[1] - k)


def minorant(y0: float, Y: float, p: float) -> tuple[float, float, float]:
    """alpha, beta, c of 3e: tangent to y^p at y0, equal to it at Y, in powers of y."""
    S = Y / y0
    if S - 1.0 < 1e-6:
        beta = p * (p - 1.0) / 2.0
    else:
        beta = (S**p - 1.0 - p * (S - 1.0)) / (S - 1.0) ** 2
    alpha = p - 2.0 * beta
    return alpha * y0 ** (p - 1.0), beta * y0 ** (p - 2.0), (1.0 - alpha - beta) * y0**p


def relaxed_cost(A: Array, Q: Array, p: float) -> float:
    """3d: ``sum ||Q a_i||^p``."""
    return math.fsum(norm(Q @ a) ** p for a in A)


def relaxation_at(A: Array, Q0: Array, k: int, p: float) -> float:
    """3d linearised at Q0: ``F(Q0) - <G, Q0> + (sum of the m smallest eigenvalues of G)``."""
    d = A.shape[1]
    G = np.zeros((d, d))
    for a in A:
        z = Q0 @ a
        if norm(z) > 0.0:
            G += p * norm(z) ** (p - 2.0) * 0.5 * (np.outer(z, a) + np.outer(a, z))
    return relaxed_cost(A, Q0, p) - float((G * Q0).sum()) + smallest_sum(G, d - k)


def best_touching_point(r: float, t: float, Y: float, p: float) -> float:
    """y0 in (0, Y] whose minorant is largest at (r, t), by a grid."""
    grid = np.linspace(0.0, Y, 4001)[1:]
    values = []
    for y0 in grid:
        alpha, beta, c = minorant(float(y0), Y, p)
        values.append(alpha * r + beta * t + c)
    return float(grid[int(np.argmax(values))])


def tangent_at(A: Array, Q0: Array, k: int, p: float, floor: float) -> float:
    """3e at Q0, touching at ``(r Y - t) / (Y - r)``; lengths below floor Y count as that."""
    d = A.shape[1]
    G = np.zeros((d, d))
    constant = 0.0
    for a in A:
        z, Y = Q0 @ a, norm(a)
        if Y == 0.0:
            continue
        r, t = norm(z), float(a @ z)
        y0 = (r * Y - t) / (Y - r) if Y - r > 1e-12 * Y else r
        y0 = min(max(min(y0, r), floor * Y), Y)
        alpha, beta, c = minorant(y0, Y, p)
        G += alpha / max(r, floor * Y) * 0.5 * (np.outer(z, a) + np.outer(a, z))
        G += beta * np.outer(a, a)
        constant += c
    return constant + smallest_sum(G, d - k)


def power_at(A: Array, Q0: Array, k: int, p: float) -> float:
    """3f at Q0, linearised at the multiple of Q0 that gives most (a grid in the scale)."""
    t = [max(float(a @ Q0 @ a), 0.0) for a in A]
    S = smallest_sum(gram(A, [x ** (p / 2.0 - 1.0) for x in t]), A.shape[1] - k)
    total = math.fsum(x ** (p / 2.0) for x in t)
    s = p / 2.0
    scales = np.exp(np.linspace(-3.0, 3.0, 20001))
    return max(s * c ** (s - 1.0) * S - (s - 1.0) * c**s * total for c in map(float, scales))


def hyperplanes(A: Array) -> Iterator[Array]:
    """Orthonormal bases (d, d-1) of the hyperplanes through d - 1 linearly independent rows."""
    n, d = A.shape
    for rows in itertools.combinations(range(n), d - 1):
        _, s, Vt = np.linalg.svd(A[list(rows)])
        if d == 1 or s[-1] > 1e-12 * max(s[0], 1e-300):
            yield Vt[: d - 1].T


def optimum_hyperplane(A: Array) -> float:
    """Least cost at p = 1, k = d - 1.

    The cost ``sum |<a_i, u>|`` of the unit normal u is, between the hyperplanes orthogonal to
    rows, linear in u; its least value on the sphere is at a u orthogonal to d - 1 independent
    rows (the ball is strictly convex, so the minimum over a cone is on an edge). Rows must have
    rank d - 1 at least.
    """
    return min(cost_rows(A, V, 1.0) for V in hyperplanes(A))


def huber_sum(A: Array, V: Array, c: float) -> float:
    """R1-PCA's objective: y^2 up to c, 2 c y - c^2 beyond."""
    return math.fsum(y * y if y <= c else 2.0 * c * y - c * c for y in residuals(A, V))


def projection_sum(A: Array, V: Array) -> float:
    """L1-PCA's objective: ``sum_ij |<a_i, v_j>|``."""
    return math.fsum(abs(float(a @ v)) for a in A for v in V.T)


def best_projection_sum(A: Array, k: int) -> float:
    """Its maximum over orthonormal V: ``max ||A^T S||_*`` over all sign matrices S (n, k).

    For fixed signs the sum is ``<A^T S, V>``, at most the nuclear norm, reached by the polar
    factor.
    """
    n = len(A)
    best = 0.0
    for signs in itertools.product((-1.0, 1.0), repeat=n * k):
        S = np.array(signs).reshape(n, k)
        best = max(best, float(np.linalg.svd(A.T @ S, compute_uv=False).sum()))
    return best


def tyler_objective(A: Array, S: Array) -> float:
    """``mean_i log(a_i^T S^-1 a_i) + (1/d) log det S``."""
    inverse = np.linalg.inv(S)
    logs = [math.log(float(a @ inverse @ a)) for a in A]
    return math.fsum(logs) / len(logs) + float(np.linalg.slogdet(S)[1]) / len(S)


def largest_distance(A: Array, V: Array) -> float:
    """The cost at p = inf."""
    return max(residuals(A, V))


def largest_weighted(A: Array, w: list[float] | Array, k: int) -> float:
    """3j, 3k: ``sqrt(sigma_m(sum w a a^T) / sum w)``."""
    return math.sqrt(max(smallest_sum(gram(A, w), A.shape[1] - k), 0.0) / float(sum(w)))


def minimax_hyperplane(A: Array) -> float:
    """Least largest distance at k = d - 1, by enumeration.

    It is the least of ``max |<a_i, u>|`` over unit u, one over the largest norm in the polytope
    ``|A x| <= 1``; a convex function is largest at a vertex, where d independent rows are tight.
    """
    n, d = A.shape
    longest = 0.0
    for rows in itertools.combinations(range(n), d):
        part = A[list(rows)]
        if abs(float(np.linalg.det(part))) < 1e-12:
            continue
        for signs in itertools.product((1.0, -1.0), repeat=d - 1):
            x = np.linalg.solve(part, np.array((1.0, *signs)))
            if max(abs(float(a @ x)) for a in A) <= 1.0 + 1e-9:
                longest = max(longest, norm(x))
    return 1.0 / longest


def minimax_line(A: Array, steps: int = 400) -> float:
    """Least largest distance from a line through 0 in the plane or in space, on a fine grid."""
    d = A.shape[1]
    best = math.inf
    for phi in np.linspace(0.0, math.pi, steps, endpoint=False):
        directions = [np.array([math.cos(phi), math.sin(phi)])]
        if d == 3:
            c = np.linspace(-1.0, 1.0, steps)
            s = np.sqrt(1.0 - c * c)
            directions = list(np.stack([s * math.cos(phi), s * math.sin(phi), c], axis=1))
        U = np.array(directions)
        t = (A * A).sum(axis=1)[:, None] - (A @ U.T) ** 2
        best = min(best, math.sqrt(max(float(t.max(axis=0).min()), 0.0)))
    return best


def smallest_ellipsoid(points: Array, steps: int = 20000) -> tuple[Array, Array]:
    """Shape and center of the minimum ellipsoid by Khachiyan's plain steps, no away steps.

    ``u`` moves towards the point of largest variance by the exact line search.
    """
    n, d = points.shape
    Y = np.array([[*x, 1.0] for x in points])
    u = np.full(n, 1.0 / n)
    for _ in range(steps):
        omega = leverages(Y, gram(Y, u))
        j = int(np.argmax(omega))
        if omega[j] <= (d + 1) * (1.0 + 1e-7):
            break
        s = (omega[j] / (d + 1) - 1.0) / (omega[j] - 1.0)
        u = (1.0 - s) * u
        u[j] += s
    center = np.array([sum(u[i] * points[i, j] for i in range(n)) for j in range(d)])
    return np.linalg.inv(gram(points - center, u)) / d, center


def lp_norm(u: Array, p: float) -> float:
    if math.isinf(p):
        return max(abs(float(x)) for x in u)
    top = max(abs(float(x)) for x in u) or 1.0
    return float(top * math.fsum((abs(float(x)) / top) ** p for x in u) ** (1.0 / p))


def lp_subgradient(A: Array, x: Array, p: float) -> Array:
    """A subgradient of ``||A x||_p`` at x."""
    u = A @ x
    if math.isinf(p):
        i = int(np.argmax(np.abs(u)))
        return np.sign(u[i]) * A[i]
    size = lp_norm(u, p)
    return sum(
        (np.sign(v) * (abs(float(v)) / size) ** (p - 1.0) * a for v, a in zip(u, A, strict=True)),
        start=np.zeros(A.shape[1]),
    )


def shallow_cut(A: Array, p: float) -> tuple[Array, int]:
    """Dense ellipsoid method around ``||A x||_p <= 1``: B of ``{x : x^T B^-1 x <= 1}``, steps.

    The longest eigenvector axis in the norm is cut until none is longer than sqrt(d + 1).
    """
    n, d = A.shape
    B = np.linalg.inv(A.T @ A) * float(n) ** max(0.0, 1.0 - 2.0 / p)
    steps = 0
    while True:
        lam, U = np.linalg.eigh(B)
        axes = [math.sqrt(v) * u for v, u in zip(lam, U.T, strict=True)]
        longest = max(axes, key=lambda x: lp_norm(A @ x, p))
        if lp_norm(A @ longest, p) <= math.sqrt(d + 1.0):
            return B, steps
        s = lp_subgradient(A, longest, p)
        length = float(s @ B @ s)
        g = 1.0 / length  # gamma^2
        outer = np.outer(B @ s, B @ s) / length
        B = d * (1.0 - g) / (d - 1.0) * (B - (1.0 - d * g) / (1.0 - g) * outer)
        steps += 1


# ---------------------------------------------------------------- rows in few bits


def coded_rows(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The table that packed codes stand for, bit by bit.

    `arrays` has basis, means, deviations, levels, scale_levels, scale_codes, labels, bits and
    codes. The byte that ends with a component's last bit chooses its level, from the codebook of
    its width; the codebooks are those of the widths that occur, narrow ones first.
    """
    bits, labels = arrays["bits"].astype(int), arrays["labels"].astype(int)
    n, (d, r) = len(labels), arrays["basis"].shape
    books = {b: i for i, b in enumerate(sorted(set(bits.flat) - {0}))}
    table = np.zeros((n, d))
    at = 0
    for c in range(len(bits)):
        stride = -(-int(bits[c].sum()) // 8)
        order = sorted(range(r), key=lambda j: -bits[c, j])
        for i in range(n):
            if labels[i] != c:
                continue
            stream = "".join(f"{int(byte):08b}" for byte in arrays["codes"][at : at + stride])
            at += stride
            y = arrays["means"][c].astype(float)
            end = 0
            for j in order:
                b = bits[c, j]
                end += b
                if b:
                    state = int(stream[max(0, end - 8) : end], 2)
                    level = float(arrays["levels"][books[b], state])
                    y[j] += float(arrays["deviations"][c, j]) * level
            scale = float(arrays["scale_levels"][arrays["scale_codes"][i]])
            for m in range(d):
                table[i, m] = scale * sum(y[j] * float(arrays["basis"][m, j]) for j in range(r))
    return table


# ---------------------------------------------------------------- weights in few bits


def nearest(W: Array, scales: Array, levels: Array, group: int) -> Array:
    """Every entry at the nearest of the levels times the scale of its group."""
    found = np.empty(W.shape)
    for i, row in enumerate(W):
        for j, w in enumerate(row):
            offered = [float(scales[i, j // group]) * float(level) for level in levels]
            found[i, j] = min(offered, key=lambda value: abs(value - float(w)))
    return found


def packed(codes: Array, bits: int) -> Array:
    """Codes as rows of bytes, bit by bit, the least significant first."""
    rows = []
    for row in codes:
        stream = [(int(code) >> b) & 1 for code in row for b in range(bits)]
        stream += [0] * (-len(stream) % 8)
        rows.append(
            [sum(stream[8 * k + b] << b for b in range(8)) for k in range(len(stream) // 8)]
        )
    return np.array(rows, np.uint8)


def fed_back(W: Array, H: Array, scales: Array, levels: Array, group: int) -> Array:
    """Columns to the nearest levels in order of falling H_jj; after each, the free weights move to
    where they would be best if they could stay real."""
    d = len(H)
    order = sorted(range(d), key=lambda j: -H[j, j])
    found = np.empty(W.shape)
    for i, row in enumerate(W):
        now = row.astype(float).copy()
        for t, j in enumerate(order):
            free = order[t + 1 :]
            offered = [float(scales[i, j // group]) * float(level) for level in levels]
            found[i, j] = min(offered, key=lambda value: abs(value - now[j]))
            if free:
                error = np.linalg.solve(H[np.ix_(free, free)], -H[free, j]) * (now[j] - found[i, j])
                now[free] -= error
    return found


def weighted_median(x: list[float], w: list[float]) -> float:
    """The least of the numbers that half of the weight does not exceed."""
    return min(v for v in x if sum(m for u, m in zip(x, w, strict=True) if u <= v) >= sum(w) / 2.0)


def outlyingness(P: Array, w: list[float], centred: bool) -> list[float]:
    """Of each point, in the worst direction: deviations from the median over their median.

    Row j of P has the projections on direction j; no scale may be 0.
    """
    found = [0.0] * P.shape[1]
    for row in P.tolist():
        middle = weighted_median(row, w) if centred else 0.0
        off = [abs(v - middle) for v in row]
        scale = weighted_median(off, w)
        found = [max(a, b / scale) for a, b in zip(found, off, strict=True)]
    return found


def widest_gap(x: list[float], w: list[float], least: float, most: float) -> float:
    """Between numbers next to each other of which one side has a share from `least` to `most`."""
    found = 0.0
    for a in x:
        above = [v for v in x if v > a]
        if above:
            below = sum(m for u, m in zip(x, w, strict=True) if u <= a) / sum(w)
            if least <= min(below, 1.0 - below) <= most + 1e-9:
                found = max(found, min(above) - a)
    return found
