"""A new part joins by one entry: docs/extending.md, from outside of the package.

The other tables have theirs beside them: readers in tests/io, kinds of rows in tests/rows, starts
and descents for entries in tests/entries, starts of groups in tests/groups, coresets in
tests/coresets.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.bounds.rounding import ky_fan
from lpgeom.bounds.table import BOUNDS, Entry, Task
from lpgeom.comparison.judges import JUDGES, Judge
from lpgeom.entries import portfolio
from lpgeom.entries.problem import Entries
from lpgeom.entries.starts import FURTHER
from lpgeom.geometry.grassmann import Frame
from lpgeom.heuristics import HEURISTICS, Heuristic, HeuristicResult
from lpgeom.heuristics.base import BasisFound, RowsTask, heuristic
from lpgeom.heuristics.entrywise import ENTRYWISE
from lpgeom.heuristics.entrywise.base import EntriesTask, FactorsFound, entrywise
from lpgeom.io import tables
from lpgeom.records.check.data import Checked, Data
from lpgeom.records.check.verify import CHECKERS
from lpgeom.subspace import search
from lpgeom.subspace.approx import approx_rows
from lpgeom.subspace.assemble import Candidate
from lpgeom.subspace.search import STARTS
from lpgeom.subspace.solve import METHODS, Method, Solver, Starts

A = np.random.default_rng(0).standard_t(3, (60, 6))


# ---------------------------------------------------------------- a bound and its checker


def euclidean(task: Task) -> list[lpgeom.Bound]:
    """``sum y_i^p >= (sum y_i^2)^(p/2)`` for p <= 2, and the squares cost what the SVD leaves out.

    Every p-norm with p <= 2 is at least the 2-norm; the sum of the squares is at least the m
    smallest eigenvalues of the Gram.
    """
    n, d = task.rows.shape
    G = task.rows.weighted_gram()
    squares = max(ky_fan(G, d - task.k, n, float(np.trace(G))), 0.0)
    return [lpgeom.Bound("euclidean", "mine", squares ** (task.p / 2.0))]


def check_euclidean(data: Data, bound: lpgeom.Bound) -> Checked:
    """The same from the singular values of all rows at once."""
    rows = np.concatenate([block for _, block in data.blocks()])
    squares = float((np.linalg.svd(rows, compute_uv=False)[data.k :] ** 2).sum())
    off = data.rounding(float((rows**2).sum()))
    half = data.p / 2.0
    return Checked(squares**half, (squares + off) ** half - squares**half)


EUCLIDEAN = Entry("euclidean", "mine", lambda p: 1.0 <= p < 2.0, euclidean)


def named(certificate: Any) -> set[str]:
    assert certificate is not None
    return {bound.name for bound in certificate.bounds}


@pytest.fixture
def one_bound_more() -> Iterator[None]:
    """In the table itself: a module imported meanwhile would keep a copy of it."""
    BOUNDS.append(EUCLIDEAN)
    yield
    BOUNDS.remove(EUCLIDEAN)


@pytest.mark.usefixtures("one_bound_more")
def test_a_bound_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It stands in every certificate, which is verified, saved, and refused where it is forged."""
    monkeypatch.setitem(CHECKERS, "euclidean", check_euclidean)
    result = lpgeom.approx_subspace(A, 2, 1.0)
    stated = [result.certificate, lpgeom.certify(A, np.eye(6, 2), 1.3)]
    stated += [lpgeom.cost_curve(A, 1.0, [1, 2]).at(2).certificate]
    for certificate in stated:
        assert "euclidean" in named(certificate)
        certificate.verify(A)
    assert "euclidean" not in named(lpgeom.approx_subspace(A, 2, 3.0).certificate)
    result.save(tmp_path / "mine.npz")
    again = lpgeom.SubspaceResult.load(tmp_path / "mine.npz").certificate
    again.verify(A)
    forged = tuple(
        dataclasses.replace(b, scaled_value=1.001 * b.scaled_value) if b.name == "euclidean" else b
        for b in again.bounds
    )
    with pytest.raises(lpgeom.CertificateError, match="'euclidean' is stated"):
        dataclasses.replace(again, bounds=forged).verify(A)


@pytest.mark.usefixtures("one_bound_more")
def test_a_bound_without_a_checker_is_not_believed() -> None:
    certificate = lpgeom.approx_subspace(A, 2, 1.0).certificate
    with pytest.raises(lpgeom.CertificateError, match="'euclidean' is unknown here"):
        certificate.verify(A)


# ---------------------------------------------------------------- a solver, and starts


