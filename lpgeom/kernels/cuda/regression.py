"""Steps of an interior-point method for small regressions. See `lpgeom.kernels.cpu.regression`.

A warp for each problem, its lanes along the entries, so that what a step needs of a problem is
reduced by shuffles alone. Expected to gain with some thousand problems; a few are better left to
the CPU. The small factors are made a warp each too, which suits k up to some hundred.
"""

from __future__ import annotations

import math

from numba import cuda

from lpgeom.kernels.cuda.launch import WARP, by_rows, row_lanes
from lpgeom.kernels.cuda.reductions import group_sum, warp_max, warp_min
from lpgeom.kernels.scalar import (
    BACK,
    BACK_LINEAR,
    TINY_PIVOT,
    aimed_product,
    defects,
    dual_steps,
    newton_terms,
    normal_weight,
    relative_steps,
    right_side,
    second_order,
    shorten,
    slopes,
)


@by_rows()
def begin(r, w, p, off, u, v, zu, zv, y):  # type: ignore[no-untyped-def]
    """A start that fulfils all but the products: y = 0, u and v by `off` above the parts of r."""
    m, d = r.shape
    thread, lanes = cuda.grid(1), row_lanes(d)
    for i in range(thread // lanes, m, cuda.gridsize(1) // lanes):
        for j in range(thread % lanes, d, lanes):
            u[i, j] = max(r[i, j], 0.0) + off
            v[i, j] = max(-r[i, j], 0.0) + off
            zu[i, j] = w[i, j] * slopes(u[i, j], p)[0]
            zv[i, j] = w[i, j] * slopes(v[i, j], p)[0]
            y[i, j] = 0.0


@by_rows()
def predict(u, v, zu, zv, y, w, p, Du, Dv, gu, gv, W, Wh):  # type: ignore[no-untyped-def]
    """Weights W of the normal matrix and W h of its right side, for the step to mu = 0."""
    m, d = u.shape
    thread, lanes = cuda.grid(1), row_lanes(d)
    for i in range(thread // lanes, m, cuda.gridsize(1) // lanes):
        for j in range(thread % lanes, d, lanes):
            if w[i, j] == 0.0:
                W[i, j] = 0.0
                Wh[i, j] = 0.0
                continue
            a, b, g, h = newton_terms(u[i, j], v[i, j], zu[i, j], zv[i, j], y[i, j], w[i, j], p)
            Du[i, j] = a
            Dv[i, j] = b
            gu[i, j] = g
            gv[i, j] = h
            W[i, j] = normal_weight(a, b)
            Wh[i, j] = right_side(a, b, g, h)


@by_rows(WARP)
def correct(u, v, zu, zv, w, Du, Dv, gu, gv, W, Wh, Qdx, p):  # type: ignore[no-untyped-def]
    """Aim at the mu the first direction promises, and count its second-order term: new gu, gv, Wh.

    `Qdx` is Q times the first direction of x.
    """
    m, d = u.shape
    lane = cuda.threadIdx.x % WARP
    for i in range(cuda.grid(1) // WARP, m, cuda.gridsize(1) // WARP):
        primal, dual = 1.0, 1.0
        for j in range(lane, d, WARP):
            if w[i, j] == 0.0:
                continue
            dy = -W[i, j] * Qdx[i, j] - Wh[i, j]
            ru, rv = relative_steps(u[i, j], v[i, j], Du[i, j], Dv[i, j], gu[i, j], gv[i, j], dy)
            primal = min(primal, 1.0 / max(1.0, -ru, -rv))
            dual = min(dual, 1.0 / max(1.0, 1.0 + ru, 1.0 + rv))
        primal = warp_min(primal)
        dual = warp_min(dual)
        if p != 1.0:
            primal = dual = min(primal, dual)
        now, then, count = 0.0, 0.0, 0
        for j in range(lane, d, WARP):
            if w[i, j] == 0.0:
                continue
            dy = -W[i, j] * Qdx[i, j] - Wh[i, j]
            ru, rv = relative_steps(u[i, j], v[i, j], Du[i, j], Dv[i, j], gu[i, j], gv[i, j], dy)
            a, b = u[i, j] * zu[i, j], v[i, j] * zv[i, j]
            now += a + b
            then += a * (1.0 + primal * ru) * (1.0 - dual * (1.0 + ru))
            then += b * (1.0 + primal * rv) * (1.0 - dual * (1.0 + rv))
            count += 2
        now = group_sum(now, WARP)
        then = group_sum(then, WARP)
        count = group_sum(count, WARP)
        mu = aimed_product(now, then, count)
        for j in range(lane, d, WARP):
            if w[i, j] == 0.0:
                continue
            dy = -W[i, j] * Qdx[i, j] - Wh[i, j]
            a, b = Du[i, j], Dv[i, j]
            ru, rv = relative_steps(u[i, j], v[i, j], a, b, gu[i, j], gv[i, j], dy)
            gu[i, j] += second_order(mu, u[i, j], zu[i, j], ru)
            gv[i, j] += second_order(mu, v[i, j], zv[i, j], rv)
            Wh[i, j] = right_side(a, b, gu[i, j], gv[i, j])


@by_rows(WARP)
def advance(u, v, zu, zv, y, w, Du, Dv, gu, gv, W, Wh, Qdx, p, x, dx, gap, cost):  # type: ignore[no-untyped-def]
    """Step along the corrected direction, in place.

    `gap` is set to the products' sum plus what is missing in the other equations (both in units of
    cost), `cost` to ``sum w f(|u - v|)``.
    """
    m, d = u.shape
    lane = cuda.threadIdx.x % WARP
    back = BACK_LINEAR if p == 1.0 else BACK
    for i in range(cuda.grid(1) // WARP, m, cuda.gridsize(1) // WARP):
        primal, dual = 1.0 / back, 1.0 / back
        for j in range(lane, d, WARP):
            if w[i, j] == 0.0:
                continue
            dy = -W[i, j] * Qdx[i, j] - Wh[i, j]
            du = (gu[i, j] + dy) / Du[i, j]
            dv = (gv[i, j] - dy) / Dv[i, j]
            dzu, dzv = dual_steps(
                u[i, j], v[i, j], zu[i, j], zv[i, j], y[i, j], w[i, j], p, du, dv, dy
            )
            gu[i, j] = du
            gv[i, j] = dv
            Du[i, j] = dzu
            Dv[i, j] = dzv
            W[i, j] = dy
            primal = shorten(shorten(primal, u[i, j], du), v[i, j], dv)
            dual = shorten(shorten(dual, zu[i, j], dzu), zv[i, j], dzv)
        primal = warp_min(primal)
        dual = warp_min(dual)
        if p != 1.0:
            primal = dual = min(primal, dual)
        primal *= back
        dual *= back
        short, total = 0.0, 0.0
        for j in range(lane, d, WARP):
            if w[i, j] == 0.0:
                continue
            u[i, j] += primal * gu[i, j]
            v[i, j] += primal * gv[i, j]
            zu[i, j] += dual * Du[i, j]
            zv[i, j] += dual * Dv[i, j]
            y[i, j] += dual * W[i, j]
            short += u[i, j] * zu[i, j] + v[i, j] * zv[i, j]
            du, dv = defects(u[i, j], v[i, j], zu[i, j], zv[i, j], y[i, j], w[i, j], p)
            short += du + dv
            total += w[i, j] * abs(u[i, j] - v[i, j]) ** p
        short = group_sum(short, WARP)
        total = group_sum(total, WARP)
        for a in range(lane, x.shape[1], WARP):
            x[i, a] += primal * dx[i, a]
        if lane == 0:
            gap[i] = short
            cost[i] = total


@by_rows(WARP)
def cholesky(G):  # type: ignore[no-untyped-def]
    """Upper factors U^T U of a stack (m, k, k), from and into its upper triangles.

    A direction without a pivot, in which nothing is known, gets one so large that its component
    of any solution is 0.
    """
    m, k = G.shape[0], G.shape[1]
    lane = cuda.threadIdx.x % WARP
    for i in range(cuda.grid(1) // WARP, m, cuda.gridsize(1) // WARP):
        largest = 0.0
        for a in range(lane, k, WARP):
            largest = max(largest, G[i, a, a])
        largest = warp_max(largest)
        for a in range(k):
            pivot = G[i, a, a]
            cuda.syncwarp()  # all lanes have read it
            if not pivot > TINY_PIVOT * largest:
                for b in range(a + lane, k, WARP):
                    G[i, a, b] = 1e150 if b == a else 0.0
                cuda.syncwarp()
                continue
            root = math.sqrt(pivot)
            for b in range(a + lane, k, WARP):
                G[i, a, b] /= root
            cuda.syncwarp()
            for b in range(a + 1 + lane, k, WARP):
                factor = G[i, a, b]
                for c in range(a + 1, b + 1):
                    G[i, c, b] -= G[i, a, c] * factor
            cuda.syncwarp()


@by_rows(WARP)
def unpack(packed, G):  # type: ignore[no-untyped-def]
    """Symmetric matrices stored as their upper triangles row by row, into a stack (m, k, k)."""
    m, k = G.shape[0], G.shape[1]
    lane = cuda.threadIdx.x % WARP
    for i in range(cuda.grid(1) // WARP, m, cuda.gridsize(1) // WARP):
        at = 0
        for a in range(k):
            for b in range(a + lane, k, WARP):
                G[i, a, b] = packed[i, at + b - a]
            at += k - a


@by_rows(WARP)
def solve(U, x):  # type: ignore[no-untyped-def]
    """``U^T U x = right side`` for a stack of factors, x (m, k) in place of the right sides."""
    m, k = x.shape
    lane = cuda.threadIdx.x % WARP
    for i in range(cuda.grid(1) // WARP, m, cuda.gridsize(1) // WARP):
        for a in range(k):
            xa = x[i, a] / U[i, a, a]
            cuda.syncwarp()
            if lane == 0:
                x[i, a] = xa
            for b in range(a + 1 + lane, k, WARP):
                x[i, b] -= xa * U[i, a, b]
            cuda.syncwarp()
        for a in range(k - 1, -1, -1):
            known = 0.0
            for b in range(a + 1 + lane, k, WARP):
                known += U[i, a, b] * x[i, b]
            known = group_sum(known, WARP)
            if lane == 0:
                x[i, a] = (x[i, a] - known) / U[i, a, a]
            cuda.syncwarp()
