"""Coresets: the strong-coreset check, error against size, and a 2% coreset of a real embedding."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpgeom import datasets as data

from . import machine, report

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
POWERS = (1.0, 1.5, 2.0, 3.0)
SIZES = (50, 100, 200, 400, 800, 1600, 3200)
METHODS = ("lewis", "ridge", "deterministic", "norm", "uniform")
LABELS = {"lewis": "Lewis", "ridge": "ridge Lewis", "deterministic": "barriers (no chance)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=200, help="of the strong-coreset check")
    parser.add_argument("--eps", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=20, help="of error against size")
    parser.add_argument("--ranks", nargs="+", type=int, default=(96, 192))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the picture goes")


def run(options: argparse.Namespace) -> dict[str, Any]:
    quick = options.quick
    print(report.machine_line(machine.describe()), flush=True)
    trials, seeds = (5, 3) if quick else (options.trials, options.seeds)
    strong = [
        strong_check(name, A, p, options.eps, trials)
        for name, A in strong_data().items()
        for p in POWERS
    ]
    show(
        strong, "data", "p", "eps", "theorem", "rows", "trials", "failed", "largest error", "fixed"
    )
    errors = error_against_size(SIZES[2:5] if quick else SIZES, seeds)
    show(errors, "data", "method", "rows", "median error", "largest error")
    if not quick:
        draw_errors(errors, options.folder / "coreset-error.png")
    real = [] if quick else [on_coreset(k, method) for k in options.ranks for method in WAYS]
    show(real, "k", "method", "rows", "excess", "excess after a pass", "ratio", "seconds", "full s")
    return {"quick": quick, "strong": strong, "errors": errors, "minilm": real}


def show(rows: list[dict[str, Any]], *columns: str) -> None:
    print("\n" + report.table(columns, [[row[c] for c in columns] for row in rows]), flush=True)


# ---------------------------------------------------------------- the worst subspace


def costs(A: NDArray, w: NDArray | None, V: NDArray, p: float) -> float:
    """``sum_i w_i ||a_i - a_i V V^T||^p``."""
    y = np.linalg.norm(A - (A @ V) @ V.T, axis=1) ** p
    return float(y.sum() if w is None else w @ y)


def relative_error(A: NDArray, c: Any, V: NDArray) -> float:
    """Signed relative error of the coreset's cost of V."""
    return costs(c.rows, c.weights, V, c.p) / costs(A, None, V, c.p) - 1.0


def adversary(A: NDArray, c: Any, V: NDArray, sign: float, steps: int = 12) -> float:
    """The error at the end of an ascent of ``sign * error`` over the Grassmannian, from V.

    The gradient of a cost in V is ``-p sum w y^(p-2) a a^T V``; steps are taken by QR and shortened
    until the error grows.
    """
    best = relative_error(A, c, V)
    length = 1.0
    for _ in range(steps):
        pull = _gram(c.rows, c.weights, V, c.p) / costs(A, None, V, c.p)
        pull -= (1.0 + best) * _gram(A, None, V, c.p) / costs(A, None, V, c.p)
        G = -sign * (pull @ V)
        G -= V @ (V.T @ G)
        size = float(np.linalg.norm(G))
        if size == 0.0:
            break
        while length > 1e-3:
            trial = np.linalg.qr(V + length / size * G)[0]
            error = relative_error(A, c, trial)
            if sign * error > sign * best:
                V, best, length = trial, error, min(1.0, 2.0 * length)
                break
            length *= 0.5
        else:
            break
    return best


def _gram(A: NDArray, w: NDArray | None, V: NDArray, p: float) -> NDArray:
    y = np.linalg.norm(A - (A @ V) @ V.T, axis=1)
    g = np.maximum(y, 1e-9 * y.max()) ** (p - 2.0)
    return (A * (g if w is None else w * g)[:, None]).T @ A


def subspaces(d: int, ranks: tuple[int, ...], known: list[NDArray], seed: int) -> Iterator[NDArray]:
    """One random subspace of each rank, and the known ones."""
    rng = np.random.default_rng(seed)
    for k in ranks:
        yield np.linalg.qr(rng.standard_normal((d, k)))[0]
    yield from known


def worst_error(A: NDArray, c: Any, starts: Iterator[NDArray], steps: int = 12) -> float:
    """Largest error over the starts and what the adversary makes of them."""
    return max(abs(adversary(A, c, V, sign, steps)) for V in starts for sign in (-1.0, 1.0))


# ---------------------------------------------------------------- the three parts


