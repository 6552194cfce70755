"""Certificates as they are made, over data, p, weights and levels of every kind: none is refused.

``run(count, seed)`` makes `count` certificates of small problems and checks each, some as read back
from a file.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import lpgeom

KINDS = (
    "gauss", "noisy low rank", "long rows", "duplicates", "zero rows", "integers",
    "nearly deficient", "wide", "simplex", "scaled columns", "scaled rows", "tiny", "exact",
)  # fmt: skip
PROBLEMS = (
    ("certify",) * 14 + ("subspace",) * 8 + ("affine", "clusters", "mixed", "curve", "entries")
)
LEVELS: tuple[bool | str, ...] = (True, True, True, "tight", "tight", "all")
METHODS = ("auto", "auto", "irls", "lewis", "svd")
STEPS = 3
"""Of each search: what is stated of a subspace has to hold wherever the search ends."""

STORED = 0.1
"""Share of the results that are verified after they were saved and loaded."""


def matrix(kind: str, rng: np.random.Generator) -> Any:
    """A small matrix of one of KINDS."""
    n, d = int(rng.integers(3, 11)), int(rng.choice((2, 2, 3, 3, 4, 5, 6)))
    A = rng.standard_normal((n, d))
    r = int(rng.integers(1, d))
    size = 10.0 ** -rng.uniform(1.0, 14.0)
    if kind == "noisy low rank":
        A = A[:, :r] @ rng.standard_normal((r, d)) + size * A
    elif kind == "long rows":
        A[: int(rng.integers(1, 3))] *= 10.0 ** rng.uniform(2.0, 12.0)
    elif kind == "duplicates":
        A = A[rng.integers(0, max(2, n // 3), n)]
    elif kind == "zero rows":
        A[rng.random(n) < 0.4] = 0.0
        A[0] = 1.0
    elif kind == "integers":
        A = rng.integers(-3, 4, (n, d)).astype(np.float64)
        A[0, 0] = 1.0
    elif kind == "nearly deficient":
        U, s, Vt = np.linalg.svd(A, full_matrices=False)
        s[min(r, len(s) - 1) :] *= size
        A = (U * s) @ Vt
    elif kind == "wide":
        A = rng.standard_normal((int(rng.integers(2, 5)), d + 2))
        if rng.random() < 0.5:
            A = np.zeros_like(A)
            np.fill_diagonal(A, 10.0 ** rng.uniform(-3.0, 3.0, A.shape[0]))
    elif kind == "simplex":
        A = (np.eye(d + 1) - 1.0 / (d + 1)) * 10.0 ** rng.uniform(-3.0, 3.0, d + 1)
        A = A.T if rng.random() < 0.5 else A
    elif kind == "scaled columns":
        A = A * 10.0 ** rng.uniform(-8.0, 8.0, d)
    elif kind == "scaled rows":
        A = A * 10.0 ** rng.uniform(-8.0, 8.0, (n, 1))
    elif kind == "tiny":
        A = A * 10.0 ** rng.uniform(-290.0, -100.0)
    elif kind == "exact":
        A[n // 3 :] = rng.standard_normal((n - n // 3, 1)) * rng.standard_normal(d)
    return A


def exponent(rng: np.random.Generator) -> float:
    """1, in (1, 2), near 2, 2, beyond, or inf."""
    return (
        1.0,
        1.0,
        1.0 + 10.0 ** -rng.uniform(1.0, 12.0),
        rng.uniform(1.0, 2.0),
        rng.uniform(1.0, 2.0),
        2.0 - 10.0 ** -rng.uniform(1.0, 9.0),
        2.0,
        2.0 + 10.0 ** -rng.uniform(1.0, 9.0),
        rng.uniform(2.0, 10.0),
        np.inf,
    )[rng.integers(10)]


def weights(n: int, rng: np.random.Generator) -> Any:
    """Row weights, or none."""
    kind = rng.integers(6)
    if kind < 3:
        return None
    w = rng.exponential(size=n) if kind < 5 else 10.0 ** rng.uniform(-8.0, 8.0, n)
    if kind == 4:
        w[rng.random(n) < 0.3] = 0.0
        w[0] = 1.0
    return w


def one(rng: np.random.Generator) -> tuple[str, Any, Any]:
    """What was asked for, the data, and the result."""
    kind, problem = (str(rng.choice(names)) for names in (KINDS, PROBLEMS))
    A, p = matrix(kind, rng), exponent(rng)
    n, d = A.shape
    k = int(rng.integers(1, max(2, d)))
    level = LEVELS[rng.integers(len(LEVELS))]
    level = "tight" if level == "all" and problem != "certify" else level
    options: dict[str, Any] = {"row_weights": weights(n, rng), "certify": level}
    options["seed"] = int(rng.integers(1000))
    method = METHODS[rng.integers(len(METHODS))]
    if np.isinf(p) and problem not in ("subspace", "curve", "certify"):
        p = 1.0
    told = f"{problem} of {kind} {n} x {d}, k = {k}, p = {p!r}, {level}, {method}"
    result: Any
    if problem == "subspace":
        result = lpgeom.approx_subspace(A, k, p, method=method, max_iter=STEPS, **options)
    elif problem == "affine":
        result = lpgeom.approx_affine(A, min(k, d - 1), p, **options)
    elif problem == "clusters":
        options |= {"restarts": 1, "max_iter": STEPS}
        result = lpgeom.approx_clusters(A, 1, p, subspaces=2, **options)
    elif problem == "mixed":
        options |= {"subspaces": 2, "max_iter": STEPS}
        result = lpgeom.approx_mixed(A, max(2, min(n, k + 1)), p, **options)
    elif problem == "curve":
        ks = sorted({1, int(rng.integers(1, max(2, d)))})
        result = lpgeom.cost_curve(A, p, ks, max_iter=STEPS, **options)
    elif problem == "entries":
        result = lpgeom.approx_factors(A, k, p, max_iter=STEPS, **options)
    else:
        V = np.linalg.qr(rng.standard_normal((d, k)))[0]
        if rng.random() < 0.7:
            V = np.linalg.svd(A)[2][:k].T
        options["level"] = level if isinstance(level, str) else "fast"
        del options["certify"]
        result = lpgeom.certify(A, V, p, **options)
    return told, A, result


def run(count: int, seed: int) -> dict[str, Any]:
    """Make and check `count` certificates; a few lines on each that is refused."""
    made: Counter[str] = Counter()
    refused: list[str] = []
    stored = 0
    rng = np.random.default_rng([seed, 0x9E4])
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        while made.total() < count:
            case = int(rng.integers(2**63))
            told, A, result = one(np.random.default_rng(case))
            made[told.split()[0]] += 1
            try:
                if hasattr(result, "save") and rng.random() < STORED:
                    stored += 1
                    path = Path(folder) / "result.npz"
                    result.save(path)
                    result = type(result).load(path)
                checked = result if hasattr(result, "verify") else result.certificate
                checked.verify(A)
            except lpgeom.CertificateError as error:
                refused.append(f"{told}, case {case}: {error}")
    return {
        "certificates": made.total(),
        "stored": stored,
        "by_problem": dict(sorted(made.items())),
        "refused": refused,
    }
