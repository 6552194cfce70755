"""Checkers of the bounds that end in one sum of smallest eigenvalues (theory 3a to 3f)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lpgeom.records.base import EPS, Array, CertificateError
from lpgeom.records.check.data import Checked, Checker, Data, number, square

if TYPE_CHECKING:
    from lpgeom.records.subspace import Bound

SMALLEST = 1e-100
"""Of the singular values of a metric's root, whose squares have to be floats."""


def check_rank(data: Data, bound: Bound) -> Checked:
    """0 bounds every cost."""
    return Checked(0.0)


def check_spectral(data: Data, bound: Bound) -> Checked:
    """p = 2: tail of the spectrum of A, by the Gram matrix or, where squaring loses it, by QR."""
    _need(data, bound, low=2.0, high=2.0)
    G: Array = np.asarray(sum(block.T @ block for _, block in data.blocks()))
    size = float(np.trace(G))
    value, slack = data.smallest(G), data.rounding(size)
    if slack <= 1e-10 * value:
        return Checked(value, slack)
    return Checked(data.tail((block for _, block in data.blocks()), data.n, size))


def check_chord(data: Data, bound: Bound) -> Checked:
    """y^p >= Y^(p-2) y^2 for 0 <= y <= Y, p <= 2."""
    _need(data, bound, high=2.0)
    G = np.zeros((data.d, data.d))
    for _, block in data.blocks():
        Y = np.linalg.norm(block, axis=1)
        block, Y = block[Y > 0.0], Y[Y > 0.0]
        G += (block * (Y ** (data.p - 2.0))[:, None]).T @ block
    return Checked(data.smallest(G), data.rounding(float(np.trace(G))))


def check_lewis(data: Data, bound: Bound) -> Checked:
    """3a and 3b, p < 2, from the metric ``M = R^T R`` alone.

    With ``tau = a^T M^+ a``: ``||a Q||^2 <= tau lambda_max(QMQ)``, so ``cost >= tr(Q M1 Q) /
    lambda_max(QMQ)^(1-p/2)`` with ``M1 = sum tau^(p/2-1) a a^T``, for any R whatever. If
    ``M1 >= nu M``, that is nu times the function that 3a and 3b minimise. For M from Lewis
    weights with constant kappa, ``nu >= kappa^(p/2-1)``: a smaller stated kappa is false.
    For p > 2 the witness is that of `check_power`.
    """
    if data.p > 2.0:
        return check_power(data, bound)
    _need(data, bound, high=2.0, open_end=True)
    p = data.p
    R = np.asarray(bound.witness["R"], dtype=np.float64)
    kappa = number("kappa", bound.witness["kappa"])
    if R.ndim != 2 or R.shape[1] != data.d:
        raise CertificateError(f"witness R of {bound.name!r} is no matrix of {data.d} columns")
    _, sigma, Vt = np.linalg.svd(R, full_matrices=False)
    if not SMALLEST < sigma[-1] <= sigma[0] < 1.0 / SMALLEST:
        raise CertificateError(f"witness R of {bound.name!r} has linearly dependent rows")
    X = Vt.T / sigma
    K = np.zeros((len(sigma),) * 2)
    outside = 0.0
    for _, block in data.blocks():
        B = block @ X
        tau = np.einsum("ij,ij->i", B, B)
        B, tau = B[tau > 0.0], tau[tau > 0.0]
        K += (B * (tau ** (p / 2.0 - 1.0))[:, None]).T @ B
        if len(sigma) < data.d:
            e = block - (block @ Vt.T) @ Vt
            off = EPS * math.sqrt(data.d) * np.linalg.norm(block, axis=1)
            outside += float(((np.linalg.norm(e, axis=1) + off) ** p).sum())
    spectrum = np.linalg.eigvalsh(K)
    nu = max(float(spectrum[0]), 0.0)
    if not 0.0 < kappa < math.inf:
        raise CertificateError(f"kappa {kappa!r} of {bound.name!r} is not a positive number")
    condition = float(sigma[0] / sigma[-1])
    off, bent = data.rounding(float(np.trace(K))), data.d * EPS * condition
    # In terms of nu, which is what was computed: near p = 2 it says little about kappa. Room for
    # the rounding of the metric that kappa was measured in; the bound has none.
    claimed = kappa ** (p / 2.0 - 1.0)
    if claimed > nu * (1.0 + 1e-9) + (off + 8.0 * bent) * float(spectrum[-1]):
        raise CertificateError(
            f"kappa of {bound.name!r} is stated as {kappa!r}: kappa^(p/2-1) is {claimed!r}, where "
            f"the rows leave {nu!r}"
        )
    lam = sigma**2
    head, tail = lam[: data.k + 1], lam[data.k :]
    if bound.name == "lewis_trace":
        base = float(tail.sum()) ** (p / 2.0)
    else:
        T = float(tail[1:].sum())
        # Unimodal in mu: decreasing to T (2-p)/p, then increasing.
        mu = float(np.clip(T * (2.0 - p) / p, tail[0] if tail.size else 0.0, head[0]))
        base = (mu + T) * mu ** (p / 2.0 - 1.0) if mu > 0.0 else 0.0
    sure = nu / (1.0 + bent) - off if bent <= 1.0 else 0.0
    proved = base * min(max(sure, 0.0), claimed)
    norm = proved ** (1.0 / p) - outside ** (1.0 / p) * (1.0 + bent)
    return Checked(max(norm, 0.0) ** p)


