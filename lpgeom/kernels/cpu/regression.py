"""Steps of an interior-point method (p < 2) for many small l_p regressions that share their matrix.

Problem i is ``min_x sum_j w_j f(|r_j|), r = b - Q x`` with ``f(t) = t^p``. The residual is split in
``r = u - v`` with u, v > 0; y is the multiplier of that equation, zu and zv those of the signs:

    w f'(u) - y - zu = 0,   w f'(v) + y - zv = 0,   Q^T y = 0,   u zu = v zv = mu -> 0.

At p = 1 this is the linear program's method of Frisch and Newton with Mehrotra's corrector. For
every p a Newton step comes down to one normal matrix ``Q^T W Q``, with ``W = 1 / (1/Du + 1/Dv)``
and ``Du = w f''(u) + zu / u``. The matrices Q^T W Q and the products with Q are left to the BLAS;
these kernels are what lies between. Arrays are (m, d): m problems of d entries each; where w = 0
the entry takes no part. Directions need no exact arithmetic: what is certified is computed anew.

Written in the words of `lanes`, so that a device runs the same text.
"""

import math

from numba import njit

from lpgeom.kernels.cpu.lanes import LANES, added, lanes_for, least, most, position, sync

BACK_LINEAR, BACK = 0.9999, 0.995
"""Share of the step to the border that is taken, at p = 1 and otherwise."""

TINY_PIVOT = 1e-30
"""A pivot below this share of the largest belongs to a direction that no entry sees."""


@njit(cache=True, nogil=True, error_model="numpy")
def _slopes(t, p):  # type: ignore[no-untyped-def]
    """f'(t) and f''(t) of f(t) = t^p."""
    if p == 1.0:
        return 1.0, 0.0
    power = t ** (p - 2.0)
    return p * power * t, p * (p - 1.0) * power


@njit(cache=True, nogil=True, error_model="numpy")
def _newton_terms(u, v, zu, zv, y, w, p):  # type: ignore[no-untyped-def]
    """Du, Dv, gu, gv of the step to mu = 0."""
    fu, ffu = _slopes(u, p)
    fv, ffv = _slopes(v, p)
    return w * ffu + zu / u, w * ffv + zv / v, y - w * fu, -y - w * fv


@njit(cache=True, nogil=True, error_model="numpy")
def _right_side(Du, Dv, gu, gv):  # type: ignore[no-untyped-def]
    """``W h``, with W the `_normal_weight`."""
    return (gu * Dv - gv * Du) / (Du + Dv)


@njit(cache=True, nogil=True, error_model="numpy")
def _normal_weight(Du, Dv):  # type: ignore[no-untyped-def]
    """``1 / (1/Du + 1/Dv)``."""
    return Du / (Du + Dv) * Dv


@njit(cache=True, nogil=True, error_model="numpy")
def _relative_steps(u, v, Du, Dv, gu, gv, dy):  # type: ignore[no-untyped-def]
    """``du / u`` and ``dv / v``; the relative steps of zu and zv are -1 less these."""
    return (gu + dy) / Du / u, (gv - dy) / Dv / v


@njit(cache=True, nogil=True, error_model="numpy")
def _aimed_product(now, then, count):  # type: ignore[no-untyped-def]
    """mu by Mehrotra's rule, from the sums of `count` products now and after the first step."""
    return now / count * (then / now) ** 3 if count > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _second_order(mu, u, zu, ru):  # type: ignore[no-untyped-def]
    """What Mehrotra's corrector adds to g: the aimed product, and the product of the steps."""
    return mu / u + zu * ru * (1.0 + ru)


@njit(cache=True, nogil=True, error_model="numpy")
def _dual_steps(u, v, zu, zv, y, w, p, du, dv, dy):  # type: ignore[no-untyped-def]
    """The steps of zu and zv that belong to those of u, v and y."""
    fu, ffu = _slopes(u, p)
    fv, ffv = _slopes(v, p)
    return w * (fu + ffu * du) - y - zu - dy, w * (fv + ffv * dv) + y - zv + dy


@njit(cache=True, nogil=True, error_model="numpy")
def _shorten(share, x, dx):  # type: ignore[no-untyped-def]
    """`share`, or less where ``x + share dx`` would be negative."""
    return -x / dx if -dx * share > x else share


@njit(cache=True, nogil=True, error_model="numpy")
def _defects(u, v, zu, zv, y, w, p):  # type: ignore[no-untyped-def]
    """What is missing in the first two equations, times u and v: in units of cost."""
    missing_u = abs(w * _slopes(u, p)[0] - y - zu) * u
    missing_v = abs(w * _slopes(v, p)[0] + y - zv) * v
    return missing_u, missing_v


