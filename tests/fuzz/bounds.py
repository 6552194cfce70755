"""Lower bounds beside optima that are known, or bounded above by a subspace: none is above.

``run(count, seed)`` computes `count` bounds of small problems. What any subspace costs is at least
the optimum, so a bound above the cheapest subspace met is false. Costs are in extended precision;
where lines in the plane, spans of rows or planted rows decide, that is the optimum itself.
"""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from typing import Any

import numpy as np

import lpgeom

Found = list[tuple[str, float, float]]
"""Family, bound, and what is no less than the optimum; p-th powers."""


def angles(cost: Any, steps: int = 180, zooms: int = 6) -> float:
    """The least of a vectorised cost of directions (a, 2) of the plane, on ever finer grids."""
    best, width = np.zeros(1), np.pi
    least = np.inf
    for _ in range(zooms):
        theta = (best[:, None] + np.linspace(-0.5, 0.5, steps, dtype=np.longdouble) * width).ravel()
        found = cost(np.stack([np.cos(theta), np.sin(theta)], axis=1))
        order = np.argsort(found)[:3]
        best, width, least = theta[order], width / 40.0, min(least, float(found[order[0]]))
    return least


def summed(y: Any, p: float, w: Any) -> Any:
    """Costs of distances (rows, choices), p-th powers; the largest distance at p = inf."""
    return (y * (w[:, None] > 0)).max(0) if np.isinf(p) else (w[:, None] * y**p).sum(0)


def plane(A: Any, p: float, w: Any) -> float:
    """The best line through the origin of the plane."""
    B = A.astype(np.longdouble)
    if len(B) == 0:
        return 0.0
    return angles(
        lambda u: summed(np.abs(np.outer(B[:, 0], u[:, 1]) - np.outer(B[:, 1], u[:, 0])), p, w)
    )


def cost_of(A: Any, V: Any, p: float, w: Any) -> float:
    """What the span of V costs, whatever its rounding."""
    B, Q = A.astype(np.longdouble), V.astype(np.longdouble)
    for _ in range(2):  # Newton: orthonormal in extended precision
        Q = Q @ (1.5 * np.eye(Q.shape[1]) - 0.5 * (Q.T @ Q))
    R = B - (B @ Q) @ Q.T
    return float(summed(np.sqrt((R * R).sum(1))[:, None], p, w)[0])


def spans(A: Any, k: int, p: float, w: Any) -> float:
    """The best of the subspaces that k rows span: at p = 1 and k = d - 1 one of them is best."""
    least = np.inf
    for chosen in itertools.combinations(range(len(A)), k):
        V = np.linalg.svd(A[list(chosen)])[2][:k].T
        least = min(least, cost_of(A, V, p, w))
    return least


def descended(A: Any, k: int, p: float, w: Any, rng: np.random.Generator) -> float:
    """The best of a few subspaces that reweighting meets."""
    d = A.shape[1]
    least = np.inf
    for start in range(2):
        V = (
            np.linalg.svd(A)[2][:k].T
            if start == 0
            else np.linalg.qr(rng.standard_normal((d, k)))[0]
        )
        for _ in range(8):
            least = min(least, cost_of(A, V, p, w))
            t = np.maximum(((A - (A @ V) @ V.T) ** 2).sum(1), 1e-18 * float((A * A).sum()))
            u = w * (t / t.max()) ** ((min(p, 6.0) - 2.0) / (2.0 if p <= 2.0 else 4.0))
            V = np.linalg.eigh((A * u[:, None]).T @ A)[1][:, d - k :]
    return least


def data(n: int, d: int, k: int, rng: np.random.Generator) -> Any:
    """Rows of some kind, a few of them near one k-dimensional subspace."""
    A = rng.standard_normal((n, d))
    kind = rng.integers(6)
    if kind == 1:
        A = rng.integers(-3, 4, (n, d)).astype(np.float64)
        A[:d] += np.eye(d)[:n] * 7
    elif kind == 2:
        inside = n - int(rng.integers(1, 3))
        A[:inside] = (
            A[:inside, :k] @ rng.standard_normal((k, d))
            + 10.0 ** -rng.uniform(0.5, 9.0) * A[:inside]
        )
    elif kind == 3:
        A[0] *= 10.0 ** rng.uniform(1.0, 8.0)
    elif kind == 4:
        A *= 10.0 ** rng.uniform(-3.0, 3.0, (n, 1))
    elif kind == 5:
        A *= 10.0 ** rng.uniform(-3.0, 3.0, d)
    return A


def exponent(rng: np.random.Generator) -> float:
    return (1.0, 1.0, rng.uniform(1.0, 2.0), rng.uniform(1.0, 2.0), 1.999, 2.0, 3.0,
            rng.uniform(2.0, 9.0), np.inf)[rng.integers(9)]  # fmt: skip