def check_relaxation(data: Data, bound: Bound) -> Checked:
    """3d: unit-ball vectors ``u = Q0 a / max(||Q0 a||, floor ||a||)`` and Hölder's inequality."""
    _need(data, bound, high=2.0)
    p = data.p
    Q0, floor = _reference(data, bound)
    N = np.zeros((data.d, data.d))
    total = size = 0.0
    for _, block in data.blocks():
        r, _, Y = _measures(block, Q0)
        weights = _over(r ** (p - 1.0), r, floor * Y)
        N += (block * weights[:, None]).T @ block
        total += float((r**p).sum())
        size += float((weights * Y * Y).sum())
    if total <= 0.0:
        return Checked(0.0)
    off = data.rounding(size * max(1.0, float(np.linalg.norm(Q0, 2))))
    x = max(data.smallest(Q0 @ N) - off, 0.0)
    return Checked(x * (x / (total + off)) ** (p - 1.0))


def check_tangent(data: Data, bound: Bound) -> Checked:
    """3e: minorants of y^p that touch at ``(r Y - t) / (Y - r)``."""
    _need(data, bound, high=2.0)
    p = data.p
    Q0, floor = _reference(data, bound)
    N, H = np.zeros((data.d, data.d)), np.zeros((data.d, data.d))
    constant, size, most = 0.0, 0.0, max(1.0, float(np.linalg.norm(Q0, 2)))
    for _, block in data.blocks():
        r, t, Y = _measures(block, Q0)
        block, r, t, Y = (x[Y > 0.0] for x in (block, r, t, Y))
        point = (r * Y - t) / np.maximum(Y - r, 1e-12 * Y)
        y0 = np.minimum(np.maximum(np.minimum(point, r), floor * Y), Y)
        beta = excess(Y / y0, p)
        alpha = (p - 2.0 * beta) * y0 ** (p - 1.0)
        c = (1.0 - p + beta) * y0**p
        beta = beta * y0 ** (p - 2.0)
        weights = _over(alpha, r, floor * Y)
        N += (block * weights[:, None]).T @ block
        H += (block * beta[:, None]).T @ block
        constant += float(c.sum())
        size += float(((weights * most + beta) * Y * Y + np.abs(c)).sum())
    return Checked(constant + data.smallest(Q0 @ N + H), data.rounding(size))