@njit(cache=True, nogil=True, error_model="numpy")
def begin(r, w, p, off, u, v, zu, zv, y):  # type: ignore[no-untyped-def]
    """A start that fulfils all but the products: y = 0, u and v by `off` above the parts of r."""
    m, d = r.shape
    lanes = lanes_for(d)
    row, rows, lane = position(lanes)
    for i in range(row, m, rows):
        for j in range(lane, d, lanes):
            u[i, j] = max(r[i, j], 0.0) + off
            v[i, j] = max(-r[i, j], 0.0) + off
            zu[i, j] = w[i, j] * _slopes(u[i, j], p)[0]
            zv[i, j] = w[i, j] * _slopes(v[i, j], p)[0]
            y[i, j] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def predict(u, v, zu, zv, y, w, p, Du, Dv, gu, gv, W, Wh):  # type: ignore[no-untyped-def]
    """Weights W of the normal matrix and W h of its right side, for the step to mu = 0."""
    m, d = u.shape
    lanes = lanes_for(d)
    row, rows, lane = position(lanes)
    for i in range(row, m, rows):
        for j in range(lane, d, lanes):
            if w[i, j] == 0.0:
                W[i, j] = Wh[i, j] = 0.0
                continue
            a, b, g, h = _newton_terms(u[i, j], v[i, j], zu[i, j], zv[i, j], y[i, j], w[i, j], p)
            Du[i, j], Dv[i, j], gu[i, j], gv[i, j] = a, b, g, h
            W[i, j] = _normal_weight(a, b)
            Wh[i, j] = _right_side(a, b, g, h)


@njit(cache=True, nogil=True, error_model="numpy")
def correct(u, v, zu, zv, w, Du, Dv, gu, gv, W, Wh, Qdx, p):  # type: ignore[no-untyped-def]
    """Aim at the mu the first direction promises, and count its second-order term: new gu, gv, Wh.

    `Qdx` is Q times the first direction of x.
    """
    m, d = u.shape
    row, rows, lane = position(LANES)
    for i in range(row, m, rows):
        primal, dual = 1.0, 1.0
        for j in range(lane, d, LANES):
            if w[i, j] == 0.0:
                continue
            dy = -W[i, j] * Qdx[i, j] - Wh[i, j]
            ru, rv = _relative_steps(u[i, j], v[i, j], Du[i, j], Dv[i, j], gu[i, j], gv[i, j], dy)
            # Relative steps of zu and zv are -1 - ru and -1 - rv.
            primal = min(primal, 1.0 / max(1.0, -ru, -rv))
            dual = min(dual, 1.0 / max(1.0, 1.0 + ru, 1.0 + rv))
        primal, dual = least(primal), least(dual)
        if p != 1.0:
            primal = dual = min(primal, dual)
        now, then, count = 0.0, 0.0, 0
        for j in range(lane, d, LANES):
            if w[i, j] == 0.0:
                continue
            dy = -W[i, j] * Qdx[i, j] - Wh[i, j]
            ru, rv = _relative_steps(u[i, j], v[i, j], Du[i, j], Dv[i, j], gu[i, j], gv[i, j], dy)
            a, b = u[i, j] * zu[i, j], v[i, j] * zv[i, j]
            now += a + b
            then += a * (1.0 + primal * ru) * (1.0 - dual * (1.0 + ru))
            then += b * (1.0 + primal * rv) * (1.0 - dual * (1.0 + rv))
            count += 2
        mu = _aimed_product(added(now), added(then), added(count))
        for j in range(lane, d, LANES):
            if w[i, j] == 0.0:
                continue
            dy = -W[i, j] * Qdx[i, j] - Wh[i, j]
            a, b = Du[i, j], Dv[i, j]
            ru, rv = _relative_steps(u[i, j], v[i, j], a, b, gu[i, j], gv[i, j], dy)
            gu[i, j] += _second_order(mu, u[i, j], zu[i, j], ru)
            gv[i, j] += _second_order(mu, v[i, j], zv[i, j], rv)
            Wh[i, j] = _right_side(a, b, gu[i, j], gv[i, j])


