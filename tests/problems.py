"""Matrices that break things, and the bounds of a problem in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from lpgeom.bounds.evidence import Evidence
from lpgeom.bounds.table import BOUNDS, Task
from lpgeom.geometry.lewis import lewis_iteration
from lpgeom.records.subspace import Bound
from lpgeom.rows.door import open_rows

PS = (1.0, 1.1, 1.5, 1.9, 2.0, 3.0, 6.0, 10.0)

# The same examples every time; --hypothesis-seed picks others.
fixed = settings(deadline=None, derandomize=True, max_examples=40)

KINDS = ("gauss", "heavy", "duplicates", "zero rows", "rank deficient", "wide", "scales", "exact")


def matrix(kind: str, n: int, d: int, seed: int) -> Any:
    """A seeded (n, d) matrix of one of KINDS."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    if kind == "heavy":
        A = rng.standard_t(1.0, (n, d))
    elif kind == "duplicates":
        A = A[rng.integers(0, min(max(2, n // 2), n), n)]
    elif kind == "zero rows":
        A[rng.random(n) < 0.3] = 0.0
        A[0] = 1.0
    elif kind == "rank deficient":
        r = min(max(2, d - 1), d)
        A = A[:, :r] @ rng.standard_normal((r, d))
    elif kind == "wide":
        A = A[: max(2, d - 1)]
    elif kind == "scales":
        A = A * np.exp(rng.uniform(-6.0, 6.0, (n, 1)))
    elif kind == "exact":  # most rows on a line, some anywhere
        A[n // 3 :] = rng.standard_normal((n - n // 3, 1)) * rng.standard_normal(d)
    return A


@st.composite
def problems(draw: st.DrawFn, ps: tuple[float, ...] = PS) -> tuple[Any, int, float]:
    """(A, k, p) with k below the rank of A, so that the optimum is positive."""
    kind = draw(st.sampled_from(KINDS))
    d = draw(st.integers(2, 6))
    n = draw(st.integers(d, 24))
    A = matrix(kind, n, d, draw(st.integers(0, 2**31)))
    k = draw(st.integers(1, max(1, min(d - 1, np.linalg.matrix_rank(A) - 1))))
    return A, k, draw(st.sampled_from(ps))


def random_bases(d: int, k: int, count: int, rng: np.random.Generator) -> list[Any]:
    return [np.linalg.qr(rng.standard_normal((d, k)))[0] for _ in range(count)]


def evidence_of(A: Any, k: int, p: float, V: Any = None) -> tuple[Any, Evidence]:
    """Rows and evidence at V (the SVD's subspace if not given), with Lewis weights."""
    problem = open_rows(np.asarray(A, dtype=np.float64), p)
    rows = problem.rows
    basis = np.linalg.svd(A)[2][:k].T if V is None else V
    full = np.linalg.qr(np.concatenate([basis, np.eye(rows.shape[1])], axis=1))[0]
    W = full[:, k:]
    t = rows.quadratic_form(W)
    lewis, _ = lewis_iteration(rows, p, tol=1e-9, max_iter=100)
    return problem, Evidence(full[:, :k], W, t, rows.squared_norms(), lewis)


def all_bounds(A: Any, k: int, p: float, level: str = "tight", V: Any = None) -> dict[str, Bound]:
    """Every bound that holds always, by name, in units of A (`value`)."""
    if np.linalg.matrix_rank(A) <= k:
        return {}
    problem, evidence = evidence_of(A, k, p, V)
    rows = problem.rows
    bounds = [
        bound
        for entry in BOUNDS
        if entry.applies(p, level, False) and not entry.name.startswith("radial")
        for bound in entry.of(Task(rows, k, p, level, 0, evidence))
    ]
    unit = problem.unit
    return {
        b.name: Bound(b.name, b.theorem, b.scaled_value, 0.0, b.witness, unit, p) for b in bounds
    }


def descend(A: Any, V: Any, p: float, steps: int = 30) -> Any:
    """Local search by plain reweighting (damped for p > 2); the best basis met."""
    k = V.shape[1]
    best, least = V, np.inf
    w = np.ones(len(A))
    for _ in range(steps):
        R = A - (A @ V) @ V.T
        t = np.maximum((R * R).sum(1), 1e-24 * max(float((A * A).sum()), 1e-300))
        value = float((t ** (p / 2.0)).sum())
        if value < least:
            best, least = V, value
        new = (t / t.max()) ** (p / 2.0 - 1.0)
        w = new if p <= 2.0 else np.sqrt(w * new)
        V = np.linalg.eigh((A * w[:, None]).T @ A)[1][:, A.shape[1] - k :]
    return best