def axes(solver: Solver, starts: Starts) -> list[Candidate]:
    """The k coordinates in which the rows are longest."""
    d = solver.rows.shape[1]
    longest = np.argsort(np.diag(solver.rows.weighted_gram()))[d - solver.k :]
    return [solver.evaluate("axes", Frame.of(np.eye(d)[:, longest]))]


def test_a_solver_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    aligned = A * np.array([9.0, 8.0, 1.0, 1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="method"):
        lpgeom.approx_subspace(aligned, 2, method="axes")
    monkeypatch.setitem(METHODS, "axes", Method(axes, cheapest=False))
    found = lpgeom.approx_subspace(aligned, 2, method="axes")
    assert found.method == "axes"
    np.testing.assert_allclose(np.abs(found.basis).sum(axis=1), [1, 1, 0, 0, 0, 0], atol=1e-14)
    found.certificate.verify(aligned)
    curve = lpgeom.cost_curve(aligned, 1.0, [1, 2], method="axes")
    assert curve.at(2).cost == pytest.approx(found.cost, rel=1e-9)
    affine = lpgeom.approx_affine(aligned, 2, method="axes")
    assert affine.cost > 0.0


def test_no_solver_spoils_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `cheapest`, as it is unless said otherwise, the SVD's subspace stands by."""
    contrary = A * np.array([1.0, 1.0, 1.0, 1.0, 8.0, 9.0])
    V = np.eye(6, 2)

    def bad(solver: Solver, starts: Starts) -> list[Candidate]:
        return [solver.evaluate("bad", Frame.of(V))]

    monkeypatch.setitem(METHODS, "bad", Method(bad))
    found = lpgeom.approx_subspace(contrary, 2, method="bad")
    assert found.method != "bad"
    assert found.cost <= found.svd_cost
    monkeypatch.setitem(METHODS, "bad", Method(bad, cheapest=False))
    found = lpgeom.approx_subspace(contrary, 2, method="bad")
    assert found.method == "bad"
    assert found.cost > found.svd_cost
    assert found.cost == pytest.approx(lpgeom.cost(contrary, V, 1.0), rel=1e-12)


def test_a_start_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows on seven lines: the two that the best plane holds are known to a new start alone."""
    rng = np.random.default_rng(37)
    D = rng.standard_normal((7, 5))
    line = rng.integers(0, 7, 80)
    B = D[line] * rng.standard_t(2, (80, 1))
    pairs = list(itertools.combinations(range(7), 2))
    best = min(pairs, key=lambda pair: lpgeom.cost(B, D[list(pair)].T, 1.0))
    monkeypatch.setattr(search, "HOPS", 0)
    for name in list(STARTS):
        monkeypatch.delitem(STARTS, name)
    before = lpgeom.approx_subspace(B, 2, certify=False)
    monkeypatch.setitem(STARTS, "none", lambda rows, tau: None)
    assert lpgeom.approx_subspace(B, 2, certify=False).cost == before.cost
    monkeypatch.setitem(STARTS, "known", lambda rows, tau: np.isin(line, best).astype(float))
    found = lpgeom.approx_subspace(B, 2, certify=False)
    assert found.method == "irls from known"
    assert found.cost < 0.98 * before.cost
    assert found.cost == pytest.approx(lpgeom.cost(B, D[list(best)].T, 1.0), rel=1e-9)


@pytest.mark.slow
def test_a_further_start_for_entries_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one descent misses that goes on from the usual starts, it finds from a better one."""
    rng = np.random.default_rng(0)
    noise = (rng.random((30, 8)) < 0.4) * rng.standard_normal((30, 8))
    B = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 8)) + 20.0 * noise
    best = lpgeom.approx_factors(B, 2, certify=False)

    def known(entries: Entries, count: int, seed: int) -> Iterator[tuple[Any, Any]]:
        yield best.left * entries.scale, best.right

    reweighting = [descent for descent in portfolio.DESCENTS if descent.name == "irls"]
    monkeypatch.setattr(portfolio, "DESCENTS", reweighting)
    for name in list(FURTHER):
        monkeypatch.delitem(FURTHER, name)
    before = lpgeom.approx_factors(B, 2, certify=False)
    monkeypatch.setitem(FURTHER, "known", known)
    found = lpgeom.approx_factors(B, 2, certify=False)
    assert found.method.startswith("known 0")
    assert found.cost <= best.cost * (1.0 + 1e-9) < before.cost


# ---------------------------------------------------------------- heuristics, and what judges them