def rows(rng: np.random.Generator) -> Found:
    """Every bound of one subspace, by name."""
    d = int(rng.choice((2, 2, 3, 4, 5, 6, 7)))
    n = int(rng.integers(d + 1, d + 4))
    p, exact = exponent(rng), d < 6 and rng.random() < 0.4
    k = d - 1 if exact else int(rng.integers(1, d))
    p = 1.0 if exact else p
    A = data(n, d, k, rng)
    w = rng.exponential(size=n) if rng.random() < 0.3 else None
    omega = np.ones(n) if w is None else w
    V = np.linalg.svd(A)[2][:k].T
    level = "all" if rng.random() < 0.15 else "fast"
    c = lpgeom.certify(A, V, p, level, row_weights=w, seed=int(rng.integers(1000)))
    best = min(cost_of(A, V, p, omega), descended(A, k, p, omega, rng))
    if d == 2:
        best = min(best, plane(A, p, omega))
    elif exact:
        best = min(best, spans(A, k, p, omega))
    return [(f"rows: {b.name}", b.value, best) for b in c.bounds if b.value > 0.0]


def curve(rng: np.random.Generator) -> Found:
    d, p = int(rng.integers(2, 5)), exponent(rng)
    A = data(d + 3, d, 1, rng)
    w = np.ones(len(A))
    found = lpgeom.cost_curve(A, p, range(1, d), max_iter=3, certify="tight")
    best = [min(r.cost, descended(A, r.k, p, w, rng)) for r in found.results]
    if d == 2:
        best[0] = min(best[0], plane(A, p, w))
    if p == 1.0:
        best[-1] = min(best[-1], spans(A, d - 1, p, w))
    return [("curve", float(b), x) for b, x in zip(found.lower_bound, best, strict=True)]


def affine(rng: np.random.Generator) -> Found:
    """Lines in the plane and planes in space; at p = 1 a best one goes through d points."""
    d, p = int(rng.integers(2, 4)), exponent(rng)
    p = 1.0 if np.isinf(p) else p
    A = data(int(rng.integers(d + 1, 8)), d, 1, rng) + rng.standard_normal(d) * 3.0
    found = lpgeom.approx_affine(A, d - 1, p, certify="tight" if rng.random() < 0.5 else True)
    best = found.cost
    for chosen in itertools.combinations(range(len(A)), d):
        c = A[chosen[0]]
        V = np.linalg.svd(A[list(chosen)] - c)[2][: d - 1].T
        best = min(best, cost_of(A - c, V, p, np.ones(len(A))))
    return [("affine", found.lower_bound, best)]


def groups(rng: np.random.Generator) -> Found:
    """Of the labels stated, lines of the plane."""
    p = exponent(rng)
    p = 1.0 if np.isinf(p) else p
    A = data(int(rng.integers(5, 10)), 2, 1, rng)
    w = np.ones(len(A))
    mixed = bool(rng.random() < 0.5)
    options: Any = {"subspaces": 2, "max_iter": 3, "seed": int(rng.integers(1000))}
    if mixed:
        found: Any = lpgeom.approx_mixed(A, int(rng.integers(3, 8)), p, **options)
    else:
        found = lpgeom.approx_clusters(A, 1, p, restarts=1, **options)
    best = 0.0
    for label, part in enumerate(found.parts):
        mine = found.labels == label
        rank = part.basis.shape[1]
        if rank == 0:
            best += cost_of(A[mine], np.zeros((2, 0)), p, w[mine])
        elif rank == 1:
            best += plane(A[mine], p, w[mine])
    return [("mixed" if mixed else "clusters", found.lower_bound, best)]


def entries(rng: np.random.Generator) -> Found:
    """Rank 1, two columns: a row's distance from a line in the p-norm is a quotient."""
    p = exponent(rng)
    p = 1.0 if np.isinf(p) else p
    A = data(int(rng.integers(3, 9)), 2, 1, rng)
    q = np.inf if p == 1.0 else p / (p - 1.0)
    B, w = A.astype(np.longdouble), np.ones(len(A))

    def cost(u: Any) -> Any:
        top = np.abs(u).max(1)
        dual = top if q == np.inf else top * ((np.abs(u) / top[:, None]) ** q).sum(1) ** (1.0 / q)
        across = np.abs(np.outer(B[:, 0], u[:, 1]) - np.outer(B[:, 1], u[:, 0]))
        return summed(across / dual, p, w)

    found = lpgeom.approx_factors(A, 1, p, max_iter=3)
    best = min(angles(cost), found.cost)
    return [(f"entries: {b.name}", b.value, best) for b in found.certificate.bounds if b.value > 0]


FAMILIES = (rows,) * 80 + (curve, affine, groups, entries)


def run(count: int, seed: int) -> dict[str, Any]:
    """Hold `count` bounds against optima; how far above 1 the largest quotient of a family is."""
    number: Counter[str] = Counter()
    largest: dict[str, float] = {}
    above: list[str] = []
    rng = np.random.default_rng([seed, 0xB0D])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        while number.total() < count:
            case = int(rng.integers(2**63))
            inner = np.random.default_rng(case)
            for family, bound, best in FAMILIES[inner.integers(len(FAMILIES))](inner):
                number[family] += 1
                over = bound / best - 1.0 if best > 0.0 else (np.inf if bound > 0.0 else -1.0)
                largest[family] = max(largest.get(family, -1.0), float(over))
                if over > ROUNDING:
                    above.append(f"{family}, case {case}: {bound!r} above {best!r}")
    return {
        "bounds": number.total(),
        "by_family": {
            name: {"bounds": number[name], "largest": largest[name]} for name in sorted(number)
        },
        "above": above,
    }


ROUNDING = 1e-12
"""A quotient is taken for more than 1 from here on: the bound is a float64, and so is its power."""