def strong_data() -> dict[str, NDArray]:
    """Many rows in few dimensions, where the theorem's sizes are below n."""
    clean = data.load("heavy-tailed", n=20_000, d=5).A
    dirty = data.load("contaminated", n=20_000, d=5, k=2, factor=100.0, fraction=1e-3).A
    return {"heavy-tailed": clean, "contaminated": dirty}


def strong_check(name: str, A: NDArray, p: float, eps: float, trials: int) -> dict[str, Any]:
    """Of `trials` coresets of the theorem's size: how many are off by more than eps somewhere."""
    import lpgeom

    d = A.shape[1]
    optimal = [lpgeom.approx_subspace(A, k, p, certify=False).basis for k in (1, 2, d - 1)]
    begin = time.perf_counter()
    errors = []
    for seed in range(trials):
        c = lpgeom.coreset(A, eps=eps, p=p, seed=seed)
        starts = subspaces(d, (1, 2, d - 1), optimal, seed)
        errors.append(worst_error(A, c, starts, steps=4))
    row = {
        "data": name,
        "p": p,
        "eps": eps,
        "theorem": c.provenance.theorem,
        "rows": c.size,
        "n": len(A),
        "trials": trials,
        "failed": int(np.sum(np.array(errors) > eps)),
        "failure probability": c.provenance.failure_probability,
        "largest error": max(errors),
        "fixed": c.provenance.eps_fixed,
        "seconds": time.perf_counter() - begin,
    }
    print(row, flush=True)
    return row


def error_against_size(sizes: tuple[int, ...], seeds: int) -> list[dict[str, Any]]:
    """Worst error over subspaces of rank 3 for each method and size, p = 1, over the seeds."""
    import lpgeom

    k = 3
    measured = []
    for name, A in {
        "clean": data.load("power-law", n=8000, d=12).A,
        "contaminated": data.load(
            "contaminated", n=8000, d=12, k=3, factor=1000.0, fraction=1e-3, noise=0.1
        ).A,
    }.items():
        known = [lpgeom.approx_subspace(A, k, certify=False).basis, np.linalg.svd(A)[2][:k].T]
        for method in METHODS:
            for size in sizes:
                errors = []
                for seed in range(1 if method == "deterministic" else seeds):
                    c = lpgeom.coreset(
                        A, size=size, k=k if method == "ridge" else None, seed=seed, method=method
                    )
                    starts = subspaces(12, (k, k), known, seed)
                    errors.append(worst_error(A, c, starts))
                measured.append(
                    {
                        "data": name,
                        "method": method,
                        "rows": size,
                        "median error": float(np.median(errors)),
                        "largest error": max(errors),
                    }
                )
            print(name, method, flush=True)
    return measured


def draw_errors(measured: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    from lpgeom import plots

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, name in zip(axes, ("clean", "contaminated"), strict=True):
        for method, marker in zip(METHODS, "osD^v", strict=True):
            rows = [r for r in measured if r["data"] == name and r["method"] == method]
            ax.loglog(
                [r["rows"] for r in rows],
                [r["median error"] for r in rows],
                marker=marker,
                markersize=4,
                label=LABELS.get(method, method),
            )
        ax.set_title(f"{name}, 8000 × 12", loc="left", fontsize=10)
        ax.set_xlabel("rows of the coreset")
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    axes[0].set_ylabel("largest relative error over subspaces")
    axes[1].legend(frameon=False, fontsize=8)
    plots.save(axes[0], path)


WAYS = ("lewis", "ridge", "uniform")


def on_coreset(k: int, method: str) -> dict[str, Any]:
    """A 2% coreset of the MiniLM embedding, its subspace, and one pass over the data; p = 1."""
    import lpgeom

    A = data.minilm()
    begin = time.perf_counter()
    full = lpgeom.approx_subspace(A, k)
    full_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    c = lpgeom.coreset(A, size=len(A) // 50, k=k if method == "ridge" else None, method=method)
    found = lpgeom.approx_subspace(c, certify=False, k=k)
    V = lpgeom.refine(A, found.basis)
    seconds = time.perf_counter() - begin
    certificate = lpgeom.certify(A, V)
    row = {
        "k": k,
        "method": method,
        "rows": len(c),
        "excess": lpgeom.cost(A, found.basis) / full.cost - 1.0,
        "excess after a pass": certificate.cost / full.cost - 1.0,
        "ratio": certificate.ratio,
        "full ratio": full.ratio,
        "bound": certificate.best.name if certificate.best else None,
        "coreset cost over full": found.cost / full.cost,
        "seconds": seconds,
        "full s": full_seconds,
        "solver": found.method,
    }
    print(row, flush=True)
    return row