def test_a_heuristic_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver of tasks, or any function of the one signature."""

    @heuristic(steps=3)
    def first_rows(task: RowsTask) -> BasisFound:
        """The span of the first k rows."""
        return BasisFound(np.linalg.qr(task.dense()[: task.k].T)[0], n_iter=task.max_iter)

    def last_axes(M: Any, k: int, p: float = 1.0, **options: Any) -> HeuristicResult:
        V = np.eye(M.shape[1])[:, M.shape[1] - k :]
        return HeuristicResult(V, "last_axes", 0, True, 0.0, f"seed {options['seed']}")

    monkeypatch.setitem(HEURISTICS, "first_rows", Heuristic(first_rows))
    monkeypatch.setitem(HEURISTICS, "last_axes", Heuristic(last_axes, seeded=True, slow_from=1))
    table = lpgeom.compare(A, 2)
    assert "first_rows" in set(table["method"])
    assert "last_axes" in table.attrs["left_out"]
    rows = tables.records(lpgeom.compare(A, 2, methods=["first_rows", "last_axes"], seeds=[0, 5]))
    assert sorted((row["method"], row["seed"], row["n_iter"]) for row in rows) == [
        ("first_rows", 0, 3),
        ("last_axes", 0, 0),
        ("last_axes", 5, 0),
    ]
    for row in rows:
        assert row["lower_bound"] <= row["cost"]
        V = np.linalg.qr(A[:2].T)[0] if row["method"] == "first_rows" else np.eye(6)[:, 4:]
        assert row["cost"] == pytest.approx(lpgeom.cost(A, V, 1.0), rel=1e-10)


@pytest.mark.slow
def test_a_heuristic_for_entries_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    @entrywise()
    def columns(task: EntriesTask) -> FactorsFound:
        """The first k columns, and least squares."""
        left = task.B[:, : task.k]
        return FactorsFound(left, np.linalg.lstsq(left, task.B, rcond=None)[0])

    monkeypatch.setitem(ENTRYWISE, "columns", Heuristic(columns))
    (row,) = tables.records(lpgeom.compare(A, 2, objective="entries", methods=["columns"]))
    assert row["ratio"] >= 1.0
    left = A[:, :2]
    fit = left @ np.linalg.lstsq(left, A, rcond=None)[0]
    assert row["cost"] == pytest.approx(float(np.abs(A - fit).sum()), rel=1e-9)


def test_an_objective_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns as the points: judged by the certificate of the transposed matrix."""

    def first_axes(M: Any, k: int, p: float = 1.0, **options: Any) -> Any:
        return np.eye(len(M), k)

    judge = Judge(
        "columns",
        {"first_axes": Heuristic(first_axes)},
        own=lambda M, k, p, **options: approx_rows(M.T, k, p, **options),
        work=lambda n, d, k: float(n) * d,
        measured=lambda M, found, k, p: (
            V := getattr(found, "basis", found),
            lpgeom.cost(M.T, V, p),
        ),
        size=lambda M, p: float(np.linalg.norm(M)),
    )
    with pytest.raises(ValueError, match="objective"):
        lpgeom.compare(A, 2, objective="columns")
    monkeypatch.setitem(JUDGES, "columns", judge)
    rows = {row["method"]: row for row in tables.records(lpgeom.compare(A, 2, objective="columns"))}
    assert rows.keys() == {"lpgeom", "first_axes"}
    ours = lpgeom.approx_subspace(A.T, 2)
    assert rows["lpgeom"]["cost"] == pytest.approx(ours.cost, rel=1e-12)
    assert rows["first_axes"]["cost"] == pytest.approx(float(np.linalg.norm(A[2:], axis=0).sum()))
    assert rows["first_axes"]["lower_bound"] == pytest.approx(ours.certificate.lower_bound)


# ---------------------------------------------------------------- how much a row of a weight counts


@pytest.mark.needs("torch")
def test_a_kind_of_row_weights_joins_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from lpgeom import nn
    from lpgeom.nn.plan.row_weights import ROW_WEIGHTS

    torch.manual_seed(0)
    first = torch.nn.ModuleDict({"tokens": torch.nn.Embedding(60, 8)})
    second = torch.nn.ModuleDict({"tokens": torch.nn.Embedding(60, 8)})
    second.load_state_dict(first.state_dict())
    options: dict[str, Any] = {"rank": 2, "subspaces": 1, "progress": False}
    with pytest.raises(ValueError, match="row_weights"):
        nn.compress(first, row_weights="ten", **options)
    monkeypatch.setitem(ROW_WEIGHTS, "ten", lambda n: (np.arange(n) < 10).astype(float))
    (ours,) = nn.compress(first, row_weights="ten", **options).layers
    (given,) = nn.compress(second, row_weights=ROW_WEIGHTS["ten"](60), **options).layers
    assert ours.cost == given.cost
    assert ours.weights == given.weights