def check_power(data: Data, bound: Bound) -> Checked:
    """p >= 2: Hölder with ``u = (a^T Q0 a)^(p/2-1)``, from a root B of ``Q0 = B B^T``.

    Older certificates hold Q0 itself; negative forms are taken as 0.
    """
    _need(data, bound, low=2.0, high=math.inf)
    s = data.p / 2.0
    t = np.empty(data.n)
    if "Q0" in bound.witness:
        Q0 = square(data, bound.witness["Q0"], "Q0")
        for part, block in data.blocks():
            t[part] = np.maximum(np.einsum("ij,ij->i", block @ Q0, block), 0.0)
    else:
        root = np.asarray(bound.witness["root"], dtype=np.float64)
        if root.ndim != 2 or len(root) != data.d or not np.isfinite(root).all():
            raise CertificateError(f"witness root is not a finite matrix of {data.d} rows")
        nought = 4.0 * (data.d + 8.0) * EPS * float(np.linalg.norm(root, 2))
        for part, block in data.blocks():
            r = np.linalg.norm(block @ root, axis=1)
            t[part] = np.where(r >= nought * np.linalg.norm(block, axis=1), r * r, 0.0)
    top = float(t.max(initial=0.0))
    x = t / top if top > 0.0 else np.ones(data.n)
    u = x ** (s - 1.0)
    G: Array = np.asarray(sum((b * u[part, None]).T @ b for part, b in data.blocks()))
    smallest = data.smallest(G) - data.rounding(float(np.trace(G)))
    if smallest <= 0.0:
        return Checked(0.0)
    log = s * math.log(smallest) - (s - 1.0) * math.log(float((x**s).sum()))
    value = math.exp(min(log, 700.0))
    return Checked(value, value * 4.0 * (1.0 + data.p**2) * EPS)


CHECKERS: dict[str, Checker] = {
    "rank": check_rank,
    "spectral": check_spectral,
    "chord": check_chord,
    "lewis_trace": check_lewis,
    "lewis_sharpened": check_lewis,
    "relaxation": check_relaxation,
    "tangent": check_tangent,
    "mixed": check_tangent,  # its name in files of up to 0.1
    "power": check_power,
}


def _need(
    data: Data, bound: Bound, low: float = 1.0, high: float = 2.0, open_end: bool = False
) -> None:
    if not (low <= data.p <= high) or (open_end and data.p == high):
        raise CertificateError(f"bound {bound.name!r} does not apply at p = {data.p:g}")


def _reference(data: Data, bound: Bound) -> tuple[Array, float]:
    Q0 = square(data, bound.witness["Q0"], "Q0")
    floor = number("floor", bound.witness["floor"])
    if not 0.0 < floor <= 1.0:
        raise CertificateError(f"floor {floor!r} of {bound.name!r} is not in (0, 1]")
    return Q0, floor


def _measures(block: Array, Q0: Array) -> tuple[Array, Array, Array]:
    """``||Q0 a||``, ``a^T Q0 a`` and ``||a||`` of each row."""
    z = block @ Q0
    r = np.sqrt(np.einsum("ij,ij->i", z, z))
    return r, np.einsum("ij,ij->i", z, block), np.linalg.norm(block, axis=1)


def _over(alpha: Array, r: Array, floor: Array) -> Array:
    below = np.maximum(r, floor)
    return np.where(below > 0.0, alpha / np.where(below > 0.0, below, 1.0), 0.0)


def excess(S: Array, p: float) -> Array:
    """``(S^p - 1 - p (S-1)) / (S-1)^2`` as ``p (p-1) int_0^1 (1-s) (1 + s (S-1))^(p-2) ds``.

    Taylor's integral remainder by Gauss-Legendre quadrature near S = 1, where the quotient
    cancels; the quotient itself elsewhere.
    """
    e = S - 1.0
    nodes, weights = np.polynomial.legendre.leggauss(12)
    nodes, weights = 0.5 * (nodes + 1.0), 0.5 * weights
    near = e < 0.1
    x = np.where(near, e, 0.0)
    integral = sum(
        w * (1.0 - s) * (1.0 + s * x) ** (p - 2.0) for s, w in zip(nodes, weights, strict=True)
    )
    far = np.where(near, 1.0, e)
    quotient = ((1.0 + far) ** p - 1.0 - p * far) / far**2
    return np.where(near, p * (p - 1.0) * integral, quotient)