@njit(cache=True, nogil=True, error_model="numpy")
def advance(u, v, zu, zv, y, w, Du, Dv, gu, gv, W, Wh, Qdx, p, x, dx, gap, cost):  # type: ignore[no-untyped-def]
    """Step along the corrected direction, in place.

    `gap` is set to the products' sum plus what is missing in the other equations (both in units of
    cost), `cost` to ``sum w f(|u - v|)``.
    """
    m, d = u.shape
    back = BACK_LINEAR if p == 1.0 else BACK
    row, rows, lane = position(LANES)
    for i in range(row, m, rows):
        primal, dual = 1.0 / back, 1.0 / back
        for j in range(lane, d, LANES):
            if w[i, j] == 0.0:
                continue
            dy = -W[i, j] * Qdx[i, j] - Wh[i, j]
            du = (gu[i, j] + dy) / Du[i, j]
            dv = (gv[i, j] - dy) / Dv[i, j]
            dzu, dzv = _dual_steps(
                u[i, j], v[i, j], zu[i, j], zv[i, j], y[i, j], w[i, j], p, du, dv, dy
            )
            gu[i, j], gv[i, j], Du[i, j], Dv[i, j], W[i, j] = du, dv, dzu, dzv, dy
            primal = _shorten(_shorten(primal, u[i, j], du), v[i, j], dv)
            dual = _shorten(_shorten(dual, zu[i, j], dzu), zv[i, j], dzv)
        primal, dual = least(primal), least(dual)
        if p != 1.0:
            primal = dual = min(primal, dual)
        primal *= back
        dual *= back
        products, defect, total = 0.0, 0.0, 0.0
        for j in range(lane, d, LANES):
            if w[i, j] == 0.0:
                continue
            u[i, j] += primal * gu[i, j]
            v[i, j] += primal * gv[i, j]
            zu[i, j] += dual * Du[i, j]
            zv[i, j] += dual * Dv[i, j]
            y[i, j] += dual * W[i, j]
            products += u[i, j] * zu[i, j] + v[i, j] * zv[i, j]
            du, dv = _defects(u[i, j], v[i, j], zu[i, j], zv[i, j], y[i, j], w[i, j], p)
            defect += du
            defect += dv
            total += w[i, j] * abs(u[i, j] - v[i, j]) ** p
        products, total = added(products + defect), added(total)
        for a in range(lane, x.shape[1], LANES):
            x[i, a] += primal * dx[i, a]
        if lane == 0:
            gap[i] = products
            cost[i] = total


@njit(cache=True, nogil=True, error_model="numpy")
def cholesky(G):  # type: ignore[no-untyped-def]
    """Upper factors U^T U of a stack (m, k, k), from and into its upper triangles.

    A direction without a pivot, in which nothing is known, gets one so large that its component
    of any solution is 0.
    """
    m, k = G.shape[:2]
    row, rows, lane = position(LANES)
    for i in range(row, m, rows):
        largest = 0.0
        for a in range(lane, k, LANES):
            largest = max(largest, G[i, a, a])
        largest = most(largest)
        for a in range(k):
            pivot = G[i, a, a]
            sync()  # all lanes have read it
            if not pivot > TINY_PIVOT * largest:
                for b in range(a + lane, k, LANES):
                    G[i, a, b] = 1e150 if b == a else 0.0
                sync()
                continue
            root = math.sqrt(pivot)
            for b in range(a + lane, k, LANES):
                G[i, a, b] /= root
            sync()
            for c in range(a + 1, k):
                factor = G[i, a, c]
                for b in range(c + lane, k, LANES):
                    G[i, c, b] -= factor * G[i, a, b]
            sync()


@njit(cache=True, nogil=True, error_model="numpy")
def unpack(packed, G):  # type: ignore[no-untyped-def]
    """Symmetric matrices stored as their upper triangles row by row, into a stack (m, k, k)."""
    m, k = G.shape[:2]
    row, rows, lane = position(LANES)
    for i in range(row, m, rows):
        at = 0
        for a in range(k):
            for b in range(a + lane, k, LANES):
                G[i, a, b] = packed[i, at + b]
            at += k - a - 1


@njit(cache=True, nogil=True, error_model="numpy")
def solve(U, x):  # type: ignore[no-untyped-def]
    """``U^T U x = right side`` for a stack of factors, x (m, k) in place of the right sides."""
    m, k = x.shape
    row, rows, lane = position(LANES)
    for i in range(row, m, rows):
        for a in range(k):
            xa = x[i, a] / U[i, a, a]
            sync()
            if lane == 0:
                x[i, a] = xa
            for b in range(a + 1 + lane, k, LANES):
                x[i, b] -= xa * U[i, a, b]
            sync()
        for a in range(k - 1, -1, -1):
            known = 0.0
            for b in range(a + 1 + lane, k, LANES):
                known += U[i, a, b] * x[i, b]
            known = added(known)
            if lane == 0:
                x[i, a] = (x[i, a] - known) / U[i, a, a]
            sync()
